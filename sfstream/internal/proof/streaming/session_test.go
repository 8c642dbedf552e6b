package streaming

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// streamingSessions are about sessions that the server has forgotten, and those that the client
// keeps or gives up.
func streamingSessions() []scenario {
	return []scenario{
		{name: "unknown_client_connect", run: unknownClientConnect},
		{name: "unknown_client_subscribe", run: unknownClientSubscribe},
		{name: "legacy_402_interval", run: legacy402Interval},
		{name: "reconnect_window", run: reconnectWindow},
		{name: "queue_full", run: queueFull},
		{name: "advice_none_plain", run: adviceNonePlain},
		{name: "advice_handshake_loop", run: adviceHandshakeLoop},
		{name: "advice_handshake_loop_with_events", run: adviceHandshakeLoopWithEvents},
		{name: "disconnect_wakes_poll", run: disconnectWakesPoll},
	}
}

func unknownClientConnect(t *testing.T) {
	l := lab.NewStreaming(t)
	l.FollowTopic()
	l.PublishNumbers(lab.Topic, 1, 2)
	l.Expect(1, 2)
	l.UnknownClient(1)
	l.FailCometD(sfstreamtest.CometDFault{Kind: "handshake", Delay: 10 * time.Second})
	last := l.PublishNumbers(lab.Topic, 3)
	l.Expect(3)
	l.PublishNumbers(lab.Topic, 4, 5) // while there is no session
	lab.Within(t, 10*time.Second, func() { l.Expect(4, 5) })
	l.ExpectSubscribe(lab.Topic, "CUSTOM", last[0].ReplayID)
	l.ExpectCounts(2, 1)
	l.ExpectUnworried()
	finish(l, lab.Topic)
}

// unknownClientSubscribe: the caller of Subscribe sees success, with or without advice, in a new
// session and in one that has other channels.
func unknownClientSubscribe(t *testing.T) {
	for _, opts := range [][]sfstreamtest.Option{nil, {sfstreamtest.WithUnknownClientAdvice()}} {
		l := lab.NewStreaming(t, opts...)
		for _, channel := range []string{lab.Topic, lab.Orders} {
			l.FailCometD(sfstreamtest.CometDFault{Kind: "subscribe", Channel: channel, Error: "403::Unknown client"})
			if l.Client == nil {
				l.Start()
			}
			l.Subscribe(channel)
			l.PublishNumbers(channel, 1)
			l.Expect(1)
			l.Pass(time.Minute)
		}
		l.ExpectCounts(3, 1)
		l.PublishNumbers(lab.Topic, 2)
		l.PublishNumbers(lab.Orders, 2)
		l.ExpectEach(map[string][]int{lab.Topic: {2}, lab.Orders: {2}})
		finish(l, lab.Topic)
	}
}

func legacy402Interval(t *testing.T) {
	l := lab.NewStreaming(t)
	l.FollowTopic()
	l.LegacyUnknownClient(1)
	l.PublishNumbers(lab.Topic, 1)
	l.Expect(1)
	l.PublishNumbers(lab.Topic, 2)
	l.Expect(2)
	connects, handshakes := l.Times("connect"), l.Times("handshake")
	if len(connects) < 3 || len(handshakes) != 2 {
		t.Fatalf("connects at %v, handshakes at %v", connects, handshakes)
	}
	if wait := handshakes[1].Sub(connects[2]); wait != 500*time.Millisecond {
		t.Errorf("waited %v, want 500ms", wait)
	}
	l.ExpectCounts(2, 1)
	finish(l, lab.Topic)
}

// reconnectWindow: the loop body takes longer than the server waits for a connect.
func reconnectWindow(t *testing.T) {
	l := lab.NewStreaming(t)
	l.FollowTopic()
	var got []int
	l.PublishNumbers(lab.Topic, 1, 2, 3)
	for m := range l.Client.Messages(t.Context()) {
		got = append(got, l.Number(m))
		if len(got) <= 3 {
			l.PublishNumbers(lab.Topic, 3+len(got))
			l.Pass(10 * time.Minute)
		}
		if len(got) == 6 {
			m.Ack()
			break
		}
	}
	if !slices.Equal(got, lab.Numbers(1, 6)) {
		t.Errorf("got %v", got)
	}
	l.ExpectCounts(1, 1)
	finish(l, lab.Topic)
	reconnectWindowPassed(t)
}

// reconnectWindowPassed: with no room for more the session has to end meanwhile.
func reconnectWindowPassed(t *testing.T) {
	l := lab.NewStreaming(t, sfstreamtest.WithReplyEvents(1))
	l.FollowTopic(sfstream.WithPrefetch(1))
	l.PublishNumbers(lab.Topic, lab.Numbers(1, 6)...)
	for i := range 6 {
		m := l.Receive()
		if n := l.Number(m); n != i+1 {
			t.Fatalf("got %d, want %d", n, i+1)
		}
		l.Pass(35 * time.Second)
		if n := l.Sessions(); n != 0 && i < 5 {
			t.Errorf("%d sessions are left to expire", n)
		}
		l.Pass(10 * time.Minute)
		m.Ack()
	}
	expectMost(l, 7, 1)
	l.ExpectUnworried()
	finish(l, lab.Topic)
}

func queueFull(t *testing.T) {
	const prefetch, reply, backlog = 20, 20, 10 * (20 + 20)
	l := lab.NewStreaming(t, sfstreamtest.WithReplyEvents(reply))
	l.FollowTopic(sfstream.WithPrefetch(prefetch))
	l.PublishNumbers(lab.Topic, lab.Numbers(1, backlog)...)
	for want := 1; want <= backlog; want++ {
		m := l.Receive()
		if n := l.Number(m); n != want {
			t.Fatalf("got %d, want %d", n, want)
		}
		if n := l.Client.Pending(); n > prefetch+reply {
			t.Fatalf("%d wait", n)
		}
		l.Pass(10 * time.Second)
		m.Ack()
	}
	expectMost(l, backlog/reply+1, 1)
	l.ExpectUnworried()
	finish(l, lab.Topic)
}

// adviceNonePlain: connects that are told not to retry, for a reason that nobody knows. It may
// pass; when nothing else has been said for ten minutes, it is final.
func adviceNonePlain(t *testing.T) {
	l := lab.NewStreaming(t)
	l.FollowTopic()
	fault := sfstreamtest.CometDFault{Kind: "connect", Error: "499::Something that has never been seen", Advice: `{"reconnect":"none","interval":0}`}
	l.FailCometD(fault)
	l.PublishNumbers(lab.Topic, 1)
	l.Expect(1)
	l.Pass(15 * time.Minute)
	l.ExpectCounts(2, 1)
	fault.Times = -1
	l.FailCometD(fault)
	l.PublishNumbers(lab.Topic, 2)
	l.Expect(2)
	began := time.Now()
	err := lab.ExpectEnd[*sfstream.ServerError](l)
	if err.Code != sfstream.Invalid {
		t.Errorf("%v is %v", err, err.Code)
	}
	lab.Contains(t, err.Error(), "Something that has never been seen")
	if took := time.Since(began); took < 10*time.Minute || took > 14*time.Minute {
		t.Errorf("it took %v", took)
	}
	before := l.Handshakes()
	l.Pass(10 * time.Minute)
	if n := l.Handshakes(); n != before || n > 2+25 {
		t.Errorf("%d handshakes, %d of them when it had ended", n, n-before)
	}
	if err := l.Client.Subscribe(t.Context(), lab.Orders); !errors.As(err, new(*sfstream.ServerError)) {
		t.Errorf("Subscribe of a client that has ended: %v", err)
	}
	leave(l)
}

func adviceHandshakeLoop(t *testing.T) {
	l := lab.NewStreaming(t)
	l.FollowTopic(lab.Doubling())
	l.HandshakeAdviceLoop(8)
	l.UnknownClient(1)
	l.PublishNumbers(lab.Topic, 1) // the connect after this one begins it
	l.Expect(1)
	l.Pass(10 * time.Minute)
	l.ExpectCounts(10, 1)
	waits := waits(l, "handshake", 1)
	if want := []time.Duration{1, 2, 4, 8, 16, 32, 64, 64}; !slices.EqualFunc(waits, want, func(got, want time.Duration) bool { return got == want*time.Second }) {
		t.Errorf("handshakes after %v", waits)
	}
	finish(l, lab.Topic)
}

// adviceHandshakeLoopWithEvents: each session brings an event before its connect fails. Only a
// connect that succeeds ends the back-off.
func adviceHandshakeLoopWithEvents(t *testing.T) {
	l := lab.NewStreaming(t)
	l.FollowTopic()
	l.HandshakeAdviceLoop(-1)
	l.UnknownClient(1)
	for i := range 600 {
		l.PublishNumbers(lab.Topic, i)
		l.Pass(100 * time.Millisecond)
	}
	l.Expect(lab.Numbers(0, 599)...)
	expectMost(l, 40, 1) // in a minute
	l.ClearFaults()
	finish(l, lab.Topic)
}

func disconnectWakesPoll(t *testing.T) {
	l := lab.NewStreaming(t)
	for i := range 3 {
		l.FollowTopic()
		l.Pass(time.Minute)
		if n := l.OpenConnects(); n != 1 {
			t.Errorf("%d connects are held", n)
		}
		leave(l)
		if sent, held := l.Disconnects(), l.OpenConnects(); sent != i+1 || held != 0 {
			t.Errorf("%d disconnects came, %d connects are held", sent, held)
		}
	}
	l.FollowTopic()
	synctest.Wait()
	finish(l, lab.Topic)
}
