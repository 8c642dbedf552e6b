// Package recent remembers the last events of a channel, to know again what a server sends twice.
package recent

import "encoding/binary"

const (
	// Remembered is how many received events of a channel are remembered to know them again after a
	// reconnect.
	Remembered = 1000

	// usualKey is room for the key of an event as Salesforce sends them: a replay id of 10 bytes,
	// an event id of up to 36 characters, and an identity.
	usualKey = 56
)

// An Event is what tells an event from all others of its channel: two are one only if replay id,
// event id and, where these are not enough, identity are all the same. Publishers set event ids,
// several change events may share a replay id, and replay ids begin anew when an org is moved.
type Event struct {
	ReplayID []byte // empty: the event is not remembered
	ID       string
	Identity uint64
}

func (e *Event) appendKey(key []byte) []byte {
	key = binary.AppendUvarint(key, uint64(len(e.ReplayID)))
	key = append(key, e.ReplayID...)
	key = binary.BigEndian.AppendUint64(key, e.Identity)
	return append(key, e.ID...)
}

// Events knows the events that a server sends again after a reconnect. The zero value knows none.
// Writing the memory costs no allocation once it is full; it is read after reconnects only. It
// holds copies: a thousand ids that are parts of as many responses would hold on to these, of 3 MB
// each at worst.
type Events struct {
	ring  [][]byte // keys
	next  int
	more  int    // how many are remembered beyond Remembered
	spare []byte // room for keys to come

	// provisional are the keys of events that came before their turn, however many: all of them
	// come again if the session ends before that is known to be well.
	provisional map[string]struct{}

	known map[string]struct{} // nil: no repetition is expected
	left  int                 // events until known is dropped
}

// Seen reports whether an event was received before.
func (r *Events) Seen(e Event) bool {
	if len(e.ReplayID) == 0 || r.known == nil {
		return false
	}
	_, again := r.known[string(e.appendKey(nil))]
	return again
}

// Remember remembers an event that was not received before.
func (r *Events) Remember(e Event) {
	if len(e.ReplayID) == 0 {
		return
	}
	if r.known != nil {
		r.known[string(e.appendKey(nil))] = struct{}{} // an event that is in two replies comes twice
		if r.left--; r.left <= 0 {
			r.known = nil
		}
	}
	if len(r.ring) < Remembered+r.more {
		if len(r.spare) == 0 {
			r.spare = make([]byte, 100*usualKey)
		}
		r.ring = append(r.ring, e.appendKey(r.spare[:0:usualKey]))
		r.spare = r.spare[usualKey:]
		return
	}
	r.ring[r.next] = e.appendKey(r.ring[r.next][:0])
	r.next = (r.next + 1) % len(r.ring)
}

// RememberProvisional is Remember for an event that came before its turn.
func (r *Events) RememberProvisional(e Event) {
	r.Remember(e)
	if len(e.ReplayID) > 0 {
		if r.provisional == nil {
			r.provisional = make(map[string]struct{})
		}
		r.provisional[string(e.appendKey(nil))] = struct{}{}
	}
}

// CameProvisionally reports whether an event came before its turn and may come again for that.
func (r *Events) CameProvisionally(e Event) bool {
	if len(r.provisional) == 0 {
		return false
	}
	_, provisional := r.provisional[string(e.appendKey(nil))]
	return provisional
}

// ForgetProvisional says that the events that came before their turn do not come again.
func (r *Events) ForgetProvisional() { r.provisional = nil }

// Expect says that a new session begins, which may repeat what came before.
func (r *Events) Expect() {
	r.known = make(map[string]struct{}, len(r.ring))
	for _, key := range r.ring {
		r.known[string(key)] = struct{}{}
	}
	for key := range r.provisional {
		r.known[key] = struct{}{}
	}
	r.left = Remembered + r.more
}

// Expecting reports whether the session may still repeat what came before.
func (r *Events) Expecting() bool { return r.known != nil }

// Forget starts anew: after a fallback, the same ids may mean other events.
func (r *Events) Forget() { *r = Events{more: r.more} }

// Keep makes so many more events be remembered than Remembered. It is called before the first
// event.
func (r *Events) Keep(more int) { r.more = more }
