package sfstreamtest

import (
	"maps"
	"time"

	"github.com/hamba/avro/v2"
)

// changeEvent is a change that is ready to be published.
type changeEvent struct {
	change  Change
	topic   *topic
	schema  *schema
	body    map[string]any // as plain values
	changed bitmap
	record  record
}

// changedRecord is what a change made of a record.
type changedRecord struct {
	id     string
	values map[string]any // never changed any more
	fields []string       // those that changed
}

// apply makes a change to its records. Gaps tell of no values.
func (s *Server) apply(c Change, now time.Time) (changed []changedRecord) {
	if _, ok := topicTypes[c.Type]; !ok {
		return nil
	}
	var types *avro.RecordSchema
	if _, sc, err := s.publishable(changeChannel(c.Object)); err == nil {
		types = sc.avro
	}
	for _, id := range c.RecordIDs {
		r := changedRecord{id: id}
		r.values, r.fields = s.records.apply(c, id, types, now, s.account.UserID)
		changed = append(changed, r)
	}
	return changed
}

// publishChange puts a change on its channels.
func (s *Server) publishChange(e *changeEvent, changed []changedRecord) (Event, error) {
	return s.post(e.topic, e.record, func(m *member) ([]record, error) {
		return e.forMember(m, changed, s.config.sharedEventID)
	})
}

// forMember is what a change is on a channel where its event is a member: one event
// per record, where it is enriched.
func (e *changeEvent) forMember(m *member, changed []changedRecord, shared bool) ([]record, error) {
	header, _ := e.body["ChangeEventHeader"].(map[string]any)
	switch {
	case m == nil || len(changed) == 0:
		return []record{e.record}, nil
	case len(m.enriched) == 0: // a filter on the header alone
		if !m.passes(nil, header) {
			return nil, nil
		}
		return []record{e.record}, nil
	}
	var records []record
	for _, c := range changed {
		if !m.passes(c.values, header) {
			continue
		}
		of := &enrichment{
			object: e.change.Object, id: c.id, schema: e.schema, fields: m.enriched, changed: e.changed,
			body: maps.Clone(e.body),
		}
		header := maps.Clone(header)
		header["recordIds"] = []string{c.id}
		of.body["ChangeEventHeader"] = header
		r := e.record
		if t := e.change.Type; t != "UPDATE" && t != "DELETE" {
			of.fields = nil
		}
		var err error
		if r.payload, err = of.payload(c.values); err != nil {
			return nil, err
		}
		if len(of.fields) > 0 {
			r.enriched = of
		}
		if !shared && len(records) > 0 {
			r.id = newUUID()
		}
		records = append(records, r)
	}
	return records, nil
}

// enrichment is what it takes to give an event the values of now.
type enrichment struct {
	object, id string
	schema     *schema
	fields     []string
	changed    bitmap // what the event keeps
	body       map[string]any
}

// payload is the event with the fields that a record has. Those that are empty are
// null, and not among the nulled fields.
func (e *enrichment) payload(values map[string]any) ([]byte, error) {
	body := maps.Clone(e.body)
	for _, name := range e.fields {
		f, i := field(e.schema.avro, name)
		value, known := values[name]
		if f == nil || !known || e.changed.has(top, i) {
			continue
		}
		members, _ := compound(f.Type())
		have, whole := value.(map[string]any)
		if members != nil && whole && len(e.changed[i]) > 0 {
			own, _ := body[name].(map[string]any)
			merged := maps.Clone(have)
			for j, m := range members.Fields() {
				if e.changed.has(i, j) {
					merged[m.Name()] = own[m.Name()]
				}
			}
			value = merged
		}
		body[name] = value
	}
	return e.schema.encode(body)
}

// enrichedNow is the payload of an event that is replayed.
func (s *Server) enrichedNow(r *record) []byte {
	values := s.records.current(r.enriched.object, r.enriched.id)
	payload, err := r.enriched.payload(values)
	if values == nil || err != nil { // a schema that has changed meanwhile
		return r.payload
	}
	return payload
}

// current is what a record has now.
func (r *records) current(object, id string) map[string]any {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.objects[object][id]
}
