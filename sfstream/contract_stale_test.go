package sfstream_test

import (
	"bytes"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// staleRules prove what happens to positions that Salesforce does not know.
func staleRules() []rule {
	rules := []rule{
		{number: 6, words: "FallbackFail ends with a ReplayError, after a restart", run: func(t *testing.T) {
			l := newLab(t)
			events := l.staleMarker()
			e := l.followStale()
			if e.Channel != labOrders || !bytes.Equal(e.Marker.ReplayID, events[2].ReplayID) || !e.Marker.Date.Equal(events[2].Date.Truncate(time.Millisecond)) {
				t.Errorf("%+v", e)
			}
			if s := expectError[*sfstream.ServerError](t, e); s.Code != sfstream.ReplayInvalid || s.RPCID == "" && transportOf(t) == sfstream.PubSub {
				t.Errorf("%+v", s)
			}
			contains(t, e.Error(), labOrders, "WithReplayFallback")
			if n := l.gapCount(); n != 0 {
				t.Errorf("%d gaps", n)
			}
			if m := l.marker(labOrders); !bytes.Equal(m.ReplayID, events[2].ReplayID) {
				t.Errorf("the marker was changed: %+v", m)
			}
		}},
		{number: 6, words: "FallbackFail ends with a ReplayError, after a reconnect, and what waits is handed out before", run: func(t *testing.T) {
			l := newLab(t)
			l.publish(1, 2, 3)
			l.follow(sfstream.WithReplay(sfstream.ReplayAll))
			synctest.Wait()
			l.must(l.TruncateReplay(labOrders))
			l.DropConnections()
			l.pass(time.Minute)
			l.expect(1, 2, 3)
			expectEnd[*sfstream.ReplayError](l)
		}},
		{number: 6, words: "FallbackAll resumes at the oldest and reports a gap, after a restart", run: func(t *testing.T) {
			l := newLab(t)
			events := l.staleMarker()
			l.publish(4, 5)
			l.follow(sfstream.WithReplayFallback(sfstream.FallbackAll))
			l.expect(4, 5)
			l.expectGap(labOrders, events[2])
			l.expectStillWorks(labOrders)
		}},
		{number: 6, words: "FallbackAll resumes at the oldest and reports a gap, after a reconnect", run: func(t *testing.T) {
			l := newLab(t)
			events := l.publish(1, 2, 3)
			l.follow(sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithReplayFallback(sfstream.FallbackAll))
			l.expect(1, 2, 3)
			l.must(l.TruncateReplay(labOrders))
			l.outage(time.Second, func() { l.publish(4, 5) })
			l.expect(4, 5)
			l.expectGap(labOrders, events[2])
			l.expectStillWorks(labOrders)
		}},
		{number: 6, words: "FallbackNew resumes with new events and reports a gap, after a restart", run: func(t *testing.T) {
			l := newLab(t)
			events := l.staleMarker()
			l.publish(4)
			l.follow(sfstream.WithReplayFallback(sfstream.FallbackNew))
			l.publish(5)
			l.expect(5)
			l.expectGap(labOrders, events[2])
			l.expectStillWorks(labOrders)
		}},
		{number: 6, words: "FallbackNew resumes with new events and reports a gap, after a reconnect", run: func(t *testing.T) {
			l := newLab(t)
			events := l.publish(1, 2, 3)
			l.follow(sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithReplayFallback(sfstream.FallbackNew))
			l.expect(1, 2, 3)
			l.must(l.TruncateReplay(labOrders))
			l.outage(time.Second, func() { l.publish(4) })
			l.pass(5 * time.Minute)
			l.publish(5)
			l.expect(5)
			l.expectGap(labOrders, events[2])
			l.expectStillWorks(labOrders)
		}},
		{number: 6, words: "after FallbackNew a drop before any response loses nothing", run: func(t *testing.T) {
			l := newLab(t)
			l.staleMarker()
			l.publish(4)
			l.pass(2 * time.Hour)
			l.follow(sfstream.WithReplayFallback(sfstream.FallbackNew))
			l.outage(time.Minute, func() { l.publish(5) })
			l.expect(5)
			if n := l.gapCount(); n != 1 {
				t.Errorf("%d gaps", n)
			}
		}},
		{number: 6, words: "after FallbackNew an outage before the next attempt loses nothing", run: func(t *testing.T) {
			l := newLab(t)
			l.staleMarker()
			l.publish(4)
			l.pass(2 * time.Hour)
			l.follow(sfstream.WithReplayFallback(sfstream.FallbackNew), sfstream.WithHooks(sfstream.Hooks{OnGap: func(g sfstream.Gap) {
				l.gap(g)
				l.Refuse(true)
				l.DropConnections()
				time.Sleep(time.Second) // until the client has noticed
			}}))
			l.pass(time.Minute)
			l.publish(5)
			l.pass(time.Minute)
			l.Refuse(false)
			l.expect(5)
			l.expectStillWorks(labOrders)
		}},
		{number: 6, words: "after FallbackNew an outage of logins loses nothing", run: func(t *testing.T) {
			l := newLab(t)
			l.staleMarker()
			l.publish(4)
			l.pass(2 * time.Hour)
			l.follow(sfstream.WithReplayFallback(sfstream.FallbackNew), sfstream.WithHooks(sfstream.Hooks{OnGap: func(g sfstream.Gap) {
				l.gap(g)
				l.FailLogin(3, "503")
				l.ExpireToken()
			}}))
			l.publish(5)
			l.expect(5)
		}},
		{number: 6, words: "after FallbackNew a restart begins at its moment", run: func(t *testing.T) {
			l := newLab(t)
			l.staleMarker()
			l.publish(4)
			l.pass(2 * time.Hour)
			l.follow(sfstream.WithReplayFallback(sfstream.FallbackNew))
			l.stop()
			if m := l.marker(labOrders); len(m.ReplayID) > 0 || time.Since(m.Live) > time.Second {
				t.Errorf("marker %+v", m)
			}
			l.publish(5)
			l.follow()
			l.expect(5)
			if n := l.gapCount(); n != 1 {
				t.Errorf("%d gaps", n)
			}
		}},
		{number: 6, words: "a fallback is behind what waits, and the marker too", run: func(t *testing.T) {
			l := newLab(t)
			l.publish(1, 2, 3)
			l.follow(sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithReplayFallback(sfstream.FallbackNew))
			l.must(l.TruncateReplay(labOrders))
			l.outage(time.Second, func() { l.publish(4) })
			l.pass(5 * time.Minute)
			if m := l.marker(labOrders); len(m.ReplayID) > 0 || !m.Live.IsZero() {
				t.Errorf("the marker has passed three unhandled messages: %+v", m)
			}
			l.publish(5)
			l.expect(1, 2, 3, 5)
		}},
		{number: 6, words: "later reconnects report no second gap", run: func(t *testing.T) {
			for _, fallback := range []sfstream.Fallback{sfstream.FallbackAll, sfstream.FallbackNew} {
				l := newLab(t)
				l.staleMarker()
				l.follow(sfstream.WithReplayFallback(fallback))
				for range 5 {
					l.reconnect(labOrders) // nothing was received since
				}
				l.expectStillWorks(labOrders)
				for range 5 {
					l.reconnect(labOrders)
				}
				l.expectStillWorks(labOrders)
				if n := l.gapCount(); n != 1 {
					t.Errorf("%v: %d gaps", fallback, n)
				}
				if s := l.client.Status().Channels[0]; s.Gaps != 1 {
					t.Errorf("%v: status has %d gaps", fallback, s.Gaps)
				}
				l.stop()
			}
		}},
		{number: 6, words: "trailers that a proxy strips hide no stale id", run: func(t *testing.T) {
			l := newLab(t)
			events := l.staleMarker()
			l.publish(4)
			l.StripTrailers(true)
			l.follow(sfstream.WithReplayFallback(sfstream.FallbackAll))
			l.expect(4)
			l.expectGap(labOrders, events[2])
		}},
		{number: 6, words: "a fallback that is refused too ends with a ReplayError", run: func(t *testing.T) {
			for _, fallback := range []sfstream.Fallback{sfstream.FallbackAll, sfstream.FallbackNew} {
				l := newLab(t)
				l.staleMarker()
				l.Reject(labOrders, 2, stale)
				e := l.followStale(sfstream.WithReplayFallback(fallback))
				contains(t, e.Error(), labOrders)
				if n := l.gapCount(); n != 1 {
					t.Errorf("%v: %d gaps", fallback, n)
				}
				if calls := l.Subscribes(labOrders); len(calls) != 3 {
					t.Errorf("%v: %d Subscribes", fallback, len(calls))
				}
			}
		}},
		{number: 6, words: "a stale ReplayAfter is the policy's too", run: func(t *testing.T) {
			l := newLab(t)
			id := l.publish(1)[0].ReplayID
			l.must(l.TruncateReplay(labOrders))
			l.publish(2)
			l.start(sfstream.WithReplayFallback(sfstream.FallbackAll))
			l.subscribe(labOrders, sfstream.From(sfstream.ReplayAfter(id)))
			l.expect(2)
			if n := l.gapCount(); n != 1 {
				t.Errorf("%d gaps", n)
			}
		}},
		{number: 6, words: "an id that aged out on a quiet channel is not stale, after a reconnect", run: func(t *testing.T) {
			l := newLab(t)
			l.publish(1)
			l.follow(sfstream.WithReplay(sfstream.ReplayAll))
			l.expect(1)
			l.pass(100 * time.Hour)
			l.must(l.TruncateReplay(labOrders))
			l.outage(time.Second, func() { l.publish(2, 3) })
			l.expect(2, 3)
			l.expectSubscribe(labOrders, "EARLIEST", nil)
			l.expectPossibleGaps(1)
			if n := l.log.count(`level=INFO msg="replay id aged out on a quiet channel`); transportOf(t) == sfstream.PubSub && n != 1 {
				t.Errorf("told %d times at Info, want 1", n)
			}
			l.expectStillWorks(labOrders)
		}},
		{number: 6, words: "an id that aged out on a channel followed until 71 h ago is not stale, after a restart", run: func(t *testing.T) {
			quietRestart(t, 71*time.Hour-4*time.Minute, func(l *lab) {
				l.follow()
				l.expect(2)
				l.expectPossibleGaps(1)
				l.expectStillWorks(labOrders)
			})
		}},
		{number: 6, words: "an id that aged out on a channel not followed for 71 h is the policy's", run: func(t *testing.T) {
			quietRestart(t, 71*time.Hour+3*time.Minute, func(l *lab) { l.followStale() })
		}},
		{number: 6, words: "an id that aged out during an outage of 70 h is not stale, of 72 h is", run: func(t *testing.T) {
			for outage, gaps := range map[time.Duration]int{70 * time.Hour: 0, 72 * time.Hour: 1} {
				l := newLab(t)
				l.publish(0)
				l.follow(sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithReplayFallback(sfstream.FallbackAll), sfstream.WithBackOff(func() backoff.BackOff {
					return backoff.NewConstantBackOff(5 * time.Minute) // 8,000 attempts would prove no more
				}))
				l.expect(0)
				l.pass(2 * time.Minute)
				l.Reject(labOrders, -1, "UNAVAILABLE")
				l.DropConnections()
				l.pass(time.Second)
				l.must(l.TruncateReplay(labOrders))
				l.publish(1)
				l.pass(outage)
				l.ClearFaults()
				l.pass(10 * time.Minute)
				if gaps == 0 {
					l.expect(1)
					l.expectPossibleGaps(1)
				} else if n := l.gapCount(); n != gaps || l.gaps[0].Possible {
					t.Errorf("outage of %v: %d gaps", outage, n)
				}
				l.stop()
			}
		}},
		{number: 6, words: "Live is saved at least hourly where the id stays the same", run: func(t *testing.T) {
			l := newLab(t)
			l.follow()
			for range 5 {
				l.pass(time.Hour)
				if age := time.Since(followedUntil(l.marker(labOrders))); age > time.Hour+time.Minute {
					t.Errorf("the saved Live is %v old", age)
				}
			}
		}},
		{number: 6, words: "a stored Live of the future is replaced", run: func(t *testing.T) {
			l := newLab(t)
			id := l.publish(1)[0].ReplayID
			l.save(l.key(apiOf(t), labOrders), replaystore.Marker{ReplayID: id, Live: time.Now().AddDate(1, 0, 0)})
			l.follow()
			l.pass(10 * time.Minute)
			if ahead := time.Until(l.marker(labOrders).Live); ahead > 0 {
				t.Errorf("the saved Live is %v ahead: the id would count as stale when it has aged out", ahead)
			}
		}},
		{number: 6, words: "a quiet channel that is followed for a week never has a stale id", run: func(t *testing.T) {
			l := newLab(t)
			l.publish(1)
			l.follow(sfstream.WithReplay(sfstream.ReplayAll))
			l.expect(1)
			for range 7 {
				l.pass(24 * time.Hour)
				l.reconnect(labOrders)
			}
			l.stop()
			l.pass(48 * time.Hour)
			l.publish(2)
			l.follow()
			l.expect(2)
			l.expectPossibleGaps(1)
		}},
		{number: 6, words: "markers of 8 bytes are taken as they are", run: func(t *testing.T) {
			l := newLab(t)
			id := l.publish(1, 2)[0].ReplayID[:8]
			l.save(l.key(apiOf(t), labOrders), replaystore.Marker{ReplayID: id})
			l.follow()
			l.expectSubscribe(labOrders, "CUSTOM", id)
			l.expect(2)
		}},
	}
	others := []string{
		"subscription.fetch.topic.mismatch", "subscription.fetch.requested.events.invalid",
		"subscription.fetch.replayid.validation.failed", "subscription.fetch.request.invalid",
	}
	rules = append(rules, rule{number: 6, words: "an INVALID_ARGUMENT in words that nobody knows is no stale id", pubsubOnly: true, run: func(t *testing.T) {
		l := newLab(t)
		events := l.publish(1, 2)
		l.follow(sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithReplayFallback(sfstream.FallbackAll))
		l.expect(1, 2)
		l.Reject("", 1, "INVALID_ARGUMENT: some other text")
		l.DropConnections()
		l.publish(3)
		l.expect(3)
		l.expectSubscribe(labOrders, "CUSTOM", events[1].ReplayID)
		if n := l.gapCount(); n != 0 {
			t.Errorf("%d gaps", n)
		}
	}})
	return append(rules, names("an INVALID_ARGUMENT that is %s is no stale id", others, func(t *testing.T, code string) {
		l := newLab(t)
		events := l.publish(1, 2)
		l.follow(sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithReplayFallback(sfstream.FallbackAll))
		l.expect(1, 2)
		l.Reject("", 1, code)
		l.DropConnections()
		if e := expectEnd[*sfstream.ServerError](l); e.Code != sfstream.Invalid || e.Channel != labOrders {
			t.Errorf("%+v", e)
		}
		if n := l.gapCount(); n != 0 {
			t.Errorf("%d gaps", n)
		}
		if m := l.marker(labOrders); !bytes.Equal(m.ReplayID, events[1].ReplayID) {
			t.Errorf("the marker was changed: %+v", m)
		}
	}, 6)...)
}

// staleMarker leaves a program's marker behind numbers 1 to 3, which nobody has
// any more: a busy channel, so that nothing was heard of it since.
func (l *lab) staleMarker() []sfstreamtest.Event {
	l.t.Helper()
	events := l.publish(1, 2, 3)
	l.follow(sfstream.WithReplay(sfstream.ReplayAll))
	l.expect(1, 2, 3)
	l.stop()
	l.must(l.TruncateReplay(labOrders))
	return events
}

func (l *lab) expectGap(channel string, after sfstreamtest.Event) {
	l.t.Helper()
	if n := l.gapCount(); n != 1 {
		l.t.Fatalf("%d gaps", n)
	}
	g := l.gaps[0]
	if g.Channel != channel || !bytes.Equal(g.After.ReplayID, after.ReplayID) {
		l.t.Errorf("gap %+v", g)
	}
	if e := expectError[*sfstream.ServerError](l.t, g.Reason); e.Code != sfstream.ReplayInvalid {
		l.t.Errorf("gap because of %v", e)
	}
	lines := slices.DeleteFunc(bytes.Split([]byte(l.log.String()), []byte("\n")), func(line []byte) bool {
		return !bytes.Contains(line, []byte("stored position refused"))
	})
	contains(l.t, string(lines[0]), "level=WARN", channel)
}

// quietRestart follows a quiet channel, is down for a while, and comes back when
// its id is not retained any more.
func quietRestart(t *testing.T, down time.Duration, check func(l *lab)) {
	l := newLab(t)
	l.publish(1)
	l.follow(sfstream.WithReplay(sfstream.ReplayAll))
	l.expect(1)
	l.pass(10 * time.Hour)
	live := time.Now()
	l.stop()
	if m := l.marker(labOrders); live.Sub(followedUntil(m)) > 3*time.Minute {
		t.Fatalf("Live is %v old", live.Sub(followedUntil(m)))
	}
	l.pass(down - time.Minute)
	l.must(l.TruncateReplay(labOrders))
	l.publish(2)
	check(l)
}
