package sfstreamtest

import (
	"maps"
	"strings"
	"time"

	"github.com/hamba/avro/v2"
)

// changeEvent is a change and the event that it makes, ready to be published.
type changeEvent struct {
	change  Change
	topic   *topic
	schema  *schema
	body    map[string]any // the payload as plain values
	changed bitmap
	record  record
}

// changedRecord is a record as a change left it.
type changedRecord struct {
	id     string
	values map[string]any // all fields of the record afterwards; shared, so never written to
	fields []string       // the fields that the change has changed
}

// apply changes the values that the org knows of the records. A gap event has no values: REST shows
// when its records were changed or that they are deleted, and [Server.SetRecord] says what they
// are.
func (s *Server) apply(c Change, now time.Time) (changed []changedRecord) {
	kind, gap := strings.CutPrefix(c.Type, "GAP_")
	if _, ok := topicTypes[kind]; !ok {
		return nil
	}
	c.Type = kind
	if gap && kind == "CREATE" {
		c.Type = "UPDATE" // it keeps what SetRecord gave the record
	}
	var types *avro.RecordSchema
	if _, sc, err := s.publishable(changeChannel(c.Object)); err == nil {
		types = sc.avro
	}
	for _, id := range c.RecordIDs {
		r := changedRecord{id: id}
		r.values, r.fields = s.records.apply(c, id, types, now, s.account.UserID)
		if !gap {
			changed = append(changed, r)
		}
	}
	return changed
}

// publishChange puts the event of a change on the object's channel and on those that also carry it.
func (s *Server) publishChange(e *changeEvent, changed []changedRecord) (Event, error) {
	return s.post(e.topic, e.record, func(m *member) ([]record, error) {
		return e.forMember(m, changed, s.dice.events, s.config.sharedEventID)
	})
}

// forMember returns the records that the event becomes on a channel of which m is the member: one
// per changed record if the member is enriched, else one, and none if the filter keeps it back.
func (e *changeEvent) forMember(m *member, changed []changedRecord, ids *dice, shared bool) ([]record, error) {
	header, _ := e.body["ChangeEventHeader"].(map[string]any)
	switch {
	case m == nil || len(changed) == 0:
		return []record{e.record}, nil
	case len(m.enriched) == 0: // its filter, if any, names only fields of the header
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
			r.id = ids.uuid()
		}
		records = append(records, r)
	}
	return records, nil
}

// enrichment has what a replay needs to encode an enriched event anew, with the values that its
// record has by then.
type enrichment struct {
	object, id string
	schema     *schema
	fields     []string
	changed    bitmap // the fields that keep the values of the event
	body       map[string]any
}

// payload encodes the event with these values of its record in the enriched fields. An enriched
// field without a value is null, and not among the nulledFields.
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

// enrichedNow returns the payload of an enriched event when it is replayed: its enriched fields
// have the values of that moment.
func (s *Server) enrichedNow(r *record) []byte {
	values := s.records.current(r.enriched.object, r.enriched.id)
	payload, err := r.enriched.payload(values)
	if values == nil || err != nil { // the record is not known, or the schema has changed since
		return r.payload
	}
	return payload
}

// current returns the values that a record has now, nil if it is not known.
func (r *records) current(object, id string) map[string]any {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.objects[object][id]
}
