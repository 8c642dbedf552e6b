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
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/cluster"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// world is an org, an engine, and the replicas that share both.
type world struct {
	*lab.Lab
	engine *engine

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
	stop context.CancelFunc
	done chan struct{} // closed when Run has returned
	err  error         // what it has returned

	mu     sync.Mutex
	events []string // states by OnState
}

func inBubble(t *testing.T, run func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		run(t, &world{Lab: lab.New(t), engine: newEngine()})
	})
}

// start starts a replica that handles each message at once.
func (w *world) start(name string, channels []string, opts ...cluster.Option) *replica {
	w.T.Helper()
	return w.startOn(w.engine, name, channels, func(ctx context.Context, r *replica, m *sfstream.Message) error { return nil }, opts...)
}

func (w *world) startOn(register replaystore.Register, name string, channels []string, handle func(context.Context, *replica, *sfstream.Message) error, opts ...cluster.Option) *replica {
	w.T.Helper()
	r := &replica{w: w, name: name, done: make(chan struct{})}
	login := authenticator.NewCache(w.Authenticator())
	newClient := func(opts ...sfstream.Option) (*sfstream.Client, error) {
		return sfstream.New(login, append([]sfstream.Option{
			sfstream.WithOrg(w), sfstream.WithTransport(lab.TransportOf(w.T)), sfstream.WithLogger(w.Log.Logger()), sfstream.WithReplay(sfstream.ReplayAll),
		}, opts...)...)
	}
	var err error
	r.Replica, err = cluster.New(newClient, channels, register, append([]cluster.Option{
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
			return handle(ctx, r, m)
		})
	}()
	w.replicas = append(w.replicas, r)
	w.T.Cleanup(r.end)
	return r
}

// end ends the replica in good order.
func (r *replica) end() {
	r.stop()
	<-r.done
}

func (r *replica) onState(channel string, state cluster.State, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	event := fmt.Sprintf("%s %v", channel, state)
	if err != nil {
		event += ": " + err.Error()
	}
	r.events = append(r.events, event)
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
