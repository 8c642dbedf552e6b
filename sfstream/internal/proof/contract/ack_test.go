package contract

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// ackRules are rule 2: when a message is handled, and what comes again.
func ackRules() []rule {
	return []rule{
		{number: 2, words: "a loop's message is handled when the loop asks for the next", run: handledByLoop},
		{number: 2, words: "a received message is handled when Receive is called again", run: handledByReceive},
		{number: 2, words: "a message of C is handled when the next one is taken", run: handledByC},
		{number: 2, words: "a body that finishes after its ctx has ended has handled its message", run: handledAtEndOfCtx},
		{number: 2, words: "Receive that is asked again with an ended ctx has handled its message", run: handledByEndedReceive},
		{number: 2, words: "the last message of Receive needs Ack", run: lastOfReceive},
		{number: 2, words: "the last message of C needs Ack", run: lastOfC},
		{number: 2, words: "AckOnReceive handles what is handed out", run: ackOnReceive},
		{number: 2, words: "AckOnReceive leaves what C only offers", run: ackOnReceiveOffer},
		{number: 2, words: "Ack after Unsubscribe and Close does nothing", run: ackTooLate},
	}
}

// handledByLoop: in the body of each message the stored marker is that of the one before, however
// long the body takes.
func handledByLoop(t *testing.T) {
	s, c := following(t, 5)
	before := ""
	for m := range c.Messages(t.Context()) {
		<-time.After(time.Second)
		s.ExpectSaved(before)
		if before = m.ID; m.ID == "5" {
			break
		}
	}
	s.ExpectSaved("4")
}

func handledByReceive(t *testing.T) {
	s, c := following(t, 5)
	before := ""
	for range 5 {
		got := lab.Receive(t, c).ID
		<-time.After(time.Second)
		s.ExpectSaved(before)
		before = got
	}
}

func handledByC(t *testing.T) {
	s, c := following(t, 5)
	messages := c.C(t.Context())
	before := ""
	for range 5 {
		m := <-messages
		<-time.After(time.Second)
		s.ExpectSaved(before)
		before = m.ID
	}
}

func handledAtEndOfCtx(t *testing.T) {
	s, c := following(t, 3)
	ctx, stop := lab.NewStop(t)
	for m := range c.Messages(ctx) {
		if m.ID == "2" {
			stop()
		}
	}
	s.ExpectSaved("2")
	lab.ExpectID(t, c, "3")
}

func handledByEndedReceive(t *testing.T) {
	_, c := following(t, 2)
	ctx, stop := lab.NewStop(t)
	if m, err := c.Receive(ctx); err != nil || m.ID != "1" {
		t.Fatal(m, err)
	}
	stop()
	if _, err := c.Receive(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want the ctx's error", err)
	}
	lab.ExpectID(t, c, "2")
}

func lastOfReceive(t *testing.T) {
	s, c := following(t, 3)
	lab.Receive(t, c)
	lab.Receive(t, c)
	c = s.Restart(c)
	lab.ExpectID(t, c, "2") // acks it
	c = s.Restart(c)
	lab.ExpectID(t, c, "3")
}

func lastOfC(t *testing.T) {
	s, c := following(t, 4)
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
	lab.ExpectID(t, c, "4")
}

func ackOnReceive(t *testing.T) {
	s, c := following(t, 5, sfstream.WithAck(sfstream.AckOnReceive))
	for range c.Messages(t.Context()) {
		<-time.After(time.Second)
		s.ExpectSaved("1")
		break
	}
	if got := lab.Receive(t, c).ID; got != "2" {
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
	if got := lab.Receive(t, c).ID; got != "4" {
		t.Errorf("got %s after a restart, want 4", got)
	}
}

func ackOnReceiveOffer(t *testing.T) {
	s, c := following(t, 2, sfstream.WithAck(sfstream.AckOnReceive))
	c.C(t.Context())
	<-time.After(time.Second)
	s.ExpectSaved("")
	c = s.Restart(c)
	lab.ExpectIDs(t, lab.Loop(t, c, 2), lab.IDs(1, 2))
}

func ackTooLate(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 4)
	manual := sfstream.WithAck(sfstream.AckManual)
	c := s.FollowFromOldest(manual)
	first := receive(t, c)
	lab.Must(t, c.Unsubscribe(t.Context(), lab.Orders))
	first.Ack()
	<-time.After(time.Minute)
	s.ExpectSaved("")
	lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
	lab.ExpectID(t, c, "1")
	second := receive(t, c)
	lab.Must(t, c.Close())
	saves := len(s.Store.History())
	second.Ack()
	<-time.After(time.Minute)
	s.ExpectSaved("1")
	if got := len(s.Store.History()); got != saves {
		t.Errorf("%d Saves after Close", got-saves)
	}
	lab.ExpectID(t, s.FollowFromOldest(manual), "2")
}
