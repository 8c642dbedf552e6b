package sfstream_test

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// duplicateRules prove what is known again after a reconnect, and what is not.
func duplicateRules() []rule {
	return []rule{
		{number: 7, words: "what a server resends after a reconnect is dropped", run: func(t *testing.T) {
			l := newLab(t)
			l.publish(numbers(1, 30)...)
			l.follow(sfstream.WithReplay(sfstream.ReplayAll))
			l.expect(numbers(1, 30)...)
			for n := 31; n < 40; n++ {
				l.Duplicate(labOrders, n%7)
				l.outage(time.Second, func() { l.publish(n) })
				l.expect(n)
			}
			l.expectStillWorks(labOrders)
		}},
		{number: 7, words: "what a server resends while it waits or is unacked is dropped", run: func(t *testing.T) {
			l := newLab(t)
			l.publish(1, 2, 3, 4)
			l.follow(sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithAck(sfstream.AckManual))
			one, two := l.receive(), l.receive()
			l.Duplicate(labOrders, 4)
			l.reconnect(labOrders)
			l.pass(time.Minute)
			l.expect(3, 4)
			one.Ack()
			two.Ack()
			l.expectStillWorks(labOrders)
		}},
		{number: 7, words: "the last 1,000 are remembered", run: func(t *testing.T) {
			l := newLab(t)
			l.publish(numbers(1, 1500)...)
			l.follow(sfstream.WithReplay(sfstream.ReplayAll))
			l.expect(numbers(1, 1500)...)
			l.Duplicate(labOrders, 1000)
			l.reconnect(labOrders)
			l.publish(1501)
			l.expect(1501)
			l.Duplicate(labOrders, 1100) // 402 … 501 are forgotten
			l.reconnect(labOrders)
			l.expect(numbers(402, 501)...)
			l.expectStillWorks(labOrders)
		}},
		{number: 7, words: "the same event id with another replay id is another event", run: func(t *testing.T) {
			l := newLab(t)
			payload := l.payload(1)
			raw := sfstreamtest.RawEvent{Payload: payload, ID: "chosen by the publisher"}
			l.follow()
			for range 3 {
				_, err := l.PublishRaw(labOrders, raw)
				l.must(err)
				_, err = l.PublishRaw(labOrders, raw)
				l.must(err)
				l.expect(1, 1)
				l.reconnect(labOrders)
			}
		}},
		{number: 7, words: "an event without a replay id is never taken for a duplicate", run: func(t *testing.T) {
			l := newLab(t)
			payload := l.payload(2)
			l.follow()
			l.publish(1)
			_, err := l.PublishRaw(labOrders, sfstreamtest.RawEvent{Payload: payload, NoReplayID: true})
			l.must(err)
			l.expect(1, 2)
			l.reconnect(labOrders)
			l.expect(2) // it is after the position
			l.publish(3)
			l.expect(3)
			l.reconnect(labOrders)
			l.expectStillWorks(labOrders)
		}},
		{number: 7, words: "a fallback clears the memory", run: func(t *testing.T) {
			l := newLab(t)
			l.publish(1, 2, 3)
			l.follow(sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithReplayFallback(sfstream.FallbackAll))
			l.expect(1, 2, 3)
			l.Reject(labOrders, 1, stale)
			l.DropConnections()
			l.expect(1, 2, 3)
			l.expectStillWorks(labOrders)
		}},
		{number: 7, words: "resuming from the oldest without a fallback repeats nothing", run: func(t *testing.T) {
			l := newLab(t)
			l.follow()
			l.publish(1, 2, 3)
			l.expect(1, 2, 3)
			l.Reject(labOrders, 1, stale) // the channel is followed until now: not stale
			l.DropConnections()
			l.publish(4)
			l.expect(4)
			if n := l.gapCount(); n != 0 {
				t.Errorf("%d gaps", n)
			}
		}},
		{number: 7, words: "another subscription of the channel remembers nothing", run: func(t *testing.T) {
			l := newLab(t)
			l.publish(1, 2, 3)
			l.follow(sfstream.WithReplay(sfstream.ReplayAll))
			l.receive().Ack()
			l.must(l.client.Unsubscribe(t.Context(), labOrders)) // 2 and 3 count as never received
			l.subscribe(labOrders)
			l.expect(2, 3)
		}},
	}
}

// payload is that of a published order.
func (l *lab) payload(number int) []byte {
	l.t.Helper()
	var payload []byte
	c, err := sfstream.New(l.Authenticator(), sfstream.WithOrg(l))
	l.must(err)
	l.must(c.Open(l.t.Context()))
	l.must(c.Subscribe(l.t.Context(), labOrders))
	synctest.Wait()
	l.publish(number)
	m, err := c.Receive(l.t.Context())
	l.must(err)
	payload = bytes.Clone(m.Raw())
	l.must(c.Close())
	return payload
}

// badEventRules prove what becomes of events that cannot be read.
func badEventRules() []rule {
	rules := []rule{
		{number: 9, words: "a schema is fetched once per id, however schemas interleave", run: func(t *testing.T) {
			l := newLab(t)
			oldPayload := l.payload(7)
			oldID := l.publish(0)[0].SchemaID
			l.must(l.DefineEvent(labOrders, labSchema("LabOrder__e", `{"name":"New__c","type":["null","string"],"default":null}`)))
			l.follow()
			calls := l.GetSchemaCalls()
			for n := range 10 {
				_, err := l.Publish(labOrders, map[string]any{"N__c": float64(n), "New__c": "yes"})
				l.must(err)
				_, err = l.PublishRaw(labOrders, sfstreamtest.RawEvent{Payload: oldPayload, SchemaID: oldID})
				l.must(err)
			}
			for n := range 10 {
				m := l.receive()
				fields, err := m.Fields()
				l.must(err)
				if fields["N__c"] != float64(n) || fields["New__c"] != "yes" {
					t.Errorf("%v", fields)
				}
				m.Ack()
				m = l.receive()
				fields, err = m.Fields()
				l.must(err)
				if _, has := fields["New__c"]; has || fields["N__c"] != float64(7) || m.SchemaID != oldID {
					t.Errorf("%v", fields)
				}
				m.Ack()
			}
			l.reconnect(labOrders)
			l.expectStillWorks(labOrders)
			if n := l.GetSchemaCalls() - calls; n != 2 {
				t.Errorf("%d GetSchema calls for 2 schemas", n)
			}
		}},
		{number: 9, words: "a schema change between events loses nothing", run: func(t *testing.T) {
			l := newLab(t)
			l.follow()
			for n := range 5 {
				l.publish(n)
				l.must(l.DefineEvent(labOrders, labSchema("LabOrder__e", fmt.Sprintf(`{"name":"F%d__c","type":["null","string"],"default":null}`, n))))
			}
			l.expect(0, 1, 2, 3, 4)
		}},
		{number: 9, words: "a transient failure of GetSchema holds its channel and no other", run: func(t *testing.T) {
			l := newLab(t)
			l.start(sfstream.WithReplay(sfstream.ReplayAll))
			l.change(1)
			l.subscribe(labAccounts)
			l.expect(1)
			l.FailGetSchema(-1, "UNAVAILABLE")
			l.publish(1, 2, 3)
			l.subscribe(labOrders)
			l.pass(10 * time.Minute)
			l.change(2)
			l.expect(2)
			if m := l.marker(labOrders); len(m.ReplayID) > 0 {
				t.Errorf("the marker has passed what was not received: %x", m.ReplayID)
			}
			l.ClearFaults()
			l.expect(1, 2, 3)
			l.expectStillWorks(labOrders)
		}},
		{number: 9, words: "a transient failure of GetSchema in the middle skips nothing", run: func(t *testing.T) {
			l := newLab(t)
			l.follow()
			l.publish(1, 2)
			l.expect(1, 2)
			l.FailGetSchema(5, "UNAVAILABLE")
			l.publish(3)
			l.must(l.DefineEvent(labOrders, labSchema("LabOrder__e", `{"name":"New__c","type":["null","string"],"default":null}`)))
			l.publish(4, 5)
			l.pass(time.Second)
			l.stop() // and a restart in it neither
			l.follow()
			l.expect(3, 4, 5)
		}},
		{number: 9, words: "a transient failure of GetSchema for the first new events loses none, whatever their dates", run: func(t *testing.T) {
			l := newLab(t)
			l.follow()
			l.FailGetSchema(1, "UNAVAILABLE")
			l.publishDated(1, time.Now().Add(-5*time.Hour))
			l.publishDated(2, time.Now().Add(-5*time.Hour))
			l.expect(1, 2)
			l.expectStillWorks(labOrders)
		}},
		{number: 9, words: "a token that GetSchema refuses is renewed once", run: func(t *testing.T) {
			l := newLab(t)
			l.follow()
			l.ExpireToken() // the open stream lives on, as Salesforce's do
			l.publish(1)
			l.expect(1)
			if n := l.Logins(); n != 2 {
				t.Errorf("%d logins", n)
			}
			l.expectStillWorks(labOrders)
		}},
		{number: 9, words: "an unparsable schema is the error of its messages, and asked for once per session", run: func(t *testing.T) {
			l := newLab(t)
			var calls atomic.Int64
			l.follow(sfstream.WithPubSubDialOptions(grpc.WithUnaryInterceptor(
				func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
					err := invoke(ctx, method, req, reply, cc, opts...)
					if info, ok := reply.(*eventbus.SchemaInfo); ok {
						calls.Add(1)
						info.SchemaJson = `{"type":"rec`
					}
					return err
				})))
			for session := range 2 {
				l.publish(numbers(1, 10)...)
				for range 10 {
					m := l.receive()
					l.expectDecodeError(m)
					m.Ack()
				}
				if n := calls.Load(); n != int64(session)+1 {
					t.Errorf("%d GetSchema calls in %d sessions", n, session+1)
				}
				l.reconnect(labOrders)
			}
		}},
		{number: 9, words: "an event without a schema id is the error of its message", run: func(t *testing.T) {
			l := newLab(t)
			var blank atomic.Bool
			blank.Store(true)
			l.follow(sfstream.WithPubSubDialOptions(grpc.WithStreamInterceptor(
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
			l.publish(1, 2)
			for range 2 {
				m := l.receive()
				l.expectDecodeError(m)
				m.Ack()
			}
			if n := l.GetSchemaCalls(); n != 0 {
				t.Errorf("GetSchema was called %d times for no id", n)
			}
			blank.Store(false)
			l.expectStillWorks(labOrders)
		}},
		{number: 9, words: "an undecodable payload is the error of its message, and the stream goes on", run: func(t *testing.T) {
			l := newLab(t)
			good := l.payload(3)
			l.follow()
			bad := [][]byte{{}, {0xff}, good[:len(good)-1], append(bytes.Clone(good), 0), bytes.Repeat([]byte{0xff}, 100)}
			for i, payload := range bad {
				_, err := l.PublishRaw(labOrders, sfstreamtest.RawEvent{Payload: payload})
				l.must(err)
				l.publish(i)
			}
			for i, payload := range bad {
				m := l.receive()
				l.expectDecodeError(m)
				if !bytes.Equal(m.Raw(), payload) {
					t.Errorf("raw bytes %x, want %x", m.Raw(), payload)
				}
				m.Ack()
				m = l.receive()
				if n := l.number(m); n != i {
					t.Errorf("number %d, want %d", n, i)
				}
				m.Ack()
			}
			l.reconnect(labOrders)
			l.expectStillWorks(labOrders)
		}},
		{number: 9, words: "a bad event does not come again, also not after a restart", run: func(t *testing.T) {
			l := newLab(t)
			l.follow()
			e, err := l.PublishRaw(labOrders, sfstreamtest.RawEvent{Payload: []byte{0xff}})
			l.must(err)
			l.receive().Ack()
			l.stop()
			if m := l.marker(labOrders); !bytes.Equal(m.ReplayID, e.ReplayID) {
				t.Errorf("marker %x, want %x", m.ReplayID, e.ReplayID)
			}
			l.follow()
			l.expectStillWorks(labOrders)
		}},
		{number: 9, words: "decoding does no I/O", run: func(t *testing.T) {
			l := newLab(t)
			l.follow()
			l.publish(1)
			m := l.receive()
			m.Ack()
			calls := l.GetSchemaCalls()
			l.Refuse(true)
			l.DropConnections()
			l.stop()
			if n := l.number(m); n != 1 {
				t.Errorf("number %d", n)
			}
			if n := l.GetSchemaCalls(); n != calls {
				t.Error("GetSchema was called")
			}
		}},
		{number: 9, words: "a channel of many kinds of event needs no schema of its own", run: func(t *testing.T) {
			l := newLab(t)
			l.start()
			l.subscribe("/data/ChangeEvents")
			l.change(1, 2)
			l.expect(1, 2)
		}},
	}
	transient := []string{"UNAVAILABLE", "INTERNAL", "service.unavailable", "schema.api.unavailable", "service.protection.triggered", "made.up.code", "UNIMPLEMENTED", "INVALID_ARGUMENT service.unavailable"}
	rules = append(rules, names("a GetSchema that fails twice with %s is repeated", transient, func(t *testing.T, code string) {
		l := newLab(t)
		l.publish(1)
		l.follow(sfstream.WithReplay(sfstream.ReplayAll))
		l.expect(1)
		l.must(l.DefineEvent(labOrders, labSchema("LabOrder__e", `{"name":"New__c","type":["null","string"],"default":null}`)))
		calls := l.GetSchemaCalls()
		l.FailGetSchema(2, code)
		l.publish(2, 3)
		l.expect(2, 3)
		if n := l.GetSchemaCalls() - calls; n != 3 {
			t.Errorf("%d GetSchema calls", n)
		}
		l.expectStillWorks(labOrders)
	}, 9)...)
	permanent := []string{"schema.not.found", "schema.meta.permission", "schema.validation.failed"}
	return append(rules, names("a GetSchema that fails with %s is the error of its messages", permanent, func(t *testing.T, code string) {
		l := newLab(t)
		l.FailGetSchema(-1, code)
		l.follow()
		events := l.publish(numbers(1, 10)...)
		for _, e := range events {
			m := l.receive()
			err := l.expectDecodeError(m)
			expectError[*sfstream.ServerError](t, err)
			if m.ID != e.ID || !bytes.Equal(m.ReplayID, e.ReplayID) || len(m.Raw()) == 0 || !m.Date().IsZero() {
				t.Errorf("%+v", m)
			}
			m.Ack()
		}
		if n := l.GetSchemaCalls(); n != 1 {
			t.Errorf("%d GetSchema calls", n)
		}
		l.ClearFaults()
		l.reconnect(labOrders) // a permission may have come back
		l.expectStillWorks(labOrders)
	}, 9)...)
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

// expectDecodeError expects that a message cannot be read, in any way.
func (l *lab) expectDecodeError(m *sfstream.Message) error {
	l.t.Helper()
	_, fields := m.Fields()
	_, marshal := m.MarshalJSON()
	var v map[string]any
	decode := m.Decode(&v)
	for _, err := range []error{fields, marshal, decode} {
		e := expectError[*sfstream.DecodeError](l.t, err)
		if e.Channel != m.Channel || e.SchemaID != m.SchemaID || !bytes.Equal(e.ReplayID, m.ReplayID) {
			l.t.Errorf("%+v", e)
		}
		contains(l.t, e.Error(), m.Channel, fmt.Sprintf("%x", m.ReplayID))
	}
	return decode
}
