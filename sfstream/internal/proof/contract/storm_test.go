package contract

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// stormRules prove that all calls may be made by anybody at any time. The race detector looks on.
func stormRules() []rule {
	return []rule{
		{number: 12, words: "a storm of all calls", run: storm},
		{number: 12, words: "a storm of all calls under AckManual", run: stormUnderAckManual},
		{number: 12, words: "Subscribe whose ctx ends beside Unsubscribe", run: subscribeBesideUnsubscribe},
	}
}

func storm(t *testing.T) { stormOfCalls(t) }

func stormUnderAckManual(t *testing.T) { stormOfCalls(t, sfstream.WithAck(sfstream.AckManual)) }

// stormOfCalls makes every call of the client on several goroutines, each with a ctx of its own
// that may end in the middle, while events come and connections break, until Close.
func stormOfCalls(t *testing.T, opts ...sfstream.Option) {
	s := lab.New(t)
	c := s.StartFromOldest(opts...)
	channels := []string{lab.Orders, lab.Invoices}
	calls := []func(ctx context.Context, channel string){
		func(ctx context.Context, channel string) { _ = c.Subscribe(ctx, channel) },
		func(ctx context.Context, channel string) { _ = c.Unsubscribe(ctx, channel) },
		func(ctx context.Context, _ string) {
			for m := range c.Messages(ctx) {
				m.Ack()
			}
		},
		func(ctx context.Context, _ string) {
			for m, err := range c.MessagesErr(ctx) {
				if err == nil && m.Clone() != nil {
					break // and it comes again
				}
			}
		},
		func(ctx context.Context, _ string) {
			if m, err := c.Receive(ctx); err == nil {
				go m.Ack() // as the calls do not wait for it, the bubble does
			}
		},
		func(ctx context.Context, _ string) {
			for m := range c.C(ctx) {
				m.Ack()
			}
		},
		func(ctx context.Context, _ string) {
			_ = c.Run(ctx, func(context.Context, *sfstream.Message) error { return nil }, sfstream.Workers(2))
		},
		func(ctx context.Context, _ string) {
			for tx := range c.Transactions(ctx, time.Second) {
				_ = tx
			}
		},
		func(context.Context, string) { _, _, _ = c.Status(), c.Pending(), c.Subscriptions() },
		func(context.Context, string) { _ = c.Err() },
		func(_ context.Context, channel string) { s.PublishNext(channel, 3) },
		func(context.Context, string) { s.DropConnections() },
	}
	var callers sync.WaitGroup
	closing := make(chan struct{})
	for n := range 12 {
		callers.Go(func() { // until Close
			random := rand.New(rand.NewPCG(1, uint64(n)))
			for {
				select {
				case <-closing:
					return
				default:
				}
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(random.IntN(int(2*time.Second))))
				calls[random.IntN(len(calls))](ctx, channels[random.IntN(len(channels))])
				cancel()
				<-time.After(time.Duration(random.IntN(int(10 * time.Millisecond))))
			}
		})
	}
	<-time.After(20 * time.Second)
	lab.Must(t, c.Err())
	lab.Must(t, c.Close())
	close(closing)
	callers.Wait()
	if err := c.Subscribe(t.Context(), lab.Orders); !errors.Is(err, sfstream.ErrClosed) {
		t.Errorf("after Close: got %v, want ErrClosed", err)
	}
}

// subscribeBesideUnsubscribe ends the ctx of a Subscribe and the subscription in the same moment.
func subscribeBesideUnsubscribe(t *testing.T) {
	s := lab.New(t)
	c := s.StartFromOldest()
	for range 200 {
		failSubscribe(t, s.Server, 1, "UNAVAILABLE")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		var calls sync.WaitGroup
		for range 3 {
			calls.Go(func() {
				<-ctx.Done()
				_ = c.Unsubscribe(t.Context(), lab.Orders)
			})
		}
		_ = c.Subscribe(ctx, lab.Orders)
		calls.Wait()
		_ = c.Unsubscribe(t.Context(), lab.Orders)
		cancel()
	}
	s.ClearFaults()
	lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
	s.PublishNext(lab.Orders, 1)
	lab.ExpectID(t, c, "1")
}
