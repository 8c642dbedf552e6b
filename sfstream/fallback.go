package sfstream

import (
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/replayid"
)

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
