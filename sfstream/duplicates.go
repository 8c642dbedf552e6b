package sfstream

// remembered is how many received events of a channel are remembered to know
// them again after a reconnect.
const remembered = 1000

// duplicates knows the events that a server sends again after a reconnect. An
// event is one only if channel, replay id and event id are all the same:
// publishers set event ids, and replay ids begin anew when an org is moved.
// Writing the memory costs no allocation; it is read after reconnects only.
type duplicates struct {
	ring []arrival
	next int

	known map[arrivalKey]struct{} // nil: no repetition is expected
	left  int                     // events until known is dropped
}

type arrival struct {
	replayID []byte
	id       string
}

type arrivalKey struct{ replayID, id string }

// seen reports whether m was received before, and remembers it if not.
func (d *duplicates) seen(m *Message) bool {
	if len(m.ReplayID) == 0 {
		return false
	}
	if d.known != nil {
		if _, again := d.known[arrivalKey{string(m.ReplayID), m.ID}]; again {
			return true
		}
		d.known[arrivalKey{string(m.ReplayID), m.ID}] = struct{}{} // what rode on two replies comes twice
		if d.left--; d.left <= 0 {
			d.known = nil
		}
	}
	a := arrival{m.ReplayID, m.ID}
	if len(d.ring) < remembered {
		d.ring = append(d.ring, a)
		return false
	}
	d.ring[d.next] = a
	d.next = (d.next + 1) % remembered
	return false
}

// expect says that a new session begins, which may repeat what came before.
func (d *duplicates) expect() {
	d.known = make(map[arrivalKey]struct{}, len(d.ring))
	for _, a := range d.ring {
		d.known[arrivalKey{string(a.replayID), a.id}] = struct{}{}
	}
	d.left = remembered
}

// forget starts anew: after a fallback, the same ids may mean other events.
func (d *duplicates) forget() { *d = duplicates{} }
