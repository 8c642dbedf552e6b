package sfstream

import "encoding/binary"

const (
	// remembered is how many received events of a channel are remembered to know
	// them again after a reconnect.
	remembered = 1000

	// usualKey is room for the key of an event as Salesforce sends them: a replay id
	// of 10 bytes, an event id of up to 36 characters, and an identity.
	usualKey = 56
)

// duplicates knows the events that a server sends again after a reconnect. An
// event is one only if channel, replay id, event id and, where these are not enough,
// identity are all the same: publishers set event ids, several change events may share
// a replay id, and replay ids begin anew when an org is moved.
// Writing the memory costs no allocation once it is full; it is read after
// reconnects only. It holds copies: a thousand ids that are parts of as many
// responses would hold on to these, of 3 MB each at worst.
type duplicates struct {
	ring  [][]byte // keys
	next  int
	spare []byte // room for keys to come

	// provisional are the keys of events that came before their turn, however many: all of
	// them come again if the session ends before that is known to be well.
	provisional map[string]struct{}

	known map[string]struct{} // nil: no repetition is expected
	left  int                 // events until known is dropped
}

// appendKey appends what tells an event from all others of its channel.
func appendKey(key []byte, m *Message, identity uint64) []byte {
	key = binary.AppendUvarint(key, uint64(len(m.ReplayID)))
	key = append(key, m.ReplayID...)
	key = binary.BigEndian.AppendUint64(key, identity)
	return append(key, m.ID...)
}

// seen reports whether m was received before.
func (d *duplicates) seen(m *Message, identity uint64) bool {
	if len(m.ReplayID) == 0 || d.known == nil {
		return false
	}
	_, again := d.known[string(appendKey(nil, m, identity))]
	return again
}

// remember takes in a message that was not received before.
func (d *duplicates) remember(m *Message, identity uint64) {
	if len(m.ReplayID) == 0 {
		return
	}
	if d.known != nil {
		d.known[string(appendKey(nil, m, identity))] = struct{}{} // what rode on two replies comes twice
		if d.left--; d.left <= 0 {
			d.known = nil
		}
	}
	if len(d.ring) < remembered {
		if len(d.spare) == 0 {
			d.spare = make([]byte, 100*usualKey)
		}
		d.ring = append(d.ring, appendKey(d.spare[:0:usualKey], m, identity))
		d.spare = d.spare[usualKey:]
		return
	}
	d.ring[d.next] = appendKey(d.ring[d.next][:0], m, identity)
	d.next = (d.next + 1) % remembered
}

// rememberProvisional is remember for one that came before its turn.
func (d *duplicates) rememberProvisional(m *Message, identity uint64) {
	d.remember(m, identity)
	if len(m.ReplayID) > 0 {
		if d.provisional == nil {
			d.provisional = make(map[string]struct{})
		}
		d.provisional[string(appendKey(nil, m, identity))] = struct{}{}
	}
}

// cameProvisionally reports whether m came before its turn and may come again for that.
func (d *duplicates) cameProvisionally(m *Message, identity uint64) bool {
	if len(d.provisional) == 0 {
		return false
	}
	_, provisional := d.provisional[string(appendKey(nil, m, identity))]
	return provisional
}

// expect says that a new session begins, which may repeat what came before.
func (d *duplicates) expect() {
	d.known = make(map[string]struct{}, len(d.ring))
	for _, key := range d.ring {
		d.known[string(key)] = struct{}{}
	}
	for key := range d.provisional {
		d.known[key] = struct{}{}
	}
	d.left = remembered
}

// forget starts anew: after a fallback, the same ids may mean other events.
func (d *duplicates) forget() { *d = duplicates{} }
