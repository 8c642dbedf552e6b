package pubsub

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// A NAT forgets a quiet connection. New ones work.
func TestADeadConnectionIsTriedAgainBeforeTheReconnectTimeout(t *testing.T) {
	t.Run("pubsub", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := lab.New(t)
			c := s.FollowFromOldest(sfstream.WithReconnectTimeout(2 * time.Minute))
			<-time.After(10 * time.Minute)
			before := len(s.Subscribes(lab.Orders))
			s.Blackhole()
			<-time.After(10 * time.Minute)
			if err := c.Err(); err != nil {
				t.Errorf("the client ended after %d attempts to reconnect: %v", len(s.Subscribes(lab.Orders))-before, err)
			}
		})
	})
}

// A body is slow, and the server does not end a stream without demand: rule 8, "a slow loop body
// costs nothing but time".
func TestASlowBodyIsNoOutage(t *testing.T) {
	t.Run("pubsub", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := lab.New(t, sfstreamtest.WithIdleClose(24*time.Hour))
			c := s.FollowFromOldest(sfstream.WithReconnectTimeout(2*time.Minute), sfstream.WithPrefetch(1))
			s.PublishNext(lab.Orders, 5)
			n := 0
			for range c.Messages(t.Context()) {
				if n++; n == 5 {
					break
				}
				<-time.After(30 * time.Minute)
			}
			if c.Err() != nil || n < 5 {
				t.Errorf("%d messages, %v", n, c.Err())
			}
		})
	})
}

// A handler fails and is to be tried again in an hour. The channel is unsubscribed and followed
// again: nothing is left to wait for.
func TestRunForgetsTheRetriesOfARemovedChannel(t *testing.T) {
	t.Run("pubsub", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := lab.New(t)
			c := s.FollowFromOldest()
			ctx, stop := lab.NewStop(t)
			handled := make(chan string, 100)
			failed := false
			ended := make(chan error)
			go func() {
				ended <- c.Run(ctx, func(_ context.Context, m *sfstream.Message) error {
					if !failed {
						failed = true
						return errors.New("down")
					}
					handled <- m.ID
					return nil
				}, sfstream.OnError(sfstream.Retry(func() backoff.BackOff { return backoff.NewConstantBackOff(time.Hour) })))
			}()
			s.PublishNext(lab.Orders, 2)
			<-time.After(time.Second)
			lab.Must(t, c.Unsubscribe(t.Context(), lab.Orders))
			lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
			s.PublishNext(lab.Orders, 2)
			select {
			case <-handled:
			case <-time.After(30 * time.Minute):
				t.Error("nothing is handled for half an hour: the new subscription waits for the retry of the old one")
			}
			stop()
			lab.Must(t, <-ended)
		})
	})
}

// Prefetch 1 and many workers.
func TestRunWithPrefetchOne(t *testing.T) {
	for _, ack := range []sfstream.AckPolicy{sfstream.AckAuto, sfstream.AckManual, sfstream.AckOnReceive} {
		t.Run("pubsub", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := lab.New(t)
				c := s.FollowFromOldest(sfstream.WithPrefetch(1), sfstream.WithAck(ack))
				s.PublishNext(lab.Orders, 50)
				ctx, stop := lab.NewStop(t)
				var got []string
				lab.Must(t, c.Run(ctx, func(_ context.Context, m *sfstream.Message) error {
					got = append(got, m.ID)
					m.Ack()
					m.Ack()
					if len(got) == 50 {
						stop()
					}
					return nil
				}, sfstream.Workers(32)))
				lab.ExpectIDs(t, got, lab.IDs(1, 50))
				s.ExpectSaved("50")
			})
		})
	}
}
