package sfstream_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// streamingCalls are about what programs do meanwhile.
func streamingCalls() []scenario {
	return []scenario{
		{name: "unsubscribe_race", run: unsubscribeRace},
		{name: "manual_ack_crash", run: manualAckCrash},
		{name: "concurrent_subscribe_unsubscribe", run: concurrentSubscribeUnsubscribe},
	}
}

// unsubscribeRace: events that the server has queued before an unsubscribe arrive
// behind it. They count as never received.
func unsubscribeRace(t *testing.T) {
	l := newStreaming(t)
	l.followTopic()
	l.subscribe(labOrders)
	for i := range 5 {
		l.FailCometD(sfstreamtest.CometDFault{Kind: "connect", Delay: 5 * time.Second})
		l.put(labOrders, 10*i)
		l.expect(10 * i) // the next connect is late
		l.put(labTopic, 2*i)
		l.put(labOrders, 10*i+1)
		l.pass(time.Second)
		l.must(l.client.Unsubscribe(t.Context(), labTopic))
		l.pass(time.Minute)
		l.expect(10*i + 1)
		l.put(labTopic, 2*i+1)
		l.expectQuiet(time.Minute)
		l.subscribe(labTopic)
		l.expect(2*i, 2*i+1)
	}
	l.expectCounts(1, 1)
	l.expectUnworried()
	l.finish(labTopic)
}

func manualAckCrash(t *testing.T) {
	l := newStreaming(t)
	l.followTopic(sfstream.WithAck(sfstream.AckManual))
	sent := l.put(labTopic, 1, 2, 3)
	var got []*sfstream.Message
	for range 3 {
		got = append(got, l.receive())
	}
	got[0].Ack()
	got[2].Ack() // 2 has failed
	l.pass(time.Second)
	if at := string(l.marker(labTopic).ReplayID); at != string(sent[0].ReplayID) {
		t.Errorf("the marker is at %q, want %s", at, sent[0].ReplayID)
	}
	l.leave()
	l.followTopic(sfstream.WithAck(sfstream.AckManual))
	l.expectSubscribe(labTopic, "CUSTOM", sent[0].ReplayID)
	l.expect(2, 3)
	l.expectCounts(2, 2)
	l.finish(labTopic)
}

// concurrentSubscribeUnsubscribe: channels come and go on several goroutines, and
// one that stays gets all.
func concurrentSubscribeUnsubscribe(t *testing.T) {
	const goroutines, rounds = 8, 20
	l := newStreaming(t)
	l.followTopic()
	var wg sync.WaitGroup
	for g := range goroutines {
		channel := fmt.Sprintf("/u/lab/%d", g/2) // two goroutines each
		l.must(l.DefineGenericChannel(channel))
		wg.Go(func() {
			for range rounds {
				if err := l.client.Subscribe(t.Context(), channel); err != nil && !errors.Is(err, sfstream.ErrAlreadySubscribed) &&
					!strings.Contains(err.Error(), "unsubscribed while subscribing") {
					t.Errorf("Subscribe: %v", err)
				}
				<-time.After(time.Duration(g+1) * time.Second)
				if err := l.client.Unsubscribe(t.Context(), channel); err != nil && !errors.Is(err, sfstream.ErrNotSubscribed) {
					t.Errorf("Unsubscribe: %v", err)
				}
			}
		})
	}
	const events = 200
	wg.Go(func() {
		for i := range events {
			l.put(labTopic, i)
			<-time.After(100 * time.Millisecond)
		}
	})
	for want := range events {
		m := l.receive()
		if n := l.numberIn(m); m.Channel != labTopic || n != want {
			t.Fatalf("got %d of %s, want %d", n, m.Channel, want)
		}
		m.Ack()
	}
	wg.Wait()
	l.pass(5 * time.Minute)
	if got := l.client.Subscriptions(); len(got) != 1 {
		t.Errorf("subscriptions %v", got)
	}
	if n := l.Logins(); n != 1 {
		t.Errorf("%d logins", n)
	}
	synctest.Wait()
	l.finish(labTopic)
}
