package contract

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// contractSaving is rule 3: when markers are saved, and what a crash repeats.
func contractSaving() []rule {
	return []rule{
		{number: 3, words: "a loop about to wait saves, and does not wait for the Save", run: saveBeforeWaiting},
		{number: 3, words: "what is handled is saved 100 ms later while a body stalls", run: saveWhileStalled},
		{number: 3, words: "what is handled during a slow Save is saved 100 ms later too", run: saveAfterSlowSave},
		{number: 3, words: "a busy loop saves every 100 ms", run: saveWhileBusy},
		{number: 3, words: "ten times the messages in the same time make no more Saves", run: savesBoundedByTime},
		{number: 3, words: "a quiet channel saves once an hour", run: saveWhileQuiet},
		{number: 3, words: "one Save at a time in watermark order", run: saveInOrder},
		{number: 3, words: "one Save has the markers of several channels", run: saveSeveral},
		{number: 3, words: "the markers are saved before a loop ends", run: saveBeforeLoopEnd},
		{number: 3, words: "the markers are saved before C closes for good", run: saveBeforeEndOfC},
		{number: 3, words: "the markers are saved before Unsubscribe returns", run: saveBeforeUnsubscribe},
		{number: 3, words: "the markers are saved before Close returns", run: saveBeforeClose},
		{number: 3, words: "the last saves have 5 s of their own when ctx has ended", run: lastSavesOwnLimit},
		{number: 3, words: "the last save of Unsubscribe has 5 s of its own", run: lastSaveOfUnsubscribe},
		{number: 3, words: "Unsubscribe beside a busy loop saves and has no error", run: flushBesideBusyLoop},
		{number: 3, words: "a crash repeats what was handled since the last Save and what was in the body", run: crashRepeats},
		{number: 3, words: "a crash at any moment loses nothing", run: crashAnywhere},
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
		{number: 3, words: "a failing store is retried while delivery goes on", run: storeFailsForAWhile},
		{number: 3, words: "a store that fails for 5 minutes ends the client", run: storeStaysBroken},
		{number: 3, words: "a log handler may call the client", run: logHandlerCallsClient},
	}
}

func saveBeforeWaiting(t *testing.T) {
	s := lab.NewScene(t)
	c := s.Following()
	<-time.After(time.Second)
	s.Store.BeforeSave(func(ctx context.Context) error { // a slow store
		select {
		case <-time.After(3 * time.Second):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	s.PublishNext(lab.Orders, 1)
	var asked time.Time // when the loop asked for more
	for m := range c.Messages(t.Context()) {
		if m.ID == "1" {
			go func() {
				<-time.After(time.Second)
				s.PublishNext(lab.Orders, 1)
			}()
			asked = time.Now()
			continue
		}
		if waited := time.Since(asked); waited != time.Second {
			t.Errorf("message 2 came after %s, want 1s: the loop waited for the Save", waited)
		}
		m.Ack()
		break
	}
	saves := s.Store.History()
	for _, save := range saves {
		if save.Began.Equal(asked) {
			return
		}
	}
	t.Errorf("no Save when the loop began to wait: %v, %v", asked, saves)
}

func saveWhileStalled(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 3)
	c := s.Following()
	<-time.After(time.Second)
	for m := range c.Messages(t.Context()) {
		if m.ID == "3" {
			<-time.After(100 * time.Millisecond)
			synctest.Wait()
			s.SavedIs("2")
			m.Ack()
			break
		}
	}
}

func saveAfterSlowSave(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 9)
	c := s.Following()
	<-time.After(time.Second)
	s.Store.BeforeSave(func(context.Context) error { <-time.After(90 * time.Millisecond); return nil })
	for m := range c.Messages(t.Context()) {
		switch m.ID {
		case "2": // 1 is handled now; its Save begins 100 ms from now
			<-time.After(110 * time.Millisecond)
		case "3": // 2 is handled 10 ms into the Save that ends 80 ms from now
			handled := time.Now()
			<-time.After(300 * time.Millisecond)
			saves := s.Store.History()
			last := saves[len(saves)-1]
			if delay := last.Began.Sub(handled); delay > 100*time.Millisecond {
				t.Errorf("the Save of message 2 began %s after it was handled, want at most 100ms", delay)
			}
			s.SavedIs("2")
			return
		}
	}
}

func saveWhileBusy(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 100)
	c := s.Following()
	<-time.After(time.Second)
	for m := range c.Messages(t.Context()) {
		<-time.After(7 * time.Millisecond)
		synctest.Wait()
		at, _ := strconv.Atoi(m.ID)
		saved, _ := strconv.Atoi(s.Saved(lab.Orders))
		if behind := at - 1 - saved; behind > 15 {
			t.Fatalf("in the body of %d the marker is at %d: more than 100 ms behind", at, saved)
		}
		if at == 100 {
			break
		}
	}
	if n := len(s.Store.History()); n > 12 {
		t.Errorf("%d Saves in 700 ms", n)
	}
}

// savesBoundedByTime has a loop that waits after each message, or few: there are a
// hundred Saves per second at most.
func savesBoundedByTime(t *testing.T) {
	const ticks = 200 // of a millisecond
	for _, perTick := range []int{1, 10} {
		s := lab.NewScene(t)
		c := s.Following()
		<-time.After(time.Second)
		before := len(s.Store.History())
		go func() {
			for range ticks {
				<-time.After(time.Millisecond)
				s.PublishNext(lab.Orders, perTick)
			}
		}()
		lab.Loop(t, c, ticks*perTick)
		if n := len(s.Store.History()) - before; n > ticks/10+1 {
			t.Errorf("%d messages in %d ms: %d Saves", ticks*perTick, ticks, n)
		}
		s.SavedIs(strconv.Itoa(ticks * perTick))
		lab.Must(t, c.Close())
	}
}

// saveWhileQuiet: each keepalive has another id, which need not be saved at once. It
// is about the time that passes, whether anything was ever received or not.
func saveWhileQuiet(t *testing.T) {
	for _, received := range []int{0, 3} {
		s := lab.NewScene(t)
		s.PublishNext(lab.Orders, received)
		c := s.Following()
		ctx, stop := lab.NewStop(t)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for range c.Messages(ctx) {
			}
		}()
		<-time.After(3 * time.Minute)
		before := len(s.Store.History())
		if before == 0 {
			t.Error("where it starts was not saved")
		}
		for hour := 1; hour <= 24; hour++ {
			<-time.After(time.Hour)
			if n := len(s.Store.History()) - before; n < hour-1 || n > hour {
				t.Fatalf("%d Saves in %d hours", n, hour)
			}
			if age := time.Since(followedUntil(s.Store.Marker(s.Account().OrgID, lab.Orders))); age > time.Hour+3*time.Minute {
				t.Errorf("the saved Live is %s old", age)
			}
		}
		stop()
		<-ended
		lab.Must(t, c.Close())
	}
}

// saveInOrder has a store that takes its time; overlapping Saves fail the test.
func saveInOrder(t *testing.T) {
	s := lab.NewScene(t)
	s.Store.BeforeSave(func(context.Context) error { <-time.After(30 * time.Millisecond); return nil })
	c := s.Following(sfstream.WithAck(sfstream.AckManual))
	s.PublishNext(lab.Orders, 300)
	n := 0
	for m := range c.Messages(t.Context()) {
		delay := time.Duration(n*7%17) * time.Millisecond
		time.AfterFunc(delay, m.Ack)
		if n%50 == 0 {
			<-time.After(5 * time.Millisecond)
		}
		if n++; n == 300 {
			break
		}
	}
	<-time.After(time.Second)
	lab.Must(t, c.Close())
	s.SavedIs("300")
	before := 0
	for _, save := range s.Store.History() {
		for key, marker := range save.Markers {
			at, _ := strconv.Atoi(s.Number(key.Channel, marker.ReplayID))
			if at < before {
				t.Errorf("the marker went back from %d to %d", before, at)
			}
			before = at
		}
	}
}

func saveSeveral(t *testing.T) {
	s := lab.NewScene(t)
	c := s.Following()
	lab.Must(t, c.Subscribe(t.Context(), lab.Invoices))
	<-time.After(time.Second)
	s.PublishNext(lab.Orders, 2)
	s.PublishNext(lab.Invoices, 2)
	synctest.Wait()
	before := len(s.Store.History())
	lab.Loop(t, c, 4)
	saves := s.Store.History()[before:]
	if len(saves) != 1 || len(saves[0].Markers) != 2 {
		t.Errorf("got %v, want one Save of two markers", saves)
	}
	if s.Saved(lab.Orders) != "2" || s.Saved(lab.Invoices) != "2" {
		t.Errorf("the markers are at %s and %s, want 2 and 2", s.Saved(lab.Orders), s.Saved(lab.Invoices))
	}
}

func saveBeforeLoopEnd(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 10)
	c := s.Following()
	lab.Within(t, 0, func() { lab.Loop(t, c, 3) })
	s.SavedIs("3")
	lab.Within(t, 0, func() {
		ctx, stop := lab.NewStop(t)
		for m := range c.Messages(ctx) {
			if m.ID == "6" {
				stop()
			}
		}
	})
	s.SavedIs("6")
	func() {
		defer func() { _ = recover() }()
		for m := range c.Messages(t.Context()) {
			if m.ID == "9" {
				panic(m.ID)
			}
		}
	}()
	s.SavedIs("8")
}

func saveBeforeEndOfC(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 10)
	c := s.Following()
	ctx, stop := lab.NewStop(t)
	messages := c.C(ctx)
	for range 3 {
		<-messages
	}
	stop()
	for range messages {
	}
	s.SavedIs("2")
	c.C(t.Context())
	lab.Must(t, c.Close())
}

func saveBeforeUnsubscribe(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 10)
	c := s.Following()
	lab.Next(t, c)
	lab.Next(t, c)
	lab.Within(t, 0, func() { lab.Must(t, c.Unsubscribe(t.Context(), lab.Orders)) })
	s.SavedIs("1")
}

func saveBeforeClose(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 10)
	c := s.Following()
	for range 3 {
		lab.Next(t, c)
	}
	lab.Within(t, 0, func() { lab.Must(t, c.Close()) })
	s.SavedIs("2")
}

// lastSavesOwnLimit: the loop's ctx has ended, and the store is slow.
func lastSavesOwnLimit(t *testing.T) {
	s := lab.NewScene(t)
	s.SilenceKeepalive(true)
	s.PublishNext(lab.Orders, 2)
	c := s.Following()
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
	s.SavedIs("1")
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
	s.SavedIs("2") // the same client goes on
}

func lastSaveOfUnsubscribe(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 2)
	c := s.Following()
	<-time.After(time.Second)
	s.Store.BeforeSave(lab.Hang)
	m, err := c.Receive(t.Context())
	lab.Must(t, err)
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
	s.SavedIs("1")
	lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
	lab.NextIs(t, c, "2")
}

func flushBesideBusyLoop(t *testing.T) {
	s := lab.NewScene(t)
	c := s.Following()
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
	if got := s.Saved(lab.Invoices); got != "1" {
		t.Errorf("the marker of the other channel is at %q, want 1", got)
	}
	lab.Must(t, c.Close())
	<-ended
}

func crashRepeats(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 9)
	c := s.Following()
	for m := range c.Messages(t.Context()) {
		if m.ID == "3" {
			<-time.After(time.Second) // 1 and 2 are saved
		}
		if m.ID == "6" { // 3, 4 and 5 are handled now, and not saved
			c = s.Crash(c)
			break
		}
	}
	lab.SameNumbers(t, lab.Loop(t, c, 7), lab.Numbered(3, 9))
	lab.NothingNext(t, c)
}

// crashAnywhere looks, in every body and between, at what a program would do
// that starts from the store as it is then: it must get all that is unhandled.
func crashAnywhere(t *testing.T) {
	s := lab.NewScene(t)
	const total = 150
	s.PublishNext(lab.Orders, total)
	c := s.Following(sfstream.WithPrefetch(20))
	for m := range c.Messages(t.Context()) {
		at, _ := strconv.Atoi(m.ID)
		saved, _ := strconv.Atoi(s.Saved(lab.Orders))
		if saved >= at {
			t.Fatalf("in the body of %d the stored marker is at %d", at, saved)
		}
		<-time.After(time.Duration(at%40) * time.Millisecond)
		if saved, _ := strconv.Atoi(s.Saved(lab.Orders)); saved >= at {
			t.Fatalf("later in the body of %d the stored marker is at %d", at, saved)
		}
		if at%50 == 0 {
			old := s.Store
			again := s.Crash(c, sfstream.WithPrefetch(20))
			saved, _ := strconv.Atoi(s.Saved(lab.Orders))
			got := lab.Loop(t, again, total-saved)
			lab.SameNumbers(t, got, lab.Numbered(saved+1, total))
			lab.Must(t, again.Close())
			s.Store = old
			if at == total {
				break
			}
			return
		}
	}
}

func closeInsideBody(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 5)
	c := s.Following()
	for m := range c.Messages(t.Context()) {
		if m.ID == "3" {
			lab.Within(t, 0, func() { lab.Must(t, c.Close()) })
			s.SavedIs("2")
		}
	}
	s.SavedIs("3")
	lab.Must(t, c.Err())
	lab.NextIs(t, s.Following(), "4")
}

func closeThenStoreGone(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 5)
	c := s.Following()
	for m := range c.Messages(t.Context()) {
		if m.ID == "3" {
			lab.Must(t, c.Close())
			s.Store.BeforeSave(func(context.Context) error { return errors.New("the store is closed") })
		}
	}
	s.Store.BeforeSave(nil)
	s.SavedIs("2")
	lab.NextIs(t, s.Following(), "3")
}

func closeThenBreak(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 5)
	c := s.Following()
	for m := range c.Messages(t.Context()) {
		if m.ID == "3" {
			lab.Must(t, c.Close())
			break
		}
	}
	s.SavedIs("2")
	lab.NextIs(t, s.Following(), "3")
}

func closeHangingStore(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 2)
	c := s.Following()
	lab.Next(t, c)
	lab.Next(t, c)
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
	lab.NextIs(t, s.Following(), "1")
}

func closeDeafStore(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 2)
	c := s.Following()
	lab.Next(t, c)
	lab.Next(t, c)
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
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 2)
	c := s.Following()
	lab.Next(t, c)
	lab.Next(t, c)
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
	lab.NextIs(t, s.Following(), "1")
}

func resubscribe(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 50)
	c := s.Following()
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
	lab.NothingNext(t, c)
	if err := c.Unsubscribe(t.Context(), lab.Orders); !errors.Is(err, sfstream.ErrNotSubscribed) {
		t.Errorf("got %v, want ErrNotSubscribed", err)
	}
	s.PublishNext(lab.Orders, 10)
	lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
	lab.SameNumbers(t, lab.Loop(t, c, 50), lab.Numbered(11, 60))
	lab.NothingNext(t, c)
}

func unsubscribeInBody(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 50)
	c := s.Following()
	lab.Must(t, c.Subscribe(t.Context(), lab.Invoices))
	var got []string
	ctx, stop := lab.NewStop(t)
	for m := range c.Messages(ctx) {
		got = append(got, m.Channel+m.ID)
		switch {
		case m.ID == "3" && m.Channel == lab.Orders:
			lab.Must(t, c.Unsubscribe(t.Context(), lab.Orders))
			s.SavedIs("2")
			s.PublishNext(lab.Invoices, 2)
		case m.ID == "2" && m.Channel == lab.Invoices:
			stop()
		}
	}
	lab.SameNumbers(t, got, []string{lab.Orders + "1", lab.Orders + "2", lab.Orders + "3", lab.Invoices + "1", lab.Invoices + "2"})
	lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
	lab.SameNumbers(t, lab.Loop(t, c, 48), lab.Numbered(3, 50))
}

func unsubscribeHeldOut(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 50)
	c := s.Following()
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
	s.SavedIs("1")
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
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 5)
	c := s.Following()
	synctest.Wait()
	full := errors.New("disk full")
	s.Store.BeforeSave(func(context.Context) error { return full })
	lab.Loop(t, c, 3)
	if err := c.Unsubscribe(t.Context(), lab.Orders); !errors.Is(err, full) {
		t.Errorf("got %v, want %v", err, full)
	}
	lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
	lab.NextIs(t, c, "4")
	s.Store.BeforeSave(nil)
	<-time.After(10 * time.Second)
	lab.NextIs(t, c, "5")
	lab.Must(t, c.Close())
	s.SavedIs("5")
}

func storeFailsForAWhile(t *testing.T) {
	s := lab.NewScene(t)
	s.SilenceKeepalive(true)
	c := s.Following()
	<-time.After(time.Second)
	s.Store.BeforeSave(func(context.Context) error { return errors.New("disk full") })
	s.PublishNext(lab.Orders, 240)
	n := 0
	before := len(s.Store.History())
	for m := range c.Messages(t.Context()) { // four minutes
		if n++; n == 240 {
			m.Ack()
			break
		}
		<-time.After(time.Second)
	}
	s.SavedIs("")
	if tries := len(s.Store.History()) - before; tries < 5 || tries > 50 {
		t.Errorf("%d Saves were tried in 4 minutes", tries)
	}
	if len(s.Log.Warnings("not saved")) == 0 {
		t.Error("no warning of a store that fails")
	}
	lab.Must(t, c.Err())
	s.Store.BeforeSave(nil)
	<-time.After(31 * time.Second)
	s.SavedIs("240")
	<-time.After(10 * time.Minute)
	lab.Must(t, c.Err())
	s.PublishNext(lab.Orders, 1)
	lab.NextIs(t, c, "241")
}

func storeStaysBroken(t *testing.T) {
	s := lab.NewScene(t)
	c := s.Following()
	<-time.After(time.Second)
	full := errors.New("disk full")
	s.Store.BeforeSave(func(context.Context) error { return full })
	s.PublishNext(lab.Orders, 3)
	start := time.Now()
	var got []string
	for m, err := range c.MessagesErr(t.Context()) {
		if err != nil {
			got = append(got, "error")
			continue
		}
		got = append(got, m.ID)
	}
	lab.SameNumbers(t, got, []string{"1", "2", "3", "error"})
	if took := time.Since(start); took < 5*time.Minute || took > 5*time.Minute+30*time.Second {
		t.Errorf("the client ended after %s, want 5 minutes", took)
	}
	var failed *sfstream.StoreError
	if err := c.Err(); !errors.As(err, &failed) || !errors.Is(err, full) {
		t.Errorf("got %v, want a *StoreError that wraps the store's", err)
	}
	if _, err := c.Receive(t.Context()); !errors.As(err, &failed) {
		t.Errorf("Receive: got %v, want the *StoreError", err)
	}
	if err := c.Close(); !errors.As(err, &failed) {
		t.Errorf("Close: got %v, want the *StoreError", err)
	}
}

// logHandlerCallsClient: nothing is locked while something is logged.
func logHandlerCallsClient(t *testing.T) {
	s := lab.NewScene(t)
	var c *sfstream.Client
	opened := make(chan struct{})
	s.Log.OnRecord = func(slog.Record) {
		select {
		case <-opened:
			c.Pending()
			c.Status()
			c.Subscriptions()
			_ = c.Err()
		default:
		}
	}
	c, err := sfstream.New(s.Authenticator(), sfstream.WithOrg(s), sfstream.WithLogger(slog.New(s.Log)))
	lab.Must(t, err)
	close(opened)
	lab.Must(t, c.Open(t.Context()))
	lab.Must(t, c.Close())

	opened = make(chan struct{})
	c = s.Following()
	close(opened)
	s.PublishNext(lab.Orders, 1)
	s.Store.BeforeSave(func(context.Context) error { return errors.New("disk full") })
	for range c.Messages(t.Context()) { // until the store counts as broken
		s.DropConnections()
	}
	if c.Err() == nil {
		t.Error("the client has not ended")
	}
}
