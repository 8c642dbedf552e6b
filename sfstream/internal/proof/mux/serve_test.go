package mux

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

func nothing(context.Context, *sfstream.Message) error { return nil }

func expectSubscriptions(t *testing.T, c *sfstream.Client, want ...string) {
	t.Helper()
	if got := c.Subscriptions(); !slices.Equal(got, want) {
		t.Errorf("subscribed to %v, want %v", got, want)
	}
}

func TestServeOpensStartsAndSubscribes(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		var did calls
		mux := sfstream.NewMux()
		mux.Handle(lab.Orders, nothing)
		for _, name := range []string{"first", "second"} {
			mux.OnStart(func(_ context.Context, c *sfstream.Client) error {
				did.add(strings.Join(append(c.Subscriptions(), name), " "))
				return c.Err() // nil: it is open
			})
		}
		c := l.NewClient()
		time.AfterFunc(time.Second, func() { expectSubscriptions(t, c, lab.Orders) })
		l.Must(serveFor(t, c, awhile, mux))
		did.expect(t, "first", "second")

		// Again, on the client as it is now: what is subscribed stays as it is.
		l.Must(serveFor(t, c, awhile, mux))
		did.expect(t, lab.Orders+" first", lab.Orders+" second")
		if n := l.Log.Count(`msg=subscribing`); n != 1 {
			t.Errorf("subscribed %d times", n)
		}
	})
}

// All mistakes are told at once, before anything is done.
func TestServeTellsMistakesBeforeItDoesAnything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		c := l.NewClient()
		mux := sfstream.NewMux()
		mux.Handle("Order__e", nothing)
		mux.Handle(lab.Orders, nil)
		sfstream.On[order](mux, lab.Invoices, nil)
		mux.Handle("/topic/Filtered?A='1'", nothing, sfstream.Via(sfstream.PubSub))
		mux.Handle("/topic/Filtered?A='2'", nothing)
		mux.Handle("/topic/Bare", nothing)
		mux.Handle("/topic/Bare?A='1'", nothing)
		mux.Handle("/event/Starts__e", nothing, sfstream.From(sfstream.ReplayAll), sfstream.Via(sfstream.CometD))
		mux.Handle("/event/Starts__e", nothing, sfstream.From(sfstream.ReplayNew), sfstream.Via(sfstream.PubSub))
		mux.Handle("/event/Empty__e", nothing, sfstream.From(sfstream.ReplayAfter(nil)), nil)
		mux.HandleDefault(nil)
		mux.HandleDefault(nothing)
		mux.HandleDefault(nothing)
		mux.Use(nil, sfstream.LogHandled(nil), sfstream.DeadLetter(nil), sfstream.HandlerTimeout(0))
		mux.Use(func(sfstream.Handler) sfstream.Handler { return nil })
		mux.OnStart(nil)
		mux.OnStartOnce("thing", 1, nil)
		mux.Mistake(nil)
		mux.Mistake(errors.New("there is no such planet"))
		mux.OnStart(func(context.Context, *sfstream.Client) error { t.Error("started"); return nil })
		err := c.Serve(t.Context(), mux, sfstream.Workers(0), sfstream.DrainTimeout(-1))
		if !errors.Is(err, sfstream.ErrInvalidOption) || strings.Contains(err.Error(), "\n") {
			t.Fatalf("got %v", err)
		}
		for _, want := range []string{
			"Workers: 0", "DrainTimeout: -1ns", `"Order__e": want /event/`, "Handle " + lab.Orders + ": no handler", "Handle " + lab.Invoices + ": no handler",
			`Via: channel "/topic/Filtered?A='1'"`, "Handle /topic/Filtered?A='2': there are handlers of /topic/Filtered?A='1'",
			"Handle /topic/Bare?A='1': there are handlers of /topic/Bare,",
			"Handle /event/Starts__e: From: ", "(all and new)", "Handle /event/Starts__e: Via: ",
			"ReplayAfter needs a replay id (Handle /event/Empty__e)", "Handle /event/Empty__e: an option is nil",
			"HandleDefault: no handler", "HandleDefault: there is one", "Use: a middleware is nil", "Use: a middleware returns no handler", "OnStart: nil",
			"OnStartOnce: nil", "Mistake: nil", sfstream.ErrInvalidOption.Error() + ": there is no such planet",
		} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q is not told", want)
			}
		}
		if n := strings.Count(err.Error(), "Use: a middleware is nil"); n != 4 {
			t.Errorf("%d of 4 are told", n)
		}
		if !errors.Is(c.Err(), sfstream.ErrNotOpen) || l.Logins() > 0 {
			t.Error("it has logged in")
		}
		for _, mux := range []*sfstream.Mux{nil, sfstream.NewMux()} {
			if err := c.Serve(t.Context(), mux); !errors.Is(err, sfstream.ErrInvalidOption) {
				t.Errorf("mux %v: got %v", mux, err)
			}
		}
	})
}

// Options that say the same, or different things, of one channel go together.
func TestTheOptionsOfAChannelAreThoseOfAllItsHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		l.PublishOrders(1)
		l.PublishNumbers(lab.Invoices, 2)
		var did calls
		note := func(_ context.Context, m *sfstream.Message) error { did.add(m.Channel); return nil }
		mux := sfstream.NewMux()
		mux.Handle(lab.Orders, note, sfstream.From(sfstream.ReplayAll))
		mux.Handle(lab.Orders, note, sfstream.Via(sfstream.CometD), sfstream.From(sfstream.ReplayAll))
		mux.Handle(lab.Orders, note)
		mux.Handle(lab.Invoices, note) // from new events on
		c := l.NewClient()
		l.Must(serveFor(t, c, awhile, mux))
		did.expect(t, lab.Orders, lab.Orders, lab.Orders)
		if l.Sessions() != 1 {
			t.Errorf("%d sessions of the Streaming API", l.Sessions())
		}
	})
}

func TestAnOnStartThatFailsEndsServe(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		errStart := errors.New("not declared")
		fail := true
		var did calls
		mux := sfstream.NewMux()
		mux.Handle(lab.Orders, did.handler("order", nil))
		mux.OnStart(func(context.Context, *sfstream.Client) error { did.add("start"); return nil })
		mux.OnStart(func(context.Context, *sfstream.Client) error {
			if fail {
				return errStart
			}
			return nil
		})
		mux.OnStart(func(context.Context, *sfstream.Client) error { did.add("last"); return nil })
		c := l.NewClient(sfstream.WithReplay(sfstream.ReplayAll))
		err := c.Serve(t.Context(), mux)
		if !errors.Is(err, errStart) || !strings.Contains(err.Error(), "OnStart (function 2 of 3)") {
			t.Errorf("got %v", err)
		}
		did.expect(t, "start")
		expectSubscriptions(t, c)
		l.PublishNext(lab.Orders, 1)
		fail = false
		l.Must(serveFor(t, c, awhile, mux))
		did.expect(t, "start", "last", "order 1")
	})
}

// The end of ctx is no error, wherever Serve is then, and it leaves nothing subscribed that was not.
func TestTheEndOfCtxEndsTheStartToo(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		ended := errors.New("the cause")
		for _, test := range []struct {
			name  string
			start func(ctx context.Context, end func()) error
		}{
			{"and OnStart returns its error", func(ctx context.Context, end func()) error { end(); return ctx.Err() }},
			{"and OnStart returns its cause", func(ctx context.Context, end func()) error { end(); return context.Cause(ctx) }},
			{"and OnStart returns nil", func(_ context.Context, end func()) error { end(); return nil }},
			{"and OnStart waits", func(ctx context.Context, end func()) error {
				time.AfterFunc(time.Second, end)
				<-ctx.Done()
				return ctx.Err()
			}},
		} {
			ctx, cancel := context.WithCancelCause(t.Context())
			mux := sfstream.NewMux()
			mux.OnStart(func(ctx context.Context, c *sfstream.Client) error {
				return test.start(ctx, func() { cancel(ended) })
			})
			mux.OnStart(func(context.Context, *sfstream.Client) error {
				t.Errorf("%s: the next one is called", test.name)
				return nil
			})
			mux.Handle(lab.Orders, nothing)
			c := l.NewClient()
			if err := c.Serve(ctx, mux); err != nil {
				t.Errorf("%s: got %v", test.name, err)
			}
			expectSubscriptions(t, c)
			l.Must(c.Close())
		}

		// An error of another kind is told.
		ctx, cancel := context.WithCancelCause(t.Context())
		mux := sfstream.NewMux()
		mux.Handle(lab.Orders, nothing)
		mux.OnStart(func(context.Context, *sfstream.Client) error { cancel(ended); return errHandler })
		c := l.NewClient()
		if err := c.Serve(ctx, mux); !errors.Is(err, errHandler) {
			t.Errorf("got %v", err)
		}
		// Nothing begins where it has ended before.
		l.Must(c.Serve(ctx, mux))
		l.Must(l.NewClient().Serve(ctx, mux))
	})
}

// ctx ends while the second of two channels is subscribed.
func TestTheEndOfCtxWhileSubscribing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		mux := sfstream.NewMux()
		mux.Handle(lab.Orders, nothing)
		mux.Handle(lab.Invoices, nothing)
		c := l.NewClient(sfstream.WithHooks(sfstream.Hooks{OnState: func(channel string, state sfstream.State, _ error) {
			if state == sfstream.StateLive {
				l.FailGetTopic(-1, "UNAVAILABLE")
			}
		}}))
		l.Must(serveFor(t, c, 5*time.Second, mux))
		if l.Log.Count("channel="+lab.Invoices) == 0 {
			t.Error("the second channel is not subscribed at all")
		}
		if warned := l.Log.Warnings("Serve has not"); len(warned) > 0 {
			t.Error(warned)
		}
		expectSubscriptions(t, c)
	})
}

// What Serve had subscribed, and the program has unsubscribed since, is the program's own.
func TestAServeThatFailsLeavesWhatTheProgramHasTakenOver(t *testing.T) {
	for _, want := range [][]string{{lab.Orders}, nil} {
		synctest.Test(t, func(t *testing.T) {
			l := lab.New(t)
			l.FailCometD(sfstreamtest.CometDFault{Kind: "subscribe", Channel: lab.Invoices, Times: -1, Error: "403::Subscribe denied", FailureReason: "503::Server is too busy."})
			mux := sfstream.NewMux()
			mux.Handle(lab.Orders, nothing)
			mux.Handle(lab.Invoices, nothing, sfstream.Via(sfstream.CometD))
			c := l.NewClient()
			time.AfterFunc(time.Second, func() {
				l.Must(c.Unsubscribe(t.Context(), lab.Orders))
				for _, channel := range want {
					l.Must(c.Subscribe(t.Context(), channel))
				}
			})
			l.Must(serveFor(t, c, 5*time.Second, mux))
			expectSubscriptions(t, c, want...)
			if warned := l.Log.Warnings("Serve has not"); len(warned) > 0 {
				t.Error(warned)
			}
		})
	}
}

// A Serve that ends before it runs has asked for no message: the one before is not handled by that.
func TestAServeThatDoesNotRunSettlesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		l.PublishNext(lab.Orders, 1)
		mux := sfstream.NewMux()
		mux.Handle(lab.Invoices, nothing)
		c := l.FollowFromOldest()
		lab.Receive(t, c)
		failSubscribes(t, l)
		l.Must(serveFor(t, c, 5*time.Second, mux))
		l.ExpectSaved("")
	})
}

// A Subscribe that fails leaves the program's own subscriptions and no other, and what is published
// before the next Serve is not lost.
func TestASubscribeThatFailsLeavesNothingBehind(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		var did calls
		mux := sfstream.NewMux()
		mux.Handle(lab.Orders, did.handler("order", nil))
		mux.Handle(lab.Invoices, did.handler("invoice", nil))
		mux.Handle("/event/Late__e", did.handler("late", nil))
		c := l.Start()
		l.Subscribe(lab.Invoices)
		err := c.Serve(t.Context(), mux)
		if e := lab.ExpectError[*sfstream.ServerError](t, err); e.Channel != "/event/Late__e" {
			t.Errorf("got %v", err)
		}
		expectSubscriptions(t, c, lab.Invoices)
		l.PublishNext(lab.Orders, 1)
		l.Define("/event/Late__e")
		l.Must(serveFor(t, c, awhile, mux))
		did.expect(t, "order 1")
		expectSubscriptions(t, c, lab.Invoices, "/event/Late__e", lab.Orders)
	})
}

// failSubscribes makes each Subscribe fail in a way that may pass, until ClearFaults.
func failSubscribes(t *testing.T, l *lab.Lab) {
	if sfstream.CometD == lab.TransportOf(t) {
		l.FailCometD(sfstreamtest.CometDFault{Kind: "subscribe", Times: -1, Error: "403::Subscribe denied", FailureReason: "503::Server is too busy. Please try your request again later."})
	} else {
		l.FailGetTopic(-1, "UNAVAILABLE")
	}
}

// A channel that somebody else is just subscribing, or unsubscribing, is not taken for subscribed.
func TestServeWaitsForASubscribeUnderWay(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		mux := sfstream.NewMux()
		mux.Handle(lab.Orders, nothing)
		c := l.Start(sfstream.WithBackOff(every(time.Second, 100))) // the default wait may be longer than the test
		for _, succeeds := range []bool{false, true} {
			failSubscribes(t, l)
			var others sync.WaitGroup
			others.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				if succeeds {
					ctx, cancel = t.Context(), func() {}
				}
				defer cancel()
				if err := c.Subscribe(ctx, lab.Orders); (err == nil) != succeeds {
					t.Errorf("the other Subscribe: %v", err)
				}
			})
			synctest.Wait() // it has begun
			time.AfterFunc(3*time.Second, l.ClearFaults)
			time.AfterFunc(15*time.Second, func() { expectSubscriptions(t, c, lab.Orders) })
			l.Must(serveFor(t, c, awhile, mux))
			others.Wait()
			others.Go(func() { l.Must(c.Unsubscribe(t.Context(), lab.Orders)) })
			l.Must(serveFor(t, c, awhile, mux))
			others.Wait()
			_ = c.Unsubscribe(t.Context(), lab.Orders)
		}
	})
}

func TestServeOnAClientThatIsClosed(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		mux := sfstream.NewMux()
		mux.Handle(lab.Orders, nothing)
		c := l.Start()
		l.Must(c.Close())
		if err := c.Serve(t.Context(), mux); !errors.Is(err, sfstream.ErrClosed) {
			t.Errorf("closed before: got %v", err)
		}
		c = l.Start()
		mux.OnStart(func(_ context.Context, c *sfstream.Client) error { return c.Close() })
		l.Must(c.Serve(t.Context(), mux)) // as Run
		c = l.NewClient()
		closing := sfstream.NewMux()
		closing.Handle(lab.Orders, nothing)
		time.AfterFunc(awhile, func() { _ = c.Close() })
		l.Must(c.Serve(t.Context(), closing))
	})
}

func TestServeTellsWhyItCannotOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		l.FailLogin(1, "invalid_grant")
		mux := sfstream.NewMux()
		mux.Handle(lab.Orders, nothing)
		mux.OnStart(func(context.Context, *sfstream.Client) error { t.Error("started"); return nil })
		lab.ExpectError[*sfstream.AuthError](t, l.NewClient().Serve(t.Context(), mux))
	})
}

// The terminal error of the client is Serve's.
func TestServeEndsWithTheClient(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		mux := sfstream.NewMux()
		mux.Handle(lab.Orders, nothing)
		c := l.NewClient()
		time.AfterFunc(awhile, func() { l.Must(l.Remove(lab.Orders)); l.DropConnections() })
		err := c.Serve(t.Context(), mux)
		if err == nil || !errors.Is(err, c.Err()) {
			t.Errorf("got %v, the client's is %v", err, c.Err())
		}
		if again := c.Serve(t.Context(), mux); !errors.Is(again, err) {
			t.Errorf("again: got %v", again)
		}
	})
}

// What waits when the client ends is handled by the next Serve, as by Run.
func TestServeHandlesWhatAFailedClientHas(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		l.PublishNext(lab.Orders, 3)
		var did calls
		stops := errHandler
		mux := sfstream.NewMux()
		mux.Handle(lab.Orders, did.handler("order", func(*sfstream.Message) error { return stops }))
		c := l.StartFromOldest()
		if err := c.Serve(t.Context(), mux); err != errHandler {
			t.Fatalf("got %v", err)
		}
		did.expect(t, "order 1")
		l.Must(l.Remove(lab.Orders))
		l.DropConnections()
		time.Sleep(time.Hour)
		stops = nil
		if err := c.Serve(t.Context(), mux); err == nil || err != c.Err() {
			t.Errorf("got %v, the client's is %v", err, c.Err())
		}
		did.expect(t, "order 1", "order 2", "order 3")
	})
}

// A managed subscription that OnStart makes has the topic that the mux handles: it is not
// subscribed twice.
func TestAManagedSubscriptionOfTheMuxsTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		_, err := l.DefineManagedSubscription(sfstreamtest.ManagedSubscription{
			DeveloperName: "Managed", TopicName: lab.Orders, DefaultReplay: "EARLIEST", ErrorRecoveryReplay: "EARLIEST",
		})
		l.Must(err)
		l.PublishNext(lab.Orders, 2)
		var did calls
		mux := sfstream.NewMux()
		mux.Handle(lab.Orders, did.handler("order", nil))
		mux.OnStart(func(ctx context.Context, c *sfstream.Client) error {
			if err := c.SubscribeManaged(ctx, "Managed"); !errors.Is(err, sfstream.ErrAlreadySubscribed) {
				return err
			}
			return nil
		})
		c := l.NewClient()
		for range 2 {
			l.Must(serveFor(t, c, awhile, mux))
			expectSubscriptions(t, c, "Managed")
		}
		did.expect(t, "order 1", "order 2")
		// Without it the mux's own follows the topic.
		l.Must(c.Unsubscribe(t.Context(), "Managed"))
		plain := sfstream.NewMux()
		plain.Handle(lab.Orders, nothing)
		l.Must(serveFor(t, c, awhile, plain))
		expectSubscriptions(t, c, lab.Orders)
	})
}

// Where the user may not read the topic of a managed subscription its messages are the default's.
func TestAManagedSubscriptionOfATopicThatNobodyTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		_, err := l.DefineManagedSubscription(sfstreamtest.ManagedSubscription{
			DeveloperName: "Managed", TopicName: lab.Orders, DefaultReplay: "EARLIEST", ErrorRecoveryReplay: "EARLIEST",
		})
		l.Must(err)
		l.FailREST(-1, "API_DISABLED_FOR_ORG")
		l.PublishNext(lab.Orders, 1)
		var did calls
		mux := sfstream.NewMux()
		mux.HandleDefault(did.handler("default", nil))
		mux.OnStart(func(ctx context.Context, c *sfstream.Client) error { return c.SubscribeManaged(ctx, "Managed") })
		l.Must(serveFor(t, l.NewClient(), awhile, mux))
		did.expect(t, "default 1")
	})
}

func TestTwoClientsServeOneMux(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		l.PublishNext(lab.Orders, 3)
		var mu sync.Mutex
		failed, did := make(map[*sfstream.Client]bool), make(map[*sfstream.Client][]string)
		type clientKey struct{}
		clientOf := func(ctx context.Context) *sfstream.Client {
			c, _ := ctx.Value(clientKey{}).(*sfstream.Client)
			return c
		}
		mux := sfstream.NewMux()
		mux.Handle(lab.Orders, func(ctx context.Context, m *sfstream.Message) error {
			mu.Lock()
			defer mu.Unlock()
			did[clientOf(ctx)] = append(did[clientOf(ctx)], "a"+m.ID)
			return nil
		})
		mux.Handle(lab.Orders, func(ctx context.Context, m *sfstream.Message) error {
			mu.Lock()
			defer mu.Unlock()
			c := clientOf(ctx)
			did[c] = append(did[c], "b"+m.ID)
			if !failed[c] {
				failed[c] = true
				return errHandler
			}
			return nil
		})
		var serving sync.WaitGroup
		clients := []*sfstream.Client{
			l.NewClient(sfstream.WithReplay(sfstream.ReplayAll)),
			l.NewClient(sfstream.WithReplay(sfstream.ReplayAll)),
		}
		ctx, cancel := context.WithTimeout(t.Context(), awhile)
		defer cancel()
		for _, c := range clients {
			serving.Go(func() {
				if err := c.Serve(context.WithValue(ctx, clientKey{}, c), mux, sfstream.OnError(sfstream.Retry(every(time.Second, 3)))); err != nil {
					t.Error(err)
				}
			})
		}
		serving.Wait()
		for i, c := range clients {
			if got := strings.Join(did[c], " "); got != "a1 b1 b1 a2 b2 a3 b3" {
				t.Errorf("client %d: %s", i, got)
			}
		}
	})
}

// Under AckManual one client may serve several muxes at once, which share the messages.
func TestSeveralServesShareAClient(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		l.PublishNext(lab.Orders, 10)
		c := l.StartFromOldest(sfstream.WithAck(sfstream.AckManual))
		var did calls
		var serving sync.WaitGroup
		ctx, cancel := context.WithTimeout(t.Context(), awhile)
		defer cancel()
		for range 3 {
			mux := sfstream.NewMux()
			mux.Handle(lab.Orders, func(_ context.Context, m *sfstream.Message) error {
				did.add(m.ID)
				<-time.After(time.Second)
				return nil
			})
			serving.Go(func() {
				if err := c.Serve(ctx, mux); err != nil {
					t.Error(err)
				}
			})
		}
		serving.Wait()
		all := did.take()
		slices.Sort(all)
		if len(all) != 10 || len(slices.Compact(all)) != 10 {
			t.Errorf("called for %q", all)
		}
		l.ExpectSaved("10")
		expectSubscriptions(t, c, lab.Orders)
	})
}

// A Serve whose turn has not come has subscribed nothing: the one that runs has no handlers of that.
func TestServeSubscribesInItsTurn(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		var did calls
		running, waiting := sfstream.NewMux(), sfstream.NewMux()
		running.Handle(lab.Orders, did.handler("order", nil))
		waiting.Handle(lab.Invoices, did.handler("invoice", nil))
		c := l.StartFromOldest()
		var serving sync.WaitGroup
		serving.Go(func() { l.Must(serveFor(t, c, awhile, running)) })
		synctest.Wait() // it has its turn
		l.Must(serveFor(t, c, time.Second, waiting))
		expectSubscriptions(t, c, lab.Orders)
		serving.Go(func() { l.Must(serveFor(t, c, 2*awhile, waiting)) })
		l.PublishNext(lab.Invoices, 1)
		l.PublishNext(lab.Orders, 1)
		serving.Wait()
		did.expect(t, "order 1", "invoice 1")
	})
}

// What a Serve that fails unsubscribes, no other has taken for subscribed: under AckManual too.
func TestAServeThatFailsTakesNoChannelFromAnother(t *testing.T) {
	for _, policy := range []sfstream.AckPolicy{sfstream.AckAuto, sfstream.AckManual} {
		onBoth(t, func(t *testing.T, l *lab.Lab) {
			l.PublishNext(lab.Orders, 1)
			var did calls
			failing, good := sfstream.NewMux(), sfstream.NewMux()
			failing.Handle(lab.Orders, nothing)
			failing.Handle(lab.Invoices, nothing)
			good.Handle(lab.Orders, did.handler("order", nil))
			var once sync.Once
			c := l.StartFromOldest(sfstream.WithAck(policy), sfstream.WithHooks(sfstream.Hooks{OnState: func(_ string, state sfstream.State, _ error) {
				if state == sfstream.StateLive {
					once.Do(func() { failSubscribes(t, l) })
				}
			}}))
			var serving sync.WaitGroup
			serving.Go(func() { l.Must(serveFor(t, c, 5*time.Second, failing)) })
			time.AfterFunc(time.Second, func() { expectSubscriptions(t, c, lab.Orders) })
			time.AfterFunc(6*time.Second, l.ClearFaults)
			l.Pass(2 * time.Second)
			l.Must(serveFor(t, c, awhile, good))
			serving.Wait()
			did.expect(t, "order 1")
			expectSubscriptions(t, c, lab.Orders)
		})
	}
}

// What is added while Serve runs is for the next one.
func TestAMuxMayChangeWhileItIsServed(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		l.PublishNext(lab.Orders, 1)
		var did calls
		mux := sfstream.NewMux()
		add := func() {
			mux.Handle(lab.Orders, did.handler("added", nil))
			mux.Handle(lab.Invoices, did.handler("invoice", nil))
			mux.HandleDefault(did.handler("default", nil))
			mux.OnStart(func(context.Context, *sfstream.Client) error { did.add("start"); return nil })
			mux.Use(func(h sfstream.Handler) sfstream.Handler {
				return func(ctx context.Context, m *sfstream.Message) error { did.add("middleware"); return h(ctx, m) }
			})
		}
		once := sync.OnceFunc(add)
		mux.Handle(lab.Orders, did.handler("order", func(*sfstream.Message) error { once(); return nil }))
		c := l.NewClient(sfstream.WithReplay(sfstream.ReplayAll))
		time.AfterFunc(time.Second, func() { l.PublishNext(lab.Orders, 1) })
		l.Must(serveFor(t, c, awhile, mux))
		did.expect(t, "order 1", "order 2")
		l.PublishNext(lab.Orders, 1)
		l.Must(serveFor(t, c, awhile, mux))
		did.expect(t, "start", "middleware", "order 3", "middleware", "added 3")
		expectSubscriptions(t, c, lab.Invoices, lab.Orders)
	})
}

// A topic with a filter: its messages have the filter in their channel.
func TestAFilteredTopic(t *testing.T) {
	lab.InStreamingBubble(t, func(t *testing.T) {
		const filtered = lab.Topic + "?City__c='Lyon'"
		l := lab.NewStreaming(t)
		publish := func() {
			for n, city := range []string{"Lyon", "Paris"} {
				_, err := l.PublishTopic("LabTopic", "updated", map[string]any{"Id": "a00000000000001AAA", "City__c": city, "N__c": n + 1})
				l.Must(err)
			}
		}
		var did calls
		note := func(name string) sfstream.Handler {
			return func(_ context.Context, m *sfstream.Message) error {
				fields, err := m.Fields()
				did.add(strings.Join([]string{name, m.Channel, fields["City__c"].(string)}, " "))
				return err
			}
		}
		some, all := sfstream.NewMux(), sfstream.NewMux()
		some.Handle(filtered, note("some"))
		all.Handle(lab.Topic, note("all"))
		c := l.NewClient()
		time.AfterFunc(time.Second, publish)
		l.Must(serveFor(t, c, awhile, some))
		did.expect(t, "some "+filtered+" Lyon")

		// Under another filter than its own a mux would get less than it handles, or more.
		refused := func(mux *sfstream.Mux) {
			if err := serveFor(t, c, awhile, mux); !errors.Is(err, sfstream.ErrAlreadySubscribed) || !strings.Contains(err.Error(), filtered) {
				t.Errorf("got %v", err)
			}
		}
		refused(all)
		expectSubscriptions(t, c, filtered)
		l.Must(c.Unsubscribe(t.Context(), lab.Topic))
		l.Subscribe(lab.Topic)
		refused(some)
		expectSubscriptions(t, c, lab.Topic)
	})
}
