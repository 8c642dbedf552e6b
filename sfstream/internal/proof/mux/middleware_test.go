package mux

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/child"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// The first middleware is the outermost, whenever it was added, and each handler has its own.
func TestMiddlewareWrapsEachHandlerInOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		l.PublishNext(lab.Orders, 1)
		var did calls
		around := func(name string) func(sfstream.Handler) sfstream.Handler {
			return func(h sfstream.Handler) sfstream.Handler {
				own := 0 // of this handler
				return func(ctx context.Context, m *sfstream.Message) error {
					own++
					did.add(fmt.Sprint(name, own))
					defer did.add("/" + name)
					return h(ctx, m)
				}
			}
		}
		mux := sfstream.NewMux()
		mux.HandleDefault(did.handler("default", nil))
		mux.Handle(lab.Orders, did.handler("a", nil))
		mux.Use(around("x"), around("y"))
		mux.Use(around("z"))
		mux.Handle(lab.Orders, did.handler("b", nil))
		c := l.StartFromOldest()
		l.Must(serveFor(t, c, awhile, mux))
		did.expect(t, "x1", "y1", "z1", "a 1", "/z", "/y", "/x", "x1", "y1", "z1", "b 1", "/z", "/y", "/x")
		l.Subscribe(lab.Invoices)
		l.PublishNext(lab.Invoices, 1)
		l.Must(serveFor(t, c, awhile, mux))
		did.expect(t, "x1", "y1", "z1", "default 1", "/z", "/y", "/x")
	})
}

// panics panics with a value, in a function that an error is to name.
func panics(v any) { panic(v) }

func TestRecoverMakesAnErrorOfAPanic(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		const secret = "the payload"
		values := map[string]any{
			"1": "a text\nof two lines", "2": errHandler, "3": strings.Repeat("long ", 1000), "4": struct{ Text string }{secret}, "5": nil,
			"7": (*fs.PathError)(nil), // its methods panic
		}
		l.PublishNext(lab.Orders, 7)
		mux := sfstream.NewMux()
		mux.Use(sfstream.LogHandled(l.Log.Logger()), sfstream.Recover())
		mux.Handle(lab.Orders, func(_ context.Context, m *sfstream.Message) error {
			if m.ID == "6" {
				var none []int
				_ = none[len(m.ID)]
			}
			panics(values[m.ID])
			return nil
		})
		errs := make(map[string]*sfstream.PanicError)
		l.Must(serveFor(t, l.StartFromOldest(), awhile, mux, sfstream.OnError(sfstream.Skip(func(m *sfstream.Message, err error) {
			errs[m.ID] = lab.ExpectError[*sfstream.PanicError](t, err)
			if text := err.Error(); len(text) > 1000 || strings.ContainsAny(text, "\n") || !strings.Contains(text, lab.Orders) || strings.Contains(text, secret) {
				t.Errorf("message %s: %s", m.ID, text)
			}
		}))))
		if len(errs) != 7 {
			t.Fatalf("%d panics came, want 7", len(errs))
		}
		for id, want := range map[string]string{
			"1": "mux.panics (middleware_test.go:", "2": errHandler.Error(), "4": "a struct { Text string }", "6": "index out of range [1] with length 0", "7": ": <nil>",
		} {
			if text := errs[id].Error(); !strings.Contains(text, want) {
				t.Errorf("message %s: %s, want %q", id, text, want)
			}
		}
		lab.Contains(t, errs["1"].Error(), "a text of two lines")
		lab.Contains(t, errs["6"].Error(), "TestRecoverMakesAnErrorOfAPanic", "middleware_test.go:")
		if !errors.Is(errs["2"], errHandler) || errs["4"].Value != values["4"] {
			t.Errorf("the value is lost: %+v %+v", errs["2"].Value, errs["4"].Value)
		}
		for id, e := range errs {
			if stack := string(e.Stack); len(stack) > 8<<10 || !strings.Contains(stack, "middleware_test.go") {
				t.Errorf("message %s: the stack is %s", id, stack)
			}
		}
		lab.Contains(t, l.Log.String(), "stack=", "mux.panics")
	})
}

// The stack of a deep recursion ends.
func TestThePanicsStackIsShort(t *testing.T) {
	var deep func(n int) int
	deep = func(n int) int {
		if n == 0 {
			panic("deep")
		}
		return deep(n-1) + 1
	}
	err := sfstream.Recover()(func(context.Context, *sfstream.Message) error { deep(10_000); return nil })(t.Context(), new(sfstream.Message))
	if e := lab.ExpectError[*sfstream.PanicError](t, err); len(e.Stack) != 8<<10 || !strings.Contains(string(e.Stack), "TestThePanicsStackIsShort") {
		t.Errorf("%d bytes: %s", len(e.Stack), e.Stack)
	}
}

// Without Recover a panic ends the program, as in any goroutine.
func TestAPanicEndsTheProgram(t *testing.T) {
	cmd := child.Command(t, "panic", nil)
	cmd.Stderr = nil
	_, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !strings.Contains(string(exit.Stderr), "panic: of a handler") {
		t.Fatalf("got %v", err)
	}
}

// panicking is a program whose handler panics.
func panicking(struct{}) error {
	org, err := sfstreamtest.Start()
	if err != nil {
		return err
	}
	defer org.Close()
	if err := org.DefineEvent(lab.Orders, lab.Schema("Order__e")); err != nil {
		return err
	}
	client, err := sfstream.New(org.Authenticator(), sfstream.WithOrg(org), sfstream.WithReplay(sfstream.ReplayAll))
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := org.Publish(lab.Orders, nil); err != nil {
		return err
	}
	mux := sfstream.NewMux()
	mux.Use(sfstream.HandlerTimeout(time.Minute), sfstream.DeadLetter(func(context.Context, *sfstream.Message, error) error { return nil }))
	mux.Handle(lab.Orders, func(context.Context, *sfstream.Message) error { panic("of a handler") })
	mux.Handle(lab.Orders, nothing)
	return client.Serve(context.Background(), mux)
}

func TestMain(m *testing.M) { child.Main(m, map[string]func() error{"panic": child.Job(panicking)}) }

// A handler that ends its goroutine ends Serve, also through Recover.
func TestAHandlerThatEndsItsGoroutineEndsServe(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		l.PublishNext(lab.Orders, 1)
		mux := sfstream.NewMux()
		mux.Use(sfstream.Recover())
		mux.Handle(lab.Orders, func(context.Context, *sfstream.Message) error { runtime.Goexit(); return nil })
		mux.Handle(lab.Orders, nothing)
		if err := serveFor(t, l.StartFromOldest(), awhile, mux); err == nil || !strings.Contains(err.Error(), "Goexit") {
			t.Errorf("got %v", err)
		}
		l.ExpectSaved("")
	})
}

// A handler that takes no notice of its ctx keeps its message, and those behind it: no other worker
// gets them.
func TestHandlerTimeoutEndsTheCtxAndWaits(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		l.PublishNext(lab.Orders, 3)
		var running atomic.Int32
		var did calls
		mux := sfstream.NewMux()
		mux.Use(sfstream.HandlerTimeout(2 * time.Second))
		start := time.Now()
		mux.Handle(lab.Orders, func(ctx context.Context, m *sfstream.Message) error {
			if running.Add(1) != 1 {
				t.Error("two at once")
			}
			defer running.Add(-1)
			<-ctx.Done()
			did.add(fmt.Sprint(m.ID, " ended after ", time.Since(start)))
			start = time.Now()
			if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) || !strings.Contains(cause.Error(), "HandlerTimeout") {
				t.Errorf("the cause is %v", cause)
			}
			<-time.After(3 * time.Second)
			start = start.Add(3 * time.Second)
			switch m.ID {
			case "1":
				return ctx.Err()
			case "2":
				return errHandler
			}
			return nil // late, but done
		})
		errs := make(map[string]error)
		c := l.StartFromOldest()
		l.Must(c.Subscribe(t.Context(), lab.Orders))
		for c.Pending() < 3 {
			time.Sleep(time.Second)
		}
		start = time.Now()
		l.Must(serveFor(t, c, awhile, mux, sfstream.OnError(sfstream.Skip(func(m *sfstream.Message, err error) { errs[m.ID] = err }))))
		did.expect(t, "1 ended after 2s", "2 ended after 2s", "3 ended after 2s")
		if len(errs) != 2 || !errors.Is(errs["1"], context.DeadlineExceeded) || !errors.Is(errs["2"], errHandler) {
			t.Errorf("skipped %v", errs)
		}
		for id, err := range errs {
			if !strings.Contains(err.Error(), lab.Orders+": the handler was not done after 2s (HandlerTimeout)") {
				t.Errorf("message %s: %v", id, err)
			}
		}
		l.ExpectSaved("3")
	})
}

// A handler that fails in time has its own error.
func TestHandlerTimeoutLeavesOtherErrorsAlone(t *testing.T) {
	h := sfstream.HandlerTimeout(time.Minute)(func(context.Context, *sfstream.Message) error { return errHandler })
	if err := h(t.Context(), new(sfstream.Message)); err != errHandler {
		t.Errorf("got %v", err)
	}
}

func TestDeadLetterKeepsWhatFails(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		l.PublishNext(lab.Orders, 3)
		errKeep := errors.New("the disk is full")
		var did calls
		keeps := 0
		mux := sfstream.NewMux()
		mux.Use(sfstream.DeadLetter(func(ctx context.Context, m *sfstream.Message, err error) error {
			did.add(fmt.Sprintf("keep %s: %v", m.ID, err))
			if keeps++; keeps == 1 {
				return errKeep
			}
			return ctx.Err()
		}), sfstream.HandlerTimeout(time.Second))
		mux.Handle(lab.Orders, did.handler("good", nil))
		mux.Handle(lab.Orders, func(ctx context.Context, m *sfstream.Message) error {
			did.add("bad " + m.ID)
			switch m.ID {
			case "1":
				return backoff.Permanent(errHandler) // which its dead letter is not
			case "2":
				<-ctx.Done()
				return errHandler
			}
			return nil
		})
		l.Must(serveFor(t, l.StartFromOldest(), awhile, mux, sfstream.OnError(sfstream.Retry(every(time.Second, 3)))))
		late := "sfstream: " + lab.Orders + ": the handler was not done after 1s (HandlerTimeout): " + errHandler.Error()
		did.expect(t, "good 1", "bad 1", "keep 1: "+errHandler.Error(), "bad 1", "keep 1: "+errHandler.Error(),
			"good 2", "bad 2", "keep 2: "+late, "good 3", "bad 3")
		lab.Contains(t, l.Log.String(), lab.Orders+": dead letter: the disk is full (of: the handler's error)")
		l.ExpectSaved("3")
	})
}

// What the end of Serve interrupts is no dead letter: it comes again. With a deadline of the
// handler's own it is one.
func TestAnInterruptionIsNoDeadLetter(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		for _, limit := range []time.Duration{0, time.Hour} {
			l.PublishNext(lab.Orders, 1)
			var did calls
			mux := sfstream.NewMux()
			mux.Use(sfstream.DeadLetter(func(_ context.Context, m *sfstream.Message, err error) error {
				t.Errorf("kept %s for %v", m.ID, err)
				return nil
			}))
			if limit > 0 {
				mux.Use(sfstream.HandlerTimeout(limit))
			}
			mux.Handle(lab.Orders, func(ctx context.Context, m *sfstream.Message) error {
				did.add("interrupted")
				<-ctx.Done()
				return ctx.Err()
			})
			c := l.StartFromOldest()
			l.Must(serveFor(t, c, awhile, mux))
			did.expect(t, "interrupted")
			lab.ExpectID(t, c, fmt.Sprint(l.Published(lab.Orders)))
			l.Must(c.Close())
		}
	})
}

// What HandlerTimeout has ended is none of Run's interruptions, also where the dead letter is within.
func TestADeadLetterWithinHandlerTimeout(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		l.PublishNext(lab.Orders, 2)
		var did calls
		mux := sfstream.NewMux()
		mux.Use(sfstream.HandlerTimeout(time.Second), sfstream.DeadLetter(func(_ context.Context, m *sfstream.Message, err error) error {
			did.add(fmt.Sprintf("keep %s: %v", m.ID, err))
			return nil
		}))
		mux.Handle(lab.Orders, func(ctx context.Context, m *sfstream.Message) error {
			<-ctx.Done()
			return ctx.Err()
		})
		l.Must(serveFor(t, l.StartFromOldest(), awhile, mux))
		did.expect(t, "keep 1: context deadline exceeded", "keep 2: context deadline exceeded")
		l.ExpectSaved("2")
	})
}

// LogHandled tells what was handled, and nothing of what was in it.
func TestLogHandledTellsNoPayload(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab.Lab) {
		const secret = 77777
		var log lab.Log
		events := l.PublishOrders(secret, secret)
		mux := sfstream.NewMux()
		mux.Use(sfstream.LogHandled(log.Logger()))
		var keys []string
		mux.Handle(lab.Orders, func(_ context.Context, m *sfstream.Message) error {
			<-time.After(3 * time.Second)
			if keys = append(keys, m.Key()); len(keys) == 2 {
				return errHandler
			}
			return nil
		})
		if err := serveFor(t, l.StartFromOldest(), awhile, mux); !errors.Is(err, errHandler) || len(keys) != len(events) {
			t.Fatalf("got %v, %v", err, keys)
		}
		lab.Contains(t, log.String(),
			`level=DEBUG msg="message handled" channel=`+lab.Orders+" key="+keys[0]+" took=3s\n",
			`level=WARN msg="message not handled" channel=`+lab.Orders+" key="+keys[1]+` took=3s error="the handler's error"`)
		if log.Count(fmt.Sprint(secret)) > 0 {
			t.Errorf("logged: %s", log.String())
		}
	})
}
