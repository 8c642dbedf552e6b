package cluster

import (
	"errors"
	"hash/fnv"
	"slices"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// A seat is a channel as this replica sees it. The scout alone uses it.
type seat struct {
	cfg     *config
	channel string
	key     replaystore.Key
	rank    uint64 // the order in which this replica takes channels

	claim *replaystore.Claim // with which the key is read, and taken
	seen  sighting
	ended []string    // incarnations of this process that no longer lead, or never did
	led   *leadership // nil: standby
	avoid time.Time   // until then others may rather have it
}

// A sighting is what was last read of a key.
type sighting struct {
	fresh   bool      // it was read since this replica tried to take the channel
	read    time.Time // when it was read last
	since   time.Time // when rev was first seen
	rev     string    // "": there is no value
	entry   replaystore.Entry
	older   bool // the engine has gone back to it from a later one, whose owner may still lead
	trouble trouble
}

// rankOf spreads channels: each replica has an order of its own.
func rankOf(name, channel string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name + "\x00" + channel)) // never fails
	return h.Sum64()
}

// observe takes notice of what was read, at the time of the reply.
func (s *seat) observe(entry replaystore.Entry, rev string, err error, now time.Time) {
	if errors.Is(err, replaystore.ErrNotFound) {
		entry, rev, err = s.seen.entry, "", nil // who had it may still lead
	}
	s.seen.trouble.note(err)
	if err != nil {
		s.lookAway()
		return
	}
	if !s.isRecent(now) {
		s.lookAway()
	}
	if s.seen.since.IsZero() || s.seen.rev != rev {
		s.seen.since = now
		s.seen.older = entry.Counter < s.seen.entry.Counter
	}
	s.seen.fresh, s.seen.read, s.seen.rev, s.seen.entry = true, now, rev, entry
}

// isRecent reports whether the key was read just now: not before a pause of the process, in which
// others have led. A look takes less than a lease.
func (s *seat) isRecent(now time.Time) bool { return now.Sub(s.seen.read) < s.cfg.lease }

// isKnown reports whether this replica may take the channel by what it has read.
func (s *seat) isKnown(now time.Time) bool { return s.seen.fresh && s.isRecent(now) }

// lookAway takes notice that the key may have changed unseen. A revision would tell at the next look.
// That there is no value can come again, and in between a leader may have put one.
func (s *seat) lookAway() {
	if s.seen.rev == "" {
		s.seen.fresh, s.seen.since = false, time.Time{}
	}
}

// owner names who has the key, "" for nobody.
func (s *seat) owner() string {
	if s.seen.rev == "" || s.isOurs() {
		return ""
	}
	return s.seen.entry.Owner
}

// isOurs reports whether the key of a standby was put by this process: by a leadership that has
// ended, or by an attempt to take it that nobody knew to have succeeded.
func (s *seat) isOurs() bool {
	id := s.seen.entry.Incarnation
	return s.seen.entry.Owner == s.cfg.name && (id == s.claim.Incarnation() || slices.Contains(s.ended, id))
}

// free returns when nobody has the key any more. A key that has no value may be one that the engine
// has lost: a fresh process cannot tell, and the leader has its lease to put it again.
func (s *seat) free() time.Time {
	if s.seen.rev != "" && s.owner() == "" && !s.seen.older {
		return s.seen.since
	}
	return s.seen.since.Add(max(s.seen.entry.Lease, s.cfg.lease))
}

// takeable returns when this replica takes the channel, if nobody puts meanwhile. hasRoom says
// that it has not yet its fair share.
func (s *seat) takeable(hasRoom bool) time.Time {
	free := s.free()
	at := free
	if !hasRoom {
		at = free.Add(s.cfg.lease) // else nobody might
	}
	avoid := s.avoid
	if left := free.Add(3 * s.cfg.lease); left.Before(avoid) {
		avoid = left // nobody else takes it
	}
	if avoid.After(at) {
		return avoid
	}
	return at
}

// renew replaces the claim by one that knows what it knew. What the old one has put is free then:
// it does not lead, or no longer. Where it has led, the revision of before says nothing any more.
func (s *seat) renew(hasLed bool) {
	const kept = 16 // each of them needs a put that comes late
	s.ended = append(s.ended, s.claim.Incarnation())
	s.ended = s.ended[max(0, len(s.ended)-kept):]
	s.claim = s.claim.Again()
	s.led = nil
	s.seen.fresh = false
	s.lookAway()
	if hasLed {
		s.seen.since = time.Time{}
	}
}
