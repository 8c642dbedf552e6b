package sfstream

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream/internal/replayid"
)

// repeatsTried is how often a stream is opened again at a position at which the server
// says that replay ids repeat.
const repeatsTried = 3

// belowTried is how many keepalives in a row may name an id before the position.
const belowTried = 10

// firstPossibleGap is how long a second possible gap within the retention waits.
const firstPossibleGap = time.Minute

// fallBack decides what to do about a replay id that Salesforce refuses.
func (f *feed) fallBack(err error) (wait time.Duration, fatal error) {
	last := f.lastMarker()
	if len(f.position.id) == 0 {
		return 0, &ReplayError{Channel: f.sub.channel, Marker: last, err: err} // a fallback, refused too
	}
	switch {
	case f.seekGroup():
	case f.isRetained(last.Live):
		// The id is older than what is retained, but the channel was quiet: all
		// that came since is still there.
		f.client.log.Info("replay id aged out on a quiet channel: resuming from when it was followed last", "channel", f.sub.channel, "live", last.Live)
		f.position = position{}
	case f.isRetained(last.Followed):
		return f.possibleGap(last, err), nil
	default:
		return 0, f.gap(last, err)
	}
	return 0, nil
}

// isRetained reports whether all that came since a moment is retained.
func (f *feed) isRetained(since time.Time) bool {
	latest := f.client.clock.Latest()
	age := latest.Sub(since)
	return !since.IsZero() && !latest.IsZero() && age >= 0 && age < retention(f.sub.channel)-retentionMargin
}

// lastMarker is the position that was followed last.
func (f *feed) lastMarker() replaystore.Marker {
	last := f.client.delivery.marker(f.sub)
	if !bytes.Equal(last.ReplayID, f.position.id) {
		last = replaystore.Marker{ReplayID: f.position.id, Live: last.Live, Followed: last.Followed}
	}
	return last
}

// gap resumes where the policy says, or returns the error that it is.
func (f *feed) gap(last replaystore.Marker, err error) (fatal error) {
	switch f.client.cfg.fallback {
	case FallbackAll:
		f.position = position{}
		f.client.delivery.restart(f.sub, time.Time{}, f.groups != nil)
	case FallbackNew:
		f.position, f.startedNew, f.skipping = position{latest: true}, time.Now(), false
		f.client.delivery.restart(f.sub, f.client.clock.Live(f.startedNew, 0), f.groups != nil)
	default:
		return &ReplayError{Channel: f.sub.channel, Marker: last, err: err}
	}
	f.duplicates.Forget()
	if f.groups != nil {
		*f.groups = groups{}
	}
	f.tellGap(Gap{Channel: f.sub.channel, After: last, Reason: err}, f.client.cfg.fallback.String())
	return nil
}

func (f *feed) tellGap(g Gap, resume string) {
	f.status.gap()
	f.client.log.Warn("stored position refused, events may have been missed", "channel", g.Channel,
		"replay_id", replayid.Text(g.After.ReplayID), "resume", resume, "possible", g.Possible, "error", g.Reason)
	if hook := f.client.cfg.hooks.OnGap; hook != nil {
		hook(g)
	}
}

// possibleGap is for an id that aged out while the channel was followed over the
// Streaming API, by a server of which nobody knows whether it had nothing to send
// or was seeking. A client that was never away does not end for that: it resumes
// at the oldest retained event, and what it knows passes silently. A second one within
// the retention waits, as what is retained would be sent all the time.
func (f *feed) possibleGap(last replaystore.Marker, err error) (wait time.Duration) {
	now := time.Now()
	if now.Sub(f.possible) < retention(f.sub.channel) {
		wait = min(firstPossibleGap<<min(f.possibles, 10), longestWait)
		f.possibles++
	} else {
		f.possibles = 0
	}
	f.possible = now
	f.seen = &seen{id: f.position.id, date: f.positionDate()}
	f.position = position{}
	f.client.delivery.restart(f.sub, f.client.clock.Live(now, believable), f.groups != nil)
	f.tellGap(Gap{Channel: f.sub.channel, After: last, Reason: err, Possible: true}, FallbackAll.String())
	return wait
}

// positionDate is the date of the event that the position is at, zero where it is
// not known.
func (f *feed) positionDate() time.Time {
	if f.at != nil {
		f.atDate, f.at = f.at.Date(), nil
	}
	return f.atDate
}

// seen is the place up to which all was received before a possible gap.
type seen struct {
	id   []byte
	date time.Time
}

// has reports whether m is known to have been received: by its number, which may
// have begun anew, and by Salesforce's date. nil has nothing.
func (s *seen) has(m *Message) bool {
	if s == nil || s.date.IsZero() || !replayid.IsDecimal(m.ReplayID) || replayid.Compare(m.ReplayID, s.id) > 0 || !m.datedBySalesforce() {
		return false
	}
	date := m.Date()
	return !date.IsZero() && !date.After(s.date)
}

// errReset is why the events of a channel are not those after the position.
var errReset = errors.New("replay ids have begun anew, as in a sandbox that was refreshed or updated, or an org that was moved")

// wentBack notes that replay ids have begun anew, the old one being accepted all
// the same: an event whose id is not after the position, and which Salesforce has
// dated later. An event that is sent again is as old as it was. Where a publisher has
// written the date, or nobody, that is only possible; over the Pub/Sub API the server
// says so itself. From the oldest retained event on, ids may go back once: that is no
// gap.
func (f *feed) wentBack(m *Message) {
	if !f.resumed || !replayid.Before(m.ReplayID, f.position.id) && !bytes.Equal(m.ReplayID, f.position.id) {
		return
	}
	date, at, certain := m.Date(), f.positionDate(), m.datedBySalesforce()
	unknown := date.IsZero() || at.IsZero()
	if !unknown && !date.After(at) || !certain && !f.sub.polled || unknown && certain {
		return
	}
	f.missed, f.mayMiss = &ServerError{API: f.sub.key.API, Channel: f.sub.channel, Code: ReplayInvalid, err: errReset,
		Message: fmt.Sprintf("an event of replay id %s has come behind %s: %v", replayid.Text(m.ReplayID), replayid.Text(f.position.id), errReset)}, !certain
}

// dealWithMissed resumes where events that were missed are, or where the policy says;
// or it returns the error that ends the channel.
func (f *feed) dealWithMissed() (fatal error) {
	err := f.missed
	f.missed = nil
	if !f.mayMiss {
		return f.gap(f.lastMarker(), err)
	}
	f.mayMiss = false
	if wait := f.possibleGap(f.lastMarker(), err); wait > 0 {
		f.retryAt = time.Now().Add(wait)
		time.AfterFunc(wait, func() { notify(f.link.changed) }) // to a link that has ended it means nothing
	}
	return nil
}

// isBelow reports whether a keepalive names an id before the position, and tells of
// it once: ids may have begun anew, or a server is behind. They have where the server
// has said at this position that they repeat. No server is behind for so many keepalives
// in a row: then what it has may be what is missing.
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
	if len(f.repeated) > 0 && bytes.Equal(f.repeated, f.position.id) {
		f.missed = &ServerError{API: f.sub.key.API, Channel: f.sub.channel, Code: ReplayInvalid, err: errReset,
			Message: fmt.Sprintf("the server repeats replay ids, and its newest one, %s, is before the position: %v", replayid.Text(latest), errReset)}
		return true
	}
	switch f.below++; f.below {
	case belowTried:
		f.missed, f.mayMiss = &ServerError{API: f.sub.key.API, Channel: f.sub.channel, Code: ReplayInvalid, err: errReset,
			Message: fmt.Sprintf("the server has said %d times in a row that its newest replay id lies behind the position, as %s does: %v", belowTried, replayid.Text(latest), errReset)}, true
	case 1:
		f.tellGap(Gap{Channel: f.sub.channel, After: f.lastMarker(), Possible: true,
			Reason: &ServerError{API: f.sub.key.API, Channel: f.sub.channel, Code: ReplayInvalid,
				Message: fmt.Sprintf("the server says that the newest replay id is %s, which is before the position: it is behind, or %v", replayid.Text(latest), errReset)},
		}, "as before")
	}
	return true
}

// repeats reports whether the server, which says that replay ids repeat, has accepted
// an id that lies ahead of what it sends: a keepalive has named one before it, or it
// keeps saying so. Else a new stream may do.
func (f *feed) repeats(err error) bool {
	var server *ServerError
	if !errors.As(err, &server) || !strings.HasSuffix(server.Reason, "subscription.fetch.replay.repeated") || len(f.position.id) == 0 {
		return false
	}
	if !bytes.Equal(f.repeated, f.position.id) {
		f.repeated, f.repeatedly = f.position.id, 0
	}
	f.repeatedly++
	return f.below > 0 || f.repeatedly > repeatsTried
}
