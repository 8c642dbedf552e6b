package replaystore

import (
	"context"
	"fmt"
	"slices"
)

// Advance returns the step from before to after, as [Advancer] has it. It does not use the register,
// because it may be called within a transaction that has locked all of it. Of two steps only the
// later one is sure to be possible.
func (c *Claim) Advance(ctx context.Context, before, after Marker) (Advance, error) {
	if err := ctx.Err(); err != nil {
		return Advance{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(before)
	if c.state == claimOver {
		return Advance{}, c.conflict()
	}
	s := &step{claim: c, before: before.clone(), after: after.clone(), counter: c.counter}
	if last := c.step; last != nil && samePlace(last.before, before) {
		s.tried = last.tried
		if !s.isEnd(last.after) { // a transaction that is made again and again adds nothing
			s.tried = append(slices.Clone(last.tried), last.after)
		}
	}
	c.step = s
	return Advance{Register: c.register, Key: c.key, Next: c.step.next}, nil
}

// step is a marker's way from before to after, which a transaction makes or does not.
type step struct {
	claim         *Claim
	before, after Marker
	counter       uint64 // no value with a greater one had been written when the step was made

	// tried is where earlier steps from before have ended, some of them perhaps where this one does.
	// One of them may have been made, unknown to the program: then one that ends elsewhere is not for
	// it to make, because it is over messages of that one too.
	tried []Marker
}

// isEnd reports whether the step, or an earlier one from the same place, ends at marker.
func (s *step) isEnd(marker Marker) bool {
	return samePlace(marker, s.after) || slices.ContainsFunc(s.tried, func(m Marker) bool { return samePlace(m, marker) })
}

// next is [Advance].Next.
func (s *step) next(stored []byte) ([]byte, error) {
	c := s.claim
	var entry Entry
	if stored != nil {
		if err := entry.UnmarshalBinary(stored); err != nil {
			return nil, fmt.Errorf("replaystore: key %q: %w", c.key, err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counter = max(c.counter, entry.Counter)
	switch {
	case c.state == claimOver, stored != nil && c.goesBack(entry, c.seen):
		return nil, c.conflict()
	case stored == nil && c.known:
		c.log.Warn("the register had lost a value: a transaction creates it again", "key", c.key, "owner", c.owner)
	case stored == nil:
	case c.mine(entry) && samePlace(entry.Marker, s.after):
		c.learnMarker(entry.Marker)
		return nil, ErrHandled
	case c.mine(entry) && s.isEnd(entry.Marker):
		c.learnMarker(entry.Marker)
		return nil, fmt.Errorf("replaystore: key %q: a transaction of other messages, of which the first is the same, was committed: make that one again", c.key)
	case c.mine(entry) && entry.Counter > s.counter && !samePlace(entry.Marker, s.before):
		// A value with a lower counter has a marker from before the step. This one was written
		// since, and may have a marker from after it.
		return nil, fmt.Errorf("replaystore: key %q: the marker has moved since the message was handed out", c.key)
	case c.mine(entry):
	case c.state == claimIdle && entry.Counter == c.entry.Counter && entry.Incarnation == c.entry.Incarnation && entry.Owner == c.entry.Owner:
		// The transaction takes the key as Put does: it has the value that was read.
	default:
		return nil, c.deposed(entry)
	}
	// It takes the counter only now, so that a heartbeat since the step was made does no harm.
	value, _, err := c.next(s.after, false)
	c.doubt = true
	return value, err
}
