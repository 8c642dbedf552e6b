package contract

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// contractAck is rule 2: when a message is handled, and what comes again.
func contractAck() []rule {
	rules := []rule{
		{number: 2, words: "a loop's message is handled when the loop asks for the next", run: handledByLoop},
		{number: 2, words: "a received message is handled when Receive is called again", run: handledByReceive},
		{number: 2, words: "a message of C is handled when the next one is taken", run: handledByC},
		{number: 2, words: "a body that finishes after its ctx has ended has handled its message", run: handledAtEndOfCtx},
		{number: 2, words: "Receive that is asked again with an ended ctx has handled its message", run: handledByEndedReceive},
		{number: 2, words: "Ack before break settles", run: ackBeforeBreak},
		{number: 2, words: "Ack of a message that was put back settles", run: ackAfterPutBack},
		{number: 2, words: "a message put back survives a reconnect and comes once", run: putBackAcrossReconnect},
		{number: 2, words: "the last message of Receive needs Ack", run: lastOfReceive},
		{number: 2, words: "the last message of C needs Ack", run: lastOfC},
		{number: 2, words: "C closes when ctx ends, and what was not taken goes back", run: notTakenFromC},
		{number: 2, words: "C that is never read holds nothing up but its turn", run: neverReadC},
		{number: 2, words: "an iter.Pull stopped leaves its message unhandled", run: pulled},
		{number: 2, words: "a second loop waits its turn with one Warn and ends with ctx", run: nestedLoop},
		{number: 2, words: "Receive and C wait their turn too", run: consumersInTurn},
		{number: 2, words: "AckOnReceive handles what is handed out", run: ackOnReceive},
		{number: 2, words: "AckOnReceive leaves what C only offers", run: ackOnReceiveOffer},
		{number: 2, words: "AckManual settles in any order", run: ackManualOrder},
		{number: 2, words: "AckManual settles from many goroutines, each twice", run: ackManualGoroutines},
		{number: 2, words: "AckManual repeats after a restart all above the oldest unacked", run: ackManualRestart},
		{number: 2, words: "AckManual does not repeat what a loop left", run: ackManualBreak},
		{number: 2, words: "AckManual wakes another consumer when one leaves with its ctx", run: ackManualWake},
		{number: 2, words: "AckManual feeds each C while others hold a message out", run: ackManualFeeders},
		{number: 2, words: "Ack after Unsubscribe and Close does nothing", run: ackTooLate},
	}
	for leave, doLeave := range leavings {
		for resume, doResume := range resumptions {
			rules = append(rules, rule{
				number: 2, words: fmt.Sprintf("%s leaves the message unhandled and %s gets it first", leave, resume),
				run: func(t *testing.T) { leftUnhandled(t, doLeave, doResume) },
			})
		}
	}
	return rules
}

// handledByLoop: in the body of each message the stored marker is that of the
// one before, however long the body takes.
func handledByLoop(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 5)
	c := s.Following()
	before := ""
	for m := range c.Messages(t.Context()) {
		<-time.After(time.Second)
		s.SavedIs(before)
		if before = m.ID; m.ID == "5" {
			break
		}
	}
	s.SavedIs("4")
}

func handledByReceive(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 5)
	c := s.Following()
	before := ""
	for range 5 {
		got := lab.Next(t, c)
		<-time.After(time.Second)
		s.SavedIs(before)
		before = got
	}
}

func handledByC(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 5)
	c := s.Following()
	messages := c.C(t.Context())
	before := ""
	for range 5 {
		m := <-messages
		<-time.After(time.Second)
		s.SavedIs(before)
		before = m.ID
	}
}

func handledAtEndOfCtx(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 3)
	c := s.Following()
	ctx, stop := lab.NewStop(t)
	for m := range c.Messages(ctx) {
		if m.ID == "2" {
			stop()
		}
	}
	s.SavedIs("2")
	lab.NextIs(t, c, "3")
}

func handledByEndedReceive(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 2)
	c := s.Following()
	ctx, stop := lab.NewStop(t)
	if m, err := c.Receive(ctx); err != nil || m.ID != "1" {
		t.Fatal(m, err)
	}
	stop()
	if _, err := c.Receive(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want the ctx's error", err)
	}
	lab.NextIs(t, c, "2")
}

// leavings are the ways to leave a consumer with message 3 unhandled, after 1
// and 2 were handled.
var leavings = map[string]func(t *testing.T, c *sfstream.Client){
	"break": func(t *testing.T, c *sfstream.Client) {
		for m := range c.Messages(t.Context()) {
			if m.ID == "3" {
				break
			}
		}
	},
	"return": func(t *testing.T, c *sfstream.Client) {
		for m, err := range c.MessagesErr(t.Context()) {
			lab.Must(t, err)
			if m.ID == "3" {
				return
			}
		}
	},
	"panic": func(t *testing.T, c *sfstream.Client) {
		defer func() {
			if recover() != "the user's own" {
				t.Error("the panic did not come through")
			}
		}()
		for m := range c.Messages(t.Context()) {
			if m.ID == "3" {
				panic("the user's own")
			}
		}
	},
	"Goexit": func(t *testing.T, c *sfstream.Client) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			for m := range c.Messages(t.Context()) {
				if m.ID == "3" {
					runtime.Goexit()
				}
			}
		}()
		<-done
	},
	"the end of C": func(t *testing.T, c *sfstream.Client) {
		ctx, stop := lab.NewStop(t)
		messages := c.C(ctx)
		for range 3 {
			<-messages
		}
		synctest.Wait() // the next one is offered
		stop()
		for range messages {
			t.Error("a message after the end of ctx")
		}
	},
	"stopping a Pull": func(t *testing.T, c *sfstream.Client) {
		pull, stop := iter.Pull(c.Messages(t.Context()))
		defer stop()
		for range 3 {
			pull()
		}
	},
}

// resumptions are the ways to go on.
var resumptions = map[string]func(t *testing.T, s *lab.Scene, c *sfstream.Client) (*sfstream.Message, *sfstream.Client){
	"the next loop": func(t *testing.T, _ *lab.Scene, c *sfstream.Client) (*sfstream.Message, *sfstream.Client) {
		for m := range c.Messages(t.Context()) {
			m.Ack()
			return m, c
		}
		return nil, c
	},
	"Receive": func(t *testing.T, _ *lab.Scene, c *sfstream.Client) (*sfstream.Message, *sfstream.Client) {
		m, err := c.Receive(t.Context())
		lab.Must(t, err)
		m.Ack()
		return m, c
	},
	"C": func(t *testing.T, _ *lab.Scene, c *sfstream.Client) (*sfstream.Message, *sfstream.Client) {
		ctx, stop := lab.NewStop(t)
		messages := c.C(ctx)
		m := <-messages
		m.Ack()
		stop()
		for range messages {
		}
		return m, c
	},
	"a restarted program": func(t *testing.T, s *lab.Scene, c *sfstream.Client) (*sfstream.Message, *sfstream.Client) {
		c = s.Restart(c)
		m, err := c.Receive(t.Context())
		lab.Must(t, err)
		m.Ack()
		return m, c
	},
	"a program after a crash": func(t *testing.T, s *lab.Scene, c *sfstream.Client) (*sfstream.Message, *sfstream.Client) {
		c = s.Crash(c)
		m, err := c.Receive(t.Context())
		lab.Must(t, err)
		m.Ack()
		return m, c
	},
}

func leftUnhandled(t *testing.T, leave func(*testing.T, *sfstream.Client), resume func(*testing.T, *lab.Scene, *sfstream.Client) (*sfstream.Message, *sfstream.Client)) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 5)
	c := s.Following()
	for range 2 { // it comes again and again
		leave(t, c)
		s.SavedIs("2")
		if t.Failed() {
			return
		}
		lab.Must(t, c.Err())
		c = s.Restart(c)
		leave = func(t *testing.T, c *sfstream.Client) {
			for m := range c.Messages(t.Context()) {
				if m.ID != "3" {
					t.Errorf("got %s, want 3 again", m.ID)
				}
				break
			}
		}
	}
	leave(t, c)
	m, c := resume(t, s, c)
	if m == nil || m.ID != "3" {
		t.Fatalf("got %v, want message 3 first", m)
	}
	lab.SameNumbers(t, lab.Loop(t, c, 2), lab.Numbered(4, 5))
	s.SavedIs("5")
	lab.NothingNext(t, c)
}

func ackBeforeBreak(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 3)
	c := s.Following()
	for m := range c.Messages(t.Context()) {
		m.Ack()
		break
	}
	s.SavedIs("1")
	lab.NextIs(t, c, "2")
	c = s.Restart(c)
	lab.NextIs(t, c, "3")
	lab.NothingNext(t, c)
}

func ackAfterPutBack(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 3)
	c := s.Following()
	var kept *sfstream.Message
	for m := range c.Messages(t.Context()) {
		kept = m
		break
	}
	if got := c.Pending(); got != 3 {
		t.Errorf("%d pending after break, want 3", got)
	}
	kept.Clone().Ack()
	kept.Ack()
	if got := c.Pending(); got != 2 {
		t.Errorf("%d pending after Ack, want 2", got)
	}
	lab.NextIs(t, c, "2")
	lab.NextIs(t, c, "3")
	lab.NothingNext(t, c)
}

func putBackAcrossReconnect(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 3)
	c := s.Following()
	for range c.Messages(t.Context()) {
		break
	}
	s.DropConnections()
	s.PublishNext(lab.Orders, 1)
	<-time.After(time.Minute)
	lab.SameNumbers(t, lab.Loop(t, c, 4), lab.Numbered(1, 4))
	lab.NothingNext(t, c)
}

func lastOfReceive(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 3)
	c := s.Following()
	lab.Next(t, c)
	lab.Next(t, c)
	c = s.Restart(c)
	lab.NextIs(t, c, "2") // acks it
	c = s.Restart(c)
	lab.NextIs(t, c, "3")
}

func lastOfC(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 4)
	c := s.Following()
	messages := c.C(t.Context())
	<-messages
	<-messages
	c = s.Restart(c)
	messages = c.C(t.Context())
	if m := <-messages; m.ID != "2" {
		t.Fatalf("got %s, want 2", m.ID)
	}
	m := <-messages
	m.Ack()
	c = s.Restart(c)
	lab.NextIs(t, c, "4")
}

func notTakenFromC(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 3)
	c := s.Following()
	ctx, stop := lab.NewStop(t)
	messages := c.C(ctx)
	(<-messages).Ack()
	synctest.Wait() // 2 is held out
	if got := c.Pending(); got != 2 {
		t.Errorf("%d pending while 2 is held out, want 2", got)
	}
	stop()
	synctest.Wait()
	if m, more := <-messages; more {
		t.Fatalf("got %s, want a closed channel", m.ID)
	}
	s.SavedIs("1")
	lab.SameNumbers(t, lab.Loop(t, c, 2), lab.Numbered(2, 3))
}

func neverReadC(t *testing.T) {
	s := lab.NewScene(t)
	c := s.Following()
	s.PublishNext(lab.Orders, 3)
	ctx, stop := lab.NewStop(t)
	c.C(ctx)
	synctest.Wait()
	stop()
	lab.SameNumbers(t, lab.Loop(t, c, 3), lab.Numbered(1, 3))
	c.C(t.Context())
	s.PublishNext(lab.Orders, 1)
	synctest.Wait()
	lab.Within(t, 0, func() { lab.Must(t, c.Close()) })
	lab.NextIs(t, s.Following(), "4")
}

func pulled(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 4)
	c := s.Following()
	pull, stop := iter.Pull(c.Messages(t.Context()))
	for _, want := range lab.Numbered(1, 2) {
		if m, ok := pull(); !ok || m.ID != want {
			t.Fatalf("got %v, want %s", m, want)
		}
	}
	<-time.After(time.Second)
	s.SavedIs("1")
	stop()
	if m, ok := pull(); ok {
		t.Errorf("got %s after stop", m.ID)
	}
	lab.SameNumbers(t, lab.Loop(t, c, 3), lab.Numbered(2, 4))
}

func nestedLoop(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 3)
	c := s.Following()
	for m := range c.Messages(t.Context()) {
		if m.ID == "3" {
			m.Ack()
			break
		}
		if m.ID == "2" {
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		start := time.Now()
		for m := range c.Messages(ctx) {
			t.Errorf("the inner loop got %s", m.ID)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("the inner loop took %s, want the second of its ctx", took)
		}
		cancel()
	}
	if got := s.Log.Warnings("another loop"); len(got) != 1 {
		t.Errorf("%d warnings, want 1: %v", len(got), got)
	}
	s.SavedIs("3")
}

func consumersInTurn(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 4)
	c := s.Following()
	received := make(chan string, 1)
	var messages <-chan *sfstream.Message
	for m := range c.Messages(t.Context()) {
		if m.ID == "1" {
			go func() {
				m, err := c.Receive(t.Context())
				if err != nil {
					received <- err.Error()
					return
				}
				m.Ack()
				received <- m.ID
			}()
			synctest.Wait()
			select {
			case got := <-received:
				t.Errorf("Receive got %s inside the loop", got)
			default:
			}
			continue
		}
		m.Ack()
		break
	}
	if got := <-received; got != "3" {
		t.Errorf("Receive got %s, want 3", got)
	}
	for m := range c.Messages(t.Context()) {
		messages = c.C(t.Context())
		synctest.Wait()
		select {
		case <-messages:
			t.Error("C got a message inside the loop")
		default:
		}
		m.Ack()
		break
	}
	s.PublishNext(lab.Orders, 1)
	if m := <-messages; m.ID != "5" {
		t.Errorf("C got %s, want 5", m.ID)
	}
}

func ackOnReceive(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 5)
	c := s.Following(sfstream.WithAck(sfstream.AckOnReceive))
	for range c.Messages(t.Context()) {
		<-time.After(time.Second)
		s.SavedIs("1")
		break
	}
	if got := lab.Next(t, c); got != "2" {
		t.Fatalf("got %s, want 2", got)
	}
	ctx, stop := lab.NewStop(t)
	messages := c.C(ctx)
	if m := <-messages; m.ID != "3" {
		t.Fatalf("got %s, want 3", m.ID)
	}
	stop()
	for range messages {
	}
	c = s.Restart(c, sfstream.WithAck(sfstream.AckOnReceive))
	if got := lab.Next(t, c); got != "4" {
		t.Errorf("got %s after a restart, want 4", got)
	}
}

func ackOnReceiveOffer(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 2)
	c := s.Following(sfstream.WithAck(sfstream.AckOnReceive))
	c.C(t.Context())
	<-time.After(time.Second)
	s.SavedIs("")
	c = s.Restart(c)
	lab.SameNumbers(t, lab.Loop(t, c, 2), lab.Numbered(1, 2))
}

func ackManualOrder(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 200)
	c := s.Following(sfstream.WithAck(sfstream.AckManual), sfstream.WithPrefetch(300))
	var all []*sfstream.Message
	for m := range c.Messages(t.Context()) {
		if all = append(all, m); len(all) == 200 {
			break
		}
	}
	acked := make([]bool, 202)
	for _, i := range rand.Perm(200) {
		all[i].Ack()
		if i%3 == 0 {
			all[i].Ack()
		}
		acked[i+1] = true
		<-time.After(100 * time.Millisecond)
		synctest.Wait()
		want := 0
		for acked[want+1] {
			want++
		}
		if got := s.Saved(lab.Orders); got != "" && got != strconv.Itoa(want) || got == "" && want > 0 {
			t.Fatalf("the marker is at %q, want %d", got, want)
		}
	}
	s.SavedIs("200")
	lab.NothingNext(t, c)
}

func ackManualGoroutines(t *testing.T) {
	s := lab.NewScene(t)
	c := s.Following(sfstream.WithAck(sfstream.AckManual), sfstream.WithPrefetch(40))
	s.PublishNext(lab.Orders, 1000)
	var workers sync.WaitGroup
	var mu sync.Mutex
	seen := make(map[string]int)
	ctx, stop := lab.NewStop(t)
	for range 8 {
		workers.Go(func() {
			for m := range c.Messages(ctx) {
				go m.Ack()
				m.Ack()
				mu.Lock()
				seen[m.ID]++
				if len(seen) == 1000 {
					stop()
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	for _, id := range lab.Numbered(1, 1000) {
		if seen[id] != 1 {
			t.Errorf("message %s was handed out %d times", id, seen[id])
		}
	}
	lab.Must(t, c.Close())
	s.SavedIs("1000")
	if got := s.Log.Warnings("another loop"); len(got) > 0 {
		t.Errorf("AckManual warns of several loops: %v", got)
	}
}

func ackManualRestart(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 10)
	manual := sfstream.WithAck(sfstream.AckManual)
	c := s.Following(manual)
	for m := range c.Messages(t.Context()) {
		if m.ID != "4" {
			m.Ack()
		}
		if m.ID == "8" {
			break
		}
	}
	c = s.Restart(c, manual)
	s.SavedIs("3")
	for _, want := range lab.Numbered(4, 10) {
		lab.NextIs(t, c, want)
	}
	c = s.Restart(c, manual)
	s.SavedIs("10")
	lab.NothingNext(t, c)
}

func ackManualBreak(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 2)
	c := s.Following(sfstream.WithAck(sfstream.AckManual))
	var first *sfstream.Message
	for first = range c.Messages(t.Context()) {
		break
	}
	lab.NextIs(t, c, "2")
	s.SavedIs("")
	first.Ack()
	<-time.After(100 * time.Millisecond)
	synctest.Wait()
	s.SavedIs("2")
}

// ackManualWake: a message that is put back wakes a consumer whose ctx ends just
// then. The message is for the other one that waits.
func ackManualWake(t *testing.T) {
	s := lab.NewScene(t)
	c := s.Following(sfstream.WithAck(sfstream.AckManual))
	receive := func(ctx context.Context) <-chan *sfstream.Message {
		got := make(chan *sfstream.Message, 1)
		go func() {
			m, _ := c.Receive(ctx)
			got <- m
		}()
		synctest.Wait()
		return got
	}
	for round := range 300 {
		offering, withdraw := lab.NewStop(t)
		c.C(offering)
		s.PublishNext(lab.Orders, 1)
		synctest.Wait() // it is held out, and nobody takes it
		leaving, leave := lab.NewStop(t)
		first, second := receive(leaving), receive(t.Context())
		withdraw()
		for range round % 10 {
			runtime.Gosched()
		}
		leave()
		synctest.Wait()
		if m := <-first; m != nil { // it was quicker
			m.Ack()
			s.PublishNext(lab.Orders, 1)
		} else if len(second) == 0 {
			t.Fatalf("round %d: a message waits, and so does a consumer", round)
		}
		(<-second).Ack()
	}
}

func ackManualFeeders(t *testing.T) {
	s := lab.NewScene(t)
	c := s.Following(sfstream.WithAck(sfstream.AckManual))
	var all []<-chan *sfstream.Message
	for range 3 {
		all = append(all, c.C(t.Context()))
		synctest.Wait()
	}
	s.PublishNext(lab.Orders, 3)
	synctest.Wait()
	for i, messages := range all {
		select {
		case m := <-messages:
			m.Ack()
		default:
			t.Errorf("feeder %d holds nothing out though messages wait", i)
		}
	}
}

func ackTooLate(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 4)
	manual := sfstream.WithAck(sfstream.AckManual)
	c := s.Following(manual)
	first, err := c.Receive(t.Context())
	lab.Must(t, err)
	lab.Must(t, c.Unsubscribe(t.Context(), lab.Orders))
	first.Ack()
	<-time.After(time.Minute)
	s.SavedIs("")
	lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
	lab.NextIs(t, c, "1")
	second, err := c.Receive(t.Context())
	lab.Must(t, err)
	lab.Must(t, c.Close())
	saves := len(s.Store.History())
	second.Ack()
	<-time.After(time.Minute)
	s.SavedIs("1")
	if got := len(s.Store.History()); got != saves {
		t.Errorf("%d Saves after Close", got-saves)
	}
	lab.NextIs(t, s.Following(manual), "2")
}
