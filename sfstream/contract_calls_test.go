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
	s := newScene(t)
	c, err := sfstream.New(hangingAuth{}, sfstream.WithOrg(s))
	must(t, err)
	endsWith(t, c.Open)
	must(t, c.Close())

	s.FailLogin(1, "timeout")
	c, err = sfstream.New(s.Authenticator(), sfstream.WithOrg(s))
	must(t, err)
	endsWith(t, c.Open)
	must(t, c.Open(t.Context())) // the same client
	must(t, c.Close())
}

func subscribeEnds(t *testing.T) {
	for name, hold := range map[string]func(s *scene){
		"in Load": func(s *scene) {
			s.store.mu.Lock()
			s.store.loading = hang
			s.store.mu.Unlock()
		},
		"in a login": func(s *scene) { s.ExpireToken(); s.FailLogin(-1, "timeout") },
		"in the request": func(s *scene) {
			s.Blackhole()
			s.FailCometD(sfstreamtest.CometDFault{Kind: "subscribe", Times: -1, NoAnswer: true})
		},
		"between attempts":   func(s *scene) { failSubscribe(t, s.Server, -1, "UNAVAILABLE") },
		"without connection": func(s *scene) { s.Refuse(true); s.DropConnections() },
	} {
		s := newScene(t)
		s.publish(orders, 1)
		c := s.client()
		must(t, c.Subscribe(t.Context(), invoices)) // there is a connection
		synctest.Wait()
		hold(s)
		t.Log(name)
		endsWith(t, func(ctx context.Context) error { return c.Subscribe(ctx, orders) })
		must(t, c.Err())
		s.ClearFaults()
		s.Refuse(false)
		s.store.mu.Lock()
		s.store.loading = nil
		s.store.mu.Unlock()
		s.DropConnections()
		must(t, c.Subscribe(t.Context(), orders))
		nextIs(t, c, "1")
		must(t, c.Close())
	}
}

func unsubscribeWhileLoading(t *testing.T) {
	s := newScene(t)
	c := s.client()
	loaded := make(chan struct{})
	s.store.mu.Lock()
	s.store.loading = func(context.Context) error { <-loaded; return nil }
	s.store.mu.Unlock()
	result := make(chan error, 1)
	go func() { result <- c.Subscribe(t.Context(), orders) }() // ends with what is received below
	synctest.Wait()
	must(t, c.Unsubscribe(t.Context(), orders))
	close(loaded)
	if err := <-result; err == nil {
		t.Error("Subscribe has no error")
	}
	synctest.Wait()
	if calls := s.Subscribes(orders); len(calls) > 0 {
		t.Errorf("subscribed: %+v", calls)
	}
	must(t, c.Subscribe(t.Context(), orders))
	s.publish(orders, 1)
	nextIs(t, c, "1")
}

// subscribeLeavesNothing ends the ctx of a Subscribe at every moment of it: either
// it succeeds and the channel is followed, or it fails and leaves nothing.
func subscribeLeavesNothing(t *testing.T) {
	s := newScene(t)
	c := s.client()
	successes, failures := 0, 0
	for round := range 300 {
		ctx, stop := newStop(t)
		go func() {
			for range (round * 7) % 400 {
				runtime.Gosched()
			}
			stop()
		}()
		before := s.store.marker(s.Account().OrgID, orders)
		err := c.Subscribe(ctx, orders, sfstream.From(sfstream.ReplaySince(time.Now().Add(time.Duration(round)-time.Hour))))
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
			if n := s.Streams(orders); n != 0 {
				t.Fatalf("round %d: a stream is open after %v", round, err)
			}
			<-time.After(time.Second)
			if after := s.store.marker(s.Account().OrgID, orders); !after.Live.Equal(before.Live) || string(after.ReplayID) != string(before.ReplayID) {
				t.Fatalf("round %d: a failed Subscribe has changed the marker from %v to %v", round, before, after)
			}
			continue
		}
		successes++
		s.publish(orders, 1)
		m, err := c.Receive(t.Context())
		must(t, err)
		m.Ack()
		must(t, c.Unsubscribe(t.Context(), orders))
	}
	t.Logf("%d successes, %d failures", successes, failures)
}

// unsubscribeEnds: a hook that blocks holds the link up, against its contract.
func unsubscribeEnds(t *testing.T) {
	s := newScene(t)
	s.publish(orders, 2)
	release := make(chan struct{})
	c := s.following(sfstream.WithReplayFallback(sfstream.FallbackAll), sfstream.WithHooks(sfstream.Hooks{
		OnGap: func(sfstream.Gap) { <-release },
	}))
	loop(t, c, 1)
	synctest.Wait() // a request is under way
	s.Reject(orders, 1, "subscription.fetch.replayid.corrupted")
	s.DropConnections()
	<-time.After(time.Minute)
	endsWith(t, func(ctx context.Context) error { return c.Unsubscribe(ctx, orders) })
	close(release)
	synctest.Wait()
	must(t, c.Subscribe(t.Context(), orders))
	nextIs(t, c, "2")
}

func receiveEnds(t *testing.T) {
	s := newScene(t)
	c := s.following()
	receive := func(ctx context.Context) error { _, err := c.Receive(ctx); return err }
	endsWith(t, receive)
	s.publish(orders, 2)
	for range c.Messages(t.Context()) { // waiting for its turn
		endsWith(t, receive)
		break
	}
	nextIs(t, c, "1")
}

func messagesEnd(t *testing.T) {
	s := newScene(t)
	c := s.following()
	endsWith(t, func(ctx context.Context) error {
		for m, err := range c.MessagesErr(ctx) {
			t.Errorf("got %v, %v", m, err)
		}
		return ctx.Err()
	})
	s.publish(orders, 1)
	nextIs(t, c, "1")
}

func cEnds(t *testing.T) {
	s := newScene(t)
	c := s.following()
	drain := func(ctx context.Context) error {
		for m := range c.C(ctx) {
			t.Errorf("got %s", m.ID)
		}
		return ctx.Err()
	}
	endsWith(t, drain)
	s.publish(orders, 1)
	for range c.Messages(t.Context()) { // waiting for its turn
		endsWith(t, drain)
		break
	}
	nextIs(t, c, "1")
}

func endedTakesNothing(t *testing.T) {
	s := newScene(t)
	s.publish(orders, 1)
	c := s.following()
	synctest.Wait()
	ended, stop := newStop(t)
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
	nextIs(t, c, "1")
}

// everyCall is Subscribe, Unsubscribe and Ack while nothing else fits in.
func everyCall(t *testing.T, s *scene, c *sfstream.Client, m *sfstream.Message) {
	t.Helper()
	if m != nil {
		m.Ack()
		m.Ack()
	}
	for _, channel := range []string{orders, invoices} {
		must(t, c.Unsubscribe(t.Context(), channel))
		must(t, c.Subscribe(t.Context(), channel))
		synctest.Wait()
	}
}

func callsInBody(t *testing.T) {
	for _, policy := range []sfstream.AckPolicy{sfstream.AckAuto, sfstream.AckOnReceive, sfstream.AckManual} {
		s := newScene(t)
		s.publish(orders, 300)
		s.publish(invoices, 300)
		c := s.following(sfstream.WithAck(policy), sfstream.WithPrefetch(30))
		must(t, c.Subscribe(t.Context(), invoices))
		var got []string
		for m := range c.Messages(t.Context()) {
			synctest.Wait() // all is full
			if m.Channel == orders {
				got = append(got, m.ID)
			}
			within(t, 0, func() { everyCall(t, s, c, m) })
			if len(got) == 3 {
				within(t, 0, func() { must(t, c.Close()) })
			}
		}
		sameNumbers(t, got, numbered(1, 3))
	}
}

func callsBeforeLoop(t *testing.T) {
	s := newScene(t)
	s.publish(orders, 300)
	s.publish(invoices, 300)
	c := s.following(sfstream.WithPrefetch(30))
	must(t, c.Subscribe(t.Context(), invoices))
	synctest.Wait()
	within(t, 0, func() {
		everyCall(t, s, c, nil)
		must(t, c.Close())
	})
	sameNumbers(t, loop(t, s.following(), 300), numbered(1, 300))
}
