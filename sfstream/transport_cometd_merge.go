package sfstream

import (
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/bayeux"
	"github.com/sfstream/sfstream-go/sfstream/internal/replayid"
)

// A merger makes one sequence of the events that come on the two connections of a Bayeux session.
//
// One connection holds a connect request, which receives; the other one carries calls, which
// subscribe and unsubscribe. The server writes the events that it has into whichever reply it sends
// next. So each reply brings events in the server's order, but the replies themselves may overtake
// each other, and one may never arrive. Hence the rule: an event is queued for delivery only when
// no reply that the server may have written before can still arrive. All events are held while a
// call is under way. When the call has ended, events that came with its reply are held until the
// connect that was under way at that moment has ended too. Then they are queued in the order of
// their replay ids. What the server does is in internal/bayeux/PROTOCOL.md, "Two connections" and
// "Lost replies".
//
// The server may keep that connect open for minutes, though. After overtakeTime the merger decides
// by the phase of the channel: see phaseHeldNew and phaseHeld.
//
// A merger has no goroutine, no lock, no connection and no clock: its session tells it what
// happens, and when. Methods append what the link is to be told to the queue that they are given.
type merger struct {
	codec    *codec                    // of the events
	channels map[string]*mergedChannel // by bare name; a dropped one until no event of it can come

	calls      int       // under way
	connecting bool      // a connect is under way
	connectAt  time.Time // when the last connect began
	connects   int       // that have ended
	arrived    bool      // an event of a channel in channels arrived since the last connect ended
	ended      bool      // the session has failed: no events are queued any more

	quietAt    time.Time // when channels were last reported as quiet
	followedAt time.Time // when channels were last reported as followed
}

func newMerger(codec *codec) merger {
	return merger{codec: codec, channels: make(map[string]*mergedChannel)}
}

// overtakeTime is how long the events of a call's reply wait for the connect beside it. The server
// may hold that for 110 s: internal/bayeux/PROTOCOL.md, "Connect".
const overtakeTime = 5 * time.Second

// longPolled is how long the server must have kept a connect open to have had nothing to send.
const longPolled = time.Second

// mergedChannel is a channel of the session.
type mergedChannel struct {
	sub   *subscription
	phase phase

	held         []Message
	cameWithCall bool      // events of it came with the replies to the calls that are under way
	decideAt     time.Time // phaseHeldNew, phaseHeld, phaseHeldAgain: when waitedLong decides
	connectsLeft int       // phaseDraining: connects that must end before an empty one counts

	caughtUp bool // since the subscribe, the server has once had nothing more to send
	arrived  bool // an event of it arrived since the last connect ended
}

// phase is where a channel is between its subscribe and the last event that may come of it. Beside
// the phase, a call that is under way holds the events of every channel.
type phase int

const (
	// phaseAsked: the server has not answered the subscribe. Events are held.
	phaseAsked phase = iota
	// phaseSubscribed: the call under way has subscribed. Events are held, by that call.
	phaseSubscribed
	// phaseFollowing: events are queued as they come.
	phaseFollowing
	// phaseHeldNew: the call that subscribed has brought events, and a connect was under way beside
	// it. Events are held until that connect ends. After overtakeTime they are queued as
	// provisional: Salesforce puts all old events of a new subscription into one reply, so probably
	// the connect has none of them.
	phaseHeldNew
	// phaseHeld: the same, but the channel was followed before the call. After overtakeTime a new
	// session is needed: the connect may well have older events, and may be lost.
	phaseHeld
	// phaseProvisional: events were queued as provisional, and the connect is still under way. If
	// it is lost, they come again. Events that it brings are queued as they come.
	phaseProvisional
	// phaseHeldAgain: as phaseHeld, where events before were queued as provisional.
	phaseHeldAgain
	// phaseUnconfirmed: the connect has ended, but events that it brought are held by a call. The
	// provisional events are confirmed once these are queued.
	phaseUnconfirmed
	// phaseUnsubscribing: the link has dropped the channel, and the server has not answered yet.
	// Events are ignored.
	phaseUnsubscribing
	// phaseDraining: the server has unsubscribed, but may still send events that it had queued.
	// They are ignored. A new subscription could not tell them from its own.
	phaseDraining
)

// dropped reports whether the link does not follow the channel any more.
func (c *mergedChannel) dropped() bool {
	return c.phase == phaseUnsubscribing || c.phase == phaseDraining
}

// accepted reports whether the server follows the channel.
func (c *mergedChannel) accepted() bool { return c.phase != phaseAsked && !c.dropped() }

// ask notes that the next call subscribes to a channel. It returns false where the link has dropped
// the channel in the meantime: the call is to leave it out.
func (m *merger) ask(sub *subscription) bool {
	if c := m.channels[sub.Key.Channel]; c != nil && c.dropped() {
		return false
	}
	m.channels[sub.Key.Channel] = &mergedChannel{sub: sub, phase: phaseAsked}
	return true
}

// answered handles the server's answer to a subscribe; refusal is nil where it accepts.
func (m *merger) answered(queue []batch, bare string, refusal *ServerError) []batch {
	c := m.channels[bare]
	switch {
	case c == nil || c.phase != phaseAsked: // dropped in the meantime
		return queue
	case refusal != nil:
		delete(m.channels, bare)
		return append(queue, batch{kind: batchRefused, sub: c.sub, err: refusal})
	}
	c.phase = phaseSubscribed
	return append(queue, batch{kind: batchAccepted, sub: c.sub})
}

// drop notes that the link does not follow a channel any more.
func (m *merger) drop(sub *subscription) {
	m.channels[sub.Key.Channel] = &mergedChannel{sub: sub, phase: phaseUnsubscribing}
}

// unsubscribed handles the server's answer to an unsubscribe. The server may still have events
// queued. They come with the connect that is under way, or with later ones, as long as these bring
// anything: so the second connect to end is the first that counts.
func (m *merger) unsubscribed(sub *subscription) {
	m.channels[sub.Key.Channel] = &mergedChannel{sub: sub, phase: phaseDraining, connectsLeft: 2}
}

// canAdd reports whether the session can follow a channel of a bare name, which it may have
// followed before.
func (m *merger) canAdd(bare string) bool {
	c := m.channels[bare]
	return c == nil || !c.dropped()
}

// almost returns the channel that the session follows under almost the bare name of events that it
// does not follow: the names differ by case or by a slash. It is empty where there is none.
func (m *merger) almost(bare string) string {
	for name, c := range m.channels {
		if !c.dropped() && strings.EqualFold(strings.Trim(name, "/"), strings.Trim(bare, "/")) {
			return c.sub.Name
		}
	}
	return ""
}

// events handles events of one channel, which came with the reply to a call or with a connect. It
// reports whether the session has ever followed the channel.
func (m *merger) events(queue []batch, bare string, events []bayeux.Event, withCall bool) ([]batch, bool) {
	c := m.channels[bare]
	if c == nil {
		return queue, false
	}
	m.arrived = true
	if c.dropped() || m.ended {
		return queue, true
	}
	c.arrived = true
	c.cameWithCall = c.cameWithCall || withCall
	messages := make([]Message, len(events))
	for i := range events {
		messages[i].readEvent(m.codec, c.sub.Name, events[i].Data)
	}
	if m.holds(c) {
		c.held = append(c.held, messages...)
		return queue, true
	}
	return append(queue, batch{kind: batchMessages, sub: c.sub, messages: messages}), true
}

// holds reports whether events of a channel are to be held.
func (m *merger) holds(c *mergedChannel) bool {
	switch c.phase {
	case phaseFollowing, phaseProvisional, phaseUnconfirmed:
		return m.calls > 0
	}
	return true
}

// release queues what a channel has held, where nothing holds it any more.
func (m *merger) release(queue []batch, c *mergedChannel) []batch {
	if m.holds(c) || m.ended {
		return queue
	}
	if len(c.held) > 0 {
		provisional := c.phase == phaseProvisional || c.phase == phaseUnconfirmed
		queue = append(queue, batch{kind: batchMessages, sub: c.sub, messages: inOrder(c.held), provisional: provisional})
		c.held = nil
	}
	if c.phase == phaseUnconfirmed {
		c.phase = phaseFollowing
		queue = append(queue, batch{kind: batchConfirmed, sub: c.sub})
	}
	return queue
}

// inOrder sorts events that came on two connections by their replay ids.
func inOrder(messages []Message) []Message {
	return replayid.InOrder(messages, func(m *Message) []byte { return m.ReplayID })
}

// callBegan notes that a call is under way.
func (m *merger) callBegan() {
	m.calls++
	for _, c := range m.channels {
		if c.phase == phaseSubscribed { // by another call, which is still under way
			c.phase = phaseFollowing
		}
	}
}

// callEnded notes that the reply to a call has arrived, to its end. It reports whether events wait
// for the connect now: overtakeTime later, waitedLong is to be called.
func (m *merger) callEnded(queue []batch, now time.Time) (_ []batch, waiting bool) {
	if m.calls--; m.calls > 0 {
		return queue, false
	}
	for _, c := range m.channels {
		if c.cameWithCall && m.connecting {
			waiting = true
			m.holdFor(c, now.Add(overtakeTime))
		} else if c.phase == phaseSubscribed {
			c.phase = phaseFollowing
		}
		c.cameWithCall = false
		queue = m.release(queue, c)
	}
	return queue, waiting
}

// holdFor makes a channel wait for the connect that is under way. A channel that waits for it
// already has waited since then.
func (m *merger) holdFor(c *mergedChannel, until time.Time) {
	switch c.phase {
	case phaseSubscribed:
		c.phase, c.decideAt = phaseHeldNew, until
	case phaseFollowing:
		c.phase, c.decideAt = phaseHeld, until
	case phaseHeldNew:
		c.phase = phaseHeld
	case phaseProvisional, phaseUnconfirmed:
		c.phase, c.decideAt = phaseHeldAgain, until
	}
}

// waitedLong decides about events that have waited for a connect for overtakeTime: the server holds
// the connect, or its reply is slow, or lost. It reports whether a new session is needed, which
// brings all events in order.
func (m *merger) waitedLong(queue []batch, now time.Time) (_ []batch, reopen bool) {
	for _, c := range m.channels {
		switch {
		case c.decideAt.After(now):
		case c.phase == phaseHeld || c.phase == phaseHeldAgain:
			reopen = true
		case c.phase == phaseHeldNew:
			c.phase = phaseProvisional
			queue = m.release(queue, c)
		}
	}
	return queue, reopen && !m.ended
}

// connectBegan notes that a connect is under way.
func (m *merger) connectBegan(now time.Time) {
	m.connecting, m.connectAt = true, now
}

// connectEnded notes that the reply to a connect has arrived, to its end. It reports whether
// nothing came with it or beside it.
func (m *merger) connectEnded(queue []batch, now time.Time) (_ []batch, empty bool) {
	queue = m.parted(queue)
	if m.ended {
		return queue, false
	}
	empty = !m.arrived
	m.drain(empty)
	if m.connects <= 2 { // the server does not hold the first one, so that proves nothing
		queue = append(queue, batch{kind: batchAnswered, proves: m.connects == 2})
	}
	if m.connects > 1 && m.calls == 0 { // the reply to a call may still bring more
		queue = m.report(queue, now, empty)
	}
	m.arrived = false
	for _, c := range m.channels {
		c.arrived = false
	}
	return queue, empty
}

// parted is connectEnded for a connect that ended because the server has ended the session. The
// events that it brought count. That it brought none means nothing, because the server did not hold
// it until the end.
func (m *merger) parted(queue []batch) []batch {
	m.connects++
	m.connecting = false
	if m.ended {
		return queue // what the connect brought was ignored, and confirms nothing
	}
	for _, c := range m.channels {
		switch c.phase {
		case phaseHeldNew, phaseHeld:
			c.phase = phaseFollowing
		case phaseProvisional, phaseHeldAgain:
			c.phase = phaseUnconfirmed
		}
		if c.phase == phaseUnconfirmed && len(c.held) == 0 {
			c.phase = phaseFollowing
			queue = append(queue, batch{kind: batchConfirmed, sub: c.sub})
		}
		queue = m.release(queue, c)
	}
	return queue
}

// drain forgets channels of which no event can come any more.
func (m *merger) drain(empty bool) {
	for bare, c := range m.channels {
		if c.phase != phaseDraining {
			continue
		}
		if c.connectsLeft--; empty && c.connectsLeft <= 0 {
			delete(m.channels, bare)
		}
	}
}

// report says of channels, after a connect without a call beside it, that the server follows them,
// and which of them it has nothing more to send for. That a channel gets nothing while others do
// does not mean that nothing older is to come: the server may be seeking through a backlog. So a
// channel must have been caught up once, when nothing came at all.
func (m *merger) report(queue []batch, now time.Time, empty bool) []batch {
	followed := now.Sub(m.followedAt) >= settled
	if followed {
		m.followedAt = now
	}
	quiet := empty || now.Sub(m.quietAt) >= settled
	whole := empty && now.Sub(m.connectAt) >= longPolled
	for _, c := range m.channels {
		if !c.accepted() {
			continue
		}
		if followed {
			queue = append(queue, batch{kind: batchFollowed, sub: c.sub})
		}
		c.caughtUp = c.caughtUp || empty && len(c.held) == 0
		if quiet && c.caughtUp && !c.arrived && len(c.held) == 0 {
			queue = append(queue, batch{kind: batchQuiet, sub: c.sub, whole: whole})
			m.quietAt = now
		}
	}
	return queue
}

// end notes that the session has failed. Events that are held are not delivered: they come again,
// after those that may be missing before them.
func (m *merger) end(queue []batch) []batch {
	m.ended = true
	for _, c := range m.channels {
		if len(c.held) > 0 {
			first := inOrder(c.held)[0].ReplayID
			queue = append(queue, batch{kind: batchUndeliverable, sub: c.sub, latest: first})
		}
	}
	return queue
}
