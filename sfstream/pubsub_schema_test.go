package sfstream_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// pubsubSchemas is about the schemas that events are written with, and events that
// cannot be read.
func pubsubSchemas() []scenario {
	return []scenario{
		{name: "18_schemas_interleaved", run: schemasInterleaved},
		{name: "19_get_schema_fails", run: getSchemaFails},
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
