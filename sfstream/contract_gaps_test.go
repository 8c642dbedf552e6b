package sfstream_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// contractGaps proves that what may be missing is told, also where no id is refused.
func contractGaps() []rule {
	return []rule{
		{number: 6, words: "replay ids that began anew, the old one refused, are the policy's", run: func(t *testing.T) {
			l := newLab(t)
			l.publish(1, 2)
			l.follow(sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithReplayFallback(sfstream.FallbackAll))
			l.expect(1, 2)
			l.stop()
			l.must(l.ResetReplay(labOrders, 1, false))
			l.publish(3)
			err := l.followStale()
			contains(t, err.Error(), "sandboxes begin replay ids anew", "WithReplayFallback")
			l.start(sfstream.WithReplayFallback(sfstream.FallbackAll))
			l.subscribe(labOrders)
			l.expect(3)
			if n := l.gapCount(); n != 1 || l.gaps[0].Possible {
				t.Errorf("%d gaps", n)
			}
			l.expectStillWorks(labOrders)
		}},
		{number: 6, words: "replay ids that began anew, the old one accepted, are the policy's", run: func(t *testing.T) {
			for _, restart := range []bool{false, true} {
				l := newLab(t)
				l.change(1, 2)
				l.start(sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithReplayFallback(sfstream.FallbackAll))
				l.subscribe(labAccounts)
				l.expect(1, 2)
				l.pass(time.Minute)
				if restart {
					l.stop()
					l.must(l.ResetReplay(labAccounts, 1, true))
					l.start(sfstream.WithReplayFallback(sfstream.FallbackAll))
					l.subscribe(labAccounts)
				} else {
					l.outage(time.Minute, func() { l.must(l.ResetReplay(labAccounts, 1, true)) })
					l.pass(5 * time.Minute)
				}
				l.change(3)
				l.expect(3)
				l.gapCount()
				certain := slices.DeleteFunc(slices.Clone(l.gaps), func(g sfstream.Gap) bool { return g.Possible }) // a keepalive may tell before
				if len(certain) != 1 || expectError[*sfstream.ServerError](t, certain[0].Reason).Code != sfstream.ReplayInvalid &&
					transportOf(t) == sfstream.CometD {
					t.Errorf("restart %v: gaps %+v", restart, l.gaps)
				}
				l.change(4)
				l.expect(4)
				l.stop()
				l.start()
				l.subscribe(labAccounts)
				l.change(5)
				l.expect(5)
				l.stop()
			}
		}},
		{number: 6, words: "replay ids that began anew end a client that falls back on nothing", run: func(t *testing.T) {
			l := newLab(t)
			l.change(1, 2)
			l.start(sfstream.WithReplay(sfstream.ReplayAll))
			l.subscribe(labAccounts)
			l.expect(1, 2)
			l.pass(time.Minute)
			l.outage(time.Minute, func() { l.must(l.ResetReplay(labAccounts, 1, true)) })
			l.pass(5 * time.Minute)
			l.change(3)
			expectEnd[*sfstream.ReplayError](l)
		}},
		{number: 6, words: "events that come again after a restart are no replay ids that began anew", run: func(t *testing.T) {
			l := newLab(t)
			l.change(1, 2, 3)
			l.start(sfstream.WithReplay(sfstream.ReplayAll))
			l.subscribe(labAccounts)
			l.expect(1, 2, 3)
			l.stop()
			l.start()
			l.Duplicate(labAccounts, 2)
			l.subscribe(labAccounts)
			l.pass(time.Minute)
			l.change(4)
			for m := l.receive(); l.number(m) != 4; m = l.receive() {
				m.Ack()
			}
			if n := l.gapCount(); n != 0 {
				t.Errorf("%d gaps", n)
			}
		}},
		{number: 6, words: "a keepalive of an id before the position is a possible gap, told once, and moves nothing", pubsubOnly: true, run: func(t *testing.T) {
			l := newLab(t)
			l.publish(1, 2)
			l.follow(sfstream.WithReplay(sfstream.ReplayAll))
			l.expect(1, 2)
			l.LagKeepalive(labOrders, 3)
			l.pass(4*time.Minute + 45*time.Second)
			if n := l.gapCount(); n != 1 {
				t.Errorf("%d gaps after the first keepalive", n)
			}
			l.pass(10 * time.Minute)
			if n := l.gapCount(); n != 1 || !l.gaps[0].Possible {
				t.Errorf("%d gaps", n)
			}
			l.reconnect(labOrders)
			l.publish(3)
			l.expect(3)
		}},
		{number: 6, words: "keepalives that stay before the position mean that replay ids have begun anew", pubsubOnly: true, run: func(t *testing.T) {
			l := newLab(t)
			l.publish(1, 2)
			l.follow(sfstream.WithReplay(sfstream.ReplayAll))
			l.expect(1, 2)
			l.stop()
			l.must(l.ResetReplay(labOrders, 1, true))
			l.publish(3) // behind the position that is accepted: nobody sends it
			l.follow()
			l.expect(3)
			if n := l.gapCount(); n != 2 || !l.gaps[0].Possible || !l.gaps[1].Possible {
				t.Errorf("gaps %+v", l.gaps)
			}
			l.expectStillWorks(labOrders)
		}},
		{number: 6, words: "what came with an event whose id went back comes again", cometdOnly: true, run: func(t *testing.T) {
			l := newLab(t)
			l.publishOn(labUndated, 1, 2, 3)
			l.start(sfstream.WithReplay(sfstream.ReplayAll))
			l.subscribe(labUndated)
			l.expect(1, 2, 3)
			l.stop()
			l.start()
			l.outage(time.Second, func() { l.publishOn(labUndated, 4, 5) })
			l.Duplicate(labUndated, 2) // undated, and behind the position: ids may have begun anew
			l.subscribe(labUndated)
			got := make(map[int]bool)
			for !got[4] || !got[5] {
				m := l.receive()
				got[l.number(m)] = true
				m.Ack()
			}
			l.pass(time.Minute)
			for l.client.Pending() > 0 {
				l.receive().Ack()
			}
			l.publishOn(labUndated, 6)
			l.expect(6)
		}},
		{number: 6, words: "a week of new sessions after one event ends nothing and floods nothing", cometdOnly: true, run: func(t *testing.T) {
			l := newStreaming(t)
			l.followTopic()
			l.put(labTopic, 1)
			l.expect(1)
			for range 7 * 24 {
				l.pass(time.Hour)
				l.DropConnections()
			}
			if n := l.gapCount(); n != 1 || !l.gaps[0].Possible {
				t.Errorf("%d gaps, want one that is possible: %+v", n, l.gaps)
			}
			l.put(labTopic, 2)
			l.expect(2)
			l.stop()
			l.start()
			l.subscribe(labTopic)
			l.expectQuiet(10 * time.Minute)
			l.put(labTopic, 3)
			l.expect(3)
			l.must(l.client.Err())
		}},
		{number: 6, words: "what is known passes silently after a possible gap", cometdOnly: true, run: func(t *testing.T) {
			l := newStreaming(t)
			l.followTopic()
			var all []sfstreamtest.Event
			for n := range 5 {
				all = append(all, l.put(labTopic, n)...)
				l.expect(n)
				l.pass(time.Minute)
			}
			l.stop()
			// Followed until now, and nothing is proven: the second event is refused as if it
			// had aged out.
			l.save(l.key("cometd", labTopic), replaystore.Marker{ReplayID: all[1].ReplayID, Date: all[1].Date, Live: time.Now()})
			l.FailCometD(sfstreamtest.CometDFault{Kind: "subscribe", Error: "400::The replayId {1} you provided was invalid.  " +
				"Please provide a valid ID, -2 to replay all events, or -1 to replay only new events."})
			l.start()
			l.subscribe(labTopic)
			l.expect(2, 3, 4)
			if n := l.gapCount(); n != 1 || !l.gaps[0].Possible {
				t.Errorf("%d gaps", n)
			}
		}},
		{number: 6, words: "what has passed silently after a possible gap is not handed out after a restart", cometdOnly: true, run: func(t *testing.T) {
			l := newStreaming(t)
			l.followTopic()
			var all []sfstreamtest.Event
			for n := range 3 {
				all = append(all, l.put(labTopic, n)...)
				l.expect(n)
			}
			l.stop()
			l.save(l.key("cometd", labTopic), replaystore.Marker{ReplayID: all[2].ReplayID, Date: all[2].Date, Live: time.Now()})
			l.FailCometD(sfstreamtest.CometDFault{Kind: "subscribe", Error: "400::The replayId {1} you provided was invalid.  " +
				"Please provide a valid ID, -2 to replay all events, or -1 to replay only new events."})
			l.start()
			l.subscribe(labTopic)
			l.expectQuiet(time.Minute)
			l.stop()
			l.start()
			l.subscribe(labTopic)
			l.expectQuiet(time.Minute)
			if n := l.gapCount(); n != 1 || !l.gaps[0].Possible {
				t.Errorf("%d gaps", n)
			}
		}},
		{number: 6, words: "a backlog that the server seeks through while ids age out is told", cometdOnly: true, run: func(t *testing.T) {
			l := newStreaming(t)
			l.followTopic()
			l.put(labTopic, 1)
			l.expect(1)
			l.pass(time.Minute)
			l.stop()
			l.put(labTopic, 2) // will never come
			l.SeekBacklog(labTopic, -1, 30*time.Hour)
			l.start()
			l.subscribe(labTopic)
			l.pass(26 * time.Hour)
			l.DropConnections()
			l.pass(5 * time.Minute)
			l.ClearFaults()
			l.pass(time.Minute)
			if n := l.gapCount(); n != 1 || !l.gaps[0].Possible {
				t.Errorf("%d gaps, want one that is possible", n)
			}
			l.put(labTopic, 3)
			l.expect(3)
			if err := l.client.Err(); err != nil || errors.Is(err, sfstream.ErrClosed) {
				t.Error(err)
			}
		}},
	}
}
