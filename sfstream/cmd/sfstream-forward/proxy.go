package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/cluster"
	"github.com/sfstream/sfstream-go/sfstream/sink"
)

// proxy forwards the events of channels to a queue.
type proxy struct {
	*settings
	log    *slog.Logger
	stdout io.Writer

	account account
	queue   opened[sink.Sink]
	dead    *deadLetters // nil: there is none
}

// run forwards until ctx ends.
func (p *proxy) run(ctx context.Context) (err error) {
	if p.account, err = p.settings.account(); err != nil {
		return err
	}
	health, err := p.serveHealth()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, health.stop()) }()
	if p.queue, err = sinks.open(ctx, p.to, p); err != nil {
		return ended(ctx, err)
	}
	defer func() { err = errors.Join(err, p.queue.close()) }()
	if p.deadLetter != "" {
		if p.dead, err = openDeadLetters(p.deadLetter); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, p.dead.close()) }()
	}
	kept := slog.String("replay", p.replay)
	if p.shared.scheme != "" {
		kept = slog.String("register", p.shared.String())
	}
	p.log.Info("forwarding", "channels", p.channels, "sink", p.to.String(), kept, "version", version())
	defer func() { p.log.Info("ended") }()
	if p.shared.scheme == "" {
		return p.alone(ctx, health)
	}
	return p.among(ctx, health)
}

// alone forwards in one process, which keeps its markers in a file.
func (p *proxy) alone(ctx context.Context, health *health) (err error) {
	store, err := replaystore.OpenBolt(p.replay)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	client, err := p.newClient(sfstream.WithReplayStore(store))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	health.of(client.Status)
	if err := client.Open(ctx); err != nil {
		return ended(ctx, err)
	}
	for _, channel := range p.channels {
		if err := client.Subscribe(ctx, channel); err != nil {
			return ended(ctx, err)
		}
	}
	return p.forward(ctx, client, "")
}

// among forwards those channels of which this replica is the leader.
func (p *proxy) among(ctx context.Context, health *health) error {
	shared, err := registers.open(ctx, p.shared, p)
	if err != nil {
		return ended(ctx, err)
	}
	replica, err := cluster.New(p.newClient, p.channels, shared.it, p.clusterOptions()...)
	if err == nil {
		health.of(replica.ClientStatus)
		err = replica.Lead(ctx, p.forward)
	}
	return errors.Join(err, shared.close())
}

func (p *proxy) newClient(opts ...sfstream.Option) (*sfstream.Client, error) {
	all := append(p.clientOptions(), sfstream.WithLoginURL(p.account.loginURL), sfstream.WithPubSubEndpoint(p.account.endpoint),
		sfstream.WithLogger(p.log))
	return sfstream.New(p.account.auth, append(all, opts...)...)
}

// forward is the [cluster.Lead] of this program, and what it does alone.
func (p *proxy) forward(ctx context.Context, client *sfstream.Client, _ string) error {
	opts := p.forwardOptions()
	if p.dead != nil {
		opts = append(opts, sink.WithDeadLetter(p.dead.keep))
	}
	err := sink.Forward(ctx, client, p.queue.it, opts...)
	if p.dead == nil && isRefusal(err) {
		err = fmt.Errorf("%w: -dead-letter keeps such events in a file, and goes on", err)
	}
	return err
}

// isRefusal tells of the error of an event that the queue will never take.
func isRefusal(err error) bool {
	var of *sink.RecordError
	var permanent *backoff.PermanentError
	return errors.As(err, &of) && errors.As(of, &permanent) &&
		!errors.Is(err, replaystore.ErrConflict) && !errors.Is(err, sfstream.ErrInvalidOption)
}

// connectOnly finds out whether run would work, with a client that keeps no markers.
func (p *proxy) connectOnly(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if p.account, err = p.settings.account(); err != nil {
		return err
	}
	// It has a store only so that no warning says that it has none.
	client, err := p.newClient(sfstream.WithPrefetch(1), sfstream.WithReplayStore(replaystore.NewMemory()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	if err := client.Open(ctx); err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "ok   login at %s, org %s\n", p.account.loginURL, client.OrgID())
	return errors.Join(p.checkChannels(ctx, client), checkEngine(ctx, p, sinks, p.to), checkEngine(ctx, p, registers, p.shared))
}

// checkChannels subscribes to each channel for a moment, at new events.
func (p *proxy) checkChannels(ctx context.Context, client *sfstream.Client) error {
	var failed []error
	for _, channel := range p.channels {
		err := client.Subscribe(ctx, channel, sfstream.From(sfstream.ReplayNew))
		if err != nil {
			failed = append(failed, err)
			continue
		}
		fmt.Fprintf(p.stdout, "ok   %s\n", channel)
		failed = append(failed, client.Unsubscribe(ctx, channel))
	}
	return errors.Join(failed...)
}

// checkEngine opens a queue or a register and asks it.
func checkEngine[T any](ctx context.Context, p *proxy, k kinds[T], a address) error {
	if a.scheme == "" {
		return nil
	}
	engine, err := k.open(ctx, a, p)
	if err != nil {
		return err
	}
	if engine.check != nil {
		if err = engine.check(ctx); err != nil {
			err = fmt.Errorf("-%s %s: %w", a.name, a, err)
		}
	}
	if err == nil {
		fmt.Fprintf(p.stdout, "ok   %s %s\n", a.name, a)
	}
	return errors.Join(err, engine.close())
}

// ended returns nil in place of an error that comes of the end of ctx.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
