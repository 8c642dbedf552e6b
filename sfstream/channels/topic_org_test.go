package channels_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// topicOrg keeps PushTopic records, and says of objects what their queries are made of.
type topicOrg struct {
	smallOrg
	objects     map[string]string            // what describe says of their fields; a field with ! is the object's name
	recordTypes map[string]map[string]string // of objects: developer name and id
	user        string                       // what userinfo answers

	topics []map[string]any
	made   int
}

const (
	studentID = "012000000000001AAA"
	teacherID = "012000000000002AAA"
	userID    = "005000000000001AAA"
)

func newTopicOrg() *topicOrg {
	o := &topicOrg{
		objects: map[string]string{
			"Contact":     "Id !Name Email Student_Number__c LastModifiedById LastModifiedDate RecordTypeId",
			"Case":        "Id !CaseNumber Subject LastModifiedById LastModifiedDate",
			"Employee__c": "Id !Name LastModifiedById LastModifiedDate",
			"Bare__c":     "Id Value__c",
			"Packed__c":   "Id acme__Code__c",
		},
		recordTypes: map[string]map[string]string{"Contact": {"Student": studentID, "Teacher": teacherID}},
		user:        `{"user_id":"` + userID + `"}`,
	}
	o.answer = o.serve
	return o
}

var whereName = regexp.MustCompile(`WHERE Name = '(.*)'$`)

func (o *topicOrg) serve(a asked) (int, any) {
	id, one := strings.CutPrefix(a.path, "sobjects/PushTopic/")
	at := slices.IndexFunc(o.topics, func(t map[string]any) bool { return one && t["Id"] == id })
	object, isDescribe := strings.CutSuffix(strings.TrimPrefix(a.path, "sobjects/"), "/describe")
	switch {
	case a.path == "/services/oauth2/userinfo":
		return 200, o.user
	case isDescribe:
		return o.describe(object)
	case a.path == "query" && strings.Contains(a.query.Get("q"), "FROM RecordType"):
		return 200, rowsOf(o.typesOf(a.query.Get("q"))...)
	case a.path == "query":
		return 200, rowsOf(o.query(a.query.Get("q"))...)
	case a.method == http.MethodPost && a.path == "sobjects/PushTopic":
		return o.create(a.body)
	case at < 0:
		return 404, refuses("NOT_FOUND", "The requested resource does not exist")
	case a.method == http.MethodPatch:
		_ = json.Unmarshal([]byte(a.body), &o.topics[at])
		return 204, nil
	case a.method == http.MethodDelete:
		o.topics = slices.Delete(o.topics, at, at+1)
		return 204, nil
	}
	return 405, refuses("METHOD_NOT_ALLOWED", a.method)
}

func (o *topicOrg) describe(object string) (int, any) {
	for name, fields := range o.objects {
		if !strings.EqualFold(name, object) {
			continue
		}
		list := []map[string]any{}
		for field := range strings.FieldsSeq(fields) {
			list = append(list, map[string]any{"name": strings.Trim(field, "!"), "nameField": strings.HasPrefix(field, "!")})
		}
		return 200, map[string]any{"name": name, "fields": list}
	}
	return 404, refuses("NOT_FOUND", "The requested resource does not exist")
}

var whereType = regexp.MustCompile(`^SELECT Id, DeveloperName FROM RecordType WHERE SobjectType = '(\w+)' ORDER BY NamespacePrefix, DeveloperName$`)

func (o *topicOrg) typesOf(soql string) (rows []map[string]any) {
	types := o.recordTypes[whereType.FindStringSubmatch(soql)[1]]
	for _, name := range slices.Sorted(maps.Keys(types)) {
		rows = append(rows, map[string]any{"Id": types[name], "DeveloperName": name})
	}
	return rows
}

// query is that of PushTopics: texts of SOQL are equal in any case.
func (o *topicOrg) query(soql string) []map[string]any {
	match := whereName.FindStringSubmatch(soql)
	var rows []map[string]any
	for _, topic := range o.topics {
		if match == nil || strings.EqualFold(topic["Name"].(string), match[1]) {
			rows = append(rows, topic)
		}
	}
	return rows
}

func (o *topicOrg) create(body string) (int, any) {
	topic := map[string]any{
		"Description": nil, "IsActive": true, "NotifyForFields": "Referenced",
		"NotifyForOperationCreate": true, "NotifyForOperationUpdate": true, "NotifyForOperationDelete": true, "NotifyForOperationUndelete": true,
	}
	if err := json.Unmarshal([]byte(body), &topic); err != nil {
		return 400, refuses("JSON_PARSER_ERROR", err.Error())
	}
	for _, there := range o.topics {
		if strings.EqualFold(there["Name"].(string), topic["Name"].(string)) {
			return 400, refuses("DUPLICATE_VALUE", "duplicate value found: Name duplicates value on record with id: "+there["Id"].(string))
		}
	}
	o.made++
	topic["Id"] = fmt.Sprintf("0IF%012dAAA", o.made)
	o.topics = append(o.topics, topic)
	return 201, made(topic["Id"].(string))
}

// rival makes a topic beside the client.
func (o *topicOrg) rival(name, query string) {
	o.create(fmt.Sprintf(`{"Name":%q,"Query":%q,"ApiVersion":60.0}`, name, query))
}

// clear deletes all topics beside the client.
func (o *topicOrg) clear() { o.topics = nil }

// one is the one topic that there is.
func (o *topicOrg) one(t *testing.T) map[string]any {
	t.Helper()
	if len(o.topics) != 1 {
		t.Fatalf("there are %d topics, want one: %v", len(o.topics), o.topics)
	}
	return o.topics[0]
}
