package replaystore_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/replaystore/replaystoretest"
)

var (
	simSeeds = flag.Uint64("claim.seeds", 150, "how many schedules of TestClaimsOverABadNetwork are tried")
	simFrom  = flag.Uint64("claim.from", 1, "the seed of the first of them")
)

const (
	simLease    = 10 * time.Second
	simHold     = 9 * time.Second
	simMessages = 60
)

// Three processes take turns in handling numbered messages, over a network that delays and loses
// requests and replies, in half of the schedules an engine that loses the value, too. Their clocks
// agree, as those of a bubble do.
func TestClaimsOverABadNetwork(t *testing.T) {
	for seed := *simFrom; seed < *simFrom+*simSeeds; seed++ {
		synctest.Test(t, func(t *testing.T) { newSim(t, seed).run() })
		if t.Failed() {
			t.Fatalf("-claim.from=%d -claim.seeds=1 repeats it, if the goroutines run alike", seed)
		}
	}
}

// sim is one schedule.
type sim struct {
	t    *testing.T
	rand func(n int) int // safe for concurrent use
	*replaystoretest.Register

	mu     sync.Mutex
	last   replaystore.Entry             // the last value that was stored
	holder map[string]*replaystore.Claim // who has held the key, by process
	rows   map[int]int                   // how often a transaction has written the row of a message
	loses  bool                          // the engine loses the value at times
}

func newSim(t *testing.T, seed uint64) *sim {
	source := rand.New(rand.NewPCG(seed, 15))
	var mu sync.Mutex
	s := &sim{t: t, Register: new(replaystoretest.Register), holder: make(map[string]*replaystore.Claim), rows: make(map[int]int), loses: seed%2 == 0}
	s.rand = func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return source.IntN(n)
	}
	return s
}

// fault is the network: one call of ten goes wrong.
func (s *sim) fault(replaystoretest.Call) replaystoretest.Fault {
	ms := func(n int) time.Duration { return time.Duration(s.rand(n)) * time.Millisecond }
	f := replaystoretest.Fault{Out: ms(20), Back: ms(20)}
	if s.loses && s.rand(200) == 0 {
		_ = s.Delete(context.Background(), claimKey)
	}
	switch s.rand(30) {
	case 0:
		f.RequestLost = true
	case 1:
		f.ReplyLost, f.GiveUp = true, ms(3000)+1
	case 2:
		f.Out, f.GiveUp = ms(15_000), ms(2000)+1
	}
	return f
}

func (s *sim) run() {
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Hour)
	defer cancel()
	var all sync.WaitGroup
	for _, name := range []string{"a", "b", "c"} {
		all.Go(func() {
			network := &replaystoretest.Faulty{Register: s, Plan: s.fault}
			defer network.Wait()
			claim := replaystore.NewClaim(network, claimKey, name, simLease, nil)
			for ctx.Err() == nil && s.follow(ctx, claim) {
				s.lead(ctx, name, claim)
				claim = claim.Again()
			}
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		s.t.Error("an hour has passed, and not all is handled")
	}
	for n, times := range s.rows {
		if times > 1 && !s.loses {
			s.t.Errorf("a transaction of message %d was committed %d times", n, times)
		}
	}
}

// Put is the engine's.
func (s *sim) Put(ctx context.Context, key string, value []byte, rev string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	newRev, err := s.Register.Put(ctx, key, value, rev)
	if err == nil {
		s.lookLocked(value)
	}
	return newRev, err
}

// lookLocked looks at each value that is stored: neither its counter nor its marker goes back. After a
// loss of the engine a standby may have created it with a marker that was behind.
func (s *sim) lookLocked(value []byte) {
	var e replaystore.Entry
	if err := e.UnmarshalBinary(value); err != nil {
		s.t.Error(err)
	}
	if !s.loses && (e.Counter <= s.last.Counter || number(e.Marker) < number(s.last.Marker)) {
		s.t.Errorf("%+v after %+v", e, s.last)
	}
	s.last = e
}

func number(m replaystore.Marker) int {
	n, _ := strconv.Atoi(string(m.ReplayID))
	return n
}

func marked(n int) replaystore.Marker { return at(strconv.Itoa(n)) }

// follow returns true when claim has taken the key, and false when all is handled.
func (s *sim) follow(ctx context.Context, claim *replaystore.Claim) bool {
	last, since := "none", time.Now()
	for ; ctx.Err() == nil; time.Sleep(time.Second) {
		one, cancel := context.WithTimeout(ctx, 3*time.Second)
		entry, rev, err := claim.Read(one)
		cancel()
		if err != nil && !errors.Is(err, replaystore.ErrNotFound) {
			continue
		}
		if number(claim.Marker()) >= simMessages {
			return false
		}
		if rev != last {
			last, since = rev, time.Now()
		}
		if rev == "" || entry.Owner == "" || time.Since(since) >= simLease {
			one, cancel := context.WithTimeout(ctx, 3*time.Second)
			err := claim.Put(one)
			cancel()
			if err == nil {
				return true
			}
		}
	}
	return false
}

// held reports whether claim may hand out a message, and that no other process may.
func (s *sim) held(name string, claim *replaystore.Claim) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holder[name] = claim
	if time.Since(claim.Sent()) >= simHold {
		return false
	}
	for other, c := range s.holder {
		if other != name && time.Since(c.Sent()) < simHold && !s.loses {
			s.t.Errorf("%s and %s hold the key", name, other)
		}
	}
	return true
}

// lead handles messages until the key is lost, all is done, or the process dies or gives it up.
func (s *sim) lead(ctx context.Context, name string, claim *replaystore.Claim) {
	ctx, cancel := context.WithCancel(ctx)
	l := &simLeader{sim: s, claim: claim, saving: make(chan struct{}, 1), done: number(claim.Marker())}
	var saver sync.WaitGroup
	saver.Go(func() { l.save(ctx) })
	died := false
	for l.done < simMessages && s.held(name, claim) && !died {
		time.Sleep(time.Duration(s.rand(300)) * time.Millisecond)
		if died = s.rand(40) == 0; s.rand(30) == 0 {
			break
		}
		if l.doubt == 0 && s.rand(2) == 0 {
			l.ack(1)
			continue
		}
		n := 1 + s.rand(min(3, simMessages-l.done))
		if l.doubt > 0 && s.rand(2) == 0 {
			n = l.doubt
		}
		if err := l.transact(ctx, n); err == nil || errors.Is(err, replaystore.ErrHandled) {
			l.ack(n)
			l.doubt = 0
		}
	}
	cancel()
	saver.Wait()
	s.mu.Lock()
	delete(s.holder, name) // it hands out nothing any more
	s.mu.Unlock()
	if !died {
		last, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		claim.Set(marked(l.done))
		_ = claim.Release(last)
	}
}

type simLeader struct {
	*sim
	claim *replaystore.Claim

	// saving holds a token during a save, and during Advance, as the contract of Advancer demands.
	saving chan struct{}
	doubt  int // how many messages the last transaction had, if nobody knows whether it was committed
	mu     sync.Mutex
	done   int // the last message that is handled
}

func (l *simLeader) ack(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done += n
}

func (l *simLeader) save(ctx context.Context) {
	for ctx.Err() == nil {
		time.Sleep(time.Duration(l.rand(2000)) * time.Millisecond)
		one, cancel := context.WithTimeout(ctx, 3*time.Second)
		l.saving <- struct{}{}
		l.mu.Lock()
		marker := marked(l.done)
		l.mu.Unlock()
		time.Sleep(time.Duration(l.rand(20)) * time.Millisecond)
		l.claim.Set(marker)
		_ = l.claim.Put(one)
		<-l.saving
		cancel()
	}
}

// transact writes the rows of the next messages and the marker. Its commit may be slow, and the
// reply of it may be lost.
func (l *simLeader) transact(ctx context.Context, messages int) error {
	l.saving <- struct{}{}
	step, err := l.claim.Advance(ctx, marked(l.done), marked(l.done+messages))
	<-l.saving
	if err != nil {
		return err
	}
	commit := func() error {
		time.Sleep(time.Duration(l.rand(400)) * time.Millisecond)
		l.sim.mu.Lock()
		defer l.sim.mu.Unlock()
		return l.Update(step.Key, func(value []byte) ([]byte, error) {
			value, err := step.Next(value)
			if err == nil {
				for n := range messages {
					l.rows[l.done+1+n]++
				}
				l.lookLocked(value)
			}
			return value, err
		})
	}
	switch l.rand(10) {
	case 0:
		return errors.New("rolled back")
	case 1:
		_ = commit()
		l.doubt = max(l.doubt, messages)
		return fmt.Errorf("nobody knows whether it was committed")
	}
	return commit()
}
