package contract

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/scripted"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// evidenceRules prove what shows that a group is whole where nothing follows it, and what does not.
func evidenceRules() []rule {
	rules := []rule{
		{number: 7, words: "keepalives of the group's own id close it at the second in a row", run: ownKeepalives, only: sfstream.PubSub},
		{number: 7, words: "a keepalive of a session that has brought nothing of a group does not close it", run: foreignKeepalives, only: sfstream.PubSub},
		{number: 7, words: "another id as the first event of a session that resumed before a group closes it", run: anotherFirst, only: sfstream.CometD},
		{number: 7, words: "empty connects beside a call that is under way close no group", run: besideACall, only: sfstream.CometD},
		{number: 6, words: "a second possible gap waits, with backoff up to an hour", run: possibleGaps, only: sfstream.CometD},
		{number: 6, words: "after a possible gap a number that is not known by its date is delivered", run: numbersAnew, only: sfstream.CometD},
	}
	held := func(r *http.Request, msgs []scripted.Message) (*http.Response, error) {
		select {
		case <-r.Context().Done():
			return nil, r.Context().Err()
		case <-time.After(20 * time.Second):
			return scripted.OK("connect", msgs, ""), nil
		}
	}
	atOnce := func(_ *http.Request, msgs []scripted.Message) (*http.Response, error) {
		return scripted.OK("connect", msgs, ""), nil
	}
	for _, e := range []emptyConnect{
		{"held, after an event of now", time.Second, 2, held, "101"},
		{"held, while the server may be seeking", 2 * time.Hour, 2, held, "100"},
		{"answered at once", time.Second, 2, atOnce, "100"},
		{"the first of a session", time.Second, 1, nil, "100"},
	} {
		rules = append(rules, rule{number: 7, words: "an empty connect that is " + e.words + ": the position behind a group", run: e.run, only: sfstream.CometD})
	}
	return rules
}

func ownKeepalives(t *testing.T) {
	l := newGroupLab(t, sfstreamtest.WithKeepalive(time.Minute))
	l.HoldKeepaliveID(true)
	l.records(zero)
	l.follow()
	l.records(abc)
	for range 4 {
		l.Receive().Ack()
	}
	before, id := l.Retained(sales)[0].ReplayID, l.Retained(sales)[1].ReplayID
	l.Pass(90 * time.Second)
	if m := l.Marker(sales); string(m.ReplayID) != string(before) || len(m.Group.Handled) != 3 {
		t.Errorf("after one keepalive the marker is %+v, want %x: it may name the event that it is in the middle of", m, before)
	}
	l.Pass(time.Minute)
	l.Stop() // keepalives alone are saved rarely
	if m := l.Marker(sales); string(m.ReplayID) != string(id) || len(m.Group.Handled) != 0 {
		t.Errorf("after two keepalives the marker is %+v, want %x", m, id)
	}
}

// foreignKeepalives are of a session that resumed before the group: the server still seeks it.
func foreignKeepalives(t *testing.T) {
	l := newGroupLab(t, sfstreamtest.WithKeepalive(time.Minute))
	l.records(zero)
	l.follow()
	l.records(abc)
	for range 4 {
		l.Receive().Ack()
	}
	before := l.Retained(sales)[0].ReplayID
	l.SeekBacklog(sales, -1, 30*time.Minute)
	l.DropConnections()
	l.Pass(10 * time.Minute)
	l.Stop()
	if m := l.Marker(sales); string(m.ReplayID) != string(before) || len(m.Group.Handled) != 3 {
		t.Errorf("after the keepalives of another session the marker is %+v, want %x", m, before)
	}
}

// emptyConnect is a session that resumes at an id, gets an event of 100 and two of 101, and then
// nothing but empty replies.
type emptyConnect struct {
	words string
	age   time.Duration // of the events
	with  int           // the events come with this connect; 1: with the reply to subscribe, and no other connect is answered
	then  func(r *http.Request, msgs []scripted.Message) (*http.Response, error)
	want  string // the marker
}

func (e emptyConnect) run(t *testing.T) {
	events := func() string {
		at := time.Now().Add(-e.age)
		return scripted.ChangeJSON(100, at) + "," + ownGroup(at)
	}
	s := &scripted.Org{Answer: func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
		switch {
		case e.with == 1 && kind == "subscribe":
			return scripted.OK(kind, msgs, events()), nil
		case kind != "connect", n < e.with:
			return nil, nil
		case e.with == 1 && n > 1:
			<-r.Context().Done()
			return nil, r.Context().Err()
		case e.with == 1:
			return nil, nil
		case n == e.with:
			return scripted.OK(kind, msgs, events()), nil
		}
		return e.then(r, msgs)
	}}
	if e.want == "101" {
		leads(s, t, "99", 3, "101", "")
	} else {
		leads(s, t, "99", 3, e.want, "101")
	}
}

// ownGroup is two events of 101.
func ownGroup(at time.Time) string {
	group := func(n int) string { return scripted.AccountChange{N: n, ID: 101, At: at, Tx: "tx", Seq: n}.JSON() }
	return group(1) + "," + group(2)
}

// anotherFirst: what was received of the group is all there is, as it is not retained any more.
func anotherFirst(t *testing.T) {
	s := &scripted.Org{Answer: func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
		switch {
		case kind != "connect" || n == 1 || n == 4: // the first ones of the two sessions
			return nil, nil
		case n == 2:
			return scripted.OK(kind, msgs, scripted.ChangeJSON(100, time.Now().Add(-2*time.Hour))+","+ownGroup(time.Now().Add(-2*time.Hour))), nil
		case n == 3:
			return scripted.Failure(msgs[0], "403::Unknown client"), nil
		case n == 5:
			return scripted.OK(kind, msgs, scripted.ChangeJSON(102, time.Now().Add(-time.Hour))), nil
		}
		<-r.Context().Done()
		return nil, r.Context().Err()
	}}
	leads(s, t, "99", 4, "101", "102")
}

// besideACall: the rest of the group may come with the reply to the call.
func besideACall(t *testing.T) {
	s := &scripted.Org{Answer: func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
		switch {
		case kind == "subscribe" && n == 2, kind == "connect" && n > 2:
			wait := 20 * time.Second
			if kind == "subscribe" {
				wait = 80 * time.Second
			}
			select {
			case <-r.Context().Done():
				return nil, r.Context().Err()
			case <-time.After(wait):
				return scripted.OK(kind, msgs, ""), nil
			}
		case kind == "connect" && n == 2:
			now := time.Now()
			return scripted.OK(kind, msgs, scripted.ChangeJSON(100, now)+","+ownGroup(now)), nil
		}
		return nil, nil
	}}
	subscribed := make(chan error, 1)
	leads(s, t, "99", 3, "100", "101", func(c *sfstream.Client) {
		go func() { subscribed <- c.Subscribe(t.Context(), "/event/Other__e") }() // received below
	})
	<-subscribed
}

// leads follows the org after an id, and handles so many events. After a minute the marker is at an
// id, with what is handled of a group behind it, or nothing. What happens in that minute, then
// does.
func leads(s *scripted.Org, t *testing.T, from string, events int, id, group string, then ...func(c *sfstream.Client)) {
	t.Helper()
	store := replaystore.NewMemory()
	c := s.Client(t, sfstream.WithReplayStore(store), sfstream.WithAck(sfstream.AckManual))
	lab.Must(t, c.Subscribe(t.Context(), lab.AllChanges, sfstream.From(sfstream.ReplayAfter([]byte(from)))))
	for range events {
		m := receive(t, c)
		m.Ack()
	}
	for _, do := range then {
		do(c)
	}
	<-time.After(time.Minute)
	marker, err := store.Load(t.Context(), replaystore.Key{OrgID: "00D000000000001AAA", API: "cometd", Channel: lab.AllChanges})
	lab.Must(t, err)
	if string(marker.ReplayID) != id || string(marker.Group.ReplayID) != group {
		t.Errorf("the marker is at %s, with %d handled of %q; want %s and %q", marker.ReplayID, len(marker.Group.Handled), marker.Group.ReplayID, id, group)
	}
}

// possibleGaps: a server goes on refusing what it has just sent, of a client that was never away.
// What is retained must not be sent all the time.
func possibleGaps(t *testing.T) {
	const channel = "/data/AccountChangeEvent" // which has no groups
	var mu sync.Mutex                          // of what follows
	var told, resumed []time.Time
	connects := 0 // since the channel is followed; 0: it is not, or waits
	s := &scripted.Org{Answer: func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case kind == "subscribe" && n > 1 && !strings.Contains(string(msgs[0].Ext.Replay), "-2"):
			return scripted.Failure(msgs[0], "400::The replayId {100} you provided was invalid.  Please provide a valid ID, -2 to replay all events, or -1 to replay only new events."), nil
		case kind == "subscribe":
			resumed, connects = append(resumed, time.Now()), 1
		case kind == "connect" && connects == 1 && n > 1:
			connects = 2
			return scripted.OK(kind, msgs, strings.Replace(scripted.ChangeJSON(100+n, time.Now().Add(-2*time.Hour)), lab.AllChanges, channel, 1)), nil
		case kind == "connect" && connects == 3:
			connects = 0
			return scripted.Failure(msgs[0], "403::Unknown client"), nil
		case kind == "connect" && n > 1:
			if connects == 2 {
				connects = 3
			}
			mu.Unlock()
			defer mu.Lock()
			return scripted.Hold(r)
		}
		return nil, nil
	}}
	c := s.Client(t, sfstream.WithAck(sfstream.AckOnReceive), sfstream.WithHooks(sfstream.Hooks{OnGap: func(g sfstream.Gap) {
		mu.Lock()
		defer mu.Unlock()
		if told = append(told, time.Now()); !g.Possible {
			t.Errorf("gap %d is %+v", len(told), g)
		}
	}}))
	lab.Must(t, c.Subscribe(t.Context(), channel, sfstream.From(sfstream.ReplayAfter([]byte("99")))))
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Hour)
	defer cancel()
	for range c.Messages(ctx) {
	}
	lab.Must(t, c.Err())
	lab.Must(t, c.Close())
	if len(told) < 9 || len(resumed) < 10 {
		t.Fatalf("%d gaps told, followed %d times", len(told), len(resumed))
	}
	least := time.Duration(0)
	for i := range 9 {
		if wait := resumed[i+1].Sub(told[i]); wait < least || wait > least+5*time.Second {
			t.Errorf("case %d waited %v, want %v", i+1, wait, least)
		}
		least = min(max(time.Minute, 2*least), time.Hour)
	}
}

// numbersAnew: what is retained has numbers up to the position. Those that Salesforce has dated
// later are new: replay ids may have begun anew.
func numbersAnew(t *testing.T) {
	const channel = "/data/AccountChangeEvent"
	began := time.Now()
	event := func(id int, ago time.Duration) string {
		return strings.Replace(scripted.ChangeJSON(id, began.Add(-ago)), lab.AllChanges, channel, 1)
	}
	var refused atomic.Bool
	s := &scripted.Org{Answer: func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
		switch {
		case kind == "subscribe" && n == 2:
			refused.Store(true)
			return scripted.Failure(msgs[0], "400::The replayId {100} you provided was invalid.  Please provide a valid ID, -2 to replay all events, or -1 to replay only new events."), nil
		case kind == "connect" && n == 2:
			return scripted.OK(kind, msgs, event(100, 2*time.Hour)), nil
		case kind == "connect" && n == 4:
			return scripted.Failure(msgs[0], "403::Unknown client"), nil
		case kind == "connect" && refused.CompareAndSwap(true, false):
			return scripted.OK(kind, msgs, event(60, 3*time.Hour)+","+event(70, time.Hour)+","+event(100, 2*time.Hour)+","+event(101, time.Hour)), nil
		case kind == "connect" && n > 2:
			return scripted.Hold(r)
		}
		return nil, nil
	}}
	gaps := make(chan sfstream.Gap, 10)
	c := s.Client(t, sfstream.WithHooks(sfstream.Hooks{OnGap: func(g sfstream.Gap) { gaps <- g }}))
	lab.Must(t, c.Subscribe(t.Context(), channel, sfstream.From(sfstream.ReplayAfter([]byte("99")))))
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	var got []string
	for m := range c.Messages(ctx) {
		got = append(got, string(m.ReplayID))
	}
	lab.Must(t, c.Err())
	if want := []string{"100", "70", "101"}; !slices.Equal(got, want) || len(gaps) != 1 || !(<-gaps).Possible {
		t.Errorf("got %q and %d gaps, want %q and one", got, len(gaps), want)
	}
}
