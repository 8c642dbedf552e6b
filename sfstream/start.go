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

// start finds where the channel begins. A marker of the start is saved when Salesforce follows the
// channel, so that a restart before the first event begins there, too.
func (ch *channel) start(ctx context.Context, cfg subscribeConfig) error {
	c := ch.services
	replay, stored, err := ch.startingPoint(ctx, cfg)
	if err != nil {
		return err
	}
	c.clock.Ask(ctx)
	now := c.clock.Now()
	p := &ch.progress
	var first replaystore.Marker
	switch {
	case stored != nil:
		first = *stored
		p.position, p.date = position{id: first.ReplayID}, first.Date
		if len(first.ReplayID) == 0 && first.Live.After(now.Add(startMargin(ch.sub.Key.Channel))) {
			c.log.Warn("the stored marker is of the future: starting at the oldest retained event", "channel", ch.sub.Name, "marker_time", first.Live)
		} else if len(first.ReplayID) == 0 {
			p.position.skip.before = earlier(first.Live, now)
		}
	case replay.kind == replayNew:
		p.position, p.startedNew = position{latest: true}, time.Now()
		first.Live = c.clock.Live(p.startedNew, 0)
	case replay.kind == replaySince:
		first.Live = time.Unix(0, replay.nano)
		p.position.skip = skipper{before: first.Live, exact: true}
	case replay.kind == replayAfter:
		first.ReplayID = []byte(replay.id)
		p.position.id = first.ReplayID
	case cfg.fromSet: // ReplayAll: the stored marker must go back to where all is retained
		first.Live = c.clock.Live(time.Now(), believable)
	}
	if mayHaveGroups(ch.sub.Key.Channel) {
		ch.groups = new(groups)
	}
	ch.restoreGroup(first.Group)
	ch.sub.Begin(first, stored != nil)
	c.log.Info("subscribing", "channel", ch.sub.Name, "start", describe(replay, stored))
	return nil
}

// restoreGroup opens the group of which a stored marker names what was handled: it is after the
// position.
func (ch *channel) restoreGroup(stored replaystore.Group) {
	if len(stored.ReplayID) == 0 || len(stored.Handled) == 0 {
		return
	}
	if ch.groups == nil {
		ch.groups = new(groups)
	}
	p := &ch.progress
	ch.groups.restore(stored, p.position.id)
	if len(p.position.id) == 0 {
		p.position.skip.until = stored.ReplayID
	}
}

// startMargin is how far a stored marker may lie in the future: it may have been made by another
// clock of Salesforce, or by the clock of a publisher.
func startMargin(channel string) time.Duration {
	if strings.HasPrefix(channel, "/event/") {
		return createdMargin
	}
	return commitMargin
}

// earlier returns the earlier of two times.
func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// describe says for the log where the channel begins.
func describe(replay Replay, stored *replaystore.Marker) string {
	if stored == nil {
		return replay.String()
	}
	if len(stored.ReplayID) == 0 {
		return "stored: " + ReplaySince(stored.Live).String()
	}
	return "stored: after " + replayid.Text(stored.ReplayID)
}

// startingPoint returns what the user has asked for with From; else the stored marker of the
// channel; else, where the channel was followed over the other API, a marker of that time, because
// replay ids of one API mean nothing to the other; else what WithReplay says.
func (ch *channel) startingPoint(ctx context.Context, cfg subscribeConfig) (Replay, *replaystore.Marker, error) {
	c, key := ch.services, ch.sub.Key
	if cfg.fromSet {
		return cfg.from, nil, nil
	}
	// A marker that Unsubscribe could not save counts, not the older one in the store.
	if left, ok := c.inbox.Unsaved(key); ok {
		return Replay{}, &left, nil
	}
	marker, err := ch.load(ctx, key)
	if err == nil {
		return Replay{}, restored(key.API, marker), nil
	}
	if !errors.Is(err, replaystore.ErrNotFound) {
		return Replay{}, nil, err
	}
	other := key
	if other.API = apiCometD; key.API == apiCometD {
		other.API = apiPubSub
	}
	marker, err = ch.load(ctx, other)
	switch {
	case errors.Is(err, replaystore.ErrNotFound):
		return c.cfg.replay, nil, nil
	case err != nil:
		return Replay{}, nil, err
	}
	at := marker.Live
	// Live may be much earlier than the last event, but is never wrong. A publisher may have
	// written a wrong date into a platform event.
	written := strings.HasPrefix(key.Channel, "/event/") && !at.IsZero()
	if !marker.Date.IsZero() && !marker.Date.After(c.clock.Now()) && (!written || marker.Date.Before(at)) {
		at = marker.Date
	}
	c.log.Info("the stored marker is of the other API: starting at its time", "channel", ch.sub.Name, "marker_time", at)
	if at.IsZero() {
		return ReplayAll, nil, nil
	}
	return Replay{}, &replaystore.Marker{Live: at}, nil
}

// restored returns a stored marker as this release understands it.
func restored(api string, marker replaystore.Marker) *replaystore.Marker {
	if api == apiCometD && marker.Followed.IsZero() && len(marker.ReplayID) > 0 {
		// An older release may have saved the marker: it took a quiet server for proof, so its Live
		// says no more than that the channel was followed.
		marker.Live, marker.Followed = time.Time{}, marker.Live
	}
	return &marker
}

// load loads a marker. The store may take no notice of ctx, so load does not wait for it beyond the
// end of ctx or of the subscription.
func (ch *channel) load(ctx context.Context, key replaystore.Key) (replaystore.Marker, error) {
	type result struct {
		marker replaystore.Marker
		err    error
	}
	c, loaded := ch.services, make(chan result, 1)
	if err := c.life.start(); err != nil {
		return replaystore.Marker{}, err
	}
	go func() { // ends with the store's Load; Close waits for it
		defer c.life.running.Done()
		marker, err := loadMarker(ctx, c.cfg.store, key)
		loaded <- result{marker, err}
	}()
	var r result
	select {
	case r = <-loaded:
	case <-ch.done:
		return replaystore.Marker{}, errUnsubscribed(ch.sub.Name)
	case <-ctx.Done():
		r.err = fmt.Errorf("the store does not return from Load: %w", ctx.Err())
	}
	switch m := r.marker; {
	case r.err == nil && len(m.ReplayID) == 0 && m.Live.IsZero() && m.Followed.IsZero() && len(m.Group.ReplayID) == 0:
		c.log.Warn("the replay store has returned an empty marker without ErrNotFound: it counts as none", "channel", ch.sub.Name, "api", key.API)
		r.err = replaystore.ErrNotFound
	case r.err != nil && !errors.Is(r.err, replaystore.ErrNotFound):
		r.err = &StoreError{Op: "load", Channel: ch.sub.Name, err: r.err}
	}
	return r.marker, r.err
}
