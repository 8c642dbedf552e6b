package sfstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream/internal/replayid"
)

// start finds the place to begin at and joins a link.
func (f *feed) start(ctx context.Context, cfg subscribeConfig) error {
	c := f.client
	replay, stored, err := f.startingPoint(ctx, cfg)
	if err != nil {
		return err
	}
	c.clock.Ask(ctx)
	now := c.clock.Now()
	var first mark // what a restart before the first event begins at
	switch {
	case stored != nil:
		first = *stored
		f.position = position{id: first.replayID()}
		f.at, f.atDate = first.msg, first.date
		if len(f.position.id) == 0 && first.live.After(now.Add(startMargin(f.sub.key.Channel))) {
			c.log.Warn("the stored marker is of the future: starting at the oldest retained event", "channel", f.sub.channel, "marker_time", first.live)
		} else if len(f.position.id) == 0 {
			f.position.skip.before = earlier(first.live, now)
		}
	case replay.kind == replayNew:
		f.position, f.startedNew = position{latest: true}, time.Now()
		first.live = c.clock.Live(f.startedNew, 0)
	case replay.kind == replaySince:
		first.live = time.Unix(0, replay.nano)
		f.position.skip = skipper{before: first.live, exact: true}
	case replay.kind == replayAfter:
		first.id = []byte(replay.id)
		f.position.id = first.id
	case cfg.fromSet: // ReplayAll: the stored marker must go back to where all is retained
		first.live = c.clock.Live(time.Now(), believable)
	}
	if mayHaveGroups(f.sub.key.Channel) {
		f.groups = new(groups)
	}
	f.restoreGroup(first.group)
	c.delivery.begin(f.sub, first, stored != nil)
	c.log.Info("subscribing", "channel", f.sub.channel, "start", describe(replay, stored))
	return c.join(f)
}

// startMargin is how much Salesforce's times of a channel can differ.
func startMargin(channel string) time.Duration {
	if strings.HasPrefix(channel, "/event/") {
		return createdMargin
	}
	return commitMargin
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func describe(replay Replay, stored *mark) string {
	if stored == nil {
		return replay.String()
	}
	if len(stored.replayID()) == 0 {
		return "stored: " + ReplaySince(stored.live).String()
	}
	return "stored: after " + replayid.Text(stored.replayID())
}

// startingPoint is From, else the stored marker, else, where only the other API
// has one, its time, else WithReplay.
func (f *feed) startingPoint(ctx context.Context, cfg subscribeConfig) (Replay, *mark, error) {
	c, key := f.client, f.sub.key
	if cfg.fromSet {
		return cfg.from, nil, nil
	}
	// What Unsubscribe could not save counts, not what it would have replaced.
	if left, ok := c.delivery.saver.unsaved(key); ok {
		return Replay{}, &left, nil
	}
	marker, err := f.load(ctx, key)
	if err == nil {
		return Replay{}, markOf(key.API, marker), nil
	}
	if !errors.Is(err, replaystore.ErrNotFound) {
		return Replay{}, nil, err
	}
	other := key
	if other.API = apiCometD; key.API == apiCometD {
		other.API = apiPubSub
	}
	marker, err = f.load(ctx, other)
	switch {
	case errors.Is(err, replaystore.ErrNotFound):
		return c.cfg.replay, nil, nil
	case err != nil:
		return Replay{}, nil, err
	}
	at := marker.Live
	// Live may be much earlier, but is never wrong. A platform event's date is what
	// its publisher wrote.
	written := strings.HasPrefix(key.Channel, "/event/") && !at.IsZero()
	if !marker.Date.IsZero() && !marker.Date.After(c.clock.Now()) && (!written || marker.Date.Before(at)) {
		at = marker.Date
	}
	c.log.Info("the stored marker is of the other API: starting at its time", "channel", f.sub.channel, "marker_time", at)
	if at.IsZero() {
		return ReplayAll, nil, nil
	}
	return Replay{}, &mark{live: at}, nil
}

// markOf is the mark that a stored marker is of.
func markOf(api string, marker replaystore.Marker) *mark {
	m := &mark{id: marker.ReplayID, live: marker.Live, followed: marker.Followed, date: marker.Date}
	if api == apiCometD && m.followed.IsZero() && len(m.id) > 0 {
		// It may be of a release that took a quiet server for proof.
		m.live, m.followed = time.Time{}, m.live
	}
	if g := marker.Group; len(g.ReplayID) > 0 {
		m.group = &handledGroup{id: g.ReplayID, date: g.Date}
		for _, identity := range g.Handled {
			m.group.events.add(identity)
		}
	}
	return m
}

// load asks the store, which may not return: no longer than ctx lasts, and the
// subscription.
func (f *feed) load(ctx context.Context, key replaystore.Key) (replaystore.Marker, error) {
	type result struct {
		marker replaystore.Marker
		err    error
	}
	c, loaded := f.client, make(chan result, 1)
	c.mu.Lock()
	if c.state == clientClosed {
		c.mu.Unlock()
		return replaystore.Marker{}, ErrClosed
	}
	c.running.Add(1)
	c.mu.Unlock()
	go func() { // ends with the store's Load; Close waits for it
		defer c.running.Done()
		marker, err := loadMarker(ctx, c.cfg.store, key)
		loaded <- result{marker, err}
	}()
	var r result
	select {
	case r = <-loaded:
	case <-f.done:
		return replaystore.Marker{}, errUnsubscribed(f.sub.channel)
	case <-ctx.Done():
		r.err = fmt.Errorf("the store does not return from Load: %w", ctx.Err())
	}
	switch m := r.marker; {
	case r.err == nil && len(m.ReplayID) == 0 && m.Live.IsZero() && m.Followed.IsZero() && len(m.Group.ReplayID) == 0:
		c.log.Warn("the replay store has returned an empty marker without ErrNotFound: it counts as none", "channel", f.sub.channel, "api", key.API)
		r.err = replaystore.ErrNotFound
	case r.err != nil && !errors.Is(r.err, replaystore.ErrNotFound):
		r.err = &StoreError{Op: "load", Channel: f.sub.channel, err: r.err}
	}
	return r.marker, r.err
}

// awaitAccepted waits for Salesforce's word on a new subscription.
func (f *feed) awaitAccepted(ctx context.Context) error {
	c := f.client
	select {
	case <-f.accepted:
	case <-f.done:
	case <-ctx.Done():
		if !c.delivery.abandon(f.sub) {
			<-f.accepted // both at once
			break
		}
		c.endFeed(f, nil)
		return f.notAccepted(ctx)
	}
	if !f.isAccepted() {
		return f.notAccepted(ctx)
	}
	// So that a restart before the first event knows what "new" meant.
	if err := c.delivery.saver.flushWithin(ctx, lastSaves); err != nil {
		c.log.Warn("the start of a subscription is not saved yet", "channel", f.sub.channel, "error", err)
	}
	return nil
}

// notAccepted says why Salesforce has not accepted a subscription.
func (f *feed) notAccepted(ctx context.Context) error {
	last, reason := f.status.lastError(), f.status.reason()
	switch {
	case reason != nil:
		return reason
	case f.client.usable() != nil:
		return f.client.usable()
	case ctx.Err() != nil && last != nil:
		return fmt.Errorf("sfstream: %s: subscribe: %w; the last failure: %w", f.sub.channel, ctx.Err(), last)
	case ctx.Err() != nil:
		return fmt.Errorf("sfstream: %s: subscribe: %w", f.sub.channel, ctx.Err())
	}
	return errUnsubscribed(f.sub.channel)
}
