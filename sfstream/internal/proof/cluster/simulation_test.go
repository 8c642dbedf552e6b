package cluster

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

var (
	simulationSeed  = flag.Uint64("cluster.seed", 0, "run TestSimulation with this `seed` only")
	simulationFrom  = flag.Uint64("cluster.from", 1, "the first `seed` of TestSimulation")
	simulationSeeds = flag.Int("cluster.seeds", 25, "how `many` seeds TestSimulation runs")
)

// TestSimulation plays schedules: replicas whose clocks run at different rates are paused, killed,
// stopped and started, cut off from the engine and from Salesforce, puts and replies are lost and
// come late, all as a seed decides. In virtual time a seed takes some minutes. At the end
//
//   - every event is handled, in order by its first hand-out;
//   - hand-outs of two leaderships of a channel overlap only where the schedule has paused the one
//     whose time was over;
//   - once a leadership has followed another one, no put of that one succeeds;
//   - markers have not gone back, and have no time of a replica's clock.
func TestSimulation(t *testing.T) {
	totals := make(map[string]int)
	var mu sync.Mutex
	t.Cleanup(func() { t.Log(inWords(totals)) })
	first, n := *simulationFrom, *simulationSeeds
	if *simulationSeed != 0 {
		first, n = *simulationSeed, 1
	}
	for seed := first; seed < first+uint64(n); seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSimulation(t, seed)
				s.run()
				s.judge()
				mu.Lock()
				defer mu.Unlock()
				for name, n := range s.counts {
					totals[name] += n
				}
				totals["seeds"]++
			})
		})
	}
}

// inWords prints numbers by name.
func inWords(counts map[string]int) string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		words = append(words, fmt.Sprintf("%s %d", name, counts[name]))
	}
	return strings.Join(words, ", ")
}

// simulation is one schedule.
type simulation struct {
	*lab.Lab
	seed   uint64
	random *random
	engine *engine
	login  *authenticator.Cache
	lease  time.Duration
	skew   time.Duration // of Salesforce's clock
	all    []string      // channels

	processes []*process // that run
	started   int
	faults    int // under way
	running   sync.WaitGroup

	mu          sync.Mutex
	leaderships int
	deliveries  []*delivery
	counts      map[string]int
}

// delivery is a call of a handler.
type delivery struct {
	process      *process
	leadership   int // counted in the order in which they began
	channel, id  string
	began, ended time.Time
	waited       bool // the process was paused between the client's question and the handler
	handled      bool // it has returned nil
}

func newSimulation(t *testing.T, seed uint64) *simulation {
	random := newRandom(seed, 0)
	s := &simulation{
		seed: seed, random: random, engine: newEngine(), counts: make(map[string]int),
		lease: []time.Duration{3 * time.Second, 10 * time.Second}[random.n(2)],
		skew:  random.upTo(10*time.Hour) - 5*time.Hour,
	}
	s.Lab = lab.New(t, sfstreamtest.WithClockSkew(s.skew))
	s.login = authenticator.NewCache(s.Authenticator())
	s.all = []string{lab.Orders, lab.Invoices}[:1+random.n(2)]
	return s
}

func (s *simulation) newClient(opts ...sfstream.Option) (*sfstream.Client, error) {
	return sfstream.New(s.login, append([]sfstream.Option{
		sfstream.WithOrg(s), sfstream.WithTransport(lab.TransportOf(s.T)), sfstream.WithLogger(s.Log.Logger()), sfstream.WithReplay(sfstream.ReplayAll),
	}, opts...)...)
}

func (s *simulation) start(name string) {
	s.startAt(name, 0.95+float64(s.random.n(101))/1000)
}

// startAt starts a process whose clock runs at a rate.
func (s *simulation) startAt(name string, rate float64) {
	s.started++
	ctx, stop := context.WithCancel(context.Background())
	p := &process{
		sim: s, name: name, rate: rate, random: newRandom(s.seed, uint64(s.started)),
		stop: stop, done: make(chan struct{}),
	}
	s.processes = append(s.processes, p)
	s.running.Go(func() { p.run(ctx) }) // ends with ctx; run waits
}

// run plays the schedule.
func (s *simulation) run() {
	for _, name := range []string{"a", "b", "c"} {
		s.start(name)
		time.Sleep(s.random.upTo(s.lease))
	}
	for range 30 {
		for range s.random.n(6) {
			s.PublishNext(s.all[s.random.n(len(s.all))], 1)
			time.Sleep(s.random.upTo(s.lease / 5))
		}
		s.fault()
		time.Sleep(s.random.upTo(s.lease))
	}
	for s.pending() > 0 {
		time.Sleep(time.Second)
	}
	s.finish()
}

// finish waits until all events are handled, and ends all processes.
func (s *simulation) finish() {
	for _, channel := range s.all {
		s.PublishNext(channel, 1)
	}
	for end := time.Now().Add(5 * time.Minute); !s.complete() && time.Now().Before(end); {
		time.Sleep(time.Second)
	}
	for _, p := range s.processes {
		p.stop()
	}
	s.running.Wait()
	time.Sleep(5 * time.Second) // puts that are late
}

// A leader whose clock is slow is cut off from the engine while a standby's clock is fast: by its own
// clock it may lead for nine tenths of the lease, which is all of it by the other one's.
func TestClocksRunAtDifferentRates(t *testing.T) {
	for seed := range uint64(4) {
		synctest.Test(t, func(t *testing.T) {
			s := newSimulation(t, seed)
			s.all = s.all[:1]
			for name, rate := range map[string]float64{"slow": 0.95, "fast": 1.05} {
				s.startAt(name, rate)
			}
			for range 12 {
				s.PublishNext(lab.Orders, 1)
				time.Sleep(s.lease)
				leader := s.lastLeader()
				if leader == nil {
					continue
				}
				time.Sleep(s.random.upTo(s.lease))
				leader.setCut(true, true)
				for end := time.Now().Add(2 * s.lease); time.Now().Before(end); time.Sleep(s.lease / 50) {
					s.PublishNext(lab.Orders, 1)
				}
				leader.setCut(false, false)
				time.Sleep(2 * s.lease)
			}
			s.finish()
			s.judge()
		})
	}
}

// The engine loses keys beside all that, those of channels and the list of members, which is damaged
// at times, too. Markers may go back then; leaders hand out one after the other all the same.
func TestAnEngineThatLosesKeysHasOneLeader(t *testing.T) {
	for seed := range uint64(*simulationSeeds/5 + 1) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSimulation(t, 1000+seed)
				ctx, stop := context.WithCancel(t.Context())
				s.running.Go(func() { s.loseKeys(ctx, newRandom(seed, 77)) }) // ends with ctx; finish waits
				time.AfterFunc(20*s.lease, stop)
				s.run()
				s.judgeDeliveries()
			})
		})
	}
}

// loseKeys lets the engine lose keys until ctx ends.
func (s *simulation) loseKeys(ctx context.Context, random *random) {
	list := s.Key("pubsub", "")
	list.API = "members"
	members, _ := list.MarshalText()
	for ; ctx.Err() == nil; time.Sleep(random.upTo(2 * s.lease)) {
		puts := s.engine.history()
		switch random.n(3) {
		case 0:
			_ = s.engine.values.Delete(ctx, string(members))
		case 1:
			_ = s.engine.values.Update(string(members), func([]byte) ([]byte, error) { return []byte("{"), nil })
		default:
			if len(puts) > 0 {
				_ = s.engine.values.Delete(ctx, puts[len(puts)-1].key)
			}
		}
	}
}
