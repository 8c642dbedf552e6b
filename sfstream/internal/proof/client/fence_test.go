package client

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

var errDeposed = errors.New("another process leads")

// fencedStore is a store that can come to belong to another process.
type fencedStore struct {
	*lab.Store
	held func() error // nil: it is held
	lost chan struct{}
	over atomic.Bool
}

func (s *fencedStore) Held() error {
	switch {
	case s.over.Load():
		return errDeposed
	case s.held != nil:
		return s.held()
	}
	return nil
}

func (s *fencedStore) Lost() <-chan struct{} { return s.lost }

// lose is what the store's own timer does.
func (s *fencedStore) lose() {
	s.over.Store(true)
	close(s.lost)
}

// fenced follows the orders with a store that can be lost, and has n of them waiting.
func fenced(t *testing.T, n int, opts ...sfstream.Option) (*lab.Lab, *fencedStore) {
	l := lab.New(t)
	s := &fencedStore{Store: l.Store, lost: make(chan struct{})}
	l.Start(append([]sfstream.Option{sfstream.WithReplayStore(s)}, opts...)...)
	l.Subscribe(lab.Orders)
	l.PublishNext(lab.Orders, n)
	arrived(l.Client, n)
	return l, s
}

func expectDeposed(t *testing.T, err error) {
	t.Helper()
	e := lab.ExpectError[*sfstream.StoreError](t, err)
	if e.Op != "hold" || !errors.Is(err, errDeposed) {
		t.Errorf("got %v, want the store's reason", err)
	}
}

// TestAFencedStoreEndsItsClient proves what WithReplayStore says of a store that may be lost.
func TestAFencedStoreEndsItsClient(t *testing.T) {
	scenarios := []scenario{
		{name: "it is asked before each of many handlers at once", run: fencedHandlesAtOnce},
		{name: "a retry is asked for too", run: fencedRetry},
		{name: "running handlers are cancelled at once", run: fencedHandlers},
		{name: "handlers that drain are cancelled at once", run: fencedDrain},
		{name: "it ends where nobody consumes, and follows nothing any more", run: fencedIdle},
		{name: "nothing is saved any more, and no Save holds up the end", run: fencedSavesNothing},
		{name: "a store that is lost before Open", run: fencedBeforeOpen},
		{name: "one that panics is not held", run: fencedPanics},
		{name: "one whose Lost says more than its Held", run: fencedContradicts},
		{name: "C withdraws what it offers", run: fencedOffer},
		{name: "Close needs no loss", run: fencedClose},
		{name: "a Save in conflict is final at once", run: saveConflicts},
	}
	for name, consume := range consumers {
		scenarios = append(scenarios,
			scenario{name: "it is asked before each message that comes to " + name, run: func(t *testing.T) { fencedAsks(t, consume) }},
			scenario{name: "nothing more comes to " + name, run: func(t *testing.T) { fencedConsumer(t, consume) }},
			scenario{name: "a conflict ends " + name, run: func(t *testing.T) { conflictEnds(t, consume) }})
	}
	for _, transport := range []string{"pubsub", "cometd"} {
		t.Run(transport, func(t *testing.T) {
			for _, r := range scenarios {
				t.Run(r.name, func(t *testing.T) { synctest.Test(t, r.run) })
			}
		})
	}
}

// consumers are the ways of consuming that ask before each message. A consumer calls body for each
// and returns when nothing more comes.
var consumers = map[string]func(c *sfstream.Client, body func(*sfstream.Message)) error{
	"Messages": func(c *sfstream.Client, body func(*sfstream.Message)) error {
		for m := range c.Messages(context.Background()) {
			body(m)
		}
		return c.Err()
	},
	"Receive": func(c *sfstream.Client, body func(*sfstream.Message)) error {
		for {
			m, err := c.Receive(context.Background())
			if err != nil {
				return err
			}
			body(m)
		}
	},
	"Run": func(c *sfstream.Client, body func(*sfstream.Message)) error {
		return c.Run(context.Background(), func(_ context.Context, m *sfstream.Message) error { body(m); return nil })
	},
	"Run without an order": func(c *sfstream.Client, body func(*sfstream.Message)) error {
		return c.Run(context.Background(), func(_ context.Context, m *sfstream.Message) error { body(m); return nil },
			sfstream.Workers(1), sfstream.OrderBy(perMessage))
	},
	"Serve": func(c *sfstream.Client, body func(*sfstream.Message)) error {
		mux := sfstream.NewMux()
		mux.Handle(lab.Orders, func(_ context.Context, m *sfstream.Message) error { body(m); return nil })
		return c.Serve(context.Background(), mux)
	},
	"Transactions": func(c *sfstream.Client, body func(*sfstream.Message)) error {
		for tx := range c.Transactions(context.Background(), time.Second) {
			body(tx.Messages[0])
		}
		return c.Err()
	},
}

// fencedConsumer: the lease has run out while the process stood still, and no timer has fired yet.
func fencedConsumer(t *testing.T, consume func(*sfstream.Client, func(*sfstream.Message)) error) {
	l, s := fenced(t, 5)
	n := 0
	err := consume(l.Client, func(*sfstream.Message) {
		if n++; n == 2 {
			s.over.Store(true)
		}
	})
	if n != 2 {
		t.Errorf("%d messages came, want 2", n)
	}
	expectDeposed(t, err)
	expectDeposed(t, l.Client.Err())
	if _, err := l.Client.Receive(t.Context()); !errors.Is(err, errDeposed) {
		t.Errorf("a further Receive: %v", err)
	}
}

// fencedAsks: handlers that are called at once are asked for one by one.
func fencedAsks(t *testing.T, consume func(*sfstream.Client, func(*sfstream.Message)) error) {
	l, s := fenced(t, 5)
	var asked, came atomic.Int32
	s.held = func() error { asked.Add(1); return nil }
	_ = consume(l.Client, func(*sfstream.Message) {
		n := came.Add(1)
		if n > asked.Load() {
			t.Errorf("message %d came, and the store was asked %d times", n, asked.Load())
		}
		if n == 5 {
			s.lose()
		}
	})
}

func fencedHandlesAtOnce(t *testing.T) {
	fencedAsks(t, func(c *sfstream.Client, body func(*sfstream.Message)) error {
		return c.Run(context.Background(), func(_ context.Context, m *sfstream.Message) error { body(m); return nil }, sfstream.OrderBy(perMessage))
	})
}

// conflictEnds: another process has saved the marker, so what waits is its to hand out.
func conflictEnds(t *testing.T, consume func(*sfstream.Client, func(*sfstream.Message)) error) {
	l := lab.New(t)
	l.Follow()
	l.PublishNext(lab.Orders, 5)
	arrived(l.Client, 5)
	l.Store.BeforeSave(func(context.Context) error { return replaystore.ErrConflict })
	n := 0
	err := consume(l.Client, func(*sfstream.Message) {
		if n++; n == 2 {
			l.Pass(time.Second)
		}
	})
	if n != 2 {
		t.Errorf("%d messages came, want 2", n)
	}
	if e := lab.ExpectError[*sfstream.StoreError](t, err); e.Op != "save" || !errors.Is(err, replaystore.ErrConflict) {
		t.Errorf("got %v", err)
	}
}

func fencedRetry(t *testing.T) {
	l, s := fenced(t, 1)
	n := 0
	err := l.Client.Run(t.Context(), func(context.Context, *sfstream.Message) error {
		n++
		s.over.Store(true)
		return errHandler
	}, sfstream.OnError(sfstream.Retry(func() backoff.BackOff { return backoff.NewConstantBackOff(time.Second) })))
	if n != 1 {
		t.Errorf("the handler was called %d times", n)
	}
	expectDeposed(t, err)
}

func fencedHandlers(t *testing.T) {
	l, s := fenced(t, 1)
	began := time.Now()
	err := l.Client.Run(t.Context(), func(ctx context.Context, _ *sfstream.Message) error {
		time.AfterFunc(time.Second, s.lose)
		<-ctx.Done()
		expectDeposed(t, context.Cause(ctx))
		return ctx.Err()
	}, sfstream.DrainTimeout(time.Hour))
	if took := time.Since(began); took != time.Second {
		t.Errorf("it took %v", took)
	}
	expectDeposed(t, err)
	if pending := l.Client.Pending(); pending != 1 {
		t.Errorf("%d messages wait, want the interrupted one", pending)
	}
}

func fencedDrain(t *testing.T) {
	l, s := fenced(t, 1)
	began := time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	err := l.Client.Run(ctx, func(ctx context.Context, _ *sfstream.Message) error {
		cancel()
		time.AfterFunc(time.Second, s.lose)
		<-ctx.Done()
		return ctx.Err()
	}, sfstream.DrainTimeout(time.Hour))
	if took := time.Since(began); took != time.Second {
		t.Errorf("it took %v", took)
	}
	lab.Must(t, err)
	expectDeposed(t, l.Client.Err())
}

func fencedIdle(t *testing.T) {
	l, s := fenced(t, 3)
	s.lose()
	l.Pass(0)
	expectDeposed(t, l.Client.Err())
	expectDeposed(t, l.Client.Status().Err)
	l.Pass(time.Minute)
	before := l.Client.Pending()
	l.PublishNext(lab.Orders, 1)
	l.Pass(time.Minute)
	if got := l.Client.Pending(); got != before {
		t.Errorf("%d wait, want %d: the client follows the channel", got, before)
	}
	for range l.Client.C(t.Context()) {
		t.Error("a message comes")
	}
}

func fencedSavesNothing(t *testing.T) {
	l, s := fenced(t, 3)
	l.Receive().Ack()
	l.Pass(time.Second)
	l.ExpectSaved("1")
	s.BeforeSave(lab.Hang)
	lab.Within(t, time.Second, func() {
		for m := range l.Client.Messages(t.Context()) {
			m.Ack()
			l.Pass(time.Second) // a Save is under way
			s.lose()
			l.Pass(0)
		}
	})
	saves := len(s.History())
	s.BeforeSave(nil)
	lab.Within(t, time.Second, func() { expectDeposed(t, l.Client.Close()) })
	l.Pass(time.Hour)
	if n := len(s.History()); n != saves {
		t.Errorf("%d Saves after the loss", n-saves)
	}
	l.ExpectSaved("1")
}

func fencedBeforeOpen(t *testing.T) {
	l := lab.New(t)
	s := &fencedStore{Store: l.Store, lost: make(chan struct{})}
	c := l.NewClient(sfstream.WithReplayStore(s))
	s.lose()
	lab.Must(t, c.Open(t.Context()))
	l.Pass(0)
	expectDeposed(t, c.Err())
	if err := c.Subscribe(t.Context(), lab.Orders); !errors.Is(err, errDeposed) {
		t.Errorf("Subscribe: %v", err)
	}
}

func fencedPanics(t *testing.T) {
	l, s := fenced(t, 1)
	s.held = func() error { panic("nil map") }
	_, err := l.Client.Receive(t.Context())
	if e := lab.ExpectError[*sfstream.StoreError](t, err); !strings.Contains(e.Error(), "panicked: nil map") {
		t.Errorf("got %v", e)
	}
}

func fencedContradicts(t *testing.T) {
	l, s := fenced(t, 1)
	close(s.lost)
	l.Pass(0)
	if e := lab.ExpectError[*sfstream.StoreError](t, l.Client.Err()); e.Op != "hold" {
		t.Errorf("got %v", e)
	}
}

func fencedOffer(t *testing.T) {
	l, s := fenced(t, 2)
	messages := l.Client.C(t.Context())
	<-messages
	synctest.Wait() // the next one is offered
	s.lose()
	l.Pass(0)
	for m := range messages {
		t.Errorf("%s comes", m.ID)
	}
	expectDeposed(t, l.Client.Err())
}

func fencedClose(t *testing.T) {
	l, _ := fenced(t, 2)
	l.Receive().Ack()
	lab.Must(t, l.Client.Close())
	l.ExpectSaved("1")
	lab.Must(t, l.Client.Err())
}

// saveConflicts: no later Save can succeed, so none is tried.
func saveConflicts(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.PublishNext(lab.Orders, 3)
	arrived(l.Client, 3)
	began := time.Now()
	err := l.Client.Run(t.Context(), func(ctx context.Context, m *sfstream.Message) error {
		if m.ID == "1" {
			l.Store.BeforeSave(func(context.Context) error { return replaystore.ErrConflict })
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	}, sfstream.DrainTimeout(time.Hour))
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
	if e := lab.ExpectError[*sfstream.StoreError](t, err); e.Op != "save" || !errors.Is(err, replaystore.ErrConflict) {
		t.Errorf("got %v", e)
	}
	saves := len(l.Store.History())
	if err := l.Client.Close(); !errors.Is(err, replaystore.ErrConflict) {
		t.Errorf("Close: %v", err)
	}
	l.Pass(time.Hour)
	if n := len(l.Store.History()); n != saves {
		t.Errorf("%d Saves after the conflict", n-saves)
	}
	if warnings := l.Log.Warnings("not saved"); len(warnings) > 0 {
		t.Errorf("told %v, though nothing is tried again", warnings)
	}
}
