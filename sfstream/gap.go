package sfstream

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream/internal/replayid"
)

// belowTried is how many keepalives in a row may name a replay id before the position.
const belowTried = 10

// lastMarker is the position as a marker: the channel has been received up to there.
func (f *feed) lastMarker() replaystore.Marker {
	last := f.sub.Marker()
	if !bytes.Equal(last.ReplayID, f.position.id) {
		last = replaystore.Marker{ReplayID: f.position.id, Live: last.Live, Followed: last.Followed}
	}
	return last
}

// resume makes the next session begin where a verdict says, and tells of the gap.
func (f *feed) resume(v verdict) {
	switch v.resume {
	case resumeAtGroup:
		f.seekGroup()
	case resumeQuiet:
		f.log.Info("replay id aged out on a quiet channel: resuming from when it was followed last",
			"channel", f.sub.Name, "live", f.lastMarker().Live)
		f.position = position{}
	case resumePossibleGap:
		f.seen = &seen{id: f.position.id, date: f.positionDate()}
		f.position = position{}
		f.sub.Restart(f.clock.Live(time.Now(), believable), f.groups != nil)
		f.tellGap(*v.gap, FallbackAll.String())
	case resumeOldest:
		f.position = position{}
		f.sub.Restart(time.Time{}, f.groups != nil)
		f.forgetReceived()
		f.tellGap(*v.gap, FallbackAll.String())
	case resumeNew:
		f.position, f.startedNew, f.skipping = position{latest: true}, time.Now(), false
		f.sub.Restart(f.clock.Live(f.startedNew, 0), f.groups != nil)
		f.forgetReceived()
		f.tellGap(*v.gap, FallbackNew.String())
	}
}

// forgetReceived forgets what was received before a gap: replay ids may begin anew.
func (f *feed) forgetReceived() {
	f.duplicates.Forget()
	if f.groups != nil {
		*f.groups = groups{}
	}
}

// tellGap counts a gap and tells the log and the hook of it, with where the channel resumes.
func (f *feed) tellGap(g Gap, resume string) {
	f.status.gap()
	f.log.Warn("stored position refused, events may have been missed", "channel", g.Channel,
		"replay_id", replayid.Text(g.After.ReplayID), "resume", resume, "possible", g.Possible, "error", g.Reason)
	if hook := f.cfg.hooks.OnGap; hook != nil {
		hook(g)
	}
}

// positionDate is the date of the event at the position, zero where it is not known.
func (f *feed) positionDate() time.Time {
	if f.at != nil {
		f.atDate, f.at = f.at.Date(), nil
	}
	return f.atDate
}

// A seen is the position up to which all was received before a possible gap.
type seen struct {
	id   []byte
	date time.Time
}

// has reports whether m was received before the gap. Replay ids may have begun anew, so the date
// that Salesforce has given the event must tell so, too. A nil seen has nothing.
func (s *seen) has(m *Message) bool {
	if s == nil || s.date.IsZero() || !replayid.IsDecimal(m.ReplayID) || replayid.Compare(m.ReplayID, s.id) > 0 || !m.codec.datedBySalesforce(m.payload) {
		return false
	}
	date := m.Date()
	return !date.IsZero() && !date.After(s.date)
}

// errReset is why the events of a channel are not those after the position.
var errReset = errors.New("replay ids have begun anew, as in a sandbox that was refreshed or updated, or an org that was moved")

// wentBack notes that events are missing where m shows that replay ids have begun anew though
// the server accepted the old id: the replay id of m is not after the position, but Salesforce has
// dated m later than the event there. An event that is sent again has the date that it had. Where
// a publisher has written the dates, or there is none, the events are only possibly missing; over
// the Pub/Sub API they are not, because its server itself says that replay ids repeat. In a session
// that began at the oldest retained event replay ids may go back without a gap.
func (f *feed) wentBack(m *Message) {
	if !f.resumed || !replayid.Before(m.ReplayID, f.position.id) && !bytes.Equal(m.ReplayID, f.position.id) {
		return
	}
	date, at, certain := m.Date(), f.positionDate(), m.codec.datedBySalesforce(m.payload)
	unknown := date.IsZero() || at.IsZero()
	if !unknown && !date.After(at) || !certain && !f.streams() || unknown && certain {
		return
	}
	f.missed, f.mayMiss = &ServerError{API: f.sub.Key.API, Channel: f.sub.Name, Code: ReplayInvalid, err: errReset,
		Message: fmt.Sprintf("an event of replay id %s has come behind %s: %v", replayid.Text(m.ReplayID), replayid.Text(f.position.id), errReset)}, !certain
}

// isBelow reports whether a keepalive names a replay id before the position: replay ids may have
// begun anew, or the server is behind. The first such keepalive is told as a possible gap. Events
// are missing where the server has said at this position that replay ids repeat, and possibly
// missing after belowTried such keepalives in a row, because no server is behind for so long.
func (f *feed) isBelow(latest []byte) bool {
	newest := f.position.id
	if f.groups != nil && f.groups.cursor != nil {
		newest = f.groups.cursor.id
	}
	if !replayid.Before(latest, newest) {
		if len(latest) > 0 {
			f.below = 0
		}
		return false
	}
	if at := f.history.repeated; len(at) > 0 && bytes.Equal(at, f.position.id) {
		f.missed = &ServerError{API: f.sub.Key.API, Channel: f.sub.Name, Code: ReplayInvalid, err: errReset,
			Message: fmt.Sprintf("the server repeats replay ids, and its newest one, %s, is before the position: %v", replayid.Text(latest), errReset)}
		return true
	}
	switch f.below++; f.below {
	case belowTried:
		f.missed, f.mayMiss = &ServerError{API: f.sub.Key.API, Channel: f.sub.Name, Code: ReplayInvalid, err: errReset,
			Message: fmt.Sprintf("the server has said %d times in a row that its newest replay id lies behind the position, as %s does: %v", belowTried, replayid.Text(latest), errReset)}, true
	case 1:
		f.tellGap(Gap{Channel: f.sub.Name, After: f.lastMarker(), Possible: true,
			Reason: &ServerError{API: f.sub.Key.API, Channel: f.sub.Name, Code: ReplayInvalid,
				Message: fmt.Sprintf("the server says that the newest replay id is %s, which is before the position: it is behind, or %v", replayid.Text(latest), errReset)},
		}, "as before")
	}
	return true
}
