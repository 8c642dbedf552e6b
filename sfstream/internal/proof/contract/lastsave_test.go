package contract

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// lastSaveRules are rule 3 where something ends: a loop, a subscription or the client.
func lastSaveRules() []rule {
	return []rule{
		{number: 3, words: "the markers are saved before a loop ends", run: saveBeforeLoopEnd},
		{number: 3, words: "the markers are saved before C closes for good", run: saveBeforeEndOfC},
		{number: 3, words: "the markers are saved before Unsubscribe returns", run: saveBeforeUnsubscribe},
		{number: 3, words: "the markers are saved before Close returns", run: saveBeforeClose},
		{number: 3, words: "the last saves have 5 s of their own when ctx has ended", run: lastSavesOwnLimit},
		{number: 3, words: "the last save of Unsubscribe has 5 s of its own", run: lastSaveOfUnsubscribe},
		{number: 3, words: "Unsubscribe beside a busy loop saves and has no error", run: flushBesideBusyLoop},
		{number: 3, words: "Close does not wait for a body, whose message is saved at loop end", run: closeInsideBody},
		{number: 3, words: "Close does not wait for a body, whose message comes again if the store is gone", run: closeThenStoreGone},
		{number: 3, words: "a body that fails after Close leaves its message unhandled", run: closeThenBreak},
		{number: 3, words: "Close takes at most 5 s with a store that hangs and says what it could not do", run: closeHangingStore},
		{number: 3, words: "Close takes at most 5 s with a store that heeds no ctx", run: closeDeafStore},
		{number: 3, words: "Close says that a failing store has no marker", run: closeFailingStore},
		{number: 3, words: "after Unsubscribe nothing comes and the next Subscribe resumes at the watermark", run: resubscribe},
		{number: 3, words: "Unsubscribe inside the body", run: unsubscribeInBody},
		{number: 3, words: "Unsubscribe while a feeder holds a message out", run: unsubscribeHeldOut},
		{number: 3, words: "Subscribe after an Unsubscribe that could not save resumes at the watermark", run: resubscribeUnsaved},
	}
}

func saveBeforeLoopEnd(t *testing.T) {
	s, c := following(t, 10)
	lab.Within(t, 0, func() { lab.Loop(t, c, 3) })
	s.ExpectSaved("3")
	lab.Within(t, 0, func() {
		ctx, stop := lab.NewStop(t)
		for m := range c.Messages(ctx) {
			if m.ID == "6" {
				stop()
			}
		}
	})
	s.ExpectSaved("6")
	func() {
		defer func() { _ = recover() }()
		for m := range c.Messages(t.Context()) {
			if m.ID == "9" {
				panic(m.ID)
			}
		}
	}()
	s.ExpectSaved("8")
}

func saveBeforeEndOfC(t *testing.T) {
	s, c := following(t, 10)
	ctx, stop := lab.NewStop(t)
	messages := c.C(ctx)
	for range 3 {
		<-messages
	}
	stop()
	for range messages {
	}
	s.ExpectSaved("2")
	c.C(t.Context())
	lab.Must(t, c.Close())
}

func saveBeforeUnsubscribe(t *testing.T) {
	s, c := following(t, 10)
	lab.Receive(t, c)
	lab.Receive(t, c)
	lab.Within(t, 0, func() { lab.Must(t, c.Unsubscribe(t.Context(), lab.Orders)) })
	s.ExpectSaved("1")
}

func saveBeforeClose(t *testing.T) {
	s, c := following(t, 10)
	for range 3 {
		lab.Receive(t, c)
	}
	lab.Within(t, 0, func() { lab.Must(t, c.Close()) })
	s.ExpectSaved("2")
}

// lastSavesOwnLimit: the loop's ctx has ended, and the store is slow.
func lastSavesOwnLimit(t *testing.T) {
	s := lab.New(t)
	s.SilenceKeepalive(true)
	s.PublishNext(lab.Orders, 2)
	c := s.FollowFromOldest()
	<-time.After(time.Second)
	s.Store.BeforeSave(func(ctx context.Context) error {
		select {
		case <-time.After(4 * time.Second):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	ctx, stop := lab.NewStop(t)
	for range c.Messages(ctx) {
		stop()
	}
	s.ExpectSaved("1")
	s.Store.BeforeSave(lab.Hang)
	start := time.Now()
	for m := range c.Messages(t.Context()) {
		m.Ack()
		break
	}
	if took := time.Since(start); took != 5*time.Second {
		t.Errorf("a loop ended %s later with a store that hangs, want 5s", took)
	}
	s.Store.BeforeSave(nil)
	<-time.After(time.Minute)
	s.ExpectSaved("2") // the same client goes on
}

func lastSaveOfUnsubscribe(t *testing.T) {
	s, c := following(t, 2)
	<-time.After(time.Second)
	s.Store.BeforeSave(lab.Hang)
	m := receive(t, c)
	m.Ack()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	start := time.Now()
	var failed *sfstream.StoreError
	if err := c.Unsubscribe(ctx, lab.Orders); !errors.As(err, &failed) {
		t.Errorf("got %v, want a *StoreError", err)
	}
	if took := time.Since(start); took != 5*time.Second {
		t.Errorf("took %s, want the 5s of the last save", took)
	}
	s.Store.BeforeSave(nil)
	<-time.After(time.Minute)
	s.ExpectSaved("1")
	lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
	lab.ExpectID(t, c, "2")
}

func flushBesideBusyLoop(t *testing.T) {
	s := lab.New(t)
	c := s.FollowFromOldest()
	lab.Must(t, c.Subscribe(t.Context(), lab.Invoices))
	<-time.After(time.Second)
	s.Store.BeforeSave(func(context.Context) error { <-time.After(50 * time.Millisecond); return nil })
	s.PublishNext(lab.Invoices, 1)
	synctest.Wait()
	s.PublishNext(lab.Orders, 1000)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range c.Messages(t.Context()) {
			<-time.After(time.Millisecond)
		}
	}()
	<-time.After(200 * time.Millisecond)
	lab.Must(t, c.Unsubscribe(t.Context(), lab.Invoices))
	if got := s.SavedID(lab.Invoices); got != "1" {
		t.Errorf("the marker of the other channel is at %q, want 1", got)
	}
	lab.Must(t, c.Close())
	<-ended
}

func closeInsideBody(t *testing.T) {
	s, c := following(t, 5)
	for m := range c.Messages(t.Context()) {
		if m.ID == "3" {
			lab.Within(t, 0, func() { lab.Must(t, c.Close()) })
			s.ExpectSaved("2")
		}
	}
	s.ExpectSaved("3")
	lab.Must(t, c.Err())
	lab.ExpectID(t, s.FollowFromOldest(), "4")
}

func closeThenStoreGone(t *testing.T) {
	s, c := following(t, 5)
	for m := range c.Messages(t.Context()) {
		if m.ID == "3" {
			lab.Must(t, c.Close())
			s.Store.BeforeSave(func(context.Context) error { return errors.New("the store is closed") })
		}
	}
	s.Store.BeforeSave(nil)
	s.ExpectSaved("2")
	lab.ExpectID(t, s.FollowFromOldest(), "3")
}

func closeThenBreak(t *testing.T) {
	s, c := following(t, 5)
	for m := range c.Messages(t.Context()) {
		if m.ID == "3" {
			lab.Must(t, c.Close())
			break
		}
	}
	s.ExpectSaved("2")
	lab.ExpectID(t, s.FollowFromOldest(), "3")
}

func closeHangingStore(t *testing.T) {
	s, c := following(t, 2)
	lab.Receive(t, c)
	lab.Receive(t, c)
	s.Store.BeforeSave(lab.Hang)
	var failed *sfstream.StoreError
	lab.Within(t, 5*time.Second, func() {
		if err := c.Close(); !errors.As(err, &failed) {
			t.Errorf("got %v, want a *StoreError", err)
		}
	})
	if err := c.Close(); !errors.As(err, &failed) {
		t.Errorf("a second Close returned %v, want the same *StoreError", err)
	}
	synctest.Wait()
	s.Store.BeforeSave(nil)
	lab.ExpectID(t, s.FollowFromOldest(), "1")
}

func closeDeafStore(t *testing.T) {
	s, c := following(t, 2)
	lab.Receive(t, c)
	lab.Receive(t, c)
	release := make(chan struct{})
	s.Store.BeforeSave(func(context.Context) error { <-release; return errors.New("too late") })
	c.C(t.Context()) // saves when it ends, too
	lab.Within(t, 5*time.Second, func() {
		if err := c.Close(); err == nil {
			t.Error("no error from Close though nothing was saved")
		}
	})
	close(release)
	synctest.Wait()
}

func closeFailingStore(t *testing.T) {
	s, c := following(t, 2)
	lab.Receive(t, c)
	lab.Receive(t, c)
	full := errors.New("disk full")
	s.Store.BeforeSave(func(context.Context) error { return full })
	lab.Within(t, time.Second, func() {
		if err := c.Close(); !errors.Is(err, full) {
			t.Errorf("got %v, want it to say %v", err, full)
		}
	})
	lab.Must(t, c.Err())
	<-time.After(time.Hour) // no retry after Close
	s.Store.BeforeSave(nil)
	lab.ExpectID(t, s.FollowFromOldest(), "1")
}

func resubscribe(t *testing.T) {
	s, c := following(t, 50)
	lab.Must(t, c.Subscribe(t.Context(), lab.Invoices))
	lab.Loop(t, c, 10)
	synctest.Wait()
	s.PublishNext(lab.Invoices, 1)
	lab.Must(t, c.Unsubscribe(t.Context(), lab.Orders))
	if m, err := c.Receive(t.Context()); err != nil || m.Channel != lab.Invoices {
		t.Fatalf("got %v, %v, want only the invoice", m, err)
	} else {
		m.Ack()
	}
	lab.ExpectQuiet(t, c, time.Second)
	if err := c.Unsubscribe(t.Context(), lab.Orders); !errors.Is(err, sfstream.ErrNotSubscribed) {
		t.Errorf("got %v, want ErrNotSubscribed", err)
	}
	s.PublishNext(lab.Orders, 10)
	lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
	lab.ExpectIDs(t, lab.Loop(t, c, 50), lab.IDs(11, 60))
	lab.ExpectQuiet(t, c, time.Second)
}

func unsubscribeInBody(t *testing.T) {
	s, c := following(t, 50)
	lab.Must(t, c.Subscribe(t.Context(), lab.Invoices))
	var got []string
	ctx, stop := lab.NewStop(t)
	for m := range c.Messages(ctx) {
		got = append(got, m.Channel+m.ID)
		switch {
		case m.ID == "3" && m.Channel == lab.Orders:
			lab.Must(t, c.Unsubscribe(t.Context(), lab.Orders))
			s.ExpectSaved("2")
			s.PublishNext(lab.Invoices, 2)
		case m.ID == "2" && m.Channel == lab.Invoices:
			stop()
		}
	}
	lab.ExpectIDs(t, got, []string{lab.Orders + "1", lab.Orders + "2", lab.Orders + "3", lab.Invoices + "1", lab.Invoices + "2"})
	lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
	lab.ExpectIDs(t, lab.Loop(t, c, 48), lab.IDs(3, 50))
}

func unsubscribeHeldOut(t *testing.T) {
	s, c := following(t, 50)
	lab.Must(t, c.Subscribe(t.Context(), lab.Invoices))
	messages := c.C(t.Context())
	(<-messages).Ack()
	synctest.Wait() // 2 is held out
	lab.Must(t, c.Unsubscribe(t.Context(), lab.Orders))
	select {
	case m := <-messages:
		t.Errorf("got %s after Unsubscribe", m.ID)
	default:
	}
	s.ExpectSaved("1")
	if got := c.Pending(); got != 0 {
		t.Errorf("%d pending after Unsubscribe, want 0", got)
	}
	s.PublishNext(lab.Invoices, 1)
	if m := <-messages; m.Channel != lab.Invoices {
		t.Errorf("got %s, want the invoice", m.Channel)
	}
	lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
	if m := <-messages; m.ID != "2" {
		t.Errorf("got %s, want 2 again", m.ID)
	}
}

func resubscribeUnsaved(t *testing.T) {
	s, c := following(t, 5)
	synctest.Wait()
	full := errors.New("disk full")
	s.Store.BeforeSave(func(context.Context) error { return full })
	lab.Loop(t, c, 3)
	if err := c.Unsubscribe(t.Context(), lab.Orders); !errors.Is(err, full) {
		t.Errorf("got %v, want %v", err, full)
	}
	lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
	lab.ExpectID(t, c, "4")
	s.Store.BeforeSave(nil)
	<-time.After(10 * time.Second)
	lab.ExpectID(t, c, "5")
	lab.Must(t, c.Close())
	s.ExpectSaved("5")
}
