package contract

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// closeRules are rule 11. That Close leaves no goroutine is proved by each bubble: it cannot end
// with one.
func closeRules() []rule {
	return []rule{
		{number: 11, words: "Close ends loops, Receive and C", run: closeEndsConsumers},
		{number: 11, words: "Close is idempotent and may be called at once from many goroutines", run: closeConcurrently},
		{number: 11, words: "Close works before Open and before Subscribe", run: closeUnused},
		{number: 11, words: "Close works inside a loop body of each policy", run: closeInEachBody},
		// Pub/Sub API only: one reply of CometD may pass the bound.
		{number: 11, words: "Close works with every buffer full and no loop", run: closeFull, only: sfstream.PubSub},
		{number: 11, words: "Close takes at most 5 s with a hook that blocks, and still saves", run: closeBlockedHook},
		{number: 11, words: "Close does not wait for a server that says nothing", run: closeBlackhole},
		{number: 11, words: "Close does not wait for a login that hangs", run: closeHangingLogin},
		{number: 11, words: "Close does not wait for a backoff", run: closeInBackOff},
		{number: 11, words: "Close ends a Subscribe under way and leaves no marker of it", run: closeWhileSubscribing},
		{number: 11, words: "Close from a hook's goroutine", run: closeFromHook},
		{number: 11, words: "every call after Close says ErrClosed", run: callsAfterClose},
		{number: 11, words: "every method from many goroutines at once loses nothing", run: stress},
		{number: 11, words: "every method from many goroutines at once over loopback", run: stressLoopback, realTime: true},
	}
}

func closeEndsConsumers(t *testing.T) {
	for _, policy := range policies {
		s := lab.New(t)
		c := s.FollowFromOldest(sfstream.WithAck(policy))
		var ended sync.WaitGroup
		for _, consume := range []func(){
			func() {
				for m := range c.Messages(t.Context()) {
					t.Errorf("got %s", m.ID)
				}
			},
			func() {
				if m, err := c.Receive(t.Context()); !errors.Is(err, sfstream.ErrClosed) {
					t.Errorf("got %v, %v, want ErrClosed", m, err)
				}
			},
			func() {
				for m := range c.C(t.Context()) {
					t.Errorf("got %s", m.ID)
				}
			},
		} {
			ended.Go(consume)
			synctest.Wait()
		}
		lab.Within(t, 0, func() {
			lab.Must(t, c.Close())
			ended.Wait()
		})
		lab.Must(t, c.Err())
	}
}

func closeConcurrently(t *testing.T) {
	s, c := following(t, 300)
	lab.Must(t, c.Subscribe(t.Context(), lab.Invoices))
	var closers sync.WaitGroup
	for range 10 {
		closers.Go(func() { lab.Must(t, c.Close()) })
	}
	closers.Wait()
	lab.Must(t, c.Close())
	synctest.Wait()
	if n := s.Streams(""); n != 0 {
		t.Errorf("%d streams are open after Close", n)
	}
}

func closeUnused(t *testing.T) {
	s := lab.New(t)
	c, err := sfstream.New(s.Authenticator(), sfstream.WithOrg(s))
	lab.Must(t, err)
	lab.Must(t, c.Close())
	if err := c.Open(t.Context()); !errors.Is(err, sfstream.ErrClosed) {
		t.Errorf("Open after Close: %v, want ErrClosed", err)
	}
	lab.Must(t, s.StartFromOldest().Close())
}

func closeInEachBody(t *testing.T) {
	for _, policy := range policies {
		_, c := following(t, 500, sfstream.WithAck(policy), sfstream.WithPrefetch(20))
		n := 0
		for range c.Messages(t.Context()) {
			if n++; n == 20 { // the prefetch: under AckManual no more comes
				lab.Within(t, 0, func() { lab.Must(t, c.Close()) })
			}
		}
		if n != 20 {
			t.Errorf("%d messages, want none after Close in the body of the 20th", n)
		}
		if err := c.Err(); err != nil {
			t.Errorf("Err after Close: %v", err)
		}
	}
}

func closeFull(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 500)
	s.PublishNext(lab.Invoices, 500)
	c := s.FollowFromOldest(sfstream.WithPrefetch(50))
	lab.Must(t, c.Subscribe(t.Context(), lab.Invoices))
	c.C(t.Context())
	synctest.Wait()
	if got := c.Pending(); got != 100 {
		t.Errorf("%d pending, want 100", got)
	}
	lab.Within(t, 0, func() { lab.Must(t, c.Close()) })
	c = s.FollowFromOldest()
	lab.ExpectIDs(t, lab.Loop(t, c, 500), lab.IDs(1, 500))
}

func closeBlackhole(t *testing.T) {
	s, c := following(t, 5)
	lab.Loop(t, c, 3)
	s.Blackhole()
	lab.Within(t, time.Second, func() { lab.Must(t, c.Close()) })
	s.HTTPClient().CloseIdleConnections()
	s.ExpectSaved("3")
	c = s.FollowFromOldest()
	s.Blackhole()
	lab.Within(t, time.Second, func() { lab.Must(t, c.Unsubscribe(t.Context(), lab.Orders)) })
	lab.Must(t, c.Close())
	s.HTTPClient().CloseIdleConnections()
	lab.ExpectID(t, s.FollowFromOldest(), "4")
}

func closeHangingLogin(t *testing.T) {
	s, c := following(t, 3)
	lab.Loop(t, c, 1)
	s.FailLogin(-1, "timeout")
	s.ExpireToken()
	s.DropConnections()
	<-time.After(10 * time.Second)
	lab.Within(t, time.Second, func() { lab.Must(t, c.Close()) })
	s.ExpectSaved("1")

	// Nor for an Open, which ends with its ctx.
	c, err := sfstream.New(s.Authenticator(), sfstream.WithOrg(s))
	lab.Must(t, err)
	ctx, stop := lab.NewStop(t)
	opened := make(chan error, 1)
	go func() { opened <- c.Open(ctx) }()
	<-time.After(time.Second)
	lab.Within(t, 0, func() { lab.Must(t, c.Close()) })
	stop()
	if err := <-opened; err == nil {
		t.Error("Open has succeeded")
	}
	s.ClearFaults()
	lab.ExpectIDs(t, lab.Loop(t, s.FollowFromOldest(), 2), lab.IDs(2, 3))
}

func closeInBackOff(t *testing.T) {
	s, c := following(t, 3)
	lab.Loop(t, c, 1)
	s.Refuse(true)
	s.DropConnections()
	<-time.After(5 * time.Minute)
	if state := c.Status().Channels[0].State; state != sfstream.StateWaiting {
		t.Errorf("the channel is %s, want waiting", state)
	}
	lab.Within(t, 0, func() { lab.Must(t, c.Close()) })
	s.Refuse(false)
	lab.ExpectIDs(t, lab.Loop(t, s.FollowFromOldest(), 2), lab.IDs(2, 3))
}

func closeWhileSubscribing(t *testing.T) {
	s, c := following(t, 3)
	lab.ExpectID(t, c, "1")
	lab.Must(t, c.Close())
	before := s.Marker(lab.Orders)
	for name, hold := range map[string]func(){
		"topic": func() { failSubscribe(t, s.Server, -1, "UNAVAILABLE") },
		"login": func() {
			s.ExpireToken()
			s.FailLogin(-1, "timeout")
		},
		"load": func() {
			s.Store.BeforeLoad(lab.Hang)
		},
	} {
		c := s.StartFromOldest()
		hold()
		ended := make(chan error, 1)
		opts := []sfstream.SubscribeOption{sfstream.From(sfstream.ReplaySince(time.Now()))}
		if name == "load" {
			opts = nil
		}
		go func() { ended <- c.Subscribe(t.Context(), lab.Orders, opts...) }()
		<-time.After(time.Second)
		lab.Within(t, 0, func() {
			lab.Must(t, c.Close())
			if err := <-ended; !errors.Is(err, sfstream.ErrClosed) {
				t.Errorf("%s: Subscribe returned %v, want ErrClosed", name, err)
			}
		})
		if got := s.Marker(lab.Orders); fmt.Sprint(got) != fmt.Sprint(before) {
			t.Errorf("%s: a Subscribe that was not accepted has changed the marker from %v to %v", name, before, got)
		}
		s.ClearFaults()
		s.Store.BeforeLoad(nil)
	}
	lab.ExpectIDs(t, lab.Loop(t, s.FollowFromOldest(), 2), lab.IDs(2, 3))
}

func closeFromHook(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 2)
	var c *sfstream.Client
	closed := make(chan error, 1)
	c = s.FollowFromOldest(sfstream.WithHooks(sfstream.Hooks{OnSubscriptionError: func(string, error) bool {
		go func() { closed <- c.Close() }()
		return true
	}}))
	lab.Loop(t, c, 1)
	s.Revoke(lab.Orders)
	for m := range c.Messages(t.Context()) {
		t.Logf("got %s", m.ID)
	}
	lab.Must(t, <-closed)
}

func callsAfterClose(t *testing.T) {
	s := lab.New(t)
	c := s.FollowFromOldest()
	lab.Must(t, c.Close())
	_, received := c.Receive(t.Context())
	for name, err := range map[string]error{
		"Open": c.Open(t.Context()), "Receive": received,
		"Subscribe":   c.Subscribe(t.Context(), lab.Invoices),
		"Unsubscribe": c.Unsubscribe(t.Context(), lab.Orders),
	} {
		if !errors.Is(err, sfstream.ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", name, err)
		}
	}
	for m := range c.Messages(t.Context()) {
		t.Errorf("got %s", m.ID)
	}
	for m := range c.C(t.Context()) {
		t.Errorf("got %s", m.ID)
	}
	lab.Must(t, c.Err())
}

func stress(t *testing.T) {
	for _, policy := range policies {
		stressed(t, lab.New(t, sfstreamtest.WithBatchEvents(3)), policy)
		synctest.Wait()
	}
}

func stressLoopback(t *testing.T) {
	stressed(t, newLoopbackScene(t), sfstream.AckAuto)
}

// newLoopbackScene is a scene over real connections, in real time.
func newLoopbackScene(t *testing.T) *lab.Lab {
	t.Helper()
	s := lab.On(t, sfstreamtest.NewServer(t))
	return s
}

// stressed calls everything from many goroutines while events come, then takes what is left after a
// restart. Each event must have come at least once, and none that was handled may be the first
// thing of the restarted program.
func stressed(t *testing.T, s *lab.Lab, policy sfstream.AckPolicy) {
	const total = 400
	c := s.FollowFromOldest(sfstream.WithPrefetch(16), sfstream.WithAck(policy))
	var mu sync.Mutex
	seen := make(map[string]bool)
	take := func(m *sfstream.Message) {
		mu.Lock()
		seen[m.Channel+m.ID] = true
		mu.Unlock()
		m.Ack()
	}
	ctx, stop := lab.NewStop(t)
	callers := callEverything(ctx, s, c, take)
	for range total {
		s.PublishNext(lab.Orders, 1)
		s.PublishNext(lab.Invoices, 1)
		<-time.After(200 * time.Microsecond)
	}
	var closers sync.WaitGroup
	for range 3 {
		closers.Go(func() { _ = c.Close() })
	}
	closers.Wait()
	stop()
	callers.Wait()

	c = s.StartFromOldest()
	lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
	lab.Must(t, c.Subscribe(t.Context(), lab.Invoices))
	s.PublishNext(lab.Orders, 1)
	s.PublishNext(lab.Invoices, 1)
	for left := 2; left > 0; {
		m := receive(t, c)
		if m.ID == strconv.Itoa(total+1) {
			left--
		}
		take(m)
	}
	lab.Must(t, c.Close())
	for _, id := range lab.IDs(1, total) {
		for _, channel := range []string{lab.Orders, lab.Invoices} {
			if !seen[channel+id] {
				t.Errorf("%s %s was lost", channel, id)
			}
		}
	}
}

// callEverything makes every call of a client, each on a goroutine of its own and again and again,
// until ctx ends. It gives take the messages that it gets.
func callEverything(ctx context.Context, s *lab.Lab, c *sfstream.Client, take func(*sfstream.Message)) *sync.WaitGroup {
	var callers sync.WaitGroup
	pause := func() { <-time.After(time.Duration(rand.IntN(3000)) * time.Microsecond) }
	during := func(do func()) {
		callers.Go(func() {
			for ctx.Err() == nil {
				do()
				pause()
			}
		})
	}
	limited := func() context.Context {
		short, cancel := context.WithTimeout(ctx, time.Duration(rand.IntN(10000))*time.Microsecond)
		context.AfterFunc(short, cancel)
		return short
	}
	during(func() { // loops that are left in every way
		n := rand.IntN(20)
		for m := range c.Messages(limited()) {
			take(m)
			if n--; n < 0 {
				break
			}
		}
	})
	during(func() {
		if m, err := c.Receive(limited()); err == nil {
			take(m)
		}
	})
	during(func() {
		for m := range c.C(limited()) {
			take(m)
			if rand.IntN(10) == 0 {
				return
			}
		}
	})
	for _, channel := range []string{lab.Orders, lab.Invoices} {
		during(func() {
			_ = c.Unsubscribe(limited(), channel)
			pause()
			_ = c.Subscribe(limited(), channel)
		})
		during(func() { _ = c.Subscribe(ctx, channel) })
	}
	during(func() { c.Status(); c.Subscriptions(); c.Pending(); _ = c.Err() })
	during(func() { pause(); pause(); pause(); s.DropConnections() })
	return &callers
}

func closeBlockedHook(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 3)
	release := make(chan struct{})
	c := s.FollowFromOldest(sfstream.WithReplayFallback(sfstream.FallbackAll), sfstream.WithHooks(sfstream.Hooks{
		OnGap: func(sfstream.Gap) { <-release },
	}))
	lab.ExpectID(t, c, "1")
	synctest.Wait() // a request is under way
	s.Reject(lab.Orders, 1, "subscription.fetch.replayid.corrupted")
	s.DropConnections()
	<-time.After(10 * time.Second)
	lab.ExpectID(t, c, "2")
	lab.Within(t, 5*time.Second, func() {
		if err := c.Close(); err == nil {
			t.Error("Close does not say that a hook blocks")
		}
	})
	s.ExpectSaved("2")
	close(release)
	synctest.Wait()
	if n := s.Streams(""); n != 0 {
		t.Errorf("%d streams are open after Close", n)
	}
}
