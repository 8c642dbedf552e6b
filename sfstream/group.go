package sfstream

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
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

// identities is a set of events of a group, in the order in which they came.
type identities struct {
	list  []uint64
	index map[uint64]struct{} // of a long list
}

// longList is where an index is quicker than a look at the list.
const longList = 16

func (s *identities) has(id uint64) bool {
	if s.index != nil {
		_, ok := s.index[id]
		return ok
	}
	return slices.Contains(s.list, id)
}

// add reports whether id is new.
func (s *identities) add(id uint64) bool {
	if s.has(id) {
		return false
	}
	s.list = append(s.list, id)
	if s.index != nil {
		s.index[id] = struct{}{}
	} else if len(s.list) > longList {
		s.index = make(map[uint64]struct{}, 2*len(s.list))
		for _, id := range s.list {
			s.index[id] = struct{}{}
		}
	}
	return true
}

// group is one that is not known to be whole.
type group struct {
	id          []byte
	date        time.Time
	from        []byte     // the position before it when it was opened
	known       identities // what was received of it
	first       *Message   // of which date is not read yet; nil: it is
	last        int        // index of its last message in the batch at hand; -1: there is none
	old         bool       // the last one that was not known is older than the wanted start
	stored      bool       // a marker has named events of it
	provisional bool       // it has only come before its turn: others may be before it

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
func (f *feed) grouped(messages []Message, i int, provisional bool, now time.Time) (news bool) {
	gs, m := f.groups, &messages[i]
	if len(m.ReplayID) == 0 {
		return f.single(m, provisional, now)
	}
	identity := m.identity()
	f.identities[i] = identity
	event := recent.Event{ReplayID: m.ReplayID, ID: m.ID, Identity: identity}
	g := gs.find(m.ReplayID)
	if g == nil {
		if f.duplicates.Seen(event) {
			m.fate = fateDuplicate // of a group that was whole: it is no evidence for another one
			return false
		}
		if f.wentBack(m); f.missed != nil {
			return false
		}
		g = f.opened(m)
	}
	g.provisional = provisional && (g.provisional || len(g.known.list) == 0)
	if provisional {
		if n := len(gs.provisional); n == 0 || gs.provisional[n-1] != g {
			gs.provisional = append(gs.provisional, g)
		}
	} else {
		if !gs.begun && !replayid.Before(f.position.id, g.id) {
			gs.from = nil // an old one, that is sent again: the open ones are still to come
		}
		if whole := gs.moveTo(g); whole != nil {
			f.closed(whole, messages)
			gs.spare = whole
			if len(g.known.list) == 0 {
				g.from = f.position.id // it has just been opened: the place before it is behind the group that is whole now
			}
		}
	}
	g.last = i
	if gs.awaited == g {
		gs.awaited = nil
	}
	if !g.known.add(identity) || f.duplicates.Seen(event) {
		if m.fate = fateAgain; g.old {
			m.fate = fateDuplicate // it was not handled but skipped
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
		m.fate = fateSkip
	} else if gs.awaited != nil && m.Date().After(gs.awaited.date) {
		f.missed = errGroupLost(f.sub.channel, f.sub.key.API, gs.awaited)
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
	*g = group{id: m.ReplayID, from: f.position.id, first: m, last: -1, known: identities{list: g.known.list[:0]}}
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

// crowded tells delivery of the group that a stream is in, and warns of one that no
// marker can hold.
func (f *feed) crowded(g *group) {
	switch len(g.known.list) {
	case 2:
		f.sub.inGroup(true)
	case replaystore.MaxHandled + 1:
		f.client.log.Warn("more events share one replay id than a marker can name: after a restart some may come again",
			"channel", f.sub.channel, "replay_id", replayid.Text(g.id), "named", replaystore.MaxHandled)
	}
}

// closed moves the position behind a group that is whole, and lets the watermark
// follow when all of it is handled.
func (f *feed) closed(g *group, messages []Message) {
	f.moveTo(g.id, nil)
	f.at, f.atDate = g.first, g.date
	if len(g.known.list) > 1 {
		f.sub.inGroup(false)
	}
	switch {
	case g.old: // a restart is to skip it again
	case g.last < 0:
		f.client.delivery.reach(f.sub, g.id, g.date)
	default:
		messages[g.last].placed = true
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
				f.client.log.Warn("the server ends each session inside the events of one replay id, and sends them again each time",
					"channel", f.sub.channel, "replay_id", replayid.Text(g.id), "events", len(g.known.list), "resent", f.status.resentCount())
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

// startGroups makes the channel one that has groups: the message at an index shows
// that, by the id of the last one before it. The position goes back to before that id.
func (f *feed) startGroups(messages []Message, i int) {
	last := f.last
	f.client.log.Warn("several events have one replay id on a channel of which that was not known: "+
		"where a connection has ended between two of them, the second one may be missing", "channel", f.sub.channel, "replay_id", replayid.Text(last.ReplayID))
	if bytes.Equal(f.position.id, last.ReplayID) {
		f.position = f.before
	}
	if len(f.position.id) == 0 && f.position.skip.before.IsZero() && !f.startedNew.IsZero() {
		f.position.skip = f.skipOld()
		f.position.skip.until = last.ReplayID
	}
	if last.run != nil && len(f.position.id) > 0 {
		f.client.delivery.reach(f.sub, f.position.id, time.Time{}) // what was received before goes back, too
	}
	last.placed = false
	f.identities = make([]uint64, len(messages))
	for j := range messages[:i] {
		f.identities[j] = messages[j].identity()
	}
	f.groups = new(groups)
	g := f.opened(last)
	g.known.add(last.identity())
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
func (f *feed) restoreGroup(stored *handledGroup) {
	if stored.size() == 0 {
		return
	}
	if f.groups == nil {
		f.groups = new(groups)
	}
	g := &group{id: stored.id, date: stored.date, from: f.position.id, last: -1, stored: true}
	for _, identity := range stored.events.list {
		g.known.add(identity)
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
	f.client.log.Info("the position before events that share a replay id has aged out: seeking them from the oldest retained event",
		"channel", f.sub.channel, "replay_id", replayid.Text(g.id), "date", g.date)
}

// errGroupLost is why events are missing though no id was refused.
func errGroupLost(channel, api string, g *group) error {
	return &ServerError{API: api, Channel: channel, Code: ReplayInvalid,
		Message: fmt.Sprintf("events of replay id %s are not retained any more", replayid.Text(g.id))}
}

// handledGroup is what is handled of the group behind a mark. It grows under
// delivery.mu.
type handledGroup struct {
	id     []byte
	date   time.Time
	events identities // the first ones, as many as a marker holds
}

func (g *handledGroup) size() int {
	if g == nil {
		return 0
	}
	return len(g.events.list)
}

// same reports whether two say the same; of one group the larger one says more.
func (g *handledGroup) same(other *handledGroup) bool {
	return g.size() == other.size() && (g.size() == 0 || bytes.Equal(g.id, other.id))
}

// snapshot is what g says now.
func (g *handledGroup) snapshot() *handledGroup {
	if g == nil {
		return nil
	}
	n := len(g.events.list)
	return &handledGroup{id: g.id, date: g.date, events: identities{list: g.events.list[:n:n]}}
}

// marker is a copy for a store.
func (g *handledGroup) marker() replaystore.Group {
	if g.size() == 0 {
		return replaystore.Group{}
	}
	return replaystore.Group{ReplayID: bytes.Clone(g.id), Date: g.date, Handled: g.events.list}
}

// handle takes in that an event of a group behind the mark is handled. Of another
// group than the first one nothing is kept: it came before its turn, and comes again.
func (m *mark) handle(msg *Message, identity uint64) {
	if m.group == nil {
		m.group = &handledGroup{id: bytes.Clone(msg.ReplayID)}
		if !msg.early { // else its date says nothing of what is before it
			m.group.date = msg.Date()
		}
	}
	if bytes.Equal(m.group.id, msg.ReplayID) && m.group.size() < replaystore.MaxHandled {
		m.group.events.add(identity)
	}
}

// join adds what a later mark without a place knows of the group.
func (m *mark) join(later *handledGroup) {
	switch {
	case later == nil:
	case m.group == nil:
		m.group = later
	case bytes.Equal(m.group.id, later.id):
		for _, identity := range later.events.list {
			if m.group.size() < replaystore.MaxHandled {
				m.group.events.add(identity)
			}
		}
	}
}

// reach notes that a channel has come to an id, behind what was received so far.
func (d *delivery) reach(sub *subscription, id []byte, date time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !sub.removed {
		sub.watermark.pushLocked(&run{sub: sub, end: mark{id: id, date: date}, live: sub.live, followed: sub.followed})
	}
}
