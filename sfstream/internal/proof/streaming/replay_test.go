package streaming

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// streamingReplay are about replay ids: those that are refused, large ones, those that go back, and
// many.
func streamingReplay() []scenario {
	return []scenario{
		{name: "replay_invalid_first", run: replayInvalidFirst},
		{name: "replay_invalid_on_resubscribe", run: replayInvalidOnResubscribe},
		{name: "replay_aged_idle", run: replayAgedIdle},
		{name: "replay_key_missing", run: replayKeyMissing},
		{name: "big_replay_id", run: bigReplayID},
		{name: "id_gaps_and_reverse_tx", run: idGapsAndReverseTx},
		{name: "replay_minus2_backlog", run: replayMinus2Backlog},
		{name: "org_migration", run: orgMigration},
	}
}

// markStale leaves a marker behind that the org knows nothing of.
func markStale(l *lab.Lab, channel string) {
	l.T.Helper()
	l.Save(l.Key(lab.APIOf(l.T), channel), replaystore.Marker{ReplayID: []byte("987654321")})
}

func replayInvalidFirst(t *testing.T) {
	l := lab.NewStreaming(t)
	l.PublishNumbers(lab.Topic, 1)
	orders := l.PublishNumbers(lab.Orders, 1, 2)
	l.Save(l.Key(lab.APIOf(t), lab.Orders), replaystore.Marker{ReplayID: orders[0].ReplayID})
	markStale(l, lab.Topic)
	l.Start(sfstream.WithReplayFallback(sfstream.FallbackAll))
	l.Subscribe(lab.Orders)
	l.Subscribe(lab.Topic)
	l.ExpectEach(map[string][]int{lab.Orders: {2}, lab.Topic: {1}})
	if n := l.GapCount(); n != 1 {
		t.Errorf("%d gaps", n)
	}
	last := l.PublishNumbers(lab.Topic, 2)
	l.Expect(2)
	l.UnknownClient(1)
	l.PublishNumbers(lab.Topic, 3)
	l.PublishNumbers(lab.Orders, 3)
	l.ExpectEach(map[string][]int{lab.Orders: {3}, lab.Topic: {3}})
	l.Pass(3 * time.Minute)
	if after := string(l.LastSubscribe(lab.Topic).ReplayID); after < string(last[0].ReplayID) {
		t.Errorf("subscribed after %s, want %s or later", after, last[0].ReplayID)
	}
	if n := l.GapCount(); n != 1 {
		t.Errorf("%d gaps", n)
	}
	l.ExpectCounts(2, 1)
	finish(l, lab.Topic)

	// Without a fallback it is the error of Subscribe, and the others live on.
	markStale(l, lab.Topic)
	l.Start()
	l.Subscribe(lab.Orders)
	err := lab.ExpectError[*sfstream.ReplayError](t, l.Client.Subscribe(t.Context(), lab.Topic))
	if err.Channel != lab.Topic || string(err.Marker.ReplayID) != "987654321" {
		t.Errorf("%s after %s", err.Channel, err.Marker.ReplayID)
	}
	lab.Contains(t, err.Error(), lab.Topic, "replay id 987654321")
	l.Must(l.Client.Err())
	l.ExpectCounts(3, 2)
	finish(l, lab.Orders)
}

// replayInvalidOnResubscribe: an outage that is longer than the retention.
func replayInvalidOnResubscribe(t *testing.T) {
	for _, fallback := range []sfstream.Fallback{sfstream.FallbackAll, sfstream.FallbackNew, sfstream.FallbackFail} {
		l := lab.NewStreaming(t)
		l.FollowTopic(sfstream.WithReplayFallback(fallback))
		if fallback != sfstream.FallbackFail {
			l.Subscribe(lab.Orders)
		}
		l.PublishNumbers(lab.Topic, 1)
		l.Expect(1)
		l.Outage(10*time.Hour, func() {
			l.PublishNumbers(lab.Topic, 2)
			l.PublishNumbers(lab.Orders, 1)
			l.Pass(20 * time.Hour)
			l.PublishNumbers(lab.Topic, 3) // 2 is too old when the outage ends
		})
		if fallback == sfstream.FallbackFail {
			if err := lab.ExpectEnd[*sfstream.ReplayError](l); err.Channel != lab.Topic {
				t.Error(err)
			}
			leave(l)
			continue
		}
		want := []int{3, 4}
		if fallback == sfstream.FallbackNew {
			want = []int{4}
		}
		l.Pass(2 * time.Minute)
		l.PublishNumbers(lab.Topic, 4)
		l.ExpectEach(map[string][]int{lab.Orders: {1}, lab.Topic: want})
		if n := l.GapCount(); n != 1 {
			t.Errorf("%v: %d gaps", fallback, n)
		}
		awaitForgotten(l)
		finish(l, lab.Topic)
	}
	replayInvalidThenBusy(t)
}

// replayInvalidThenBusy: from the fallback to new events on nothing is lost either, however long it
// takes until the server takes the subscription.
func replayInvalidThenBusy(t *testing.T) {
	l := lab.NewStreaming(t)
	l.FollowTopic(sfstream.WithReplayFallback(sfstream.FallbackNew), lab.Doubling())
	l.PublishNumbers(lab.Topic, 1)
	l.Expect(1)
	l.FailCometD(sfstreamtest.CometDFault{Kind: "subscribe", After: 1, Times: 4, Error: "503::Server is too busy"})
	l.Outage(30*time.Hour, func() { l.PublishNumbers(lab.Topic, 2) })
	for l.GapCount() == 0 {
		l.Pass(time.Second)
	}
	l.Pass(5 * time.Second)
	l.PublishNumbers(lab.Topic, 3)
	l.Pass(time.Minute)
	l.PublishNumbers(lab.Topic, 4)
	l.Expect(3, 4)
	if n := l.GapCount(); n != 1 {
		t.Errorf("%d gaps", n)
	}
	awaitForgotten(l)
	finish(l, lab.Topic)
}

// replayAgedIdle: a channel was followed, and quiet for longer than the retention. Its last id is
// not known any more, and nothing is missing; but that nobody can know, as the server could have
// been seeking: it is told as possible, and nothing ends.
func replayAgedIdle(t *testing.T) {
	l := lab.NewStreaming(t)
	l.FollowTopic()
	l.PublishNumbers(lab.Topic, 1)
	l.Expect(1)
	l.Pass(50 * time.Hour) // the load balancer's cookie runs out meanwhile
	l.PublishNumbers(lab.Topic, 2)
	l.Expect(2)
	l.Pass(30 * time.Hour)
	l.FailCometD(sfstreamtest.CometDFault{Kind: "handshake", Delay: 10 * time.Second})
	l.DropConnections()
	l.PublishNumbers(lab.Topic, 3)
	l.Expect(3)
	l.ExpectPossibleGaps(2)
	awaitForgotten(l)
	finish(l, lab.Topic)
}

func replayKeyMissing(t *testing.T) {
	l := lab.NewStreaming(t)
	var sent subscribeBodies
	l.Start(through(l, &wire{request: sent.look(t)}), sfstream.WithReplayFallback(sfstream.FallbackAll))
	filtered := lab.Topic + "?Name='A'&City__c='B'"
	for _, channel := range []string{filtered, lab.Orders, lab.Generic} {
		l.Subscribe(channel)
	}
	l.UnknownClient(1)
	l.PublishNumbers(lab.Orders, 1, 2)
	l.Expect(1, 2)
	l.Pass(time.Minute)
	subscribes := sent.all()
	if len(subscribes) != 6 {
		t.Errorf("subscribed %d times", len(subscribes))
	}
	for _, m := range subscribes {
		bare, _, _ := strings.Cut(m.Subscription, "?")
		if _, ok := m.Ext.Replay[bare]; !ok || len(m.Ext.Replay) != 1 {
			t.Errorf("%s: the replay map is %v", m.Subscription, m.Ext.Replay)
		}
	}
	l.Must(l.Client.Unsubscribe(t.Context(), lab.Generic))
	l.Pass(5 * time.Minute) // at once it would take a new session

	// Such an answer is no stale id.
	l.Reject(lab.Generic, 1, "400::The replayId for channel {"+lab.Generic+"} wasn't found using the provided replay ID map {{}}. Ensure that the channel name you provided in the replay map is valid and matches the channel name used for subscribing.")
	err := l.Client.Subscribe(t.Context(), lab.Generic)
	if e := lab.ExpectError[*sfstream.ServerError](t, err); e.Code != sfstream.Invalid {
		t.Errorf("%v is %v", e, e.Code)
	}
	if n := l.GapCount(); n != 0 {
		t.Errorf("%d gaps", n)
	}
	l.ExpectCounts(2, 1)
	finish(l, lab.Orders)
}

func bigReplayID(t *testing.T) {
	for _, id := range []uint64{1<<31 + 7, 1<<53 + 1, 1<<63 + 3} {
		for _, channel := range []string{lab.Topic, lab.Orders} {
			l := lab.NewStreaming(t)
			l.Start()
			l.Subscribe(channel)
			l.Must(l.RestartReplay(channel, id))
			l.PublishNumbers(channel, 1)
			m := l.Receive()
			want := strconv.FormatUint(id, 10)
			if got := string(m.ReplayID); got != want {
				t.Fatalf("the replay id is %s, want %s", got, want)
			}
			text, err := m.MarshalJSON()
			l.Must(err)
			lab.Contains(t, string(text), `"replayId":`+want)
			m.Ack()
			l.Must(l.Client.Close())
			if got := string(l.Marker(channel).ReplayID); got != want {
				t.Errorf("the marker is at %s, want %s", got, want)
			}
			l.PublishNumbers(channel, 2)
			l.Start()
			l.Subscribe(channel)
			l.ExpectSubscribe(channel, "CUSTOM", []byte(want))
			l.Expect(2)
			l.ExpectCounts(2, 2)
			finish(l, channel)
		}
	}
}

// idGapsAndReverseTx: the server's order counts, whatever ids and dates look like.
func idGapsAndReverseTx(t *testing.T) {
	l := lab.NewStreaming(t)
	l.Start(sfstream.WithReplayFallback(sfstream.FallbackAll))
	l.Subscribe(lab.Orders)
	now := time.Now()
	var last sfstreamtest.Event
	for i := range 50 {
		last = l.PublishDated(i, now.Add(-time.Duration(i)*time.Millisecond))
	}
	l.Expect(lab.Numbers(0, 49)...)
	l.Must(l.Client.Close())
	if got := string(l.Marker(lab.Orders).ReplayID); got != string(last.ReplayID) {
		t.Errorf("the marker is at %s, want %s", got, last.ReplayID)
	}
	l.Start()
	l.Subscribe(lab.Orders)
	l.ExpectQuiet(time.Minute)
	if n := l.GapCount(); n != 0 {
		t.Errorf("%d gaps", n)
	}
	l.ExpectUnworried()
	finish(l, lab.Orders)
}

func replayMinus2Backlog(t *testing.T) {
	const stored, live = 5000, 50
	l := lab.NewStreaming(t, sfstreamtest.WithReplyEvents(100))
	l.PublishNumbers(lab.Topic, lab.Numbers(1, stored)...)
	l.Start(sfstream.WithReplay(sfstream.ReplayAll))
	l.Subscribe(lab.Topic)
	next := stored
	for want := 1; want <= stored+live; want++ {
		if want%100 == 0 {
			next++
			l.PublishNumbers(lab.Topic, next)
		}
		m := l.Receive()
		if n := l.Number(m); n != want {
			t.Fatalf("got %d, want %d", n, want)
		}
		m.Ack()
	}
	l.ExpectCounts(1, 1)
	finish(l, lab.Topic)
}

// orgMigration: the org's ids begin anew, at lower ones.
func orgMigration(t *testing.T) {
	l := lab.NewStreaming(t)
	l.Must(l.RestartReplay(lab.Topic, 5_000_000))
	l.FollowTopic()
	l.PublishNumbers(lab.Topic, 1, 2)
	l.Expect(1, 2)
	l.Must(l.Client.Close())
	l.Pass(30 * time.Hour)
	l.Must(l.RestartReplay(lab.Topic, 5))
	moved := l.PublishNumbers(lab.Topic, 3, 4)
	l.FollowTopic(sfstream.WithReplayFallback(sfstream.FallbackAll))
	l.Expect(3, 4)
	if n := l.GapCount(); n != 1 {
		t.Errorf("%d gaps", n)
	}
	l.Must(l.Client.Close())
	if got := string(l.Marker(lab.Topic).ReplayID); got != string(moved[1].ReplayID) {
		t.Errorf("the marker is at %s, want %s", got, moved[1].ReplayID)
	}
	l.PublishNumbers(lab.Topic, 5)
	l.FollowTopic()
	l.ExpectSubscribe(lab.Topic, "CUSTOM", moved[1].ReplayID)
	l.Expect(5)

	// While the program runs it is not even a gap: all that came since is there.
	l.Pass(3 * time.Minute)
	l.Must(l.RestartReplay(lab.Topic, 1))
	l.PublishNumbers(lab.Topic, 6)
	l.DropConnections()
	l.PublishNumbers(lab.Topic, 7)
	l.Expect(6, 7)
	awaitForgotten(l)
	finish(l, lab.Topic)
}
