package streaming

import (
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// streamingConnects are about the connect: what comes with its reply, when that comes, and what is
// lost with it.
func streamingConnects() []scenario {
	return []scenario{
		{name: "happy_pushtopic", run: happyPushTopic},
		{name: "no_advice_steady", run: noAdviceSteady},
		{name: "reply_first_order", run: replyFirstOrder},
		{name: "events_only_batch", run: eventsOnlyBatch},
		{name: "event_in_subscribe_reply", run: eventInSubscribeReply},
		{name: "lost_response", run: lostResponse},
		{name: "slow_body", run: bodyThatPauses},
		{name: "truncated_json", run: lossyReply(func(l *lab.Lab) { l.TruncateResponse(1) })},
		{name: "html_502", run: html502},
		{name: "empty_200", run: lossyReply(func(l *lab.Lab) { l.EmptyReply(1) })},
		{name: "hold_then_late", run: holdThenLate},
		{name: "dead_peer", run: deadPeer},
		{name: "duplicate_connect", run: duplicateConnect},
		{name: "held_connect_dropped_five_times", run: droppedFiveTimes},
	}
}

func happyPushTopic(t *testing.T) {
	l := lab.NewStreaming(t)
	l.FollowTopic()
	before := l.Connects()
	putTogether(l, lab.Topic, 1, 2, 3)
	l.Expect(1, 2, 3)
	if n := l.Connects() - before; n != 1 {
		t.Errorf("%d connects for one reply", n)
	}
	l.Pass(110*time.Second + time.Millisecond)
	if n := l.Connects() - before; n != 2 || l.OpenConnects() != 1 {
		t.Errorf("%d connects since, %d held, want 2 and 1", n, l.OpenConnects())
	}
	l.ExpectCounts(1, 1)
	finish(l, lab.Topic)
}

// noAdviceSteady: after the first reply none has advice. What the first one said stays good.
func noAdviceSteady(t *testing.T) {
	l := lab.NewStreaming(t, sfstreamtest.WithHold(45*time.Second))
	l.FollowTopic()
	l.Pass(10 * time.Minute)
	waits := waits(l, "connect", 1)
	if len(waits) < 12 || slices.ContainsFunc(waits, func(d time.Duration) bool { return d != 45*time.Second }) {
		t.Errorf("connects came after %v, want 45s, without a pause", waits)
	}
	l.FailCometD(sfstreamtest.CometDFault{Kind: "connect", NoAnswer: true})
	l.PublishNumbers(lab.Topic, 1)
	l.Expect(1)
	l.Pass(45*time.Second + 15*time.Second)
	l.ExpectCounts(1, 1)
	l.Pass(10 * time.Second)
	l.ExpectCounts(2, 1) // what is silent for longer than 45 s and a margin is dead
	finish(l, lab.Topic)
}

func replyFirstOrder(t *testing.T) {
	l := lab.NewStreaming(t)
	l.ConnectReplyFirst(true)
	l.PublishNumbers(lab.Topic, 1)
	l.Start(sfstream.WithReplay(sfstream.ReplayAll))
	l.Subscribe(lab.Topic)
	l.Expect(1) // rode on the subscribe reply, behind it
	putTogether(l, lab.Topic, 2, 3, 4)
	l.Expect(2, 3, 4)
	l.PublishNumbers(lab.Topic, 5)
	l.Expect(5)
	l.ExpectCounts(1, 1)
	finish(l, lab.Topic)
}

func eventsOnlyBatch(t *testing.T) {
	l := lab.NewStreaming(t)
	l.FollowTopic()
	l.OmitConnectReply(2)
	putTogether(l, lab.Topic, 1, 2)
	putTogether(l, lab.Topic, 3, 4)
	putTogether(l, lab.Topic, 5)
	l.Expect(1, 2, 3, 4, 5)
	l.ExpectCounts(1, 1)
	finish(l, lab.Topic)
}

func eventInSubscribeReply(t *testing.T) {
	l := lab.NewStreaming(t)
	l.PublishNumbers(lab.Topic, 1, 2, 3)
	l.PublishNumbers(lab.Orders, 1, 2)
	l.Start(sfstream.WithReplay(sfstream.ReplayAll))
	// No connect is answered before the events are there.
	l.FailCometD(sfstreamtest.CometDFault{Kind: "connect", Delay: 10 * time.Second})
	lab.Within(t, 0, func() {
		l.Subscribe(lab.Topic)
		l.Expect(1, 2, 3)
	})
	l.Pass(time.Minute)
	// Beside a connect that is held, they wait for what it may bring.
	lab.Within(t, 10*time.Second, func() {
		l.Subscribe(lab.Orders)
		l.Expect(1, 2)
	})
	l.ExpectCounts(1, 1)

	// The reply is written first and comes last.
	l.PublishNumbers(lab.Generic, 1, 2)
	l.FailCometD(sfstreamtest.CometDFault{Kind: "subscribe", Delay: 3 * time.Second})
	time.AfterFunc(time.Second, func() { l.PublishNumbers(lab.Generic, 3) }) // comes with the connect that is held
	lab.Within(t, 10*time.Second, func() {
		l.Subscribe(lab.Generic)
		l.ExpectEach(map[string][]int{lab.Generic: {1, 2, 3}})
	})
	l.ExpectCounts(1, 1)
	finish(l, lab.Topic)
}

// lossyReply is a test of connect replies that are lost, although the server believes that it has
// sent their events.
func lossyReply(fault func(l *lab.Lab)) func(t *testing.T) {
	return func(t *testing.T) {
		l := lab.NewStreaming(t)
		l.FollowTopic()
		l.PublishNumbers(lab.Topic, 1)
		l.Expect(1)
		for i := range 3 {
			fault(l)
			began := time.Now()
			putTogether(l, lab.Topic, 10*i+2, 10*i+3, 10*i+4)
			l.Expect(10*i+2, 10*i+3, 10*i+4)
			if took := time.Since(began); took == 0 || took > time.Minute {
				t.Errorf("they came after %v, want some back-off", took)
			}
			l.ExpectCounts(2+i, 1)
		}
		finish(l, lab.Topic)
	}
}

func lostResponse(t *testing.T) {
	lossyReply(func(l *lab.Lab) { l.LoseResponse(1) })(t)

	// Inside the body: what came before the cut does not come again.
	l := lab.NewStreaming(t)
	l.FollowTopic()
	for i, cut := range []int{1, 100, 200, 300, 400} {
		l.FailCometD(sfstreamtest.CometDFault{Kind: "connect", CutAfter: cut})
		l.PublishNumbers(lab.Topic, 10*i) // the connect after this one is cut
		l.Expect(10 * i)
		putTogether(l, lab.Topic, 10*i+1, 10*i+2, 10*i+3)
		l.Expect(10*i+1, 10*i+2, 10*i+3)
		l.ExpectCounts(2+i, 1)
	}

	// Events that ride on the reply to a subscribe are lost with it.
	l.FailCometD(sfstreamtest.CometDFault{Kind: "subscribe", CutAfter: 250})
	l.FailCometD(sfstreamtest.CometDFault{Kind: "handshake", Delay: 5 * time.Second})
	l.UnknownClient(1)
	l.PublishNumbers(lab.Topic, 91)
	l.Expect(91)
	l.PublishNumbers(lab.Topic, 92, 93)
	l.Expect(92, 93)
	l.ExpectCounts(8, 1)
	finish(l, lab.Topic)
}

func bodyThatPauses(t *testing.T) {
	l := lab.NewStreaming(t)
	l.FollowTopic()
	l.FailCometD(sfstreamtest.CometDFault{Kind: "connect", Pause: 15 * time.Second})
	l.PublishNumbers(lab.Topic, 1)
	l.Expect(1)
	putTogether(l, lab.Topic, 2, 3, 4)
	l.Expect(2, 3, 4)
	l.ExpectCounts(1, 1)

	l.FailCometD(sfstreamtest.CometDFault{Kind: "connect", Pause: 10 * time.Minute})
	l.PublishNumbers(lab.Topic, 5)
	l.Expect(5)
	began := time.Now()
	putTogether(l, lab.Topic, 6, 7, 8)
	l.Expect(6, 7, 8)
	if took := time.Since(began); took > time.Minute {
		t.Errorf("the rest of a body that stands still came after %v", took)
	}
	l.ExpectCounts(2, 1)
	finish(l, lab.Topic)
}

func html502(t *testing.T) {
	l := lab.NewStreaming(t)
	l.FollowTopic(lab.Doubling())
	l.HTMLError(4, http.StatusBadGateway)
	l.PublishNumbers(lab.Topic, 1) // the connect after this one gets a page, and the first ones of three sessions
	l.Expect(1)
	l.Pass(time.Minute)
	l.ExpectCounts(5, 1)
	for i, wait := range waits(l, "handshake", 1) {
		if want := time.Second << (i + 1); wait != want {
			t.Errorf("handshake %d came after %v, want %v", i+3, wait, want)
		}
	}
	for i, kind := range []string{"handshake", "subscribe"} {
		l.FailCometD(sfstreamtest.CometDFault{Kind: kind, Status: http.StatusBadGateway, Body: "<html>upstream connect error</html>"})
		l.UnknownClient(1)
		l.PublishNumbers(lab.Topic, 2*i+2)
		l.Expect(2*i + 2)
		l.PublishNumbers(lab.Topic, 2*i+3)
		l.Expect(2*i + 3)
		l.Pass(time.Minute)
		l.ExpectCounts(7+2*i, 1)
	}
	finish(l, lab.Topic)
}

func holdThenLate(t *testing.T) {
	l := lab.NewStreaming(t)
	l.FollowTopic()
	l.FailCometD(sfstreamtest.CometDFault{Kind: "connect", Times: -1, Delay: 5 * time.Second})
	l.Pass(10 * time.Minute)
	if waits := waits(l, "connect", 3); waits[0] != 115*time.Second {
		t.Errorf("connects came after %v", waits)
	}
	l.PublishNumbers(lab.Topic, 1, 2)
	l.Expect(1, 2)
	l.ExpectCounts(1, 1)
	l.ClearFaults()
	finish(l, lab.Topic)
}

func deadPeer(t *testing.T) {
	l := lab.NewStreaming(t)
	l.FollowTopic()
	l.FailCometD(sfstreamtest.CometDFault{Kind: "connect", NoAnswer: true})
	l.PublishNumbers(lab.Topic, 1)
	l.Expect(1)
	began := time.Now()
	l.PublishNumbers(lab.Topic, 2)
	l.Expect(2)
	if took := time.Since(began); took < 110*time.Second || took > 140*time.Second {
		t.Errorf("a connect without answer was given up after %v", took)
	}
	l.ExpectCounts(2, 1)

	l.Blackhole()
	l.PublishNumbers(lab.Topic, 3)
	l.Expect(3)
	l.ExpectCounts(3, 1)
	awaitForgotten(l)
	finish(l, lab.Topic)
}

// duplicateConnect: a connect that the server ends because it has seen another one.
func duplicateConnect(t *testing.T) {
	for _, status := range []int{http.StatusRequestTimeout, http.StatusInternalServerError} {
		l := lab.NewStreaming(t)
		l.FollowTopic()
		l.FailCometD(sfstreamtest.CometDFault{Kind: "connect", Status: status, Body: http.StatusText(status)})
		l.PublishNumbers(lab.Topic, 1)
		l.Expect(1)
		l.PublishNumbers(lab.Topic, 2, 3)
		l.Expect(2, 3)
		l.ExpectCounts(2, 1)
		finish(l, lab.Topic)
	}
}

func droppedFiveTimes(t *testing.T) {
	l := lab.NewStreaming(t)
	l.FollowTopic()
	next := 1
	for range 5 {
		l.DropConnections()
		sent := lab.Numbers(next, next+19)
		next += 20
		l.PublishNumbers(lab.Topic, sent...)
		l.Expect(sent...)
		synctest.Wait()
	}
	l.ExpectCounts(6, 1)
	awaitForgotten(l)
	finish(l, lab.Topic)
}
