package sfstream_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// streamingLimits are about allocations that are used up, and servers that are busy.
func streamingLimits() []scenario {
	return []scenario{
		{name: "busy_503_subscribe", run: busy503Subscribe},
		{name: "concurrent_limit", run: concurrentLimit},
		{name: "dos_limit", run: dosLimit},
		{name: "daily_limit_connect", run: dailyLimitConnect},
		{name: "daily_limit_subscribe", run: dailyLimitSubscribe},
		{name: "daily_limit_silence", run: dailyLimitSilence},
	}
}

func busy503Subscribe(t *testing.T) {
	l := newStreaming(t)
	l.followTopic(doubling())
	l.subscribe(labOrders)
	l.put(labTopic, 1)
	l.expect(1)
	l.Reject(labTopic, 5, "UNAVAILABLE")
	before := len(l.Subscribes(labTopic))
	l.DropConnections()
	l.put(labTopic, 2)
	l.put(labOrders, 1)
	within(t, 2*time.Second, func() { l.expect(1) }) // the other one
	within(t, time.Minute, func() { l.expect(2) })
	calls := l.Subscribes(labTopic)[before:]
	for i := 1; i < len(calls); i++ {
		if wait, want := calls[i].At.Sub(calls[i-1].At), time.Second<<(i-1); wait != want {
			t.Errorf("attempt %d came after %v, want %v", i+1, wait, want)
		}
	}
	if n := len(calls); n != 6 {
		t.Errorf("%d attempts", n)
	}
	l.expectCounts(2, 1)

	// The caller of Subscribe sees success.
	l.Reject(labGeneric, 2, "UNAVAILABLE")
	l.subscribe(labGeneric)
	l.FailCometD(sfstreamtest.CometDFault{Kind: "subscribe", Times: 2, Error: "403::subscribe_failed", FailureReason: "SERVER_UNAVAILABLE: try again later"})
	l.subscribe(labUndated)
	l.put(labUndated, 1)
	l.expect(1)
	l.put(labGeneric, 1)
	l.expectEach(map[string][]int{labGeneric: {1}})
	l.expectCounts(2, 1)
	l.awaitForgotten()
	l.finish(labTopic)
}

func concurrentLimit(t *testing.T) {
	l := newStreaming(t, sfstreamtest.WithMaxSessions(1))
	l.followTopic()
	follower := l.client
	l.start()
	began := time.Now()
	err := l.client.Subscribe(t.Context(), labTopic)
	if e := expectError[*sfstream.ServerError](t, err); e.Code != sfstream.LimitExceeded {
		t.Errorf("%v is %v", e, e.Code)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("Subscribe took %v", took)
	}
	l.must(l.client.Close())
	l.expectCounts(2, 2)

	l.client = follower
	l.ConcurrentLimit(5)
	l.UnknownClient(1)
	l.put(labTopic, 1)
	l.expect(1)
	l.put(labTopic, 2)
	l.expect(2)
	l.expectCounts(2+6, 2)
	for i, wait := range l.waits("handshake", 2) {
		if wait < time.Minute || wait > 2*time.Minute {
			t.Errorf("attempt %d came after %v", i+2, wait)
		}
	}
	l.finish(labTopic)
}

func dosLimit(t *testing.T) {
	l := newStreaming(t)
	l.followTopic()
	l.FailCometD(sfstreamtest.CometDFault{
		Kind: "handshake", Times: 3, Error: "403::Handshake denied",
		FailureReason: "403::To protect all customers from excessive use and Denial of Service attacks, we limit the number of simultaneous connections per server. Your request has been denied because this limit has been exceeded. Please try your request again later.",
	})
	l.UnknownClient(1)
	l.put(labTopic, 1)
	l.expect(1)
	l.put(labTopic, 2)
	l.expect(2)
	l.expectCounts(5, 1)
	for i, wait := range l.waits("handshake", 1) {
		if wait < time.Minute || wait > 2*time.Minute {
			t.Errorf("attempt %d came after %v", i+2, wait)
		}
	}
	l.finish(labTopic)
}

// expectLimit expects that the status names the limit.
func (l *lab) expectLimit() {
	l.t.Helper()
	for _, c := range l.client.Status().Channels {
		var e *sfstream.ServerError
		if !errors.As(c.LastError, &e) || e.Code != sfstream.LimitExceeded {
			l.t.Errorf("%s: last error %v", c.Channel, c.LastError)
		}
	}
}

func dailyLimitConnect(t *testing.T) {
	l := newStreaming(t)
	l.followTopic()
	l.FailCometD(sfstreamtest.CometDFault{Kind: "connect", Times: 4, Error: "403::Organization total events daily limit exceeded"})
	last := l.put(labTopic, 1)
	l.expect(1)
	l.DailyLimit(30 * time.Minute)
	l.put(labTopic, 2)
	l.pass(5 * time.Minute)
	l.expectLimit()
	if waiting := string(l.marker(labTopic).ReplayID); waiting != string(last[0].ReplayID) {
		t.Errorf("the marker is at %s, want %s", waiting, last[0].ReplayID)
	}
	l.expect(2)
	l.expectMost(6, 1)
	l.finish(labTopic)
}

func dailyLimitSubscribe(t *testing.T) {
	l := newStreaming(t)
	l.followTopic()
	last := l.put(labTopic, 1)
	l.expect(1)
	before := len(l.Subscribes(labTopic))
	l.DailyLimit(time.Hour)
	l.UnknownClient(1)
	l.pass(130 * time.Second) // the connect ends, and the next one is told
	l.put(labTopic, 2, 3)
	l.expectLimit()
	err := l.client.Subscribe(t.Context(), labOrders)
	if e := expectError[*sfstream.ServerError](t, err); e.Code != sfstream.LimitExceeded {
		t.Errorf("%v is %v", e, e.Code)
	}
	l.expect(2, 3)
	l.expectSubscribe(labTopic, "CUSTOM", last[0].ReplayID)
	if n := len(l.Subscribes(labTopic)) - before; n > 8 {
		t.Errorf("%d attempts in an hour", n)
	}
	l.expectCounts(2, 1)
	l.finish(labTopic)
}

func dailyLimitSilence(t *testing.T) {
	l := newStreaming(t)
	l.followTopic()
	l.put(labTopic, 1)
	l.expect(1)
	l.DailyLimit(time.Hour)
	l.put(labTopic, 2, 3)
	l.expectQuiet(59 * time.Minute)
	l.put(labTopic, 4)
	within(t, time.Minute, func() { l.expect(2, 3, 4) })
	l.expectCounts(1, 1)
	l.finish(labTopic)
}
