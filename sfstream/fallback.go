package sfstream

import (
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/replayid"
)

// resume makes the next session begin where a verdict says, and tells of the gap.
func (f *feed) resume(v verdict) {
	p := &f.progress
	switch v.resume {
	case resumeAtGroup:
		f.seekGroup()
	case resumeQuiet:
		f.log.Info("replay id aged out on a quiet channel: resuming from when it was followed last",
			"channel", f.sub.Name, "live", f.lastMarker().Live)
		p.position = position{}
	case resumePossibleGap:
		f.gap.before = &beforeGap{id: p.position.id, date: p.positionDate()}
		p.position = position{}
		f.sub.Restart(f.clock.Live(time.Now(), believable), f.groups != nil)
		f.tellGap(*v.gap, FallbackAll.String())
	case resumeOldest:
		p.position = position{}
		f.sub.Restart(time.Time{}, f.groups != nil)
		f.forgetReceived()
		f.tellGap(*v.gap, FallbackAll.String())
	case resumeNew:
		p.position, p.startedNew, p.told = position{latest: true}, time.Now(), false
		f.sub.Restart(f.clock.Live(p.startedNew, 0), f.groups != nil)
		f.forgetReceived()
		f.tellGap(*v.gap, FallbackNew.String())
	}
}

// seekGroup makes the next session seek the first open group from the oldest retained event on,
// because the position before it is not retained any more.
func (f *feed) seekGroup() {
	g := f.groups.seek()
	f.progress.position = position{skip: skipper{before: g.date, until: g.id}}
	f.log.Info("the position before events that share a replay id has aged out: seeking them from the oldest retained event",
		"channel", f.sub.Name, "replay_id", replayid.Text(g.id), "date", g.date)
}

// forgetReceived forgets what was received before a gap, because replay ids may begin anew.
func (f *feed) forgetReceived() {
	f.duplicates.Forget()
	if f.groups != nil {
		*f.groups = groups{}
	}
}
