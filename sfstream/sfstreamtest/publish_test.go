package sfstreamtest_test

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/hamba/avro/v2"
	"google.golang.org/grpc/codes"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// orderEvent returns an order as a client publishes it.
func (r *rig) orderEvent(id, number string) *eventbus.ProducerEvent {
	r.tb.Helper()
	return &eventbus.ProducerEvent{Id: id, SchemaId: r.schemaID(orders), Payload: r.encode(schemaFile(r.tb, "order"), map[string]any{
		"CreatedDate": time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC).UnixMilli(), "CreatedById": r.Account().UserID,
		"Order_Number__c": number, "City__c": nil, "Amount__c": 12.5,
	})}
}

func (r *rig) schemaID(channel string) string {
	r.tb.Helper()
	info, err := r.client.GetTopic(r.ctx(), &eventbus.TopicRequest{TopicName: channel})
	check(r.tb, err)
	return info.SchemaId
}

// encode writes a payload as hamba does, which is not the encoder of the org.
func (r *rig) encode(schema string, payload map[string]any) []byte {
	r.tb.Helper()
	parsed, err := avro.ParseWithCache(schema, "", &avro.SchemaCache{})
	check(r.tb, err)
	data, err := avro.Marshal(parsed, payload)
	check(r.tb, err)
	return data
}

func publishOf(channel string, events ...*eventbus.ProducerEvent) *eventbus.PublishRequest {
	return &eventbus.PublishRequest{TopicName: channel, Events: events}
}

// send publishes in a call of its own.
func (r *rig) send(events ...*eventbus.ProducerEvent) *eventbus.PublishResponse {
	r.tb.Helper()
	resp, err := r.client.Publish(r.ctx(), publishOf(orders, events...))
	check(r.tb, err)
	return resp
}

// openPublish opens a stream with its first request.
func (r *rig) openPublish(first *eventbus.PublishRequest) eventbus.PublishStream {
	r.tb.Helper()
	stream, err := r.client.PublishStream(r.ctx())
	check(r.tb, err)
	if err := stream.Send(first); err != io.EOF {
		check(r.tb, err)
	}
	return stream
}

func answer(tb testing.TB, stream eventbus.PublishStream) *eventbus.PublishResponse {
	tb.Helper()
	resp, err := stream.Recv()
	check(tb, err)
	return resp
}

func TestAPublishedEventReachesSubscribersAsItWasSent(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		follower := r.follow(orders, 10)
		given, unset := r.orderEvent("0b6a5a44-0000-4000-8000-000000000001", "A-1"), r.orderEvent("", "A-2")
		resp := r.send(given, unset)
		if len(resp.Results) != 2 || resp.SchemaId != given.SchemaId || len(resp.RpcId) != 36 {
			t.Fatalf("%v", resp)
		}
		var got []*eventbus.ConsumerEvent
		for len(got) < 2 {
			got = append(got, recv(t, follower).Events...)
		}
		for i, e := range []*eventbus.ProducerEvent{given, unset} {
			result, event := resp.Results[i], got[i]
			if result.Error != nil || !bytes.Equal(result.ReplayId, event.ReplayId) || len(result.ReplayId) != 10 ||
				result.CorrelationKey != event.Event.Id || len(event.Event.Id) != 36 ||
				event.Event.SchemaId != e.SchemaId || !bytes.Equal(event.Event.Payload, e.Payload) {
				t.Errorf("event %d: %v has the result %v and comes as %v", i, e, result, event)
			}
		}
		if got[0].Event.Id != given.Id {
			t.Errorf("the id is %q", got[0].Event.Id)
		}
	})
}

func TestAStreamPublishesUntilTheClientEndsIt(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		stream := r.openPublish(publishOf(orders, r.orderEvent("id-0", "0")))
		for i := 1; i < 5; i++ { // all are under way before the first answer is read
			check(t, stream.Send(publishOf("", r.orderEvent(fmt.Sprint("id-", i), fmt.Sprint(i)))))
		}
		for i := range 5 {
			if resp := answer(t, stream); len(resp.Results) != 1 || resp.Results[0].CorrelationKey != fmt.Sprint("id-", i) || len(resp.RpcId) != 36 {
				t.Errorf("answer %d: %v", i, resp)
			}
		}
		if n := r.PublishStreams(orders); n != 1 {
			t.Errorf("%d streams are open", n)
		}
		check(t, stream.CloseSend())
		wantEnd(t, stream, codes.OK, "")
		if n := r.PublishStreams(orders); n != 0 {
			t.Errorf("%d streams are open", n)
		}
		if events := r.Retained(orders); len(events) != 5 || events[4].ID != "id-4" {
			t.Errorf("%v", events)
		}
	})
}

// TestPublishedEventsSurviveARestart proves that what clients publish is in the log of the org, and
// that older schemas of the channel are good afterwards, too.
func TestPublishedEventsSurviveARestart(t *testing.T) {
	log := sfstreamtest.WithLog(filepath.Join(t.TempDir(), "org.log"))
	var before []sfstreamtest.Event
	var old *eventbus.ProducerEvent
	bubble(t, func(t *testing.T, r *rig) {
		old = r.orderEvent("a", "1")
		r.send(old, r.orderEvent("", "2"))
		check(t, r.DefineEvent(orders, carrier(t)))
		before = r.Retained(orders)
	}, log)
	bubble(t, func(t *testing.T, r *rig) {
		if resp := r.send(old); resp.Results[0].Error != nil {
			t.Errorf("an event of the older schema: %v", resp)
		}
		after := r.Retained(orders)
		if len(after) != 3 || len(before) != 2 || !reflect.DeepEqual(after[:2], before) {
			t.Errorf("before: %v, after: %v", before, after)
		}
	}, log)
}
