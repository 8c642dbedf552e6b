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

// deliver queues the messages of one batch and moves the position behind them. It reports whether
// one of them had not come before. provisional says that messages that belong before these may be
// still to come.
func (f *feed) deliver(messages []Message, provisional bool) (news bool) {
	now := f.clock.Now()
	f.worked()
	slab := f.sub.Slab(messages, provisional)
	for i := range messages {
		m := &messages[i]
		m.slot = slab.Slot(i)
		if f.groups == nil && f.sharesID(m) {
			f.startGroups(slab, messages[:i])
		}
		if f.groups == nil || len(m.ReplayID) == 0 {
			news = f.single(slab, i, m, provisional, now) || news
		} else {
			news = f.grouped(slab, i, m, provisional, now) || news
		}
		if f.gap.why != nil { // this message and what follows come again, from where the policy says
			messages = messages[:i]
			slab.Cut(i)
			break
		}
	}
	if f.groups != nil {
		f.groups.delivered()
	}
	f.sub.Push(slab, now)
	// A proof is about what comes behind the messages, which are still to be handled.
	if len(messages) > 0 {
		f.proves(&messages[len(messages)-1], now)
	}
	return news
}

// single gives a message of a slab, which shares its id with no other, its state. It reports
// whether the message had not come before.
func (f *feed) single(slab *slab, i int, m *Message, provisional bool, now time.Time) (news bool) {
	event := recent.Event{ReplayID: m.ReplayID, ID: m.ID, Identity: m.tellApart()}
	if f.duplicates.Seen(event) {
		f.repeated(slab, i, m, event, provisional)
		return false
	}
	p := &f.progress
	if f.gap.wentBack(m, p, f.streams()) {
		return false
	}
	if provisional {
		p.newFrom(m.ReplayID)
		f.duplicates.RememberProvisional(event)
	} else {
		f.duplicates.Remember(event)
		if len(f.provisional.id) == 0 && !f.duplicates.Expecting() {
			f.duplicates.ForgetProvisional() // all of them have come again
		}
	}
	p.last = m
	received := f.gap.before.has(m)
	skipped := received || f.skips(m, now)
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
		f.provisional.add(m, placed, p.position.id)
	}
	return true
}

// repeated deals with a message that has come before. Where it had come before its turn and comes
// in its turn now, the position moves to it, and so does the marker, unless it is there already: an
// event that it had overtaken may have taken the marker back.
func (f *feed) repeated(slab *slab, i int, m *Message, event recent.Event, provisional bool) {
	p := &f.progress
	slab.Duplicate(i)
	p.skipping.reached(m.ReplayID)
	if provisional || !f.duplicates.CameProvisionally(event) || !p.isBefore(m.ReplayID) {
		return
	}
	if p.marksTo(m.ReplayID) {
		slab.Place(i)
	}
	p.moveTo(m.ReplayID, m)
}

// skips reports whether a message is older than the start of the channel.
func (f *feed) skips(m *Message, now time.Time) bool {
	skips, first := f.progress.skips(m, now)
	if first {
		f.log.Info("skipping events that are older than the start", "channel", f.sub.Name,
			"start", f.progress.skipping.before, "first_id", replayid.Text(m.ReplayID), "first_date", m.Date())
	}
	return skips
}

// proves notes whether a message shows that a session of the Streaming API has caught up.
func (f *feed) proves(m *Message, now time.Time) {
	if !f.streams() || !f.catchUp.due(now) || !m.codec.datedBySalesforce(m.payload) {
		return
	}
	if now = f.clock.Trusted(); now.IsZero() {
		return
	}
	if f.catchUp.proves(m.Date(), now) {
		f.sub.Prove(f.evidence(now))
	}
}

// grouped gives a message of a slab, on a channel that has groups, its state. It reports whether
// the message had not come before.
func (f *feed) grouped(slab *slab, i int, m *Message, provisional bool, now time.Time) (news bool) {
	gs, p := f.groups, &f.progress
	event := recent.Event{ReplayID: m.ReplayID, ID: m.ID, Identity: m.identity()}
	slab.Identify(i, event.Identity)
	remembered := f.duplicates.Seen(event)
	g := gs.find(m.ReplayID)
	if g == nil {
		if remembered {
			slab.Duplicate(i) // its group was whole: it is no evidence that another one is
			return false
		}
		if f.gap.wentBack(m, p, f.streams()) {
			return false
		}
		g = f.opened(m)
	}
	if whole := gs.enter(g, provisional, p.position.id); whole != nil {
		f.closed(whole, slab)
	}
	if !gs.receive(g, i, event.Identity, remembered) {
		f.resent(slab, i, g, event, remembered)
		return false
	}
	f.crowded(g)
	f.duplicates.Remember(event)
	received := f.gap.before.has(m)
	g.old = !received && f.skips(m, now)
	if received || g.old {
		slab.Skip(i)
	} else if gs.isOvertaken(m) {
		f.gap.missGroup(gs.awaited.id)
	}
	return true
}

// opened opens the group of a message.
func (f *feed) opened(m *Message) *group {
	if len(f.groups.open) == 0 {
		f.progress.newFrom(m.ReplayID)
	}
	return f.groups.add(m.ReplayID, m, f.progress.position.id)
}

// resent deals with a message of an open group that has come before. What is known from a stored
// marker is remembered, too, so that it is known when the group is closed.
func (f *feed) resent(slab *slab, i int, g *group, event recent.Event, remembered bool) {
	slab.Repeat(i)
	if g.old {
		slab.Duplicate(i) // it was not handled but skipped
	}
	if g.stored && !remembered {
		f.duplicates.Remember(event)
	}
	f.progress.skipping.reached(g.id)
	f.status.resent()
}

// crowded notes that a group has grown: one of several events needs credit of its own, and more
// than a marker can name are worth a warning.
func (f *feed) crowded(g *group) {
	switch g.known.Len() {
	case 2:
		f.sub.SetInGroup(true)
	case replaystore.MaxHandled + 1:
		f.log.Warn("more events share one replay id than a marker can name: after a restart some may come again",
			"channel", f.sub.Name, "replay_id", replayid.Text(g.id), "named", replaystore.MaxHandled)
	}
}

// closed moves the position behind a group that is whole, and lets the marker follow when all of it
// is handled. slab has the last message of the group, unless an earlier one has.
func (f *feed) closed(g *group, slab *slab) {
	p := &f.progress
	p.moveTo(g.id, nil)
	p.event, p.date = g.first, g.date
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

// sharesID reports whether m is another event than the last one and has its id, on a channel that
// is not known to have groups.
func (f *feed) sharesID(m *Message) bool {
	last := f.progress.last
	return last != nil && len(m.ReplayID) > 0 && bytes.Equal(last.ReplayID, m.ReplayID) && last.identity() != m.identity()
}

// startGroups makes the channel one that has groups, because the message behind the first ones of a
// slab has the id of the last one before it. The position goes back to before that id.
func (f *feed) startGroups(slab *slab, first []Message) {
	p, last := &f.progress, f.progress.last
	f.log.Warn("several events have one replay id on a channel of which that was not known: "+
		"where a connection has ended between two of them, the second one may be missing", "channel", f.sub.Name, "replay_id", replayid.Text(last.ReplayID))
	p.stepBack(f.newSince())
	if !slab.Unplace(last.slot) && len(p.position.id) > 0 {
		f.sub.Reach(p.position.id, time.Time{}) // the marker goes back behind what is queued, too
	}
	for i := range first {
		slab.Identify(i, first[i].identity())
	}
	f.groups = new(groups)
	g := f.opened(last)
	g.known.Add(last.identity())
	f.groups.moveTo(g)
}

// quiet notes that the server has sent all that there is, up to an id if it names one. whole says
// that the server would have gone on with a group. Over the Streaming API that is so only in a
// session that has caught up.
func (f *feed) quiet(latest []byte, whole bool) {
	p, streams := &f.progress, f.streams()
	now := f.clock.Now()
	f.worked()
	if f.gap.isBelow(latest, f.groups.newest(p.position.id), f.history.repeatsAt(p.position.id)) {
		if f.gap.isDoubtful() {
			f.tellGap(Gap{Channel: f.sub.Name, After: f.lastMarker(), Possible: true, Reason: f.sign(errBelow(latest))}, "as before")
		}
		return
	}
	if gs := f.groups; gs != nil {
		switch {
		case gs.awaited != nil && (whole || !streams):
			f.gap.missGroup(gs.awaited.id)
			return
		case len(gs.open) == 0:
		case !gs.isWhole(whole && (f.catchUp.proven || !streams), latest):
			return
		default:
			f.closed(gs.closeAll(), nil)
		}
	}
	f.sub.Keepalive(latest, f.evidence(f.clock.Trusted()))
	// A connect that was not held, or that had no leave to bring more, says nothing of what comes.
	p.onlyNew = p.onlyNew || whole && (!p.skipping.exact || !p.skipping.before.After(now))
	p.moveTo(latest, nil)
}

// confirmed notes that nothing is missing before the provisional messages.
func (f *feed) confirmed() {
	p := &f.progress
	if f.groups != nil {
		for _, whole := range f.groups.confirm() {
			if p.isBefore(whole.id) {
				f.closed(whole, nil)
			}
		}
	}
	came := f.provisional
	f.provisional = provisional{}
	f.duplicates.ForgetProvisional()
	if !came.isBeyond(p.position.id) {
		return
	}
	p.moveTo(came.id, came.last)
	if came.last != nil && p.marksTo(came.id) {
		f.sub.Reach(came.id, came.last.Date())
	}
}

// undeliverable notes an event that could not be queued. In a session of new events it is new,
// whatever its date, when it comes again.
func (f *feed) undeliverable(id []byte) {
	f.sub.OneAtATime()
	f.progress.newFrom(id)
}

// sessionEnded forgets what was of the session only. What it has brought before its turn comes
// again, with what that may have overtaken.
func (f *feed) sessionEnded() {
	f.sub.End()
	if proven := f.catchUp.end(); proven && f.streams() {
		// It is not proven any more that the server was not seeking since the session began.
		if began := f.clock.Live(f.catchUp.began, 0); began.Before(f.sub.Marker().Live) {
			f.sub.Prove(inbox.Evidence{Live: began})
		}
	}
	if p := &f.progress; f.provisional.isBefore(p.position.id) {
		p.moveTo(f.provisional.id, nil) // what follows the old events that the server sends again is to come
	}
	f.provisional = provisional{}
	if f.groups == nil {
		return
	}
	if vain := f.groups.end(); vain != nil {
		f.log.Warn("the server ends each session inside the events of one replay id, and sends them again each time",
			"channel", f.sub.Name, "replay_id", replayid.Text(vain.id), "events", vain.known.Len(), "resent", f.status.resentCount())
	}
}
