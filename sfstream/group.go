package sfstream

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream/internal/inbox"
	"github.com/sfstream/sfstream-go/sfstream/internal/replayid"
)

// vainSessions is how many sessions in a row may bring only known events of a group before the log
// warns.
const vainSessions = 3

// mayHaveGroups reports whether a channel can have enriched fields or filters.
func mayHaveGroups(channel string) bool {
	return strings.HasPrefix(channel, "/data/") && (channel == "/data/ChangeEvents" || strings.HasSuffix(channel, "__chn"))
}

// A group is several change events that share a replay id: where a channel has enriched fields or
// filters, Salesforce sends one event per record of a transaction (eventbus/PROTOCOL.md, "Enriched
// and filtered channels"). A session that resumes at that id gets none of them, and where a stream
// or a reply ends inside a group, nothing says so. Hence position, watermark and marker reach an id
// only when its group is known to be whole. Until then the group is open: the position is the id
// before it, and what was received or handled of it is remembered by identity.
type group struct {
	id          []byte
	from        []byte           // the position when the group was opened: the id before it
	known       inbox.Identities // the events that were received
	stored      bool             // known has events of a stored marker
	old         bool             // its last event that was new to us was older than the start of the channel
	provisional bool             // it has only come before its turn: other groups may belong before it
	last        int              // the index of its last event in the present batch; -1: there is none

	// date is that of the first event. It is read at the end of a batch, because most groups are
	// whole before that; until then first is the event.
	date  time.Time
	first *Message

	news bool // the present session has brought a new event
	vain int  // how many sessions in a row have brought only known events
}

// groups are the open groups of a channel. It knows of events only what it is told: replay id and
// identity. A session brings groups in order, each whole, and it begins before the first open one.
// So a group is whole when the session that has brought one of its events brings one of another
// group, or shows that there is no more.
type groups struct {
	open []*group // in the order in which they came first

	// awaited is the group before which a session must bring nothing newer, because the id before
	// it is not retained any more; nil: there is none.
	awaited *group

	// Of the present session.
	cursor      *group   // the group of the last event; nil: it is not open
	begun       bool     // an event has come
	resumedAt   []byte   // the session began after this id; empty: after none
	provisional []*group // open groups that have come before their turn
	echoes      int      // how many keepalives in a row have named the id of cursor

	spare *group // a group that is not used any more, for its memory
}

// restore opens the group that a stored marker names, after a position.
func (gs *groups) restore(stored replaystore.Group, position []byte) {
	g := &group{id: stored.ReplayID, date: stored.Date, from: position, last: -1, stored: true}
	for _, identity := range stored.Handled {
		g.known.Add(identity)
	}
	gs.open = []*group{g}
}

// begin notes that a session begins, after an id if it is not empty.
func (gs *groups) begin(resumedAt []byte) {
	gs.cursor, gs.begun, gs.resumedAt, gs.provisional, gs.echoes = nil, false, resumedAt, nil, 0
}

// end notes that the session has ended: the next one sends what it has begun again. It returns the
// group that vainSessions have now ended in without anything new, nil for none.
func (gs *groups) end() (vain *group) {
	for _, g := range gs.open {
		if g == gs.cursor && !g.news {
			if g.vain++; g.vain == vainSessions {
				vain = g
			}
		}
		g.news = false
	}
	gs.begin(nil)
	return vain
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

// add opens the group of an event, after a position.
func (gs *groups) add(id []byte, first *Message, position []byte) *group {
	g := gs.spare
	if gs.spare = nil; g == nil {
		g = new(group)
	}
	known := g.known
	known.Clear()
	*g = group{id: id, from: position, first: first, last: -1, known: known}
	gs.open = append(gs.open, g)
	return g
}

// enter notes that the session brings an event of g, which is open, at a position. It returns the
// group that is whole by that, nil for none.
func (gs *groups) enter(g *group, provisional bool, position []byte) (whole *group) {
	isNew := g.known.Len() == 0
	g.provisional = provisional && (g.provisional || isNew)
	if provisional {
		if n := len(gs.provisional); n == 0 || gs.provisional[n-1] != g {
			gs.provisional = append(gs.provisional, g)
		}
		return nil
	}
	if !gs.begun && !replayid.Before(position, g.id) {
		gs.resumedAt = nil // the server sends old events again: the open groups are still to come
	}
	if whole = gs.moveTo(g); whole != nil {
		gs.spare = whole
		if isNew {
			g.from = whole.id
		}
	}
	return whole
}

// moveTo makes g, which is open, the group of the session's last event. It returns the group that
// is whole by that, nil for none.
func (gs *groups) moveTo(g *group) (whole *group) {
	switch {
	case g == gs.cursor:
	case gs.cursor != nil && replayid.Before(g.id, gs.cursor.id): // an old group that is sent again: no evidence
	case gs.cursor != nil:
		whole = gs.cursor
		gs.remove(whole)
	case !gs.begun && len(gs.resumedAt) > 0:
		// The session began where these groups did and has not brought them: they are not there any
		// more, and what was received of them is all there is. A session that began before them
		// says nothing of them.
		for len(gs.open) > 0 && bytes.Equal(gs.open[0].from, gs.resumedAt) && replayid.Before(gs.open[0].id, g.id) && !slices.Contains(gs.provisional, gs.open[0]) {
			whole = gs.open[0]
			gs.remove(whole)
		}
	}
	gs.cursor, gs.begun, gs.echoes = g, true, 0
	return whole
}

// remove closes a group, also one that came before its turn: its memory may become another group.
func (gs *groups) remove(g *group) {
	is := func(other *group) bool { return other == g }
	gs.open, gs.provisional = slices.DeleteFunc(gs.open, is), slices.DeleteFunc(gs.provisional, is)
}

// receive notes an event of g, by its index in the batch, after enter. remembered says that it was
// received before. It reports whether the event is new.
func (gs *groups) receive(g *group, i int, identity uint64, remembered bool) (news bool) {
	g.last = i
	if gs.awaited == g {
		gs.awaited = nil
	}
	if !g.known.Add(identity) || remembered {
		return false
	}
	g.news, g.vain = true, 0
	return true
}

// delivered notes the end of a batch.
func (gs *groups) delivered() {
	for _, g := range gs.open {
		if g.last = -1; g.first != nil {
			g.date, g.first = g.first.Date(), nil
		}
	}
}

// isWhole takes a keepalive and the id that it names. caughtUp says that the server has nothing
// more to send. It reports whether all open groups are whole by that.
func (gs *groups) isWhole(caughtUp bool, latest []byte) bool {
	if !caughtUp || gs.cursor == nil {
		return false
	}
	if replayid.Before(latest, gs.cursor.id) {
		return false // the server has not come so far
	}
	if bytes.Equal(latest, gs.cursor.id) {
		// The server may name the event in the middle of whose group it is.
		if gs.echoes++; gs.echoes < 2 {
			return false
		}
	}
	return true
}

// closeAll closes all open groups, because they are whole. It returns the last one.
func (gs *groups) closeAll() (last *group) {
	last = gs.cursor
	gs.open, gs.cursor, gs.provisional, gs.echoes = nil, nil, nil, 0
	return last
}

// confirm notes that nothing is missing before the groups that have come before their turn. It
// returns those that are whole by that, in order.
func (gs *groups) confirm() (whole []*group) {
	confirmed := gs.provisional
	gs.provisional = nil
	for _, g := range confirmed {
		g.last, g.provisional = -1, false
		if gs.cursor != nil && replayid.Compare(gs.cursor.id, g.id) > 0 {
			gs.remove(g) // an event of another group has come after it
			whole = append(whole, g)
		} else if closed := gs.moveTo(g); closed != nil {
			whole = append(whole, closed)
		}
	}
	return whole
}

// first returns the first open group if no event that is still to be delivered belongs before it, so
// that the next session may skip what is dated before the group. It returns nil where that is not
// known: other groups may belong before a provisional one, and before one that is awaited.
func (gs *groups) first() *group {
	if gs == nil || len(gs.open) == 0 || gs.open[0].provisional || gs.awaited != nil {
		return nil
	}
	return gs.open[0]
}

// newest is the newest replay id that the channel has received: that of the open group of the last
// event, to which the position has not moved yet, else the position.
func (gs *groups) newest(position []byte) []byte {
	if gs != nil && gs.cursor != nil {
		return gs.cursor.id
	}
	return position
}

// canSeek reports whether there is an open group that may be retained where the position before it
// is not, and that is not sought yet.
func (gs *groups) canSeek() bool { return gs != nil && len(gs.open) > 0 && gs.awaited == nil }

// seek makes the next session seek the first open group, and returns it.
func (gs *groups) seek() *group {
	gs.awaited = gs.open[0]
	return gs.awaited
}

// isOvertaken reports whether an event shows that the session has passed the awaited group.
func (gs *groups) isOvertaken(m *Message) bool {
	return gs.awaited != nil && m.Date().After(gs.awaited.date)
}
