package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/cluster"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

func TestAChannelHasOneLeader(t *testing.T) {
	for _, api := range []string{"pubsub", "cometd"} {
		t.Run("over/"+api+"/", func(t *testing.T) { inBubble(t, testAChannelHasOneLeader) })
	}
}

func testAChannelHasOneLeader(t *testing.T, w *world) {
	w.start("a", []string{lab.Orders}, nil)
	w.start("b", []string{lab.Orders}, nil)
	w.Pass(10 * time.Second)
	w.publish(lab.Orders, 50)
	if streams, logins := w.Streams(lab.Orders), w.Logins(); streams != 1 || logins != 1 {
		t.Errorf("%d subscriptions and %d logins", streams, logins)
	}
	first := w.leader(lab.Orders)
	first.end()
	w.publish(lab.Orders, 50)
	w.Pass(time.Second)
	if second := w.leader(lab.Orders); second == first {
		t.Error("nobody has taken over")
	}
	w.expectAll(lab.Orders, 0)
}

// The program's rows and the marker are written in one transaction. Leaders are cut off from the
// engine in the middle of it, and each row is there once.
func TestEachRowIsWrittenOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		rows, lost := make(map[string]int), 0
		write := func(ctx context.Context, r *replica, m *sfstream.Message) error {
			<-time.After(50 * time.Millisecond)
			if err := r.wire.pass(ctx); err != nil {
				return err
			}
			step, err := m.Advance(ctx)
			if err != nil {
				return err
			}
			err = w.engine.values.Update(step.Key, func(stored []byte) ([]byte, error) {
				value, err := step.Next(stored)
				if err == nil {
					rows[w.IDOf(m.Channel, m.ReplayID)]++ // the register holds its lock
				}
				return value, err
			})
			<-time.After(60 * time.Millisecond) // a handler always runs when a leader is cut off
			if err == nil && r.wire.pass(ctx) != nil {
				lost++
				return errors.New("the reply is lost")
			}
			if errors.Is(err, replaystore.ErrHandled) {
				return nil
			}
			return err
		}
		again := sfstream.OnError(sfstream.Retry(func() backoff.BackOff { return backoff.NewConstantBackOff(time.Second) }))
		for _, name := range []string{"a", "b", "c"} {
			w.startRun(name, []string{lab.Orders}, write, []sfstream.RunOption{again})
		}
		w.Pass(20 * time.Second)
		for i := range 6 {
			w.publish(lab.Orders, 20+i) // another moment of the handler
			leader := w.leader(lab.Orders)
			leader.wire.setCut(true)
			w.publish(lab.Orders, 150)
			leader.wire.setCut(false)
			w.Pass(15 * time.Second)
		}
		for id, n := range rows {
			if n != 1 {
				t.Errorf("%d rows of %s", n, id)
			}
		}
		if n := w.Published(lab.Orders); len(rows) != n {
			t.Errorf("rows of %d events of %d", len(rows), n)
		}
		if lost == 0 {
			t.Error("no reply was lost")
		}
	})
}

func TestTheEngineIsAway(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start("a", []string{lab.Orders}, nil)
		w.start("b", []string{lab.Orders}, nil)
		w.Pass(10 * time.Second)
		w.publish(lab.Orders, 20)
		w.engine.setAway(true)
		gone := time.Now()
		w.publish(lab.Orders, 300)
		w.engine.setAway(false)
		back := time.Now()
		w.publish(lab.Orders, 20)
		w.Pass(2 * time.Second)
		w.expectAll(lab.Orders, 110) // what was handed out within the lease and not saved
		var first time.Time
		for _, h := range w.handedOut() {
			if h.began.Before(back) && h.began.Sub(gone) > 10*time.Second {
				t.Errorf("%s was handed out %s after the engine had gone", h.id, h.began.Sub(gone))
			}
			if first.IsZero() && !h.began.Before(back) {
				first = h.began
			}
		}
		if took := first.Sub(back); first.IsZero() || took > 2*time.Second {
			t.Errorf("delivery went on %s after the return of the engine", took)
		}
	})
}

func TestAKeyThatIsLostIsPutAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start("a", []string{lab.Orders}, nil)
		w.start("b", []string{lab.Orders}, nil)
		w.Pass(10 * time.Second)
		w.publish(lab.Orders, 20)
		leader := w.leader(lab.Orders)
		w.Pass(2 * time.Second)
		key, _ := w.Key(lab.APIOf(t), lab.Orders).MarshalText()
		w.Must(w.engine.values.Delete(t.Context(), string(key)))
		w.Pass(10 * time.Second)
		if w.leader(lab.Orders) != leader {
			t.Error("another replica leads")
		}
		var entry replaystore.Entry
		value, _, err := w.engine.Get(t.Context(), string(key))
		w.Must(err)
		w.Must(entry.UnmarshalBinary(value))
		if id := w.IDOf(lab.Orders, entry.Marker.ReplayID); id != "20" {
			t.Errorf("the marker is at %q", id)
		}
	})
}

// The leader dies, and the engine loses the key: a standby puts it again with the marker that it has
// read last.
func TestAStandbyPutsALostKeyAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start("a", []string{lab.Orders}, nil)
		w.Pass(10 * time.Second)
		w.start("b", []string{lab.Orders}, nil)
		w.publish(lab.Orders, 50)
		w.leader(lab.Orders).wire.setCut(true)
		key, _ := w.Key(lab.APIOf(t), lab.Orders).MarshalText()
		w.Must(w.engine.values.Delete(t.Context(), string(key)))
		w.Pass(8 * time.Second)
		w.PublishNext(lab.Orders, 5)
		w.expectShares(1, 0)
		w.Pass(5 * time.Second)
		w.expectShares(0, 1)
		w.expectAll(lab.Orders, 40) // of the last two polls, and what the old one has handed out since
		if n := len(w.Log.Warnings("had lost a value")); n != 1 {
			t.Errorf("%d warnings", n)
		}
	})
}

// The leader dies during an outage of the engine that is longer than the lease: a standby leads
// within two seconds of the engine's return.
func TestALeaderDiesWhileTheEngineIsAway(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start("a", []string{lab.Orders}, nil)
		w.Pass(10 * time.Second)
		w.start("b", []string{lab.Orders}, nil)
		w.publish(lab.Orders, 50)
		w.leader(lab.Orders).wire.setCut(true)
		w.Pass(2 * time.Second) // the standby sees its last put
		w.engine.setAway(true)
		w.Pass(30 * time.Second)
		w.engine.setAway(false)
		w.Pass(2 * time.Second)
		w.expectShares(0, 1)
	})
}

func TestWhatWouldActAtEveryTakeoverIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		_, err := cluster.New(w.newClient, []string{"Orders"}, w.engine)
		lab.Contains(t, fmt.Sprint(err), "managed subscription")
		ctx, stop := context.WithCancel(t.Context())
		r, err := cluster.New(w.newClient, []string{lab.Orders}, w.engine)
		w.Must(err)
		var told []error
		w.Must(r.Lead(ctx, func(ctx context.Context, c *sfstream.Client, channel string) error {
			told = append(told,
				c.Subscribe(ctx, lab.Invoices, sfstream.From(sfstream.ReplayAll)),
				c.SubscribeManaged(ctx, "Orders"),
				c.Subscribe(ctx, lab.Invoices))
			stop()
			<-ctx.Done()
			return nil
		}))
		for i, want := range []string{"takes the channel over", "a client of its own", "leads " + lab.Orders} {
			if len(told) != 3 || told[i] == nil || !strings.Contains(told[i].Error(), want) {
				t.Errorf("%v does not say %q", told, want)
			}
		}
	})
}

func TestAClientWithAnotherStoreIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		err := cluster.Run(t.Context(), func(opts ...sfstream.Option) (*sfstream.Client, error) {
			return w.newClient(append(opts, sfstream.WithReplayStore(replaystore.NewMemory()))...)
		}, []string{lab.Orders}, w.engine, func(context.Context, *sfstream.Message) error { return nil })
		if !errors.Is(err, sfstream.ErrInvalidOption) || !strings.Contains(err.Error(), "newClient") {
			t.Errorf("got %v", err)
		}
	})
}

func TestARefusedLoginEndsIt(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.FailLogin(1, "invalid_grant")
		err := cluster.Run(t.Context(), w.newClient, []string{lab.Orders}, w.engine, func(context.Context, *sfstream.Message) error { return nil })
		lab.ExpectError[*sfstream.AuthError](t, err)
	})
}

// A replica that has begun is not ended by a function that makes no client, nor by a login that is
// refused. It tries again soon, or so seldom that no account is locked.
func TestAClientThatCannotBeMadeIsMadeLater(t *testing.T) {
	for name, test := range map[string]struct {
		refused  bool // by Salesforce, else newClient fails
		failures int32
		within   time.Duration
	}{
		"newClient fails":          {false, 4, 8 * time.Second},
		"newClient fails for long": {false, 30, 26 * time.Minute},
		"the login is refused":     {true, 5, 55 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				var calls atomic.Int32
				r, err := cluster.New(func(opts ...sfstream.Option) (*sfstream.Client, error) {
					switch n := calls.Add(1); {
					case n == 1 || n > 1+test.failures:
					case test.refused:
						w.login = authenticator.NewCache(w.Authenticator())
						w.FailLogin(1, "invalid_grant")
					default:
						return nil, errors.New("no secret to be read")
					}
					return w.newClient(opts...)
				}, w.channels(2), w.engine)
				w.Must(err)
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- r.Run(ctx, func(context.Context, *sfstream.Message) error { return nil }) }()
				leads := func() int { return len((&replica{Replica: r}).leads()) }
				w.Pass(11 * time.Second)
				if n := leads(); n != 1 {
					t.Errorf("it leads %d channels with one client", n)
				}
				if test.refused {
					w.Pass(10 * time.Minute)
					if n := calls.Load() - 1; n > 5 {
						t.Errorf("%d logins were refused in 10 minutes", n)
					}
				}
				w.Pass(test.within)
				if n := leads(); n != 2 {
					t.Errorf("it leads %d channels after %d calls", n, calls.Load())
				}
				stop()
				w.Must(<-done)
			})
		})
	}
}

// What the program's function returns ends Lead, after the channels are handed over.
func TestLeadEndsWithWhatItsFunctionReturns(t *testing.T) {
	for _, want := range []error{nil, errors.New("done")} {
		inBubble(t, func(t *testing.T, w *world) {
			r, err := cluster.New(w.newClient, w.channels(2), w.engine)
			w.Must(err)
			got := r.Lead(t.Context(), func(ctx context.Context, c *sfstream.Client, channel string) error {
				<-time.After(time.Minute)
				return want
			})
			if got != want {
				t.Errorf("got %v, want %v", got, want)
			}
			if err := r.Lead(t.Context(), func(context.Context, *sfstream.Client, string) error { return nil }); !errors.Is(err, sfstream.ErrInvalidOption) {
				t.Errorf("a second time: %v", err)
			}
			again := w.start("again", []string{"/event/Shared0__e", "/event/Shared1__e"}, nil)
			w.Pass(4 * time.Second)
			if n := len(again.leads()); n != 2 {
				t.Errorf("%d channels are free", n)
			}
		})
	}
}

func TestOptionsHaveBounds(t *testing.T) {
	for name, opt := range map[string]cluster.Option{
		"no name":          cluster.WithName(""),
		"a long name":      cluster.WithName(strings.Repeat("x", 129)),
		"a long prefix":    cluster.WithPrefix(strings.Repeat("x", 129)),
		"a short lease":    cluster.WithLease(999 * time.Millisecond),
		"a long lease":     cluster.WithLease(5*time.Minute + 1),
		"a short interval": cluster.WithSaveInterval(9 * time.Millisecond),
		"a long interval":  cluster.WithSaveInterval(4 * time.Second),
	} {
		_, err := cluster.New(func(...sfstream.Option) (*sfstream.Client, error) { return nil, nil }, []string{lab.Orders}, newEngine(), opt)
		if !errors.Is(err, sfstream.ErrInvalidOption) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
