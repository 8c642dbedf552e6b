package inbox

import "github.com/sfstream/sfstream-go/replaystore"

// Credit is what a transport sees of a channel: its name, and how many events to ask for. Its
// methods may be called from any goroutine.
//
// Over the Pub/Sub API a stream asks for a number of events: First, then Take whenever Due says so.
// Over the Streaming API nothing can be asked for, and a session only looks whether there is Room:
// a credit of which nothing was taken is never due.
type Credit[M any] struct {
	Name string // as subscribed
	Key  replaystore.Key

	ch  *Channel[M]
	due chan struct{} // capacity 1

	// Inbox.mu guards the rest.
	changed     chan<- struct{} // of the link; nil: it has none yet
	taken       bool            // from First to End
	outstanding int             // events that the server was asked for and has not sent
	beyond      int             // events asked for by TakeInGroup since there was room last
	oneAtATime  bool            // the next stream asks for one event only
	inGroup     bool            // the server is in the middle of events that share a replay id
	parked      bool            // the link has found no room, and waits for some
}

// Due wakes who asks for events when more are to be asked for.
func (c *Credit[M]) Due() <-chan struct{} { return c.due }

// Remind makes Due wake its receiver, which finds out whether anything is to be asked for.
func (c *Credit[M]) Remind() { notify(c.due) }

// First returns what a new stream asks for. That is one event at least, because the server wants
// that, also where a consumer has put a message back since there was room.
func (c *Credit[M]) First() int {
	in := c.ch.in
	in.mu.Lock()
	defer in.unlock()
	c.taken = true
	if c.outstanding = max(1, c.wantLocked()); c.oneAtATime {
		c.outstanding = 1
	}
	return c.outstanding
}

// Take returns what to ask for now, 0 for nothing, and counts it as asked for.
func (c *Credit[M]) Take() int {
	in := c.ch.in
	in.mu.Lock()
	defer in.unlock()
	if c.ch.removed || !c.isDueLocked() { // removed: recv may ask before its stream is ended
		return 0
	}
	n := c.wantLocked()
	c.outstanding += n
	return n
}

// TakeInGroup is Take for a stream that would idle out in the middle of events that share a replay
// id, because its consumer is slow: one event more than there is room for. To resume would cost the
// org's allocation all of these events again.
func (c *Credit[M]) TakeInGroup() int {
	in := c.ch.in
	in.mu.Lock()
	defer in.unlock()
	if c.ch.removed || !c.inGroup || c.outstanding > 0 {
		return 0
	}
	if c.ch.roomLocked() > 0 {
		c.beyond = 0
	}
	c.beyond++
	c.outstanding++
	return 1
}

// SetInGroup says whether the server is in the middle of events that share a replay id.
func (c *Credit[M]) SetInGroup(inGroup bool) {
	in := c.ch.in
	in.mu.Lock()
	defer in.unlock()
	c.inGroup = inGroup
}

// OneAtATime makes the next stream ask for one event only, and for no other one before that is
// delivered: events that cannot be delivered for want of their schema cost the org's allocation
// each time they come.
func (c *Credit[M]) OneAtATime() {
	in := c.ch.in
	in.mu.Lock()
	defer in.unlock()
	c.oneAtATime = true
}

// Outstanding is how many events the server was asked for and has not sent.
func (c *Credit[M]) Outstanding() int {
	in := c.ch.in
	in.mu.Lock()
	defer in.unlock()
	return c.outstanding
}

// Overrun reports whether far more messages wait than can have been asked for.
func (c *Credit[M]) Overrun() bool {
	in := c.ch.in
	in.mu.Lock()
	defer in.unlock()
	return c.ch.roomLocked() < -2*in.cfg.MaxCredit-c.beyond
}

// Room reports whether there is room for more messages, of which the session holds some already. If
// there is none in the queue, the link is woken when there is.
func (c *Credit[M]) Room(held int) bool {
	in := c.ch.in
	in.mu.Lock()
	defer in.unlock()
	c.parked = c.ch.roomLocked() <= 0
	return !c.parked && held < in.cfg.Prefetch
}

// End is the end of a session: what it was asked for will not come.
func (c *Credit[M]) End() {
	in := c.ch.in
	in.mu.Lock()
	defer in.unlock()
	c.taken, c.outstanding = false, 0
}

// wantLocked is how many events can be asked for now.
func (c *Credit[M]) wantLocked() int {
	return min(c.ch.in.cfg.MaxCredit, c.ch.roomLocked()) - c.outstanding
}

// stepLocked is how much must be wanted before it is asked for: a request for each message would
// cost more than the message.
func (c *Credit[M]) stepLocked() int {
	return max(1, min(c.ch.in.cfg.MaxCredit, c.ch.in.cfg.Prefetch)/5)
}

// isDueLocked reports whether more is to be asked for now.
func (c *Credit[M]) isDueLocked() bool {
	if !c.taken || c.oneAtATime {
		return false
	}
	want := c.wantLocked()
	return want >= c.stepLocked() || want > 0 && c.outstanding == 0
}

// wake wakes those who wait for room: who asks for events, and the link.
func (c *Credit[M]) wake() {
	notify(c.due)
	notify(c.changed)
}
