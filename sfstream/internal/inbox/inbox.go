package inbox

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// Policy says when a message that is handed out by Next or Taken counts as handled.
type Policy int

const (
	SettleOnNext    Policy = iota // when its consumer asks for the next one
	SettleOnHandOut               // at once
	SettleOnAck                   // when Slot.Ack is called; several consumers may take messages
)

// Config is what an Inbox needs of its client.
type Config[M any] struct {
	Policy    Policy
	Prefetch  int // how many messages of a channel may be asked for, waiting and unacked in all
	MaxCredit int // how many events a server lets a stream have outstanding

	ID   func(*M) []byte    // the replay id of a message; empty: it has none
	Date func(*M) time.Time // when it happened by its own account; zero: it does not say

	Log     *slog.Logger
	Held    context.Context // nothing is saved after its end, because another process has the channels
	Save    func(context.Context, map[replaystore.Key]replaystore.Marker) error
	Advance func(ctx context.Context, key replaystore.Key, before, after replaystore.Marker) (replaystore.Advance, error)
	Saved   func(replaystore.Key, replaystore.Marker) // called after each Save; may be nil
	Broken  func(error)                               // no marker could be saved for minutes, or another process saves them
}

// Inbox is the queue of a client, with all channels in one order of arrival.
//
// The queue needs no bound of its own: nothing arrives that was not asked for, and Credit bounds
// what is asked for.
type Inbox[M any] struct {
	cfg   Config[M]
	saver *saver[M]     // of the store
	ready chan struct{} // capacity 1

	mu          sync.Mutex
	first, last *Slab[M]    // the queue
	back        []Slot[M]   // taken and put back: next to go, the last one first
	queued      int         // waiting in all
	arrivals    uint64      // how many messages were queued so far
	keepers     []*saver[M] // of the kept channels
	current     Slot[M]     // SettleOnNext: handed out last, handled when the next one is asked for

	// Whom unlock wakes.
	due  []*Credit[M] // channels that came to have room
	more bool         // a consumer: there are messages
}

// New makes an inbox without channels.
func New[M any](cfg Config[M]) *Inbox[M] {
	in := &Inbox[M]{cfg: cfg, ready: make(chan struct{}, 1)}
	in.saver = newSaver(in, cfg.Save)
	return in
}

// unlock lets go of mu and then wakes those who have something to do now.
func (in *Inbox[M]) unlock() {
	if len(in.due) == 0 && !in.more {
		in.mu.Unlock()
		return
	}
	in.unlockAndWake()
}

func (in *Inbox[M]) unlockAndWake() {
	var room [8]*Credit[M] // so that it allocates only where more channels came to have room at once
	due, more := append(room[:0], in.due...), in.more
	clear(in.due)
	in.due, in.more = in.due[:0], false
	in.mu.Unlock()
	for _, c := range due {
		c.wake()
	}
	if more {
		notify(in.ready)
	}
}

// Ready wakes one consumer that waits for a message.
func (in *Inbox[M]) Ready() <-chan struct{} { return in.ready }

// PassOn is for a consumer that Ready may have woken and that takes no message: another one should
// be woken.
func (in *Inbox[M]) PassOn() { notify(in.ready) }

// Pending is how many messages wait.
func (in *Inbox[M]) Pending() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.queued
}

// Next settles the message handed out before and hands out the next one, nil where none waits.
func (in *Inbox[M]) Next() *M {
	in.mu.Lock()
	in.settleCurrentLocked()
	s, ok := in.popLocked()
	if !ok {
		in.soonLocked()
		in.unlock()
		return nil
	}
	m := s.messageLocked()
	in.handOutLocked(s)
	in.moreLocked()
	in.unlock()
	return m
}

// SettleCurrent does what asking for the next message does to the one handed out before, without
// taking one.
func (in *Inbox[M]) SettleCurrent() {
	in.mu.Lock()
	defer in.unlock()
	in.settleCurrentLocked()
}

// Leave is for a consumer that leaves: the message handed out last goes back to the head of the
// queue.
func (in *Inbox[M]) Leave() {
	in.mu.Lock()
	defer in.unlock()
	if s := in.current; s.slab != nil {
		in.current = Slot[M]{}
		in.putBackLocked(s)
		in.more = true
	}
}

// Offer takes the next message for a consumer that may not take it, nil where none waits.
// Slot.Taken or Slot.Withdraw must follow.
func (in *Inbox[M]) Offer() *M {
	in.mu.Lock()
	defer in.unlock()
	s, ok := in.popLocked()
	if !ok {
		in.soonLocked()
		return nil
	}
	s.slab.ch.offers.Add(1)
	in.moreLocked()
	return s.messageLocked()
}

// Taken says that the consumer has taken the offered message: the one before it is handled.
func (s Slot[M]) Taken() {
	in := s.slab.ch.in
	in.mu.Lock()
	in.settleCurrentLocked()
	in.handOutLocked(s)
	in.unlock()
	s.slab.ch.offers.Done()
}

// Withdraw puts the offered message back at the head of the queue.
func (s Slot[M]) Withdraw() {
	in := s.slab.ch.in
	in.mu.Lock()
	in.putBackLocked(s)
	in.more = true
	in.unlock()
	s.slab.ch.offers.Done()
}

// Ack settles a message on the program's word: at any time, any number of times.
func (s Slot[M]) Ack() {
	if s.slab == nil {
		return
	}
	in := s.slab.ch.in
	in.mu.Lock()
	in.settleLocked(s)
	in.unlock()
}

// Nack puts a message that was handed out and is not acked back at the head of the queue.
func (s Slot[M]) Nack() {
	if s.slab == nil {
		return
	}
	in := s.slab.ch.in
	in.mu.Lock()
	defer in.unlock()
	if s.isLocked(unacked) && !s.isLocked(handled|waiting) {
		in.putBackLocked(s)
		in.more = true
		s.slab.ch.roomChangedLocked()
	}
}

// IsHandled reports whether a message counts as handled: it does not come again then.
func (s Slot[M]) IsHandled() bool {
	in := s.slab.ch.in
	in.mu.Lock()
	defer in.mu.Unlock()
	return s.isLocked(handled)
}

func (in *Inbox[M]) pushLocked(s *Slab[M]) {
	if in.last == nil {
		in.first = s
	} else {
		in.last.next = s
	}
	in.last = s
	in.queued += s.unhandled
	in.more = true
}

// popLocked takes the next message that waits. It counts as waiting until handOutLocked or
// startLocked; putBackLocked leaves it waiting.
func (in *Inbox[M]) popLocked() (s Slot[M], ok bool) {
	for n := len(in.back); n > 0; n = len(in.back) {
		s := in.back[n-1]
		in.back[n-1] = Slot[M]{}
		in.back = in.back[:n-1]
		if s.isLocked(waiting) {
			return s, true
		}
	}
	for slab := in.first; slab != nil; slab = in.first {
		for slab.popped < len(slab.messages) {
			slab.popped++
			if slab.states[slab.popped-1]&waiting != 0 {
				return Slot[M]{slab, int32(slab.popped - 1)}, true
			}
		}
		// A Clone has the slab, and must not keep those behind it alive.
		if in.first, slab.next = slab.next, nil; in.first == nil {
			in.last = nil
		}
	}
	return Slot[M]{}, false
}

// moreLocked makes unlock wake another consumer if several may take messages and some wait.
func (in *Inbox[M]) moreLocked() {
	if in.cfg.Policy == SettleOnAck && in.queued > 0 {
		in.more = true
	}
}

// handOutLocked gives a popped message to a consumer.
func (in *Inbox[M]) handOutLocked(s Slot[M]) {
	ch := s.slab.ch
	in.waitsNoMoreLocked(s)
	if ch.removed || s.isLocked(handled) {
		return // unsubscribed meanwhile, or acked by a fast consumer
	}
	ch.totals.delivered++
	switch in.cfg.Policy {
	case SettleOnNext:
		in.current = s
	case SettleOnHandOut:
		in.settleLocked(s)
		return // it has looked at the room
	case SettleOnAck:
		in.takeRoomLocked(s)
	}
	ch.roomChangedLocked()
}

// takeRoomLocked makes a message that is handed out keep its room, until giveRoomLocked: without
// that a consumer that never acks would get messages without end.
func (in *Inbox[M]) takeRoomLocked(s Slot[M]) {
	s.setLocked(unacked)
	ch := s.slab.ch
	if ch.unacked++; ch.unacked >= in.cfg.Prefetch {
		ch.fullSince = time.Now()
	}
}

func (in *Inbox[M]) giveRoomLocked(s Slot[M]) {
	if s.isLocked(unacked) {
		s.clearLocked(unacked)
		s.slab.ch.unacked--
		s.slab.ch.fullSince = time.Time{}
	}
}

func (in *Inbox[M]) waitsNoMoreLocked(s Slot[M]) {
	if ch := s.slab.ch; s.isLocked(waiting) && !ch.removed { // removeLocked has settled the counts
		s.clearLocked(waiting)
		ch.queued--
		in.queued--
	}
}

func (in *Inbox[M]) settleCurrentLocked() {
	if s := in.current; s.slab != nil {
		in.current = Slot[M]{}
		in.settleLocked(s)
	}
}

// settleLocked marks a message as handled, once, and gives its room back.
func (in *Inbox[M]) settleLocked(s Slot[M]) {
	ch := s.slab.ch
	if ch.removed {
		return
	}
	in.giveRoomLocked(s) // also if it is handled already: in a Run under SettleOnHandOut it still has room
	in.handledLocked(s)
	ch.roomChangedLocked()
}

func (in *Inbox[M]) handledLocked(s Slot[M]) {
	if s.isLocked(handled) {
		return
	}
	in.waitsNoMoreLocked(s) // put back, and acked after all
	ch := s.slab.ch
	ch.totals.handled++
	if ch.watermark.settleLocked(s, ch.saver.dirty.has(ch)) {
		ch.saver.markLocked(ch)
	}
}

// putBackLocked puts a message back at the head of the queue. Consumers put back in any order; the
// queue keeps the order of arrival.
func (in *Inbox[M]) putBackLocked(s Slot[M]) {
	ch := s.slab.ch
	if ch.removed {
		return
	}
	in.giveRoomLocked(s)
	if s.isLocked(handled) {
		return
	}
	if !s.isLocked(waiting) {
		s.setLocked(waiting)
		ch.queued++
		in.queued++
	}
	i := len(in.back)
	for i > 0 && in.back[i-1].number() < s.number() {
		i--
	}
	in.back = slices.Insert(in.back, i, s)
}

// forgetLocked takes the messages of a channel out of the queue.
func (in *Inbox[M]) forgetLocked(ch *Channel[M]) {
	in.queued -= ch.queued
	ch.queued = 0
	in.back = slices.DeleteFunc(in.back, func(s Slot[M]) bool { return s.slab.ch == ch })
	var last *Slab[M]
	for at := &in.first; *at != nil; {
		if s := *at; s.ch == ch {
			*at, s.next = s.next, nil
			continue
		}
		last = *at
		at = &last.next
	}
	in.last = last
}

// notify wakes the one receiver of a channel of capacity 1. It never blocks.
func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
