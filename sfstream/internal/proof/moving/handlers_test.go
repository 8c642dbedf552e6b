package moving

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// What decorators and listeners of others declare, a Mux does.
func TestHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		org := newOrg(t)
		ids := publish(t, org, 1, 2, 3)
		client := open(t, org, sfstream.WithReplay(sfstream.ReplayAll))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		type Order struct {
			Number string `sf:"Number__c"`
		}
		var typed, all, logged, letters []string
		started := false

		mux := sfstream.NewMux()
		mux.OnStart(func(ctx context.Context, client *sfstream.Client) error {
			started = true
			return nil
		})
		handleOrder := func(ctx context.Context, order Order, msg *sfstream.Message) error {
			typed = append(typed, order.Number)
			if order.Number == "A-2" {
				return errors.New("nobody knows it")
			}
			return nil
		}
		sfstream.On(mux, "/event/Order__e", handleOrder)
		handle := func(ctx context.Context, msg *sfstream.Message) error {
			all = append(all, msg.Channel)
			if slices.Equal(msg.ReplayID, ids[2]) {
				cancel()
			}
			return nil
		}
		mux.Handle("/event/Order__e", handle)
		mux.Handle("/topic/Accounts", handle)
		mux.Use(func(next sfstream.Handler) sfstream.Handler {
			return func(ctx context.Context, msg *sfstream.Message) error {
				logged = append(logged, msg.Key())
				return next(ctx, msg)
			}
		})
		keep := func(ctx context.Context, msg *sfstream.Message, err error) error {
			letters = append(letters, err.Error())
			return nil
		}
		mux.Use(sfstream.LogHandled(slog.New(slog.DiscardHandler)), sfstream.DeadLetter(keep), sfstream.HandlerTimeout(time.Minute), sfstream.Recover())
		lab.Must(t, client.Serve(ctx, mux, sfstream.Workers(1)))

		expect(t, "typed", typed, []string{"A-1", "A-2", "A-3"})
		expect(t, "all", all, []string{orders, orders, orders})
		expect(t, "dead letters", letters, []string{"nobody knows it"})
		expect(t, "middleware around each of two handlers", len(logged), 6)
		expect(t, "OnStart called", started, true)
	})
}

// Run is one handler for all channels; workers keep the order of each key.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		org := newOrg(t)
		client := open(t, org, sfstream.WithReplay(sfstream.ReplayAll))
		publish(t, org, 1, 2, 3)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		lab.Must(t, client.Subscribe(ctx, orders))
		tries, skipped := 0, 0
		policy := func() backoff.BackOff { return backoff.WithMaxRetries(backoff.NewConstantBackOff(time.Millisecond), 2) }
		handle := func(ctx context.Context, msg *sfstream.Message) error {
			tries++
			return errors.New("the database is away")
		}
		report := func(msg *sfstream.Message, err error) {
			if skipped++; skipped == 3 {
				cancel()
			}
		}
		byChannel := func(msg *sfstream.Message) string { return msg.Channel }
		lab.Must(t, client.Run(ctx, handle, sfstream.Workers(8), sfstream.OrderBy(byChannel), sfstream.OnError(sfstream.Retry(policy), sfstream.Skip(report))))
		expect(t, "tries", tries, 9)
	})
}
