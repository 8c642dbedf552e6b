package inbox

import (
	"cmp"
	"slices"
)

// What follows is for consumers that take several messages at once, as Run and Transactions do:
// they hold messages until these are handled or go back.

// Hold takes the next message, nil where none waits. It counts as waiting until Start or PutBack.
func (in *Inbox[M]) Hold() *M {
	in.mu.Lock()
	defer in.unlock()
	s, ok := in.popLocked()
	if !ok {
		return nil
	}
	return s.messageLocked()
}

// Idle says that a consumer that holds messages has nothing to do: what is handled is saved soon,
// because nobody will ask for the next message for a while.
func (in *Inbox[M]) Idle() {
	in.mu.Lock()
	defer in.unlock()
	in.soonLocked()
}

// Start hands a held message out: it takes room until Ack or PutBack. It reports false where there
// is nothing to hand out any more.
func (s Slot[M]) Start() bool {
	in := s.slab.ch.in
	in.mu.Lock()
	defer in.unlock()
	return in.startLocked(s)
}

// StartAll is Start of messages that belong together, all at one moment. It reports which of them
// were handed out.
func (in *Inbox[M]) StartAll(slots []Slot[M]) []bool {
	started := make([]bool, len(slots))
	in.mu.Lock()
	defer in.unlock()
	for i, s := range slots {
		started[i] = in.startLocked(s)
	}
	return started
}

func (in *Inbox[M]) startLocked(s Slot[M]) bool {
	ch := s.slab.ch
	in.waitsNoMoreLocked(s)
	if ch.removed || s.isLocked(handled) {
		return false // unsubscribed meanwhile, or acked by a consumer that had it before
	}
	ch.totals.delivered++
	if in.cfg.Policy == SettleOnHandOut {
		in.handledLocked(s)
	}
	in.takeRoomLocked(s) // as much as it took while it waited: nobody is to be woken
	return true
}

// PutBack puts messages back at the head of the queue, but for those that are handled.
func (in *Inbox[M]) PutBack(slots []Slot[M]) {
	// The latest one first, because each one becomes the new head.
	slices.SortFunc(slots, func(a, b Slot[M]) int { return cmp.Compare(b.number(), a.number()) })
	in.mu.Lock()
	defer in.unlock()
	for _, s := range slots {
		in.putBackLocked(s)
		s.slab.ch.roomChangedLocked() // SettleOnHandOut: what was started is handled, and makes room
	}
	in.more = true
}
