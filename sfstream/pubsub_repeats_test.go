package sfstream_test

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// pubsubRepeats is about events that come again, and those that cannot be told apart.
func pubsubRepeats() []scenario {
	return []scenario{
		{name: "27_server_resends", run: serverResends},
		{name: "28_replay_repeated", run: replayRepeated},
		{name: "58_no_replay_id", run: noReplayID},
	}
}

// serverResends: what was received already comes once more after a reconnect.
func serverResends(t *testing.T) {
	l := newLab(t)
	l.follow()
	want := []position{latest}
	for n := 0; n < 15; n += 3 {
		last := l.publish(n, n+1, n+2)[2]
		if n%2 == 0 {
			l.expect(n, n+1, n+2) // else they wait in the queue
		} else {
			synctest.Wait()
		}
		l.Duplicate(labOrders, 2)
		l.reconnect(labOrders)
		if n%2 != 0 {
			l.expect(n, n+1, n+2)
		}
		want = append(want, after(last.ReplayID))
	}
	l.expectPositions(labOrders, want...)
	l.expectCalls(6, 1)
	l.finishStream(labOrders)
}

// replayRepeated: the server has noticed that it went backwards.
func replayRepeated(t *testing.T) {
	l := newLab(t)
	l.follow()
	want := []position{latest}
	for n := range 5 {
		last := l.publish(10*n, 10*n+1)[1]
		l.expect(10*n, 10*n+1)
		l.Duplicate(labOrders, 1)
		l.endStreams(labOrders, "subscription.fetch.replay.repeated")
		want = append(want, after(last.ReplayID))
	}
	l.publish(100)
	l.expect(100)
	l.expectPositions(labOrders, want...)
	l.expectCalls(6, 1)
	if n := l.gapCount(); n != 0 {
		t.Errorf("%d gaps", n)
	}
	l.finishStream(labOrders)
}

// noReplayID: Salesforce was seen to send events without a replay id.
func noReplayID(t *testing.T) {
	l := newLab(t)
	payload := l.payload(2)
	l.follow()
	first := l.publish(1)[0]
	_, err := l.PublishRaw(labOrders, sfstreamtest.RawEvent{Payload: payload, NoReplayID: true})
	l.must(err)
	l.expect(1, 2)
	l.pass(time.Second)
	if m := l.marker(labOrders); !bytes.Equal(m.ReplayID, first.ReplayID) {
		t.Errorf("stored is %x, want %x", m.ReplayID, first.ReplayID)
	}
	l.endStreams(labOrders, "UNAVAILABLE")
	last := l.publish(3)[0]
	l.expect(2, 3) // the second has no place to resume after, so it comes again
	l.endStreams(labOrders, "UNAVAILABLE")
	l.publish(4)
	l.expect(4)
	calls := l.Subscribes(labOrders)[1:] // the first was that of payload
	if !bytes.Equal(calls[1].ReplayID, first.ReplayID) || !bytes.Equal(calls[2].ReplayID, last.ReplayID) || len(calls) != 3 {
		t.Errorf("%+v", calls)
	}
	l.finishStream(labOrders)
}
