package streaming

import (
	"errors"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
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
	l := lab.NewStreaming(t)
	l.FollowTopic(lab.Doubling())
	l.Subscribe(lab.Orders)
	l.PublishNumbers(lab.Topic, 1)
	l.Expect(1)
	l.Reject(lab.Topic, 5, "UNAVAILABLE")
	before := len(l.Subscribes(lab.Topic))
	l.DropConnections()
	l.PublishNumbers(lab.Topic, 2)
	l.PublishNumbers(lab.Orders, 1)
	lab.Within(t, 2*time.Second, func() { l.Expect(1) }) // the other one
	lab.Within(t, time.Minute, func() { l.Expect(2) })
	calls := l.Subscribes(lab.Topic)[before:]
	for i := 1; i < len(calls); i++ {
		if wait, want := calls[i].At.Sub(calls[i-1].At), time.Second<<(i-1); wait != want {
			t.Errorf("attempt %d came after %v, want %v", i+1, wait, want)
		}
	}
	if n := len(calls); n != 6 {
		t.Errorf("%d attempts", n)
	}
	l.ExpectCounts(2, 1)

	// The caller of Subscribe sees success.
	l.Reject(lab.Generic, 2, "UNAVAILABLE")
	l.Subscribe(lab.Generic)
	l.FailCometD(sfstreamtest.CometDFault{Kind: "subscribe", Times: 2, Error: "403::subscribe_failed", FailureReason: "SERVER_UNAVAILABLE: try again later"})
	l.Subscribe(lab.Undated)
	l.PublishNumbers(lab.Undated, 1)
	l.Expect(1)
	l.PublishNumbers(lab.Generic, 1)
	l.ExpectEach(map[string][]int{lab.Generic: {1}})
	l.ExpectCounts(2, 1)
	awaitForgotten(l)
	finish(l, lab.Topic)
}

func concurrentLimit(t *testing.T) {
	l := lab.NewStreaming(t, sfstreamtest.WithMaxSessions(1))
	l.FollowTopic()
	follower := l.Client
	l.Start()
	began := time.Now()
	err := l.Client.Subscribe(t.Context(), lab.Topic)
	if e := lab.ExpectError[*sfstream.ServerError](t, err); e.Code != sfstream.LimitExceeded {
		t.Errorf("%v is %v", e, e.Code)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("Subscribe took %v", took)
	}
	l.Must(l.Client.Close())
	l.ExpectCounts(2, 2)

	l.Client = follower
	l.ConcurrentLimit(5)
	l.UnknownClient(1)
	l.PublishNumbers(lab.Topic, 1)
	l.Expect(1)
	l.PublishNumbers(lab.Topic, 2)
	l.Expect(2)
	l.ExpectCounts(2+6, 2)
	for i, wait := range waits(l, "handshake", 2) {
		if wait < time.Minute || wait > 2*time.Minute {
			t.Errorf("attempt %d came after %v", i+2, wait)
		}
	}
	finish(l, lab.Topic)
}

func dosLimit(t *testing.T) {
	l := lab.NewStreaming(t)
	l.FollowTopic()
	l.FailCometD(sfstreamtest.CometDFault{
		Kind: "handshake", Times: 3, Error: "403::Handshake denied",
		FailureReason: "403::To protect all customers from excessive use and Denial of Service attacks, we limit the number of simultaneous connections per server. Your request has been denied because this limit has been exceeded. Please try your request again later.",
	})
	l.UnknownClient(1)
	l.PublishNumbers(lab.Topic, 1)
	l.Expect(1)
	l.PublishNumbers(lab.Topic, 2)
	l.Expect(2)
	l.ExpectCounts(5, 1)
	for i, wait := range waits(l, "handshake", 1) {
		if wait < time.Minute || wait > 2*time.Minute {
			t.Errorf("attempt %d came after %v", i+2, wait)
		}
	}
	finish(l, lab.Topic)
}

// expectLimit expects that the status names the limit.
func expectLimit(l *lab.Lab) {
	l.T.Helper()
	for _, c := range l.Client.Status().Channels {
		var e *sfstream.ServerError
		if !errors.As(c.LastError, &e) || e.Code != sfstream.LimitExceeded {
			l.T.Errorf("%s: last error %v", c.Channel, c.LastError)
		}
	}
}

func dailyLimitConnect(t *testing.T) {
	l := lab.NewStreaming(t)
	l.FollowTopic()
	l.FailCometD(sfstreamtest.CometDFault{Kind: "connect", Times: 4, Error: "403::Organization total events daily limit exceeded"})
	last := l.PublishNumbers(lab.Topic, 1)
	l.Expect(1)
	l.DailyLimit(30 * time.Minute)
	l.PublishNumbers(lab.Topic, 2)
	l.Pass(5 * time.Minute)
	expectLimit(l)
	if waiting := string(l.Marker(lab.Topic).ReplayID); waiting != string(last[0].ReplayID) {
		t.Errorf("the marker is at %s, want %s", waiting, last[0].ReplayID)
	}
	l.Expect(2)
	expectMost(l, 6, 1)
	finish(l, lab.Topic)
}

func dailyLimitSubscribe(t *testing.T) {
	l := lab.NewStreaming(t)
	l.FollowTopic()
	last := l.PublishNumbers(lab.Topic, 1)
	l.Expect(1)
	before := len(l.Subscribes(lab.Topic))
	l.DailyLimit(time.Hour)
	l.UnknownClient(1)
	l.Pass(130 * time.Second) // the connect ends, and the next one is told
	l.PublishNumbers(lab.Topic, 2, 3)
	expectLimit(l)
	err := l.Client.Subscribe(t.Context(), lab.Orders)
	if e := lab.ExpectError[*sfstream.ServerError](t, err); e.Code != sfstream.LimitExceeded {
		t.Errorf("%v is %v", e, e.Code)
	}
	l.Expect(2, 3)
	l.ExpectSubscribe(lab.Topic, "CUSTOM", last[0].ReplayID)
	if n := len(l.Subscribes(lab.Topic)) - before; n > 8 {
		t.Errorf("%d attempts in an hour", n)
	}
	l.ExpectCounts(2, 1)
	finish(l, lab.Topic)
}

func dailyLimitSilence(t *testing.T) {
	l := lab.NewStreaming(t)
	l.FollowTopic()
	l.PublishNumbers(lab.Topic, 1)
	l.Expect(1)
	l.DailyLimit(time.Hour)
	l.PublishNumbers(lab.Topic, 2, 3)
	l.ExpectQuiet(59 * time.Minute)
	l.PublishNumbers(lab.Topic, 4)
	lab.Within(t, time.Minute, func() { l.Expect(2, 3, 4) })
	l.ExpectCounts(1, 1)
	finish(l, lab.Topic)
}
