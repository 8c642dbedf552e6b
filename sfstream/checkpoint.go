package sfstream

import (
	"bytes"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream/internal/serverclock"
)

// run is what was received of a channel at once, in its place in the order of
// arrival: messages, or an id that was reached without any (a keepalive), or the
// new beginning of a fallback. delivery.mu guards it.
type run struct {
	sub      *subscription
	messages []Message // nil once none of them is unhandled: a Clone has the run, and is not to keep the batch
	states   []state   // of the messages
	// Of the messages, where the channel has groups.
	identities []uint64
	first      uint64 // the place of the first message in the client's order of arrival

	next   *run // in the queue
	popped int  // messages before it are out of the queue

	before, after *run // in the watermark
	passed        int  // messages before it are passed
	unhandled     int  // messages
	live          time.Time
	followed      time.Time
	end           mark // behind the messages, once none is unhandled; without place where they have none
	quiet         bool // a keepalive, with nothing merged into it
}

// state is what happens to a message of a run.
type state uint8

const (
	handled state = 1 << iota
	waiting       // in the queue, or held by a feeder, a Run or a loop over transactions
	out           // AckManual, Run and Transactions: handed out, takes room until it is settled
	placed        // its id is one to resume after, once all up to it is handled
	absent        // a duplicate: it has its place in the order already
	skipped       // of no group that is open: older than the wanted start, or of one that was whole
)

func (m *Message) isLocked(s state) bool { return m.run.states[m.place]&s != 0 }
func (m *Message) setLocked(s state)     { m.run.states[m.place] |= s }
func (m *Message) clearLocked(s state)   { m.run.states[m.place] &^= s }

// number is the place of a message in the client's order of arrival.
func (m *Message) number() uint64 { return m.run.first + uint64(m.place) }

// watermark is the contiguous end of what is handled of a channel. Its list
// holds runs with unhandled messages and, merged into one run, the handled ones
// behind them: it grows with what is unhandled, not with what came after.
//
// Invariant: the head of the list has an unhandled message where passed is; no two
// neighbours are handled.
type watermark struct {
	head, tail *run
	current    mark // all up to it is handled
	saved      mark // the newest one known to be in the store
	dirty      bool // current waits for the saver
}

// mark is a place to resume from: behind a message, or an id that was reached
// without one.
type mark struct {
	msg  *Message
	id   []byte    // where msg is nil
	date time.Time // where msg is nil
	void bool      // no id: the place is live itself, and the ids before it are void
	live time.Time // when the server last showed that nothing before this is missing

	// When the channel was last followed at all, where a quiet server proves nothing.
	followed time.Time

	group *handledGroup // what is handled of the events behind the place that share an id; nil: none
	anew  bool          // where it has no place: a group of before it is not continued
}

func (m *mark) replayID() []byte {
	if m.msg != nil {
		return m.msg.ReplayID
	}
	return m.id
}

func (m *mark) moveBehind(msg *Message) {
	if m.msg == nil {
		m.id, m.date, m.void = nil, time.Time{}, false
	}
	m.msg, m.group = msg, nil
}

// pass takes in that a message of a run, which is handled, has all before it handled.
func (m *mark) pass(r *run, i int) {
	switch s := r.states[i]; {
	case s&placed != 0:
		m.moveBehind(&r.messages[i])
	case r.identities != nil && s&skipped == 0 && len(r.messages[i].ReplayID) > 0:
		m.handle(&r.messages[i], r.identities[i])
	}
}

// moveTo takes the place of another one, if that has any.
func (m *mark) moveTo(to mark) {
	if to.msg != nil || len(to.id) > 0 || to.void {
		live, followed := m.live, m.followed
		*m = to
		m.live, m.followed, m.anew = live, followed, false
	} else if to.anew {
		m.group, m.anew = to.group, true
	} else {
		m.join(to.group)
	}
}

// marker is a copy: stores keep it for long, and the id is a part of its batch.
func (m *mark) marker() replaystore.Marker {
	marker := replaystore.Marker{ReplayID: bytes.Clone(m.replayID()), Date: m.date, Live: m.live, Group: m.group.marker()}
	if m.msg != nil {
		marker.Date = m.msg.Date()
	}
	if m.followed.After(m.live) {
		marker.Followed = m.followed
	}
	return marker
}

// quietSave is how old the stored Live of a channel may get while nothing of it is
// handled, and how far ahead a clock that was wrong may have left it.
const quietSave = time.Hour

// pushLocked appends a run in order of arrival.
func (w *watermark) pushLocked(r *run) {
	if r.before = w.tail; w.tail != nil {
		w.tail.after = r
	} else {
		w.head = r
	}
	w.tail = r
	switch {
	case w.head == r:
		w.advanceLocked()
	case r.unhandled == 0:
		w.mergeLocked(r)
	}
}

// settleLocked takes in that a message is handled.
func (w *watermark) settleLocked(m *Message) {
	r := m.run
	r.states[m.place] |= handled
	r.unhandled--
	switch {
	case w.head == r:
		if int(m.place) == r.passed {
			w.advanceLocked()
		}
	case r.unhandled == 0:
		w.mergeLocked(r)
	}
}

// advanceLocked moves the watermark to the first message that is not handled.
func (w *watermark) advanceLocked() {
	current := &w.current
	for r := w.head; r != nil; r = w.head {
		for ; r.passed < len(r.states) && r.states[r.passed]&handled != 0; r.passed++ {
			current.pass(r, r.passed)
			if r.states[r.passed]&absent == 0 {
				current.live, current.followed = r.live, r.followed
			}
		}
		all := r.passed == len(r.states)
		if all {
			current.moveTo(r.end)
			current.live, current.followed = r.live, r.followed
			w.unlinkLocked(r)
		}
		// A quiet channel saves its first id, and then rarely: nothing comes again after
		// a restart from an older one.
		if !w.dirty && (current.live.Sub(w.saved.live).Abs() >= quietSave || current.followed.Sub(w.saved.followed).Abs() >= quietSave ||
			!bytes.Equal(current.replayID(), w.saved.replayID()) && (!r.quiet || len(w.saved.replayID()) == 0) ||
			!current.group.same(w.saved.group)) {
			r.sub.d.saver.markLocked(r.sub)
		}
		if !all {
			return
		}
	}
}

// mergeLocked makes one of a handled run and its handled neighbours. It is not the
// head.
func (w *watermark) mergeLocked(r *run) {
	if r.identities == nil {
		for i := len(r.states) - 1; i >= r.passed; i-- {
			if r.states[i]&placed != 0 {
				r.end.msg = &r.messages[i]
				break
			}
		}
	} else {
		for i := r.passed; i < len(r.states); i++ {
			r.end.pass(r, i)
		}
	}
	r.passed, r.messages, r.identities = len(r.states), nil, nil
	if p := r.before; p.unhandled == 0 {
		w.supersedeLocked(p, r)
	}
	if n := r.after; n != nil && n.unhandled == 0 {
		w.supersedeLocked(r, n)
	}
}

// supersedeLocked drops a handled run whose follower is handled too. One without
// a place of its own keeps the one before it.
func (w *watermark) supersedeLocked(old, by *run) {
	end := old.end
	end.moveTo(by.end)
	by.end, by.quiet = end, by.quiet && old.quiet
	w.unlinkLocked(old)
}

// unlinkLocked forgets a run. A Clone has it, and is not to keep the batch.
func (w *watermark) unlinkLocked(r *run) {
	if r.before != nil {
		r.before.after = r.after
	} else {
		w.head = r.after
	}
	if r.after != nil {
		r.after.before = r.before
	} else {
		w.tail = r.before
	}
	r.before, r.after, r.messages, r.identities, r.end = nil, nil, nil, nil, mark{}
}

// begin sets where a new subscription starts: what a restart before its first
// event would begin at.
func (d *delivery) begin(sub *subscription, first mark, stored bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	sub.live, sub.followed = first.live, first.followed
	sub.watermark.current = first
	if stored {
		sub.watermark.saved = first
		sub.watermark.saved.group = first.group.snapshot() // current's grows
	}
}

// accepted notes that Salesforce follows the start: from now on a restart
// depends on it. start is the time of a start at "new", which may not have been known
// before. It reports false where nobody wants the subscription any more.
func (d *delivery) accepted(sub *subscription, start time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if sub.removed {
		return false
	}
	sub.accepted = true
	w := &sub.watermark
	if !start.IsZero() && w.current.live.Equal(serverclock.Beginning()) {
		sub.live, w.current.live = start, start
	}
	if !bytes.Equal(w.current.replayID(), w.saved.replayID()) || w.current.live.After(w.saved.live) {
		d.saver.markLocked(sub)
	}
	return true
}

// keepalive notes that a channel was quiet up to an id, now; proven says that this
// means that nothing before is missing. now is Salesforce's time, zero where that is
// not known.
func (d *delivery) keepalive(sub *subscription, id []byte, now time.Time, proven bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if sub.removed {
		return
	}
	sub.followsLocked(now, proven)
	sub.watermark.pushLocked(&run{sub: sub, end: mark{id: id}, live: sub.live, followed: sub.followed, quiet: true})
	if sub.received == 0 {
		d.saver.soonLocked() // nobody else will ask for it
	}
}

// restart notes that a fallback has left the channel's order: what comes next
// is new, from live on, or anything that is retained where live is zero. grouped
// says that the channel has groups: what is handled of one counts no more.
func (d *delivery) restart(sub *subscription, live time.Time, grouped bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if sub.live = live; !live.IsZero() && !sub.removed {
		// Behind what waits: that is still to be handled.
		sub.watermark.pushLocked(&run{sub: sub, end: mark{void: true}, live: live, followed: sub.followed})
	} else if !sub.removed && grouped {
		sub.watermark.pushLocked(&run{sub: sub, end: mark{anew: true}, live: live, followed: sub.followed})
	}
}

// marker is up to where a channel is handled, with the Live of what was received.
func (d *delivery) marker(sub *subscription) replaystore.Marker {
	d.mu.Lock()
	m := sub.watermark.current
	m.live, m.followed = sub.live, sub.followed
	m.group = m.group.snapshot()
	d.mu.Unlock()
	return m.marker()
}

// followsLocked moves the times of a channel that is followed, now. Over the Pub/Sub
// API a quiet server proves that nothing is missing.
func (s *subscription) followsLocked(now time.Time, proven bool) {
	if now.IsZero() {
		return
	}
	if s.polled {
		s.followed = now
	}
	if !s.polled || proven {
		s.live = now
	}
}

// follows notes that a channel of the Streaming API is followed, now.
func (d *delivery) follows(sub *subscription, now time.Time, proven bool) {
	d.keepalive(sub, nil, now, proven)
}

// proves notes that nothing before this moment is missing of a channel: an event
// of now has come.
func (d *delivery) proves(sub *subscription, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	sub.followsLocked(now, true)
}

// endProof is the end of a session that has proved that nothing is missing, but for
// what the server may have been seeking since the session began: so long before its
// last proof is what remains of it.
func (d *delivery) endProof(sub *subscription, began time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if began.Before(sub.live) {
		sub.live = began
	}
}
