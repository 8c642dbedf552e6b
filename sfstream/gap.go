package sfstream

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/replayid"
)

// belowTried is how many keepalives in a row may name a replay id before the newest one received.
const belowTried = 10

// errReset is why the events of a channel are not those after the position: Salesforce begins its
// replay ids anew when an org moves (eventbus/PROTOCOL.md and bayeux/PROTOCOL.md: "Replay ids",
// "Events").
var errReset = errors.New("replay ids have begun anew, as in a sandbox that was refreshed or updated, or an org that was moved")

// gapEvidence is what shows that a channel is missing events, or may be, though the server has
// refused nothing.
type gapEvidence struct {
	why      *ServerError // why events are missing, until the link has dealt with it; nil: none is known to be
	possible bool         // nobody can know whether events are missing
	below    int          // how many keepalives in a row have named an id before the newest one received
	before   *beforeGap   // of the last gap that was only possible; nil: there was none
}

// take returns why events are missing and forgets it.
func (g *gapEvidence) take() (why *ServerError, possible bool) {
	why, possible = g.why, g.possible
	g.why, g.possible = nil, false
	return why, possible
}

// miss notes why events are missing.
func (g *gapEvidence) miss(possible bool, cause error, format string, args ...any) {
	g.why, g.possible = &ServerError{Code: ReplayInvalid, Message: fmt.Sprintf(format, args...), err: cause}, possible
}

// missGroup notes that events which share a replay id are missing, though no id was refused.
func (g *gapEvidence) missGroup(id []byte) {
	g.miss(false, nil, "events of replay id %s are not retained any more", replayid.Text(id))
}

// wentBack reports whether m shows that replay ids have begun anew though the server accepted the
// position of p, and notes that events are missing. The replay id of m is then not after the
// position, but Salesforce has dated m later than the event there: an event that is sent again has
// the date that it had. Where a publisher has written the dates, or there is none, events are only
// possibly missing; over the Pub/Sub API they are not, because its server itself says that replay
// ids repeat (eventbus/PROTOCOL.md, "Replay ids"). In a session that began at the oldest retained
// event replay ids may go back without a gap.
func (g *gapEvidence) wentBack(m *Message, p *progress, streams bool) bool {
	id := p.position.id
	if !p.resumed || !replayid.Before(m.ReplayID, id) && !bytes.Equal(m.ReplayID, id) {
		return false
	}
	date, at, certain := m.Date(), p.positionDate(), m.codec.datedBySalesforce(m.payload)
	unknown := date.IsZero() || at.IsZero()
	if !unknown && !date.After(at) || !certain && !streams || unknown && certain {
		return false
	}
	g.miss(!certain, errReset, "an event of replay id %s has come after %s: %v", replayid.Text(m.ReplayID), replayid.Text(id), errReset)
	return true
}

// isBelow reports whether a keepalive names a replay id before the newest one received: replay ids
// may have begun anew, or the server is behind. Events are missing where the server has said that
// replay ids repeat, and possibly missing after belowTried such keepalives in a row, because no
// server is behind for so long.
func (g *gapEvidence) isBelow(latest, newest []byte, repeats bool) bool {
	if !replayid.Before(latest, newest) {
		if len(latest) > 0 {
			g.below = 0
		}
		return false
	}
	if repeats {
		g.miss(false, errReset, "the server repeats replay ids, and its newest one, %s, is before the position: %v", replayid.Text(latest), errReset)
		return true
	}
	if g.below++; g.below == belowTried {
		g.miss(true, errReset, "the server has said %d times in a row that its newest replay id precedes the position, as %s does: %v",
			belowTried, replayid.Text(latest), errReset)
	}
	return true
}

// isDoubtful reports whether the last keepalive was the first of its row to name an id before the
// newest one: that is to be told, and no more follows from it.
func (g *gapEvidence) isDoubtful() bool { return g.below == 1 && g.why == nil }

// errBelow is why events are possibly missing where a keepalive names an id before the position.
func errBelow(latest []byte) *ServerError {
	return &ServerError{Code: ReplayInvalid,
		Message: fmt.Sprintf("the server says that the newest replay id is %s, which is before the position: it is behind, or %v", replayid.Text(latest), errReset)}
}

// beforeGap is the position up to which all was received before a possible gap. The channel resumes
// at the oldest retained event then, and skips what it has.
type beforeGap struct {
	id   []byte
	date time.Time // of the event at id; zero: not known, and nothing is skipped
}

// has reports whether m was received before the gap. Replay ids may have begun anew, so the date
// that Salesforce has given the event must tell so, too. A nil beforeGap has nothing.
func (b *beforeGap) has(m *Message) bool {
	if b == nil || b.date.IsZero() || !replayid.IsDecimal(m.ReplayID) || replayid.Compare(m.ReplayID, b.id) > 0 || !m.codec.datedBySalesforce(m.payload) {
		return false
	}
	date := m.Date()
	return !date.IsZero() && !date.After(b.date)
}

// resume makes the next session begin where a verdict says, and tells of the gap.
func (ch *channel) resume(v verdict) {
	p := &ch.progress
	switch v.resume {
	case resumeAtGroup:
		ch.seekGroup()
	case resumeQuiet:
		ch.log.Info("replay id aged out on a quiet channel: resuming from when it was followed last",
			"channel", ch.sub.Name, "live", ch.lastMarker().Live)
		p.position = position{}
	case resumePossibleGap:
		ch.gap.before = &beforeGap{id: p.position.id, date: p.positionDate()}
		p.position = position{}
		ch.sub.Restart(ch.clock.Live(time.Now(), believable), ch.groups != nil)
		ch.tellGap(*v.gap, FallbackAll.String())
	case resumeOldest:
		p.position = position{}
		ch.sub.Restart(time.Time{}, ch.groups != nil)
		ch.forgetReceived()
		ch.tellGap(*v.gap, FallbackAll.String())
	case resumeServers:
		p.position = position{}
		ch.sub.Restart(ch.clock.Live(time.Now(), believable), ch.groups != nil)
		ch.tellGap(*v.gap, "where the managed subscription says")
	case resumeNew:
		p.position, p.startedNew, p.told = position{latest: true}, time.Now(), false
		ch.sub.Restart(ch.clock.Live(p.startedNew, 0), ch.groups != nil)
		ch.forgetReceived()
		ch.tellGap(*v.gap, FallbackNew.String())
	}
}

// seekGroup makes the next session seek the first open group from the oldest retained event on,
// because the position before it is not retained any more.
func (ch *channel) seekGroup() {
	g := ch.groups.seek()
	ch.progress.position = position{skip: skipper{before: g.date, until: g.id}}
	ch.log.Info("the position before events that share a replay id has aged out: seeking them from the oldest retained event",
		"channel", ch.sub.Name, "replay_id", replayid.Text(g.id), "date", g.date)
}

// forgetReceived forgets what was received before a gap, because replay ids may begin anew.
func (ch *channel) forgetReceived() {
	ch.duplicates.Forget()
	if ch.groups != nil {
		*ch.groups = groups{}
	}
}
