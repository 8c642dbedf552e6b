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

// savingRules are rule 3: when markers are saved, and what a crash repeats.
func savingRules() []rule {
	return []rule{
		{number: 3, words: "a loop about to wait saves, and does not wait for the Save", run: saveBeforeWaiting},
		{number: 3, words: "what is handled is saved 100 ms later while a body stalls", run: saveWhileStalled},
		{number: 3, words: "what is handled during a slow Save is saved 100 ms later too", run: saveAfterSlowSave},
		{number: 3, words: "a busy loop saves every 100 ms", run: saveWhileBusy},
		{number: 3, words: "ten times the messages in the same time make no more Saves", run: savesBoundedByTime},
		{number: 3, words: "a quiet channel saves once an hour", run: saveWhileQuiet},
		{number: 3, words: "one Save at a time in watermark order", run: saveInOrder},
		{number: 3, words: "one Save has the markers of several channels", run: saveSeveral},
		{number: 3, words: "a crash repeats what was handled since the last Save and what was in the body", run: crashRepeats},
		{number: 3, words: "a crash at any moment loses nothing", run: crashAnywhere},
		{number: 3, words: "a log handler may call the client", run: logHandlerCallsClient},
	}
}

func saveBeforeWaiting(t *testing.T) {
	s := lab.New(t)
	c := s.FollowFromOldest()
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
	s, c := following(t, 3)
	<-time.After(time.Second)
	for m := range c.Messages(t.Context()) {
		if m.ID == "3" {
			<-time.After(100 * time.Millisecond)
			synctest.Wait()
			s.ExpectSaved("2")
			m.Ack()
			break
		}
	}
}

func saveAfterSlowSave(t *testing.T) {
	s, c := following(t, 9)
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
			s.ExpectSaved("2")
			return
		}
	}
}

func saveWhileBusy(t *testing.T) {
	s, c := following(t, 100)
	<-time.After(time.Second)
	for m := range c.Messages(t.Context()) {
		<-time.After(7 * time.Millisecond)
		synctest.Wait()
		at, _ := strconv.Atoi(m.ID)
		saved, _ := strconv.Atoi(s.SavedID(lab.Orders))
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

// savesBoundedByTime has a loop that waits after each message, or few: there are a hundred Saves
// per second at most.
func savesBoundedByTime(t *testing.T) {
	const ticks = 200 // of a millisecond
	for _, perTick := range []int{1, 10} {
		s := lab.New(t)
		c := s.FollowFromOldest()
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
		s.ExpectSaved(strconv.Itoa(ticks * perTick))
		lab.Must(t, c.Close())
	}
}

// saveWhileQuiet: each keepalive has another id, which need not be saved at once. It is about the
// time that passes, whether anything was ever received or not.
func saveWhileQuiet(t *testing.T) {
	for _, received := range []int{0, 3} {
		s, c := following(t, received)
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
			if age := time.Since(followedUntil(s.Marker(lab.Orders))); age > time.Hour+3*time.Minute {
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
	s := lab.New(t)
	s.Store.BeforeSave(func(context.Context) error { <-time.After(30 * time.Millisecond); return nil })
	c := s.FollowFromOldest(sfstream.WithAck(sfstream.AckManual))
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
	s.ExpectSaved("300")
	before := 0
	for _, save := range s.Store.History() {
		for key, marker := range save.Markers {
			at, _ := strconv.Atoi(s.IDOf(key.Channel, marker.ReplayID))
			if at < before {
				t.Errorf("the marker went back from %d to %d", before, at)
			}
			before = at
		}
	}
}

func saveSeveral(t *testing.T) {
	s := lab.New(t)
	c := s.FollowFromOldest()
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
	if s.SavedID(lab.Orders) != "2" || s.SavedID(lab.Invoices) != "2" {
		t.Errorf("the markers are at %s and %s, want 2 and 2", s.SavedID(lab.Orders), s.SavedID(lab.Invoices))
	}
}

func crashRepeats(t *testing.T) {
	s, c := following(t, 9)
	for m := range c.Messages(t.Context()) {
		if m.ID == "3" {
			<-time.After(time.Second) // 1 and 2 are saved
		}
		if m.ID == "6" { // 3, 4 and 5 are handled now, and not saved
			c = s.Crash(c)
			break
		}
	}
	lab.ExpectIDs(t, lab.Loop(t, c, 7), lab.IDs(3, 9))
	lab.ExpectQuiet(t, c, time.Second)
}

// crashAnywhere looks, in every body and between, at what a program would do that starts from the
// store as it is then: it must get all that is unhandled.
func crashAnywhere(t *testing.T) {
	s := lab.New(t)
	const total = 150
	s.PublishNext(lab.Orders, total)
	c := s.FollowFromOldest(sfstream.WithPrefetch(20))
	for m := range c.Messages(t.Context()) {
		at, _ := strconv.Atoi(m.ID)
		saved, _ := strconv.Atoi(s.SavedID(lab.Orders))
		if saved >= at {
			t.Fatalf("in the body of %d the stored marker is at %d", at, saved)
		}
		<-time.After(time.Duration(at%40) * time.Millisecond)
		if saved, _ := strconv.Atoi(s.SavedID(lab.Orders)); saved >= at {
			t.Fatalf("later in the body of %d the stored marker is at %d", at, saved)
		}
		if at%50 == 0 {
			old := s.Store
			again := s.Crash(c, sfstream.WithPrefetch(20))
			saved, _ := strconv.Atoi(s.SavedID(lab.Orders))
			got := lab.Loop(t, again, total-saved)
			lab.ExpectIDs(t, got, lab.IDs(saved+1, total))
			lab.Must(t, again.Close())
			s.Store = old
			if at == total {
				break
			}
			return
		}
	}
}

// logHandlerCallsClient: nothing is locked while something is logged.
func logHandlerCallsClient(t *testing.T) {
	s := lab.New(t)
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
	c, err := sfstream.New(s.Authenticator(), sfstream.WithOrg(s), sfstream.WithLogger(s.Log.Logger()))
	lab.Must(t, err)
	close(opened)
	lab.Must(t, c.Open(t.Context()))
	lab.Must(t, c.Close())

	opened = make(chan struct{})
	c = s.FollowFromOldest()
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
