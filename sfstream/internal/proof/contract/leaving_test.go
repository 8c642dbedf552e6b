package contract

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// leavingRules are rule 2 for what a consumer leaves behind, and for consumers that take turns.
func leavingRules() []rule {
	rules := []rule{
		{number: 2, words: "Ack before break settles", run: ackBeforeBreak},
		{number: 2, words: "Ack of a message that was put back settles", run: ackAfterPutBack},
		{number: 2, words: "a message put back survives a reconnect and comes once", run: putBackAcrossReconnect},
		{number: 2, words: "C closes when ctx ends, and what was not taken goes back", run: notTakenFromC},
		{number: 2, words: "C that is never read holds nothing up but its turn", run: neverReadC},
		{number: 2, words: "an iter.Pull stopped leaves its message unhandled", run: pulled},
		{number: 2, words: "a second loop waits its turn with one Warn and ends with ctx", run: nestedLoop},
		{number: 2, words: "Receive and C wait their turn too", run: consumersInTurn},
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

// leavings are the ways to leave a consumer with message 3 unhandled, after 1 and 2 were handled.
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
var resumptions = map[string]func(t *testing.T, s *lab.Lab, c *sfstream.Client) (*sfstream.Message, *sfstream.Client){
	"the next loop": func(t *testing.T, _ *lab.Lab, c *sfstream.Client) (*sfstream.Message, *sfstream.Client) {
		for m := range c.Messages(t.Context()) {
			m.Ack()
			return m, c
		}
		return nil, c
	},
	"Receive": func(t *testing.T, _ *lab.Lab, c *sfstream.Client) (*sfstream.Message, *sfstream.Client) {
		m := receive(t, c)
		m.Ack()
		return m, c
	},
	"C": func(t *testing.T, _ *lab.Lab, c *sfstream.Client) (*sfstream.Message, *sfstream.Client) {
		ctx, stop := lab.NewStop(t)
		messages := c.C(ctx)
		m := <-messages
		m.Ack()
		stop()
		for range messages {
		}
		return m, c
	},
	"a restarted program": func(t *testing.T, s *lab.Lab, c *sfstream.Client) (*sfstream.Message, *sfstream.Client) {
		c = s.Restart(c)
		m := receive(t, c)
		m.Ack()
		return m, c
	},
	"a program after a crash": func(t *testing.T, s *lab.Lab, c *sfstream.Client) (*sfstream.Message, *sfstream.Client) {
		c = s.Crash(c)
		m := receive(t, c)
		m.Ack()
		return m, c
	},
}

func leftUnhandled(t *testing.T, leave func(*testing.T, *sfstream.Client), resume func(*testing.T, *lab.Lab, *sfstream.Client) (*sfstream.Message, *sfstream.Client)) {
	s, c := following(t, 5)
	for range 2 { // it comes again and again
		leave(t, c)
		s.ExpectSaved("2")
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
	lab.ExpectIDs(t, lab.Loop(t, c, 2), lab.IDs(4, 5))
	s.ExpectSaved("5")
	lab.ExpectQuiet(t, c, time.Second)
}

func ackBeforeBreak(t *testing.T) {
	s, c := following(t, 3)
	for m := range c.Messages(t.Context()) {
		m.Ack()
		break
	}
	s.ExpectSaved("1")
	lab.ExpectID(t, c, "2")
	c = s.Restart(c)
	lab.ExpectID(t, c, "3")
	lab.ExpectQuiet(t, c, time.Second)
}

func ackAfterPutBack(t *testing.T) {
	_, c := following(t, 3)
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
	lab.ExpectID(t, c, "2")
	lab.ExpectID(t, c, "3")
	lab.ExpectQuiet(t, c, time.Second)
}

func putBackAcrossReconnect(t *testing.T) {
	s, c := following(t, 3)
	for range c.Messages(t.Context()) {
		break
	}
	s.DropConnections()
	s.PublishNext(lab.Orders, 1)
	<-time.After(time.Minute)
	lab.ExpectIDs(t, lab.Loop(t, c, 4), lab.IDs(1, 4))
	lab.ExpectQuiet(t, c, time.Second)
}

func notTakenFromC(t *testing.T) {
	s, c := following(t, 3)
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
	s.ExpectSaved("1")
	lab.ExpectIDs(t, lab.Loop(t, c, 2), lab.IDs(2, 3))
}

func neverReadC(t *testing.T) {
	s := lab.New(t)
	c := s.FollowFromOldest()
	s.PublishNext(lab.Orders, 3)
	ctx, stop := lab.NewStop(t)
	c.C(ctx)
	synctest.Wait()
	stop()
	lab.ExpectIDs(t, lab.Loop(t, c, 3), lab.IDs(1, 3))
	c.C(t.Context())
	s.PublishNext(lab.Orders, 1)
	synctest.Wait()
	lab.Within(t, 0, func() { lab.Must(t, c.Close()) })
	lab.ExpectID(t, s.FollowFromOldest(), "4")
}

func pulled(t *testing.T) {
	s, c := following(t, 4)
	pull, stop := iter.Pull(c.Messages(t.Context()))
	for _, want := range lab.IDs(1, 2) {
		if m, ok := pull(); !ok || m.ID != want {
			t.Fatalf("got %v, want %s", m, want)
		}
	}
	<-time.After(time.Second)
	s.ExpectSaved("1")
	stop()
	if m, ok := pull(); ok {
		t.Errorf("got %s after stop", m.ID)
	}
	lab.ExpectIDs(t, lab.Loop(t, c, 3), lab.IDs(2, 4))
}

func nestedLoop(t *testing.T) {
	s, c := following(t, 3)
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
	s.ExpectSaved("3")
}

func consumersInTurn(t *testing.T) {
	s, c := following(t, 4)
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
