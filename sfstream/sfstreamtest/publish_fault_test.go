package sfstreamtest_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// wantRefused publishes in a call that fails.
func (r *rig) wantRefused(req *eventbus.PublishRequest, want codes.Code, code string) {
	r.tb.Helper()
	before := len(r.Retained(orders))
	stream := r.openPublish(req)
	wantEnd(r.tb, stream, want, code)
	if _, err := r.client.Publish(r.ctx(), req); status.Code(err) != want {
		r.tb.Errorf("Publish ended with %v, want %v", err, want)
	}
	if n := len(r.Retained(orders)); n != before {
		r.tb.Errorf("%d events were published", n-before)
	}
}

func TestRequestsThatPublishAreChecked(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		check(t, r.DefineEvent("/data/AccountChangeEvent", schemaFile(t, "account")))
		check(t, r.DefineChannel("/event/All__chn", orders))
		const standard = "/event/LoginEventStream"
		check(t, r.DefineEvent(standard, strings.Replace(schemaFile(t, "order"), "Order_Event__e", "LoginEventStream", 1)))
		e := r.orderEvent("", "1")
		r.wantRefused(publishOf("", e), codes.InvalidArgument, "publish.topic.validation.empty")
		r.wantRefused(publishOf("/event/No__e", e), codes.NotFound, "topic.not.found")
		r.wantRefused(publishOf(orders), codes.InvalidArgument, "publish.event.count.invalid")
		for _, channel := range []string{"/data/AccountChangeEvent", "/data/ChangeEvents", "/event/All__chn", standard} {
			r.wantRefused(publishOf(channel, e), codes.PermissionDenied, "publish.topic.cannot.publish")
			info, err := r.client.GetTopic(r.ctx(), &eventbus.TopicRequest{TopicName: channel})
			check(t, err)
			if info.CanPublish {
				t.Errorf("GetTopic says that one can publish on %s", channel)
			}
		}
		r.RevokePublish(orders)
		r.wantRefused(publishOf(orders, e), codes.PermissionDenied, "publish.topic.cannot.publish")
		r.Grant(orders)
		large := publishOf(orders)
		for range 5 {
			large.Events = append(large.Events, &eventbus.ProducerEvent{SchemaId: e.SchemaId, Payload: make([]byte, 1<<20)})
		}
		r.wantRefused(large, codes.Unavailable, "")
		if _, err := r.client.Publish(r.ctx(), large); !strings.Contains(err.Error(), "upstream connect error") {
			t.Errorf("a large request: %v", err)
		}
		r.FailPublish(orders, 2, "service.protection.triggered")
		r.wantRefused(publishOf(orders, e), codes.ResourceExhausted, "service.protection.triggered")
		if calls := r.PublishCalls(orders); len(calls) != 4 || !calls[2].Stream || calls[2].Events != 1 || calls[3].Stream {
			t.Errorf("%+v", calls)
		}
		r.ExpireToken()
		r.wantRefused(publishOf(orders, e), codes.Unauthenticated, "service.auth.error")
		r.login()
		r.send(e)
	})
}

func TestAStreamKeepsItsChannelAndItsLogin(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		const other = "/event/Other__e"
		check(t, r.DefineEvent(other, strings.Replace(schemaFile(t, "order"), "Order_Event__e", "Other__e", 1)))
		e := r.orderEvent("", "1")
		stream := r.openPublish(publishOf(orders, e))
		answer(t, stream)
		check(t, stream.Send(publishOf(other, e)))
		wantEnd(t, stream, codes.InvalidArgument, "publish.topic.mismatch")

		first := publishOf(orders, e)
		first.AuthRefresh = r.auth.Get("accesstoken")[0]
		wantEnd(t, r.openPublish(first), codes.InvalidArgument, "publish.auth.refresh.invalid")

		stream = r.openPublish(publishOf(orders, e))
		answer(t, stream)
		r.ExpireToken() // which an open stream survives
		check(t, stream.Send(publishOf(orders, e)))
		answer(t, stream)
		r.login()
		later := publishOf(orders, e)
		later.AuthRefresh = r.auth.Get("accesstoken")[0]
		check(t, stream.Send(later))
		answer(t, stream)
		later.AuthRefresh = "nonsense"
		check(t, stream.Send(later))
		wantEnd(t, stream, codes.Unauthenticated, "service.auth.refresh.invalid")

		stream = r.openPublish(publishOf(orders, e))
		answer(t, stream)
		r.EndPublishStreams(other, "UNAVAILABLE")
		r.EndPublishStreams(orders, "UNAVAILABLE")
		wantEnd(t, stream, codes.Unavailable, "")
	})
}

func TestAnEventIsRefusedAloneAndInItsPlace(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		const other = "/event/Other__e"
		check(t, r.DefineEvent(other, strings.Replace(schemaFile(t, "order"), "Order_Event__e", "Other__e", 1)))
		good := func(i int) *eventbus.ProducerEvent { return r.orderEvent(fmt.Sprint("good-", i), "x") }
		with := func(id string, change func(*eventbus.ProducerEvent)) *eventbus.ProducerEvent {
			e := r.orderEvent(id, "bad")
			change(e)
			return e
		}
		unsigned := r.encode(schemaFile(t, "order"), map[string]any{"CreatedDate": int64(1), "CreatedById": "", "Order_Number__c": nil, "City__c": nil, "Amount__c": nil})
		refused := map[int]*eventbus.ProducerEvent{
			1:  with("truncated", func(e *eventbus.ProducerEvent) { e.Payload = e.Payload[:len(e.Payload)-1] }),
			2:  with("trailing", func(e *eventbus.ProducerEvent) { e.Payload = append(e.Payload, 0) }),
			3:  with("blank schema", func(e *eventbus.ProducerEvent) { e.SchemaId = "" }),
			4:  with("unknown schema", func(e *eventbus.ProducerEvent) { e.SchemaId = "AAAAAAAAAAAAAAAAAAAAAA" }),
			5:  with("other schema", func(e *eventbus.ProducerEvent) { e.SchemaId = r.schemaID(other) }),
			6:  with("large", func(e *eventbus.ProducerEvent) { e.Payload = make([]byte, 1<<20+1) }),
			7:  with(strings.Repeat("x", 37), func(*eventbus.ProducerEvent) {}),
			8:  with("", func(e *eventbus.ProducerEvent) { e.Payload = nil }),
			9:  with("unsigned", func(e *eventbus.ProducerEvent) { e.Payload = unsigned }),
			10: with("by rule", func(*eventbus.ProducerEvent) {}),
		}
		r.FailEvents(orders, func(id string, payload []byte) string {
			if id == "by rule" && len(payload) > 0 {
				return "as the rule says"
			}
			return ""
		})
		req := publishOf(orders)
		for i := range 12 {
			e := refused[i]
			if e == nil {
				e = good(i)
			}
			req.Events = append(req.Events, e)
		}
		resp := r.send(req.Events...)
		for i, result := range resp.Results {
			_, bad := refused[i]
			if (result.Error != nil) != bad || len(result.ReplayId) > 0 == bad || result.CorrelationKey != req.Events[i].Id {
				t.Errorf("event %d has the result %v", i, result)
			}
			if result.Error != nil && (result.Error.Code != eventbus.ErrorCode_PUBLISH || result.Error.Msg == "") {
				t.Errorf("event %d: %v", i, result.Error)
			}
		}
		if msg := resp.Results[10].Error.GetMsg(); msg != "as the rule says" {
			t.Errorf("the rule's text is %q", msg)
		}
		if events := r.Retained(orders); len(events) != 2 || events[0].ID != "good-0" || events[1].ID != "good-11" {
			t.Errorf("on the bus are %v", events)
		}
		r.FailEvents(orders, nil)
		r.FailEvents("", sfstreamtest.EveryNth(3, "the third"))
		for i := range 6 {
			if e := r.send(good(i)).Results[0].Error; (e != nil) != (i%3 == 2) {
				t.Errorf("event %d: %v", i, e)
			}
		}
		r.ClearFaults()
		r.send(good(7), good(8), good(9))
		if n := len(r.Retained(orders)); n != 9 {
			t.Errorf("%d events", n)
		}
	})
}

func TestMissingFieldsCanFailTheRequest(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		bad := r.orderEvent("", "1")
		bad.Payload = r.encode(schemaFile(t, "order"), map[string]any{"CreatedDate": int64(0), "CreatedById": "005", "Order_Number__c": nil, "City__c": nil, "Amount__c": nil})
		r.wantRefused(publishOf(orders, r.orderEvent("", "2"), bad), codes.InvalidArgument, "")
	}, sfstreamtest.WithMissingFieldsFatal())
}

// carrier is the schema of orders after an admin has added a field.
func carrier(t *testing.T) string {
	return strings.TrimSuffix(schemaFile(t, "order"), "]}") + `,{"name":"Carrier__c","type":["null","string"],"default":null}]}`
}

func TestOlderSchemasAreGoodUnlessTheOrgRefusesThem(t *testing.T) {
	for name, opts := range map[string][]sfstreamtest.Option{"good": nil, "refused": {sfstreamtest.WithCurrentSchemaOnly()}} {
		bubble(t, func(t *testing.T, r *rig) {
			old := r.orderEvent("", "1")
			check(t, r.DefineEvent(orders, carrier(t)))
			resp := r.send(old)
			if resp.SchemaId != r.schemaID(orders) || resp.SchemaId == old.SchemaId {
				t.Errorf("the schema is %s", resp.SchemaId)
			}
			if refused := resp.Results[0].Error != nil; refused != (name == "refused") {
				t.Errorf("%s: %v", name, resp)
			}
		}, opts...)
	}
}

func TestTheHourlyAllocationEnds(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		check(t, r.SetLimit("HourlyPublishedPlatformEvents", 100, 2))
		resp := r.send(r.orderEvent("a", "1"), r.orderEvent("b", "2"), r.orderEvent("c", "3"))
		if resp.Results[1].Error != nil || !strings.Contains(resp.Results[2].Error.GetMsg(), "LIMIT_EXCEEDED") {
			t.Errorf("%v", resp)
		}
		time.Sleep(time.Hour)
		if resp := r.send(r.orderEvent("c", "3")); resp.Results[0].Error != nil {
			t.Errorf("an hour later: %v", resp)
		}
	})
}

func TestAnIdlePublishStreamEnds(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		stream := r.openPublish(publishOf(orders, r.orderEvent("", "1")))
		answer(t, stream)
		time.Sleep(69 * time.Second)
		check(t, stream.Send(publishOf(orders, r.orderEvent("", "1"))))
		answer(t, stream)
		began := time.Now()
		wantEnd(t, stream, codes.DeadlineExceeded, "publish.stream.sweeper.timeout")
		if d := time.Since(began); d != 70*time.Second {
			t.Errorf("it ended after %v", d)
		}
	})
}

func TestKeepalivesOfAPublishStreamHaveNoResults(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		stream := r.openPublish(publishOf(orders, r.orderEvent("", "1")))
		answer(t, stream)
		for range 6 {
			began := time.Now()
			if resp := answer(t, stream); len(resp.Results) != 0 || time.Since(began) != 270*time.Second {
				t.Errorf("after %v: %v", time.Since(began), resp)
			}
		}
		wantEnd(t, stream, codes.DeadlineExceeded, "publish.stream.sweeper.timeout")
	}, sfstreamtest.WithPublishIdle(30*time.Minute), sfstreamtest.WithPublishKeepalive(270*time.Second))
}

func TestALostAnswerLeavesEventsOnTheBus(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		follower := r.follow(orders, 10)
		r.LosePublish(orders, 2)
		if _, err := r.client.Publish(r.ctx(), publishOf(orders, r.orderEvent("a", "1"))); status.Code(err) != codes.Unavailable {
			t.Errorf("Publish: %v", err)
		}
		if _, err := follower.Recv(); err == nil { // the subscriber is on the same connection
			_, err = follower.Recv()
			if status.Code(err) != codes.Unavailable {
				t.Errorf("the subscriber: %v", err)
			}
		}
		stream := r.openPublish(publishOf(orders, r.orderEvent("b", "2")))
		if _, err := stream.Recv(); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("the stream: %v", err)
		}
		if ids := idsOf(r.Retained(orders)); len(ids) != 2 || ids[0] != "a" || ids[1] != "b" {
			t.Errorf("on the bus are %v", ids)
		}
		r.send(r.orderEvent("c", "3"))
	})
}

func TestADelayedAnswerDelaysNoEvent(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.DelayPublish(orders, 3, 10*time.Second)
		began := time.Now()
		stream := r.openPublish(publishOf(orders, r.orderEvent("a", "1")))
		check(t, stream.Send(publishOf(orders, r.orderEvent("b", "2"))))
		check(t, stream.CloseSend())
		synctest.Wait()
		if n := len(r.Retained(orders)); n != 2 {
			t.Errorf("%d events are there at once", n)
		}
		for _, id := range []string{"a", "b"} {
			if resp := answer(t, stream); resp.Results[0].CorrelationKey != id || time.Since(began) != 10*time.Second {
				t.Errorf("after %v: %v", time.Since(began), resp)
			}
		}
		wantEnd(t, stream, codes.OK, "")
		r.send(r.orderEvent("c", "3"))
		if d := time.Since(began); d != 20*time.Second {
			t.Errorf("the call took until %v", d)
		}
	})
}

func TestPublishedEventsPassFiltersAndReachCometD(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		check(t, r.DefineMembers("/event/Dear__chn", sfstreamtest.Member{Channel: orders, Filter: "Amount__c > 100 AND CreatedDate > 2026-01-01T00:00:00Z"}))
		b := r.shaken()
		b.follow(orders, -1)
		dear := r.orderEvent("dear", "2")
		dear.Payload = r.encode(schemaFile(t, "order"), map[string]any{
			"CreatedDate": time.Now().AddDate(50, 0, 0).UnixMilli(), "CreatedById": "005", "Order_Number__c": "D", "City__c": nil, "Amount__c": 500.0,
		})
		r.send(r.orderEvent("cheap", "1"), dear)
		if ids := idsOf(r.Retained("/event/Dear__chn")); len(ids) != 1 || ids[0] != "dear" {
			t.Errorf("the filtered channel has %v", ids)
		}
		events, _ := b.connect()
		if len(events) != 2 || !strings.Contains(string(events[1].Data), `"EventUuid":"dear"`) {
			t.Errorf("%v", events)
		}
	})
}
