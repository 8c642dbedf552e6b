package pubsub

import (
	"slices"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// pubsubTrouble is about streams, connections and servers that break, and about servers that want
// to be left alone.
func pubsubTrouble() []scenario {
	return []scenario{
		{name: "half_open", run: halfOpen},
		{name: "no_keepalives", run: noKeepalives},
		{name: "delivery_limit", run: deliveryLimit},
		{name: "rate_limiter", run: rateLimiter},
		{name: "broken_streams", run: brokenStreams},
		{name: "goaway_restart_maintenance", run: goawayRestartMaintenance},
		{name: "internal_that_means_unavailable", run: internalUnavailable},
	}
}

// halfOpen: nothing comes any more, and no error either. Salesforce promises a keepalive within 270
// s.
func halfOpen(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	last := l.PublishOrders(1, 2)[1]
	l.Expect(1, 2)
	for round := range 3 {
		n := 10 * round
		l.Blackhole()
		next := l.PublishOrders(n+3, n+4)[1]
		lab.Within(t, 6*time.Minute, func() { l.Expect(n+3, n+4) })
		l.ExpectSubscribe(lab.Orders, "CUSTOM", last.ReplayID)
		expectCalls(l, round+2, 1)
		last = next
	}
	finishStream(l, lab.Orders)
}

// noKeepalives: the connection is fine, and the stream says nothing.
func noKeepalives(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.PublishOrders(1)
	l.Expect(1)
	l.SilenceKeepalive(true)
	l.Pass(6 * time.Minute)
	expectCalls(l, 2, 1)
	l.PublishOrders(2)
	l.Expect(2)
	l.Pass(time.Hour)
	if n := len(l.Subscribes(lab.Orders)); n < 2+60/6 || n > 2+60/4 {
		t.Errorf("%d Subscribe calls in an hour", n)
	}
	l.SilenceKeepalive(false)
	l.Pass(6 * time.Minute)
	before := len(l.Subscribes(lab.Orders))
	l.Pass(time.Hour)
	expectCalls(l, before, 1)
	finishStream(l, lab.Orders)
}

// deliveryLimit: the allocation of 24 hours is used up. Asking again does not help, and what waits
// is retained for longer.
func deliveryLimit(t *testing.T) {
	const code = "subscription.limit.exceeded"
	l := lab.New(t)
	l.Follow()
	last := l.PublishOrders(1)[0]
	l.Expect(1)
	l.Reject(lab.Orders, 6, code)
	endStreams(l, lab.Orders, code)
	l.PublishOrders(2, 3)
	l.Pass(65 * time.Minute)
	for _, wait := range subscribeWaits(l, 1) {
		if wait < 10*time.Minute {
			t.Errorf("asked again after %v", wait)
		}
	}
	l.Expect(2, 3)
	want := append([]position{latest}, slices.Repeat([]position{after(last.ReplayID)}, 7)...)
	expectPositions(l, lab.Orders, want...)
	expectCalls(l, 8, 1)
	finishStream(l, lab.Orders)
}

// rateLimiter: clients that all come back at once would trip it again.
func rateLimiter(t *testing.T) {
	const code, rejected = "service.protection.triggered", 8
	l := lab.New(t)
	l.Start()
	for _, channel := range []string{lab.Orders, lab.Undated} {
		l.Subscribe(channel)
		l.PublishNumbers(channel, 1)
		l.Expect(1)
		l.Reject(channel, rejected, code)
	}
	endStreams(l, "", code)
	l.PublishOrders(2)
	l.PublishNumbers(lab.Undated, 2)
	lab.Within(t, 3*time.Minute, func() { l.ExpectEach(map[string][]int{lab.Orders: {2}, lab.Undated: {2}}) })
	expectCalls(l, rejected+2, 1)
	limit := time.Second
	for i, wait := range subscribeWaits(l, 1) {
		if wait <= 0 || wait > limit {
			t.Errorf("wait %d is %v, want at most %v", i, wait, limit)
		}
		limit = min(2*limit, time.Minute)
	}
	orders, undated := l.Subscribes(lab.Orders)[2:], l.Subscribes(lab.Undated)[2:]
	for i := range orders {
		if orders[i].At.Equal(undated[i].At) {
			t.Errorf("both channels asked at %v", orders[i].At)
		}
	}
	finishStream(l, lab.Orders)
}

// brokenStreams: errors of what stands before the bus. They have no trailers, and a stream that was
// of use begins the back-off anew.
func brokenStreams(t *testing.T) {
	for _, code := range []string{
		"UNAVAILABLE", "INTERNAL", "UNAVAILABLE: HTTP/2 server reset the stream", "UNKNOWN: upstream sent no trailers", "CANCELLED: proxy",
		"UNAVAILABLE: upstream connect error or disconnect/reset before headers. reset reason: remote reset",
	} {
		l := lab.New(t)
		l.Follow(lab.Doubling())
		last := l.PublishOrders(1)[0]
		l.Expect(1)
		l.Reject(lab.Orders, 4, code)
		endStreams(l, lab.Orders, code)
		next := l.PublishOrders(2)[0]
		l.Expect(2)
		endStreams(l, lab.Orders, code)
		l.PublishOrders(3, 4)
		l.Expect(3, 4)
		want := append([]position{latest}, slices.Repeat([]position{after(last.ReplayID)}, 5)...)
		expectPositions(l, lab.Orders, append(want, after(next.ReplayID))...)
		expectCalls(l, 7, 1)
		if waits := subscribeWaits(l, 0); !slices.Equal(waits, []time.Duration{
			time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, time.Second,
		}) {
			t.Errorf("%s: waited %v", code, waits)
		}
		finishStream(l, lab.Orders)
	}
}

// goawayRestartMaintenance: the server goes, politely or not, and comes back.
func goawayRestartMaintenance(t *testing.T) {
	l := lab.New(t)
	l.Start(sfstream.WithBackOff(func() backoff.BackOff { return backoff.NewConstantBackOff(time.Second) }))
	channels := []string{lab.Orders, lab.Undated}
	for _, channel := range channels {
		l.Subscribe(channel)
	}
	both := func(n ...int) {
		for _, channel := range channels {
			l.PublishNumbers(channel, n...)
		}
	}
	expectBoth := func(n ...int) { l.ExpectEach(map[string][]int{lab.Orders: n, lab.Undated: n}) }
	both(1)
	expectBoth(1)

	l.GoAway() // open streams go on
	both(2)
	lab.Within(t, 0, func() { expectBoth(2) })
	expectCalls(l, 1, 1)
	l.Must(l.Client.Unsubscribe(t.Context(), lab.Undated)) // and new ones find another connection
	l.Subscribe(lab.Undated)
	both(3)
	expectBoth(3)
	expectCalls(l, 1, 1)

	l.GoAway()
	l.DropConnections() // its patience is over
	both(4)
	expectBoth(4)
	expectCalls(l, 2, 1)

	l.Outage(10*time.Minute, func() { both(5, 6) }) // a restart
	both(7)
	lab.Within(t, 2*time.Second, func() { expectBoth(5, 6, 7) }) // gRPC alone would wait for minutes
	expectCalls(l, 3, 1)

	const maintenance = "UNAVAILABLE: This application is down for maintenance"
	l.Reject("", 6, maintenance)
	endStreams(l, "", maintenance)
	both(8)
	lab.Within(t, 10*time.Second, func() { expectBoth(8) })
	if n := len(l.Subscribes(lab.Orders)); n > 10 || l.Logins() != 1 {
		t.Errorf("%d Subscribe calls and %d logins", n, l.Logins())
	}
	finishStream(l, lab.Orders)
}

// internalUnavailable: INTERNAL, and the code in the trailer means something else. A bus that is
// down is given 5 s.
func internalUnavailable(t *testing.T) {
	l := lab.New(t)
	l.Follow(lab.Doubling())
	last := l.PublishOrders(1)[0]
	l.Expect(1)
	l.Reject(lab.Orders, 3, "service.unavailable")
	endStreams(l, lab.Orders, "service.unavailable")
	l.PublishOrders(2)
	l.Expect(2)
	waits := subscribeWaits(l, 1)
	for i, least := range []time.Duration{5 * time.Second, 5 * time.Second, 8 * time.Second} {
		if len(waits) != 3 || waits[i] < least || waits[i] > 8*time.Second {
			t.Errorf("waited %v, want 5 s and some more, twice, and the backoff's 8 s", waits)
		}
	}
	want := append([]position{latest}, slices.Repeat([]position{after(last.ReplayID)}, 4)...)
	expectPositions(l, lab.Orders, want...)
	expectCalls(l, 5, 1)

	// Subscribe itself is only late.
	l.FailGetTopic(2, "service.unavailable")
	began := time.Now()
	l.Must(l.Client.Subscribe(t.Context(), lab.Undated, sfstream.From(sfstream.ReplayAll)))
	if took := time.Since(began); took < 10*time.Second {
		t.Errorf("subscribed after %v", took)
	}
	finishStream(l, lab.Orders)
}
