package sfstream_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// contractCalls is rule 12, and the calls that never wait for room in the queue.
func contractCalls() []rule {
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
	s := NewScene(t)
	c, err := sfstream.New(hangingAuth{}, sfstream.WithOrg(s))
	Must(t, err)
	EndsWith(t, c.Open)
	Must(t, c.Close())

	s.FailLogin(1, "timeout")
	c, err = sfstream.New(s.Authenticator(), sfstream.WithOrg(s))
	Must(t, err)
	EndsWith(t, c.Open)
	Must(t, c.Open(t.Context())) // the same client
	Must(t, c.Close())
}

func subscribeEnds(t *testing.T) {
	for name, hold := range map[string]func(s *Scene){
		"in Load": func(s *Scene) {
			s.Store.BeforeLoad(Hang)
		},
		"in a login": func(s *Scene) { s.ExpireToken(); s.FailLogin(-1, "timeout") },
		"in the request": func(s *Scene) {
			s.Blackhole()
			s.FailCometD(sfstreamtest.CometDFault{Kind: "subscribe", Times: -1, NoAnswer: true})
		},
		"between attempts":   func(s *Scene) { failSubscribe(t, s.Server, -1, "UNAVAILABLE") },
		"without connection": func(s *Scene) { s.Refuse(true); s.DropConnections() },
	} {
		s := NewScene(t)
		s.PublishNext(Orders, 1)
		c := s.Client()
		Must(t, c.Subscribe(t.Context(), Invoices)) // there is a connection
		synctest.Wait()
		hold(s)
		t.Log(name)
		EndsWith(t, func(ctx context.Context) error { return c.Subscribe(ctx, Orders) })
		Must(t, c.Err())
		s.ClearFaults()
		s.Refuse(false)
		s.Store.BeforeLoad(nil)
		s.DropConnections()
		Must(t, c.Subscribe(t.Context(), Orders))
		NextIs(t, c, "1")
		Must(t, c.Close())
	}
}

func unsubscribeWhileLoading(t *testing.T) {
	s := NewScene(t)
	c := s.Client()
	loaded := make(chan struct{})
	s.Store.BeforeLoad(func(context.Context) error { <-loaded; return nil })
	result := make(chan error, 1)
	go func() { result <- c.Subscribe(t.Context(), Orders) }() // ends with what is received below
	synctest.Wait()
	Must(t, c.Unsubscribe(t.Context(), Orders))
	close(loaded)
	if err := <-result; err == nil {
		t.Error("Subscribe has no error")
	}
	synctest.Wait()
	if calls := s.Subscribes(Orders); len(calls) > 0 {
		t.Errorf("subscribed: %+v", calls)
	}
	Must(t, c.Subscribe(t.Context(), Orders))
	s.PublishNext(Orders, 1)
	NextIs(t, c, "1")
}

// subscribeLeavesNothing ends the ctx of a Subscribe at every moment of it: either
// it succeeds and the channel is followed, or it fails and leaves nothing.
func subscribeLeavesNothing(t *testing.T) {
	s := NewScene(t)
	c := s.Client()
	successes, failures := 0, 0
	for round := range 300 {
		ctx, stop := NewStop(t)
		go func() {
			for range (round * 7) % 400 {
				runtime.Gosched()
			}
			stop()
		}()
		before := s.Store.Marker(s.Account().OrgID, Orders)
		err := c.Subscribe(ctx, Orders, sfstream.From(sfstream.ReplaySince(time.Now().Add(time.Duration(round)-time.Hour))))
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
			if n := s.Streams(Orders); n != 0 {
				t.Fatalf("round %d: a stream is open after %v", round, err)
			}
			<-time.After(time.Second)
			if after := s.Store.Marker(s.Account().OrgID, Orders); !after.Live.Equal(before.Live) || string(after.ReplayID) != string(before.ReplayID) {
				t.Fatalf("round %d: a failed Subscribe has changed the marker from %v to %v", round, before, after)
			}
			continue
		}
		successes++
		s.PublishNext(Orders, 1)
		m, err := c.Receive(t.Context())
		Must(t, err)
		m.Ack()
		Must(t, c.Unsubscribe(t.Context(), Orders))
	}
	t.Logf("%d successes, %d failures", successes, failures)
}

// unsubscribeEnds: a hook that blocks holds the link up, against its contract.
func unsubscribeEnds(t *testing.T) {
	s := NewScene(t)
	s.PublishNext(Orders, 2)
	release := make(chan struct{})
	c := s.Following(sfstream.WithReplayFallback(sfstream.FallbackAll), sfstream.WithHooks(sfstream.Hooks{
		OnGap: func(sfstream.Gap) { <-release },
	}))
	Loop(t, c, 1)
	synctest.Wait() // a request is under way
	s.Reject(Orders, 1, "subscription.fetch.replayid.corrupted")
	s.DropConnections()
	<-time.After(time.Minute)
	EndsWith(t, func(ctx context.Context) error { return c.Unsubscribe(ctx, Orders) })
	close(release)
	synctest.Wait()
	Must(t, c.Subscribe(t.Context(), Orders))
	NextIs(t, c, "2")
}

func receiveEnds(t *testing.T) {
	s := NewScene(t)
	c := s.Following()
	receive := func(ctx context.Context) error { _, err := c.Receive(ctx); return err }
	EndsWith(t, receive)
	s.PublishNext(Orders, 2)
	for range c.Messages(t.Context()) { // waiting for its turn
		EndsWith(t, receive)
		break
	}
	NextIs(t, c, "1")
}

func messagesEnd(t *testing.T) {
	s := NewScene(t)
	c := s.Following()
	EndsWith(t, func(ctx context.Context) error {
		for m, err := range c.MessagesErr(ctx) {
			t.Errorf("got %v, %v", m, err)
		}
		return ctx.Err()
	})
	s.PublishNext(Orders, 1)
	NextIs(t, c, "1")
}

func cEnds(t *testing.T) {
	s := NewScene(t)
	c := s.Following()
	drain := func(ctx context.Context) error {
		for m := range c.C(ctx) {
			t.Errorf("got %s", m.ID)
		}
		return ctx.Err()
	}
	EndsWith(t, drain)
	s.PublishNext(Orders, 1)
	for range c.Messages(t.Context()) { // waiting for its turn
		EndsWith(t, drain)
		break
	}
	NextIs(t, c, "1")
}

func endedTakesNothing(t *testing.T) {
	s := NewScene(t)
	s.PublishNext(Orders, 1)
	c := s.Following()
	synctest.Wait()
	ended, stop := NewStop(t)
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
	NextIs(t, c, "1")
}

// everyCall is Subscribe, Unsubscribe and Ack while nothing else fits in.
func everyCall(t *testing.T, s *Scene, c *sfstream.Client, m *sfstream.Message) {
	t.Helper()
	if m != nil {
		m.Ack()
		m.Ack()
	}
	for _, channel := range []string{Orders, Invoices} {
		Must(t, c.Unsubscribe(t.Context(), channel))
		Must(t, c.Subscribe(t.Context(), channel))
		synctest.Wait()
	}
}

func callsInBody(t *testing.T) {
	for _, policy := range []sfstream.AckPolicy{sfstream.AckAuto, sfstream.AckOnReceive, sfstream.AckManual} {
		s := NewScene(t)
		s.PublishNext(Orders, 300)
		s.PublishNext(Invoices, 300)
		c := s.Following(sfstream.WithAck(policy), sfstream.WithPrefetch(30))
		Must(t, c.Subscribe(t.Context(), Invoices))
		var got []string
		for m := range c.Messages(t.Context()) {
			synctest.Wait() // all is full
			if m.Channel == Orders {
				got = append(got, m.ID)
			}
			Within(t, 0, func() { everyCall(t, s, c, m) })
			if len(got) == 3 {
				Within(t, 0, func() { Must(t, c.Close()) })
			}
		}
		SameNumbers(t, got, Numbered(1, 3))
	}
}

func callsBeforeLoop(t *testing.T) {
	s := NewScene(t)
	s.PublishNext(Orders, 300)
	s.PublishNext(Invoices, 300)
	c := s.Following(sfstream.WithPrefetch(30))
	Must(t, c.Subscribe(t.Context(), Invoices))
	synctest.Wait()
	Within(t, 0, func() {
		everyCall(t, s, c, nil)
		Must(t, c.Close())
	})
	SameNumbers(t, Loop(t, s.Following(), 300), Numbered(1, 300))
}
