package inbox

import (
	"bytes"
	"slices"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// handledGroup is what is handled of several messages that share one replay id, after a mark: a
// marker reaches that id only when all of them are handled. Inbox.mu guards it. Marks that are kept
// elsewhere have a snapshot, because the group of watermark.current grows.
type handledGroup struct {
	id     []byte
	date   time.Time  // of the first message; zero where it came before its turn or has none
	events Identities // the first ones that were handled, as many as a marker holds
}

func groupOf(g replaystore.Group) *handledGroup {
	if len(g.ReplayID) == 0 {
		return nil
	}
	group := &handledGroup{id: g.ReplayID, date: g.Date}
	for _, identity := range g.Handled {
		group.events.Add(identity)
	}
	return group
}

func (g *handledGroup) size() int {
	if g == nil {
		return 0
	}
	return g.events.Len()
}

// add adds a message, unless the group has as many as a marker can hold (replaystore.MaxHandled).
func (g *handledGroup) add(identity uint64) {
	if g.size() < replaystore.MaxHandled {
		g.events.Add(identity)
	}
}

// join adds what a later mark knows of the same group.
func (g *handledGroup) join(later *handledGroup) {
	if bytes.Equal(g.id, later.id) {
		for _, identity := range later.events.list {
			g.add(identity)
		}
	}
}

// same reports whether two groups name the same messages. It compares the id and the number: a
// group only grows, so two of one id and one size are equal.
func (g *handledGroup) same(other *handledGroup) bool {
	return g.size() == other.size() && (g.size() == 0 || bytes.Equal(g.id, other.id))
}

// snapshot returns a copy that does not grow with g. The list is shared up to its present length.
func (g *handledGroup) snapshot() *handledGroup {
	if g == nil {
		return nil
	}
	n := len(g.events.list)
	return &handledGroup{id: g.id, date: g.date, events: Identities{list: g.events.list[:n:n]}}
}

// marker is a copy for a store.
func (g *handledGroup) marker() replaystore.Group {
	if g.size() == 0 {
		return replaystore.Group{}
	}
	return replaystore.Group{ReplayID: bytes.Clone(g.id), Date: g.date, Handled: g.events.list}
}

// Identities is a set of messages that share a replay id, in the order in which they were added.
type Identities struct {
	list  []uint64
	index map[uint64]struct{} // of a long list
}

// longList is from which length on an index is quicker than a look at the list.
const longList = 16

// Len is how many there are.
func (s *Identities) Len() int { return len(s.list) }

// Clear makes the set empty and keeps its memory.
func (s *Identities) Clear() { s.list, s.index = s.list[:0], nil }

// Add reports whether a message was not in the set yet.
func (s *Identities) Add(identity uint64) bool {
	if s.has(identity) {
		return false
	}
	s.list = append(s.list, identity)
	if s.index != nil {
		s.index[identity] = struct{}{}
	} else if len(s.list) > longList {
		s.index = make(map[uint64]struct{}, 2*len(s.list))
		for _, identity := range s.list {
			s.index[identity] = struct{}{}
		}
	}
	return true
}

func (s *Identities) has(identity uint64) bool {
	if s.index != nil {
		_, ok := s.index[identity]
		return ok
	}
	return slices.Contains(s.list, identity)
}
