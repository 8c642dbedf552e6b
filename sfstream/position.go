package sfstream

import (
	"bytes"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/replayid"
)

// This file knows where a channel begins and resumes, and which events are older than its start.

const (
	// believable is the age from which on the date of an event says nothing: Salesforce keeps
	// events for 72 hours and removes them some time after that (eventbus/PROTOCOL.md,
	// "Retention").
	believable = 73 * time.Hour

	// retentionMargin is taken off the retention where a position has aged out: a channel that was
	// followed until then has lost nothing, because Salesforce still keeps all that came since.
	retentionMargin = time.Hour

	// commitMargin is how far two clocks of Salesforce may differ: it dates change events and those
	// of PushTopics itself. createdMargin is the same for CreatedDate, which publishers write.
	commitMargin  = 10 * time.Minute
	createdMargin = time.Hour

	// newEffective is how long after a channel was set to "new" its next session still asks for
	// "new". A later session would miss what came meanwhile: it asks for all and skips what is
	// older. LATEST itself takes Salesforce some 3 s (eventbus/PROTOCOL.md, "Opening a stream").
	newEffective = 2 * time.Second
)

// retention is how long Salesforce keeps the events of a channel (bayeux/PROTOCOL.md, "Retention").
func retention(channel string) time.Duration {
	if strings.HasPrefix(channel, "/topic/") || strings.HasPrefix(channel, "/u/") {
		return 24 * time.Hour
	}
	return 72 * time.Hour
}

// A position is where a session of a channel begins.
type position struct {
	id     []byte  // strictly after this replay id; empty: at latest, or at the oldest retained event
	latest bool    // without id: only what comes from now on
	skip   skipper // which of the first events the session skips
}

// progress is how far a channel has come: the position of its next session, and what its present
// session has made of the position at which it began.
type progress struct {
	position   position
	before     position  // where position was before its last move
	event      *Message  // the event at position.id, while its date has not been read
	date       time.Time // the date of that event; zero: not known
	startedNew time.Time // when the channel was last set to "new", by the local clock; zero: it never was
	marked     []byte    // the last id that a marker will reach once all up to it is handled
	told       bool      // the log knows that the channel skips older events

	// Of the present session.
	resumed  bool     // it began after a replay id
	onlyNew  bool     // it brings only what is new, whatever the dates say
	skipping skipper  // what it still skips
	last     *Message // the last event that it has brought
}

// renew makes the position ready for a new session. newSince is Salesforce's time of startedNew,
// zero where that is not known. A later reading of Salesforce's clock may show that newSince was
// taken too late, and then nothing between must be skipped.
func (p *progress) renew(accepted bool, newSince time.Time) {
	if p.position.latest && accepted && time.Since(p.startedNew) > newEffective {
		p.leaveNew(newSince)
	}
	if skip := &p.position.skip; skip.atNew && (skip.before.IsZero() || newSince.Before(skip.before)) {
		skip.before = newSince
	}
}

// leaveNew makes "new" mean what comes after the moment at which the channel was set to it: a
// session that asks for "new" again would lose what has come since.
func (p *progress) leaveNew(newSince time.Time) {
	if p.position.latest {
		p.position = position{skip: skipper{before: newSince, atNew: true}}
	}
}

// begin notes that a session begins at the position.
func (p *progress) begin() {
	p.resumed, p.onlyNew, p.skipping, p.last = len(p.position.id) > 0, p.position.latest, p.position.skip, nil
}

// moveTo makes id, of an event unless that is nil, the id to resume after. An event without an id
// leaves the position as it is: the server sends the event again after a reconnect.
func (p *progress) moveTo(id []byte, event *Message) {
	if len(id) == 0 {
		return
	}
	if p.onlyNew {
		p.skipping = skipper{} // what comes after the event is new too
	}
	moved := !bytes.Equal(p.position.id, id)
	if moved {
		p.before = p.position
	}
	if moved || event != nil {
		p.event, p.date = event, time.Time{}
	}
	p.position = position{id: id, skip: p.skipping}
}

// positionDate is the date of the event at the position, zero where it is not known. It is read
// only when it is needed, because reading a date costs more than moving the position.
func (p *progress) positionDate() time.Time {
	if p.event != nil {
		p.date, p.event = p.event.Date(), nil
	}
	return p.date
}

// skips reports whether m is older than the start of the channel. first says that the log does not
// know yet that the channel skips events.
func (p *progress) skips(m *Message, now time.Time) (skips, first bool) {
	if p.onlyNew || !p.skipping.skips(m, now) {
		return false, false
	}
	first = !p.told
	p.told = true
	return true, first
}

// newFrom notes the id of the first event of a session that began at "new", where the position does
// not move to that event yet: it came before its turn, its group is open, or it could not be queued.
// A later session that brings the event again skips neither it nor what follows, whatever the dates
// say.
func (p *progress) newFrom(id []byte) {
	if skip := &p.position.skip; p.onlyNew && len(p.position.id) == 0 && len(skip.until) == 0 {
		skip.until = id
	}
}

// olderThan makes the next session skip what is dated before the event id, which is the first one
// that was received and the one at which the skipping ends. While the position has not moved to that
// event, the next session begins at the oldest retained event again; skipping by the start of the
// channel alone, with its margin, would let events through that are older than the event id.
func (p *progress) olderThan(id []byte, date time.Time) {
	skip := &p.position.skip
	if len(p.position.id) == 0 && !skip.before.IsZero() && bytes.Equal(skip.until, id) && date.After(skip.before) {
		*skip = skipper{before: date, exact: true, until: id}
	}
}

// stepBack takes the position back to before the last event, because another one has its id.
func (p *progress) stepBack(newSince time.Time) {
	if bytes.Equal(p.position.id, p.last.ReplayID) {
		p.position = p.before
	}
	if len(p.position.id) == 0 && p.position.skip.before.IsZero() && !p.startedNew.IsZero() {
		p.position.skip = skipper{before: newSince, atNew: true, until: p.last.ReplayID}
	}
}

// isBefore reports whether the position is before a decimal id, so that it may move on to it.
func (p *progress) isBefore(id []byte) bool {
	return len(p.position.id) == 0 || replayid.Compare(p.position.id, id) < 0
}

// marksTo reports whether a marker is to reach id, because id is after all that one will reach, and
// notes it.
func (p *progress) marksTo(id []byte) bool {
	if !replayid.Before(p.marked, id) {
		return false
	}
	p.marked = id
	return true
}

// A skipper skips events that are provably older than a moment. The zero value skips none.
type skipper struct {
	before time.Time
	exact  bool // the user has named the moment; else it is ours, and clocks differ
	atNew  bool // the moment is that at which the channel was set to "new"; before is zero until Salesforce's time of it is known

	// until is the id of an event that is new, and so is what follows it, whatever the dates say;
	// empty: none is known.
	until []byte
}

// reached ends the skipping at the event that it lasts until.
func (s *skipper) reached(id []byte) {
	if len(s.until) > 0 && bytes.Equal(id, s.until) {
		*s = skipper{}
	}
}

// skips reports whether an event is provably older than the moment. The first event that is
// provably not older ends the skipping: what follows it was published later, whatever its date
// says.
func (s *skipper) skips(m *Message, now time.Time) bool {
	if s.before.IsZero() {
		return false
	}
	if s.reached(m.ReplayID); s.before.IsZero() {
		return false
	}
	date := m.Date()
	if date.IsZero() || date.Before(now.Add(-believable)) {
		return false
	}
	official := m.codec.datedBySalesforce(m.payload)
	if date.After(now) && !official { // now may be slow: then Salesforce's date is right
		return false
	}
	margin := createdMargin
	switch {
	case s.exact:
		margin = 0
	case official:
		margin = commitMargin
	}
	if date.Before(s.before.Add(-margin)) {
		return true
	}
	*s = skipper{}
	return false
}
