package sfstream

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream/internal/inbox"
	"github.com/sfstream/sfstream-go/sfstream/internal/recent"
	"github.com/sfstream/sfstream-go/sfstream/internal/replayid"
)

// A group is several change events with one replay id: Salesforce sends one event per
// record of a transaction where a channel has enriched fields or filters. Who resumes
// at that id gets none of them, and where a stream or a reply ends inside a group, nothing
// says so. Hence position, watermark and marker reach an id only when its group is
// known to be whole; until then the place is the one before it, and what is received
// or handled of the group is remembered by identity.

// vainSessions is how many sessions in a row may bring only known events of a group
// without a warning.
const vainSessions = 3

// mayHaveGroups reports whether a channel can have enriched fields or filters.
func mayHaveGroups(channel string) bool {
	return strings.HasPrefix(channel, "/data/") && (channel == "/data/ChangeEvents" || strings.HasSuffix(channel, "__chn"))
}

// group is one that is not known to be whole.
type group struct {
	id          []byte
	date        time.Time
	from        []byte           // the position before it when it was opened
	known       inbox.Identities // what was received of it
	first       *Message         // of which date is not read yet; nil: it is
	last        int              // index of its last message in the batch at hand; -1: there is none
	old         bool             // the last one that was not known is older than the wanted start
	stored      bool             // a marker has named events of it
	provisional bool             // it has only come before its turn: others may be before it

	news bool // this session has brought an event of it that was not known
	vain int  // sessions in a row that have brought only known ones
}

// groups is what a link knows of the groups of a channel. A session brings them in
// order, each whole: it resumes before the first open one. So a group is whole when
// the session that has brought an event of it brings one of another, or shows that
// there is no more.
type groups struct {
	open        []*group // in the order in which they came first
	cursor      *group   // the group of this session's last event; nil: none that is open
	begun       bool     // this session has brought an event
	from        []byte   // this session has resumed at this id; empty: at none
	provisional []*group // open ones that this session has brought before their turn
	echoes      int      // keepalives in a row that named the cursor's id

	spare *group // one that is not used any more

	// awaited is the group before which a session has to bring nothing that is newer:
	// the id before it is not retained any more.
	awaited *group
}

// begin is the beginning of a session.
func (gs *groups) begin(from []byte) {
	gs.cursor, gs.begun, gs.from, gs.provisional, gs.echoes = nil, false, from, nil, 0
}

// find returns the open group of a replay id, nil where there is none.
func (gs *groups) find(id []byte) *group {
	if gs.cursor != nil && bytes.Equal(gs.cursor.id, id) {
		return gs.cursor
	}
	for _, g := range gs.open {
		if bytes.Equal(g.id, id) {
			return g
		}
	}
	return nil
}

// moveTo makes g, which is open, the group of the session's last event. It returns
// the one that is whole by that, nil for none.
func (gs *groups) moveTo(g *group) (whole *group) {
	switch {
	case g == gs.cursor:
	case gs.cursor != nil && replayid.Before(g.id, gs.cursor.id): // an old one, that is sent again: no evidence
	case gs.cursor != nil:
		whole = gs.cursor
		gs.remove(whole)
	case !gs.begun && len(gs.from) > 0:
		// What was received of those behind the same id is all there is: they are not here any more.
		// A session that has begun before them says nothing of them.
		for len(gs.open) > 0 && bytes.Equal(gs.open[0].from, gs.from) && replayid.Before(gs.open[0].id, g.id) && !slices.Contains(gs.provisional, gs.open[0]) {
			whole = gs.open[0]
			gs.remove(whole)
		}
	}
	gs.cursor, gs.begun, gs.echoes = g, true, 0
	return whole
}

// remove forgets a group that is whole, also where it came early: it may become
// another one.
func (gs *groups) remove(g *group) {
	is := func(other *group) bool { return other == g }
	gs.open, gs.provisional = slices.DeleteFunc(gs.open, is), slices.DeleteFunc(gs.provisional, is)
}

// quiet takes in that the server has had nothing more to send, with the id that it
// named. It reports whether all that is open is whole by that.
func (gs *groups) quiet(evidence bool, latest []byte) bool {
	if !evidence || gs.cursor == nil {
		return false
	}
	if replayid.Before(latest, gs.cursor.id) {
		return false // of a server that has not come so far
	}
	if bytes.Equal(latest, gs.cursor.id) {
		// It may name the event that it is in the middle of.
		if gs.echoes++; gs.echoes < 2 {
			return false
		}
	}
	return true
}

// grouped is deliver for one message of a channel that has groups. It reports
// whether the message had not come before.
func (f *feed) grouped(slab *slab, i int, m *Message, provisional bool, now time.Time) (news bool) {
	gs := f.groups
	if len(m.ReplayID) == 0 {
		return f.single(slab, i, m, provisional, now)
	}
	identity := m.identity()
	slab.Identify(i, identity)
	event := recent.Event{ReplayID: m.ReplayID, ID: m.ID, Identity: identity}
	g := gs.find(m.ReplayID)
	if g == nil {
		if f.duplicates.Seen(event) {
			slab.Duplicate(i) // of a group that was whole: it is no evidence for another one
			return false
		}
		if f.wentBack(m); f.missed != nil {
			return false
		}
		g = f.opened(m)
	}
	g.provisional = provisional && (g.provisional || g.known.Len() == 0)
	if provisional {
		if n := len(gs.provisional); n == 0 || gs.provisional[n-1] != g {
			gs.provisional = append(gs.provisional, g)
		}
	} else {
		if !gs.begun && !replayid.Before(f.position.id, g.id) {
			gs.from = nil // an old one, that is sent again: the open ones are still to come
		}
		if whole := gs.moveTo(g); whole != nil {
			f.closed(whole, slab)
			gs.spare = whole
			if g.known.Len() == 0 {
				g.from = f.position.id // it has just been opened: the place before it is behind the group that is whole now
			}
		}
	}
	g.last = i
	if gs.awaited == g {
		gs.awaited = nil
	}
	if !g.known.Add(identity) || f.duplicates.Seen(event) {
		if slab.Repeat(i); g.old {
			slab.Duplicate(i) // it was not handled but skipped
		}
		if g.stored && !f.duplicates.Seen(event) {
			f.duplicates.Remember(event) // so that it is known when g is closed
		}
		f.skip.reached(m.ReplayID)
		f.status.resent()
		return false
	}
	g.news, g.vain = true, 0
	f.crowded(g)
	f.duplicates.Remember(event)
	seen := f.seen.has(m)
	g.old = !seen && f.skips(m, now)
	if seen || g.old {
		slab.Skip(i)
	} else if gs.awaited != nil && m.Date().After(gs.awaited.date) {
		f.missed = errGroupLost(f.sub.Name, f.sub.Key.API, gs.awaited)
	}
	return true
}

// opened begins the group of a message.
func (f *feed) opened(m *Message) *group {
	gs := f.groups
	g := gs.spare
	if gs.spare = nil; g == nil {
		g = new(group)
	}
	known := g.known
	known.Clear()
	*g = group{id: m.ReplayID, from: f.position.id, first: m, last: -1, known: known}
	if len(gs.open) == 0 {
		f.isNewFrom(g.id)
	}
	gs.open = append(gs.open, g)
	return g
}

// groupIsNew lets the skipping of what is older than the start go on until the first
// group, which is open yet: all that is dated before it is older. A date after it
// ends the skipping.
func (f *feed) groupIsNew() {
	skip := &f.position.skip
	if f.groups == nil || len(f.groups.open) == 0 || len(f.position.id) > 0 || skip.before.IsZero() {
		return
	}
	if g := f.groups.open[0]; !g.provisional && bytes.Equal(skip.until, g.id) && g.date.After(skip.before) && f.groups.awaited == nil {
		*skip = skipper{before: g.date, exact: true, until: g.id}
	}
}

// crowded tells the credit of the group that a stream is in, and warns of one that no
// marker can hold.
func (f *feed) crowded(g *group) {
	switch g.known.Len() {
	case 2:
		f.sub.SetInGroup(true)
	case replaystore.MaxHandled + 1:
		f.log.Warn("more events share one replay id than a marker can name: after a restart some may come again",
			"channel", f.sub.Name, "replay_id", replayid.Text(g.id), "named", replaystore.MaxHandled)
	}
}

// closed moves the position behind a group that is whole, and lets the watermark
// follow when all of it is handled.
func (f *feed) closed(g *group, slab *slab) {
	f.moveTo(g.id, nil)
	f.at, f.atDate = g.first, g.date
	if g.known.Len() > 1 {
		f.sub.SetInGroup(false)
	}
	switch {
	case g.old: // a restart is to skip it again
	case g.last < 0:
		f.sub.Reach(g.id, g.date)
	default:
		slab.Place(g.last)
	}
}

// delivered is the end of a batch. The date of a group is read only here: most do not
// live so long.
func (gs *groups) delivered() {
	for _, g := range gs.open {
		if g.last = -1; g.first != nil {
			g.date, g.first = g.first.Date(), nil
		}
	}
}

// closeAll takes in that there is nothing more of what is open.
func (f *feed) closeAll() {
	gs := f.groups
	g := gs.cursor
	gs.open, gs.cursor, gs.provisional, gs.echoes = nil, nil, nil, 0
	f.closed(g, nil)
}

// confirmGroups takes in that nothing is missing before the provisional groups.
func (f *feed) confirmGroups() {
	gs := f.groups
	provisional := gs.provisional
	gs.provisional = nil
	for _, g := range provisional {
		g.last, g.provisional = -1, false
		whole := g
		if gs.cursor != nil && replayid.Compare(gs.cursor.id, g.id) > 0 {
			gs.remove(g) // another one has come behind it
		} else {
			whole = gs.moveTo(g)
		}
		if whole != nil && (len(f.position.id) == 0 || replayid.Compare(f.position.id, whole.id) < 0) {
			f.closed(whole, nil)
		}
	}
}

// endGroups is the end of a session: what it had begun begins again.
func (f *feed) endGroups() {
	gs := f.groups
	for _, g := range gs.open {
		if g == gs.cursor && !g.news {
			if g.vain++; g.vain == vainSessions {
				f.log.Warn("the server ends each session inside the events of one replay id, and sends them again each time",
					"channel", f.sub.Name, "replay_id", replayid.Text(g.id), "events", g.known.Len(), "resent", f.status.resentCount())
			}
		}
		g.news = false
	}
	gs.begin(nil)
}

// sharesID reports whether m is another event than the last one and has its id, on
// a channel that is not known to have groups.
func (f *feed) sharesID(m *Message) bool {
	last := f.last
	return last != nil && len(m.ReplayID) > 0 && bytes.Equal(last.ReplayID, m.ReplayID) && last.identity() != m.identity()
}

// startGroups makes the channel one that has groups: the message behind the first ones of a slab
// shows that, by the id of the last one before it. The position goes back to before that id.
func (f *feed) startGroups(slab *slab, first []Message) {
	last := f.last
	f.log.Warn("several events have one replay id on a channel of which that was not known: "+
		"where a connection has ended between two of them, the second one may be missing", "channel", f.sub.Name, "replay_id", replayid.Text(last.ReplayID))
	if bytes.Equal(f.position.id, last.ReplayID) {
		f.position = f.before
	}
	if len(f.position.id) == 0 && f.position.skip.before.IsZero() && !f.startedNew.IsZero() {
		f.position.skip = f.skipOld()
		f.position.skip.until = last.ReplayID
	}
	if !slab.Unplace(last.slot) && len(f.position.id) > 0 {
		f.sub.Reach(f.position.id, time.Time{}) // what was queued before goes back, too
	}
	for i := range first {
		slab.Identify(i, first[i].identity())
	}
	f.groups = new(groups)
	g := f.opened(last)
	g.known.Add(last.identity())
	f.groups.moveTo(g)
}

// tellApart is what tells m apart from another event that has its replay id and ID
// since replay ids began anew. Most IDs do that; events that have none have at
// least a date of Salesforce's.
func (m *Message) tellApart() uint64 {
	switch {
	case !m.codec.isJSON() || m.ID != "":
		return 0
	case m.isChange():
		return m.identity()
	}
	return hash(hashStart, []byte(m.codec.createdDate(m.payload)))
}

// restoreGroup takes in what a stored marker knows of the group behind it.
func (f *feed) restoreGroup(stored replaystore.Group) {
	if len(stored.Handled) == 0 {
		return
	}
	if f.groups == nil {
		f.groups = new(groups)
	}
	g := &group{id: stored.ReplayID, date: stored.Date, from: f.position.id, last: -1, stored: true}
	for _, identity := range stored.Handled {
		g.known.Add(identity)
	}
	f.groups.open = []*group{g}
	if len(f.position.id) == 0 {
		f.position.skip.until = g.id
	}
}

// canSeek reports whether there is an open group that may be retained where the position
// before it is not, and that is not sought yet.
func (gs *groups) canSeek() bool { return gs != nil && len(gs.open) > 0 && gs.awaited == nil }

// seekGroup makes the next session seek the first open group, because the position before
// it is not retained any more.
func (f *feed) seekGroup() {
	g := f.groups.open[0]
	f.groups.awaited = g
	f.position = position{skip: skipper{before: g.date, until: g.id}}
	f.log.Info("the position before events that share a replay id has aged out: seeking them from the oldest retained event",
		"channel", f.sub.Name, "replay_id", replayid.Text(g.id), "date", g.date)
}

// errGroupLost is why events are missing though no id was refused.
func errGroupLost(channel, api string, g *group) error {
	return &ServerError{API: api, Channel: channel, Code: ReplayInvalid,
		Message: fmt.Sprintf("events of replay id %s are not retained any more", replayid.Text(g.id))}
}
