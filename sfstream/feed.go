package sfstream

import (
	"bytes"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/sfstream/internal/inbox"
	"github.com/sfstream/sfstream-go/sfstream/internal/recent"
	"github.com/sfstream/sfstream-go/sfstream/internal/replayid"
	"github.com/sfstream/sfstream-go/sfstream/internal/serverclock"
)

const (
	// unackedWarning is how long a channel waits for Ack without a warning.
	unackedWarning = time.Minute

	// proofEvery is how often an event is looked at for a proof that nothing older is
	// to come.
	proofEvery = time.Minute

	// stillNow is how long after a channel was set to "new" a session of new
	// events begins at that moment. Salesforce itself takes some 3 s.
	stillNow = 2 * time.Second
)

// feed is one followed channel as its link sees it: where it is, and what to do
// when Salesforce refuses it. Once it has joined a link, the goroutine of that
// link's run alone touches it, but for what says so.
type feed struct {
	*services
	link   *link // since join
	sub    *inbox.Channel[Message]
	status feedStatus

	done  chan struct{} // closed when the feed has ended
	ended bool          // roster.mu guards it

	position   position
	before     position // where it was before its last move
	skip       skipper  // of this session
	last       *Message // the last one that this session has brought
	groups     *groups  // nil: the channel is not known to have any
	proven     bool     // Streaming API: this session is not behind: it began at new, or has brought an event of now
	proofAt    time.Time
	began      time.Time // when this session was asked for, by the local clock
	resumed    bool      // this session began at an id
	at         *Message  // the event at position.id; nil: atDate is its date
	atDate     time.Time // zero: not known
	missed     error     // why events of the channel are missing, until the link has dealt with it
	mayMiss    bool      // missed is only possible
	seen       *seen     // after a possible gap; nil: there was none
	below      int       // how many keepalives in a row have named an id before the position
	startedNew time.Time // where position.latest: when that was decided, by the local clock
	skipping   bool      // that older events are skipped has been told
	onlyNew    bool      // this session brings only what is new, whatever its date
	duplicates recent.Events

	// Of messages that came before their turn: older ones may be missing yet.
	provisional     []byte   // the id of the last one; empty: there is none
	provisionalLast *Message // it; nil: it has no place
	base            []byte   // the place before the first one

	marked []byte // the last id that a marker was given, once all up to it is handled

	history history   // of its failures
	parked  bool      // it had no room when last looked at
	warned  time.Time // the stall for want of Ack that was warned of

	// Of a channel that is refused while its session lives on.
	backOff   backoff.BackOff // made when first needed
	downSince time.Time
	retryAt   time.Time
}

// set tells of a new state.
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

// evidence is what an answer of the server proves, which came at a moment of Salesforce's clock (zero:
// not known, and nothing is proven). Over the Pub/Sub API a server that sends no events proves that
// none is missing; over the Streaming API it may be seeking through a backlog.
func (f *feed) evidence(now time.Time) inbox.Evidence {
	switch {
	case !f.streams():
		return inbox.Evidence{Live: now}
	case f.proven:
		return inbox.Evidence{Live: now, Followed: now}
	}
	return inbox.Evidence{Followed: now}
}

// due reports whether the feed is to be asked for now. One without room is not:
// a stream without demand would be ended after a minute, a session would
// overflow.
func (f *feed) due() bool {
	if time.Now().Before(f.retryAt) {
		return false
	}
	if !f.sub.Room(0) {
		f.parked = true
		f.set(StateParked)
		return false
	}
	if f.parked {
		f.parked, f.downSince = false, time.Now() // a slow consumer is no outage
	}
	return true
}

// request is what to ask for now.
func (f *feed) request() request {
	if f.position.latest && f.isAccepted() && time.Since(f.startedNew) > stillNow {
		f.position = position{skip: f.skipOld()}
	}
	// A first reading of Salesforce's clock that was fast must not skip anything.
	if skip := &f.position.skip; skip.start {
		if before := f.skipOld().before; skip.before.IsZero() || before.Before(skip.before) {
			skip.before = before
		}
	}
	f.groupIsNew()
	f.onlyNew, f.skip, f.last = f.position.latest, f.position.skip, nil
	f.proven, f.resumed, f.began = f.onlyNew, len(f.position.id) > 0, time.Now()
	if f.groups != nil {
		f.groups.begin(f.position.id)
	}
	f.set(StateOpening)
	return request{sub: &f.sub.Credit, verify: !f.isAccepted(), position: f.position}
}

// accept takes in that the channel is followed, from the requested position on.
func (f *feed) accept() {
	if !f.isAccepted() {
		var start time.Time // of a start at "new" of which Salesforce's time was not known
		if f.position.latest && f.sub.Marker().Live.Equal(serverclock.Beginning()) {
			start = f.clock.Live(f.startedNew, 0)
		}
		if !f.sub.Accept(start) {
			return
		}
	}
	f.duplicates.Expect()
	if f.position.latest {
		// From here on "new" means what comes after that moment, whenever a
		// reconnect asks for it.
		f.position = position{skip: f.skipOld()}
	}
	f.set(StateLive)
}

// skipOld skips what is older than the moment at which the channel was set to "new",
// nothing where Salesforce's time of it is not known.
func (f *feed) skipOld() skipper {
	s := skipper{start: true}
	if start, trusted := f.clock.At(f.startedNew); trusted {
		s.before = start
	}
	return s
}

// skips reports whether an event is older than what the channel is to begin with.
func (f *feed) skips(m *Message, now time.Time) bool {
	if f.onlyNew || !f.skip.skips(m, now) {
		return false
	}
	if !f.skipping {
		f.skipping = true
		f.log.Info("skipping events that are older than the start", "channel", f.sub.Name,
			"start", f.skip.before, "first_id", replayid.Text(m.ReplayID), "first_date", m.Date())
	}
	return true
}

// progressed forgets past trouble: the channel works.
func (f *feed) progressed() {
	f.history.worked()
	f.retryAt, f.backOff, f.downSince = time.Time{}, nil, time.Now()
}

// limitWait shortens a wait to what WithReconnectTimeout leaves of it. The error is that nothing
// is left.
func (f *feed) limitWait(wait time.Duration, cause error) (time.Duration, error) {
	limit, down := f.cfg.reconnectTimeout, time.Since(f.downSince)
	if limit <= 0 {
		return wait, nil
	}
	if down >= limit {
		return 0, &TimeoutError{Channel: f.sub.Name, Down: down, err: cause}
	}
	return min(wait, limit-down), nil
}

// quiet takes in that the server has sent all that there is, up to an id if it names
// one; whole says that it would have gone on with a group. Over the Streaming API
// that is so only in a session that is not behind.
func (f *feed) quiet(latest []byte, whole bool) {
	now := f.clock.Now()
	f.progressed()
	if f.isBelow(latest) {
		return
	}
	if gs := f.groups; gs != nil {
		switch {
		case gs.awaited != nil && (whole || !f.streams()):
			f.missed = errGroupLost(f.sub.Name, f.sub.Key.API, gs.awaited)
			return
		case len(gs.open) == 0:
		case !gs.quiet(whole && (f.proven || !f.streams()), latest):
			return
		default:
			f.closeAll()
		}
	}
	f.sub.Keepalive(latest, f.evidence(f.clock.Trusted()))
	// One that was not held, or that had no leave to bring more, says nothing.
	f.onlyNew = f.onlyNew || whole && (!f.skip.exact || !f.skip.before.After(now))
	f.moveTo(latest, nil)
}

// proves takes in that an event of now shows a session of the Streaming API not to be
// behind.
func (f *feed) proves(m *Message, now time.Time) {
	if !f.streams() || now.Sub(f.proofAt) < proofEvery || !m.codec.datedBySalesforce(m.payload) {
		return
	}
	if now = f.clock.Trusted(); now.IsZero() {
		return
	}
	if date := m.Date(); !date.IsZero() && now.Sub(date) <= commitMargin {
		f.proven, f.proofAt = true, now
		f.sub.Prove(f.evidence(now))
	}
}

// deliver queues what was received and moves the position behind it. It reports
// whether there was something that had not come before. provisional says that older
// messages may be missing.
func (f *feed) deliver(messages []Message, provisional bool) (news bool) {
	now := f.clock.Now()
	f.progressed()
	slab := f.sub.Slab(messages, provisional)
	for i := range messages {
		m := &messages[i]
		m.slot = slab.Slot(i)
		if f.groups == nil && f.sharesID(m) {
			f.startGroups(slab, messages[:i])
		}
		if f.groups == nil {
			news = f.single(slab, i, m, provisional, now) || news
		} else {
			news = f.grouped(slab, i, m, provisional, now) || news
		}
		if f.missed != nil { // this one and what follows come again, from where the policy says
			messages = messages[:i]
			slab.Cut(i)
			break
		}
	}
	if f.groups != nil {
		f.groups.delivered()
	}
	f.sub.Push(slab, now)
	if len(messages) > 0 { // of what comes behind them: they are still to be handled
		f.proves(&messages[len(messages)-1], now)
	}
	return news
}

// single is deliver for one message, that at an index of a slab, which shares its id with no other.
func (f *feed) single(slab *slab, i int, m *Message, provisional bool, now time.Time) (news bool) {
	event := recent.Event{ReplayID: m.ReplayID, ID: m.ID, Identity: m.tellApart()}
	if f.duplicates.Seen(event) {
		slab.Duplicate(i)
		f.skip.reached(m.ReplayID)
		if !provisional && f.duplicates.CameProvisionally(event) && (len(f.position.id) == 0 || replayid.Compare(f.position.id, m.ReplayID) < 0) {
			// Now it has come in its turn. The marker is there, but where one that it had overtaken has taken it back.
			if replayid.Before(f.marked, m.ReplayID) {
				slab.Place(i)
				f.marked = m.ReplayID
			}
			f.moveTo(m.ReplayID, m)
		}
		return false
	}
	if f.wentBack(m); f.missed != nil {
		return false
	}
	if provisional {
		f.isNewFrom(m.ReplayID)
		f.duplicates.RememberProvisional(event)
	} else {
		f.duplicates.Remember(event)
		if len(f.provisional) == 0 && !f.duplicates.Expecting() {
			f.duplicates.ForgetProvisional() // they have come again
		}
	}
	f.last = m
	seen := f.seen.has(m)
	skipped := seen || f.skips(m, now)
	if skipped {
		slab.Skip(i)
	}
	// One that is skipped for its age has no place: a restart is to skip it again.
	placed := (!skipped || seen) && len(m.ReplayID) > 0
	if placed {
		slab.Place(i)
		f.marked = m.ReplayID
	}
	if !provisional {
		f.moveTo(m.ReplayID, m)
	} else if len(m.ReplayID) > 0 {
		if len(f.provisional) == 0 {
			f.base = f.position.id
		}
		f.provisional, f.provisionalLast = m.ReplayID, nil
		if placed {
			f.provisionalLast = m
		}
	}
	return true
}

// moveTo makes a replay id, of an event unless that is nil, the place to resume after.
// An event without one leaves the place as it is: it comes again after a reconnect.
func (f *feed) moveTo(id []byte, at *Message) {
	if len(id) == 0 {
		return
	}
	if f.onlyNew {
		f.skip = skipper{} // what comes after it is new too
	}
	moved := !bytes.Equal(f.position.id, id)
	if moved {
		f.before = f.position
	}
	if moved || at != nil {
		f.at, f.atDate = at, time.Time{}
	}
	f.position = position{id: id, skip: f.skip}
}

// confirmed takes in that nothing is missing before the provisional messages.
func (f *feed) confirmed() {
	if f.groups != nil {
		f.confirmGroups()
	}
	id, last := f.provisional, f.provisionalLast
	f.provisional, f.provisionalLast = nil, nil
	f.duplicates.ForgetProvisional()
	if len(id) > 0 && (bytes.Equal(f.position.id, f.base) || replayid.Compare(f.position.id, id) < 0) {
		f.moveTo(id, last)
		if last != nil && replayid.Before(f.marked, id) {
			f.sub.Reach(id, last.Date())
			f.marked = id
		}
	}
}

// sessionEnded forgets what was of this session only: provisional messages
// may have overtaken others and come again.
func (f *feed) sessionEnded() {
	f.sub.End()
	if f.streams() && f.proven {
		// What the server may have been seeking since the session began is not proven any more.
		if began := f.clock.Live(f.began, 0); began.Before(f.sub.Marker().Live) {
			f.sub.Prove(inbox.Evidence{Live: began})
		}
	}
	f.proven = false
	if len(f.provisional) > 0 && len(f.position.id) > 0 && replayid.Compare(f.provisional, f.position.id) < 0 {
		f.moveTo(f.provisional, nil) // the server sends old ones again: what follows them is to come
	}
	f.provisional, f.provisionalLast = nil, nil
	if f.groups != nil {
		f.endGroups()
	}
}

// undeliverable notes the first event of a session of new events that could not be
// queued: it is new, whatever its date.
func (f *feed) undeliverable(id []byte) {
	f.sub.OneAtATime()
	f.isNewFrom(id)
}

// isNewFrom notes the first event of a session of new events that leaves no position:
// when it comes again, it and what follows it is new, whatever its date.
func (f *feed) isNewFrom(id []byte) {
	if skip := &f.position.skip; f.onlyNew && len(f.position.id) == 0 && len(skip.until) == 0 {
		skip.until = id
	}
}

// warnUnacked warns, once for each time, that all room of the channel has been
// taken by unacked messages for a while. It returns when to look again.
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
