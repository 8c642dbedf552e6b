package contract

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// orderRules are rule 1: per channel, the server's order.
func orderRules() []rule {
	return []rule{
		{number: 1, words: "a channel's messages come in the server's order", run: orderOfOneChannel},
		{number: 1, words: "several channels keep each its own order", run: orderOfSeveralChannels},
		{number: 1, words: "the order survives reconnects in the middle of batches", run: orderAcrossReconnects},
		{number: 1, words: "the order survives every way to consume in any sequence", run: orderAcrossConsumers},
		{number: 1, words: "messages put back by several feeders keep their order", run: orderOfPutBack},
	}
}

func orderOfOneChannel(t *testing.T) {
	s := lab.New(t, sfstreamtest.WithBatchEvents(7))
	s.PublishNext(lab.Orders, 450)
	c := s.FollowFromOldest()
	got := lab.Loop(t, c, 450)
	s.PublishNext(lab.Orders, 450)
	got = append(got, lab.Loop(t, c, 450)...)
	lab.ExpectIDs(t, got, lab.IDs(1, 900))
	lab.ExpectQuiet(t, c, time.Second)
}

func orderOfSeveralChannels(t *testing.T) {
	s := lab.New(t, sfstreamtest.WithBatchEvents(3))
	c := s.StartFromOldest(sfstream.WithPrefetch(10))
	var channels []string
	for i := range 5 {
		channel := fmt.Sprintf("/event/Channel%d__e", i)
		s.Define(channel)
		lab.Must(t, c.Subscribe(t.Context(), channel))
		channels = append(channels, channel)
	}
	go func() {
		for range 100 {
			for _, i := range rand.Perm(len(channels)) {
				s.PublishNext(channels[i], 1)
			}
		}
	}()
	got := make(map[string][]string)
	n := 0
	for m := range c.Messages(t.Context()) {
		got[m.Channel] = append(got[m.Channel], m.ID)
		if n++; n == 500 {
			m.Ack()
			break
		}
	}
	for _, channel := range channels {
		lab.ExpectIDs(t, got[channel], lab.IDs(1, 100))
	}
	lab.ExpectQuiet(t, c, time.Second)
}

func orderAcrossReconnects(t *testing.T) {
	s := lab.New(t, sfstreamtest.WithBatchEvents(5))
	c := s.FollowFromOldest(sfstream.WithPrefetch(30))
	s.PublishNext(lab.Orders, 1)
	var got []string
	for m := range c.Messages(t.Context()) {
		if len(got)%23 == 0 {
			s.DropConnections()
			s.PublishNext(lab.Orders, 23)
		}
		if got = append(got, m.ID); len(got) == 460 {
			m.Ack()
			break
		}
	}
	lab.ExpectIDs(t, got, lab.IDs(1, 460))
}

// orderAcrossConsumers compares random programs with a model: a message comes again, first, if it
// was left unhandled, else the next one comes.
func orderAcrossConsumers(t *testing.T) {
	s := lab.New(t, sfstreamtest.WithBatchEvents(4))
	const total = 600
	s.PublishNext(lab.Orders, total)
	c := s.FollowFromOldest(sfstream.WithPrefetch(12))
	want := 1
	check := func(m *sfstream.Message) {
		t.Helper()
		if m.ID != strconv.Itoa(want) {
			t.Fatalf("got message %s, want %d", m.ID, want)
		}
	}
	seed := rand.Uint64()
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for want <= total-20 {
		n, settle := 1+random.IntN(8), random.IntN(2) == 0
		switch random.IntN(5) {
		case 0, 1: // a loop
			for m := range c.Messages(t.Context()) {
				check(m)
				if n--; n > 0 {
					want++
					continue
				}
				if settle {
					m.Ack()
					want++
				}
				break
			}
		case 2: // Receive; the last one is acked
			for range n {
				m := receive(t, c)
				check(m)
				want++
				if n--; n == 0 {
					m.Ack()
				}
			}
		case 3: // C
			ctx, stop := lab.NewStop(t)
			messages := c.C(ctx)
			for {
				m := <-messages
				check(m)
				if n--; n == 0 {
					if settle {
						m.Ack()
						want++
					}
					break
				}
				want++
			}
			if random.IntN(2) == 0 {
				synctest.Wait() // the next one is held out
			}
			stop()
			synctest.Wait()
			if m, more := <-messages; more {
				t.Fatalf("got message %s after the end of ctx", m.ID)
			}
		case 4:
			s.DropConnections()
		}
	}
	if got := lab.Loop(t, c, total-want+1); !slices.Equal(got, lab.IDs(want, total)) {
		t.Errorf("got %v at the end, want %v", got, lab.IDs(want, total))
	}
	lab.ExpectQuiet(t, c, time.Second)
}

func orderOfPutBack(t *testing.T) {
	_, c := following(t, 9, sfstream.WithAck(sfstream.AckManual))
	synctest.Wait()
	for range 20 {
		ctx, stop := lab.NewStop(t)
		for range 3 { // three hold out a message each, and nobody takes them
			c.C(ctx)
		}
		synctest.Wait()
		stop()
		synctest.Wait()
	}
	var got []string
	for m := range c.Messages(t.Context()) {
		m.Ack()
		if got = append(got, m.ID); len(got) == 9 {
			break
		}
	}
	lab.ExpectIDs(t, got, lab.IDs(1, 9))
}
