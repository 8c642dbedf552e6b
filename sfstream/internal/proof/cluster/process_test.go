package cluster

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/cluster"
)

// process is one replica of a simulation, with a clock and a network of its own.
//
// Its clock runs at rate times the bubble's: what it takes for a lease is lease/rate of the bubble's
// time. So that is the lease it is given, and on the way to the engine and back the leases in
// entries are converted. An offset of its clock needs nothing here: no time of a replica is in any
// entry, which the judge checks.
//
// It is paused at its borders: nothing comes in or goes out, and no handler begins or goes on. Its
// timers run on, so what a process does after a pause has been decided already.
type process struct {
	sim    *simulation
	name   string
	rate   float64
	random *random
	stop   context.CancelFunc
	done   chan struct{} // closed when it has ended

	mu     sync.Mutex
	paused chan struct{} // closed when it goes on; nil: it runs
	pauses []span
	dead   bool // killed: nothing goes out, and what its handlers do is nothing
	cut    bool // the engine cannot be reached
	hangs  bool // and does not even refuse
}

type span struct{ from, to time.Time }

// random is a source that several goroutines use.
type random struct {
	mu sync.Mutex
	r  *rand.Rand
}

func newRandom(seed, stream uint64) *random { return &random{r: rand.New(rand.NewPCG(seed, stream))} }

// chance is true in p of 100 cases.
func (r *random) chance(p int) bool { return r.n(100) < p }

func (r *random) n(n int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.r.IntN(n)
}

// upTo is a time of at most d.
func (r *random) upTo(d time.Duration) time.Duration {
	return time.Duration(r.n(int(d/time.Microsecond)+1)) * time.Microsecond
}

// pass waits while the process is paused. It reports whether it was.
func (p *process) pass() (waited bool) {
	for {
		p.mu.Lock()
		paused := p.paused
		p.mu.Unlock()
		if paused == nil {
			return waited
		}
		<-paused
		waited = true
	}
}

func (p *process) pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused == nil {
		p.paused = make(chan struct{})
		p.pauses = append(p.pauses, span{from: time.Now()})
	}
}

func (p *process) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused != nil {
		close(p.paused)
		p.paused = nil
		p.pauses[len(p.pauses)-1].to = time.Now()
	}
}

// wasPaused reports whether the process was paused at some time between two.
func (p *process) wasPaused(from, to time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.pauses {
		if !s.from.After(to) && (s.to.IsZero() || !s.to.Before(from)) {
			return true
		}
	}
	return false
}

// kill ends the process: nothing of it leaves it any more. What it has sent may still arrive.
func (p *process) kill() {
	p.mu.Lock()
	p.dead = true
	p.mu.Unlock()
	p.resume()
	p.stop()
}

func (p *process) isDead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

func (p *process) setCut(cut, hangs bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut, p.hangs = cut, hangs
}

var errReset = errors.New("engine: connection reset")

// fail is how a call ends that is not answered.
func (p *process) fail(ctx context.Context, hangs bool) error {
	if hangs && !p.isDead() {
		<-ctx.Done()
	}
	p.pass()
	return errReset
}

// travel is a way to the engine or back.
func (p *process) travel() {
	d := p.random.upTo(10 * time.Millisecond)
	if p.random.chance(5) {
		d = p.random.upTo(p.sim.lease / 3)
	}
	time.Sleep(d)
}

// way says whether the engine can be reached.
func (p *process) way() (open, hangs bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.cut && !p.dead, p.hangs
}

// Get is the register's, as the process sees it.
func (p *process) Get(ctx context.Context, key string) ([]byte, string, error) {
	p.pass()
	if open, hangs := p.way(); !open || p.random.chance(2) {
		return nil, "", p.fail(ctx, hangs)
	}
	p.travel()
	value, rev, err := p.sim.engine.Get(context.Background(), key)
	p.travel()
	p.pass()
	if open, hangs := p.way(); !open || ctx.Err() != nil {
		return nil, "", p.fail(ctx, hangs)
	}
	return p.convert(value, 1/p.rate), rev, err
}

// Put is the register's, as the process sees it.
func (p *process) Put(ctx context.Context, key string, value []byte, rev string) (string, error) {
	p.pass()
	value = p.convert(value, p.rate)
	open, hangs := p.way()
	late := p.random.chance(3) && !p.isDead()
	if late {
		time.AfterFunc(p.random.upTo(5*time.Second), func() { _, _ = p.sim.engine.Put(context.Background(), key, value, rev) })
		p.sim.count("puts applied late")
	}
	if !open || late || p.random.chance(2) {
		return "", p.fail(ctx, hangs)
	}
	p.travel()
	if open, hangs = p.way(); !open {
		return "", p.fail(ctx, hangs)
	}
	newRev, err := p.sim.engine.Put(context.Background(), key, value, rev)
	p.travel()
	p.pass()
	if open, hangs = p.way(); !open || ctx.Err() != nil || p.random.chance(3) {
		p.sim.count("replies lost")
		return "", p.fail(ctx, hangs)
	}
	return newRev, err
}

// convert multiplies the lease in an entry. Other values are left as they are.
func (p *process) convert(value []byte, rate float64) []byte {
	var entry replaystore.Entry
	if entry.UnmarshalBinary(value) != nil {
		return value
	}
	entry.Lease = time.Duration(float64(entry.Lease) * rate).Round(time.Microsecond)
	value, err := entry.MarshalBinary()
	if err != nil {
		panic(err)
	}
	return value
}

// run is the process from its start to its end.
func (p *process) run(ctx context.Context) {
	defer close(p.done)
	own := func(d time.Duration) time.Duration { return time.Duration(float64(d) / p.rate) }
	replica, err := cluster.New(p.sim.newClient, p.sim.all, p, cluster.WithName(p.name),
		cluster.WithLease(own(p.sim.lease)), cluster.WithSaveInterval(own(p.sim.lease/10)))
	if err == nil {
		err = replica.Lead(ctx, func(ctx context.Context, client *sfstream.Client, channel string) error {
			n := p.sim.newLeadership()
			return client.Run(ctx, func(ctx context.Context, m *sfstream.Message) error { return p.handle(ctx, n, m) },
				sfstream.DrainTimeout(p.sim.lease))
		})
	}
	if err != nil && !p.isDead() {
		p.sim.T.Errorf("%s has ended: %v", p.name, err)
	}
}

var errDead = errors.New("the process is dead")

// handle handles a message for some time.
func (p *process) handle(ctx context.Context, leadership int, m *sfstream.Message) error {
	waited := p.pass()
	if p.isDead() {
		return errDead
	}
	h := &delivery{process: p, leadership: leadership, channel: m.Channel, id: p.sim.IDOf(m.Channel, m.ReplayID), began: time.Now(), waited: waited}
	p.sim.note(h)
	d := p.random.upTo(20 * time.Millisecond)
	if p.random.chance(2) {
		d = p.random.upTo(2 * p.sim.lease)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	p.pass()
	err := ctx.Err()
	if p.isDead() {
		err = errDead
	}
	p.sim.ended(h, err == nil)
	return err
}
