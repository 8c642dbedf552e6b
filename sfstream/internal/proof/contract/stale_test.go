package contract

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// staleRules prove what happens to positions that Salesforce does not know.
func staleRules() []rule {
	rules := []rule{
		{number: 6, words: "FallbackFail ends with a ReplayError, after a restart", run: failAfterRestart},
		{number: 6, words: "FallbackFail ends with a ReplayError, after a reconnect, and what waits is handed out before", run: failAfterReconnect},
		{number: 6, words: "FallbackAll resumes at the oldest and reports a gap, after a restart", run: allAfterRestart},
		{number: 6, words: "FallbackAll resumes at the oldest and reports a gap, after a reconnect", run: allAfterReconnect},
		{number: 6, words: "FallbackNew resumes with new events and reports a gap, after a restart", run: newAfterRestart},
		{number: 6, words: "FallbackNew resumes with new events and reports a gap, after a reconnect", run: newAfterReconnect},
		{number: 6, words: "after FallbackNew a drop before any response loses nothing", run: newThenDrop},
		// Pub/Sub API only: a stale id is CometD's answer to Subscribe, which waits out no such
		// outage.
		{number: 6, words: "after FallbackNew an outage before the next attempt loses nothing", run: newThenOutage, only: sfstream.PubSub},
		{number: 6, words: "after FallbackNew an outage of logins loses nothing", run: newThenNoLogins},
		{number: 6, words: "after FallbackNew a restart begins at its moment", run: newThenRestart},
		{number: 6, words: "a fallback is behind what waits, and the marker too", run: fallbackBehindQueue},
		{number: 6, words: "later reconnects report no second gap", run: gapOnce},
		{number: 6, words: "trailers that a proxy strips hide no stale id", run: strippedTrailers},
		{number: 6, words: "a fallback that is refused too ends with a ReplayError", run: fallbackRefused},
		{number: 6, words: "a stale ReplayAfter is the policy's too", run: staleReplayAfter},
		{number: 6, words: "an id that aged out on a quiet channel is not stale, after a reconnect", run: agedOutQuiet},
		{number: 6, words: "an id that aged out on a channel followed until 71 h ago is not stale, after a restart", run: agedOutFollowed},
		{number: 6, words: "an id that aged out on a channel not followed for 71 h is the policy's", run: agedOutNotFollowed},
		{number: 6, words: "an id that aged out during an outage of 70 h is not stale, of 72 h is", run: agedOutInOutage},
		{number: 6, words: "Live is saved at least hourly where the id stays the same", run: liveSavedHourly},
		{number: 6, words: "a stored Live of the future is replaced", run: liveOfTheFuture},
		{number: 6, words: "a quiet channel that is followed for a week never has a stale id", run: quietWeek},
		// Pub/Sub API only: an id of CometD is a number.
		{number: 6, words: "markers of 8 bytes are taken as they are", run: markersOf8Bytes, only: sfstream.PubSub},
	}
	others := []string{
		"subscription.fetch.topic.mismatch", "subscription.fetch.requested.events.invalid",
		"subscription.fetch.replayid.validation.failed", "subscription.fetch.request.invalid",
	}
	rules = append(rules, rule{number: 6, words: "an INVALID_ARGUMENT in words that nobody knows is no stale id", run: unknownInvalidArgument, only: sfstream.PubSub})
	return append(rules, each(rule{number: 6, words: "an INVALID_ARGUMENT that is %s is no stale id", only: sfstream.PubSub}, others, knownInvalidArgument)...)
}

func failAfterRestart(t *testing.T) {
	l := lab.New(t)
	events := l.StaleMarker()
	e := followStale(l)
	if e.Channel != lab.Orders || !bytes.Equal(e.Marker.ReplayID, events[2].ReplayID) || !e.Marker.Date.Equal(events[2].Date.Truncate(time.Millisecond)) {
		t.Errorf("%+v", e)
	}
	if s := lab.ExpectError[*sfstream.ServerError](t, e); s.Code != sfstream.ReplayInvalid || s.RPCID == "" && lab.TransportOf(t) == sfstream.PubSub {
		t.Errorf("%+v", s)
	}
	lab.Contains(t, e.Error(), lab.Orders, "WithReplayFallback")
	expectGaps(l, 0)
	if m := l.Marker(lab.Orders); !bytes.Equal(m.ReplayID, events[2].ReplayID) {
		t.Errorf("the marker was changed: %+v", m)
	}
}

func failAfterReconnect(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1, 2, 3)
	l.Follow(sfstream.WithReplay(sfstream.ReplayAll))
	synctest.Wait()
	l.Must(l.TruncateReplay(lab.Orders))
	l.DropConnections()
	l.Pass(time.Minute)
	l.Expect(1, 2, 3)
	lab.ExpectEnd[*sfstream.ReplayError](l)
}

func allAfterRestart(t *testing.T) {
	l := lab.New(t)
	events := l.StaleMarker()
	l.PublishOrders(4, 5)
	l.Follow(sfstream.WithReplayFallback(sfstream.FallbackAll))
	l.Expect(4, 5)
	l.ExpectGap(lab.Orders, events[2])
	l.ExpectStillWorks(lab.Orders)
}

func allAfterReconnect(t *testing.T) {
	l := lab.New(t)
	events := l.PublishOrders(1, 2, 3)
	l.Follow(sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithReplayFallback(sfstream.FallbackAll))
	l.Expect(1, 2, 3)
	l.Must(l.TruncateReplay(lab.Orders))
	l.Outage(time.Second, func() { l.PublishOrders(4, 5) })
	l.Expect(4, 5)
	l.ExpectGap(lab.Orders, events[2])
	l.ExpectStillWorks(lab.Orders)
}

func newAfterRestart(t *testing.T) {
	l := lab.New(t)
	events := l.StaleMarker()
	l.PublishOrders(4)
	l.Follow(sfstream.WithReplayFallback(sfstream.FallbackNew))
	l.PublishOrders(5)
	l.Expect(5)
	l.ExpectGap(lab.Orders, events[2])
	l.ExpectStillWorks(lab.Orders)
}

func newAfterReconnect(t *testing.T) {
	l := lab.New(t)
	events := l.PublishOrders(1, 2, 3)
	l.Follow(sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithReplayFallback(sfstream.FallbackNew))
	l.Expect(1, 2, 3)
	l.Must(l.TruncateReplay(lab.Orders))
	l.Outage(time.Second, func() { l.PublishOrders(4) })
	l.Pass(5 * time.Minute)
	l.PublishOrders(5)
	l.Expect(5)
	l.ExpectGap(lab.Orders, events[2])
	l.ExpectStillWorks(lab.Orders)
}

func newThenDrop(t *testing.T) {
	l := newStaleLab(t)
	l.Follow(sfstream.WithReplayFallback(sfstream.FallbackNew))
	l.Outage(time.Minute, func() { l.PublishOrders(5) })
	l.Expect(5)
	expectGaps(l, 1)
}

func newThenOutage(t *testing.T) {
	l := newStaleLab(t)
	l.Follow(sfstream.WithReplayFallback(sfstream.FallbackNew), sfstream.WithHooks(sfstream.Hooks{OnGap: func(g sfstream.Gap) {
		l.OnGap(g)
		l.Refuse(true)
		l.DropConnections()
		time.Sleep(time.Second) // until the client has noticed
	}}))
	l.Pass(time.Minute)
	l.PublishOrders(5)
	l.Pass(time.Minute)
	l.Refuse(false)
	l.Expect(5)
	l.ExpectStillWorks(lab.Orders)
}

func newThenNoLogins(t *testing.T) {
	l := newStaleLab(t)
	l.Follow(sfstream.WithReplayFallback(sfstream.FallbackNew), sfstream.WithHooks(sfstream.Hooks{OnGap: func(g sfstream.Gap) {
		l.OnGap(g)
		l.FailLogin(3, "503")
		l.ExpireToken()
	}}))
	l.PublishOrders(5)
	l.Expect(5)
}

func newThenRestart(t *testing.T) {
	l := newStaleLab(t)
	l.Follow(sfstream.WithReplayFallback(sfstream.FallbackNew))
	l.Stop()
	if m := l.Marker(lab.Orders); len(m.ReplayID) > 0 || time.Since(m.Live) > time.Second {
		t.Errorf("marker %+v", m)
	}
	l.PublishOrders(5)
	l.Follow()
	l.Expect(5)
	expectGaps(l, 1)
}

func fallbackBehindQueue(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1, 2, 3)
	l.Follow(sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithReplayFallback(sfstream.FallbackNew))
	l.Must(l.TruncateReplay(lab.Orders))
	l.Outage(time.Second, func() { l.PublishOrders(4) })
	l.Pass(5 * time.Minute)
	if m := l.Marker(lab.Orders); len(m.ReplayID) > 0 || !m.Live.IsZero() {
		t.Errorf("the marker has passed three unhandled messages: %+v", m)
	}
	l.PublishOrders(5)
	l.Expect(1, 2, 3, 5)
}

func gapOnce(t *testing.T) {
	for _, fallback := range []sfstream.Fallback{sfstream.FallbackAll, sfstream.FallbackNew} {
		l := lab.New(t)
		l.StaleMarker()
		l.Follow(sfstream.WithReplayFallback(fallback))
		for range 5 {
			l.Reconnect(lab.Orders) // nothing was received since
		}
		l.ExpectStillWorks(lab.Orders)
		for range 5 {
			l.Reconnect(lab.Orders)
		}
		l.ExpectStillWorks(lab.Orders)
		if n := l.GapCount(); n != 1 {
			t.Errorf("%v: %d gaps", fallback, n)
		}
		if s := l.Client.Status().Channels[0]; s.Gaps != 1 {
			t.Errorf("%v: status has %d gaps", fallback, s.Gaps)
		}
		l.Stop()
	}
}

func strippedTrailers(t *testing.T) {
	l := lab.New(t)
	events := l.StaleMarker()
	l.PublishOrders(4)
	l.StripTrailers(true)
	l.Follow(sfstream.WithReplayFallback(sfstream.FallbackAll))
	l.Expect(4)
	l.ExpectGap(lab.Orders, events[2])
}

func fallbackRefused(t *testing.T) {
	for _, fallback := range []sfstream.Fallback{sfstream.FallbackAll, sfstream.FallbackNew} {
		l := lab.New(t)
		l.StaleMarker()
		l.Reject(lab.Orders, 2, lab.StaleReplayID)
		e := followStale(l, sfstream.WithReplayFallback(fallback))
		lab.Contains(t, e.Error(), lab.Orders)
		if n := l.GapCount(); n != 1 {
			t.Errorf("%v: %d gaps", fallback, n)
		}
		if calls := l.Subscribes(lab.Orders); len(calls) != 3 {
			t.Errorf("%v: %d Subscribes", fallback, len(calls))
		}
	}
}

func staleReplayAfter(t *testing.T) {
	l := lab.New(t)
	id := l.PublishOrders(1)[0].ReplayID
	l.Must(l.TruncateReplay(lab.Orders))
	l.PublishOrders(2)
	l.Start(sfstream.WithReplayFallback(sfstream.FallbackAll))
	l.Subscribe(lab.Orders, sfstream.From(sfstream.ReplayAfter(id)))
	l.Expect(2)
	expectGaps(l, 1)
}

func agedOutQuiet(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1)
	l.Follow(sfstream.WithReplay(sfstream.ReplayAll))
	l.Expect(1)
	l.Pass(100 * time.Hour)
	l.Must(l.TruncateReplay(lab.Orders))
	l.Outage(time.Second, func() { l.PublishOrders(2, 3) })
	l.Expect(2, 3)
	l.ExpectSubscribe(lab.Orders, "EARLIEST", nil)
	l.ExpectPossibleGaps(1)
	if n := l.Log.Count(`level=INFO msg="replay id aged out on a quiet channel`); lab.TransportOf(t) == sfstream.PubSub && n != 1 {
		t.Errorf("told %d times at Info, want 1", n)
	}
	l.ExpectStillWorks(lab.Orders)
}

func agedOutFollowed(t *testing.T) {
	quietRestart(t, 71*time.Hour-4*time.Minute, func(l *lab.Lab) {
		l.Follow()
		l.Expect(2)
		l.ExpectPossibleGaps(1)
		l.ExpectStillWorks(lab.Orders)
	})
}

func agedOutNotFollowed(t *testing.T) {
	quietRestart(t, 71*time.Hour+3*time.Minute, func(l *lab.Lab) { followStale(l) })
}

func agedOutInOutage(t *testing.T) {
	for outage, gaps := range map[time.Duration]int{70 * time.Hour: 0, 72 * time.Hour: 1} {
		l := lab.New(t)
		l.PublishOrders(0)
		l.Follow(sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithReplayFallback(sfstream.FallbackAll), sfstream.WithBackOff(func() backoff.BackOff {
			return backoff.NewConstantBackOff(5 * time.Minute) // 8,000 attempts would prove no more
		}))
		l.Expect(0)
		l.Pass(2 * time.Minute)
		l.Reject(lab.Orders, -1, "UNAVAILABLE")
		l.DropConnections()
		l.Pass(time.Second)
		l.Must(l.TruncateReplay(lab.Orders))
		l.PublishOrders(1)
		l.Pass(outage)
		l.ClearFaults()
		l.Pass(10 * time.Minute)
		if gaps == 0 {
			l.Expect(1)
			l.ExpectPossibleGaps(1)
		} else if n := l.GapCount(); n != gaps || l.Gaps()[0].Possible {
			t.Errorf("outage of %v: %d gaps", outage, n)
		}
		l.Stop()
	}
}

func liveSavedHourly(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	for range 5 {
		l.Pass(time.Hour)
		if age := time.Since(followedUntil(l.Marker(lab.Orders))); age > time.Hour+time.Minute {
			t.Errorf("the saved Live is %v old", age)
		}
	}
}

func liveOfTheFuture(t *testing.T) {
	l := lab.New(t)
	id := l.PublishOrders(1)[0].ReplayID
	l.Save(l.Key(lab.APIOf(t), lab.Orders), replaystore.Marker{ReplayID: id, Live: time.Now().AddDate(1, 0, 0)})
	l.Follow()
	l.Pass(10 * time.Minute)
	if ahead := time.Until(l.Marker(lab.Orders).Live); ahead > 0 {
		t.Errorf("the saved Live is %v ahead: the id would count as stale when it has aged out", ahead)
	}
}

func quietWeek(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1)
	l.Follow(sfstream.WithReplay(sfstream.ReplayAll))
	l.Expect(1)
	for range 7 {
		l.Pass(24 * time.Hour)
		l.Reconnect(lab.Orders)
	}
	l.Stop()
	l.Pass(48 * time.Hour)
	l.PublishOrders(2)
	l.Follow()
	l.Expect(2)
	l.ExpectPossibleGaps(1)
}

func markersOf8Bytes(t *testing.T) {
	l := lab.New(t)
	id := l.PublishOrders(1, 2)[0].ReplayID[:8]
	l.Save(l.Key(lab.APIOf(t), lab.Orders), replaystore.Marker{ReplayID: id})
	l.Follow()
	l.ExpectSubscribe(lab.Orders, "CUSTOM", id)
	l.Expect(2)
}

func unknownInvalidArgument(t *testing.T) {
	l := lab.New(t)
	events := l.PublishOrders(1, 2)
	l.Follow(sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithReplayFallback(sfstream.FallbackAll))
	l.Expect(1, 2)
	l.Reject("", 1, "INVALID_ARGUMENT: some other text")
	l.DropConnections()
	l.PublishOrders(3)
	l.Expect(3)
	l.ExpectSubscribe(lab.Orders, "CUSTOM", events[1].ReplayID)
	expectGaps(l, 0)
}

func knownInvalidArgument(t *testing.T, code string) {
	l := lab.New(t)
	events := l.PublishOrders(1, 2)
	l.Follow(sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithReplayFallback(sfstream.FallbackAll))
	l.Expect(1, 2)
	l.Reject("", 1, code)
	l.DropConnections()
	if e := lab.ExpectEnd[*sfstream.ServerError](l); e.Code != sfstream.Invalid || e.Channel != lab.Orders {
		t.Errorf("%+v", e)
	}
	expectGaps(l, 0)
	if m := l.Marker(lab.Orders); !bytes.Equal(m.ReplayID, events[1].ReplayID) {
		t.Errorf("the marker was changed: %+v", m)
	}
}

// newStaleLab has a stale marker, and an old event that FallbackNew leaves out.
func newStaleLab(t *testing.T) *lab.Lab {
	t.Helper()
	l := lab.New(t)
	l.StaleMarker()
	l.PublishOrders(4)
	l.Pass(2 * time.Hour)
	return l
}

// quietRestart follows a quiet channel, is down for a while, and comes back when its id is not
// retained any more.
func quietRestart(t *testing.T, down time.Duration, check func(l *lab.Lab)) {
	l := lab.New(t)
	l.PublishOrders(1)
	l.Follow(sfstream.WithReplay(sfstream.ReplayAll))
	l.Expect(1)
	l.Pass(10 * time.Hour)
	live := time.Now()
	l.Stop()
	if m := l.Marker(lab.Orders); live.Sub(followedUntil(m)) > 3*time.Minute {
		t.Fatalf("Live is %v old", live.Sub(followedUntil(m)))
	}
	l.Pass(down - time.Minute)
	l.Must(l.TruncateReplay(lab.Orders))
	l.PublishOrders(2)
	check(l)
}

// followStale starts the program where its position is refused. Over the Pub/Sub API that ends the
// client; over the Streaming API it is the answer to Subscribe.
func followStale(l *lab.Lab, opts ...sfstream.Option) *sfstream.ReplayError {
	l.T.Helper()
	l.Start(opts...)
	err := l.Client.Subscribe(l.T.Context(), lab.Orders)
	if lab.TransportOf(l.T) == sfstream.CometD {
		l.Must(l.Client.Err())
		return lab.ExpectError[*sfstream.ReplayError](l.T, err)
	}
	l.Must(err)
	return lab.ExpectEnd[*sfstream.ReplayError](l)
}
