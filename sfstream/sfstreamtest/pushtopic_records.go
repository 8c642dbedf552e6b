package sfstreamtest

import (
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/hamba/avro/v2"
)

// records has the current values of all records that changes told of, because PushTopics see whole
// records.
type records struct {
	mu      sync.Mutex
	objects map[string]map[string]map[string]any // by object and id
}

// apply makes a change to a record. It returns the values that the record has then, and the names
// of the fields that changed. types is nil if the types of the object are not known.
func (r *records) apply(c Change, id string, types *avro.RecordSchema, now time.Time, user string) (rec map[string]any, changed []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.objects == nil {
		r.objects = make(map[string]map[string]map[string]any)
	}
	byID := r.objects[c.Object]
	if byID == nil {
		byID = make(map[string]map[string]any)
		r.objects[c.Object] = byID
	}
	rec = maps.Clone(byID[id])
	if rec == nil || c.Type == "CREATE" {
		rec = make(map[string]any)
	}
	set := func(name string, value any) {
		rec[name] = value
		changed = append(changed, name)
	}
	user = or(c.CommitUser, user)
	if !c.CommitTime.IsZero() {
		now = c.CommitTime
	}
	rec["Id"] = id
	if c.Type == "CREATE" {
		rec["CreatedDate"], rec["CreatedById"] = now, user
	}
	if c.Type != "DELETE" {
		set("LastModifiedDate", now)
		set("SystemModstamp", now)
		rec["LastModifiedById"] = user
	}
	for name, value := range c.Set {
		if members, ok := value.(map[string]any); ok {
			old, _ := rec[name].(map[string]any)
			merged := maps.Clone(old)
			if merged == nil {
				merged = make(map[string]any)
			}
			maps.Copy(merged, members)
			value = merged
		}
		set(name, typed(types, name, value))
	}
	for _, name := range c.Null {
		parent, child, nested := strings.Cut(name, ".")
		if !nested {
			set(name, nil)
			continue
		}
		if members, ok := rec[parent].(map[string]any); ok {
			members = maps.Clone(members)
			members[child] = nil
			set(parent, members)
		}
	}
	byID[id] = rec
	return rec, changed
}

// typed turns a value into the form that PushTopics compare and show: a double if the field is one,
// a time if it is a date.
func typed(types *avro.RecordSchema, name string, v any) any {
	n, ok := float(v)
	if !ok || types == nil {
		return v
	}
	f, _ := field(types, name)
	if f == nil {
		return v
	}
	if _, dated := appendDate(nil, fieldType(f), 0, false); dated {
		return time.UnixMilli(int64(n)).UTC()
	}
	if union, ok := f.Type().(*avro.UnionSchema); ok && union.Contains(avro.Double) {
		return n
	}
	return v
}

// topicTypes has the type of event for each type of change. Gaps make no event.
var topicTypes = map[string]string{"CREATE": "created", "UPDATE": "updated", "DELETE": "deleted", "UNDELETE": "undeleted"}

// followed returns the PushTopics on an object.
func (s *Server) followed(object string) []*topic {
	s.mu.Lock()
	topics := s.pushTopics
	s.mu.Unlock()
	var found []*topic
	for _, t := range topics {
		t.mu.Lock()
		if t.push != nil && strings.EqualFold(t.push.query.object, object) {
			found = append(found, t)
		}
		t.mu.Unlock()
	}
	return found
}

// notify puts a change on the PushTopics of its object. The Event returned is the first one, if
// there is any.
func (s *Server) notify(c Change, changed []changedRecord, topics []*topic, now time.Time) (first Event, err error) {
	kind := topicTypes[c.Type]
	var types *avro.RecordSchema
	if _, sc, err := s.publishable(changeChannel(c.Object)); err == nil {
		types = sc.avro
	}
	for _, r := range changed {
		for _, t := range topics {
			t.mu.Lock()
			def := t.push
			t.mu.Unlock()
			if def == nil || !def.wants(c.Type, r.values, r.fields) {
				continue
			}
			text, err := def.sobject(c.Type, r.id, r.values, types)
			if err != nil {
				return first, err
			}
			ev, err := s.add(t, record{at: now.UnixNano(), schema: kind, payload: text})
			if err != nil {
				return first, err
			}
			if first.ReplayID == nil {
				first = ev
			}
		}
	}
	return first, nil
}
