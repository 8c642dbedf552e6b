package sfstream

import (
	"slices"
	"sync"
	"time"
)

// delivery is everything between the connections and the consumers: the queue
// of messages, who handled which, and how much room is left. One mutex guards
// all of it; nothing that blocks happens under it.
//
// The queue needs no bound of its own: nothing arrives that was not asked for,
// and subscription.wantLocked bounds that.
type delivery struct {
	client   *Client
	prefetch int
	ackWith  AckPolicy
	saver    *saver

	ready chan struct{} // wakes a waiting consumer (capacity 1)

	mu          sync.Mutex
	first, last *run
	arrivals    uint64     // how many messages were queued
	back        []*Message // taken and put back: next to go, last one first
	queued      int        // waiting in all
	current     *Message   // AckAuto: handed out last, handled when the next one is asked for
}

// fate is what becomes of a received message.
type fate uint8

const (
	fateDeliver   fate = iota
	fateSkip           // older than the wanted start: counts as handled
	fateDuplicate      // received before: it has its place in the order already
	fateAgain          // the same, of a group that is open: a marker that comes next may name it
)

// push queues a batch in order of arrival. identities has one of each message where
// the channel has groups, else it is nil.
func (d *delivery) push(sub *subscription, messages []Message, identities []uint64, now time.Time) {
	r := &run{sub: sub, messages: messages, states: make([]state, len(messages)), identities: identities}
	present := len(identities) // the handled ones of a group are taken down again
	for i := range messages {
		m := &messages[i]
		m.run, m.place = r, int32(i)
		switch m.fate {
		case fateDeliver:
			r.states[i] = waiting
			r.unhandled++
			present++
		case fateSkip:
			r.states[i] = handled | skipped
			present++
		case fateDuplicate:
			r.states[i] = handled | absent | skipped
			if m.placed {
				present++
			}
		case fateAgain:
			r.states[i] = handled | absent
		}
		if m.placed {
			r.states[i] |= placed
		}
	}
	queued := r.unhandled
	d.mu.Lock()
	sub.asked = max(0, sub.asked-len(messages))
	if sub.removed {
		d.mu.Unlock()
		return
	}
	sub.received += uint64(len(messages))
	sub.lastReceived, sub.careful = now, false
	if len(messages) > 0 {
		sub.last = &messages[len(messages)-1]
	}
	r.live, r.followed, r.first = sub.live, sub.followed, d.arrivals
	d.arrivals += uint64(len(messages))
	if present > 0 {
		sub.watermark.pushLocked(r)
	}
	if queued > 0 {
		if d.last == nil {
			d.first = r
		} else {
			d.last.next = r
		}
		d.last = r
	}
	sub.queued += queued
	d.queued += queued
	d.mu.Unlock()
	if queued > 0 {
		notify(d.ready)
	}
}

// next settles the message handed out before and hands out the next one, nil
// where none waits.
func (d *delivery) next() *Message {
	d.mu.Lock()
	freed := d.settleCurrentLocked()
	m := d.popLocked()
	if m == nil {
		d.saver.soonLocked()
		d.mu.Unlock()
		freed.wakeIf()
		return nil
	}
	due := d.handOutLocked(m)
	more := d.moreLocked()
	d.mu.Unlock()
	freed.wakeIf()
	due.wakeIf()
	if more {
		notify(d.ready)
	}
	return m
}

// moreLocked reports whether another consumer should be woken: under AckManual
// one may be waiting.
func (d *delivery) moreLocked() bool { return d.ackWith == AckManual && d.queued > 0 }

// wakeIf wakes the subscription that came to have room, if any.
func (s *subscription) wakeIf() {
	if s != nil {
		s.wake()
	}
}

// settleCurrent is asking for the next message without taking one.
func (d *delivery) settleCurrent() {
	d.mu.Lock()
	freed := d.settleCurrentLocked()
	d.mu.Unlock()
	freed.wakeIf()
}

func (d *delivery) settleCurrentLocked() (freed *subscription) {
	if m := d.current; m != nil {
		d.current = nil
		return d.settleLocked(m)
	}
	return nil
}

// popLocked takes the next message that still waits. It counts as waiting until
// handOutLocked or putBack.
func (d *delivery) popLocked() *Message {
	for n := len(d.back); n > 0; n = len(d.back) {
		m := d.back[n-1]
		d.back[n-1] = nil
		d.back = d.back[:n-1]
		if m.isLocked(waiting) {
			return m
		}
	}
	for r := d.first; r != nil; r = d.first {
		for r.popped < len(r.messages) {
			r.popped++
			if r.states[r.popped-1]&waiting != 0 {
				return &r.messages[r.popped-1]
			}
		}
		if d.first, r.next = r.next, nil; d.first == nil { // a Clone has the run, and is not to keep others
			d.last = nil
		}
	}
	return nil
}

// handOutLocked gives a popped message to a consumer and returns its
// subscription if that should now ask for more.
func (d *delivery) handOutLocked(m *Message) *subscription {
	sub := m.run.sub
	d.waitsNoMoreLocked(m)
	if sub.removed || m.isLocked(handled) {
		return nil // acked by a fast consumer, or unsubscribed meanwhile
	}
	sub.delivered++
	switch d.ackWith {
	case AckAuto:
		d.current = m
	case AckOnReceive:
		return d.settleLocked(m) // to ask twice would lose the answer: it is given once
	case AckManual:
		d.goesOutLocked(m)
	}
	return due(sub)
}

// goesOutLocked makes a message take room beyond its hand-out, until
// comesInLocked.
func (d *delivery) goesOutLocked(m *Message) {
	m.setLocked(out)
	sub := m.run.sub
	if sub.out++; sub.out >= d.prefetch {
		sub.fullSince = time.Now()
	}
}

func (d *delivery) comesInLocked(m *Message) {
	if m.isLocked(out) {
		m.clearLocked(out)
		m.run.sub.out--
		m.run.sub.fullSince = time.Time{}
	}
}

func due(s *subscription) *subscription {
	if s.dueLocked() {
		return s
	}
	return nil
}

func (d *delivery) waitsNoMoreLocked(m *Message) {
	if sub := m.run.sub; m.isLocked(waiting) && !sub.removed { // remove has settled the counts
		m.clearLocked(waiting)
		sub.queued--
		d.queued--
	}
}

// settleLocked marks a message as handled, once, and returns its subscription
// if that should now ask for more.
func (d *delivery) settleLocked(m *Message) *subscription {
	sub := m.run.sub
	if sub.removed {
		return nil
	}
	d.comesInLocked(m) // in a Run under AckOnReceive, also when it is handled
	d.handledLocked(m)
	return due(sub)
}

func (d *delivery) handledLocked(m *Message) {
	if m.isLocked(handled) {
		return
	}
	d.waitsNoMoreLocked(m) // put back, and acked after all
	m.run.sub.handled++
	m.run.sub.watermark.settleLocked(m)
}

// ack settles a message on the user's word.
func (d *delivery) ack(m *Message) {
	d.mu.Lock()
	freed := d.settleLocked(m)
	d.mu.Unlock()
	freed.wakeIf()
}

// leave puts the message of a consumer that leaves back at the head of the queue.
func (d *delivery) leave() {
	d.mu.Lock()
	m := d.current
	d.current = nil
	if m != nil {
		d.putBackLocked(m)
	}
	d.mu.Unlock()
	if m != nil {
		notify(d.ready)
	}
}

// putBackLocked keeps the order of arrival: consumers put back in any order.
func (d *delivery) putBackLocked(m *Message) {
	sub := m.run.sub
	if sub.removed {
		return
	}
	d.comesInLocked(m)
	if m.isLocked(handled) {
		return
	}
	if !m.isLocked(waiting) {
		m.setLocked(waiting)
		sub.queued++
		d.queued++
	}
	i := len(d.back)
	for i > 0 && d.back[i-1].number() < m.number() {
		i--
	}
	d.back = slices.Insert(d.back, i, m)
}

// offer takes the next message for a feeder to hold out, nil where none waits.
// taken or withdraw must follow.
func (d *delivery) offer() *Message {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.popLocked()
	if m == nil {
		d.saver.soonLocked()
		return nil
	}
	m.run.sub.offers.Add(1)
	if d.moreLocked() {
		notify(d.ready)
	}
	return m
}

// taken says that the consumer has taken the offered message: the one before it
// is handled.
func (d *delivery) taken(m *Message) {
	d.mu.Lock()
	freed := d.settleCurrentLocked()
	due := d.handOutLocked(m)
	d.mu.Unlock()
	m.run.sub.offers.Done()
	freed.wakeIf()
	due.wakeIf()
}

// withdraw puts an offered message back at the head of the queue.
func (d *delivery) withdraw(m *Message) {
	d.mu.Lock()
	d.putBackLocked(m)
	d.mu.Unlock()
	m.run.sub.offers.Done()
	notify(d.ready)
}

// remove forgets what waits of a subscription. Its watermark stays, to be saved.
func (d *delivery) remove(sub *subscription) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.removeLocked(sub)
}

// abandon removes a subscription that is not accepted yet. It reports false
// where it is: acceptance is what counts then.
func (d *delivery) abandon(sub *subscription) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if sub.accepted {
		return false
	}
	d.removeLocked(sub)
	return true
}

func (d *delivery) removeLocked(sub *subscription) {
	if sub.removed {
		return
	}
	sub.removed = true
	close(sub.gone)
	d.queued -= sub.queued
	sub.queued = 0
	kept := d.back[:0]
	for _, m := range d.back {
		if m.run.sub != sub {
			kept = append(kept, m)
		}
	}
	clear(d.back[len(kept):])
	d.back = kept
	var last *run
	for link := &d.first; *link != nil; {
		if r := *link; r.sub == sub {
			*link, r.next = r.next, nil
			continue
		}
		last = *link
		link = &last.next
	}
	d.last = last
}

func (d *delivery) isRemoved(sub *subscription) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return sub.removed
}

// fullOf is since when unacked messages take all room of a subscription (zero:
// they do not), how many they are, and the oldest.
func (d *delivery) fullOf(sub *subscription) (since time.Time, n int, oldest *Message) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, oldest = sub.unackedLocked()
	if oldest == nil {
		return time.Time{}, 0, nil
	}
	return sub.fullSince, n, oldest
}

func (d *delivery) pending() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.queued
}
