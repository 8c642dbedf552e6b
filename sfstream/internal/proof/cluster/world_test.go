package cluster

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/cluster"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// world is an org, an engine, and the replicas that share both.
type world struct {
	*lab.Lab
	engine *engine
	login  *authenticator.Cache

	replicas []*replica

	mu       sync.Mutex
	handouts []handout
}

// handout is a call of a handler.
type handout struct {
	replica, channel, id string
	began, ended         time.Time // ended is zero while it runs
}

// replica is one process.
type replica struct {
	*cluster.Replica
	w    *world
	name string
	wire *wire
	stop context.CancelFunc
	done chan struct{} // closed when Run has returned
	err  error         // what it has returned

	mu     sync.Mutex
	events []event // by OnState
}

type event struct {
	channel string
	state   cluster.State
	err     error
	at      time.Time
}

func inBubble(t *testing.T, run func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		l := lab.New(t)
		run(t, &world{Lab: l, engine: newEngine(), login: authenticator.NewCache(l.Authenticator())})
	})
}

// handler is what a replica does with a message.
type handler func(ctx context.Context, r *replica, m *sfstream.Message) error

// start starts a replica, which handles each message at once where handle is nil.
func (w *world) start(name string, channels []string, handle handler, opts ...cluster.Option) *replica {
	w.T.Helper()
	return w.startRun(name, channels, handle, nil, opts...)
}

// startRun is start with options of Run.
func (w *world) startRun(name string, channels []string, handle handler, run []sfstream.RunOption, opts ...cluster.Option) *replica {
	w.T.Helper()
	r := &replica{w: w, name: name, wire: &wire{Register: w.engine}, done: make(chan struct{})}
	newClient := func(opts ...sfstream.Option) (*sfstream.Client, error) {
		return w.newClient(append(opts, sfstream.WithPubSubDialOptions(r.wire.dialOptions()...))...)
	}
	var err error
	r.Replica, err = cluster.New(newClient, channels, r.wire, append([]cluster.Option{
		cluster.WithName(name), cluster.WithHooks(cluster.Hooks{OnState: r.onState}),
	}, opts...)...)
	w.Must(err)
	ctx, stop := context.WithCancel(w.T.Context())
	r.stop = stop
	go func() {
		defer close(r.done)
		r.err = r.Run(ctx, func(ctx context.Context, m *sfstream.Message) error {
			at := w.handOut(name, m)
			defer w.handled(at)
			if handle == nil {
				return nil
			}
			return handle(ctx, r, m)
		}, run...)
	}()
	w.replicas = append(w.replicas, r)
	w.T.Cleanup(r.end)
	return r
}

// newClient is a replica's, and of all replicas: they share a login.
func (w *world) newClient(opts ...sfstream.Option) (*sfstream.Client, error) {
	return sfstream.New(w.login, append([]sfstream.Option{
		sfstream.WithOrg(w), sfstream.WithTransport(lab.TransportOf(w.T)), sfstream.WithLogger(w.Log.Logger()), sfstream.WithReplay(sfstream.ReplayAll),
	}, opts...)...)
}

// startThree starts the replicas a, b and c at once, and waits until they have settled.
func (w *world) startThree(channels ...string) (a, b, c *replica) {
	w.T.Helper()
	a, b, c = w.start("a", channels, nil), w.start("b", channels, nil), w.start("c", channels, nil)
	w.Pass(20 * time.Second)
	return a, b, c
}

// end ends the replica in good order.
func (r *replica) end() {
	r.stop()
	<-r.done
}

func (r *replica) onState(channel string, state cluster.State, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, event{channel, state, err, time.Now()})
}

// history returns what has happened to the replica's channels.
func (r *replica) history() []event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// leads returns the channels that a replica leads, sorted.
func (r *replica) leads() (channels []string) {
	for _, ch := range r.Status().Channels {
		if ch.State == cluster.StateLeading {
			channels = append(channels, ch.Channel)
		}
	}
	return channels
}

func (w *world) handOut(replica string, m *sfstream.Message) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handouts = append(w.handouts, handout{replica: replica, channel: m.Channel, id: w.IDOf(m.Channel, m.ReplayID), began: time.Now()})
	return len(w.handouts) - 1
}

func (w *world) handled(at int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handouts[at].ended = time.Now()
}

// handedOut returns the hand-outs so far.
func (w *world) handedOut() []handout {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.handouts)
}

// publish puts n events on a channel, one every 100 milliseconds.
func (w *world) publish(channel string, n int) {
	w.T.Helper()
	for range n {
		w.PublishNext(channel, 1)
		w.Pass(100 * time.Millisecond)
	}
}

// leader returns the replica that leads a channel. There must be one.
func (w *world) leader(channel string) (leader *replica) {
	w.T.Helper()
	for _, r := range w.replicas {
		if slices.Contains(r.leads(), channel) {
			if leader != nil {
				w.T.Fatalf("%s and %s lead %s", leader.name, r.name, channel)
			}
			leader = r
		}
	}
	if leader == nil {
		w.T.Fatalf("nobody leads %s", channel)
	}
	return leader
}

// expectAll expects that each event of a channel was handed out, in order by its first hand-out, and
// that at most so many hand-outs were repeats.
func (w *world) expectAll(channel string, repeats int) {
	w.T.Helper()
	seen := make(map[string]bool)
	handouts := 0
	for _, h := range w.handedOut() {
		if h.channel != channel {
			continue
		}
		handouts++
		if !seen[h.id] && h.id != strconv.Itoa(len(seen)+1) {
			w.T.Errorf("%s was handed out first, after %d others", h.id, len(seen))
		}
		seen[h.id] = true
	}
	if n := w.Published(channel); len(seen) != n || handouts > n+repeats {
		w.T.Errorf("%d of %d events in %d hand-outs, want %d at most", len(seen), n, handouts, n+repeats)
	}
}

// expectShares expects how many channels the running replicas lead, in the order in which they were
// started.
func (w *world) expectShares(want ...int) {
	w.T.Helper()
	var got []int
	for _, r := range w.replicas {
		got = append(got, len(r.leads()))
	}
	if !slices.Equal(got, want) {
		w.T.Errorf("the replicas lead %v channels, want %v", got, want)
	}
}

// channels gives the org n platform events, and returns their channels.
func (w *world) channels(n int) (all []string) {
	for i := range n {
		channel := fmt.Sprintf("/event/Shared%d__e", i)
		w.Define(channel)
		all = append(all, channel)
	}
	return all
}
