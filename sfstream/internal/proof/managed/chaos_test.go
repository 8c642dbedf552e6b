package managed

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

var (
	chaosFrom  = flag.Uint64("managed.from", 1, "the first `seed` of TestChaos")
	chaosSeeds = flag.Int("managed.seeds", 15, "how `many` seeds TestChaos runs")
)

// TestChaos lets programs follow a managed subscription while streams, connections, tokens and
// commits fail, and ends them politely or not. Each event is handled once at least; one program gets
// none twice, and all in their order.
func TestChaos(t *testing.T) {
	for seed := *chaosFrom; seed < *chaosFrom+uint64(*chaosSeeds); seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { newStorm(t, seed).run() })
		})
	}
}

type storm struct {
	*lab.Lab
	random *rand.Rand

	mu        sync.Mutex
	handled   map[int]bool
	published int
}

func newStorm(t *testing.T, seed uint64) *storm {
	s := &storm{random: rand.New(rand.NewPCG(seed, 0)), handled: make(map[int]bool)}
	var opts []sfstreamtest.Option
	for _, o := range []sfstreamtest.Option{
		sfstreamtest.WithCommitPerStream(), sfstreamtest.WithCommitDelay(200 * time.Millisecond), sfstreamtest.WithManagedPrecondition(),
		sfstreamtest.WithBatchEvents(3), sfstreamtest.WithIdleClose(20 * time.Second), sfstreamtest.WithCommitIdle(5 * time.Minute),
	} {
		if s.random.IntN(3) == 0 {
			opts = append(opts, o)
		}
	}
	s.Lab = lab.New(t, opts...)
	define(s.Lab, sfstreamtest.ManagedSubscription{DefaultReplay: "EARLIEST", ErrorRecoveryReplay: "EARLIEST"})
	return s
}

func (s *storm) some(limit time.Duration) time.Duration {
	return 1 + time.Duration(s.random.Int64N(int64(limit)))
}

func (s *storm) run() {
	for range 3 + s.random.IntN(3) {
		s.live(false)
	}
	s.ClearFaults()
	s.DropConnections()
	s.live(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := 1; n <= s.published; n++ {
		if !s.handled[n] {
			s.T.Errorf("number %d of %d is lost", n, s.published)
		}
	}
}

// live is one program: from its start to its end, the last one when all has come.
func (s *storm) live(last bool) {
	s.Refuse(false) // so that it can log in
	ack := sfstream.AckPolicy(s.random.IntN(3))
	c := s.Start(sfstream.WithAck(ack), sfstream.WithPrefetch(1+s.random.IntN(30)), sfstream.WithLoginBudget(100, time.Minute))
	ctx, stop := context.WithCancel(s.T.Context())
	defer stop()
	var consumer sync.WaitGroup
	consumer.Go(func() { s.consume(ctx, c, ack) })
	wait, cancel := context.WithTimeout(ctx, time.Hour)
	err := c.SubscribeManaged(wait, name)
	cancel()
	if err != nil {
		s.T.Logf("subscribe: %v", err)
	}
	for range 15 {
		s.step(last)
		time.Sleep(s.some(20 * time.Second))
	}
	if last {
		time.Sleep(2 * time.Hour)
	}
	if err := c.Err(); err != nil {
		s.T.Errorf("the client has ended: %v", err)
	}
	if last || s.random.IntN(2) == 0 { // else it is as if it was killed: what is not committed comes again
		_ = c.Close()
	} else {
		s.DropConnections()
		_ = c.Close()
	}
	stop()
	consumer.Wait()
}

// consume handles messages, and expects each of them once and in order.
func (s *storm) consume(ctx context.Context, c *sfstream.Client, ack sfstream.AckPolicy) {
	before := 0
	for m := range c.Messages(ctx) {
		n := s.Number(m)
		if n <= before {
			s.T.Errorf("number %d comes after %d", n, before)
		}
		before = n
		time.Sleep(time.Duration(n%7) * 300 * time.Millisecond)
		s.mu.Lock()
		s.handled[n] = true
		s.mu.Unlock()
		if ack == sfstream.AckManual {
			m.Ack()
		}
	}
}

func (s *storm) step(calm bool) {
	for range s.random.IntN(5) {
		s.published++
		s.PublishOrders(s.published)
	}
	if calm {
		return
	}
	switch s.random.IntN(9) {
	case 0, 1:
		s.EndStreams(lab.Orders, lab.Endings[s.random.IntN(len(lab.Endings))])
	case 2:
		s.DropConnections()
	case 3:
		s.Blackhole()
	case 4:
		s.FailCommits(lab.Orders, 1+s.random.IntN(5), "not now")
	case 5:
		s.Refuse(true)
		s.DropConnections()
		time.AfterFunc(s.some(2*time.Minute), func() { s.Refuse(false) })
	case 6:
		s.GoAway()
	case 7:
		s.HoldKeepaliveID(s.random.IntN(2) == 0)
	case 8:
		s.Reject(lab.Orders, 1, "service.unavailable")
	}
}
