package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
)

// A leadership is one attempt of this replica to lead a channel, from taking its key to the end.
type leadership struct {
	*Replica
	channel string
	key     replaystore.Key
	claim   *replaystore.Claim
	client  *spare
	lead    Lead

	// The scout alone uses these.
	lastLive time.Time // when the channel was last seen to have a session
	why      reason    // why the scout has ended it

	handOver chan struct{} // closed by the scout: end in good order
}

// A reason is why the scout ends a leadership.
type reason int

const (
	staying reason = iota
	forShare
	forSession
)

// end makes the leadership end in good order. It does not wait for it.
func (l *leadership) end(why reason) {
	if l.why == staying {
		l.why = why
		close(l.handOver)
	}
}

// isSessionless reports whether the channel has been without a session for too long.
func (l *leadership) isSessionless(now time.Time) bool {
	for _, ch := range l.client.Status().Channels {
		if ch.State == sfstream.StateLive || ch.State == sfstream.StateParked {
			l.lastLive = now
		}
	}
	return l.why == staying && now.Sub(l.lastLive) >= sessionless
}

// run takes the channel and leads it until ctx ends, the scout ends it, it is lost, or the program's
// function returns. Nothing of it runs any more when it returns.
func (l *leadership) run(ctx context.Context) ending {
	l.state(l.channel, StateTaking, nil)
	if err := l.take(ctx); err != nil {
		l.log.Info("cluster: a channel could not be taken", "channel", l.channel, "error", err)
		if ctx.Err() != nil {
			l.release(ctx) // the put may have happened, and nobody is left here who would find out
		}
		l.state(l.channel, StateStandby, nil)
		return ending{unused: l.client}
	}
	store := l.client.store
	store.bind(l.claim, l.key, l.log)
	l.log.Info("cluster: leading", "channel", l.channel)
	l.leads(l.channel, l.client.Client, store)
	l.state(l.channel, StateLeading, nil)

	keeping, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var keeper sync.WaitGroup
	keeper.Go(func() { store.keep(keeping) }) // ends with keeping; waited for below
	e := l.follow(ctx)

	// 1. The last save, while the keeper still puts. Then the keeper.
	store.hurry()
	if err := l.client.Close(); err != nil && store.why() == nil && !e.over {
		l.log.Warn("cluster: the client of a channel has ended with an error", "channel", l.channel, "error", err)
	}
	stop()
	keeper.Wait()

	// 2. The key is free for others, if it is still ours.
	lost := store.why()
	if lost == nil {
		l.release(ctx)
	}
	store.lose(errReleased)
	l.leads(l.channel, nil, nil)
	if lost != nil {
		l.log.Warn("cluster: a channel is lost", "channel", l.channel, "error", lost)
		e = ending{}
	}
	l.state(l.channel, StateStandby, lost)
	return e
}

var errReleased = errors.New("cluster: the channel was handed over")

// take puts this replica as the owner.
func (l *leadership) take(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.beat())
	defer cancel()
	return l.claim.Put(ctx)
}

// follow runs the program's function until it returns, and sees to it that it does.
func (l *leadership) follow(ctx context.Context) (e ending) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { // ends when the program's function returns; this method waits
		err := errGoexit
		defer func() { done <- err }() // also where it calls runtime.Goexit
		err = l.consume(ctx)
	}()
	store := l.client.store
	select {
	case err := <-done:
		return ending{over: true, err: err}
	case <-store.lost:
		l.state(l.channel, StateHandingOver, store.why())
	case <-l.handOver:
		l.state(l.channel, StateHandingOver, nil)
	case <-ctx.Done():
		l.state(l.channel, StateHandingOver, nil)
	}
	cancel()
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		return ending{over: true, err: err}
	}
	return ending{}
}

var errGoexit = errors.New("cluster: the function that leads a channel has ended its goroutine (runtime.Goexit)")

// consume subscribes the client and calls the program's function.
func (l *leadership) consume(ctx context.Context) error {
	for {
		err := l.client.Subscribe(ctx, l.channel)
		var store *sfstream.StoreError
		switch {
		case err == nil && !l.client.store.loaded.Load():
			return fmt.Errorf("%w: cluster: the client that newClient has made does not use the cluster's store: newClient must give sfstream.New its own options first, and then those that it was given", sfstream.ErrInvalidOption)
		case err == nil:
			return l.lead(ctx, l.client.Client, l.channel)
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &store) && l.client.store.Held() == nil:
			sleep(ctx, l.cfg.pause())
		case !errors.Is(err, context.DeadlineExceeded):
			return err
		}
		l.log.Warn("cluster: trying again to subscribe", "channel", l.channel, "error", err)
	}
}

// release puts the last marker and no owner, while the lease holds.
func (l *leadership) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.cfg.beat())
	defer cancel()
	err := l.claim.Release(ctx)
	for err != nil && !errors.Is(err, replaystore.ErrConflict) && ctx.Err() == nil && l.client.store.Held() == nil {
		sleep(ctx, l.cfg.pause())
		err = l.claim.Release(ctx)
	}
	if err != nil && !errors.Is(err, replaystore.ErrConflict) {
		l.log.Warn("cluster: a channel could not be released: the others wait for the end of its lease", "channel", l.channel, "error", err)
	}
}
