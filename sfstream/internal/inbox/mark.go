package inbox

import (
	"bytes"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// mark is a place to resume from: after a message, or at an id that was reached without one. It
// refers to its message rather than copying the id, because nearly all marks are passed before
// anybody asks.
type mark[M any] struct {
	msg   *M
	id    []byte    // where msg is nil
	date  time.Time // where msg is nil
	reset bool      // there is no id: the place is Live itself, and earlier ids mean nothing

	Evidence

	group    *handledGroup // what is handled of the messages that come next and share an id; nil: none
	newGroup bool          // of a mark without a place: a group from before is not continued
}

// markOf is the mark that a marker describes.
func markOf[M any](m replaystore.Marker) mark[M] {
	return mark[M]{
		id: m.ReplayID, date: m.Date, Evidence: Evidence{Live: m.Live, Followed: m.Followed},
		group: groupOf(m.Group),
	}
}

// marker is what a store gets: a copy, because stores keep it for long and the id is a part of its
// batch.
func (m *mark[M]) marker(cfg *Config[M]) replaystore.Marker {
	marker := replaystore.Marker{
		ReplayID: bytes.Clone(m.replayID(cfg)), Date: m.date, Live: m.Live, Group: m.group.marker(),
	}
	if m.msg != nil {
		marker.Date = cfg.Date(m.msg)
	}
	// An event's publisher may have taken microseconds for milliseconds. Stores and tools that keep
	// dates as texts could save no marker with such a date, and it tells nobody anything.
	if year := marker.Date.UTC().Year(); year < 0 || year > 9999 {
		marker.Date = time.Time{}
	}
	if m.Followed.After(m.Live) {
		marker.Followed = m.Followed
	}
	return marker
}

// until is the time of the mark: the date of its event, or when the channel was followed after it.
func (m *mark[M]) until(cfg *Config[M]) time.Time {
	until := m.date
	if m.msg != nil {
		until = cfg.Date(m.msg)
	}
	for _, followed := range []time.Time{m.Live, m.Followed} {
		if followed.After(until) {
			until = followed
		}
	}
	return until
}

func (m *mark[M]) replayID(cfg *Config[M]) []byte {
	if m.msg != nil {
		return cfg.ID(m.msg)
	}
	return m.id
}

func (m *mark[M]) hasIDOf(other *mark[M], cfg *Config[M]) bool {
	return bytes.Equal(m.replayID(cfg), other.replayID(cfg))
}

// pass moves the mark over a message of a slab: it and all messages before it are handled.
func (m *mark[M]) pass(cfg *Config[M], s *Slab[M], i int) {
	switch is := s.states[i]; {
	case is&hasID != 0:
		m.moveBehind(&s.messages[i])
	case s.identities != nil && is&skipped == 0:
		m.handle(cfg, &s.messages[i], s.identities[i], s.provisional)
	}
}

func (m *mark[M]) moveBehind(msg *M) {
	if m.msg == nil {
		m.id, m.date, m.reset = nil, time.Time{}, false
	}
	m.msg, m.group = msg, nil
}

// handle notes that a message of the group after the mark is handled. A mark remembers one group,
// the first one: messages of a later group came before their turn, and come again after a restart.
func (m *mark[M]) handle(cfg *Config[M], msg *M, identity uint64, provisional bool) {
	id := cfg.ID(msg)
	if len(id) == 0 {
		return
	}
	if m.group == nil {
		m.group = &handledGroup{id: bytes.Clone(id)}
		if !provisional { // else its date says nothing of what is before it
			m.group.date = cfg.Date(msg)
		}
	}
	if bytes.Equal(m.group.id, id) {
		m.group.add(identity)
	}
}

// moveTo moves the mark to the place of a later mark, if that has one, and takes over what the
// later mark remembers of a group. The evidence stays as it is.
func (m *mark[M]) moveTo(later mark[M]) {
	switch {
	case later.msg != nil || len(later.id) > 0 || later.reset:
		evidence := m.Evidence
		*m = later
		m.Evidence, m.newGroup = evidence, false
	case later.newGroup:
		m.group, m.newGroup = later.group, true
	case later.group == nil:
	case m.group == nil:
		m.group = later.group
	default:
		m.group.join(later.group)
	}
}
