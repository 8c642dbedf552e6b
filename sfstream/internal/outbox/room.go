package outbox

import "slices"

// A Room bounds how many events there are at once, and how many bytes they have. Whoever waits for
// room gets it in the order of asking. The caller's lock guards it.
type Room struct {
	Events, Bytes int // the bounds

	events, bytes int // taken
	waiting       []*Waiting
}

// A Waiting is one event that waits for room.
type Waiting struct {
	Granted chan struct{} // closed when it has it
	bytes   int
}

// Take takes room for an event. What it returns is nil if there was room, else what to wait for. An
// event that is larger than all of the room has it alone.
func (r *Room) Take(bytes int) *Waiting {
	if len(r.waiting) == 0 && r.fits(bytes) {
		r.events, r.bytes = r.events+1, r.bytes+bytes
		return nil
	}
	w := &Waiting{Granted: make(chan struct{}), bytes: bytes}
	r.waiting = append(r.waiting, w)
	return w
}

func (r *Room) fits(bytes int) bool {
	return r.events < r.Events && (r.bytes+bytes <= r.Bytes || r.events == 0)
}

// Give gives the room of events back, and what there is now to those who wait.
func (r *Room) Give(events, bytes int) {
	r.events, r.bytes = r.events-events, r.bytes-bytes
	n := 0
	for ; n < len(r.waiting) && r.fits(r.waiting[n].bytes); n++ {
		w := r.waiting[n]
		r.events, r.bytes = r.events+1, r.bytes+w.bytes
		close(w.Granted)
	}
	r.waiting = slices.Delete(r.waiting, 0, n)
}

// Leave ends the waiting. If room was granted meanwhile, it is given back.
func (r *Room) Leave(w *Waiting) {
	at := slices.Index(r.waiting, w)
	if at < 0 {
		r.Give(1, w.bytes)
		return
	}
	r.waiting = slices.Delete(r.waiting, at, at+1)
	r.Give(0, 0) // a smaller one behind it may fit
}

// Crowded reports whether somebody waits.
func (r *Room) Crowded() bool { return len(r.waiting) > 0 }
