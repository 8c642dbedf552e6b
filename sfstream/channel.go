package sfstream

import (
	"bytes"
	"sync/atomic"
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

// channel is one followed channel as its link sees it: its state, where it is, and what is known of
// its present session. Once it has joined a link, only the goroutine of that link's run touches it,
// except where a field says otherwise.
//
// deliver.go has what a session does to a channel, gap.go how a channel resumes elsewhere than
// where it was, start.go how it begins.
type channel struct {
	*services
	sub    *inbox.Channel[Message]
	status channelStatus

	done  chan struct{} // closed when the channel has ended
	ended bool          // roster.mu guards it

	progress    progress
	catchUp     catchUp
	gap         gapEvidence
	groups      *groups // nil: the channel is not known to have any
	provisional provisional
	duplicates  recent.Events
	managed     atomic.Pointer[managed] // nil: the channel is no managed subscription; Status may look while SubscribeManaged sets it

	history history // of its failures
	refusal refusal
	standstill
}

// standstill is what the link knows of a channel that has no room for more.
type standstill struct {
	parked bool      // the channel had no room when the link last looked
	warned time.Time // since when the channel was waiting for Ack when the log last warned of it
}

// refusal is the trouble of a channel that the server refuses while its session lives on.
type refusal struct {
	backOff backoff.BackOff // nil: nothing has failed since the channel last worked
	since   time.Time       // when the channel last worked
	until   time.Time       // when the channel is due again; zero: now
}

// set notes a new state and tells the hooks of it.
func (ch *channel) set(state State) {
	hooks := &ch.cfg.hooks
	changed, again := ch.status.set(state)
	if !changed {
		return
	}
	err := ch.status.lastError()
	if hooks.OnState != nil {
		var why error
		if state == StateWaiting || state == StateEnded && ch.status.reason() != nil {
			why = err
		}
		hooks.OnState(ch.sub.Name, state, why)
	}
	if again != nil && hooks.OnReconnect != nil {
		again.Channel = ch.sub.Name
		hooks.OnReconnect(*again)
	}
}

func (ch *channel) isAccepted() bool { return isClosed(ch.sub.Accepted()) }

// streams reports whether the channel is followed over the Streaming API.
func (ch *channel) streams() bool { return ch.sub.Key.API == apiCometD }

// evidence is what an answer of the server proves at a time of Salesforce's, zero where that is not
// known.
func (ch *channel) evidence(now time.Time) inbox.Evidence {
	return ch.catchUp.evidence(ch.streams(), now)
}

// due reports whether the link is to ask for the channel now. It does not ask for a channel without
// room: Salesforce would end a stream without demand after a minute (eventbus/PROTOCOL.md, "Idle
// streams"), and the queue of a session of the Streaming API would overflow.
func (ch *channel) due() bool {
	if time.Now().Before(ch.refusal.until) {
		return false
	}
	if !ch.sub.Room(0) {
		ch.parked = true
		ch.set(StateParked)
		return false
	}
	if ch.parked {
		ch.parked, ch.refusal.since = false, time.Now() // a slow consumer is no outage
	}
	return true
}

// request is what the link asks for: a session begins with it.
func (ch *channel) request() request {
	p := &ch.progress
	p.renew(ch.isAccepted(), ch.newSince())
	if g := ch.groups.first(); g != nil {
		p.olderThan(g.id, g.date)
	}
	p.begin()
	from := p.position.id
	if ch.managed.Load() != nil {
		// The session begins after what is committed. That may be before the position, so that what
		// comes again is no sign that replay ids have begun anew.
		p.resumed, from = false, nil
	}
	ch.catchUp.begin(p.onlyNew)
	if ch.groups != nil {
		ch.groups.begin(from)
	}
	ch.set(StateOpening)
	return request{sub: &ch.sub.Credit, verify: !ch.isAccepted(), position: p.position, managed: ch.managed.Load()}
}

// accept notes that Salesforce follows the channel from the requested position on.
func (ch *channel) accept() {
	if !ch.isAccepted() {
		var start time.Time // of a start at "new" at which Salesforce's time was not known
		if ch.progress.position.latest && ch.sub.Marker().Live.Equal(serverclock.Beginning()) {
			start = ch.clock.Live(ch.progress.startedNew, 0)
		}
		if !ch.sub.Accept(start) {
			return
		}
	}
	ch.duplicates.Expect()
	ch.progress.leaveNew(ch.newSince())
	ch.set(StateLive)
}

// newSince is Salesforce's time at which the channel was last set to "new", zero where that is not
// known.
func (ch *channel) newSince() time.Time {
	if since, trusted := ch.clock.At(ch.progress.startedNew); trusted {
		return since
	}
	return time.Time{}
}

// worked forgets past trouble: the channel works.
func (ch *channel) worked() {
	ch.history.worked()
	ch.refusal = refusal{since: time.Now()}
}

// limitWait shortens a wait to what WithReconnectTimeout leaves of it. The error says that nothing
// is left.
func (ch *channel) limitWait(wait time.Duration, cause error) (time.Duration, error) {
	limit, down := ch.cfg.reconnectTimeout, time.Since(ch.refusal.since)
	if limit <= 0 {
		return wait, nil
	}
	if down >= limit {
		return 0, &TimeoutError{Channel: ch.sub.Name, Down: down, err: cause}
	}
	return min(wait, limit-down), nil
}

// warnUnacked warns, once for each time, when unacked messages have taken all room of the channel
// for a while. It returns when to look again.
func (ch *channel) warnUnacked() (wait time.Duration) {
	since, n, oldest := ch.sub.Stalled()
	if since.IsZero() || since.Equal(ch.warned) {
		return unackedWarning
	}
	if full := time.Since(since); full < unackedWarning {
		return unackedWarning - full
	}
	ch.warned = since
	ch.log.Warn("the channel waits for Ack: as many messages as WithPrefetch allows are not acked",
		"channel", ch.sub.Name, "unacked", n, "since", since, "oldest_id", oldest.ID, "oldest_replay_id", replayid.Text(oldest.ReplayID))
	return unackedWarning
}

// lastMarker is the position as a marker: the channel was received up to there.
func (ch *channel) lastMarker() replaystore.Marker {
	last := ch.sub.Marker()
	if id := ch.progress.position.id; !bytes.Equal(last.ReplayID, id) {
		last = replaystore.Marker{ReplayID: id, Live: last.Live, Followed: last.Followed}
	}
	return last
}

// missed returns why the channel is missing events though the server has refused nothing, nil where
// it is not known to, and whether that is only possible. It says so once: the link deals with it.
func (ch *channel) missed() (why error, possible bool) {
	server, possible := ch.gap.take()
	if server == nil {
		return nil, false
	}
	return ch.sign(server), possible
}

// sign makes an error one of the channel.
func (ch *channel) sign(err *ServerError) *ServerError {
	err.API, err.Channel = ch.sub.Key.API, ch.sub.Name
	return err
}

// tellGap counts a gap and tells the log and the hook of it, with where the channel resumes.
func (ch *channel) tellGap(g Gap, resume string) {
	ch.status.gap()
	ch.log.Warn("stored position refused, events may have been missed", "channel", g.Channel,
		"replay_id", replayid.Text(g.After.ReplayID), "resume", resume, "possible", g.Possible, "error", g.Reason)
	if hook := ch.cfg.hooks.OnGap; hook != nil {
		hook(g)
	}
}
