package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

var (
	stormEvents = flag.Int("storm.events", 6000, "how many events a storm has")
	stormRate   = flag.Int("storm.rate", 200, "how many events a second a storm has, of all channels together")
	stormAll    = flag.Bool("storm.all", false, "run the storm on all engines")
	stormSeed   = flag.Uint64("storm.seed", 0, "what happens in a storm, and to whom; 0: another one each time")
)

const (
	stormReplicas = 3
	stormLease    = 3 * time.Second
	// stormTakeover is what a takeover may take: the lease, a fifth of it until the next poll, and the
	// subscribing.
	stormTakeover = 5 * time.Second
)

var stormChannels = []string{"/event/One__e", "/event/Two__e"}

// A stormEngine has the register and the queue of a storm.
type stormEngine struct {
	address        string                            // of the engine
	register, sink func(address string) (url string) // by way of a gate
	shared         replaystore.Register              // without one
	oneGate        bool                              // register and queue are one database

	// follow tells of each entry of the queue, until ctx ends.
	follow func(ctx context.Context, entry func(text []byte)) error
}

// storm runs replicas that lose their leaders: these are killed, stopped until their leases are
// over, or cut off from the engine.
type storm struct {
	t        *testing.T
	engine   stormEngine
	org      *sfstreamtest.Server
	rand     *rand.Rand
	replicas []*stormReplica
	queue    stormQueue
	blows    []blow
}

// A stormReplica is a replica that is started again when it was killed.
type stormReplica struct {
	*replica
	name           string
	register, sink *gate
}

// A blow is what has befallen the leader of a channel.
type blow struct {
	at            time.Time
	channel, what string
}

// runStorm returns how many copies of events the queue has.
func runStorm(t *testing.T, engine stormEngine) (copies int) {
	seed := *stormSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-storm.seed=%d", seed)
	s := &storm{t: t, engine: engine, org: sfstreamtest.NewServer(t), rand: rand.New(rand.NewPCG(seed, 0)), queue: newStormQueue()}
	for _, channel := range stormChannels {
		if err := s.org.DefineEvent(channel, fmt.Sprintf(`{"type": "record", "name": %q, "fields": [
			{"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
			{"name": "CreatedById", "type": "string"},
			{"name": "Number__c", "type": ["null", "double"], "default": null}]}`, channel[len("/event/"):])); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() {
		if err := engine.follow(ctx, func(text []byte) { s.queue.add(t, text) }); err != nil && ctx.Err() == nil {
			t.Error("the queue cannot be read:", err)
		}
	})
	for n := range stormReplicas {
		r := &stormReplica{name: "replica-" + strconv.Itoa(n), register: newGate(t, engine.address), sink: newGate(t, engine.address)}
		if engine.oneGate {
			r.sink = r.register
		}
		s.replicas = append(s.replicas, r)
		s.start(r)
	}
	s.await("replicas to lead", func() bool {
		return !slices.ContainsFunc(stormChannels, func(channel string) bool { return s.leader(channel) == nil })
	})
	running.Go(s.publish)
	s.rage()
	s.await("all events", func() bool { return s.queue.distinct() == *stormEvents })
	for _, r := range s.replicas {
		if status, _ := r.end(t); status != 0 {
			t.Errorf("%s: status %d", r.name, status)
		}
	}
	s.judge()
	return s.queue.copies
}

func (s *storm) start(r *stormReplica) {
	args := []string{
		"-register", s.engine.register(r.register.address()), "-sink", s.engine.sink(r.sink.address()), "-name", r.name,
		"-lease", stormLease.String(), "-from", "all", "-fallback", "fail", "-envelope", "cloudevents",
	}
	r.replica = start(s.t, login(s.org), append(args, stormChannels...)...)
}

func (s *storm) await(what string, done func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("no %s: %d of %d events, %v", what, s.queue.distinct(), *stormEvents, s.blows)
		}
	}
}

// publish publishes the events, at a steady rate.
func (s *storm) publish() {
	tick := time.NewTicker(time.Second / time.Duration(*stormRate))
	defer tick.Stop()
	for n := range *stormEvents {
		channel := stormChannels[n%len(stormChannels)]
		if _, err := s.org.Publish(channel, map[string]any{"Number__c": float64(n)}); err != nil {
			s.t.Error(err)
			return
		}
		<-tick.C
	}
}

// leader returns the replica that the register names, nil if there is none.
func (s *storm) leader(channel string) *stormReplica {
	key := replaystore.Key{OrgID: s.org.Account().OrgID, API: "pubsub", Channel: channel}
	text, err := key.Canonical().MarshalText()
	if err != nil {
		s.t.Fatal(err)
	}
	value, _, err := s.engine.shared.Get(s.t.Context(), string(text))
	if err != nil {
		return nil
	}
	var entry replaystore.Entry
	if err := entry.UnmarshalBinary(value); err != nil {
		s.t.Fatal(err)
	}
	i := slices.IndexFunc(s.replicas, func(r *stormReplica) bool { return r.name == entry.Owner })
	if i < 0 {
		return nil
	}
	return s.replicas[i]
}

// rage strikes a leader every few seconds, while enough is still to be published to see what comes of
// it.
func (s *storm) rage() {
	blows := []func(*stormReplica) (what string){s.kill, s.stop, s.cutRegister, s.cutBoth}
	end := time.Now().Add(time.Second*time.Duration(*stormEvents / *stormRate) - 2*stormTakeover)
	for n := 0; time.Now().Before(end); n++ {
		time.Sleep(time.Duration(300+s.rand.IntN(1000)) * time.Millisecond)
		channel := stormChannels[s.rand.IntN(len(stormChannels))]
		leader := s.leader(channel)
		if leader == nil {
			continue
		}
		began := time.Now()
		what := blows[n%len(blows)](leader)
		s.blows = append(s.blows, blow{began, channel, what + " " + leader.name})
	}
}

// past is longer than a lease.
func (s *storm) past() time.Duration {
	return stormLease + time.Duration(500+s.rand.IntN(1000))*time.Millisecond
}

func (s *storm) kill(r *stormReplica) string {
	_ = r.Process.Kill()
	_ = r.Wait()
	time.Sleep(time.Second)
	s.start(r)
	time.Sleep(s.past())
	return "killed"
}

func (s *storm) stop(r *stormReplica) string {
	_ = r.Process.Signal(syscall.SIGSTOP)
	time.Sleep(s.past())
	_ = r.Process.Signal(syscall.SIGCONT)
	return "stopped"
}

// cutRegister leaves the queue within reach: nothing but the lease stops the leader.
func (s *storm) cutRegister(r *stormReplica) string {
	r.register.close()
	time.Sleep(s.past())
	r.register.open()
	return "cut off from the register"
}

func (s *storm) cutBoth(r *stormReplica) string {
	r.register.swallow()
	r.sink.swallow()
	time.Sleep(s.past())
	r.register.open()
	r.sink.open()
	return "cut off, without a word,"
}

// judge fails the test unless the queue has every event, in the order of its channel by first
// occurrence, and an event has one id in all its copies. It prints how long takeovers took: the
// longest pause of the channel's delivery between the blow and the next one.
func (s *storm) judge() {
	for c, channel := range stormChannels {
		next := c
		for _, a := range s.queue.first[channel] {
			if a.number != next {
				s.t.Fatalf("%s: event %d comes first behind %d", channel, a.number, next-len(stormChannels))
			}
			next += len(stormChannels)
		}
	}
	var pauses []time.Duration
	for i, b := range s.blows {
		until := time.Now()
		for _, later := range s.blows[i+1:] {
			if later.channel == b.channel {
				until = later.at
				break
			}
		}
		pause := s.queue.pause(b.channel, b.at, until)
		pauses = append(pauses, pause)
		s.t.Logf("%s: %s: %v", b.channel, b.what, pause.Round(time.Millisecond))
		if pause > stormTakeover {
			s.t.Errorf("%s: after its leader was %s nothing came for %v", b.channel, b.what, pause)
		}
	}
	if len(pauses) == 0 {
		s.t.Fatal("nothing has happened")
	}
	slices.Sort(pauses)
	s.t.Logf("%d events and %d copies, %d blows; takeover p50 %v, max %v", *stormEvents, s.queue.copies, len(pauses),
		pauses[len(pauses)/2].Round(time.Millisecond), pauses[len(pauses)-1].Round(time.Millisecond))
}

// stormQueue is what was read from the queue.
type stormQueue struct {
	mu     *sync.Mutex
	first  map[string][]arrival // by channel, in the order of the queue
	ids    map[int]string
	copies int
}

type arrival struct {
	at     time.Time
	number int
}

func newStormQueue() stormQueue {
	return stormQueue{mu: new(sync.Mutex), first: make(map[string][]arrival), ids: make(map[int]string)}
}

// add notes an entry of the queue: a CloudEvent.
func (q *stormQueue) add(t *testing.T, text []byte) {
	var event struct {
		ID   string
		Data struct {
			Payload struct {
				Number float64 `json:"Number__c"`
			}
		}
	}
	if err := json.Unmarshal(text, &event); err != nil {
		t.Errorf("%v: %s", err, text)
		return
	}
	number := int(event.Data.Payload.Number)
	q.mu.Lock()
	defer q.mu.Unlock()
	switch id := q.ids[number]; id {
	case event.ID:
		q.copies++
	case "":
		q.ids[number] = event.ID
		channel := stormChannels[number%len(stormChannels)]
		q.first[channel] = append(q.first[channel], arrival{time.Now(), number})
	default:
		t.Errorf("event %d has the ids %s and %s", number, id, event.ID)
	}
}

func (q *stormQueue) distinct() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.ids)
}

// pause returns the longest time between two new events of the channel that has a part in the given
// one.
func (q *stormQueue) pause(channel string, from, until time.Time) (longest time.Duration) {
	var before time.Time
	for _, a := range q.first[channel] {
		if !before.IsZero() && a.at.After(from) && before.Before(until) {
			longest = max(longest, a.at.Sub(before))
		}
		before = a.at
	}
	return longest
}

// A gate lets the connections of a replica pass to the engine.
type gate struct {
	listener net.Listener
	target   string
	mu       sync.Mutex
	state    gateState
	changed  chan struct{} // closed when state changes
	conns    map[net.Conn]bool
}

type gateState int

const (
	gateOpen       gateState = iota
	gateClosed               // connections break, and new ones too
	gateSwallowing           // nothing passes
)

func newGate(t *testing.T, target string) *gate {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{listener: listener, target: target, changed: make(chan struct{}), conns: make(map[net.Conn]bool)}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { g.serve(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		g.close()
		running.Wait()
	})
	return g
}

func (g *gate) address() string { return g.listener.Addr().String() }

func (g *gate) serve(conn net.Conn) {
	defer conn.Close()
	if !g.pass(conn) {
		return
	}
	engine, err := net.Dial("tcp", g.target)
	if err != nil {
		return
	}
	defer engine.Close()
	g.mu.Lock()
	g.conns[conn], g.conns[engine] = true, true
	g.mu.Unlock()
	var copying sync.WaitGroup
	copying.Go(func() { g.copy(engine, conn) })
	copying.Go(func() { g.copy(conn, engine) })
	copying.Wait()
	g.mu.Lock()
	delete(g.conns, conn)
	delete(g.conns, engine)
	g.mu.Unlock()
}

func (g *gate) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil || !g.pass(from) {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// pass waits while the gate swallows, and reports whether it is open.
func (g *gate) pass(net.Conn) bool {
	for {
		g.mu.Lock()
		state, changed := g.state, g.changed
		g.mu.Unlock()
		if state != gateSwallowing {
			return state == gateOpen
		}
		<-changed
	}
}

func (g *gate) open()    { g.enter(gateOpen) }
func (g *gate) swallow() { g.enter(gateSwallowing) }

func (g *gate) close() {
	g.enter(gateClosed)
	g.mu.Lock()
	defer g.mu.Unlock()
	for conn := range g.conns {
		conn.Close()
	}
}

func (g *gate) enter(state gateState) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.state = state
	close(g.changed)
	g.changed = make(chan struct{})
}
