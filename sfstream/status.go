package sfstream

import (
	"slices"
	"sync"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/inbox"
)

// Status is a snapshot of a client.
type Status struct {
	// Volatile is true where markers are kept in memory only: a restart forgets where it was. See
	// WithReplayStore.
	Volatile bool
	Channels []ChannelStatus // sorted by channel
}

// ChannelStatus is a snapshot of one subscription.
type ChannelStatus struct {
	Channel string
	State   State

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

	Unacked       int      // AckManual and Run: handed out and not acked
	OldestUnacked *Message // of them, the one that the marker waits for; nil: none

	Resent      uint64 // events of one replay id that were sent again after a reconnect between them
	Reconnects  int    // sessions after the first
	Gaps        int    // calls of Hooks.OnGap for it, also of gaps that are only possible
	LastError   error
	LastErrorAt time.Time
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
	if oldest := in.OldestUnhandled; oldest != nil {
		if date := oldest.Date(); !date.IsZero() {
			ch.Lag = max(0, now.Sub(date))
		}
	}
}

// channelStatus is what a channel tells of itself. Its link writes, anyone reads.
type channelStatus struct {
	mu       sync.Mutex
	state    State
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
	s.state = state
	return changed, again
}

func (s *channelStatus) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.errAt = err, time.Now()
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
		State: s.state, Reconnects: max(0, s.sessions-1), Gaps: s.gaps, Resent: s.resends,
		LastError: s.err, LastErrorAt: s.errAt,
	}
}
