package pubsub

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// pubsubSchemas is about the schemas that events are written with, and events that cannot be read.
func pubsubSchemas() []scenario {
	return []scenario{
		{name: "schemas_interleaved", run: schemasInterleaved},
		{name: "schemas_interleaved_in_a_response", run: schemasInAResponse},
		{name: "get_schema_fails", run: getSchemaFails},
		{name: "get_schema_fails_within_a_response", run: getSchemaFailsInAResponse},
		{name: "undecodable_payload", run: undecodablePayload},
	}
}

// withNew is a schema of orders that has a field more, of this type.
func withNew(avroType string) string {
	return lab.Schema("Order__e", `{"name":"New__c","type":["null","`+avroType+`"],"default":null}`)
}

// schemasInterleaved: fields come and change their type. Each event is read with the schema that it
// was written with, whatever the channel's is by then.
func schemasInterleaved(t *testing.T) {
	schemas := []string{lab.Schema("Order__e"), withNew("string"), withNew("double"), withNew("boolean")}
	values := []any{nil, "text", 2.5, true}
	const events = 40
	l := lab.New(t)
	l.Follow()
	ids := make(map[string]int)
	for n := range events {
		i := n % len(schemas)
		l.Must(l.DefineEvent(lab.Orders, schemas[i]))
		payload := map[string]any{"N__c": float64(n)}
		if i > 0 {
			payload["New__c"] = values[i]
		}
		e, err := l.Publish(lab.Orders, payload)
		l.Must(err)
		ids[e.SchemaID] = i
	}
	if len(ids) != len(schemas) {
		t.Fatalf("%d schemas", len(ids))
	}
	for n := range events {
		m := l.Receive()
		fields, err := m.Fields()
		l.Must(err)
		i := n % len(schemas)
		value, has := fields["New__c"]
		if l.Number(m) != n || ids[m.SchemaID] != i || value != values[i] || has != (i > 0) {
			t.Errorf("event %d with schema %s is %v", n, m.SchemaID, fields)
		}
		m.Ack()
	}
	endStreams(l, "", "UNAVAILABLE")
	l.PublishOrders(events)
	l.Expect(events)
	if n := l.GetSchemaCalls(); n != len(schemas) {
		t.Errorf("%d GetSchema calls for %d schemas", n, len(schemas))
	}
	expectCalls(l, 2, 1)
	finishStream(l, lab.Orders)
}

// kinds are the events of a channel of several objects, one of which changes: a field moves the
// bits of the others, or another type comes.
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
func publishKinds(l *lab.Lab, events int) {
	l.T.Helper()
	for n := range events {
		kind := kinds[n%len(kinds)]
		l.Must(l.DefineObject(kind.object, kind.fields...))
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
		l.Must(err)
	}
}

// expectKind expects the event with a number, whatever it is read with.
func expectKind(l *lab.Lab, m *sfstream.Message, n int) {
	l.T.Helper()
	kind := kinds[n%len(kinds)]
	change, err := m.Change()
	l.Must(err)
	fields, err := m.Fields()
	l.Must(err)
	read, err := sfstream.Decode[struct {
		N   int `sf:"N__c"`
		New any `sf:"New__c"`
	}](m)
	l.Must(err)
	if change.EntityName != kind.object || !slices.Equal(change.ChangedFields, kind.changed) {
		l.T.Errorf("event %d: %+v", n, change)
	}
	if fmt.Sprint(fields["N__c"]) != fmt.Sprint(n) || read.N != n || len(kind.changed) == 2 && fmt.Sprint(read.New) != fmt.Sprint(n) {
		l.T.Errorf("event %d: %v, %+v", n, fields, read)
	}
}

// schemasInAResponse: the events of one response are of several objects and schemas, in any order.
// The channel has no schema of its own.
func schemasInAResponse(t *testing.T) {
	const events = 60
	for _, most := range []int{1, 7, 100} {
		l := lab.New(t, sfstreamtest.WithBatchEvents(most))
		publishKinds(l, events)
		l.Start(sfstream.WithReplay(sfstream.ReplayAll))
		l.Subscribe("/data/ChangeEvents")
		for n := range events {
			m := l.Receive()
			expectKind(l, m, n)
			m.Ack()
		}
		if n := l.GetSchemaCalls(); n != len(kinds) {
			t.Errorf("%d GetSchema calls for %d schemas", n, len(kinds))
		}
		closeStreams(l)
	}
}

// getSchemaFailsInAResponse: what fails for a while holds what is behind it and skips nothing. What
// fails for good is the error of its messages alone.
func getSchemaFailsInAResponse(t *testing.T) {
	const events = 40
	for _, test := range []struct {
		fails int
		code  string
		bad   int // of kinds; -1: none
	}{{3, "UNAVAILABLE", -1}, {1, "schema.not.found", 0}} {
		l := lab.New(t)
		publishKinds(l, events)
		l.FailGetSchema(test.fails, test.code)
		l.Start(sfstream.WithReplay(sfstream.ReplayAll))
		l.Subscribe("/data/ChangeEvents")
		for n := range events {
			m := l.Receive()
			if n%len(kinds) != test.bad {
				expectKind(l, m, n)
			} else {
				l.ExpectDecodeError(m)
				_, err := m.Change()
				lab.ExpectError[*sfstream.DecodeError](t, err)
			}
			m.Ack()
		}
		if n := l.Client.Pending(); n != 0 {
			t.Errorf("%d messages too many", n)
		}
		l.Must(l.Client.Err())
		closeStreams(l)
	}
}

// getSchemaFails: what can pass holds the channel at the event. What cannot is the error of its
// messages: the stream goes on, which our delivery contract wants.
func getSchemaFails(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	last := l.PublishOrders(1)[0]
	l.Expect(1)
	l.Must(l.DefineEvent(lab.Orders, withNew("string")))
	l.FailGetSchema(2, "UNAVAILABLE")
	l.PublishOrders(2, 3)
	l.Expect(2, 3)
	expectPositions(l, lab.Orders, latest, after(last.ReplayID), after(last.ReplayID))
	if n := l.GetSchemaCalls(); n != 4 {
		t.Errorf("%d GetSchema calls", n)
	}

	for i, code := range []string{"schema.not.found", "schema.meta.permission"} {
		l.Must(l.DefineEvent(lab.Orders, lab.Schema("Order__e", fmt.Sprintf(`{"name":"F%d__c","type":["null","string"],"default":null}`, i))))
		l.FailGetSchema(1, code)
		events := l.PublishOrders(4, 5)
		for _, e := range events {
			m := l.Receive()
			err := lab.ExpectError[*sfstream.ServerError](t, l.ExpectDecodeError(m))
			if m.ID != e.ID || len(m.Raw()) == 0 || err.Reason != "sfdc.platform.eventbus.grpc."+code {
				t.Errorf("%+v: %+v", m, err)
			}
			m.Ack()
		}
		l.Must(l.DefineEvent(lab.Orders, withNew("string"))) // one that is known
		l.PublishOrders(6)
		l.Expect(6)
		if n := l.GetSchemaCalls(); n != 5+i {
			t.Errorf("%d GetSchema calls", n)
		}
	}
	expectCalls(l, 3, 1)
	finishStream(l, lab.Orders)
}

// undecodablePayload: an event that nobody can read is in the way of no other, and does not come
// again.
func undecodablePayload(t *testing.T) {
	l := lab.New(t)
	good := l.Payload(1)
	other := l.PublishNumbers(lab.Undated, 1)[0]
	bad := []sfstreamtest.RawEvent{
		{Payload: []byte{}},
		{Payload: good[:len(good)-1]},
		{Payload: append(bytes.Clone(good), 0)},
		{Payload: []byte{0x04, 0x00}, SchemaID: other.SchemaID}, // a branch that its union does not have
		{Payload: bytes.Repeat([]byte{0xff}, 1000)},
	}
	l.Follow()
	for i, e := range bad {
		_, err := l.PublishRaw(lab.Orders, e)
		l.Must(err)
		l.PublishOrders(i)
	}
	for i, e := range bad {
		m := l.Receive()
		l.ExpectDecodeError(m)
		if !bytes.Equal(m.Raw(), e.Payload) {
			t.Errorf("raw bytes %x, want %x", m.Raw(), e.Payload)
		}
		m.Ack()
		m = l.Receive()
		if n := l.Number(m); n != i {
			t.Errorf("number %d, want %d", n, i)
		}
		m.Ack()
	}
	expectCalls(l, 2, 2) // one of each was that of payload
	e, err := l.PublishRaw(lab.Orders, bad[1])
	l.Must(err)
	l.Receive().Ack() // nobody looks into it
	l.Stop()
	l.PublishOrders(10)
	l.Follow()
	l.Expect(10)
	l.ExpectSubscribe(lab.Orders, "CUSTOM", e.ReplayID)
	finishStream(l, lab.Orders)
}
