package contract

import (
	"context"
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

// ackManualRules are rule 2 where only Ack settles.
func ackManualRules() []rule {
	return []rule{
		{number: 2, words: "AckManual settles in any order", run: ackManualOrder},
		{number: 2, words: "AckManual settles from many goroutines, each twice", run: ackManualGoroutines},
		{number: 2, words: "AckManual repeats after a restart all above the oldest unacked", run: ackManualRestart},
		{number: 2, words: "AckManual does not repeat what a loop left", run: ackManualBreak},
		{number: 2, words: "AckManual wakes another consumer when one leaves with its ctx", run: ackManualWake},
		{number: 2, words: "AckManual feeds each C while others hold a message out", run: ackManualFeeders},
	}
}

func ackManualOrder(t *testing.T) {
	s, c := following(t, 200, sfstream.WithAck(sfstream.AckManual), sfstream.WithPrefetch(300))
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
		if got := s.SavedID(lab.Orders); got != "" && got != strconv.Itoa(want) || got == "" && want > 0 {
			t.Fatalf("the marker is at %q, want %d", got, want)
		}
	}
	s.ExpectSaved("200")
	lab.ExpectQuiet(t, c, time.Second)
}

func ackManualGoroutines(t *testing.T) {
	s := lab.New(t)
	c := s.FollowFromOldest(sfstream.WithAck(sfstream.AckManual), sfstream.WithPrefetch(40))
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
	for _, id := range lab.IDs(1, 1000) {
		if seen[id] != 1 {
			t.Errorf("message %s was handed out %d times", id, seen[id])
		}
	}
	lab.Must(t, c.Close())
	s.ExpectSaved("1000")
	if got := s.Log.Warnings("another loop"); len(got) > 0 {
		t.Errorf("AckManual warns of several loops: %v", got)
	}
}

func ackManualRestart(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 10)
	manual := sfstream.WithAck(sfstream.AckManual)
	c := s.FollowFromOldest(manual)
	for m := range c.Messages(t.Context()) {
		if m.ID != "4" {
			m.Ack()
		}
		if m.ID == "8" {
			break
		}
	}
	c = s.Restart(c, manual)
	s.ExpectSaved("3")
	for _, want := range lab.IDs(4, 10) {
		lab.ExpectID(t, c, want)
	}
	c = s.Restart(c, manual)
	s.ExpectSaved("10")
	lab.ExpectQuiet(t, c, time.Second)
}

func ackManualBreak(t *testing.T) {
	s, c := following(t, 2, sfstream.WithAck(sfstream.AckManual))
	var first *sfstream.Message
	for first = range c.Messages(t.Context()) {
		break
	}
	lab.ExpectID(t, c, "2")
	s.ExpectSaved("")
	first.Ack()
	<-time.After(100 * time.Millisecond)
	synctest.Wait()
	s.ExpectSaved("2")
}

// ackManualWake: a message that is put back wakes a consumer whose ctx ends just then. The message
// is for the other one that waits.
func ackManualWake(t *testing.T) {
	s := lab.New(t)
	c := s.FollowFromOldest(sfstream.WithAck(sfstream.AckManual))
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
	s := lab.New(t)
	c := s.FollowFromOldest(sfstream.WithAck(sfstream.AckManual))
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
