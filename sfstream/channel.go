package sfstream

import (
	"bytes"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream/internal/inbox"
	"github.com/sfstream/sfstream-go/sfstream/internal/recent"
	"github.com/sfstream/sfstream-go/sfstream/internal/replayid"
	"github.com/sfstream/sfstream-go/sfstream/internal/serverclock"
)

// unackedWarning is how long a channel may wait for Ack before the log warns.
const unackedWarning = time.Minute

// feed is one followed channel as its link sees it: its state, where it is, and what is known of
// its present session. Once it has joined a link, only the goroutine of that link's run touches it,
// except where a field says otherwise.
//
// deliver.go has what a session does to a channel, fallback.go how a channel resumes elsewhere than
// where it was, start.go how it begins.
type feed struct {
	*services
	sub    *inbox.Channel[Message]
	status feedStatus

	done  chan struct{} // closed when the feed has ended
	ended bool          // roster.mu guards it

	progress    progress
	catchUp     catchUp
	gap         gapEvidence
	groups      *groups // nil: the channel is not known to have any
	provisional provisional
	duplicates  recent.Events

	history history // of its failures
	refusal refusal
	parked  bool      // the channel had no room when the link last looked
	warned  time.Time // since when the channel was waiting for Ack when the log last warned of it
}

// refusal is the trouble of a channel that the server refuses while its session lives on.
type refusal struct {
	backOff backoff.BackOff // nil: nothing has failed since the channel last worked
	since   time.Time       // when the channel last worked
	until   time.Time       // when the channel is due again; zero: now
}

// set notes a new state and tells the hooks of it.
func (f *feed) set(state State) {
	hooks := &f.cfg.hooks
	changed, again := f.status.set(state)
	if !changed {
		return
	}
	err := f.status.lastError()
	if hooks.OnState != nil {
		var why error
		if state == StateWaiting || state == StateEnded && f.status.reason() != nil {
			why = err
		}
		hooks.OnState(f.sub.Name, state, why)
	}
	if again != nil && hooks.OnReconnect != nil {
		again.Channel = f.sub.Name
		hooks.OnReconnect(*again)
	}
}

func (f *feed) isAccepted() bool { return isClosed(f.sub.Accepted()) }

// streams reports whether the channel is followed over the Streaming API.
func (f *feed) streams() bool { return f.sub.Key.API == apiCometD }

// evidence is what an answer of the server proves at a time of Salesforce's, zero where that is not
// known.
func (f *feed) evidence(now time.Time) inbox.Evidence { return f.catchUp.evidence(f.streams(), now) }

// due reports whether the link is to ask for the channel now. It does not ask for a channel without
// room: Salesforce would end a stream without demand after a minute (eventbus/PROTOCOL.md, "Idle
// streams"), and the queue of a session of the Streaming API would overflow.
func (f *feed) due() bool {
	if time.Now().Before(f.refusal.until) {
		return false
	}
	if !f.sub.Room(0) {
		f.parked = true
		f.set(StateParked)
		return false
	}
	if f.parked {
		f.parked, f.refusal.since = false, time.Now() // a slow consumer is no outage
	}
	return true
}

// request is what the link asks for: a session begins with it.
func (f *feed) request() request {
	p := &f.progress
	p.renew(f.isAccepted(), f.newSince())
	if g := f.groups.first(); g != nil {
		p.olderThan(g.id, g.date)
	}
	p.begin()
	f.catchUp.begin(p.onlyNew)
	if f.groups != nil {
		f.groups.begin(p.position.id)
	}
	f.set(StateOpening)
	return request{sub: &f.sub.Credit, verify: !f.isAccepted(), position: p.position}
}

// accept notes that Salesforce follows the channel from the requested position on.
func (f *feed) accept() {
	if !f.isAccepted() {
		var start time.Time // of a start at "new" at which Salesforce's time was not known
		if f.progress.position.latest && f.sub.Marker().Live.Equal(serverclock.Beginning()) {
			start = f.clock.Live(f.progress.startedNew, 0)
		}
		if !f.sub.Accept(start) {
			return
		}
	}
	f.duplicates.Expect()
	f.progress.leaveNew(f.newSince())
	f.set(StateLive)
}

// newSince is Salesforce's time at which the channel was last set to "new", zero where that is not
// known.
func (f *feed) newSince() time.Time {
	if since, trusted := f.clock.At(f.progress.startedNew); trusted {
		return since
	}
	return time.Time{}
}

// worked forgets past trouble: the channel works.
func (f *feed) worked() {
	f.history.worked()
	f.refusal = refusal{since: time.Now()}
}

// limitWait shortens a wait to what WithReconnectTimeout leaves of it. The error says that nothing
// is left.
func (f *feed) limitWait(wait time.Duration, cause error) (time.Duration, error) {
	limit, down := f.cfg.reconnectTimeout, time.Since(f.refusal.since)
	if limit <= 0 {
		return wait, nil
	}
	if down >= limit {
		return 0, &TimeoutError{Channel: f.sub.Name, Down: down, err: cause}
	}
	return min(wait, limit-down), nil
}

// warnUnacked warns, once for each time, when unacked messages have taken all room of the channel
// for a while. It returns when to look again.
func (f *feed) warnUnacked() (wait time.Duration) {
	since, n, oldest := f.sub.Stalled()
	if since.IsZero() || since.Equal(f.warned) {
		return unackedWarning
	}
	if full := time.Since(since); full < unackedWarning {
		return unackedWarning - full
	}
	f.warned = since
	f.log.Warn("the channel waits for Ack: as many messages as WithPrefetch allows are not acked",
		"channel", f.sub.Name, "unacked", n, "since", since, "oldest_id", oldest.ID, "oldest_replay_id", replayid.Text(oldest.ReplayID))
	return unackedWarning
}

// lastMarker is the position as a marker: the channel was received up to there.
func (f *feed) lastMarker() replaystore.Marker {
	last := f.sub.Marker()
	if id := f.progress.position.id; !bytes.Equal(last.ReplayID, id) {
		last = replaystore.Marker{ReplayID: id, Live: last.Live, Followed: last.Followed}
	}
	return last
}

// missed returns why the channel is missing events though the server has refused nothing, nil where
// it is not known to, and whether that is only possible. It says so once: the link deals with it.
func (f *feed) missed() (why error, possible bool) {
	server, possible := f.gap.take()
	if server == nil {
		return nil, false
	}
	return f.sign(server), possible
}

// sign makes an error one of the channel.
func (f *feed) sign(err *ServerError) *ServerError {
	err.API, err.Channel = f.sub.Key.API, f.sub.Name
	return err
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
