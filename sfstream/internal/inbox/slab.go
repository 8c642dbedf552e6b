package inbox

// A Slab is what was received of a channel at once, in its place in the order of arrival: messages,
// or no more than a place that was reached without any (a keepalive names an id, a fallback begins
// anew). Before it is pushed it belongs to who made it; then Inbox.mu guards it.
type Slab[M any] struct {
	ch          *Channel[M]
	messages    []M      // nil once all are handled: a Clone has the slab, and must not keep them alive
	states      []state  // of the messages
	identities  []uint64 // of the messages, where several can share one replay id; else nil
	provisional bool     // messages that belong before these may be still to come
	first       uint64   // number of the first message

	next   *Slab[M] // in the queue
	popped int      // the messages before this index are out of the queue

	// In the watermark.
	before, after *Slab[M]
	passed        int      // the watermark has passed the messages before this index
	unhandled     int      // how many messages are not handled
	evidence      Evidence // of the channel, when it came
	end           mark[M]  // the place after the messages, once all are handled; may be empty
	quiet         bool     // a keepalive, with nothing else merged into it
}

// state is what happens to a message of a slab: a set of flags.
type state uint8

const (
	handled   state = 1 << iota
	waiting         // in the queue, or held by a consumer that has not begun with it
	unacked         // handed out, and takes room until it is settled
	hasID           // its id is one to resume after, once all up to it is handled
	duplicate       // received before: it has its place in the order already
	skipped         // no group of a mark names it: older than the wanted start, or of a group that was whole
)

// Slab makes a slab of messages, all of which are to be delivered until Skip, Duplicate or Repeat
// say otherwise. Each message must be given its slot before the slab is pushed. provisional says
// that messages that belong before these may be still to come.
func (ch *Channel[M]) Slab(messages []M, provisional bool) *Slab[M] {
	s := &Slab[M]{ch: ch, messages: messages, states: make([]state, len(messages)), provisional: provisional}
	for i := range s.states {
		s.states[i] = waiting
	}
	return s
}

// Slot returns the slot of the message at an index.
func (s *Slab[M]) Slot(i int) Slot[M] { return Slot[M]{s, int32(i)} }

// Skip says that the program does not want a message, because it is older than the wanted start or
// was received before a gap: it counts as handled, and is not handed out.
func (s *Slab[M]) Skip(i int) { s.states[i] = s.states[i]&hasID | handled | skipped }

// Duplicate says that a message was received before: it has its place in the order already.
func (s *Slab[M]) Duplicate(i int) { s.states[i] = s.states[i]&hasID | handled | duplicate | skipped }

// Repeat is Duplicate for a message of a group that is open: the mark that passes it still has to
// name it among the handled ones of the group.
func (s *Slab[M]) Repeat(i int) { s.states[i] = s.states[i]&hasID | handled | duplicate }

// Place says that the id of a message is one to resume after, once all up to it is handled. It is
// not, unless this says so.
func (s *Slab[M]) Place(i int) { s.states[i] |= hasID }

// Unplace makes a slot one whose id is none to resume after. It reports false where the slot is in
// another slab, which has been pushed.
func (s *Slab[M]) Unplace(slot Slot[M]) bool {
	if slot.slab != s {
		return false
	}
	s.states[slot.place] &^= hasID
	return true
}

// Identify sets the identity of a message, which tells it from others of its replay id.
func (s *Slab[M]) Identify(i int, identity uint64) {
	if s.identities == nil {
		s.identities = make([]uint64, len(s.messages))
	}
	s.identities[i] = identity
}

// Cut drops the messages from an index on.
func (s *Slab[M]) Cut(i int) {
	s.messages, s.states = s.messages[:i], s.states[:i]
	if s.identities != nil {
		s.identities = s.identities[:i]
	}
}

// count counts what is to be delivered, and reports whether the slab has a place in the order: one
// of nothing but duplicates has none. One with identities always has: the mark that passes it takes
// down which messages of an open group are handled, also those that were before.
func (s *Slab[M]) count() (placed bool) {
	placed = len(s.identities) > 0
	for _, is := range s.states {
		if is&waiting != 0 {
			s.unhandled++
		}
		placed = placed || is&(duplicate|hasID) != duplicate
	}
	return placed
}

// A Slot is the place of a message in its slab. Messages have theirs by value, so a copy of a
// message has the same. The zero value is the slot of a message that is in no inbox.
type Slot[M any] struct {
	slab  *Slab[M]
	place int32
}

// IsZero reports whether the slot is in no inbox.
func (s Slot[M]) IsZero() bool { return s.slab == nil }

// Channel returns the channel of the message.
func (s Slot[M]) Channel() *Channel[M] { return s.slab.ch }

// messageLocked returns the message. It must not be handled yet: its slab may have let go of it
// then.
func (s Slot[M]) messageLocked() *M { return &s.slab.messages[s.place] }

func (s Slot[M]) isLocked(is state) bool { return s.slab.states[s.place]&is != 0 }
func (s Slot[M]) setLocked(is state)     { s.slab.states[s.place] |= is }
func (s Slot[M]) clearLocked(is state)   { s.slab.states[s.place] &^= is }

// number returns the place of the message in the client's order of arrival, over all channels.
func (s Slot[M]) number() uint64 { return s.slab.first + uint64(s.place) }
