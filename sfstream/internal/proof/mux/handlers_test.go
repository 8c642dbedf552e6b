package mux

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

var errHandler = errors.New("the handler's error")

// onBoth runs a test over each API, in a bubble: one that leaves a goroutine behind does not end.
func onBoth(t *testing.T, run func(t *testing.T, l *lab.Lab), opts ...sfstreamtest.Option) {
	t.Helper()
	for _, transport := range []string{"pubsub", "cometd"} {
		t.Run(transport+"/", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { run(t, lab.New(t, opts...)) })
		})
	}
}

// awhile is enough for all that is to happen, and too short for a keepalive, which moves the marker.
const awhile = 20 * time.Second

// calls is what was called, in order.
type calls struct {
	mu  sync.Mutex
	all []string
}

func (c *calls) add(call string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, call)
}

// take returns the calls so far, and forgets them.
func (c *calls) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.all
	c.all = nil
	return all
}

func (c *calls) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := c.take(); !slices.Equal(got, want) {
		t.Errorf("called:\ngot  %q\nwant %q", got, want)
	}
}

// handler notes its calls as "name ID", and returns what do says.
func (c *calls) handler(name string, do func(*sfstream.Message) error) sfstream.Handler {
	return func(_ context.Context, m *sfstream.Message) error {
		c.add(name + " " + m.ID)
		if do == nil {
			return nil
		}
		return do(m)
	}
}

// serveFor serves a mux for so long.
func serveFor(t *testing.T, c *sfstream.Client, d time.Duration, mux *sfstream.Mux, opts ...sfstream.RunOption) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	return c.Serve(ctx, mux, opts...)
}

func every(d time.Duration, n uint64) func() backoff.BackOff {
	return func() backoff.BackOff { return backoff.WithMaxRetries(backoff.NewConstantBackOff(d), n) }
}

// onOnly fails for one message.
func onOnly(id string, err error) func(*sfstream.Message) error {
	return func(m *sfstream.Message) error {
		if m.ID == id {
			return err
		}
		return nil
	}
}

func TestAllHandlersOfAChannelGetEachMessageInOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		l.PublishNext(lab.Orders, 2)
		l.PublishNext(lab.Invoices, 1)
		var did calls
		mux := sfstream.NewMux()
		mux.Handle(lab.Orders, did.handler("a", nil))
		mux.Handle(lab.Invoices, did.handler("i", nil))
		mux.Handle(lab.Orders, did.handler("b", nil))
		l.Must(serveFor(t, l.StartFromOldest(), awhile, mux, sfstream.Workers(1)))
		all := did.take()
		i := slices.Index(all, "i 1")
		if i < 0 || !slices.Equal(slices.Delete(all, i, i+1), []string{"a 1", "b 1", "a 2", "b 2"}) {
			t.Errorf("called %q", all)
		}
		l.ExpectSaved("2")
		if got := l.SavedID(lab.Invoices); got != "1" {
			t.Errorf("the marker of the invoices is at %q", got)
		}
	})
}

// What one handler returns does not keep the message from the others, and a retry calls only those
// that it may help.
func TestARetryCallsTheHandlersThatFailed(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		l.PublishNext(lab.Orders, 2)
		errPermanent, left := errors.New("never"), 2
		var did calls
		mux := sfstream.NewMux()
		mux.Handle(lab.Orders, did.handler("good", nil))
		mux.Handle(lab.Orders, did.handler("permanent", onOnly("1", fmt.Errorf("wrapped: %w", backoff.Permanent(errPermanent)))))
		mux.Handle(lab.Orders, did.handler("passing", func(m *sfstream.Message) error {
			if left--; left >= 0 {
				return errHandler
			}
			return nil
		}))
		var skipped []error
		l.Must(serveFor(t, l.StartFromOldest(), awhile, mux, sfstream.OnError(sfstream.Retry(every(time.Second, 9)),
			sfstream.Skip(func(m *sfstream.Message, err error) { skipped = append(skipped, err) }))))
		did.expect(t, "good 1", "permanent 1", "passing 1", "passing 1", "passing 1", "good 2", "permanent 2", "passing 2")
		if len(skipped) != 1 || !errors.Is(skipped[0], errPermanent) || errors.Is(skipped[0], errHandler) {
			t.Errorf("skipped for %v, want once for what no retry cures", skipped)
		}
		if n := len(l.Log.Warnings("trying again")); n != 2 {
			t.Errorf("%d retries, want 2: none for what no retry cures", n)
		}
		l.ExpectSaved("2")
	})
}

func TestARetryThatGivesUpTellsAllThatIsLeft(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		l.PublishNext(lab.Orders, 1)
		errs := []error{errors.New("error 1"), errors.New("error 2")}
		var did calls
		mux := sfstream.NewMux()
		mux.Handle(lab.Orders, did.handler("a", onOnly("1", backoff.Permanent(errs[0]))))
		mux.Handle(lab.Orders, did.handler("b", nil))
		mux.Handle(lab.Orders, did.handler("c", onOnly("1", errs[1])))
		c := l.StartFromOldest()
		err := c.Serve(t.Context(), mux, sfstream.OnError(sfstream.Retry(every(time.Second, 2))))
		if !errors.Is(err, errs[0]) || !errors.Is(err, errs[1]) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want both errors", err)
		}
		did.expect(t, "a 1", "b 1", "c 1", "c 1", "c 1")

		// What was known of the message ended with Serve: it goes to all again.
		_ = c.Serve(t.Context(), mux)
		did.expect(t, "a 1", "b 1", "c 1")
		l.ExpectSaved("")
	})
}

// Whatever handlers return, each is called until it succeeds, returns what no retry cures, or the
// policy gives up, and never after that: checked against a model of one line.
func TestHandlersAreCalledAsOftenAsTheyFail(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		const messages, handlers, retries = 40, 4, 3
		seed := rand.Uint64()
		random := rand.New(rand.NewPCG(seed, 0))
		type outcome struct {
			failures  int  // before what comes then
			permanent bool // an error, or nil
		}
		plan := make(map[string]outcome) // by "handler ID"
		var did calls
		var mu sync.Mutex
		mux := sfstream.NewMux()
		got, want := make(map[string]int), make(map[string]int)
		var wantSkipped []string
		for id := 1; id <= messages; id++ {
			gaveUp := false
			for h := range handlers {
				name := fmt.Sprint(h, " ", id)
				o := outcome{random.IntN(retries + 2), random.IntN(4) == 0}
				plan[name], want[name] = o, min(o.failures, retries)+1
				gaveUp = gaveUp || o.permanent || o.failures > retries
			}
			if gaveUp {
				wantSkipped = append(wantSkipped, fmt.Sprint(id))
			}
		}
		for h := range handlers {
			mux.Handle(lab.Orders, func(_ context.Context, m *sfstream.Message) error {
				name := fmt.Sprint(h, " ", m.ID)
				mu.Lock()
				defer mu.Unlock()
				got[name]++
				did.add(name)
				switch o := plan[name]; {
				case got[name] <= o.failures:
					return errHandler
				case o.permanent:
					return backoff.Permanent(errHandler)
				}
				return nil
			})
		}
		l.PublishNext(lab.Orders, messages)
		var skipped calls
		l.Must(serveFor(t, l.StartFromOldest(), awhile, mux,
			sfstream.OrderBy(func(m *sfstream.Message) string { return m.ID }),
			sfstream.OnError(sfstream.Retry(every(time.Second, retries)), sfstream.Skip(func(m *sfstream.Message, err error) { skipped.add(m.ID) }))))
		for name, n := range want {
			if got[name] != n {
				t.Errorf("seed %d: handler and message %s: %d calls, want %d (%+v)", seed, name, got[name], n, plan[name])
			}
		}
		all := skipped.take()
		slices.Sort(all)
		slices.Sort(wantSkipped)
		if !slices.Equal(all, wantSkipped) {
			t.Errorf("seed %d: skipped %v, want %v", seed, all, wantSkipped)
		}
		if n := l.Client.Status().Channels[0].Handled; n != messages {
			t.Errorf("%d messages are handled", n)
		}
	})
}

// The end of Run's patience comes between two handlers: the message goes back, and to both again.
func TestAnInterruptedMessageGoesBackAsAWhole(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		l.PublishNext(lab.Orders, 1)
		var did calls
		mux := sfstream.NewMux()
		mux.Handle(lab.Orders, func(ctx context.Context, m *sfstream.Message) error {
			did.add("first")
			<-ctx.Done()
			return nil // in spite of it
		})
		mux.Handle(lab.Orders, did.handler("second", nil))
		c := l.StartFromOldest()
		l.Must(serveFor(t, c, awhile, mux, sfstream.OnError(sfstream.Skip(func(*sfstream.Message, error) { t.Error("skipped") }))))
		did.expect(t, "first")
		l.ExpectSaved("")
		lab.ExpectID(t, c, "1")
	})
}

// What is settled does not come again: the end of Run's patience keeps it from none of its handlers.
func TestAnInterruptedMessageThatIsSettledGoesToAll(t *testing.T) {
	for policy, settles := range map[sfstream.AckPolicy]func(*sfstream.Message){
		sfstream.AckOnReceive: func(*sfstream.Message) {},
		sfstream.AckAuto:      (*sfstream.Message).Ack,
		sfstream.AckManual:    (*sfstream.Message).Ack,
	} {
		onBoth(t, func(t *testing.T, l *lab.Lab) {
			l.PublishNext(lab.Orders, 1)
			var did calls
			mux := sfstream.NewMux()
			mux.Handle(lab.Orders, func(ctx context.Context, m *sfstream.Message) error {
				did.add("first")
				settles(m)
				<-ctx.Done()
				return nil
			})
			mux.Handle(lab.Orders, did.handler("second", nil))
			l.Must(serveFor(t, l.StartFromOldest(sfstream.WithAck(policy)), awhile, mux))
			did.expect(t, "first", "second 1")
			l.ExpectSaved("1")
		})
	}
}

// Within DrainTimeout the handlers that are left are called.
func TestAMessageUnderWayIsFinished(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		l.PublishNext(lab.Orders, 2)
		var did calls
		mux := sfstream.NewMux()
		mux.Handle(lab.Orders, did.handler("first", func(*sfstream.Message) error {
			<-time.After(awhile + time.Second)
			return nil
		}))
		mux.Handle(lab.Orders, did.handler("second", nil))
		l.Must(serveFor(t, l.StartFromOldest(), awhile, mux))
		did.expect(t, "first 1", "second 1")
		l.ExpectSaved("1")
	})
}

func TestAckInOneHandlerSettlesForAll(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		l.PublishNext(lab.Orders, 2)
		var did calls
		mux := sfstream.NewMux()
		mux.Handle(lab.Orders, did.handler("acks", func(m *sfstream.Message) error { m.Ack(); return nil }))
		mux.Handle(lab.Orders, did.handler("fails", onOnly("1", errHandler)))
		c := l.StartFromOldest()
		if err := c.Serve(t.Context(), mux); !errors.Is(err, errHandler) {
			t.Errorf("got %v", err)
		}
		did.take()
		l.Must(serveFor(t, c, time.Second, mux))
		did.expect(t, "acks 2", "fails 2")
	})
}

// Serve settles by the handlers' return, and under AckOnReceive before the first one.
func TestServeSettlesAsRun(t *testing.T) {
	for policy, saved := range map[sfstream.AckPolicy]string{sfstream.AckAuto: "", sfstream.AckManual: "", sfstream.AckOnReceive: "1"} {
		onBoth(t, func(t *testing.T, l *lab.Lab) {
			l.PublishNext(lab.Orders, 2)
			mux := sfstream.NewMux()
			mux.Handle(lab.Orders, func(context.Context, *sfstream.Message) error { return nil })
			mux.Handle(lab.Orders, func(_ context.Context, m *sfstream.Message) error {
				<-time.After(time.Second)
				if m.ID == "1" {
					l.ExpectSaved(saved)
				}
				return nil
			})
			l.Must(serveFor(t, l.StartFromOldest(sfstream.WithAck(policy)), awhile, mux))
			l.ExpectSaved("2")
		})
	}
}

func TestServeHasRunsOrderAndWorkers(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		l.PublishNext(lab.Orders, 6)
		began := make(map[string]time.Duration)
		var mu sync.Mutex
		var start time.Time
		mux := sfstream.NewMux()
		mux.Handle(lab.Orders, func(_ context.Context, m *sfstream.Message) error {
			mu.Lock()
			if start.IsZero() {
				start = time.Now()
			}
			began[m.ID] = time.Since(start)
			mu.Unlock()
			<-time.After(time.Second)
			return nil
		})
		c := l.FollowFromOldest()
		synctest.Wait()
		l.Must(serveFor(t, c, awhile, mux, sfstream.Workers(2), sfstream.OrderBy(func(m *sfstream.Message) string {
			return map[bool]string{true: "low", false: "high"}[m.ID < "4"]
		})))
		for id, want := range map[string]int{"1": 0, "2": 1, "3": 2, "4": 0, "5": 1, "6": 2} {
			if began[id] != time.Duration(want)*time.Second {
				t.Errorf("message %s after %v, want %d s", id, began[id], want)
			}
		}
	})
}

type order struct {
	Number float64 `sf:"N__c"`
}

func TestOnDecodes(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		l.PublishOrders(4, 5)
		var got []float64
		mux := sfstream.NewMux()
		sfstream.On(mux, lab.Orders, func(_ context.Context, o order, m *sfstream.Message) error {
			if m.Channel != lab.Orders {
				t.Errorf("%+v", m)
			}
			got = append(got, o.Number)
			return nil
		})
		l.Must(serveFor(t, l.StartFromOldest(), awhile, mux))
		if !slices.Equal(got, []float64{4, 5}) {
			t.Errorf("got %v", got)
		}
	})
}

// An event that cannot be decoded is no reason to try again. By default it ends Serve, and the next
// one too; Skip gets over it.
func TestOnGetsOverABadEventBySkip(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		l.PublishOrders(1)
		var did calls
		mux := sfstream.NewMux()
		sfstream.On(mux, lab.Orders, func(context.Context, struct {
			Number bool `sf:"N__c"`
		}, *sfstream.Message) error {
			t.Error("called")
			return nil
		})
		mux.Handle(lab.Orders, func(context.Context, *sfstream.Message) error { did.add("other"); return nil })
		c := l.StartFromOldest()
		for range 2 {
			err := serveFor(t, c, awhile, mux, sfstream.OnError(sfstream.Retry(every(time.Second, 3))))
			if e := lab.ExpectError[*sfstream.DecodeError](t, err); e.Field != "N__c" || e.Channel != lab.Orders {
				t.Errorf("%+v", e)
			}
			did.expect(t, "other")
		}
		if n := len(l.Log.Warnings("trying again")); n > 0 {
			t.Errorf("%d retries", n)
		}
		var skipped error
		l.Must(serveFor(t, c, awhile, mux, sfstream.OnError(sfstream.Skip(func(_ *sfstream.Message, err error) { skipped = err }))))
		lab.ExpectError[*sfstream.DecodeError](t, skipped)
		lab.ExpectQuiet(t, c, awhile)
	})
}

// A channel of several types has one handler, which tells them apart.
func TestAChannelOfSeveralTypes(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		l.Must(l.DefineObject("Contact", sfstreamtest.Field{Name: "LastName", Type: "Text"}))
		for _, object := range []string{"Account", "Contact"} {
			_, err := l.Change(sfstreamtest.Change{Object: object, Type: "CREATE", RecordIDs: []string{"001000000000001AAA"}})
			l.Must(err)
		}
		var did calls
		mux := sfstream.NewMux()
		mux.Handle(lab.AllChanges, func(_ context.Context, m *sfstream.Message) error {
			did.add(m.EventName())
			return nil
		})
		l.Must(serveFor(t, l.StartFromOldest(), awhile, mux, sfstream.Workers(1)))
		did.expect(t, "AccountChangeEvent", "ContactChangeEvent")
	})
}

func TestOneHandlerOfManyChannels(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		var did calls
		mux := sfstream.NewMux()
		for _, channel := range []string{lab.Orders, lab.Invoices} {
			l.PublishNext(channel, 1)
			mux.Handle(channel, func(_ context.Context, m *sfstream.Message) error { did.add(m.Channel); return nil })
		}
		l.Must(serveFor(t, l.StartFromOldest(), awhile, mux))
		all := did.take()
		slices.Sort(all)
		if !slices.Equal(all, []string{lab.Invoices, lab.Orders}) {
			t.Errorf("called for %q", all)
		}
	})
}

func TestAMessageWithoutAHandlerIsAnErrorOrTheDefaults(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		c := l.FollowFromOldest()
		l.PublishNext(lab.Orders, 1)
		var did calls
		mux := sfstream.NewMux()
		mux.Handle(lab.Invoices, did.handler("invoice", nil))
		retry := sfstream.Retry(every(time.Second, 3))
		err := serveFor(t, c, awhile, mux, sfstream.OnError(retry))
		if !errors.Is(err, sfstream.ErrInvalidOption) || !strings.Contains(err.Error(), lab.Orders) || len(l.Log.Warnings("trying again")) > 0 {
			t.Errorf("got %v", err)
		}
		l.ExpectSaved("")
		mux.HandleDefault(did.handler("default", nil))
		l.Must(serveFor(t, c, awhile, mux))
		l.PublishNext(lab.Invoices, 1)
		l.Must(serveFor(t, c, awhile, mux))
		did.expect(t, "default 1", "invoice 1")
		lab.ExpectQuiet(t, c, awhile)
	})
}
