package sfstream

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/inbox"
	"github.com/sfstream/sfstream-go/sfstream/internal/serverclock"
)

// Status is a snapshot of a client. [Status.Check] says whether all is well.
type Status struct {
	At time.Time // when it was taken

	// Err is why the client does not follow anything: ErrNotOpen, ErrClosed, or its terminal error;
	// nil while it is open.
	Err     error
	EndedAt time.Time // when it failed or was closed; zero: it has not

	// StoreError is a *StoreError while markers cannot be saved, else nil.
	StoreError        error
	StoreFailingSince time.Time // zero: the store does not fail

	Waiting int // consumers (loops, Receive, C, idle Runs) that wait for a message

	// Volatile is true where markers are kept in memory only: a restart forgets where it was. See
	// WithReplayStore.
	Volatile bool
	Channels []ChannelStatus // sorted by channel
}

// ChannelStatus is a snapshot of one subscription.
type ChannelStatus struct {
	Channel    string
	State      State
	StateSince time.Time // when State began

	// DisconnectedSince is since when Salesforce has not answered for the channel. An outage that
	// the log calls "disconnected" lasts until it says "connected again": over the Pub/Sub API that
	// may take the 270 seconds for which Salesforce may be silent. Zero: the channel is connected,
	// it is parked, or it has ended.
	DisconnectedSince time.Time
	LastHeard         time.Time // when its connection last showed that Salesforce is there; zero: never

	// Overdue is by how much the connection has been waiting longer for anything at all than any
	// server may take; 0 where it does not wait, as between attempts, during a login or while
	// parked. Time limits of the client end such a wait much sooner: what is overdue is a fault of
	// the client, or a hook that does not return.
	Overdue time.Duration

	ReplayID  []byte // up to here all is handled; empty: nothing yet
	Received  uint64 // events received by this subscription, with those that Salesforce sent again
	Delivered uint64 // times that one was handed out
	Handled   uint64 // of them, handled
	Pending   int    // waiting to be handed out

	LastReceived time.Time // when the last event came; zero: none yet
	LastReplayID []byte    // its replay id
	LastDate     time.Time // its date; zero where it carries none

	// Lag is how old the oldest event is that is not handled, by its own date and Salesforce's
	// clock; 0 where all is handled or it carries no date.
	Lag time.Duration

	// MarkerAge is how far back, by Salesforce's clock, a restart would have to go: the age of the
	// last event up to which all is handled, or less where the channel was seen to be quiet after
	// it; 0 where that is not known. Retention is how long Salesforce keeps the channel's events.
	MarkerAge, Retention time.Duration

	Managed *ManagedStatus // nil: the channel is no managed subscription

	Unacked       int      // AckManual and Run: handed out and not acked
	OldestUnacked *Message // of them, the one that the marker waits for; nil: none

	Resent      uint64 // events of one replay id that were sent again after a reconnect between them
	Reconnects  int    // sessions after the first
	Gaps        int    // calls of Hooks.OnGap for it, also of gaps that are only possible
	LastError   error
	LastErrorAt time.Time
}

// ManagedStatus is what [ChannelStatus] has of a managed subscription.
type ManagedStatus struct {
	Topic       string    // as the Tooling API names it; empty: not known
	Committed   []byte    // the replay id that Salesforce has confirmed last; empty: none yet
	CommittedAt time.Time // when
	CommitError error     // why the last commit has failed; nil: it has not
}

// fill fills in what the inbox knows.
func (ch *ChannelStatus) fill(in inbox.Status[Message], now time.Time) {
	ch.ReplayID = in.ReplayID
	ch.Received, ch.Delivered, ch.Handled, ch.Pending = in.Received, in.Delivered, in.Handled, in.Pending
	ch.LastReceived = in.LastReceived
	ch.Unacked, ch.OldestUnacked = in.Unacked, in.OldestUnacked
	if last := in.Last; last != nil {
		ch.LastReplayID, ch.LastDate = slices.Clone(last.ReplayID), last.Date()
	}
	if in.HandledUntil.After(serverclock.Beginning()) {
		ch.MarkerAge = max(0, now.Sub(in.HandledUntil))
	}
	if oldest := in.OldestUnhandled; oldest != nil {
		if date := oldest.Date(); !date.IsZero() {
			ch.Lag = max(0, now.Sub(date))
		}
	}
}

// longestSilence is how long a server may be silent that lives: over the Streaming API it holds a
// connect for 110 seconds, over the Pub/Sub API it says something every 270.
const longestSilence = 5 * time.Minute

// A pulse tells any goroutine whether a link moves. Its times are counted from when the link was
// made, by the monotonic clock: a wall clock that is set forward, as when a virtual machine wakes
// up, must not make a link look stuck.
type pulse struct {
	made    time.Time
	heard   atomic.Int64 // when its server was last heard of; 0: never
	awaited atomic.Int64 // since when something is to happen on the link; 0 while it may wait as long as it likes
}

func newPulse() *pulse { return &pulse{made: time.Now()} }

// at is a time as the fields have it, never 0.
func (p *pulse) at(t time.Time) int64 { return max(1, int64(t.Sub(p.made))) }

func (p *pulse) beat(now time.Time) {
	p.heard.Store(p.at(now))
	p.awaited.Store(p.at(now))
}

func (p *pulse) expect() { p.awaited.Store(p.at(time.Now())) }
func (p *pulse) rest()   { p.awaited.Store(0) }

// read returns when the server was last heard of, and by how much longer than limit the link has
// been waiting.
func (p *pulse) read(now time.Time, limit time.Duration) (heard time.Time, overdue time.Duration) {
	since := func(at int64) time.Duration { return time.Duration(p.at(now) - at) }
	if at := p.heard.Load(); at != 0 {
		heard = now.Add(-since(at)) // by the wall clock of now
	}
	if at := p.awaited.Load(); at != 0 {
		overdue = max(0, since(at)-limit)
	}
	return heard, overdue
}

// channelStatus is what a channel tells of itself. Its link writes, anyone reads.
type channelStatus struct {
	mu       sync.Mutex
	state    State
	since    time.Time // when state began; zero: it was never set
	down     time.Time // since when no server has answered for the channel; zero: one does, or it is parked or has ended
	sessions int
	live     time.Time // when its last session began to be live
	lost     time.Time // when it was live last
	gaps     int
	resends  uint64
	err      error // the last failure
	errAt    time.Time
	endedBy  error // nil: the channel is followed, or has ended without an error
}

// set notes the state. It reports whether that is another one, and returns the outage that has
// ended if the channel was live before and is again.
func (s *channelStatus) set(state State) (changed bool, again *Reconnect) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed = s.state != state || s.sessions == 0
	now := time.Now()
	if s.state == StateLive && state != StateLive {
		s.lost = now
	}
	if state == StateLive {
		if s.sessions > 0 {
			again = &Reconnect{Down: now.Sub(s.lost)}
			if !s.errAt.Before(s.live) { // else the server has ended the session politely
				again.Err = s.err
			}
		}
		s.live = now
		s.sessions++
	}
	if s.state != state || s.since.IsZero() {
		s.since = now
	}
	switch {
	case state == StateParked, state == StateEnded, state == StateLive && s.errAt.Before(s.down):
		s.down = time.Time{}
	case s.down.IsZero() && state != StateLive:
		s.down = now
	}
	s.state = state
	return changed, again
}

func (s *channelStatus) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.errAt = err, time.Now()
	if s.down.IsZero() {
		s.down = s.errAt
	}
}

// answered notes that a server has answered in the channel's session.
func (s *channelStatus) answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = time.Time{}
}

// end notes which error has ended the channel, nil for none. The channel's ended is set with it.
func (s *channelStatus) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endedBy = err
}

// reason is the error that has ended the channel, nil for none.
func (s *channelStatus) reason() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.endedBy
}

func (s *channelStatus) gap() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gaps++
}

// resent counts an event of an open group that has come again.
func (s *channelStatus) resent() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resends++
}

func (s *channelStatus) resentCount() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resends
}

func (s *channelStatus) lastError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *channelStatus) snapshot() ChannelStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return ChannelStatus{
		State: s.state, StateSince: s.since, DisconnectedSince: s.down, Reconnects: max(0, s.sessions-1), Gaps: s.gaps, Resent: s.resends,
		LastError: s.err, LastErrorAt: s.errAt,
	}
}
