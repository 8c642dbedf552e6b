package sfstreamtest

import (
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
