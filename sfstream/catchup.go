package sfstream

import (
	"bytes"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/inbox"
	"github.com/sfstream/sfstream-go/sfstream/internal/replayid"
)

// proofEvery is how often an event is looked at for a proof that the session has caught up: reading
// a date costs more than receiving an event.
const proofEvery = time.Minute

// catchUp is what shows that the present session of a channel has caught up with what is published.
// Over the Pub/Sub API a keepalive shows it. Over the Streaming API a server that sends nothing may
// be looking for the position in a backlog, for hours (bayeux/PROTOCOL.md, "Seeking"): a session
// has caught up only if it began at "new" or has brought an event of now.
type catchUp struct {
	began  time.Time // when the session was asked for, by the local clock
	proven bool      // the session has caught up; only asked for over the Streaming API
	at     time.Time // Salesforce's time of the last proof by an event, in this session or an earlier one
}

// begin notes that a session begins, at "new" or elsewhere.
func (c *catchUp) begin(onlyNew bool) { c.began, c.proven = time.Now(), onlyNew }

// end notes that the session has ended. It reports whether the session had caught up.
func (c *catchUp) end() (proven bool) {
	proven, c.proven = c.proven, false
	return proven
}

// due reports whether the next event is worth a look at its date.
func (c *catchUp) due(now time.Time) bool { return now.Sub(c.at) >= proofEvery }

// proves takes the date of an event, zero where there is none, and reports whether it proves at a
// time of Salesforce's that the session has caught up.
func (c *catchUp) proves(date, now time.Time) bool {
	if date.IsZero() || now.Sub(date) > commitMargin {
		return false
	}
	c.proven, c.at = true, now
	return true
}

// evidence is what an answer of the server proves at a time of Salesforce's, zero where that is not
// known.
func (c *catchUp) evidence(streams bool, now time.Time) inbox.Evidence {
	switch {
	case !streams:
		return inbox.Evidence{Live: now}
	case c.proven:
		return inbox.Evidence{Live: now, Followed: now}
	}
	return inbox.Evidence{Followed: now}
}

// provisional is what a session has brought before its turn: of two replies over the Streaming API
// the one that was written first may arrive last (bayeux/PROTOCOL.md, "Two connections"), so events
// that belong before these may be still to come. The position does not move to them until the
// session shows that nothing is missing before them. If it ends before that, they come again.
type provisional struct {
	id   []byte   // of the last event; empty: there is none
	last *Message // that event; nil: a marker must not reach it
	base []byte   // the position before the first event
}

// add notes an event that came before its turn, at a position. placed says that a marker may reach
// it.
func (p *provisional) add(m *Message, placed bool, position []byte) {
	if len(p.id) == 0 {
		p.base = position
	}
	p.id, p.last = m.ReplayID, nil
	if placed {
		p.last = m
	}
}

// isBeyond reports whether the last event is to move the position: the position is where it was
// before the first event, or before the last one.
func (p *provisional) isBeyond(position []byte) bool {
	return len(p.id) > 0 && (bytes.Equal(position, p.base) || replayid.Compare(position, p.id) < 0)
}

// isBefore reports whether the last event lies before the position: the server sends old events
// again.
func (p *provisional) isBefore(position []byte) bool {
	return len(p.id) > 0 && len(position) > 0 && replayid.Compare(p.id, position) < 0
}
