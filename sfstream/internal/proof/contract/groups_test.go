package contract

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

func groupRules() []rule {
	return slices.Concat(
		inGroups("events of one replay id all come", groupComes),
		inGroups("events of one replay id all come to a subscription at new", groupComesAtNew),
		brokenGroups(),
		restarted(),
		inGroups("two polite restarts inside a group repeat none", restartedTwice),
		inGroups("a marker reaches a group when it is whole and handled", markerOfGroup),
		inGroups("a group that nothing follows is whole when the server says that there is no more", quietGroup),
		inGroups("a crash inside a group loses nothing", crashInGroup),
		inGroups("under AckManual the marker waits for the oldest of a group", manualGroup),
		inGroups("a group whose place before has aged out is sought, and what is handled does not come again", agedOutBefore),
		pubSubOnly(inGroups("a group that is sought through a backlog is no gap while the server has not come so far", soughtThroughBacklog)),
		pubSubOnly(inGroups("a group that is sought where replay ids have begun anew is a gap also where nothing comes any more", soughtAnew)),
		inGroups("a group that has aged out is a gap", agedOutGroup),
		inGroups("a group that has aged out is a gap also where nothing comes any more", agedOutQuietGroup),
		[]rule{
			{number: 7, words: "ten thousand events of one replay id come in spite of a server that ends after every 500", run: manyInGroup},
			{number: 7, words: "events of one replay id on a channel that has no groups", run: unexpectedGroup},
			{number: 7, words: "a session that brings only known events of a group is no progress", run: vainGroup},
			{number: 7, words: "a slow consumer does not idle out inside a group", run: slowGroup, only: sfstream.PubSub},
			{number: 7, words: "a restart inside a group with a store that forgets what is handled of it", run: forgetfulStore},
		},
	)
}

func groupComes(l groupLab) {
	l.records(zero, abc, last)
	l.follow()
	l.want(allRecords...)
}

func groupComesAtNew(l groupLab) {
	l.Start()
	l.Subscribe(sales)
	l.records(abc, last)
	l.want("001A", "001B", "001C", "001D")
	l.Reconnect(sales)
	l.records([]string{"001E", "001F"})
	l.want("001E", "001F")
}

// groupConsumers are the ways to consume sales under each policy; each calls done with the records
// that it takes.
var groupConsumers = map[string]func(l groupLab, done func(record string)){
	"AckAuto": func(l groupLab, done func(string)) {
		l.follow()
		for m := range l.Client.Messages(l.T.Context()) {
			done(recordOf(l.T, m))
		}
	},
	"AckOnReceive": func(l groupLab, done func(string)) {
		l.follow(sfstream.WithAck(sfstream.AckOnReceive))
		for m := range l.Client.Messages(l.T.Context()) {
			done(recordOf(l.T, m))
		}
	},
	"AckManual": func(l groupLab, done func(string)) {
		l.follow(sfstream.WithAck(sfstream.AckManual))
		for m := range l.Client.Messages(l.T.Context()) {
			done(recordOf(l.T, m))
			m.Ack()
		}
	},
	"Run": func(l groupLab, done func(string)) {
		l.follow()
		_ = l.Client.Run(l.T.Context(), func(_ context.Context, m *sfstream.Message) error {
			done(recordOf(l.T, m))
			return nil
		}, sfstream.Workers(3), sfstream.OrderBy(func(*sfstream.Message) string { return "" }))
	},
	"Transactions": func(l groupLab, done func(string)) {
		l.follow()
		for tx := range l.Client.Transactions(l.T.Context(), time.Second) {
			for _, m := range tx.Messages {
				done(recordOf(l.T, m))
			}
		}
	},
}

// brokenGroups are streams that end after some events of the group, under each policy and kind of
// consumer.
func brokenGroups() (rules []rule) {
	for name, consume := range groupConsumers {
		for n := 1; n <= 3; n++ {
			words := fmt.Sprintf("streams that end after %d events of a group lose and repeat none, %s", n, name)
			rules = append(rules, inGroups(words, func(l groupLab) { brokenGroup(l, n, consume) })...)
		}
	}
	slices.SortFunc(rules, func(a, b rule) int { return strings.Compare(a.words, b.words) })
	return rules
}

func brokenGroup(l groupLab, n int, consume func(l groupLab, done func(record string))) {
	l.records(zero, abc, last)
	l.CutGroups(1)
	l.BreakGroups(sfstreamtest.GroupBreak{Channel: sales, After: n, Times: 2})
	var mu sync.Mutex
	var got []string
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		consume(l, func(record string) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, record)
		})
	}()
	l.Pass(10 * time.Minute)
	lab.Must(l.T, l.Client.Close())
	<-ended
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(got, allRecords) {
		l.T.Errorf("got %v, want %v", got, allRecords)
	}
	if m := l.Marker(sales); len(m.ReplayID) == 0 {
		l.T.Errorf("the marker is %+v", m)
	}
}

// restarted are polite restarts after each number of handled events.
func restarted() (rules []rule) {
	for n := range len(allRecords) + 1 {
		words := fmt.Sprintf("a polite restart after %d events repeats none", n)
		rules = append(rules, inGroups(words, func(l groupLab) { restartedAfter(l, n) })...)
	}
	return rules
}

func restartedAfter(l groupLab, n int) {
	l.records(zero, abc, last)
	l.follow()
	l.take(allRecords[:n]...)
	l.Stop()
	l.follow()
	l.want(allRecords[n:]...)
	l.Reconnect(sales)
	l.records([]string{"001E", "001F"})
	l.want("001E", "001F")
}

func restartedTwice(l groupLab) {
	l.records(zero, []string{"001A", "001B", "001C", "001D"})
	for _, records := range [][]string{{"0010", "001A"}, {"001B", "001C"}, {"001D"}} {
		l.follow()
		l.take(records...)
		l.Stop()
	}
	l.follow()
	l.nothing(time.Minute)
}

func markerOfGroup(l groupLab) {
	l.records(zero)
	l.follow()
	l.records(abc)
	for range 4 {
		l.Receive().Ack()
	}
	l.Pass(time.Second)
	ids := l.Retained(sales)
	before, id := lab.SeenBy(l.T, ids[0]).ReplayID, lab.SeenBy(l.T, ids[1]).ReplayID
	if m := l.Marker(sales); string(m.ReplayID) != string(before) || string(m.Group.ReplayID) != string(id) ||
		len(m.Group.Handled) != 3 || m.Group.Date.IsZero() {
		l.T.Errorf("nothing has come behind the group: the marker is %+v, want %x and three of %x", m, before, id)
	}
	l.records(last)
	l.Receive()
	l.Pass(time.Second)
	if m := l.Marker(sales); string(m.ReplayID) != string(id) || len(m.Group.Handled) != 0 {
		l.T.Errorf("another event has come: the marker is %+v, want %x", m, id)
	}
}

// quietGroup: a keepalive, or an empty connect of a session that is caught up.
func quietGroup(l groupLab) {
	l.Start()
	l.Subscribe(sales)
	l.records(abc)
	l.want("001A", "001B", "001C")
	l.Pass(10 * time.Minute)
	l.Stop()
	id := lab.SeenBy(l.T, l.Retained(sales)[0]).ReplayID
	if m := l.Marker(sales); string(m.ReplayID) < string(id) || len(m.Group.Handled) != 0 { // a keepalive has an id of its own
		l.T.Errorf("the marker is %+v, want %x", m, id)
	}
	l.follow()
	if call := l.LastSubscribe(sales); string(call.ReplayID) < string(id) {
		l.T.Errorf("resumed at %x, want %x", call.ReplayID, id)
	}
	l.records(last)
	l.want("001D")
}

func crashInGroup(l groupLab) {
	for n := range len(allRecords) {
		l.Store = lab.NewStore(l.T)
		if n == 0 {
			l.records(zero, abc, last)
		}
		l.follow()
		for range n + 1 { // the last one is in the body
			l.Receive()
			l.Pass(time.Second)
		}
		l.crash()
		l.follow()
		l.want(allRecords[n:]...)
		l.Stop()
	}
}

func manualGroup(l groupLab) {
	l.records(zero, abc, last)
	l.follow(sfstream.WithAck(sfstream.AckManual))
	for range 5 {
		if m := l.Receive(); recordOf(l.T, m) != "001B" {
			m.Ack()
		}
	}
	l.Pass(time.Minute)
	l.Stop()
	l.follow(sfstream.WithAck(sfstream.AckManual))
	l.want("001B", "001C", "001D") // a marker is contiguous: what is above the oldest unacked one comes again
}

// agedOutBefore: the event before the group is gone, the group is not.
func agedOutBefore(l groupLab) {
	l.records(zero)
	l.Pass(2 * time.Hour)
	l.records(abc)
	l.follow()
	l.take("0010", "001A")
	l.Stop()
	l.Pass(71 * time.Hour)
	l.follow()
	l.want("001B", "001C")
	expectGaps(l.Lab, 0)
}

// soughtThroughBacklog: the empty responses of a server that seeks name positions before the group.
func soughtThroughBacklog(l groupLab) {
	l.records(zero)
	l.Pass(2 * time.Hour)
	l.records(abc)
	l.follow()
	l.take("0010", "001A")
	l.Stop()
	l.Pass(71 * time.Hour)
	l.Must(l.PassPositions(sales, 1000))
	l.SeekBacklog(sales, -1, 5*time.Minute)
	l.follow()
	l.Pass(10 * time.Minute)
	l.want("001B", "001C")
	expectGaps(l.Lab, 0)
}

// soughtAnew: all keepalives name ids before the group, as those of a server that seeks do. When the
// group cannot be retained any more, it is lost.
func soughtAnew(l groupLab) {
	l.records(zero, abc)
	l.follow()
	l.take("0010", "001A")
	l.Stop()
	l.Must(l.ResetReplay(sales, 1000, false))
	l.Start(sfstream.WithReplayFallback(sfstream.FallbackAll))
	l.Subscribe(sales)
	l.Pass(74 * time.Hour)
	expectGaps(l.Lab, 1)
	l.records(last)
	l.want("001D")
	expectGaps(l.Lab, 1)
}

// agedOutGroup: the rest of the group is gone, and that is told.
func agedOutGroup(l groupLab) {
	l.records(zero, abc)
	l.follow()
	l.Receive().Ack()
	l.Receive().Ack()
	l.Stop()
	l.Pass(74 * time.Hour)
	l.records(last)
	l.Start(sfstream.WithReplayFallback(sfstream.FallbackAll))
	l.Must(l.Client.Subscribe(l.T.Context(), sales))
	l.want("001D")
	expectGaps(l.Lab, 1)
	l.Stop()
	l.follow()
	l.records([]string{"001E"})
	l.want("001E")
}

// agedOutQuietGroup: that the server has nothing more to send shows it as well.
func agedOutQuietGroup(l groupLab) {
	l.records(zero, abc)
	l.follow()
	l.Receive().Ack()
	l.Receive().Ack()
	l.Stop()
	l.Pass(74 * time.Hour)
	l.Start(sfstream.WithReplayFallback(sfstream.FallbackAll))
	l.Must(l.Client.Subscribe(l.T.Context(), sales))
	l.Pass(10 * time.Minute)
	expectGaps(l.Lab, 1)
	l.records(last)
	l.want("001D")
}

func manyInGroup(t *testing.T) {
	l := newGroupLab(t)
	const n = 10_000
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprintf("001%015d", i))
	}
	l.records(zero)
	l.Start(sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithPrefetch(200))
	l.records(ids)
	l.BreakGroups(sfstreamtest.GroupBreak{Channel: sales, After: 500, NewOnly: true, Times: -1})
	l.Subscribe(sales)
	l.records(last)
	l.take(append(append([]string{"0010"}, ids...), "001D")...)
	l.nothing(time.Minute)
}

func unexpectedGroup(t *testing.T) {
	l := lab.New(t)
	l.ChangeAccount(1)
	l.Start(sfstream.WithReplay(sfstream.ReplayAll))
	l.Subscribe(lab.Accounts)
	l.Expect(1)
	l.RepeatReplayID(lab.Accounts, 2)
	l.ChangeAccount(2, 3) // of the id of 1
	l.Expect(2, 3)
	if n := l.Log.Count("several events have one replay id"); n != 1 {
		t.Errorf("%d warnings, want 1", n)
	}
	l.Reconnect(lab.Accounts)
	l.ExpectQuiet(time.Minute)
	l.ChangeAccount(4)
	l.Expect(4)
	l.Stop()
	l.Start()
	l.Subscribe(lab.Accounts)
	l.ChangeAccount(5)
	l.Expect(5)
}

func vainGroup(t *testing.T) {
	l := newGroupLab(t)
	l.records(zero, abc, last)
	l.CutGroups(1)
	l.BreakGroups(sfstreamtest.GroupBreak{Channel: sales, After: 2, Times: 8})
	l.follow()
	began := time.Now()
	l.take(allRecords...)
	if took := time.Since(began); took < 10*time.Second || took > 10*time.Minute {
		t.Errorf("eight sessions that brought nothing new took %s", took)
	}
	l.nothing(time.Minute)
	if n := l.Log.Count("inside the events of one replay id"); n != 1 {
		t.Errorf("%d warnings, want 1", n)
	}
	if s := l.Client.Status().Channels[0]; s.Resent < 10 {
		t.Errorf("resent are %d", s.Resent)
	}
}

func slowGroup(t *testing.T) {
	l := newGroupLab(t)
	l.CutGroups(1)
	l.records(zero, abc, last)
	l.follow(sfstream.WithPrefetch(2))
	m := l.Receive()
	l.Pass(time.Minute)
	l.Receive()
	l.Receive()
	before := len(l.Subscribes(sales))
	l.Pass(time.Hour)
	if n := len(l.Subscribes(sales)); n != before {
		t.Errorf("%d subscriptions, want %d: the stream idled out", n, before)
	}
	m.Ack()
	l.want("001C", "001D")
}

func forgetfulStore(t *testing.T) {
	l := newGroupLab(t)
	l.records(zero, abc, last)
	l.follow()
	for range 3 {
		l.Receive().Ack()
	}
	l.Stop()
	key := l.Key(lab.APIOf(t), sales)
	m := l.Marker(sales)
	m.Group = replaystore.Group{}
	l.Save(key, m)
	l.follow()
	l.want("001A", "001B", "001C", "001D")
	synctest.Wait()
}
