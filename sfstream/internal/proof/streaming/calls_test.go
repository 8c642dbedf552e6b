package streaming

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
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

// unsubscribeRace: events that the server has queued before an unsubscribe arrive behind it. They
// count as never received.
func unsubscribeRace(t *testing.T) {
	l := lab.NewStreaming(t)
	l.FollowTopic()
	l.Subscribe(lab.Orders)
	for i := range 5 {
		l.FailCometD(sfstreamtest.CometDFault{Kind: "connect", Delay: 5 * time.Second})
		l.PublishNumbers(lab.Orders, 10*i)
		l.Expect(10 * i) // the next connect is late
		l.PublishNumbers(lab.Topic, 2*i)
		l.PublishNumbers(lab.Orders, 10*i+1)
		l.Pass(time.Second)
		l.Must(l.Client.Unsubscribe(t.Context(), lab.Topic))
		l.Pass(time.Minute)
		l.Expect(10*i + 1)
		l.PublishNumbers(lab.Topic, 2*i+1)
		l.ExpectQuiet(time.Minute)
		l.Subscribe(lab.Topic)
		l.Expect(2*i, 2*i+1)
	}
	l.ExpectCounts(1, 1)
	l.ExpectUnworried()
	finish(l, lab.Topic)
}

func manualAckCrash(t *testing.T) {
	l := lab.NewStreaming(t)
	l.FollowTopic(sfstream.WithAck(sfstream.AckManual))
	sent := l.PublishNumbers(lab.Topic, 1, 2, 3)
	var got []*sfstream.Message
	for range 3 {
		got = append(got, l.Receive())
	}
	got[0].Ack()
	got[2].Ack() // 2 has failed
	l.Pass(time.Second)
	if at := string(l.Marker(lab.Topic).ReplayID); at != string(sent[0].ReplayID) {
		t.Errorf("the marker is at %q, want %s", at, sent[0].ReplayID)
	}
	leave(l)
	l.FollowTopic(sfstream.WithAck(sfstream.AckManual))
	l.ExpectSubscribe(lab.Topic, "CUSTOM", sent[0].ReplayID)
	l.Expect(2, 3)
	l.ExpectCounts(2, 2)
	finish(l, lab.Topic)
}

// concurrentSubscribeUnsubscribe: channels come and go on several goroutines, and one that stays
// gets all.
func concurrentSubscribeUnsubscribe(t *testing.T) {
	const goroutines, rounds = 8, 20
	l := lab.NewStreaming(t)
	l.FollowTopic()
	var wg sync.WaitGroup
	for g := range goroutines {
		channel := fmt.Sprintf("/u/lab/%d", g/2) // two goroutines each
		l.Must(l.DefineGenericChannel(channel))
		wg.Go(func() {
			for range rounds {
				if err := l.Client.Subscribe(t.Context(), channel); err != nil && !errors.Is(err, sfstream.ErrAlreadySubscribed) &&
					!strings.Contains(err.Error(), "unsubscribed while subscribing") {
					t.Errorf("Subscribe: %v", err)
				}
				<-time.After(time.Duration(g+1) * time.Second)
				if err := l.Client.Unsubscribe(t.Context(), channel); err != nil && !errors.Is(err, sfstream.ErrNotSubscribed) {
					t.Errorf("Unsubscribe: %v", err)
				}
			}
		})
	}
	const events = 200
	wg.Go(func() {
		for i := range events {
			l.PublishNumbers(lab.Topic, i)
			<-time.After(100 * time.Millisecond)
		}
	})
	for want := range events {
		m := l.Receive()
		if n := l.Number(m); m.Channel != lab.Topic || n != want {
			t.Fatalf("got %d of %s, want %d", n, m.Channel, want)
		}
		m.Ack()
	}
	wg.Wait()
	l.Pass(5 * time.Minute)
	if got := l.Client.Subscriptions(); len(got) != 1 {
		t.Errorf("subscriptions %v", got)
	}
	if n := l.Logins(); n != 1 {
		t.Errorf("%d logins", n)
	}
	synctest.Wait()
	finish(l, lab.Topic)
}
