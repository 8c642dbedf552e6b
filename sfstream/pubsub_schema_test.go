package sfstream_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// pubsubSchemas is about the schemas that events are written with, and events that
// cannot be read.
func pubsubSchemas() []scenario {
	return []scenario{
		{name: "18_schemas_interleaved", run: schemasInterleaved},
		{name: "18_schemas_interleaved_in_a_response", run: schemasInAResponse},
		{name: "19_get_schema_fails", run: getSchemaFails},
		{name: "19_get_schema_fails_within_a_response", run: getSchemaFailsInAResponse},
		{name: "20_undecodable_payload", run: undecodablePayload},
	}
}

// withNew is a schema of orders that has a field more, of this type.
func withNew(avroType string) string {
	return labSchema("LabOrder__e", `{"name":"New__c","type":["null","`+avroType+`"],"default":null}`)
}

// schemasInterleaved: fields come and change their type. Each event is read with the
// schema that it was written with, whatever the channel's is by then.
func schemasInterleaved(t *testing.T) {
	schemas := []string{labSchema("LabOrder__e"), withNew("string"), withNew("double"), withNew("boolean")}
	values := []any{nil, "text", 2.5, true}
	const events = 40
	l := newLab(t)
	l.follow()
	ids := make(map[string]int)
	for n := range events {
		i := n % len(schemas)
		l.must(l.DefineEvent(labOrders, schemas[i]))
		payload := map[string]any{"N__c": float64(n)}
		if i > 0 {
			payload["New__c"] = values[i]
		}
		e, err := l.Publish(labOrders, payload)
		l.must(err)
		ids[e.SchemaID] = i
	}
	if len(ids) != len(schemas) {
		t.Fatalf("%d schemas", len(ids))
	}
	for n := range events {
		m := l.receive()
		fields, err := m.Fields()
		l.must(err)
		i := n % len(schemas)
		value, has := fields["New__c"]
		if l.number(m) != n || ids[m.SchemaID] != i || value != values[i] || has != (i > 0) {
			t.Errorf("event %d with schema %s is %v", n, m.SchemaID, fields)
		}
		m.Ack()
	}
	l.endStreams("", "UNAVAILABLE")
	l.publish(events)
	l.expect(events)
	if n := l.GetSchemaCalls(); n != len(schemas) {
		t.Errorf("%d GetSchema calls for %d schemas", n, len(schemas))
	}
	l.expectCalls(2, 1)
	l.finishStream(labOrders)
}

// kinds are the events of a channel of several objects, one of which changes: a field
// moves the bits of the others, or another type comes.
var kinds = []struct {
	object  string
	fields  []sfstreamtest.Field
	changed []string
}{
	{"Account", []sfstreamtest.Field{{Name: "Name", Type: "Text"}, {Name: "N__c", Type: "Integer"}}, []string{"N__c"}},
	{"Account", []sfstreamtest.Field{{Name: "New__c", Type: "Text"}, {Name: "Name", Type: "Text"}, {Name: "N__c", Type: "Integer"}}, []string{"New__c", "N__c"}},
	{"Contact", []sfstreamtest.Field{{Name: "N__c", Type: "Double"}}, []string{"N__c"}},
	{"Account", []sfstreamtest.Field{{Name: "N__c", Type: "Double"}, {Name: "New__c", Type: "Integer"}}, []string{"N__c", "New__c"}},
}

// publishKinds publishes so many events, each of the next kind.
func (l *lab) publishKinds(events int) {
	l.t.Helper()
	for n := range events {
		kind := kinds[n%len(kinds)]
		l.must(l.DefineObject(kind.object, kind.fields...))
		set := make(map[string]any)
		for _, f := range kind.fields {
			switch {
			case !slices.Contains(kind.changed, f.Name):
			case f.Type == "Text":
				set[f.Name] = fmt.Sprint(n)
			default:
				set[f.Name] = n
			}
		}
		_, err := l.Change(sfstreamtest.Change{Object: kind.object, Type: "UPDATE", RecordIDs: []string{aRecord}, Set: set})
		l.must(err)
	}
}

// expectKind expects the event with a number, whatever it is read with.
func (l *lab) expectKind(m *sfstream.Message, n int) {
	l.t.Helper()
	kind := kinds[n%len(kinds)]
	change, err := m.Change()
	l.must(err)
	fields, err := m.Fields()
	l.must(err)
	read, err := sfstream.Decode[struct {
		N   int `sf:"N__c"`
		New any `sf:"New__c"`
	}](m)
	l.must(err)
	if change.EntityName != kind.object || !slices.Equal(change.ChangedFields, kind.changed) {
		l.t.Errorf("event %d: %+v", n, change)
	}
	if fmt.Sprint(fields["N__c"]) != fmt.Sprint(n) || read.N != n || len(kind.changed) == 2 && fmt.Sprint(read.New) != fmt.Sprint(n) {
		l.t.Errorf("event %d: %v, %+v", n, fields, read)
	}
}

// schemasInAResponse: the events of one response are of several objects and schemas, in
// any order. The channel has no schema of its own.
func schemasInAResponse(t *testing.T) {
	const events = 60
	for _, most := range []int{1, 7, 100} {
		l := newLab(t, sfstreamtest.WithBatchEvents(most))
		l.publishKinds(events)
		l.start(sfstream.WithReplay(sfstream.ReplayAll))
		l.subscribe("/data/ChangeEvents")
		for n := range events {
			m := l.receive()
			l.expectKind(m, n)
			m.Ack()
		}
		if n := l.GetSchemaCalls(); n != len(kinds) {
			t.Errorf("%d GetSchema calls for %d schemas", n, len(kinds))
		}
		l.closeStreams()
	}
}

// getSchemaFailsInAResponse: what fails for a while holds what is behind it and skips
// nothing. What fails for good is the error of its messages alone.
func getSchemaFailsInAResponse(t *testing.T) {
	const events = 40
	for _, test := range []struct {
		fails int
		code  string
		bad   int // of kinds; -1: none
	}{{3, "UNAVAILABLE", -1}, {1, "schema.not.found", 0}} {
		l := newLab(t)
		l.publishKinds(events)
		l.FailGetSchema(test.fails, test.code)
		l.start(sfstream.WithReplay(sfstream.ReplayAll))
		l.subscribe("/data/ChangeEvents")
		for n := range events {
			m := l.receive()
			if n%len(kinds) != test.bad {
				l.expectKind(m, n)
			} else {
				l.expectDecodeError(m)
				_, err := m.Change()
				expectError[*sfstream.DecodeError](t, err)
			}
			m.Ack()
		}
		if n := l.client.Pending(); n != 0 {
			t.Errorf("%d messages too many", n)
		}
		l.must(l.client.Err())
		l.closeStreams()
	}
}

// getSchemaFails: what can pass holds the channel at the event. What cannot is the
// error of its messages: the stream goes on, which our delivery contract wants.
func getSchemaFails(t *testing.T) {
	l := newLab(t)
	l.follow()
	last := l.publish(1)[0]
	l.expect(1)
	l.must(l.DefineEvent(labOrders, withNew("string")))
	l.FailGetSchema(2, "UNAVAILABLE")
	l.publish(2, 3)
	l.expect(2, 3)
	l.expectPositions(labOrders, latest, after(last.ReplayID), after(last.ReplayID))
	if n := l.GetSchemaCalls(); n != 4 {
		t.Errorf("%d GetSchema calls", n)
	}

	for i, code := range []string{"schema.not.found", "schema.meta.permission"} {
		l.must(l.DefineEvent(labOrders, labSchema("LabOrder__e", fmt.Sprintf(`{"name":"F%d__c","type":["null","string"],"default":null}`, i))))
		l.FailGetSchema(1, code)
		events := l.publish(4, 5)
		for _, e := range events {
			m := l.receive()
			err := expectError[*sfstream.ServerError](t, l.expectDecodeError(m))
			if m.ID != e.ID || len(m.Raw()) == 0 || err.Reason != "sfdc.platform.eventbus.grpc."+code {
				t.Errorf("%+v: %+v", m, err)
			}
			m.Ack()
		}
		l.must(l.DefineEvent(labOrders, withNew("string"))) // one that is known
		l.publish(6)
		l.expect(6)
		if n := l.GetSchemaCalls(); n != 5+i {
			t.Errorf("%d GetSchema calls", n)
		}
	}
	l.expectCalls(3, 1)
	l.finishStream(labOrders)
}

// undecodablePayload: an event that nobody can read is in the way of no other, and
// does not come again.
func undecodablePayload(t *testing.T) {
	l := newLab(t)
	good := l.payload(1)
	other := l.publishOn(labUndated, 1)[0]
	bad := []sfstreamtest.RawEvent{
		{Payload: []byte{}},
		{Payload: good[:len(good)-1]},
		{Payload: append(bytes.Clone(good), 0)},
		{Payload: []byte{0x04, 0x00}, SchemaID: other.SchemaID}, // a branch that its union does not have
		{Payload: bytes.Repeat([]byte{0xff}, 1000)},
	}
	l.follow()
	for i, e := range bad {
		_, err := l.PublishRaw(labOrders, e)
		l.must(err)
		l.publish(i)
	}
	for i, e := range bad {
		m := l.receive()
		l.expectDecodeError(m)
		if !bytes.Equal(m.Raw(), e.Payload) {
			t.Errorf("raw bytes %x, want %x", m.Raw(), e.Payload)
		}
		m.Ack()
		m = l.receive()
		if n := l.number(m); n != i {
			t.Errorf("number %d, want %d", n, i)
		}
		m.Ack()
	}
	l.expectCalls(2, 2) // one of each was that of payload
	e, err := l.PublishRaw(labOrders, bad[1])
	l.must(err)
	l.receive().Ack() // nobody looks into it
	l.stop()
	l.publish(10)
	l.follow()
	l.expect(10)
	l.expectSubscribe(labOrders, "CUSTOM", e.ReplayID)
	l.finishStream(labOrders)
}
