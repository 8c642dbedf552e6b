package sfstreamtest

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/status"
)

// A group is several events of one channel that share a replay id, see [Server.DefineMembers]. A
// subscription after that id gets none of the group, one after the id before gets all of it. This
// file ends responses and streams inside of groups.

// CutGroups ends every response (of either API) after n events of a group; the rest of the group
// comes with the next response. n < 0: after some events of it, at random. 0: only if the size of a
// response or the demand of the client asks for it, which is the default, see [WithGroupCut].
func (s *Server) CutGroups(n int) {
	s.groups.mu.Lock()
	defer s.groups.mu.Unlock()
	s.groups.cut = n
	s.groups.activeLocked()
}

// GroupBreak says where and how [Server.BreakGroups] ends streams inside of groups.
type GroupBreak struct {
	Channel string `json:"channel,omitempty"` // default: any
	// After is how many events of a group a stream gets before it ends. It may be the number of all
	// events of the group.
	After int `json:"after"`
	// NewOnly lets After count only events that no stream was sent before.
	NewOnly bool `json:"newOnly,omitempty"`
	Times   int  `json:"times,omitempty"` // default 1; negative: until ClearFaults
	// Code is how the stream ends, as in EndStreams. Default: all connections are cut, as by
	// DropConnections, a moment after the last event was sent. Bayeux sessions end as a whole, as
	// in EndStreams.
	Code string `json:"code,omitempty"`
}

// BreakGroups ends the next b.Times streams that are sent a group, inside of that group. The events
// before the end arrive; on CometD they are in the reply to a connect or a subscribe. To lose such
// a reply use CutGroups and LoseResponse.
func (s *Server) BreakGroups(b GroupBreak) {
	if b.Times == 0 {
		b.Times = 1
	}
	b.After = max(b.After, 1)
	s.groups.mu.Lock()
	defer s.groups.mu.Unlock()
	s.groups.breaks = append(s.groups.breaks, &b)
	s.groups.activeLocked()
}

// RepeatReplayID gives each of the next n events of a channel the replay id of the event before it,
// which makes a group on a channel that should have none. An event gets a new id if there is none
// before it, or if a keepalive has named a later one.
func (s *Server) RepeatReplayID(channel string, n int) {
	s.faults.add(fault{name: "RepeatReplayID", at: atPublish, channel: channel, left: n})
}

// Retained returns the events that a channel can replay, oldest first, with the replay ids that
// they have on this channel.
func (s *Server) Retained(channel string) []Event {
	events := []Event{}
	t, ok := s.find(channel)
	if !ok {
		return events
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.log.expire(s.now(), s.retention(t))
	for i := t.log.first; i < t.log.next; i++ {
		if r := t.log.at(i); r.kind != mark {
			events = append(events, r.event())
		}
	}
	return events
}

// event returns the record in the form of Publish, Change and Retained.
func (r *record) event() Event {
	ev := Event{ID: r.id, SchemaID: r.schema, Date: time.Unix(0, r.at).UTC()}
	if r.kind != anonymous {
		ev.ReplayID, ev.Number = replayBytes(r.replay), r.replay
	}
	return ev
}

// groupFaults has what CutGroups and BreakGroups have asked for.
type groupFaults struct {
	active atomic.Bool // whether either of them was called; it is read without the mutex

	mu     sync.Mutex
	cut    int
	breaks []*GroupBreak
}

func (g *groupFaults) activeLocked() { g.active.Store(g.cut != 0 || len(g.breaks) > 0) }

// requests returns what is in force, each as the control request that would ask for it.
func (g *groupFaults) requests() []faultRequest {
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []faultRequest
	if cut := g.cut; cut != 0 {
		list = append(list, faultRequest{Fault: "CutGroups", N: &cut})
	}
	for _, b := range g.breaks {
		b := *b
		list = append(list, faultRequest{Fault: "BreakGroups", Group: &b})
	}
	return list
}

// clear takes BreakGroups back, for ClearFaults. CutGroups is no fault and stays.
func (g *groupFaults) clear() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.breaks = nil
	g.activeLocked()
}

// use counts a break that has happened.
func (g *groupFaults) use(b *GroupBreak) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if b.Times > 0 {
		b.Times--
	}
	if b.Times == 0 {
		g.breaks = slices.DeleteFunc(g.breaks, func(other *GroupBreak) bool { return other == b })
	}
	g.activeLocked()
}

// place is how far a subscriber is in the group of one replay id.
type place struct {
	replay      uint64
	sent, fresh int
}

// parting decides where groups end one response to one subscriber. A nil parting ends none.
type parting struct {
	log    *eventLog
	dice   *dice
	at     *place
	known  int // index of the first record that was not sent to any stream
	cut    int
	broken *GroupBreak // the GroupBreak that applies to the subscriber, nil if there is none
	inside int         // how many events of the group are in this response
}

// parting returns the parting for a response that begins now. The topic's mutex must be held.
func (s *Server) parting(t *topic, at *place) *parting {
	g := &s.groups
	if !g.active.Load() {
		return nil
	}
	p := &parting{log: &t.log, dice: s.dice.groups, at: at, known: t.sent}
	g.mu.Lock()
	defer g.mu.Unlock()
	p.cut = g.cut
	if i := slices.IndexFunc(g.breaks, func(b *GroupBreak) bool { return b.Channel == "" || b.Channel == t.name }); i >= 0 {
		p.broken = g.breaks[i]
	}
	return p
}

// before reports whether the response ends before the record at index i, as CutGroups wants.
func (p *parting) before(i int) bool {
	if p == nil || p.inside == 0 || p.log.at(i).replay != p.at.replay {
		return false
	}
	return p.cut > 0 && p.inside >= p.cut || p.cut < 0 && p.dice.below(3) == 0
}

// behind counts the record at index i, which is in the response, and reports whether the stream
// ends after it, as BreakGroups wants.
func (p *parting) behind(i int) bool {
	if p == nil || !p.log.grouped(i) {
		return false
	}
	if id := p.log.at(i).replay; p.at.replay != id {
		*p.at = place{replay: id}
		p.inside = 0
	}
	p.inside++
	p.at.sent++
	if i >= p.known {
		p.at.fresh++
	}
	b := p.broken
	return b != nil && (!b.NewOnly && p.at.sent == b.After || b.NewOnly && p.at.fresh == b.After && i >= p.known)
}

// grouped reports whether the record at index i shares its replay id with a neighbour.
func (l *eventLog) grouped(i int) bool {
	return l.continues(i) || i+1 < l.next && l.continues(i+1)
}

// continues reports whether the record at index i has the replay id of the one before it.
func (l *eventLog) continues(i int) bool {
	return i > l.first && l.at(i-1).replay == l.at(i).replay
}

// breakDelay is how long data that was sent has to arrive before its connection is cut.
const breakDelay = 100 * time.Millisecond

// breakOff ends a stream inside of a group as b.Code says.
func (st *stream) breakOff(b *GroupBreak) error {
	if b.Code != "" {
		return st.server.newFailure(b.Code, st.topic.name)
	}
	timer := time.NewTimer(breakDelay)
	defer timer.Stop()
	select {
	case <-timer.C:
		st.server.DropConnections()
	case <-st.ctx.Done():
	}
	return status.FromContextError(st.ctx.Err()).Err()
}
