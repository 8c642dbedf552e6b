package sfstream_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// streamingReplay are about replay ids: those that are refused, large ones, those
// that go back, and many.
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
func (l *lab) markStale(channel string) {
	l.t.Helper()
	l.save(l.key(apiOf(l.t), channel), replaystore.Marker{ReplayID: []byte("987654321")})
}

func replayInvalidFirst(t *testing.T) {
	l := newStreaming(t)
	l.put(labTopic, 1)
	orders := l.put(labOrders, 1, 2)
	l.save(l.key(apiOf(t), labOrders), replaystore.Marker{ReplayID: orders[0].ReplayID})
	l.markStale(labTopic)
	l.start(sfstream.WithReplayFallback(sfstream.FallbackAll))
	l.subscribe(labOrders)
	l.subscribe(labTopic)
	l.expectEach(map[string][]int{labOrders: {2}, labTopic: {1}})
	if n := l.gapCount(); n != 1 {
		t.Errorf("%d gaps", n)
	}
	last := l.put(labTopic, 2)
	l.expect(2)
	l.UnknownClient(1)
	l.put(labTopic, 3)
	l.put(labOrders, 3)
	l.expectEach(map[string][]int{labOrders: {3}, labTopic: {3}})
	l.pass(3 * time.Minute)
	if after := string(l.lastSubscribe(labTopic).ReplayID); after < string(last[0].ReplayID) {
		t.Errorf("subscribed after %s, want %s or later", after, last[0].ReplayID)
	}
	if n := l.gapCount(); n != 1 {
		t.Errorf("%d gaps", n)
	}
	l.expectCounts(2, 1)
	l.finish(labTopic)

	// Without a fallback it is the error of Subscribe, and the others live on.
	l.markStale(labTopic)
	l.start()
	l.subscribe(labOrders)
	err := expectError[*sfstream.ReplayError](t, l.client.Subscribe(t.Context(), labTopic))
	if err.Channel != labTopic || string(err.Marker.ReplayID) != "987654321" {
		t.Errorf("%s after %s", err.Channel, err.Marker.ReplayID)
	}
	contains(t, err.Error(), labTopic, "replay id 987654321")
	l.must(l.client.Err())
	l.expectCounts(3, 2)
	l.finish(labOrders)
}

// replayInvalidOnResubscribe: an outage that is longer than the retention.
func replayInvalidOnResubscribe(t *testing.T) {
	for _, fallback := range []sfstream.Fallback{sfstream.FallbackAll, sfstream.FallbackNew, sfstream.FallbackFail} {
		l := newStreaming(t)
		l.followTopic(sfstream.WithReplayFallback(fallback))
		if fallback != sfstream.FallbackFail {
			l.subscribe(labOrders)
		}
		l.put(labTopic, 1)
		l.expect(1)
		l.outage(10*time.Hour, func() {
			l.put(labTopic, 2)
			l.put(labOrders, 1)
			l.pass(20 * time.Hour)
			l.put(labTopic, 3) // 2 is too old when the outage ends
		})
		if fallback == sfstream.FallbackFail {
			if err := expectEnd[*sfstream.ReplayError](l); err.Channel != labTopic {
				t.Error(err)
			}
			l.leave()
			continue
		}
		want := []int{3, 4}
		if fallback == sfstream.FallbackNew {
			want = []int{4}
		}
		l.pass(2 * time.Minute)
		l.put(labTopic, 4)
		l.expectEach(map[string][]int{labOrders: {1}, labTopic: want})
		if n := l.gapCount(); n != 1 {
			t.Errorf("%v: %d gaps", fallback, n)
		}
		l.awaitForgotten()
		l.finish(labTopic)
	}
	replayInvalidThenBusy(t)
}

// replayInvalidThenBusy: from the fallback to new events on nothing is lost either,
// however long it takes until the server takes the subscription.
func replayInvalidThenBusy(t *testing.T) {
	l := newStreaming(t)
	l.followTopic(sfstream.WithReplayFallback(sfstream.FallbackNew), doubling())
	l.put(labTopic, 1)
	l.expect(1)
	l.FailCometD(sfstreamtest.CometDFault{Kind: "subscribe", After: 1, Times: 4, Error: "503::Server is too busy"})
	l.outage(30*time.Hour, func() { l.put(labTopic, 2) })
	for l.gapCount() == 0 {
		l.pass(time.Second)
	}
	l.pass(5 * time.Second)
	l.put(labTopic, 3)
	l.pass(time.Minute)
	l.put(labTopic, 4)
	l.expect(3, 4)
	if n := l.gapCount(); n != 1 {
		t.Errorf("%d gaps", n)
	}
	l.awaitForgotten()
	l.finish(labTopic)
}

// replayAgedIdle: a channel was followed, and quiet for longer than the retention.
// Its last id is not known any more, and nothing is missing; but that nobody can know,
// as the server could have been seeking: it is told as possible, and nothing ends.
func replayAgedIdle(t *testing.T) {
	l := newStreaming(t)
	l.followTopic()
	l.put(labTopic, 1)
	l.expect(1)
	l.pass(50 * time.Hour) // the load balancer's cookie runs out meanwhile
	l.put(labTopic, 2)
	l.expect(2)
	l.pass(30 * time.Hour)
	l.FailCometD(sfstreamtest.CometDFault{Kind: "handshake", Delay: 10 * time.Second})
	l.DropConnections()
	l.put(labTopic, 3)
	l.expect(3)
	l.expectPossibleGaps(2)
	l.awaitForgotten()
	l.finish(labTopic)
}

func replayKeyMissing(t *testing.T) {
	l := newStreaming(t)
	var sent subscribeBodies
	l.start(l.through(&wire{request: sent.look(t)}), sfstream.WithReplayFallback(sfstream.FallbackAll))
	filtered := labTopic + "?Name='A'&City__c='B'"
	for _, channel := range []string{filtered, labOrders, labGeneric} {
		l.subscribe(channel)
	}
	l.UnknownClient(1)
	l.put(labOrders, 1, 2)
	l.expect(1, 2)
	l.pass(time.Minute)
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
	l.must(l.client.Unsubscribe(t.Context(), labGeneric))
	l.pass(5 * time.Minute) // at once it would take a new session

	// Such an answer is no stale id.
	l.Reject(labGeneric, 1, "400::The replayId for channel {"+labGeneric+"} wasn't found using the provided replay ID map {{}}. Ensure that the channel name you provided in the replay map is valid and matches the channel name used for subscribing.")
	err := l.client.Subscribe(t.Context(), labGeneric)
	if e := expectError[*sfstream.ServerError](t, err); e.Code != sfstream.Invalid {
		t.Errorf("%v is %v", e, e.Code)
	}
	if n := l.gapCount(); n != 0 {
		t.Errorf("%d gaps", n)
	}
	l.expectCounts(2, 1)
	l.finish(labOrders)
}

func bigReplayID(t *testing.T) {
	for _, id := range []uint64{1<<31 + 7, 1<<53 + 1, 1<<63 + 3} {
		for _, channel := range []string{labTopic, labOrders} {
			l := newStreaming(t)
			l.start()
			l.subscribe(channel)
			l.must(l.RestartReplay(channel, id))
			l.put(channel, 1)
			m := l.receive()
			want := strconv.FormatUint(id, 10)
			if got := string(m.ReplayID); got != want {
				t.Fatalf("the replay id is %s, want %s", got, want)
			}
			text, err := m.MarshalJSON()
			l.must(err)
			contains(t, string(text), `"replayId":`+want)
			m.Ack()
			l.must(l.client.Close())
			if got := string(l.marker(channel).ReplayID); got != want {
				t.Errorf("the marker is at %s, want %s", got, want)
			}
			l.put(channel, 2)
			l.start()
			l.subscribe(channel)
			l.expectSubscribe(channel, "CUSTOM", []byte(want))
			l.expect(2)
			l.expectCounts(2, 2)
			l.finish(channel)
		}
	}
}

// idGapsAndReverseTx: the server's order counts, whatever ids and dates look like.
func idGapsAndReverseTx(t *testing.T) {
	l := newStreaming(t)
	l.start(sfstream.WithReplayFallback(sfstream.FallbackAll))
	l.subscribe(labOrders)
	now := time.Now()
	var last sfstreamtest.Event
	for i := range 50 {
		last = l.publishDated(i, now.Add(-time.Duration(i)*time.Millisecond))
	}
	l.expect(numbers(0, 49)...)
	l.must(l.client.Close())
	if got := string(l.marker(labOrders).ReplayID); got != string(last.ReplayID) {
		t.Errorf("the marker is at %s, want %s", got, last.ReplayID)
	}
	l.start()
	l.subscribe(labOrders)
	l.expectQuiet(time.Minute)
	if n := l.gapCount(); n != 0 {
		t.Errorf("%d gaps", n)
	}
	l.expectUnworried()
	l.finish(labOrders)
}

func replayMinus2Backlog(t *testing.T) {
	const stored, live = 5000, 50
	l := newStreaming(t, sfstreamtest.WithReplyEvents(100))
	l.put(labTopic, numbers(1, stored)...)
	l.start(sfstream.WithReplay(sfstream.ReplayAll))
	l.subscribe(labTopic)
	next := stored
	for want := 1; want <= stored+live; want++ {
		if want%100 == 0 {
			next++
			l.put(labTopic, next)
		}
		m := l.receive()
		if n := l.number(m); n != want {
			t.Fatalf("got %d, want %d", n, want)
		}
		m.Ack()
	}
	l.expectCounts(1, 1)
	l.finish(labTopic)
}

// orgMigration: the org's ids begin anew, at lower ones.
func orgMigration(t *testing.T) {
	l := newStreaming(t)
	l.must(l.RestartReplay(labTopic, 5_000_000))
	l.followTopic()
	l.put(labTopic, 1, 2)
	l.expect(1, 2)
	l.must(l.client.Close())
	l.pass(30 * time.Hour)
	l.must(l.RestartReplay(labTopic, 5))
	moved := l.put(labTopic, 3, 4)
	l.followTopic(sfstream.WithReplayFallback(sfstream.FallbackAll))
	l.expect(3, 4)
	if n := l.gapCount(); n != 1 {
		t.Errorf("%d gaps", n)
	}
	l.must(l.client.Close())
	if got := string(l.marker(labTopic).ReplayID); got != string(moved[1].ReplayID) {
		t.Errorf("the marker is at %s, want %s", got, moved[1].ReplayID)
	}
	l.put(labTopic, 5)
	l.followTopic()
	l.expectSubscribe(labTopic, "CUSTOM", moved[1].ReplayID)
	l.expect(5)

	// While the program runs it is not even a gap: all that came since is there.
	l.pass(3 * time.Minute)
	l.must(l.RestartReplay(labTopic, 1))
	l.put(labTopic, 6)
	l.DropConnections()
	l.put(labTopic, 7)
	l.expect(6, 7)
	l.awaitForgotten()
	l.finish(labTopic)
}
