package sfstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// start finds the place to begin at and starts the link.
func (l *link) start(ctx context.Context, cfg subscribeConfig) error {
	c := l.client
	replay, stored, err := l.startingPoint(ctx, cfg)
	if err != nil {
		return err
	}
	now := c.clock.now()
	var first mark // what a restart before the first event begins at
	switch {
	case stored != nil:
		first = *stored
		l.position = position{id: first.id}
		if len(first.id) == 0 {
			l.position.skip.before = first.live
		}
	case replay.kind == replayNew:
		first.live = now
		l.position, l.startedNew = position{latest: true}, now
	case replay.kind == replaySince:
		first.live = time.Unix(0, replay.nano)
		l.position.skip = skipper{before: first.live, exact: true}
	case replay.kind == replayAfter:
		first.id = []byte(replay.id)
		l.position.id = first.id
	case cfg.fromSet: // ReplayAll: the stored marker must go back to where all is retained
		first.live = now.Add(-believable)
	}
	c.delivery.begin(l.sub, first, stored != nil)
	c.log.Info("subscribing", "channel", l.sub.channel, "start", describe(replay, stored))
	go l.run() // ends with l.life; Close and Unsubscribe wait for it
	return nil
}

func describe(replay Replay, stored *mark) string {
	if stored == nil {
		return replay.String()
	}
	if len(stored.id) == 0 {
		return "stored: " + ReplaySince(stored.live).String()
	}
	return fmt.Sprintf("stored: after %x", stored.id)
}

// startingPoint is From, else the stored marker, else, where only the other API
// has one, its time, else WithReplay.
func (l *link) startingPoint(ctx context.Context, cfg subscribeConfig) (Replay, *mark, error) {
	c, key := l.client, l.sub.key
	if cfg.fromSet {
		return cfg.from, nil, nil
	}
	// What Unsubscribe could not save counts, not what it would have replaced.
	if left, ok := c.delivery.saver.unsaved(key); ok {
		return Replay{}, &left, nil
	}
	marker, err := l.load(ctx, key)
	if err == nil {
		return Replay{}, &mark{id: marker.ReplayID, live: marker.Live, date: marker.Date}, nil
	}
	if !errors.Is(err, replaystore.ErrNotFound) {
		return Replay{}, nil, err
	}
	other := key
	other.API = apiCometD
	marker, err = l.load(ctx, other)
	switch {
	case errors.Is(err, replaystore.ErrNotFound):
		return c.cfg.replay, nil, nil
	case err != nil:
		return Replay{}, nil, err
	}
	at := marker.Live
	if !marker.Date.IsZero() {
		at = marker.Date
	}
	c.log.Info("the stored marker is of the other API: starting at its time", "channel", l.sub.channel, "marker_time", at)
	if at.IsZero() {
		return ReplayAll, nil, nil
	}
	return Replay{}, &mark{live: at}, nil
}

func (l *link) load(ctx context.Context, key replaystore.Key) (replaystore.Marker, error) {
	marker, err := l.client.cfg.store.Load(ctx, key)
	if err != nil && !errors.Is(err, replaystore.ErrNotFound) {
		err = &StoreError{Op: "load", Channel: l.sub.channel, err: err}
	}
	return marker, err
}

// awaitAccepted waits for Salesforce's word on a new subscription.
func (l *link) awaitAccepted(ctx context.Context) error {
	c := l.client
	select {
	case <-l.accepted:
	case <-l.done:
	case <-ctx.Done():
		if l.isAccepted() {
			break // both at once
		}
		c.delivery.remove(l.sub) // accepted from now on, it is one that nobody wants
		l.cancel()
		<-l.done // prompt: all that the link does ends with its life
		return l.refusal(ctx)
	}
	if !l.isAccepted() {
		return l.refusal(ctx)
	}
	// So that a restart before the first event knows what "new" meant.
	if err := c.delivery.saver.flush(lastSaves); err != nil {
		c.log.Warn("the start of a subscription is not saved yet", "channel", l.sub.channel, "error", err)
	}
	return nil
}

// refusal says why a subscription was not accepted.
func (l *link) refusal(ctx context.Context) error {
	last := l.status.lastError()
	switch {
	case l.err != nil:
		return l.err
	case l.client.usable() != nil:
		return l.client.usable()
	case ctx.Err() != nil && last != nil:
		return fmt.Errorf("sfstream: %s: subscribe: %w; the last failure: %w", l.sub.channel, ctx.Err(), last)
	case ctx.Err() != nil:
		return fmt.Errorf("sfstream: %s: subscribe: %w", l.sub.channel, ctx.Err())
	}
	return fmt.Errorf("sfstream: %s: unsubscribed while subscribing", l.sub.channel)
}
