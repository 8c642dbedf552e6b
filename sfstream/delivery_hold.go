package sfstream

import (
	"cmp"
	"slices"
)

// What follows is for consumers that take several messages at once, as Run and
// Transactions do: they hold them until they are handled or go back.

// hold takes the next message for a Run or a transaction, nil where none waits. It
// counts as waiting until start or putBack.
func (d *delivery) hold() *Message {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.popLocked()
}

// isFull reports whether a subscription has no room for more before what is held of
// it is handed out and handled.
func (d *delivery) isFull(sub *subscription) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return sub.roomLocked() <= 0
}

// idle says that a Run or a loop over transactions has nothing to do.
func (d *delivery) idle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.saver.soonLocked()
}

// start hands a held message out to a handler of a Run: it takes room until ack
// or putBack. It reports false where there is nothing to hand out any more.
func (d *delivery) start(m *Message) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.startLocked(m)
}

// startAll is start of messages that belong together. It reports which of them were
// handed out.
func (d *delivery) startAll(messages []*Message) []bool {
	started := make([]bool, len(messages))
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, m := range messages {
		started[i] = d.startLocked(m)
	}
	return started
}

func (d *delivery) startLocked(m *Message) bool {
	sub := m.run.sub
	d.waitsNoMoreLocked(m)
	if sub.removed || m.isLocked(handled) {
		return false // acked by who had it before, or unsubscribed meanwhile
	}
	sub.delivered++
	if d.ackWith == AckOnReceive {
		d.handledLocked(m)
	}
	d.goesOutLocked(m) // the room that it had while it waited: nobody is woken
	return true
}

// putBack puts what a Run has not settled back at the head of the queue.
func (d *delivery) putBack(messages []*Message) {
	// Latest first: each is the new head.
	slices.SortFunc(messages, func(a, b *Message) int { return cmp.Compare(b.number(), a.number()) })
	var freed []*subscription // AckOnReceive: what was handed out is handled, and makes room
	d.mu.Lock()
	for _, m := range messages {
		d.putBackLocked(m)
		if s := due(m.run.sub); s != nil {
			freed = append(freed, s)
		}
	}
	d.mu.Unlock()
	for _, s := range freed {
		s.wake()
	}
	notify(d.ready)
}
