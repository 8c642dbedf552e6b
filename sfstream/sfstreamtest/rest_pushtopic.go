package sfstreamtest

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// flags returns the fields of a PushTopic that are true unless they are given, by name.
func (p *PushTopic) flags() map[string]**bool {
	return map[string]**bool{
		"IsActive": &p.IsActive, "NotifyForOperationCreate": &p.NotifyForOperationCreate, "NotifyForOperationUpdate": &p.NotifyForOperationUpdate,
		"NotifyForOperationDelete": &p.NotifyForOperationDelete, "NotifyForOperationUndelete": &p.NotifyForOperationUndelete,
	}
}

// record adds the fields of a PushTopic to its record. newest is the version that it has unless it
// says another one.
func (p *pushTopic) record(rec map[string]any, newest float64) {
	rec["Name"], rec["Query"], rec["ApiVersion"] = p.Name, p.Query, or(p.APIVersion, newest)
	rec["NotifyForFields"] = or(p.NotifyForFields, "Referenced")
	for name, flag := range p.flags() {
		rec[name] = isTrue(*flag)
	}
	operations := "Extended"
	switch created, updated := isTrue(p.NotifyForOperationCreate), isTrue(p.NotifyForOperationUpdate); {
	case created && updated:
		operations = "All"
	case created:
		operations = "Create"
	case updated:
		operations = "Update"
	}
	rec["NotifyForOperations"] = operations
}

// newestVersion returns the newest API version of the org.
func (s *Server) newestVersion() float64 {
	versions := s.config.cometd.versions
	v, _ := strconv.ParseFloat(versions[len(versions)-1], 64)
	return v
}

// writePushTopic makes a PushTopic, or changes t: another query is that of the next event, and under
// another name sessions that have subscribed to the old one go on there.
func (s *Server) writePushTopic(t *topic, values map[string]any, by author) (*topic, error) {
	var p PushTopic
	from, counted := "", false
	if t != nil {
		t.mu.Lock()
		p = t.push.clone()
		t.mu.Unlock()
		from, counted = t.name, isTrue(p.IsActive)
	}
	for name, into := range map[string]*string{
		"Name": &p.Name, "Query": &p.Query, "Description": &p.Description, "NotifyForFields": &p.NotifyForFields,
	} {
		if v, given := values[name]; given {
			*into, _ = v.(string)
		}
	}
	if v, ok := values["ApiVersion"].(float64); ok {
		p.APIVersion = v
	}
	for name, into := range p.flags() {
		if v, ok := values[name].(bool); ok {
			*into = &v
		}
	}
	if err := s.checkPushTopic(p, values); err != nil {
		return nil, err
	}
	if isTrue(p.IsActive) && !counted {
		active := 0
		for _, other := range s.channelsOf(pushTopics) {
			if other.asRecord(s)["IsActive"] == true {
				active++
			}
		}
		if err := s.roomFor(pushTopics, active); err != nil {
			return nil, err
		}
	}
	channel := pushTopics.prefix + p.Name
	if channel == from {
		from = ""
	}
	if err := s.definePushTopic(p, from, by, true); err != nil {
		return nil, badField(inOwnWords(err), "Name")
	}
	return s.topic(channel), nil
}

// checkPushTopic refuses what Salesforce refuses. Only what is written is checked: a query that has
// become wrong stays.
func (s *Server) checkPushTopic(p PushTopic, written map[string]any) error {
	if v, given := written["ApiVersion"]; given && (p.APIVersion <= 20 || p.APIVersion > s.newestVersion()) {
		return badField(fmt.Sprintf("ApiVersion is invalid: %v", v), "ApiVersion")
	}
	if !slices.Contains([]string{"", "All", "Referenced", "Select", "Where"}, p.NotifyForFields) {
		return badChoice("Notify For Fields", p.NotifyForFields, "NotifyForFields")
	}
	if _, given := written["Query"]; !given {
		return nil
	}
	if utf8.RuneCountInString(p.Query) > 1300 {
		return tooLong("SOQL Query", p.Query, 1300, "Query")
	}
	return s.checkTopicQuery(p.Query)
}

// unsupportedSOQL are the parts of a query that no PushTopic can have, with what Salesforce says of
// them. They are looked for outside of texts in quotes.
var unsupportedSOQL = []struct {
	part    *regexp.Regexp
	message string
}{
	{regexp.MustCompile(`(?i)\bIN\s*\(\s*SELECT\b`), "semi/anti join sub-selects are not supported"},
	{regexp.MustCompile(`(?i)\(\s*SELECT\b`), "relationships are not supported"},
	{regexp.MustCompile(`(?i)\b(AVG|MAX|MIN|SUM|COUNT|COUNT_DISTINCT)\s*\(|\bGROUP\s+BY\b|\bHAVING\b`), "Aggregate queries are not supported"},
	{regexp.MustCompile(`(?i)\bORDER\s+BY\b`), "'ORDER BY' clause is not allowed"},
	{regexp.MustCompile(`(?i)\bLIMIT\s+\d`), "'LIMIT' is not allowed"},
	{regexp.MustCompile(`(?i)\bOFFSET\s+\d`), "'OFFSET' is not allowed"},
	{regexp.MustCompile(`(?i)\bTYPEOF\b`), "'TYPEOF' is not allowed"},
	{regexp.MustCompile(`(?i)\bNOT\b(\s+IN\b)?`), "'NOT' is not supported"},
	{regexp.MustCompile(`[A-Za-z_]\w*\.[A-Za-z_]`), "relationships are not supported"},
}

var quoted = regexp.MustCompile(`'(\\.|[^'\\])*'`)

// checkTopicQuery refuses the query of a PushTopic for what Salesforce refuses it for.
func (s *Server) checkTopicQuery(text string) error {
	refuse := func(code, message string) error {
		return &restError{http.StatusBadRequest, message, code, []string{"Query"}}
	}
	bare := quoted.ReplaceAllString(text, "''")
	for _, u := range unsupportedSOQL {
		for _, m := range u.part.FindAllStringSubmatchIndex(bare, -1) {
			if in := len(m) > 3 && m[2] >= 0; u.message == "'NOT' is not supported" && in {
				continue // NOT IN is
			}
			return refuse("INVALID_FIELD", u.message)
		}
	}
	q, err := parseSOQL(text)
	if err != nil {
		return refuse("MALFORMED_QUERY", err.Error())
	}
	o, ok := s.sobject(q.object)
	if !ok || o.event || s.systemObject(q.object) != nil {
		return refuse("INVALID_TYPE", fmt.Sprintf("sObject type '%s' is not supported.", q.object))
	}
	if !slices.ContainsFunc(q.fields, func(name string) bool { return strings.EqualFold(name, "Id") }) {
		return refuse("INVALID_FIELD", "The query must select Id")
	}
	if s.fieldsOfObject(o.name) == nil {
		return nil // only its records are known, and not which fields it has
	}
	bound := fullQuery{query: q.clone(), limit: -1}
	wrong, _ := o.bind(&bound, text).(*restError)
	if wrong != nil {
		wrong.Fields = []string{"Query"}
		return wrong
	}
	return nil
}
