package sfstream

import (
	"sync"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// subscription is one followed channel: what is asked for, waiting and
// unhandled of it. delivery.mu guards all that can change.
type subscription struct {
	channel string // as subscribed
	key     replaystore.Key
	d       *delivery

	// creditDue wakes the sender of credit (capacity 1), changed the link where the
	// channel had no room and has some again.
	creditDue chan struct{}
	changed   chan struct{} // the link's

	careful bool // nothing could be delivered of the last session

	grouped bool // the server is in the middle of events that share a replay id
	beyond  int  // asked for beyond the room since, so that the stream lives

	polled bool // over the Streaming API, which knows no credit
	asked  int  // credit given to the server and not used by it
	full   bool // the link has found no room, and waits for some
	queued int  // waiting for a consumer
	out    int  // AckManual, Run and Transactions: handed out and not acked

	fullSince time.Time // since when all room is taken by unacked messages; zero: it is not

	accepted  bool           // Salesforce follows it, or did
	removed   bool           // nothing of it is handed out or saved any more
	gone      chan struct{}  // closed when removed
	offers    sync.WaitGroup // messages that feeders of C hold out to a consumer
	watermark watermark
	live      time.Time // when the server last showed that nothing before this is missing
	followed  time.Time // Streaming API: when it was last followed at all

	received, delivered, handled uint64
	lastReceived                 time.Time
	last                         *Message // the last one received
}

func newSubscription(d *delivery, channel string, key replaystore.Key) *subscription {
	return &subscription{
		channel: channel, key: key, d: d, polled: key.API == apiCometD,
		creditDue: make(chan struct{}, 1), gone: make(chan struct{}),
	}
}

func (s *subscription) roomLocked() int { return s.d.prefetch - s.queued - s.out }

// hasRoom reports whether there is room for more. If not, the link is woken when
// there is.
func (s *subscription) hasRoom() bool {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.full = s.roomLocked() <= 0
	return !s.full
}

// wantLocked is how many events can be asked for now.
func (s *subscription) wantLocked() int { return min(maxCredit, s.roomLocked()) - s.asked }

// creditStep is how much must be wanted before it is asked for: a request per
// message would cost more than the message.
func (s *subscription) creditStep() int { return max(1, min(maxCredit, s.d.prefetch)/5) }

// dueLocked reports whether the link is to be woken: to ask for more, or because
// it waits for room.
func (s *subscription) dueLocked() bool {
	if s.full && s.roomLocked() > 0 {
		s.full = false
		return true
	}
	want := s.wantLocked()
	return !s.polled && !s.careful && (want >= s.creditStep() || want > 0 && s.asked == 0)
}

// sessionEnded forgets what was asked for.
func (s *subscription) sessionEnded() {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.asked = 0
}

// overrun reports whether far more waits than can have been asked for.
func (s *subscription) overrun() bool {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	return s.roomLocked() < -2*maxCredit-s.beyond
}

func (s *subscription) nothingAsked() bool {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	return s.asked == 0
}

// beCareful makes the next session ask for one event only, until that is
// delivered: what cannot be delivered for want of its schema costs the org's
// allocation each time.
func (s *subscription) beCareful() {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.careful = true
}

// firstCredit returns what a new stream asks for: one at least, which the server
// wants, also where a consumer has put a message back since there was room.
func (s *subscription) firstCredit() int {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	if s.asked = max(1, s.wantLocked()); s.careful {
		s.asked = 1
	}
	return s.asked
}

// takeCredit returns what to ask for now, 0 for nothing, and counts it as asked.
func (s *subscription) takeCredit() int {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	if s.removed || !s.dueLocked() { // removed: recv may ask before its stream is ended
		return 0
	}
	n := s.wantLocked()
	s.asked += n
	return n
}

// inGroup notes that the server is in the middle of events that share a replay id.
func (s *subscription) inGroup(grouped bool) {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.grouped = grouped
}

// groupCredit is takeCredit for a stream that would idle out inside a group because
// its consumer is slow: one event more than there is room for. To resume costs the
// org's allocation the whole group again.
func (s *subscription) groupCredit() int {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	if s.removed || !s.grouped || s.asked > 0 {
		return 0
	}
	if s.roomLocked() > 0 {
		s.beyond = 0
	}
	s.beyond++
	s.asked++
	return 1
}

// unackedLocked returns how many messages are handed out and not acked, and the
// oldest of them; for AckManual, Run and Transactions.
func (s *subscription) unackedLocked() (n int, oldest *Message) {
	for r := s.watermark.head; r != nil && s.out > 0; r = r.after {
		for i := r.passed; i < len(r.states); i++ {
			if r.states[i]&(out|handled) == out {
				return s.out, &r.messages[i]
			}
		}
	}
	return 0, nil
}

// wake tells the link that room has come free. It never blocks.
func (s *subscription) wake() {
	notify(s.creditDue)
	notify(s.changed)
}

// notify wakes the one receiver of a channel of capacity 1.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
