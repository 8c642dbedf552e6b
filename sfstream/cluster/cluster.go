package cluster

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
)

// Lead is what a program does with a channel that its replica leads. The client follows the channel
// and nothing else; its store is the cluster's. The function returns soon after ctx has ended: that
// is how a channel is handed over, and the next leader waits for it. Most programs end with one of
// the ways to consume messages, such as [sfstream.Client.Run].
//
// Where it returns before ctx has ended, [Replica.Lead] ends with what it has returned.
type Lead func(ctx context.Context, client *sfstream.Client, channel string) error

// A Replica is one of several processes that share channels; see [New]. Its methods may be called
// from any goroutine.
type Replica struct {
	cfg       config
	newClient NewClient
	channels  []string
	spares    chan *spare
	log       *slog.Logger // of the clients; set when Lead begins

	mu      sync.Mutex
	running bool                    // Lead was called
	views   map[string]*channelView // by channel
	names   []string                // of the members
	trouble trouble                 // of the register
	ended   error                   // what Lead has returned; nil: nothing yet, or nil
	endedAt time.Time               // when
}

// New makes a replica that leads some of the channels, in turn with others that have the same
// channels and the same register. It does no I/O; [Replica.Run] and [Replica.Lead] begin.
//
// newClient makes a client with the program's own options and, after them, those that it is given.
// Channels are as [sfstream.Client.Subscribe] takes them. The error is [sfstream.ErrInvalidOption].
func New(newClient NewClient, channels []string, register replaystore.Register, opts ...Option) (*Replica, error) {
	cfg, err := newConfig(opts)
	switch {
	case err != nil:
		return nil, err
	case newClient == nil:
		return nil, fmt.Errorf("%w: cluster.New: no function that makes clients", sfstream.ErrInvalidOption)
	case register == nil:
		return nil, fmt.Errorf("%w: cluster.New: no register", sfstream.ErrInvalidOption)
	case len(channels) == 0:
		return nil, fmt.Errorf("%w: cluster.New: no channels", sfstream.ErrInvalidOption)
	}
	cfg.register = register
	r := &Replica{
		cfg: cfg, newClient: newClient, channels: slices.Clone(channels),
		spares: make(chan *spare), views: make(map[string]*channelView),
	}
	bare := make(map[string]bool)
	for _, channel := range channels {
		name := replaystore.Key{Channel: channel}.Canonical().Channel
		if bare[name] {
			return nil, fmt.Errorf("%w: cluster.New: the channel %s is there twice", sfstream.ErrInvalidOption, name)
		}
		if !strings.HasPrefix(name, "/") {
			return nil, fmt.Errorf("%w: cluster.New: %q is no channel: want /event/Name__e and the like. A managed subscription needs no cluster: the org keeps its place, and lets one client follow it at a time", sfstream.ErrInvalidOption, channel)
		}
		bare[name] = true
		r.views[channel] = &channelView{since: time.Now()}
	}
	return r, nil
}

// Run makes a replica and runs it: see [New] and [Replica.Run].
func Run(ctx context.Context, newClient NewClient, channels []string, register replaystore.Register, handler func(context.Context, *sfstream.Message) error, opts ...Option) error {
	r, err := New(newClient, channels, register, opts...)
	if err != nil {
		return err
	}
	return r.Run(ctx, handler)
}

// Run is [Replica.Lead] with [sfstream.Client.Run]: handler is called for the messages of the
// channels that this replica leads. opts are of each such Run, so that each channel has workers of
// its own.
func (r *Replica) Run(ctx context.Context, handler func(context.Context, *sfstream.Message) error, opts ...sfstream.RunOption) error {
	if handler == nil {
		return fmt.Errorf("%w: cluster.Run: no handler", sfstream.ErrInvalidOption)
	}
	return r.Lead(ctx, func(ctx context.Context, client *sfstream.Client, channel string) error {
		return client.Run(ctx, handler, opts...)
	})
}

// Lead takes part in the cluster until ctx ends, and calls lead for each channel whenever this
// replica comes to lead it: at once for several channels, one after the other for one. When ctx ends
// it hands all channels over and returns nil when nothing of it runs any more.
//
// It ends by itself, after it has handed over, when lead returns, when a channel cannot be
// followed, and at its beginning when the login is refused, with the error; trouble that may pass,
// of the register too, ends nothing. A replica can take part once: then Lead is
// [sfstream.ErrInvalidOption].
func (r *Replica) Lead(ctx context.Context, lead Lead) (err error) {
	if lead == nil {
		return fmt.Errorf("%w: cluster.Lead: no function", sfstream.ErrInvalidOption)
	}
	r.mu.Lock()
	again := r.running
	r.running = true
	r.mu.Unlock()
	if again {
		return fmt.Errorf("%w: cluster.Lead: this replica has been run already: make another one with New", sfstream.ErrInvalidOption)
	}
	defer func() {
		r.mu.Lock()
		r.ended, r.endedAt = err, time.Now()
		r.mu.Unlock()
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	first, err := r.openSpare(ctx)
	if ctx.Err() != nil {
		if err == nil {
			_ = first.Close()
		}
		return nil
	}
	if err != nil {
		return err
	}
	r.log = first.Logger()
	s, err := r.newScout(first, lead)
	if err != nil {
		_ = first.Close()
		return err
	}
	s.running.Go(func() { r.keepSpare(ctx, first) }) // ends with ctx; finish waits for it
	err = s.run(ctx)
	cancel()
	if last := s.finish(ctx); err == nil {
		err = last
	}
	return err
}

// newScout makes the scout. The keys of channels need the org's id, which a client knows that is
// open.
func (r *Replica) newScout(client *spare, lead Lead) (*scout, error) {
	s := &scout{Replica: r, lead: lead, over: make(chan ending, len(r.channels))}
	var org string
	for _, channel := range r.channels {
		key, err := client.Key(channel)
		if err != nil {
			return nil, err
		}
		org = key.OrgID
		s.seats = append(s.seats, &seat{
			cfg: &r.cfg, channel: channel, key: key, rank: rankOf(r.cfg.name, channel),
			claim: replaystore.NewClaim(r.cfg.register, r.cfg.keyText(key), r.cfg.name, r.cfg.lease, r.log),
		})
	}
	slices.SortFunc(s.seats, func(a, b *seat) int { return cmp.Compare(a.rank, b.rank) })
	s.members = newMembers(&r.cfg, org, rand.Text(), r.log)
	return s, nil
}
