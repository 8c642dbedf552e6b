package sfstream_test

import (
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// streamingConnects are about the connect: what comes with its reply, when that
// comes, and what is lost with it.
func streamingConnects() []scenario {
	return []scenario{
		{name: "happy_pushtopic", run: happyPushTopic},
		{name: "no_advice_steady", run: noAdviceSteady},
		{name: "reply_first_order", run: replyFirstOrder},
		{name: "events_only_batch", run: eventsOnlyBatch},
		{name: "event_in_subscribe_reply", run: eventInSubscribeReply},
		{name: "lost_response", run: lostResponse},
		{name: "slow_body", run: bodyThatPauses},
		{name: "truncated_json", run: lossyReply(func(l *lab) { l.TruncateResponse(1) })},
		{name: "html_502", run: html502},
		{name: "empty_200", run: lossyReply(func(l *lab) { l.EmptyReply(1) })},
		{name: "hold_then_late", run: holdThenLate},
		{name: "dead_peer", run: deadPeer},
		{name: "duplicate_connect", run: duplicateConnect},
		{name: "held_connect_dropped_five_times", run: droppedFiveTimes},
	}
}

func happyPushTopic(t *testing.T) {
	l := newStreaming(t)
	l.followTopic()
	before := l.Connects()
	l.putTogether(labTopic, 1, 2, 3)
	l.expect(1, 2, 3)
	if n := l.Connects() - before; n != 1 {
		t.Errorf("%d connects for one reply", n)
	}
	l.pass(110*time.Second + time.Millisecond)
	if n := l.Connects() - before; n != 2 || l.OpenConnects() != 1 {
		t.Errorf("%d connects since, %d held, want 2 and 1", n, l.OpenConnects())
	}
	l.expectCounts(1, 1)
	l.finish(labTopic)
}

// noAdviceSteady: after the first reply none has advice. What the first one said
// stays good.
func noAdviceSteady(t *testing.T) {
	l := newStreaming(t, sfstreamtest.WithHold(45*time.Second))
	l.followTopic()
	l.pass(10 * time.Minute)
	waits := l.waits("connect", 1)
	if len(waits) < 12 || slices.ContainsFunc(waits, func(d time.Duration) bool { return d != 45*time.Second }) {
		t.Errorf("connects came after %v, want 45s, without a pause", waits)
	}
	l.FailCometD(sfstreamtest.CometDFault{Kind: "connect", NoAnswer: true})
	l.put(labTopic, 1)
	l.expect(1)
	l.pass(45*time.Second + 15*time.Second)
	l.expectCounts(1, 1)
	l.pass(10 * time.Second)
	l.expectCounts(2, 1) // what is silent for longer than 45 s and a margin is dead
	l.finish(labTopic)
}

func replyFirstOrder(t *testing.T) {
	l := newStreaming(t)
	l.ConnectReplyFirst(true)
	l.put(labTopic, 1)
	l.start(sfstream.WithReplay(sfstream.ReplayAll))
	l.subscribe(labTopic)
	l.expect(1) // rode on the subscribe reply, behind it
	l.putTogether(labTopic, 2, 3, 4)
	l.expect(2, 3, 4)
	l.put(labTopic, 5)
	l.expect(5)
	l.expectCounts(1, 1)
	l.finish(labTopic)
}

func eventsOnlyBatch(t *testing.T) {
	l := newStreaming(t)
	l.followTopic()
	l.OmitConnectReply(2)
	l.putTogether(labTopic, 1, 2)
	l.putTogether(labTopic, 3, 4)
	l.putTogether(labTopic, 5)
	l.expect(1, 2, 3, 4, 5)
	l.expectCounts(1, 1)
	l.finish(labTopic)
}

func eventInSubscribeReply(t *testing.T) {
	l := newStreaming(t)
	l.put(labTopic, 1, 2, 3)
	l.put(labOrders, 1, 2)
	l.start(sfstream.WithReplay(sfstream.ReplayAll))
	// No connect is answered before the events are there.
	l.FailCometD(sfstreamtest.CometDFault{Kind: "connect", Delay: 10 * time.Second})
	within(t, 0, func() {
		l.subscribe(labTopic)
		l.expect(1, 2, 3)
	})
	l.pass(time.Minute)
	// Beside a connect that is held, they wait for what it may bring.
	within(t, 10*time.Second, func() {
		l.subscribe(labOrders)
		l.expect(1, 2)
	})
	l.expectCounts(1, 1)

	// The reply is written first and comes last.
	l.put(labGeneric, 1, 2)
	l.FailCometD(sfstreamtest.CometDFault{Kind: "subscribe", Delay: 3 * time.Second})
	time.AfterFunc(time.Second, func() { l.put(labGeneric, 3) }) // comes with the connect that is held
	within(t, 10*time.Second, func() {
		l.subscribe(labGeneric)
		l.expectEach(map[string][]int{labGeneric: {1, 2, 3}})
	})
	l.expectCounts(1, 1)
	l.finish(labTopic)
}

// lossyReply is a test of connect replies that are lost, although the server
// believes that it has sent their events.
func lossyReply(fault func(l *lab)) func(t *testing.T) {
	return func(t *testing.T) {
		l := newStreaming(t)
		l.followTopic()
		l.put(labTopic, 1)
		l.expect(1)
		for i := range 3 {
			fault(l)
			began := time.Now()
			l.putTogether(labTopic, 10*i+2, 10*i+3, 10*i+4)
			l.expect(10*i+2, 10*i+3, 10*i+4)
			if took := time.Since(began); took == 0 || took > time.Minute {
				t.Errorf("they came after %v, want some back-off", took)
			}
			l.expectCounts(2+i, 1)
		}
		l.finish(labTopic)
	}
}

func lostResponse(t *testing.T) {
	lossyReply(func(l *lab) { l.LoseResponse(1) })(t)

	// Inside the body: what came before the cut does not come again.
	l := newStreaming(t)
	l.followTopic()
	for i, cut := range []int{1, 100, 200, 300, 400} {
		l.FailCometD(sfstreamtest.CometDFault{Kind: "connect", CutAfter: cut})
		l.put(labTopic, 10*i) // the connect after this one is cut
		l.expect(10 * i)
		l.putTogether(labTopic, 10*i+1, 10*i+2, 10*i+3)
		l.expect(10*i+1, 10*i+2, 10*i+3)
		l.expectCounts(2+i, 1)
	}

	// Events that ride on the reply to a subscribe are lost with it.
	l.FailCometD(sfstreamtest.CometDFault{Kind: "subscribe", CutAfter: 250})
	l.FailCometD(sfstreamtest.CometDFault{Kind: "handshake", Delay: 5 * time.Second})
	l.UnknownClient(1)
	l.put(labTopic, 91)
	l.expect(91)
	l.put(labTopic, 92, 93)
	l.expect(92, 93)
	l.expectCounts(8, 1)
	l.finish(labTopic)
}

func bodyThatPauses(t *testing.T) {
	l := newStreaming(t)
	l.followTopic()
	l.FailCometD(sfstreamtest.CometDFault{Kind: "connect", Pause: 15 * time.Second})
	l.put(labTopic, 1)
	l.expect(1)
	l.putTogether(labTopic, 2, 3, 4)
	l.expect(2, 3, 4)
	l.expectCounts(1, 1)

	l.FailCometD(sfstreamtest.CometDFault{Kind: "connect", Pause: 10 * time.Minute})
	l.put(labTopic, 5)
	l.expect(5)
	began := time.Now()
	l.putTogether(labTopic, 6, 7, 8)
	l.expect(6, 7, 8)
	if took := time.Since(began); took > time.Minute {
		t.Errorf("the rest of a body that stands still came after %v", took)
	}
	l.expectCounts(2, 1)
	l.finish(labTopic)
}

func html502(t *testing.T) {
	l := newStreaming(t)
	l.followTopic(doubling())
	l.HTMLError(4, http.StatusBadGateway)
	l.put(labTopic, 1) // the connect after this one gets a page, and the first ones of three sessions
	l.expect(1)
	l.pass(time.Minute)
	l.expectCounts(5, 1)
	for i, wait := range l.waits("handshake", 1) {
		if want := time.Second << (i + 1); wait != want {
			t.Errorf("handshake %d came after %v, want %v", i+3, wait, want)
		}
	}
	for i, kind := range []string{"handshake", "subscribe"} {
		l.FailCometD(sfstreamtest.CometDFault{Kind: kind, Status: http.StatusBadGateway, Body: "<html>upstream connect error</html>"})
		l.UnknownClient(1)
		l.put(labTopic, 2*i+2)
		l.expect(2*i + 2)
		l.put(labTopic, 2*i+3)
		l.expect(2*i + 3)
		l.pass(time.Minute)
		l.expectCounts(7+2*i, 1)
	}
	l.finish(labTopic)
}

func holdThenLate(t *testing.T) {
	l := newStreaming(t)
	l.followTopic()
	l.FailCometD(sfstreamtest.CometDFault{Kind: "connect", Times: -1, Delay: 5 * time.Second})
	l.pass(10 * time.Minute)
	if waits := l.waits("connect", 3); waits[0] != 115*time.Second {
		t.Errorf("connects came after %v", waits)
	}
	l.put(labTopic, 1, 2)
	l.expect(1, 2)
	l.expectCounts(1, 1)
	l.ClearFaults()
	l.finish(labTopic)
}

func deadPeer(t *testing.T) {
	l := newStreaming(t)
	l.followTopic()
	l.FailCometD(sfstreamtest.CometDFault{Kind: "connect", NoAnswer: true})
	l.put(labTopic, 1)
	l.expect(1)
	began := time.Now()
	l.put(labTopic, 2)
	l.expect(2)
	if took := time.Since(began); took < 110*time.Second || took > 140*time.Second {
		t.Errorf("a connect without answer was given up after %v", took)
	}
	l.expectCounts(2, 1)

	l.Blackhole()
	l.put(labTopic, 3)
	l.expect(3)
	l.expectCounts(3, 1)
	l.awaitForgotten()
	l.finish(labTopic)
}

// duplicateConnect: a connect that the server ends because it has seen another one.
func duplicateConnect(t *testing.T) {
	for _, status := range []int{http.StatusRequestTimeout, http.StatusInternalServerError} {
		l := newStreaming(t)
		l.followTopic()
		l.FailCometD(sfstreamtest.CometDFault{Kind: "connect", Status: status, Body: http.StatusText(status)})
		l.put(labTopic, 1)
		l.expect(1)
		l.put(labTopic, 2, 3)
		l.expect(2, 3)
		l.expectCounts(2, 1)
		l.finish(labTopic)
	}
}

func droppedFiveTimes(t *testing.T) {
	l := newStreaming(t)
	l.followTopic()
	next := 1
	for range 5 {
		l.DropConnections()
		sent := numbers(next, next+19)
		next += 20
		l.put(labTopic, sent...)
		l.expect(sent...)
		synctest.Wait()
	}
	l.expectCounts(6, 1)
	l.awaitForgotten()
	l.finish(labTopic)
}
