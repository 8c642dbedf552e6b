package sfstream

import (
	"bytes"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream/internal/inbox"
	"github.com/sfstream/sfstream-go/sfstream/internal/recent"
	"github.com/sfstream/sfstream-go/sfstream/internal/replayid"
)

// This file has what a session brings to a channel: events, keepalives, and its end.

// deliver queues the messages of one batch and moves the position past them. It reports whether
// one of them had not come before. provisional says that messages that belong before these may be
// still to come.
func (ch *channel) deliver(messages []Message, provisional bool) (news bool) {
	now := ch.clock.Now()
	ch.worked()
	slab := ch.sub.Slab(messages, provisional)
	for i := range messages {
		m := &messages[i]
		m.slot = slab.Slot(i)
		if ch.groups == nil && ch.sharesID(m) {
			ch.startGroups(slab, messages[:i])
		}
		if ch.groups == nil || len(m.ReplayID) == 0 {
			news = ch.single(slab, i, m, provisional, now) || news
		} else {
			news = ch.grouped(slab, i, m, provisional, now) || news
		}
		if ch.gap.why != nil { // this message and what follows come again, from where the policy says
			messages = messages[:i]
			slab.Cut(i)
			break
		}
	}
	if ch.groups != nil {
		ch.groups.delivered()
	}
	ch.sub.Push(slab, now)
	// The proof comes after Push, so that the evidence of the slab is the one from before it: the
	// marker may say the new Live only once these messages are handled.
	if len(messages) > 0 {
		ch.proves(&messages[len(messages)-1], now)
	}
	return news
}

// single gives a message of a slab, which shares its id with no other, its state. It reports
// whether the message had not come before.
func (ch *channel) single(slab *slab, i int, m *Message, provisional bool, now time.Time) (news bool) {
	event := recent.Event{ReplayID: m.ReplayID, ID: m.ID, Identity: m.tellApart()}
	if ch.duplicates.Seen(event) {
		ch.repeated(slab, i, m, event, provisional)
		return false
	}
	p := &ch.progress
	if ch.gap.wentBack(m, p, ch.streams()) {
		return false
	}
	if provisional {
		p.newFrom(m.ReplayID)
		ch.duplicates.RememberProvisional(event)
	} else {
		ch.duplicates.Remember(event)
		if len(ch.provisional.id) == 0 && !ch.duplicates.Expecting() {
			ch.duplicates.ForgetProvisional() // all of them have come again
		}
	}
	p.last = m
	received := ch.gap.before.has(m)
	skipped := received || ch.skips(m, now)
	if skipped {
		slab.Skip(i)
	}
	// A marker must not reach a message that is skipped for its age: a restart is to skip it again.
	placed := (!skipped || received) && len(m.ReplayID) > 0
	if placed {
		slab.Place(i)
		p.marked = m.ReplayID
	}
	if !provisional {
		p.moveTo(m.ReplayID, m)
	} else if len(m.ReplayID) > 0 {
		ch.provisional.add(m, placed, p.position.id)
	}
	return true
}

// repeated deals with a message that has come before. Where it had come before its turn and comes
// in its turn now, the position moves to it, and so does the marker, unless it is there already: an
// event that it had overtaken may have taken the marker back.
func (ch *channel) repeated(slab *slab, i int, m *Message, event recent.Event, provisional bool) {
	p := &ch.progress
	slab.Duplicate(i)
	p.skipping.reached(m.ReplayID)
	if provisional || !ch.duplicates.CameProvisionally(event) || !p.isBefore(m.ReplayID) {
		return
	}
	if p.marksTo(m.ReplayID) {
		slab.Place(i)
	}
	p.moveTo(m.ReplayID, m)
}

// skips reports whether a message is older than the start of the channel.
func (ch *channel) skips(m *Message, now time.Time) bool {
	skips, first := ch.progress.skips(m, now)
	if first {
		ch.log.Info("skipping events that are older than the start", "channel", ch.sub.Name,
			"start", ch.progress.skipping.before, "first_id", replayid.Text(m.ReplayID), "first_date", m.Date())
	}
	return skips
}

// proves notes whether a message shows that a session of the Streaming API has caught up.
func (ch *channel) proves(m *Message, now time.Time) {
	if !ch.streams() || !ch.catchUp.due(now) || !m.codec.datedBySalesforce(m.payload) {
		return
	}
	if now = ch.clock.Trusted(); now.IsZero() {
		return
	}
	if ch.catchUp.proves(m.Date(), now) {
		ch.sub.Prove(ch.evidence(now))
	}
}

// grouped gives a message of a slab, on a channel that has groups, its state. It reports whether
// the message had not come before.
func (ch *channel) grouped(slab *slab, i int, m *Message, provisional bool, now time.Time) (news bool) {
	gs, p := ch.groups, &ch.progress
	event := recent.Event{ReplayID: m.ReplayID, ID: m.ID, Identity: m.identity()}
	slab.Identify(i, event.Identity)
	remembered := ch.duplicates.Seen(event)
	g := gs.find(m.ReplayID)
	if g == nil {
		if remembered {
			slab.Duplicate(i) // of a group that is closed, and sent again: that closes no open group
			return false
		}
		if ch.gap.wentBack(m, p, ch.streams()) {
			return false
		}
		g = ch.opened(m)
	}
	if whole := gs.enter(g, provisional, p.position.id); whole != nil {
		ch.closed(whole, slab)
	}
	if !gs.receive(g, i, event.Identity, remembered) {
		ch.resent(slab, i, g, event, remembered)
		return false
	}
	ch.crowded(g)
	ch.duplicates.Remember(event)
	received := ch.gap.before.has(m)
	g.old = !received && ch.skips(m, now)
	if received || g.old {
		slab.Skip(i)
	} else if gs.isOvertaken(m) {
		ch.gap.missGroup(gs.awaited.id)
	}
	return true
}

// opened opens the group of a message.
func (ch *channel) opened(m *Message) *group {
	if len(ch.groups.open) == 0 {
		ch.progress.newFrom(m.ReplayID)
	}
	return ch.groups.add(m.ReplayID, m, ch.progress.position.id)
}

// resent deals with a message of an open group that has come before. An event that the group knows
// from a stored marker only is remembered as well, because the group forgets it when it is closed.
func (ch *channel) resent(slab *slab, i int, g *group, event recent.Event, remembered bool) {
	slab.Repeat(i)
	if g.old {
		slab.Duplicate(i) // it was not handled but skipped
	}
	if g.stored && !remembered {
		ch.duplicates.Remember(event)
	}
	ch.progress.skipping.reached(g.id)
	ch.status.resent()
}

// crowded notes that a group has grown: one of several events needs credit of its own, and more
// than a marker can name are worth a warning.
func (ch *channel) crowded(g *group) {
	switch g.known.Len() {
	case 2:
		ch.sub.SetInGroup(true)
	case replaystore.MaxHandled + 1:
		ch.log.Warn("more events share one replay id than a marker can name: after a restart some may come again",
			"channel", ch.sub.Name, "replay_id", replayid.Text(g.id), "named", replaystore.MaxHandled)
	}
}

// closed moves the position past a group that is whole, and lets the marker follow when all of it
// is handled. The last message of the group is in slab where g.last is its index; where g.last is
// negative, it is in a slab that was pushed before.
func (ch *channel) closed(g *group, slab *slab) {
	p := &ch.progress
	p.moveTo(g.id, nil)
	p.event, p.date = g.first, g.date
	if g.known.Len() > 1 {
		ch.sub.SetInGroup(false)
	}
	switch {
	case g.old: // a restart is to skip it again
	case g.last < 0:
		ch.sub.Reach(g.id, g.date)
	default:
		slab.Place(g.last)
	}
}

// sharesID reports whether m is another event than the last one and has its id, on a channel that
// is not known to have groups.
func (ch *channel) sharesID(m *Message) bool {
	last := ch.progress.last
	return last != nil && len(m.ReplayID) > 0 && bytes.Equal(last.ReplayID, m.ReplayID) && last.identity() != m.identity()
}

// startGroups makes the channel one that has groups, because the message after the first ones of a
// slab has the id of the last one before it. The position goes back to before that id.
func (ch *channel) startGroups(slab *slab, first []Message) {
	p, last := &ch.progress, ch.progress.last
	ch.log.Warn("several events have one replay id on a channel of which that was not known: "+
		"where a connection has ended between two of them, the second one may be missing", "channel", ch.sub.Name, "replay_id", replayid.Text(last.ReplayID))
	p.stepBack(ch.newSince())
	if !slab.Unplace(last.slot) && len(p.position.id) > 0 {
		ch.sub.Reach(p.position.id, time.Time{}) // the marker goes back, too, once what is queued is handled
	}
	for i := range first {
		slab.Identify(i, first[i].identity())
	}
	ch.groups = new(groups)
	g := ch.opened(last)
	g.known.Add(last.identity())
	ch.groups.moveTo(g)
}

// quiet notes that the server has sent all that there is, up to an id if it names one. whole says
// that the server would have gone on with a group. Over the Streaming API that is so only in a
// session that has caught up.
func (ch *channel) quiet(latest []byte, whole bool) {
	p, streams := &ch.progress, ch.streams()
	now := ch.clock.Now()
	ch.worked()
	if ch.gap.isBelow(latest, ch.groups.newest(p.position.id), ch.history.repeatsAt(p.position.id)) {
		if ch.gap.isDoubtful() {
			ch.tellGap(Gap{Channel: ch.sub.Name, After: ch.lastMarker(), Possible: true, Reason: ch.sign(errBelow(latest))}, "as before")
		}
		return
	}
	if gs := ch.groups; gs != nil {
		switch {
		case gs.awaited != nil && replayid.Before(latest, gs.awaited.id) && now.Sub(gs.awaited.date) < believable:
			// The server is still seeking through events before the group, which it may retain
			// (eventbus/PROTOCOL.md, "Keepalives").
			return
		case gs.awaited != nil && (whole || !streams):
			ch.gap.missGroup(gs.awaited.id)
			return
		case len(gs.open) == 0:
		case !gs.isWhole(whole && (ch.catchUp.proven || !streams), latest):
			return
		default:
			ch.closed(gs.closeAll(), nil)
		}
	}
	ch.sub.Keepalive(latest, ch.evidence(ch.clock.Trusted()))
	// Without whole this says nothing of what comes: the server did not hold the connect, or the
	// stream had no credit left for it.
	p.onlyNew = p.onlyNew || whole && (!p.skipping.exact || !p.skipping.before.After(now))
	p.moveTo(latest, nil)
}

// confirmed notes that nothing is missing before the provisional messages.
func (ch *channel) confirmed() {
	p := &ch.progress
	if ch.groups != nil {
		for _, whole := range ch.groups.confirm() {
			if p.isBefore(whole.id) {
				ch.closed(whole, nil)
			}
		}
	}
	came := ch.provisional
	ch.provisional = provisional{}
	ch.duplicates.ForgetProvisional()
	if !came.isBeyond(p.position.id) {
		return
	}
	p.moveTo(came.id, came.last)
	if came.last != nil && p.marksTo(came.id) {
		ch.sub.Reach(came.id, came.last.Date())
	}
}

// undeliverable notes an event that could not be queued. In a session of new events it is new,
// whatever its date, when it comes again.
func (ch *channel) undeliverable(id []byte) {
	ch.sub.OneAtATime()
	ch.progress.newFrom(id)
}

// sessionEnded forgets what was of the session only. What it has brought before its turn comes
// again, with what that may have overtaken.
func (ch *channel) sessionEnded() {
	ch.sub.End()
	if proven := ch.catchUp.end(); proven && ch.streams() {
		// It is not proven any more that the server was not seeking since the session began.
		if began := ch.clock.Live(ch.catchUp.began, 0); began.Before(ch.sub.Marker().Live) {
			ch.sub.Prove(inbox.Evidence{Live: began})
		}
	}
	if p := &ch.progress; ch.provisional.isBefore(p.position.id) {
		p.moveTo(ch.provisional.id, nil) // old events are sent again: those after the last one are to come
	}
	ch.provisional = provisional{}
	if ch.groups == nil {
		return
	}
	if vain := ch.groups.end(); vain != nil {
		ch.log.Warn("the server ends each session inside the events of one replay id, and sends them again each time",
			"channel", ch.sub.Name, "replay_id", replayid.Text(vain.id), "events", vain.known.Len(), "resent", ch.status.resentCount())
	}
}
