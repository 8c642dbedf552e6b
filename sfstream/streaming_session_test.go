package sfstream_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// streamingSessions are about sessions that the server has forgotten, and those
// that the client keeps or gives up.
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
	l := newStreaming(t)
	l.followTopic()
	l.put(labTopic, 1, 2)
	l.expect(1, 2)
	l.UnknownClient(1)
	l.FailCometD(sfstreamtest.CometDFault{Kind: "handshake", Delay: 10 * time.Second})
	last := l.put(labTopic, 3)
	l.expect(3)
	l.put(labTopic, 4, 5) // while there is no session
	within(t, 10*time.Second, func() { l.expect(4, 5) })
	l.expectSubscribe(labTopic, "CUSTOM", last[0].ReplayID)
	l.expectCounts(2, 1)
	l.expectUnworried()
	l.finish(labTopic)
}

// unknownClientSubscribe: the caller of Subscribe sees success, with or without
// advice, in a new session and in one that has other channels.
func unknownClientSubscribe(t *testing.T) {
	for _, opts := range [][]sfstreamtest.Option{nil, {sfstreamtest.WithUnknownClientAdvice()}} {
		l := newStreaming(t, opts...)
		for _, channel := range []string{labTopic, labOrders} {
			l.FailCometD(sfstreamtest.CometDFault{Kind: "subscribe", Channel: channel, Error: "403::Unknown client"})
			if l.client == nil {
				l.start()
			}
			l.subscribe(channel)
			l.put(channel, 1)
			l.expect(1)
			l.pass(time.Minute)
		}
		l.expectCounts(3, 1)
		l.put(labTopic, 2)
		l.put(labOrders, 2)
		l.expectEach(map[string][]int{labTopic: {2}, labOrders: {2}})
		l.finish(labTopic)
	}
}

func legacy402Interval(t *testing.T) {
	l := newStreaming(t)
	l.followTopic()
	l.LegacyUnknownClient(1)
	l.put(labTopic, 1)
	l.expect(1)
	l.put(labTopic, 2)
	l.expect(2)
	connects, handshakes := l.times("connect"), l.times("handshake")
	if len(connects) < 3 || len(handshakes) != 2 {
		t.Fatalf("connects at %v, handshakes at %v", connects, handshakes)
	}
	if wait := handshakes[1].Sub(connects[2]); wait != 500*time.Millisecond {
		t.Errorf("waited %v, want 500ms", wait)
	}
	l.expectCounts(2, 1)
	l.finish(labTopic)
}

// reconnectWindow: the loop body takes longer than the server waits for a connect.
func reconnectWindow(t *testing.T) {
	l := newStreaming(t)
	l.followTopic()
	var got []int
	l.put(labTopic, 1, 2, 3)
	for m := range l.client.Messages(t.Context()) {
		got = append(got, l.number(m))
		if len(got) <= 3 {
			l.put(labTopic, 3+len(got))
			l.pass(10 * time.Minute)
		}
		if len(got) == 6 {
			m.Ack()
			break
		}
	}
	if !slices.Equal(got, numbers(1, 6)) {
		t.Errorf("got %v", got)
	}
	l.expectCounts(1, 1)
	l.finish(labTopic)
	reconnectWindowPassed(t)
}

// reconnectWindowPassed: with no room for more the session has to end meanwhile.
func reconnectWindowPassed(t *testing.T) {
	l := newStreaming(t, sfstreamtest.WithReplyEvents(1))
	l.followTopic(sfstream.WithPrefetch(1))
	l.put(labTopic, numbers(1, 6)...)
	for i := range 6 {
		m := l.receive()
		if n := l.number(m); n != i+1 {
			t.Fatalf("got %d, want %d", n, i+1)
		}
		l.pass(35 * time.Second)
		if n := l.Sessions(); n != 0 && i < 5 {
			t.Errorf("%d sessions are left to expire", n)
		}
		l.pass(10 * time.Minute)
		m.Ack()
	}
	l.expectMost(7, 1)
	l.expectUnworried()
	l.finish(labTopic)
}

func queueFull(t *testing.T) {
	const prefetch, reply, backlog = 20, 20, 10 * (20 + 20)
	l := newStreaming(t, sfstreamtest.WithReplyEvents(reply))
	l.followTopic(sfstream.WithPrefetch(prefetch))
	l.put(labTopic, numbers(1, backlog)...)
	for want := 1; want <= backlog; want++ {
		m := l.receive()
		if n := l.number(m); n != want {
			t.Fatalf("got %d, want %d", n, want)
		}
		if n := l.client.Pending(); n > prefetch+reply {
			t.Fatalf("%d wait", n)
		}
		l.pass(10 * time.Second)
		m.Ack()
	}
	l.expectMost(backlog/reply+1, 1)
	l.expectUnworried()
	l.finish(labTopic)
}

// adviceNonePlain: connects that are told not to retry, for a reason that nobody
// knows. It may pass; when nothing else has been said for ten minutes, it is final.
func adviceNonePlain(t *testing.T) {
	l := newStreaming(t)
	l.followTopic()
	fault := sfstreamtest.CometDFault{Kind: "connect", Error: "499::Something that has never been seen", Advice: `{"reconnect":"none","interval":0}`}
	l.FailCometD(fault)
	l.put(labTopic, 1)
	l.expect(1)
	l.pass(15 * time.Minute)
	l.expectCounts(2, 1)
	fault.Times = -1
	l.FailCometD(fault)
	l.put(labTopic, 2)
	l.expect(2)
	began := time.Now()
	err := expectEnd[*sfstream.ServerError](l)
	if err.Code != sfstream.Invalid {
		t.Errorf("%v is %v", err, err.Code)
	}
	contains(t, err.Error(), "Something that has never been seen")
	if took := time.Since(began); took < 10*time.Minute || took > 14*time.Minute {
		t.Errorf("it took %v", took)
	}
	before := l.Handshakes()
	l.pass(10 * time.Minute)
	if n := l.Handshakes(); n != before || n > 2+25 {
		t.Errorf("%d handshakes, %d of them when it had ended", n, n-before)
	}
	if err := l.client.Subscribe(t.Context(), labOrders); !errors.As(err, new(*sfstream.ServerError)) {
		t.Errorf("Subscribe of a client that has ended: %v", err)
	}
	l.leave()
}

func adviceHandshakeLoop(t *testing.T) {
	l := newStreaming(t)
	l.followTopic(doubling())
	l.HandshakeAdviceLoop(8)
	l.UnknownClient(1)
	l.put(labTopic, 1) // the connect after this one begins it
	l.expect(1)
	l.pass(10 * time.Minute)
	l.expectCounts(10, 1)
	waits := l.waits("handshake", 1)
	if want := []time.Duration{1, 2, 4, 8, 16, 32, 64, 64}; !slices.EqualFunc(waits, want, func(got, want time.Duration) bool { return got == want*time.Second }) {
		t.Errorf("handshakes after %v", waits)
	}
	l.finish(labTopic)
}

// adviceHandshakeLoopWithEvents: each session brings an event before its connect
// fails. Only a connect that succeeds ends the back-off.
func adviceHandshakeLoopWithEvents(t *testing.T) {
	l := newStreaming(t)
	l.followTopic()
	l.HandshakeAdviceLoop(-1)
	l.UnknownClient(1)
	for i := range 600 {
		l.put(labTopic, i)
		l.pass(100 * time.Millisecond)
	}
	l.expect(numbers(0, 599)...)
	l.expectMost(40, 1) // in a minute
	l.ClearFaults()
	l.finish(labTopic)
}

func disconnectWakesPoll(t *testing.T) {
	l := newStreaming(t)
	for i := range 3 {
		l.followTopic()
		l.pass(time.Minute)
		if n := l.OpenConnects(); n != 1 {
			t.Errorf("%d connects are held", n)
		}
		l.leave()
		if sent, held := l.Disconnects(), l.OpenConnects(); sent != i+1 || held != 0 {
			t.Errorf("%d disconnects came, %d connects are held", sent, held)
		}
	}
	l.followTopic()
	synctest.Wait()
	l.finish(labTopic)
}
