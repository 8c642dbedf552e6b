package inbox

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// Channel is one followed channel: what is asked for, waiting and unhandled of it. Its link begins
// it, pushes what comes and says what that proves; consumers get its messages from the Inbox.
type Channel[M any] struct {
	Credit[M]
	in    *Inbox[M]
	saver *saver[M] // the store's, or that of the channel alone: it is a kept one

	accepted chan struct{}  // closed when Salesforce follows it for the first time
	gone     chan struct{}  // closed when it is removed
	offers   sync.WaitGroup // messages that are offered and neither taken nor withdrawn

	// Inbox.mu guards the rest.
	removed   bool      // nothing of it is handed out or settled any more, as gone tells others
	queued    int       // messages that wait for a consumer
	unacked   int       // messages that are handed out and take room: SettleOnAck, and what is held
	fullSince time.Time // since when unacked messages take all its room; zero: they do not
	watermark watermark[M]
	evidence  Evidence // of what comes next
	nextDirty *Channel[M]
	last      *M // the last message received
	totals    totals
}

// totals count the messages of a channel.
type totals struct {
	received, delivered, handled uint64
	lastReceived                 time.Time
}

// Evidence says until when a channel was followed. A zero time is not known, and changes nothing
// where the evidence is new.
type Evidence struct {
	Live     time.Time // nothing of before this moment is missing
	Followed time.Time // Streaming API, where a quiet server proves nothing: it was followed at all
}

// add takes new evidence in.
func (e *Evidence) add(newer Evidence) {
	if !newer.Live.IsZero() {
		e.Live = newer.Live
	}
	if !newer.Followed.IsZero() {
		e.Followed = newer.Followed
	}
}

// Channel makes a channel, of which nothing is known yet.
func (in *Inbox[M]) Channel(name string, key replaystore.Key) *Channel[M] {
	ch := &Channel[M]{in: in, saver: in.saver, accepted: make(chan struct{}), gone: make(chan struct{})}
	ch.Credit = Credit[M]{Name: name, Key: key, ch: ch, due: make(chan struct{}, 1)}
	ch.watermark.cfg = &in.cfg
	return ch
}

// Keep makes the channel a kept one, before it begins: it has no marker in the store, because its
// server keeps its place. save tells the server. Its failures are no store's; ErrLater is none.
func (ch *Channel[M]) Keep(save func(context.Context, replaystore.Marker) error) {
	in := ch.in
	in.mu.Lock()
	defer in.unlock()
	ch.saver = newSaver(in, func(ctx context.Context, markers map[replaystore.Key]replaystore.Marker) error {
		return save(ctx, markers[ch.Key])
	})
	ch.saver.kept = ch
	in.keepers = append(in.keepers, ch.saver)
}

// SaveNow makes a kept channel try to save what is not saved yet.
func (ch *Channel[M]) SaveNow() {
	ch.in.mu.Lock()
	defer ch.in.unlock()
	s := ch.saver
	if s.asked = true; s.later {
		s.later = false
		s.scheduleLocked(time.Now())
	}
}

// SaveAgain makes a kept channel save its place though the server has it.
func (ch *Channel[M]) SaveAgain() {
	ch.in.mu.Lock()
	defer ch.in.unlock()
	if !ch.removed {
		ch.saver.markLocked(ch)
	}
}

// Notify makes the inbox wake the receiver of changed whenever the channel has room again.
func (ch *Channel[M]) Notify(changed chan<- struct{}) {
	ch.in.mu.Lock()
	defer ch.in.unlock()
	ch.changed = changed
}

// Begin sets where the channel starts: what a restart before its first event would begin at. stored
// says that the store has this marker.
func (ch *Channel[M]) Begin(start replaystore.Marker, stored bool) {
	first := markOf[M](start)
	ch.in.mu.Lock()
	defer ch.in.unlock()
	ch.evidence = first.Evidence
	ch.watermark.current = first
	if stored {
		ch.watermark.saved = first
		ch.watermark.saved.group = first.group.snapshot() // that of current grows
	}
}

// Accept notes that Salesforce follows the channel: from now on a restart depends on where it
// started. live, unless it is zero, is the Live of that start, which Begin did not know. Accept
// reports false where nobody wants the channel any more.
func (ch *Channel[M]) Accept(live time.Time) bool {
	ch.in.mu.Lock()
	defer ch.in.unlock()
	if ch.removed {
		return false
	}
	close(ch.accepted)
	w := &ch.watermark
	if !live.IsZero() {
		ch.evidence.Live, w.current.Live = live, live
	}
	if !w.current.hasIDOf(&w.saved, w.cfg) || w.current.Live.After(w.saved.Live) {
		ch.saver.markLocked(ch)
	}
	return true
}

// Accepted is closed when Salesforce has followed the channel once.
func (ch *Channel[M]) Accepted() <-chan struct{} { return ch.accepted }

// Push queues a slab in order of arrival.
func (ch *Channel[M]) Push(s *Slab[M], now time.Time) {
	placed := s.count()
	in := ch.in
	in.mu.Lock()
	defer in.unlock()
	n := len(s.messages)
	ch.outstanding = max(0, ch.outstanding-n)
	if ch.removed {
		return
	}
	ch.totals.received += uint64(n)
	ch.totals.lastReceived, ch.oneAtATime = now, false
	if n > 0 {
		ch.last = &s.messages[n-1]
	}
	s.evidence, s.first = ch.evidence, in.arrivals
	in.arrivals += uint64(n)
	waits := s.unhandled
	if placed {
		ch.appendLocked(s)
	}
	if waits > 0 {
		ch.queued += waits
		in.pushLocked(s)
	}
}

// Keepalive notes that the channel was quiet up to an id, if there is one, and what that proves.
func (ch *Channel[M]) Keepalive(id []byte, proves Evidence) {
	ch.in.mu.Lock()
	defer ch.in.unlock()
	if ch.removed {
		return
	}
	ch.evidence.add(proves)
	ch.reachLocked(mark[M]{id: id}, true)
	if ch.saver.kept != nil {
		ch.saver.markLocked(ch) // also what is saved: a server may end a session in which nothing is
	}
	if ch.totals.received == 0 {
		ch.saver.soonLocked() // nobody else will ask for it
	}
}

// Prove adds evidence that does not move the channel's place, such as the date of an event.
func (ch *Channel[M]) Prove(proves Evidence) {
	ch.in.mu.Lock()
	defer ch.in.unlock()
	ch.evidence.add(proves)
}

// Reach notes that the channel has come to an id, after what was received so far.
func (ch *Channel[M]) Reach(id []byte, date time.Time) {
	ch.in.mu.Lock()
	defer ch.in.unlock()
	if !ch.removed {
		ch.reachLocked(mark[M]{id: id, date: date}, false)
	}
}

// Restart notes that the channel has left its order for a fallback: what comes next is new, from
// live on, or anything that is retained where live is zero. grouped says that several messages of
// the channel can share an id: what is handled of such a group counts no more.
func (ch *Channel[M]) Restart(live time.Time, grouped bool) {
	ch.in.mu.Lock()
	defer ch.in.unlock()
	ch.evidence.Live = live
	// Behind what waits: that is still to be handled.
	switch {
	case ch.removed:
	case !live.IsZero():
		ch.reachLocked(mark[M]{reset: true}, false)
	case grouped:
		ch.reachLocked(mark[M]{newGroup: true}, false)
	}
}

func (ch *Channel[M]) reachLocked(end mark[M], quiet bool) {
	ch.appendLocked(&Slab[M]{ch: ch, end: end, evidence: ch.evidence, quiet: quiet})
}

// appendLocked gives a slab its place in the watermark's order.
func (ch *Channel[M]) appendLocked(s *Slab[M]) {
	if ch.watermark.pushLocked(s, ch.saver.dirty.has(ch)) {
		ch.saver.markLocked(ch)
	}
}

// Marker says up to where the channel is handled, with the evidence of what was received.
func (ch *Channel[M]) Marker() replaystore.Marker {
	ch.in.mu.Lock()
	m := ch.watermark.current
	m.Evidence = ch.evidence
	m.group = m.group.snapshot()
	ch.in.mu.Unlock()
	return m.marker(&ch.in.cfg)
}

// Abandon removes a channel that is not accepted yet. It reports false where it is: acceptance is
// what counts then.
func (ch *Channel[M]) Abandon() bool {
	ch.in.mu.Lock()
	defer ch.in.unlock()
	if ch.isAccepted() {
		return false
	}
	ch.removeLocked()
	return true
}

// Remove forgets what waits of the channel: nothing of it is handed out any more. How far it was
// handled stays, to be saved.
func (ch *Channel[M]) Remove() {
	ch.in.mu.Lock()
	defer ch.in.unlock()
	ch.removeLocked()
}

func (ch *Channel[M]) removeLocked() {
	if !ch.removed {
		ch.removed = true
		close(ch.gone)
		ch.in.forgetLocked(ch)
	}
}

// Removed is closed when the channel is removed.
func (ch *Channel[M]) Removed() <-chan struct{} { return ch.gone }

// AwaitOffers returns when no message of a removed channel is offered to anybody.
func (ch *Channel[M]) AwaitOffers() { ch.offers.Wait() }

func (ch *Channel[M]) isAccepted() bool {
	select {
	case <-ch.accepted:
		return true
	default:
		return false
	}
}

func (ch *Channel[M]) roomLocked() int { return ch.in.cfg.Prefetch - ch.queued - ch.unacked }

// roomChangedLocked makes unlock wake those who wait for room of the channel, if there is enough.
func (ch *Channel[M]) roomChangedLocked() {
	if ch.parked && ch.roomLocked() > 0 {
		ch.parked = false
	} else if !ch.isDueLocked() {
		return
	}
	ch.in.due = append(ch.in.due, &ch.Credit)
}

// Full reports whether there is no room for more before what is held is handed out and handled.
func (ch *Channel[M]) Full() bool {
	ch.in.mu.Lock()
	defer ch.in.unlock()
	return ch.roomLocked() <= 0
}

// Stalled says since when unacked messages take all room of the channel (zero: they do not), how
// many they are, and the oldest of them.
func (ch *Channel[M]) Stalled() (since time.Time, n int, oldest *M) {
	ch.in.mu.Lock()
	defer ch.in.unlock()
	n, oldest = ch.unackedLocked()
	if oldest == nil {
		return time.Time{}, 0, nil
	}
	return ch.fullSince, n, oldest
}

// unackedLocked returns how many messages are handed out and not acked, and the oldest of them.
func (ch *Channel[M]) unackedLocked() (n int, oldest *M) {
	for s := ch.watermark.head; s != nil && ch.unacked > 0; s = s.after {
		for i := s.passed; i < len(s.states); i++ {
			if s.states[i]&(unacked|handled) == unacked {
				return ch.unacked, &s.messages[i]
			}
		}
	}
	return 0, nil
}

// Status is a snapshot of a channel.
type Status[M any] struct {
	ReplayID                     []byte // up to here all is handled
	Received, Delivered, Handled uint64
	LastReceived                 time.Time
	Pending, Unacked             int
	Last                         *M        // the last message received; nil: none
	HandledUntil                 time.Time // no event of before this moment is unhandled; zero: not known
	OldestUnhandled              *M
	OldestUnacked                *M
}

// Status returns a snapshot of the channel.
func (ch *Channel[M]) Status() Status[M] {
	ch.in.mu.Lock()
	defer ch.in.unlock()
	status := Status[M]{
		ReplayID: bytes.Clone(ch.watermark.current.replayID(&ch.in.cfg)),
		Received: ch.totals.received, Delivered: ch.totals.delivered, Handled: ch.totals.handled,
		LastReceived: ch.totals.lastReceived, Pending: ch.queued, Last: ch.last,
	}
	status.Unacked, status.OldestUnacked = ch.unackedLocked()
	if s := ch.watermark.head; s != nil {
		status.OldestUnhandled = &s.messages[s.passed]
	}
	status.HandledUntil = ch.watermark.current.until(&ch.in.cfg)
	return status
}
