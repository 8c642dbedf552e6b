package contract

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// gapRules prove that what may be missing is told, also where no id is refused.
func gapRules() []rule {
	return []rule{
		{number: 6, words: "replay ids that began anew, the old one refused, are the policy's", run: idsAnewRefused},
		{number: 6, words: "replay ids that began anew, the old one accepted, are the policy's", run: idsAnewAccepted},
		{number: 6, words: "replay ids that began anew end a client that falls back on nothing", run: idsAnewWithoutFallback},
		{number: 6, words: "events that come again after a restart are no replay ids that began anew", run: repeatedAreNotAnew},
		{number: 6, words: "a keepalive of an id before the position is a possible gap, told once, and moves nothing", run: laggingKeepalive, only: sfstream.PubSub},
		{number: 6, words: "keepalives that stay before the position mean that replay ids have begun anew", run: laggingKeepalives, only: sfstream.PubSub},
		{number: 6, words: "what came with an event whose id went back comes again", run: cameWithIDBefore, only: sfstream.CometD},
		{number: 6, words: "a week of new sessions after one event ends nothing and floods nothing", run: weekOfSessions, only: sfstream.CometD},
		{number: 6, words: "what is known passes silently after a possible gap", run: knownPassesSilently, only: sfstream.CometD},
		{number: 6, words: "what has passed silently after a possible gap is not handed out after a restart", run: knownAfterRestart, only: sfstream.CometD},
		{number: 6, words: "a backlog that the server seeks through while ids age out is told", run: seekingWhileAgingOut, only: sfstream.CometD},
	}
}

func idsAnewRefused(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1, 2)
	l.Follow(sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithReplayFallback(sfstream.FallbackAll))
	l.Expect(1, 2)
	l.Stop()
	l.Must(l.ResetReplay(lab.Orders, 1, false))
	l.PublishOrders(3)
	err := followStale(l)
	lab.Contains(t, err.Error(), "sandboxes begin replay ids anew", "WithReplayFallback")
	l.Start(sfstream.WithReplayFallback(sfstream.FallbackAll))
	l.Subscribe(lab.Orders)
	l.Expect(3)
	if n := l.GapCount(); n != 1 || l.Gaps()[0].Possible {
		t.Errorf("%d gaps", n)
	}
	l.ExpectStillWorks(lab.Orders)
}

func idsAnewAccepted(t *testing.T) {
	for _, restart := range []bool{false, true} {
		l := lab.New(t)
		l.ChangeAccount(1, 2)
		l.Start(sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithReplayFallback(sfstream.FallbackAll))
		l.Subscribe(lab.Accounts)
		l.Expect(1, 2)
		l.Pass(time.Minute)
		if restart {
			l.Stop()
			l.Must(l.ResetReplay(lab.Accounts, 1, true))
			l.Start(sfstream.WithReplayFallback(sfstream.FallbackAll))
			l.Subscribe(lab.Accounts)
		} else {
			l.Outage(time.Minute, func() { l.Must(l.ResetReplay(lab.Accounts, 1, true)) })
			l.Pass(5 * time.Minute)
		}
		l.ChangeAccount(3)
		l.Expect(3)
		l.GapCount()
		certain := slices.DeleteFunc(slices.Clone(l.Gaps()), func(g sfstream.Gap) bool { return g.Possible }) // a keepalive may tell before
		if len(certain) != 1 || lab.ExpectError[*sfstream.ServerError](t, certain[0].Reason).Code != sfstream.ReplayInvalid &&
			lab.TransportOf(t) == sfstream.CometD {
			t.Errorf("restart %v: gaps %+v", restart, l.Gaps())
		}
		l.ChangeAccount(4)
		l.Expect(4)
		l.Stop()
		l.Start()
		l.Subscribe(lab.Accounts)
		l.ChangeAccount(5)
		l.Expect(5)
		l.Stop()
	}
}

func idsAnewWithoutFallback(t *testing.T) {
	l := lab.New(t)
	l.ChangeAccount(1, 2)
	l.Start(sfstream.WithReplay(sfstream.ReplayAll))
	l.Subscribe(lab.Accounts)
	l.Expect(1, 2)
	l.Pass(time.Minute)
	l.Outage(time.Minute, func() { l.Must(l.ResetReplay(lab.Accounts, 1, true)) })
	l.Pass(5 * time.Minute)
	l.ChangeAccount(3)
	lab.ExpectEnd[*sfstream.ReplayError](l)
}

func repeatedAreNotAnew(t *testing.T) {
	l := lab.New(t)
	l.ChangeAccount(1, 2, 3)
	l.Start(sfstream.WithReplay(sfstream.ReplayAll))
	l.Subscribe(lab.Accounts)
	l.Expect(1, 2, 3)
	l.Stop()
	l.Start()
	l.Duplicate(lab.Accounts, 2)
	l.Subscribe(lab.Accounts)
	l.Pass(time.Minute)
	l.ChangeAccount(4)
	for m := l.Receive(); l.Number(m) != 4; m = l.Receive() {
		m.Ack()
	}
	expectGaps(l, 0)
}

func laggingKeepalive(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1, 2)
	l.Follow(sfstream.WithReplay(sfstream.ReplayAll))
	l.Expect(1, 2)
	l.LagKeepalive(lab.Orders, 3)
	l.Pass(4*time.Minute + 45*time.Second)
	if n := l.GapCount(); n != 1 {
		t.Errorf("%d gaps after the first keepalive", n)
	}
	l.Pass(10 * time.Minute)
	if n := l.GapCount(); n != 1 || !l.Gaps()[0].Possible {
		t.Errorf("%d gaps", n)
	}
	l.Reconnect(lab.Orders)
	l.PublishOrders(3)
	l.Expect(3)
}

func laggingKeepalives(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1, 2)
	l.Follow(sfstream.WithReplay(sfstream.ReplayAll))
	l.Expect(1, 2)
	l.Stop()
	l.Must(l.ResetReplay(lab.Orders, 1, true))
	l.PublishOrders(3) // behind the position that is accepted: nobody sends it
	l.Follow()
	l.Expect(3)
	if n := l.GapCount(); n != 2 || !l.Gaps()[0].Possible || !l.Gaps()[1].Possible {
		t.Errorf("gaps %+v", l.Gaps())
	}
	l.ExpectStillWorks(lab.Orders)
}

func cameWithIDBefore(t *testing.T) {
	l := lab.New(t)
	l.PublishNumbers(lab.Undated, 1, 2, 3)
	l.Start(sfstream.WithReplay(sfstream.ReplayAll))
	l.Subscribe(lab.Undated)
	l.Expect(1, 2, 3)
	l.Stop()
	l.Start()
	l.Outage(time.Second, func() { l.PublishNumbers(lab.Undated, 4, 5) })
	l.Duplicate(lab.Undated, 2) // undated, and behind the position: ids may have begun anew
	l.Subscribe(lab.Undated)
	got := make(map[int]bool)
	for !got[4] || !got[5] {
		m := l.Receive()
		got[l.Number(m)] = true
		m.Ack()
	}
	l.Pass(time.Minute)
	for l.Client.Pending() > 0 {
		l.Receive().Ack()
	}
	l.PublishNumbers(lab.Undated, 6)
	l.Expect(6)
}

func weekOfSessions(t *testing.T) {
	l := lab.NewStreaming(t)
	l.FollowTopic()
	l.PublishNumbers(lab.Topic, 1)
	l.Expect(1)
	for range 7 * 24 {
		l.Pass(time.Hour)
		l.DropConnections()
	}
	if n := l.GapCount(); n != 1 || !l.Gaps()[0].Possible {
		t.Errorf("%d gaps, want one that is possible: %+v", n, l.Gaps())
	}
	l.PublishNumbers(lab.Topic, 2)
	l.Expect(2)
	l.Stop()
	l.Start()
	l.Subscribe(lab.Topic)
	l.ExpectQuiet(10 * time.Minute)
	l.PublishNumbers(lab.Topic, 3)
	l.Expect(3)
	l.Must(l.Client.Err())
}

func knownPassesSilently(t *testing.T) {
	l := lab.NewStreaming(t)
	l.FollowTopic()
	var all []sfstreamtest.Event
	for n := range 5 {
		all = append(all, l.PublishNumbers(lab.Topic, n)...)
		l.Expect(n)
		l.Pass(time.Minute)
	}
	l.Stop()
	// Followed until now, and nothing is proven: the second event is refused as if it had aged out.
	l.Save(l.Key("cometd", lab.Topic), replaystore.Marker{ReplayID: all[1].ReplayID, Date: all[1].Date, Live: time.Now()})
	l.FailCometD(staleSubscribe)
	l.Start()
	l.Subscribe(lab.Topic)
	l.Expect(2, 3, 4)
	if n := l.GapCount(); n != 1 || !l.Gaps()[0].Possible {
		t.Errorf("%d gaps", n)
	}
}

func knownAfterRestart(t *testing.T) {
	l := lab.NewStreaming(t)
	l.FollowTopic()
	var all []sfstreamtest.Event
	for n := range 3 {
		all = append(all, l.PublishNumbers(lab.Topic, n)...)
		l.Expect(n)
	}
	l.Stop()
	l.Save(l.Key("cometd", lab.Topic), replaystore.Marker{ReplayID: all[2].ReplayID, Date: all[2].Date, Live: time.Now()})
	l.FailCometD(staleSubscribe)
	l.Start()
	l.Subscribe(lab.Topic)
	l.ExpectQuiet(time.Minute)
	l.Stop()
	l.Start()
	l.Subscribe(lab.Topic)
	l.ExpectQuiet(time.Minute)
	if n := l.GapCount(); n != 1 || !l.Gaps()[0].Possible {
		t.Errorf("%d gaps", n)
	}
}

func seekingWhileAgingOut(t *testing.T) {
	l := lab.NewStreaming(t)
	l.FollowTopic()
	l.PublishNumbers(lab.Topic, 1)
	l.Expect(1)
	l.Pass(time.Minute)
	l.Stop()
	l.PublishNumbers(lab.Topic, 2) // will never come
	l.SeekBacklog(lab.Topic, -1, 30*time.Hour)
	l.Start()
	l.Subscribe(lab.Topic)
	l.Pass(26 * time.Hour)
	l.DropConnections()
	l.Pass(5 * time.Minute)
	l.ClearFaults()
	l.Pass(time.Minute)
	if n := l.GapCount(); n != 1 || !l.Gaps()[0].Possible {
		t.Errorf("%d gaps, want one that is possible", n)
	}
	l.PublishNumbers(lab.Topic, 3)
	l.Expect(3)
	if err := l.Client.Err(); err != nil || errors.Is(err, sfstream.ErrClosed) {
		t.Error(err)
	}
}

// staleSubscribe is the Streaming API's refusal of a replay id.
var staleSubscribe = sfstreamtest.CometDFault{Kind: "subscribe", Error: "400::The replayId {1} you provided was invalid.  " +
	"Please provide a valid ID, -2 to replay all events, or -1 to replay only new events."}
