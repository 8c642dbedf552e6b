package contract

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// schemaRules prove how schemas come, and what becomes of events that cannot be read.
func schemaRules() []rule {
	rules := []rule{
		// Pub/Sub API only: JSON needs no schema.
		{number: 9, words: "a schema is fetched once per id, however schemas interleave", run: schemaFetchedOnce, only: sfstream.PubSub},
		{number: 9, words: "a schema change between events loses nothing", run: schemaChanges, only: sfstream.PubSub},
		{number: 9, words: "a transient failure of GetSchema holds its channel and no other", run: schemaFailsForOneChannel, only: sfstream.PubSub},
		{number: 9, words: "a transient failure of GetSchema in the middle skips nothing", run: schemaFailsInMiddle, only: sfstream.PubSub},
		{number: 9, words: "a transient failure of GetSchema for the first new events loses none, whatever their dates", run: schemaFailsForFirst, only: sfstream.PubSub},
		{number: 9, words: "a token that GetSchema refuses is renewed once", run: schemaRefusesToken, only: sfstream.PubSub},
		{number: 9, words: "an unparsable schema is the error of its messages, and asked for once per session", run: unparsableSchema, only: sfstream.PubSub},
		{number: 9, words: "an event without a schema id is the error of its message", run: noSchemaID, only: sfstream.PubSub},
		// Pub/Sub API only: a CometD server would not send what is no JSON.
		{number: 9, words: "an undecodable payload is the error of its message, and the stream goes on", run: undecodablePayload, only: sfstream.PubSub},
		{number: 9, words: "a bad event does not come again, also not after a restart", run: badEventOnce, only: sfstream.PubSub},
		{number: 9, words: "decoding does no I/O", run: decodingOffline},
		{number: 9, words: "a channel of many kinds of event needs no schema of its own", run: manyKindsOfEvent},
	}
	transient := []string{"UNAVAILABLE", "INTERNAL", "service.unavailable", "schema.api.unavailable", "service.protection.triggered", "made.up.code", "UNIMPLEMENTED", "INVALID_ARGUMENT service.unavailable"}
	rules = append(rules, each(rule{number: 9, words: "a GetSchema that fails twice with %s is repeated", only: sfstream.PubSub}, transient, schemaRepeated)...)
	permanent := []string{"schema.not.found", "schema.meta.permission", "schema.validation.failed"}
	return append(rules, each(rule{number: 9, words: "a GetSchema that fails with %s is the error of its messages", only: sfstream.PubSub}, permanent, schemaFailsForGood)...)
}

func schemaFetchedOnce(t *testing.T) {
	l := lab.New(t)
	oldPayload := l.Payload(7)
	oldID := l.PublishOrders(0)[0].SchemaID
	l.Must(l.DefineEvent(lab.Orders, lab.Schema("Order__e", `{"name":"New__c","type":["null","string"],"default":null}`)))
	l.Follow()
	calls := l.GetSchemaCalls()
	for n := range 10 {
		_, err := l.Publish(lab.Orders, map[string]any{"N__c": float64(n), "New__c": "yes"})
		l.Must(err)
		_, err = l.PublishRaw(lab.Orders, sfstreamtest.RawEvent{Payload: oldPayload, SchemaID: oldID})
		l.Must(err)
	}
	for n := range 10 {
		m := l.Receive()
		fields, err := m.Fields()
		l.Must(err)
		if fields["N__c"] != float64(n) || fields["New__c"] != "yes" {
			t.Errorf("%v", fields)
		}
		m.Ack()
		m = l.Receive()
		fields, err = m.Fields()
		l.Must(err)
		if _, has := fields["New__c"]; has || fields["N__c"] != float64(7) || m.SchemaID != oldID {
			t.Errorf("%v", fields)
		}
		m.Ack()
	}
	l.Reconnect(lab.Orders)
	l.ExpectStillWorks(lab.Orders)
	if n := l.GetSchemaCalls() - calls; n != 2 {
		t.Errorf("%d GetSchema calls for 2 schemas", n)
	}
}

func schemaChanges(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	for n := range 5 {
		l.PublishOrders(n)
		l.Must(l.DefineEvent(lab.Orders, lab.Schema("Order__e", fmt.Sprintf(`{"name":"F%d__c","type":["null","string"],"default":null}`, n))))
	}
	l.Expect(0, 1, 2, 3, 4)
}

func schemaFailsForOneChannel(t *testing.T) {
	l := lab.New(t)
	l.Start(sfstream.WithReplay(sfstream.ReplayAll))
	l.ChangeAccount(1)
	l.Subscribe(lab.Accounts)
	l.Expect(1)
	l.FailGetSchema(-1, "UNAVAILABLE")
	l.PublishOrders(1, 2, 3)
	l.Subscribe(lab.Orders)
	l.Pass(10 * time.Minute)
	l.ChangeAccount(2)
	l.Expect(2)
	if m := l.Marker(lab.Orders); len(m.ReplayID) > 0 {
		t.Errorf("the marker has passed what was not received: %x", m.ReplayID)
	}
	l.ClearFaults()
	l.Expect(1, 2, 3)
	l.ExpectStillWorks(lab.Orders)
}

func schemaFailsInMiddle(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.PublishOrders(1, 2)
	l.Expect(1, 2)
	l.FailGetSchema(5, "UNAVAILABLE")
	l.PublishOrders(3)
	l.Must(l.DefineEvent(lab.Orders, lab.Schema("Order__e", `{"name":"New__c","type":["null","string"],"default":null}`)))
	l.PublishOrders(4, 5)
	l.Pass(time.Second)
	l.Stop() // and a restart in it neither
	l.Follow()
	l.Expect(3, 4, 5)
}

func schemaFailsForFirst(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.FailGetSchema(1, "UNAVAILABLE")
	l.PublishDated(1, time.Now().Add(-5*time.Hour))
	l.PublishDated(2, time.Now().Add(-5*time.Hour))
	l.Expect(1, 2)
	l.ExpectStillWorks(lab.Orders)
}

func schemaRefusesToken(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.ExpireToken() // the open stream lives on, as Salesforce's do
	l.PublishOrders(1)
	l.Expect(1)
	expectLogins(l, 2)
	l.ExpectStillWorks(lab.Orders)
}

func unparsableSchema(t *testing.T) {
	l := lab.New(t)
	var calls atomic.Int64
	l.Follow(sfstream.WithPubSubDialOptions(grpc.WithUnaryInterceptor(
		func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			err := invoke(ctx, method, req, reply, cc, opts...)
			if info, ok := reply.(*eventbus.SchemaInfo); ok {
				calls.Add(1)
				info.SchemaJson = `{"type":"rec`
			}
			return err
		})))
	for session := range 2 {
		l.PublishOrders(lab.Numbers(1, 10)...)
		for range 10 {
			m := l.Receive()
			l.ExpectDecodeError(m)
			m.Ack()
		}
		if n := calls.Load(); n != int64(session)+1 {
			t.Errorf("%d GetSchema calls in %d sessions", n, session+1)
		}
		l.Reconnect(lab.Orders)
	}
}

func noSchemaID(t *testing.T) {
	l := lab.New(t)
	var blank atomic.Bool
	blank.Store(true)
	l.Follow(sfstream.WithPubSubDialOptions(grpc.WithStreamInterceptor(
		func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, stream grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			s, err := stream(ctx, desc, cc, method, opts...)
			return &changedStream{s, func(r *eventbus.Response) {
				for i := range r.Events {
					if blank.Load() {
						r.Events[i].SchemaID = eventbus.Span{}
					}
				}
			}}, err
		})))
	l.PublishOrders(1, 2)
	for range 2 {
		m := l.Receive()
		l.ExpectDecodeError(m)
		m.Ack()
	}
	if n := l.GetSchemaCalls(); n != 0 {
		t.Errorf("GetSchema was called %d times for no id", n)
	}
	blank.Store(false)
	l.ExpectStillWorks(lab.Orders)
}

func undecodablePayload(t *testing.T) {
	l := lab.New(t)
	good := l.Payload(3)
	l.Follow()
	bad := [][]byte{{}, {0xff}, good[:len(good)-1], append(bytes.Clone(good), 0), bytes.Repeat([]byte{0xff}, 100)}
	for i, payload := range bad {
		_, err := l.PublishRaw(lab.Orders, sfstreamtest.RawEvent{Payload: payload})
		l.Must(err)
		l.PublishOrders(i)
	}
	for i, payload := range bad {
		m := l.Receive()
		l.ExpectDecodeError(m)
		if !bytes.Equal(m.Raw(), payload) {
			t.Errorf("raw bytes %x, want %x", m.Raw(), payload)
		}
		m.Ack()
		m = l.Receive()
		if n := l.Number(m); n != i {
			t.Errorf("number %d, want %d", n, i)
		}
		m.Ack()
	}
	l.Reconnect(lab.Orders)
	l.ExpectStillWorks(lab.Orders)
}

func badEventOnce(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	e, err := l.PublishRaw(lab.Orders, sfstreamtest.RawEvent{Payload: []byte{0xff}})
	l.Must(err)
	l.Receive().Ack()
	l.Stop()
	if m := l.Marker(lab.Orders); !bytes.Equal(m.ReplayID, e.ReplayID) {
		t.Errorf("marker %x, want %x", m.ReplayID, e.ReplayID)
	}
	l.Follow()
	l.ExpectStillWorks(lab.Orders)
}

func decodingOffline(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.PublishOrders(1)
	m := l.Receive()
	m.Ack()
	calls := l.GetSchemaCalls()
	l.Refuse(true)
	l.DropConnections()
	l.Stop()
	if n := l.Number(m); n != 1 {
		t.Errorf("number %d", n)
	}
	if n := l.GetSchemaCalls(); n != calls {
		t.Error("GetSchema was called")
	}
}

func manyKindsOfEvent(t *testing.T) {
	l := lab.New(t)
	l.Start()
	l.Subscribe("/data/ChangeEvents")
	l.ChangeAccount(1, 2)
	l.Expect(1, 2)
}

func schemaRepeated(t *testing.T, code string) {
	l := lab.New(t)
	l.PublishOrders(1)
	l.Follow(sfstream.WithReplay(sfstream.ReplayAll))
	l.Expect(1)
	l.Must(l.DefineEvent(lab.Orders, lab.Schema("Order__e", `{"name":"New__c","type":["null","string"],"default":null}`)))
	calls := l.GetSchemaCalls()
	l.FailGetSchema(2, code)
	l.PublishOrders(2, 3)
	l.Expect(2, 3)
	if n := l.GetSchemaCalls() - calls; n != 3 {
		t.Errorf("%d GetSchema calls", n)
	}
	l.ExpectStillWorks(lab.Orders)
}

func schemaFailsForGood(t *testing.T, code string) {
	l := lab.New(t)
	l.FailGetSchema(-1, code)
	l.Follow()
	events := l.PublishOrders(lab.Numbers(1, 10)...)
	for _, e := range events {
		m := l.Receive()
		err := l.ExpectDecodeError(m)
		lab.ExpectError[*sfstream.ServerError](t, err)
		if m.ID != e.ID || !bytes.Equal(m.ReplayID, e.ReplayID) || len(m.Raw()) == 0 || !m.Date().IsZero() {
			t.Errorf("%+v", m)
		}
		m.Ack()
	}
	if n := l.GetSchemaCalls(); n != 1 {
		t.Errorf("%d GetSchema calls", n)
	}
	l.ClearFaults()
	l.Reconnect(lab.Orders) // a permission may have come back
	l.ExpectStillWorks(lab.Orders)
}

// changedStream lets a test change what the server sends.
type changedStream struct {
	grpc.ClientStream
	change func(*eventbus.Response)
}

func (s *changedStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if r, ok := m.(*eventbus.Response); ok && err == nil {
		s.change(r)
	}
	return err
}
