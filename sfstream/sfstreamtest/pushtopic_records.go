package sfstreamtest

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hamba/avro/v2"
)

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
	if len(topics) == 0 {
		return first, nil
	}
	kind := topicTypes[c.Type]
	fields := s.fieldsOfObject(c.Object)
	var types *avro.RecordSchema
	if _, sc, err := s.publishable(changeChannel(c.Object)); err == nil {
		types = sc.avro
	}
	for _, r := range changed {
		values, names := flattened(fields, r.values), c.notified(fields, r.fields)
		for _, t := range topics {
			t.mu.Lock()
			def := t.push
			t.mu.Unlock()
			if def == nil || !def.wants(c.Type, values, names) {
				continue
			}
			text, err := def.sobject(c.Type, r.id, values, types)
			if err != nil {
				return first, err
			}
			ev, err := s.add(t, record{at: now.UnixNano(), schema: kind, payload: text})
			for _, old := range def.before {
				if err == nil && old.deserted() {
					_, err = s.add(old, record{at: now.UnixNano(), schema: kind, payload: text})
				}
			}
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

// deserted reports whether a channel has subscriptions although nothing has its name any more.
func (t *topic) deserted() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.subs) > 0 && !t.existsLocked()
}

// fieldsOfObject returns the fields of an object, nil if they are not known.
func (s *Server) fieldsOfObject(object string) []sobjectField {
	if _, sc, err := s.publishable(changeChannel(object)); err == nil {
		return fieldsOf(sc.avro)
	}
	if _, types, ok := standardObject(object); ok {
		return fieldsOf(types)
	}
	return nil
}

// flattened returns the values of a record with the members of its compounds as fields of their
// own, as queries see them.
func flattened(fields []sobjectField, rec map[string]any) map[string]any {
	row := maps.Clone(rec)
	for _, f := range fields {
		if v := f.value(rec); v != nil {
			row[f.name] = v
		}
	}
	return row
}

// notified returns the fields whose changes PushTopics see, of those that a change has changed. An
// address or a location is seen by its members only, a name only as a whole, and what Salesforce
// itself keeps of a record is not seen at all.
func (c Change) notified(fields []sobjectField, changed []string) (names []string) {
	parted := make(map[string]bool)
	for _, f := range fields {
		parted[f.name] = f.typ == "address" || f.typ == "location"
	}
	for _, name := range changed {
		if system := name == "SystemModstamp" || name == "LastModifiedDate" || name == "LastModifiedById"; !system && !parted[name] {
			names = append(names, name)
		}
	}
	for _, f := range fields {
		members, _ := c.Set[f.compound].(map[string]any)
		_, set := members[f.member]
		if parted[f.compound] && (set || slices.Contains(c.Null, f.compound) || slices.Contains(c.Null, f.compound+"."+f.member)) {
			names = append(names, f.name)
		}
	}
	return names
}
