package contract

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// worldRules prove that what orgs, networks and proxies do beyond their documentation loses nothing
// and ends nothing, and that the truth about it is told.
func worldRules() []rule {
	rules := []rule{
		{number: 3, words: "a file of markers that is deleted while it is open fails to save", run: deletedFile},
		{number: 7, words: "a group that no marker can name is told, and a restart loses none of it", run: hugeGroup},
		{number: 10, words: "a policy that is nil is refused", run: nilPolicy},
		{number: 10, words: "waits that our own table sets are not the same each time", run: spreadWaits},
		{number: 10, words: "errors and log lines are one line each", run: oneLineEach},
		{number: 12, words: "Subscribe that Unsubscribe ends says so", run: unsubscribedMeanwhile},
		{number: 12, words: "Ack of no message does nothing", run: ackOfNothing},
	}
	return append(rules, each(rule{number: 10, words: "a policy whose waits are %s storms nobody"}, []time.Duration{0, -2, -time.Hour, time.Nanosecond}, noWaits)...)
}

// deletedFile: a clean-up job deletes the file under the program. What is handled is not saved any
// more, and nobody may believe that it is.
func deletedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "replay.db")
	store, err := replaystore.OpenBolt(path)
	lab.Must(t, err)
	defer func() { _ = store.Close() }()
	l := lab.New(t)
	l.Follow(sfstream.WithReplayStore(store))
	l.PublishOrders(1)
	l.Expect(1)
	l.Pass(time.Minute)
	l.Must(l.Client.Err())
	lab.Must(t, os.Remove(path))
	l.PublishOrders(2, 3)
	l.Receive().Ack()
	l.Receive().Ack()
	l.Pass(10 * time.Minute)
	if e := lab.ExpectError[*sfstream.StoreError](t, l.Client.Err()); e.Op != "save" || !strings.Contains(e.Error(), path) {
		t.Errorf("got %v, want a failed save into %s", e, path)
	}
}

// hugeGroup has more events than a marker names, of which all but the last are handled.
func hugeGroup(t *testing.T) {
	l := newGroupLab(t)
	var ids []string
	for i := range replaystore.MaxHandled + 200 {
		ids = append(ids, fmt.Sprintf("001%015d", i))
	}
	l.records(zero, ids, last)
	l.follow()
	for range len(ids) { // not the last one of the group
		l.Receive().Ack()
	}
	l.Stop()
	if n := l.Log.Count("more events share one replay id than a marker can name"); n != 1 {
		t.Errorf("told %d times, want 1", n)
	}
	m := l.Marker(sales)
	if before := lab.SeenBy(t, l.Retained(sales)[0]).ReplayID; string(m.ReplayID) != string(before) || len(m.Group.Handled) > replaystore.MaxHandled {
		t.Errorf("the marker is at %x with %d handled, want %x", m.ReplayID, len(m.Group.Handled), before)
	}
	l.follow()
	var got []string
	for {
		m := l.Receive()
		m.Ack()
		if got = append(got, recordOf(t, m)); got[len(got)-1] == "001D" {
			break
		}
	}
	if n, most := len(got), 200+1; n > most || !slices.Contains(got, ids[len(ids)-1]) { // what the marker names does not come again
		t.Errorf("%d come after the restart, want the last of the group and %d at most", n, most)
	}
	l.nothing(time.Minute)
}

func nilPolicy(t *testing.T) {
	for _, policy := range []func() backoff.BackOff{nil, func() backoff.BackOff { return nil }} {
		if _, err := sfstream.New(authenticator.Static{}, sfstream.WithTransport(lab.TransportOf(t)), sfstream.WithBackOff(policy)); !errors.Is(err, sfstream.ErrInvalidOption) {
			t.Errorf("%v", err)
		}
	}
}

// noWaits is a policy of the program's own that does not wait.
func noWaits(t *testing.T, wait time.Duration) {
	l := lab.New(t)
	l.Follow(sfstream.WithBackOff(func() backoff.BackOff { // which gives a storm an end
		return backoff.WithMaxRetries(backoff.NewConstantBackOff(wait), 10_000)
	}))
	attempts := func() int { return len(l.Subscribes(lab.Orders)) }
	if lab.TransportOf(t) == sfstream.CometD {
		l.PassingError("handshake", -1, "503::Server is too busy. Please try your request again later.")
		attempts = func() int { return len(l.Times("handshake")) }
	}
	l.Reject(lab.Orders, -1, "UNAVAILABLE")
	l.DropConnections()
	l.PublishOrders(1)
	before := attempts()
	l.Pass(30 * time.Second)
	if n := attempts() - before; n < 30 || n > 30*20+10 {
		t.Errorf("%d attempts in 30 seconds", n)
	}
	l.ClearFaults()
	l.Expect(1)
}

// spreadWaits: clients that failed together must not come back together, also where no policy
// decides when.
func spreadWaits(t *testing.T) {
	l := lab.New(t)
	l.Follow(sfstream.WithBackOff(func() backoff.BackOff { return backoff.NewConstantBackOff(time.Second) }))
	var at []time.Time
	least := 5 * time.Second
	if lab.TransportOf(t) == sfstream.CometD {
		least = time.Minute
		l.ConcurrentLimit(6)
		l.DropConnections()
		l.Pass(10 * time.Minute)
		at = l.Times("handshake")[1:]
	} else {
		l.Reject(lab.Orders, 6, "service.unavailable")
		l.DropConnections()
		l.Pass(10 * time.Minute)
		for _, call := range l.Subscribes(lab.Orders)[1:] {
			at = append(at, call.At)
		}
	}
	if len(at) != 7 {
		t.Fatalf("%d attempts, want 7: %v", len(at), at)
	}
	waits := make(map[time.Duration]bool)
	for i := range at[1:] {
		wait := at[i+1].Sub(at[i])
		waits[wait.Round(10*time.Millisecond)] = true
		if wait < least || wait > least*3/2+time.Second {
			t.Errorf("a wait of %v, want %v and up to half as much", wait, least)
		}
	}
	if len(waits) < 4 {
		t.Errorf("the waits are %v", waits)
	}
	l.ExpectStillWorks(lab.Orders)
}

// oneLineEach: what a page or a server says in several lines is told in one.
func oneLineEach(t *testing.T) {
	s := lab.New(t)
	lines := 0
	s.Log.OnRecord = func(r slog.Record) {
		r.Attrs(func(a slog.Attr) bool {
			lines++
			if text := a.Value.String(); strings.ContainsFunc(r.Message+text, isBreak) {
				t.Errorf("%s: %q", r.Message, text)
			}
			return true
		})
	}
	c := s.FollowFromOldest()
	<-time.After(time.Minute)
	for _, trouble := range []func(){
		func() { s.HTMLError(3, 502); s.ProxyPage(3, 502, "<html>\r\n<p>one\n<p>two</html>") },
		func() { s.ProxyPage(0, 0, ""); s.HTMLError(3, 404) },
		func() {
			s.Reject(lab.Orders, 3, "UNAVAILABLE: one\r\ntwo\u2028three")
			s.PassingError("handshake", 2, "500::one\r\ntwo\u2028three")
		},
		func() { s.FailLogin(2, "unknown_error/one\ntwo"); s.ExpireToken() },
	} {
		trouble()
		s.DropConnections()
		<-time.After(5 * time.Minute)
		err := c.Status().Channels[0].LastError
		if err == nil || strings.ContainsFunc(err.Error(), isBreak) {
			t.Errorf("%q", err)
		}
	}
	if lines < 10 {
		t.Errorf("%d attributes: the test proves nothing", lines)
	}
	s.PublishNext(lab.Orders, 1)
	lab.ExpectID(t, c, "1")
}

func isBreak(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }

func unsubscribedMeanwhile(t *testing.T) {
	for name, hold := range map[string]func(s *lab.Lab){
		"between attempts": func(s *lab.Lab) { failSubscribe(t, s.Server, -1, "UNAVAILABLE") },
		"in the request": func(s *lab.Lab) {
			s.Blackhole()
			s.FailCometD(sfstreamtest.CometDFault{Kind: "subscribe", Times: -1, NoAnswer: true})
		},
	} {
		t.Log(name)
		s := lab.New(t)
		c := s.StartFromOldest()
		lab.Must(t, c.Subscribe(t.Context(), lab.Invoices)) // there is a connection
		synctest.Wait()
		hold(s)
		ended := make(chan error, 1)
		go func() { ended <- c.Subscribe(t.Context(), lab.Orders) }() // until Unsubscribe
		<-time.After(time.Second)
		lab.Must(t, c.Unsubscribe(t.Context(), lab.Orders))
		if err := <-ended; !errors.Is(err, sfstream.ErrUnsubscribed) || !strings.Contains(err.Error(), lab.Orders) {
			t.Errorf("got %v, want ErrUnsubscribed", err)
		}
		s.ClearFaults()
		s.DropConnections()
		s.PublishNext(lab.Orders, 1)
		lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
		lab.ExpectID(t, c, "1")
		lab.Must(t, c.Close())
	}
}

func ackOfNothing(t *testing.T) {
	s, c := following(t, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	m, err := c.Receive(ctx)
	lab.Must(t, err)
	(*sfstream.Message)(nil).Ack()
	new(sfstream.Message).Ack()
	synctest.Wait()
	s.ExpectSaved("")
	m.Ack()
	<-time.After(time.Second)
	s.ExpectSaved("1")
}
