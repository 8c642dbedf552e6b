package sfstreamtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hamba/avro/v2"
)

// PushTopic is a query whose results can be followed on /topic/Name.
type PushTopic struct {
	Name        string `json:"Name"`                  // at most 25 characters
	Query       string `json:"Query"`                 // SELECT Id, ... FROM Object WHERE ...
	Description string `json:"Description,omitempty"` // at most 400 characters
	// APIVersion is that with which the query is executed. Default 0: the newest of the org.
	APIVersion float64 `json:"ApiVersion,omitempty"`
	// IsActive false stops the events. Default, nil: true.
	IsActive *bool `json:"IsActive,omitempty"`
	// NotifyForFields says which changes of a record that meets the WHERE are events: All;
	// Referenced, changes of fields that the query names; Select; Where. Default Referenced.
	NotifyForFields string `json:"NotifyForFields,omitempty"`

	// Which operations are events. Default, nil: true.
	NotifyForOperationCreate   *bool `json:"NotifyForOperationCreate,omitempty"`
	NotifyForOperationUpdate   *bool `json:"NotifyForOperationUpdate,omitempty"`
	NotifyForOperationDelete   *bool `json:"NotifyForOperationDelete,omitempty"`
	NotifyForOperationUndelete *bool `json:"NotifyForOperationUndelete,omitempty"`
}

// pushTopic is a definition with its parsed query.
type pushTopic struct {
	PushTopic
	query query
	// The channels of the names that the PushTopic had before: sessions that had subscribed to them
	// go on there.
	before []*topic
}

// DefinePushTopic makes /topic/Name, which gets the changes of its object ([Server.Change]) and
// what PublishTopic puts on it. A topic that exists has the new definition from now on.
func (s *Server) DefinePushTopic(p PushTopic) error {
	return s.definePushTopic(p, "", author{s.account.UserID, s.now()}, true)
}

func (s *Server) restorePushTopic(e entry) error {
	var p PushTopic
	if err := json.Unmarshal([]byte(e.Schema), &p); err != nil {
		return err
	}
	from := ""
	if len(e.Members) > 0 {
		from = e.Members[0]
	}
	return s.definePushTopic(p, from, e.author(), false)
}

// definePushTopic does what DefinePushTopic does. from is the channel of the name that the topic
// has had, if it is renamed.
func (s *Server) definePushTopic(p PushTopic, from string, by author, keep bool) error {
	q, err := p.check()
	if err != nil {
		return fmt.Errorf("sfstreamtest: PushTopic %s: %w", p.Name, err)
	}
	// The fields have the names that the object has, and ids their 18 characters.
	if o, ok := s.sobject(q.object); ok {
		if bound := (fullQuery{query: q.clone()}); o.bind(&bound, p.Query) == nil {
			q = bound.query
		}
	}
	def := &pushTopic{PushTopic: p.clone(), query: q}
	t := s.topic("/topic/" + p.Name)
	if keep {
		text, err := json.Marshal(p)
		if err != nil {
			return fmt.Errorf("sfstreamtest: PushTopic %s: %w", p.Name, err)
		}
		e := entry{Op: opPushTopic, Channel: t.name, Schema: string(text), At: by.at.UnixNano(), ID: by.user}
		if from != "" {
			e.Members = []string{from}
		}
		if err := s.journal.write(e); err != nil {
			return err
		}
	}
	var moved *channelRecord
	if from != "" {
		moved, def.before = s.topic(from).renamed()
	}
	t.mu.Lock()
	if t.push != nil {
		def.before = t.push.before
	}
	t.push = def
	t.recordLocked(moved, p.Description, by)
	t.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.pushTopics, t) {
		s.pushTopics = append(s.pushTopics, t)
	}
	return nil
}

// clone returns a copy with flags of its own, because JSON is decoded into flags that are not nil.
func (p *PushTopic) clone() PushTopic {
	c := *p
	for _, flag := range c.flags() {
		if *flag != nil {
			*flag = new(**flag)
		}
	}
	return c
}

func (p *PushTopic) check() (query, error) {
	switch {
	case p.Name == "" || strings.ContainsAny(p.Name, "/?* "):
		return query{}, errors.New("the name is none")
	case utf8.RuneCountInString(p.Name) > 25:
		return query{}, errors.New("the name has more than 25 characters")
	case utf8.RuneCountInString(p.Query) > 1300:
		return query{}, errors.New("the query has more than 1,300 characters")
	}
	switch p.NotifyForFields {
	case "", "All", "Referenced", "Select", "Where":
	default:
		return query{}, fmt.Errorf("NotifyForFields is %q", p.NotifyForFields)
	}
	q, err := parseSOQL(p.Query)
	if err != nil {
		return q, err
	}
	if !slices.ContainsFunc(q.fields, func(name string) bool { return strings.EqualFold(name, "Id") }) {
		return q, errors.New("SELECT must include Id")
	}
	return q, nil
}

// wants reports whether a change of a record is an event. changed has the fields that changed; it
// matters for an UPDATE only.
func (p *pushTopic) wants(kind string, rec map[string]any, changed []string) bool {
	flag := map[string]*bool{
		"CREATE": p.NotifyForOperationCreate, "UPDATE": p.NotifyForOperationUpdate,
		"DELETE": p.NotifyForOperationDelete, "UNDELETE": p.NotifyForOperationUndelete,
	}[kind]
	if !isTrue(p.IsActive) || !isTrue(flag) || p.query.where != nil && !p.query.where.holds(rec) {
		return false
	}
	if kind != "UPDATE" || p.NotifyForFields == "All" {
		return true
	}
	var names []string
	if p.NotifyForFields != "Where" {
		names = slices.Clone(p.query.fields)
	}
	if p.NotifyForFields != "Select" && p.query.where != nil {
		names = p.query.where.fields(names)
	}
	return slices.ContainsFunc(changed, func(name string) bool { return slices.Contains(names, name) })
}

// sobject returns the part of a record that an event has.
func (p *pushTopic) sobject(kind, id string, rec map[string]any, types *avro.RecordSchema) (b []byte, err error) {
	if kind == "DELETE" {
		return appendObject(nil, []string{"Id"}, map[string]any{"Id": id})
	}
	for _, name := range p.query.fields {
		b = append(b, ',')
		b = append(appendJSONString(b, name), ':')
		if at, ok := rec[name].(time.Time); ok && types != nil {
			if f, _ := field(types, name); f != nil {
				if dated, ok := appendDate(b, fieldType(f), at.UnixMilli(), false); ok {
					b = dated
					continue
				}
			}
		}
		if b, err = appendValue(b, rec[name]); err != nil {
			return nil, err
		}
	}
	b[0] = '{'
	return append(b, '}'), nil
}

// PublishTopic puts an event on the channel of a [PushTopic]. kind is created, updated, deleted or
// undeleted. [json.RawMessage] in the sobject is sent as it is.
func (s *Server) PublishTopic(name, kind string, sobject map[string]any) (Event, error) {
	t, ok := s.find("/topic/" + name)
	if !ok {
		return Event{}, fmt.Errorf("sfstreamtest: PushTopic %s is not defined", name)
	}
	text, err := appendObject(nil, slices.Sorted(maps.Keys(sobject)), sobject)
	if err != nil {
		return Event{}, err
	}
	return s.add(t, record{at: s.clock.date().UnixNano(), schema: kind, payload: text})
}
