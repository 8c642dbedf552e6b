package contract

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// callRules are rule 12, and the calls that never wait for room in the queue.
func callRules() []rule {
	return []rule{
		{number: 12, words: "Open ends with its ctx", run: openEnds},
		{number: 12, words: "Subscribe ends with its ctx wherever it is", run: subscribeEnds},
		{number: 12, words: "Subscribe whose ctx ends leaves no subscription", run: subscribeLeavesNothing},
		{number: 12, words: "Unsubscribe while Subscribe loads its marker leaves no subscription", run: unsubscribeWhileLoading},
		{number: 12, words: "Unsubscribe ends with its ctx", run: unsubscribeEnds},
		{number: 12, words: "Receive ends with its ctx", run: receiveEnds},
		{number: 12, words: "Messages ends with its ctx", run: messagesEnd},
		{number: 12, words: "C ends with its ctx", run: cEnds},
		{number: 12, words: "an ended ctx takes nothing", run: endedTakesNothing},
		{number: 12, words: "Subscribe, Unsubscribe, Ack and Close never wait for room, inside the body", run: callsInBody},
		{number: 12, words: "Subscribe, Unsubscribe, Ack and Close never wait for room, before any loop", run: callsBeforeLoop},
	}
}

func openEnds(t *testing.T) {
	s := lab.New(t)
	c, err := sfstream.New(authenticator.Func(func(ctx context.Context, _ authenticator.Login) (*authenticator.Credentials, error) {
		return nil, lab.Hang(ctx)
	}), sfstream.WithOrg(s))
	lab.Must(t, err)
	lab.EndsWith(t, c.Open)
	lab.Must(t, c.Close())

	s.FailLogin(1, "timeout")
	c, err = sfstream.New(s.Authenticator(), sfstream.WithOrg(s))
	lab.Must(t, err)
	lab.EndsWith(t, c.Open)
	lab.Must(t, c.Open(t.Context())) // the same client
	lab.Must(t, c.Close())
}

func subscribeEnds(t *testing.T) {
	for name, hold := range map[string]func(s *lab.Lab){
		"in Load": func(s *lab.Lab) {
			s.Store.BeforeLoad(lab.Hang)
		},
		"in a login": func(s *lab.Lab) { s.ExpireToken(); s.FailLogin(-1, "timeout") },
		"in the request": func(s *lab.Lab) {
			s.Blackhole()
			s.FailCometD(sfstreamtest.CometDFault{Kind: "subscribe", Times: -1, NoAnswer: true})
		},
		"between attempts":   func(s *lab.Lab) { failSubscribe(t, s.Server, -1, "UNAVAILABLE") },
		"without connection": func(s *lab.Lab) { s.Refuse(true); s.DropConnections() },
	} {
		s := lab.New(t)
		s.PublishNext(lab.Orders, 1)
		c := s.StartFromOldest()
		lab.Must(t, c.Subscribe(t.Context(), lab.Invoices)) // there is a connection
		synctest.Wait()
		hold(s)
		t.Log(name)
		lab.EndsWith(t, func(ctx context.Context) error { return c.Subscribe(ctx, lab.Orders) })
		lab.Must(t, c.Err())
		s.ClearFaults()
		s.Refuse(false)
		s.Store.BeforeLoad(nil)
		s.DropConnections()
		lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
		lab.ExpectID(t, c, "1")
		lab.Must(t, c.Close())
	}
}

func unsubscribeWhileLoading(t *testing.T) {
	s := lab.New(t)
	c := s.StartFromOldest()
	loaded := make(chan struct{})
	s.Store.BeforeLoad(func(context.Context) error { <-loaded; return nil })
	result := make(chan error, 1)
	go func() { result <- c.Subscribe(t.Context(), lab.Orders) }() // ends with what is received below
	synctest.Wait()
	lab.Must(t, c.Unsubscribe(t.Context(), lab.Orders))
	close(loaded)
	if err := <-result; err == nil {
		t.Error("Subscribe has no error")
	}
	synctest.Wait()
	if calls := s.Subscribes(lab.Orders); len(calls) > 0 {
		t.Errorf("subscribed: %+v", calls)
	}
	lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
	s.PublishNext(lab.Orders, 1)
	lab.ExpectID(t, c, "1")
}

// subscribeLeavesNothing ends the ctx of a Subscribe at every moment of it: either it succeeds and
// the channel is followed, or it fails and leaves nothing.
func subscribeLeavesNothing(t *testing.T) {
	s := lab.New(t)
	c := s.StartFromOldest()
	successes, failures := 0, 0
	for round := range 300 {
		ctx, stop := lab.NewStop(t)
		go func() {
			for range (round * 7) % 400 {
				runtime.Gosched()
			}
			stop()
		}()
		before := s.Marker(lab.Orders)
		err := c.Subscribe(ctx, lab.Orders, sfstream.From(sfstream.ReplaySince(time.Now().Add(time.Duration(round)-time.Hour))))
		stop()
		subscribed := len(c.Subscriptions()) == 1
		if subscribed != (err == nil) {
			t.Fatalf("round %d: Subscribe returned %v, and the subscriptions are %v", round, err, c.Subscriptions())
		}
		if err != nil {
			failures++
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("round %d: got %v, want the ctx's error", round, err)
			}
			synctest.Wait()
			if n := s.Streams(lab.Orders); n != 0 {
				t.Fatalf("round %d: a stream is open after %v", round, err)
			}
			<-time.After(time.Second)
			if after := s.Marker(lab.Orders); !after.Live.Equal(before.Live) || string(after.ReplayID) != string(before.ReplayID) {
				t.Fatalf("round %d: a failed Subscribe has changed the marker from %v to %v", round, before, after)
			}
			continue
		}
		successes++
		s.PublishNext(lab.Orders, 1)
		m := receive(t, c)
		m.Ack()
		lab.Must(t, c.Unsubscribe(t.Context(), lab.Orders))
	}
	t.Logf("%d successes, %d failures", successes, failures)
}

// unsubscribeEnds: a hook that blocks holds the link up, against its contract.
func unsubscribeEnds(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 2)
	release := make(chan struct{})
	c := s.FollowFromOldest(sfstream.WithReplayFallback(sfstream.FallbackAll), sfstream.WithHooks(sfstream.Hooks{
		OnGap: func(sfstream.Gap) { <-release },
	}))
	lab.Loop(t, c, 1)
	synctest.Wait() // a request is under way
	s.Reject(lab.Orders, 1, "subscription.fetch.replayid.corrupted")
	s.DropConnections()
	<-time.After(time.Minute)
	lab.EndsWith(t, func(ctx context.Context) error { return c.Unsubscribe(ctx, lab.Orders) })
	close(release)
	synctest.Wait()
	lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
	lab.ExpectID(t, c, "2")
}

func receiveEnds(t *testing.T) {
	s := lab.New(t)
	c := s.FollowFromOldest()
	receive := func(ctx context.Context) error { _, err := c.Receive(ctx); return err }
	lab.EndsWith(t, receive)
	s.PublishNext(lab.Orders, 2)
	for range c.Messages(t.Context()) { // waiting for its turn
		lab.EndsWith(t, receive)
		break
	}
	lab.ExpectID(t, c, "1")
}

func messagesEnd(t *testing.T) {
	s := lab.New(t)
	c := s.FollowFromOldest()
	lab.EndsWith(t, func(ctx context.Context) error {
		for m, err := range c.MessagesErr(ctx) {
			t.Errorf("got %v, %v", m, err)
		}
		return ctx.Err()
	})
	s.PublishNext(lab.Orders, 1)
	lab.ExpectID(t, c, "1")
}

func cEnds(t *testing.T) {
	s := lab.New(t)
	c := s.FollowFromOldest()
	drain := func(ctx context.Context) error {
		for m := range c.C(ctx) {
			t.Errorf("got %s", m.ID)
		}
		return ctx.Err()
	}
	lab.EndsWith(t, drain)
	s.PublishNext(lab.Orders, 1)
	for range c.Messages(t.Context()) { // waiting for its turn
		lab.EndsWith(t, drain)
		break
	}
	lab.ExpectID(t, c, "1")
}

func endedTakesNothing(t *testing.T) {
	_, c := following(t, 1)
	synctest.Wait()
	ended, stop := lab.NewStop(t)
	stop()
	for range 50 { // no select may choose at random
		if m, err := c.Receive(ended); !errors.Is(err, context.Canceled) {
			t.Fatalf("Receive: got %v, %v", m, err)
		}
		for m := range c.Messages(ended) {
			t.Fatalf("Messages: got %s", m.ID)
		}
		for m := range c.C(ended) {
			t.Fatalf("C: got %s", m.ID)
		}
	}
	lab.ExpectID(t, c, "1")
}

// everyCall is Subscribe, Unsubscribe and Ack while nothing else fits in.
func everyCall(t *testing.T, s *lab.Lab, c *sfstream.Client, m *sfstream.Message) {
	t.Helper()
	if m != nil {
		m.Ack()
		m.Ack()
	}
	for _, channel := range []string{lab.Orders, lab.Invoices} {
		lab.Must(t, c.Unsubscribe(t.Context(), channel))
		lab.Must(t, c.Subscribe(t.Context(), channel))
		synctest.Wait()
	}
}

func callsInBody(t *testing.T) {
	for _, policy := range policies {
		s := lab.New(t)
		s.PublishNext(lab.Orders, 300)
		s.PublishNext(lab.Invoices, 300)
		c := s.FollowFromOldest(sfstream.WithAck(policy), sfstream.WithPrefetch(30))
		lab.Must(t, c.Subscribe(t.Context(), lab.Invoices))
		var got []string
		for m := range c.Messages(t.Context()) {
			synctest.Wait() // all is full
			if m.Channel == lab.Orders {
				got = append(got, m.ID)
			}
			lab.Within(t, 0, func() { everyCall(t, s, c, m) })
			if len(got) == 3 {
				lab.Within(t, 0, func() { lab.Must(t, c.Close()) })
			}
		}
		lab.ExpectIDs(t, got, lab.IDs(1, 3))
	}
}

func callsBeforeLoop(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 300)
	s.PublishNext(lab.Invoices, 300)
	c := s.FollowFromOldest(sfstream.WithPrefetch(30))
	lab.Must(t, c.Subscribe(t.Context(), lab.Invoices))
	synctest.Wait()
	lab.Within(t, 0, func() {
		everyCall(t, s, c, nil)
		lab.Must(t, c.Close())
	})
	lab.ExpectIDs(t, lab.Loop(t, s.FollowFromOldest(), 300), lab.IDs(1, 300))
}
