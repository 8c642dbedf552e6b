package sfstream_test

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
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
	s := newScene(t)
	c := s.following()
	<-time.After(time.Second)
	s.store.beforeSave(func(ctx context.Context) error { // a slow store
		select {
		case <-time.After(3 * time.Second):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	s.publish(orders, 1)
	var asked time.Time // when the loop asked for more
	for m := range c.Messages(t.Context()) {
		if m.ID == "1" {
			go func() {
				<-time.After(time.Second)
				s.publish(orders, 1)
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
	saves := s.store.history()
	for _, save := range saves {
		if save.began.Equal(asked) {
			return
		}
	}
	t.Errorf("no Save when the loop began to wait: %v, %v", asked, saves)
}

func saveWhileStalled(t *testing.T) {
	s := newScene(t)
	s.publish(orders, 3)
	c := s.following()
	<-time.After(time.Second)
	for m := range c.Messages(t.Context()) {
		if m.ID == "3" {
			<-time.After(100 * time.Millisecond)
			synctest.Wait()
			s.savedIs("2")
			m.Ack()
			break
		}
	}
}

func saveAfterSlowSave(t *testing.T) {
	s := newScene(t)
	s.publish(orders, 9)
	c := s.following()
	<-time.After(time.Second)
	s.store.beforeSave(func(context.Context) error { <-time.After(90 * time.Millisecond); return nil })
	for m := range c.Messages(t.Context()) {
		switch m.ID {
		case "2": // 1 is handled now; its Save begins 100 ms from now
			<-time.After(110 * time.Millisecond)
		case "3": // 2 is handled 10 ms into the Save that ends 80 ms from now
			handled := time.Now()
			<-time.After(300 * time.Millisecond)
			saves := s.store.history()
			last := saves[len(saves)-1]
			if delay := last.began.Sub(handled); delay > 100*time.Millisecond {
				t.Errorf("the Save of message 2 began %s after it was handled, want at most 100ms", delay)
			}
			s.savedIs("2")
			return
		}
	}
}

func saveWhileBusy(t *testing.T) {
	s := newScene(t)
	s.publish(orders, 100)
	c := s.following()
	<-time.After(time.Second)
	for m := range c.Messages(t.Context()) {
		<-time.After(7 * time.Millisecond)
		synctest.Wait()
		at, _ := strconv.Atoi(m.ID)
		saved, _ := strconv.Atoi(s.saved(orders))
		if behind := at - 1 - saved; behind > 15 {
			t.Fatalf("in the body of %d the marker is at %d: more than 100 ms behind", at, saved)
		}
		if at == 100 {
			break
		}
	}
	if n := len(s.store.history()); n > 12 {
		t.Errorf("%d Saves in 700 ms", n)
	}
}

// savesBoundedByTime has a loop that waits after each message, or few: there are a
// hundred Saves per second at most.
func savesBoundedByTime(t *testing.T) {
	const ticks = 200 // of a millisecond
	for _, perTick := range []int{1, 10} {
		s := newScene(t)
		c := s.following()
		<-time.After(time.Second)
		before := len(s.store.history())
		go func() {
			for range ticks {
				<-time.After(time.Millisecond)
				s.publish(orders, perTick)
			}
		}()
		loop(t, c, ticks*perTick)
		if n := len(s.store.history()) - before; n > ticks/10+1 {
			t.Errorf("%d messages in %d ms: %d Saves", ticks*perTick, ticks, n)
		}
		s.savedIs(strconv.Itoa(ticks * perTick))
		must(t, c.Close())
	}
}

// saveWhileQuiet: each keepalive has another id, which need not be saved at once. It
// is about the time that passes, whether anything was ever received or not.
func saveWhileQuiet(t *testing.T) {
	for _, received := range []int{0, 3} {
		s := newScene(t)
		s.publish(orders, received)
		c := s.following()
		ctx, stop := newStop(t)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for range c.Messages(ctx) {
			}
		}()
		<-time.After(3 * time.Minute)
		before := len(s.store.history())
		if before == 0 {
			t.Error("where it starts was not saved")
		}
		for hour := 1; hour <= 24; hour++ {
			<-time.After(time.Hour)
			if n := len(s.store.history()) - before; n < hour-1 || n > hour {
				t.Fatalf("%d Saves in %d hours", n, hour)
			}
			if age := time.Since(followedUntil(s.store.marker(s.Account().OrgID, orders))); age > time.Hour+3*time.Minute {
				t.Errorf("the saved Live is %s old", age)
			}
		}
		stop()
		<-ended
		must(t, c.Close())
	}
}

// saveInOrder has a store that takes its time; overlapping Saves fail the test.
func saveInOrder(t *testing.T) {
	s := newScene(t)
	s.store.beforeSave(func(context.Context) error { <-time.After(30 * time.Millisecond); return nil })
	c := s.following(sfstream.WithAck(sfstream.AckManual))
	s.publish(orders, 300)
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
	must(t, c.Close())
	s.savedIs("300")
	before := 0
	for _, save := range s.store.history() {
		for key, marker := range save.markers {
			at, _ := strconv.Atoi(s.number(key.Channel, marker.ReplayID))
			if at < before {
				t.Errorf("the marker went back from %d to %d", before, at)
			}
			before = at
		}
	}
}

func saveSeveral(t *testing.T) {
	s := newScene(t)
	c := s.following()
	must(t, c.Subscribe(t.Context(), invoices))
	<-time.After(time.Second)
	s.publish(orders, 2)
	s.publish(invoices, 2)
	synctest.Wait()
	before := len(s.store.history())
	loop(t, c, 4)
	saves := s.store.history()[before:]
	if len(saves) != 1 || len(saves[0].markers) != 2 {
		t.Errorf("got %v, want one Save of two markers", saves)
	}
	if s.saved(orders) != "2" || s.saved(invoices) != "2" {
		t.Errorf("the markers are at %s and %s, want 2 and 2", s.saved(orders), s.saved(invoices))
	}
}

func saveBeforeLoopEnd(t *testing.T) {
	s := newScene(t)
	s.publish(orders, 10)
	c := s.following()
	within(t, 0, func() { loop(t, c, 3) })
	s.savedIs("3")
	within(t, 0, func() {
		ctx, stop := newStop(t)
		for m := range c.Messages(ctx) {
			if m.ID == "6" {
				stop()
			}
		}
	})
	s.savedIs("6")
	func() {
		defer func() { _ = recover() }()
		for m := range c.Messages(t.Context()) {
			if m.ID == "9" {
				panic(m.ID)
			}
		}
	}()
	s.savedIs("8")
}

func saveBeforeEndOfC(t *testing.T) {
	s := newScene(t)
	s.publish(orders, 10)
	c := s.following()
	ctx, stop := newStop(t)
	messages := c.C(ctx)
	for range 3 {
		<-messages
	}
	stop()
	for range messages {
	}
	s.savedIs("2")
	c.C(t.Context())
	must(t, c.Close())
}

func saveBeforeUnsubscribe(t *testing.T) {
	s := newScene(t)
	s.publish(orders, 10)
	c := s.following()
	next(t, c)
	next(t, c)
	within(t, 0, func() { must(t, c.Unsubscribe(t.Context(), orders)) })
	s.savedIs("1")
}

func saveBeforeClose(t *testing.T) {
	s := newScene(t)
	s.publish(orders, 10)
	c := s.following()
	for range 3 {
		next(t, c)
	}
	within(t, 0, func() { must(t, c.Close()) })
	s.savedIs("2")
}

// lastSavesOwnLimit: the loop's ctx has ended, and the store is slow.
func lastSavesOwnLimit(t *testing.T) {
	s := newScene(t)
	s.SilenceKeepalive(true)
	s.publish(orders, 2)
	c := s.following()
	<-time.After(time.Second)
	s.store.beforeSave(func(ctx context.Context) error {
		select {
		case <-time.After(4 * time.Second):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	ctx, stop := newStop(t)
	for range c.Messages(ctx) {
		stop()
	}
	s.savedIs("1")
	s.store.beforeSave(hang)
	start := time.Now()
	for m := range c.Messages(t.Context()) {
		m.Ack()
		break
	}
	if took := time.Since(start); took != 5*time.Second {
		t.Errorf("a loop ended %s later with a store that hangs, want 5s", took)
	}
	s.store.beforeSave(nil)
	<-time.After(time.Minute)
	s.savedIs("2") // the same client goes on
}

func lastSaveOfUnsubscribe(t *testing.T) {
	s := newScene(t)
	s.publish(orders, 2)
	c := s.following()
	<-time.After(time.Second)
	s.store.beforeSave(hang)
	m, err := c.Receive(t.Context())
	must(t, err)
	m.Ack()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	start := time.Now()
	var failed *sfstream.StoreError
	if err := c.Unsubscribe(ctx, orders); !errors.As(err, &failed) {
		t.Errorf("got %v, want a *StoreError", err)
	}
	if took := time.Since(start); took != 5*time.Second {
		t.Errorf("took %s, want the 5s of the last save", took)
	}
	s.store.beforeSave(nil)
	<-time.After(time.Minute)
	s.savedIs("1")
	must(t, c.Subscribe(t.Context(), orders))
	nextIs(t, c, "2")
}

func flushBesideBusyLoop(t *testing.T) {
	s := newScene(t)
	c := s.following()
	must(t, c.Subscribe(t.Context(), invoices))
	<-time.After(time.Second)
	s.store.beforeSave(func(context.Context) error { <-time.After(50 * time.Millisecond); return nil })
	s.publish(invoices, 1)
	synctest.Wait()
	s.publish(orders, 1000)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range c.Messages(t.Context()) {
			<-time.After(time.Millisecond)
		}
	}()
	<-time.After(200 * time.Millisecond)
	must(t, c.Unsubscribe(t.Context(), invoices))
	if got := s.saved(invoices); got != "1" {
		t.Errorf("the marker of the other channel is at %q, want 1", got)
	}
	must(t, c.Close())
	<-ended
}

func crashRepeats(t *testing.T) {
	s := newScene(t)
	s.publish(orders, 9)
	c := s.following()
	for m := range c.Messages(t.Context()) {
		if m.ID == "3" {
			<-time.After(time.Second) // 1 and 2 are saved
		}
		if m.ID == "6" { // 3, 4 and 5 are handled now, and not saved
			c = s.crash(c)
			break
		}
	}
	sameNumbers(t, loop(t, c, 7), numbered(3, 9))
	nothingNext(t, c)
}

// crashAnywhere looks, in every body and between, at what a program would do
// that starts from the store as it is then: it must get all that is unhandled.
func crashAnywhere(t *testing.T) {
	s := newScene(t)
	const total = 150
	s.publish(orders, total)
	c := s.following(sfstream.WithPrefetch(20))
	for m := range c.Messages(t.Context()) {
		at, _ := strconv.Atoi(m.ID)
		saved, _ := strconv.Atoi(s.saved(orders))
		if saved >= at {
			t.Fatalf("in the body of %d the stored marker is at %d", at, saved)
		}
		<-time.After(time.Duration(at%40) * time.Millisecond)
		if saved, _ := strconv.Atoi(s.saved(orders)); saved >= at {
			t.Fatalf("later in the body of %d the stored marker is at %d", at, saved)
		}
		if at%50 == 0 {
			old := s.store
			again := s.crash(c, sfstream.WithPrefetch(20))
			saved, _ := strconv.Atoi(s.saved(orders))
			got := loop(t, again, total-saved)
			sameNumbers(t, got, numbered(saved+1, total))
			must(t, again.Close())
			s.store = old
			if at == total {
				break
			}
			return
		}
	}
}

func closeInsideBody(t *testing.T) {
	s := newScene(t)
	s.publish(orders, 5)
	c := s.following()
	for m := range c.Messages(t.Context()) {
		if m.ID == "3" {
			within(t, 0, func() { must(t, c.Close()) })
			s.savedIs("2")
		}
	}
	s.savedIs("3")
	must(t, c.Err())
	nextIs(t, s.following(), "4")
}

func closeThenStoreGone(t *testing.T) {
	s := newScene(t)
	s.publish(orders, 5)
	c := s.following()
	for m := range c.Messages(t.Context()) {
		if m.ID == "3" {
			must(t, c.Close())
			s.store.beforeSave(func(context.Context) error { return errors.New("the store is closed") })
		}
	}
	s.store.beforeSave(nil)
	s.savedIs("2")
	nextIs(t, s.following(), "3")
}

func closeThenBreak(t *testing.T) {
	s := newScene(t)
	s.publish(orders, 5)
	c := s.following()
	for m := range c.Messages(t.Context()) {
		if m.ID == "3" {
			must(t, c.Close())
			break
		}
	}
	s.savedIs("2")
	nextIs(t, s.following(), "3")
}

func closeHangingStore(t *testing.T) {
	s := newScene(t)
	s.publish(orders, 2)
	c := s.following()
	next(t, c)
	next(t, c)
	s.store.beforeSave(hang)
	var failed *sfstream.StoreError
	within(t, 5*time.Second, func() {
		if err := c.Close(); !errors.As(err, &failed) {
			t.Errorf("got %v, want a *StoreError", err)
		}
	})
	if err := c.Close(); !errors.As(err, &failed) {
		t.Errorf("a second Close returned %v, want the same *StoreError", err)
	}
	synctest.Wait()
	s.store.beforeSave(nil)
	nextIs(t, s.following(), "1")
}

func closeDeafStore(t *testing.T) {
	s := newScene(t)
	s.publish(orders, 2)
	c := s.following()
	next(t, c)
	next(t, c)
	release := make(chan struct{})
	s.store.beforeSave(func(context.Context) error { <-release; return errors.New("too late") })
	c.C(t.Context()) // saves when it ends, too
	within(t, 5*time.Second, func() {
		if err := c.Close(); err == nil {
			t.Error("no error from Close though nothing was saved")
		}
	})
	close(release)
	synctest.Wait()
}

func closeFailingStore(t *testing.T) {
	s := newScene(t)
	s.publish(orders, 2)
	c := s.following()
	next(t, c)
	next(t, c)
	full := errors.New("disk full")
	s.store.beforeSave(func(context.Context) error { return full })
	within(t, time.Second, func() {
		if err := c.Close(); !errors.Is(err, full) {
			t.Errorf("got %v, want it to say %v", err, full)
		}
	})
	must(t, c.Err())
	<-time.After(time.Hour) // no retry after Close
	s.store.beforeSave(nil)
	nextIs(t, s.following(), "1")
}

func resubscribe(t *testing.T) {
	s := newScene(t)
	s.publish(orders, 50)
	c := s.following()
	must(t, c.Subscribe(t.Context(), invoices))
	loop(t, c, 10)
	synctest.Wait()
	s.publish(invoices, 1)
	must(t, c.Unsubscribe(t.Context(), orders))
	if m, err := c.Receive(t.Context()); err != nil || m.Channel != invoices {
		t.Fatalf("got %v, %v, want only the invoice", m, err)
	} else {
		m.Ack()
	}
	nothingNext(t, c)
	if err := c.Unsubscribe(t.Context(), orders); !errors.Is(err, sfstream.ErrNotSubscribed) {
		t.Errorf("got %v, want ErrNotSubscribed", err)
	}
	s.publish(orders, 10)
	must(t, c.Subscribe(t.Context(), orders))
	sameNumbers(t, loop(t, c, 50), numbered(11, 60))
	nothingNext(t, c)
}

func unsubscribeInBody(t *testing.T) {
	s := newScene(t)
	s.publish(orders, 50)
	c := s.following()
	must(t, c.Subscribe(t.Context(), invoices))
	var got []string
	ctx, stop := newStop(t)
	for m := range c.Messages(ctx) {
		got = append(got, m.Channel+m.ID)
		switch {
		case m.ID == "3" && m.Channel == orders:
			must(t, c.Unsubscribe(t.Context(), orders))
			s.savedIs("2")
			s.publish(invoices, 2)
		case m.ID == "2" && m.Channel == invoices:
			stop()
		}
	}
	sameNumbers(t, got, []string{orders + "1", orders + "2", orders + "3", invoices + "1", invoices + "2"})
	must(t, c.Subscribe(t.Context(), orders))
	sameNumbers(t, loop(t, c, 48), numbered(3, 50))
}

func unsubscribeHeldOut(t *testing.T) {
	s := newScene(t)
	s.publish(orders, 50)
	c := s.following()
	must(t, c.Subscribe(t.Context(), invoices))
	messages := c.C(t.Context())
	(<-messages).Ack()
	synctest.Wait() // 2 is held out
	must(t, c.Unsubscribe(t.Context(), orders))
	select {
	case m := <-messages:
		t.Errorf("got %s after Unsubscribe", m.ID)
	default:
	}
	s.savedIs("1")
	if got := c.Pending(); got != 0 {
		t.Errorf("%d pending after Unsubscribe, want 0", got)
	}
	s.publish(invoices, 1)
	if m := <-messages; m.Channel != invoices {
		t.Errorf("got %s, want the invoice", m.Channel)
	}
	must(t, c.Subscribe(t.Context(), orders))
	if m := <-messages; m.ID != "2" {
		t.Errorf("got %s, want 2 again", m.ID)
	}
}

func resubscribeUnsaved(t *testing.T) {
	s := newScene(t)
	s.publish(orders, 5)
	c := s.following()
	synctest.Wait()
	full := errors.New("disk full")
	s.store.beforeSave(func(context.Context) error { return full })
	loop(t, c, 3)
	if err := c.Unsubscribe(t.Context(), orders); !errors.Is(err, full) {
		t.Errorf("got %v, want %v", err, full)
	}
	must(t, c.Subscribe(t.Context(), orders))
	nextIs(t, c, "4")
	s.store.beforeSave(nil)
	<-time.After(10 * time.Second)
	nextIs(t, c, "5")
	must(t, c.Close())
	s.savedIs("5")
}

func storeFailsForAWhile(t *testing.T) {
	s := newScene(t)
	s.SilenceKeepalive(true)
	c := s.following()
	<-time.After(time.Second)
	s.store.beforeSave(func(context.Context) error { return errors.New("disk full") })
	s.publish(orders, 240)
	n := 0
	before := len(s.store.history())
	for m := range c.Messages(t.Context()) { // four minutes
		if n++; n == 240 {
			m.Ack()
			break
		}
		<-time.After(time.Second)
	}
	s.savedIs("")
	if tries := len(s.store.history()) - before; tries < 5 || tries > 50 {
		t.Errorf("%d Saves were tried in 4 minutes", tries)
	}
	if len(s.log.warnings("not saved")) == 0 {
		t.Error("no warning of a store that fails")
	}
	must(t, c.Err())
	s.store.beforeSave(nil)
	<-time.After(31 * time.Second)
	s.savedIs("240")
	<-time.After(10 * time.Minute)
	must(t, c.Err())
	s.publish(orders, 1)
	nextIs(t, c, "241")
}

func storeStaysBroken(t *testing.T) {
	s := newScene(t)
	c := s.following()
	<-time.After(time.Second)
	full := errors.New("disk full")
	s.store.beforeSave(func(context.Context) error { return full })
	s.publish(orders, 3)
	start := time.Now()
	var got []string
	for m, err := range c.MessagesErr(t.Context()) {
		if err != nil {
			got = append(got, "error")
			continue
		}
		got = append(got, m.ID)
	}
	sameNumbers(t, got, []string{"1", "2", "3", "error"})
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
	s := newScene(t)
	var c *sfstream.Client
	opened := make(chan struct{})
	s.log.also = func(slog.Record) {
		select {
		case <-opened:
			c.Pending()
			c.Status()
			c.Subscriptions()
			_ = c.Err()
		default:
		}
	}
	c, err := sfstream.New(s.Authenticator(), sfstream.WithOrg(s), sfstream.WithLogger(slog.New(s.log)))
	must(t, err)
	close(opened)
	must(t, c.Open(t.Context()))
	must(t, c.Close())

	opened = make(chan struct{})
	c = s.following()
	close(opened)
	s.publish(orders, 1)
	s.store.beforeSave(func(context.Context) error { return errors.New("disk full") })
	for range c.Messages(t.Context()) { // until the store counts as broken
		s.DropConnections()
	}
	if c.Err() == nil {
		t.Error("the client has not ended")
	}
}
