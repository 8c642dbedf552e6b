package pubsub

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// pubsubRepeats is about events that come again, and those that cannot be told apart.
func pubsubRepeats() []scenario {
	return []scenario{
		{name: "server_resends", run: serverResends},
		{name: "replay_repeated", run: replayRepeated},
		{name: "no_replay_id", run: noReplayID},
	}
}

// serverResends: what was received already comes once more after a reconnect.
func serverResends(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	want := []position{latest}
	for n := 0; n < 15; n += 3 {
		last := l.PublishOrders(n, n+1, n+2)[2]
		if n%2 == 0 {
			l.Expect(n, n+1, n+2) // else they wait in the queue
		} else {
			synctest.Wait()
		}
		l.Duplicate(lab.Orders, 2)
		l.Reconnect(lab.Orders)
		if n%2 != 0 {
			l.Expect(n, n+1, n+2)
		}
		want = append(want, after(last.ReplayID))
	}
	expectPositions(l, lab.Orders, want...)
	expectCalls(l, 6, 1)
	finishStream(l, lab.Orders)
}

// replayRepeated: the server has noticed that it went backwards.
func replayRepeated(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	want := []position{latest}
	for n := range 5 {
		last := l.PublishOrders(10*n, 10*n+1)[1]
		l.Expect(10*n, 10*n+1)
		l.Duplicate(lab.Orders, 1)
		endStreams(l, lab.Orders, "subscription.fetch.replay.repeated")
		want = append(want, after(last.ReplayID))
	}
	l.PublishOrders(100)
	l.Expect(100)
	expectPositions(l, lab.Orders, want...)
	expectCalls(l, 6, 1)
	if n := l.GapCount(); n != 0 {
		t.Errorf("%d gaps", n)
	}
	finishStream(l, lab.Orders)
}

// noReplayID: Salesforce was seen to send events without a replay id.
func noReplayID(t *testing.T) {
	l := lab.New(t)
	payload := l.Payload(2)
	l.Follow()
	first := l.PublishOrders(1)[0]
	_, err := l.PublishRaw(lab.Orders, sfstreamtest.RawEvent{Payload: payload, NoReplayID: true})
	l.Must(err)
	l.Expect(1, 2)
	l.Pass(time.Second)
	if m := l.Marker(lab.Orders); !bytes.Equal(m.ReplayID, first.ReplayID) {
		t.Errorf("stored is %x, want %x", m.ReplayID, first.ReplayID)
	}
	endStreams(l, lab.Orders, "UNAVAILABLE")
	last := l.PublishOrders(3)[0]
	l.Expect(2, 3) // the second has no place to resume after, so it comes again
	endStreams(l, lab.Orders, "UNAVAILABLE")
	l.PublishOrders(4)
	l.Expect(4)
	calls := l.Subscribes(lab.Orders)[1:] // the first was that of payload
	if !bytes.Equal(calls[1].ReplayID, first.ReplayID) || !bytes.Equal(calls[2].ReplayID, last.ReplayID) || len(calls) != 3 {
		t.Errorf("%+v", calls)
	}
	finishStream(l, lab.Orders)
}
