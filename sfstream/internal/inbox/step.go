package inbox

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/sfstream/sfstream-go/replaystore"
)

// Step returns the place of a channel, and what it will be once the given messages are handled. The
// error says why that cannot be told: they must be those that come next of one channel.
func Step[M any](messages []Slot[M]) (before, after replaystore.Marker, err error) {
	ch := messages[0].slab.ch
	ch.in.mu.Lock()
	first := ch.watermark.current
	first.group = first.group.snapshot()
	last, err := ch.behindLocked(messages)
	ch.in.mu.Unlock()
	if err != nil {
		return replaystore.Marker{}, replaystore.Marker{}, err
	}
	return first.marker(&ch.in.cfg), last.marker(&ch.in.cfg), nil
}

// behindLocked is the mark of the channel once messages are handled. It shares no group with marks
// that are kept, because that of a mark grows.
func (ch *Channel[M]) behindLocked(messages []Slot[M]) (mark[M], error) {
	w := &ch.watermark
	place, slab, i := w.current, w.head, 0
	place.group = place.group.snapshot()
	switch {
	case ch.removed:
		return place, errors.New("it was unsubscribed")
	case ch.saver.kept != nil:
		return place, errors.New("the place of a managed subscription is kept by Salesforce")
	case slab != nil:
		i = slab.passed
	}
	for _, m := range messages {
		switch {
		case m.slab.ch != ch:
			return place, errors.New("the messages are of several channels")
		case m.isLocked(handled):
			return place, errors.New("the message counts as handled already (as each does under AckOnReceive)")
		}
		slab, i = place.passHandled(w.cfg, slab, i)
		if m.slab != slab || int(m.place) != i {
			return place, errors.New("a message before it is not handled yet: handle the channel in order, one message at a time")
		}
		before := place
		place.group = before.group.snapshot()
		place.pass(w.cfg, slab, i)
		place.Evidence = slab.evidence
		if place.hasIDOf(&before, w.cfg) && place.group.same(before.group) {
			return place, errors.New("no marker can name the message: it has no replay id, or too many share it")
		}
		i++
	}
	return place, nil
}

// passHandled moves the mark over messages that are handled already, from one of a slab on. It
// returns where the next one is that is not.
func (m *mark[M]) passHandled(cfg *Config[M], s *Slab[M], i int) (*Slab[M], int) {
	for s != nil {
		for ; i < len(s.states) && s.states[i]&handled != 0; i++ {
			m.pass(cfg, s, i)
			if s.states[i]&duplicate == 0 {
				m.Evidence = s.evidence
			}
		}
		if i < len(s.states) {
			break
		}
		m.moveTo(s.end)
		m.group = m.group.snapshot() // it may be that of s.end
		m.Evidence = s.evidence
		if s = s.after; s != nil {
			i = s.passed
		}
	}
	return s, i
}

// Advance asks the store for the step of the channel's marker. A Save under way that has an older
// one is ended first: it could come after the transaction, and put the marker back. Waiting for it
// would not do, because it may wait for what the transaction has locked.
func (ch *Channel[M]) Advance(ctx context.Context, before, after replaystore.Marker) (replaystore.Advance, error) {
	ch.in.mu.Lock()
	var ended <-chan struct{}
	if now := ch.saver.saving; now != nil {
		i := slices.Index(now.channels, ch)
		if i >= 0 && !isAt(now.marks[i].marker(&ch.in.cfg), before) {
			now.end(errOutrun)
			ended = ch.saver.done
		}
	}
	ch.in.unlock()
	if ended != nil {
		select {
		case <-ended:
		case <-ctx.Done():
			return replaystore.Advance{}, ctx.Err()
		}
	}
	return ch.in.cfg.Advance(ctx, ch.Key, before, after)
}

// isAt reports whether two markers are at the same place.
func isAt(a, b replaystore.Marker) bool {
	return bytes.Equal(a.ReplayID, b.ReplayID) && bytes.Equal(a.Group.ReplayID, b.Group.ReplayID) && slices.Equal(a.Group.Handled, b.Group.Handled)
}
