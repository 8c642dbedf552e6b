package sfstream

import (
	"bytes"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// entry is one place in a channel's order of arrival: a message, or an id that
// was reached without one (a keepalive, a skipped event). It carries what a
// marker needs. delivery.mu guards it.
type entry struct {
	sub        *subscription
	prev, next *entry
	msg        *Message  // nil without message, and once its marker is passed
	id         []byte    // nil too once its marker is passed
	live       time.Time // when a keepalive last showed that nothing before this is missing
	reset      bool      // no id: the place is live itself, and the ids before it are void
	number     uint64    // of a message: its place in the client's order of arrival
	handled    bool
	waiting    bool // in the queue, or held by a feeder or a Run
	out        bool // AckManual and Run: handed out, takes room until it is settled
}

// watermark is the contiguous end of what is handled of a channel. Its list
// holds unhandled entries and, merged into one entry per run, the handled ones
// behind them: it grows with what is unhandled, not with what came after.
//
// Invariant: the head of the list is unhandled; no two neighbours are handled.
type watermark struct {
	head, tail *entry
	current    mark // all up to it is handled
	saved      mark // the newest one known to be in the store
	dirty      bool // current waits for the saver
}

// mark is a marker whose event date is still to be read.
type mark struct {
	id   []byte
	live time.Time
	date time.Time // where msg is nil
	msg  *Message
}

// marker is a copy: stores keep it for long, and the id is a part of its batch.
func (m mark) marker() replaystore.Marker {
	marker := replaystore.Marker{ReplayID: bytes.Clone(m.id), Date: m.date, Live: m.live}
	if m.msg != nil {
		marker.Date = m.msg.Date()
	}
	return marker
}

// quietSave is how old the stored Live of a channel may get while its id does
// not change.
const quietSave = time.Hour

// pushLocked appends an entry in order of arrival.
func (w *watermark) pushLocked(e *entry) {
	if e.prev = w.tail; w.tail != nil {
		w.tail.next = e
	} else {
		w.head = e
	}
	w.tail = e
	if e.handled {
		w.mergeLocked(e)
	}
}

// settleLocked marks an entry as handled.
func (w *watermark) settleLocked(e *entry) {
	e.handled = true
	w.mergeLocked(e)
}

// mergeLocked restores the invariant around a handled entry.
func (w *watermark) mergeLocked(e *entry) {
	if p := e.prev; p != nil && p.handled {
		w.supersedeLocked(p, e)
	}
	if n := e.next; n != nil && n.handled {
		w.supersedeLocked(e, n)
		e = n
	}
	if w.head == e {
		w.unlinkLocked(e)
		w.advanceLocked(e)
	}
}

// supersedeLocked drops a handled entry whose follower is handled too. An event
// without a replay id has no place of its own and keeps the one before it.
func (w *watermark) supersedeLocked(old, by *entry) {
	if len(by.id) == 0 && !by.reset {
		by.id, by.msg, by.reset = old.id, old.msg, old.reset
	}
	w.unlinkLocked(old)
	old.id, old.msg = nil, nil
}

func (w *watermark) unlinkLocked(e *entry) {
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		w.head = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		w.tail = e.prev
	}
	e.prev, e.next = nil, nil
}

// advanceLocked moves the watermark to an entry all before which is handled.
func (w *watermark) advanceLocked(e *entry) {
	if len(e.id) > 0 || e.reset {
		w.current.id, w.current.date, w.current.msg = e.id, time.Time{}, e.msg
	}
	w.current.live = e.live
	e.id, e.msg = nil, nil // a Clone has the entry, and is not to keep the batch
	// A quiet channel repeats its id; only its Live moves, which is saved rarely.
	if !bytes.Equal(w.current.id, w.saved.id) || w.current.live.Sub(w.saved.live) >= quietSave {
		e.sub.d.saver.markLocked(e.sub)
	}
}

// begin sets where a new subscription starts: what a restart before its first
// event would begin at.
func (d *delivery) begin(sub *subscription, first mark, stored bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	sub.live = first.live
	sub.watermark.current = first
	if stored {
		sub.watermark.saved = first
	}
}

// accepted notes that Salesforce follows the start: from now on a restart
// depends on it. It reports false where nobody wants the subscription any more.
func (d *delivery) accepted(sub *subscription) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if sub.removed {
		return false
	}
	sub.accepted = true
	w := &sub.watermark
	if !bytes.Equal(w.current.id, w.saved.id) || w.current.live.After(w.saved.live) {
		d.saver.markLocked(sub)
	}
	return true
}

// keepalive notes that a channel was quiet up to an id, now.
func (d *delivery) keepalive(sub *subscription, id []byte, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if sub.removed {
		return
	}
	sub.live = now
	sub.watermark.pushLocked(&entry{sub: sub, id: id, live: now, handled: true})
	if sub.received == 0 {
		d.saver.soonLocked() // nobody else will ask for it
	}
}

// restart notes that a fallback has left the channel's order: what comes next
// is new, from live on, or anything that is retained where live is zero.
func (d *delivery) restart(sub *subscription, live time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if sub.live = live; !live.IsZero() && !sub.removed {
		// Behind what waits: that is still to be handled.
		sub.watermark.pushLocked(&entry{sub: sub, live: live, reset: true, handled: true})
	}
}

// marker is up to where a channel is handled, with the Live of what was received.
func (d *delivery) marker(sub *subscription) replaystore.Marker {
	d.mu.Lock()
	m, live := sub.watermark.current, sub.live
	d.mu.Unlock()
	marker := m.marker()
	marker.Live = live
	return marker
}
