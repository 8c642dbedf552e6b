package sfstream

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Status is a snapshot of a client.
type Status struct {
	// Volatile is true where markers are kept in memory only: a restart forgets
	// where it was. See WithReplayStore.
	Volatile bool
	Channels []ChannelStatus // sorted by channel
}

// ChannelStatus is a snapshot of one subscription.
type ChannelStatus struct {
	Channel string
	State   State

	ReplayID     []byte    // up to here all is handled; empty: nothing yet
	Received     uint64    // events received by this subscription
	Handled      uint64    // of them, handled
	Pending      int       // of them, waiting to be handed out
	LastReceived time.Time // zero: nothing yet

	Unacked       int      // AckManual and Run: handed out and not acked
	OldestUnacked *Message // of them, the one that the marker waits for; nil: none

	Reconnects  int // sessions after the first
	Gaps        int // times that WithReplayFallback resumed elsewhere
	LastError   error
	LastErrorAt time.Time
}

// Status returns a snapshot of the client and its channels.
func (c *Client) Status() Status {
	status := Status{Volatile: c.cfg.volatile}
	for _, f := range c.snapshot() {
		ch := f.status.snapshot()
		ch.Channel = f.sub.channel
		f.sub.report(&ch)
		status.Channels = append(status.Channels, ch)
	}
	slices.SortFunc(status.Channels, func(a, b ChannelStatus) int { return strings.Compare(a.Channel, b.Channel) })
	return status
}

// report fills in what delivery knows.
func (s *subscription) report(ch *ChannelStatus) {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	ch.ReplayID = slices.Clone(s.watermark.current.id)
	ch.Received, ch.Handled, ch.Pending = s.received, s.handled, s.queued
	ch.LastReceived = s.lastReceived
	ch.Unacked, ch.OldestUnacked = s.unackedLocked()
}

// feedStatus is what a feed tells of itself. Its link writes, anyone reads.
type feedStatus struct {
	mu       sync.Mutex
	state    State
	sessions int
	gaps     int
	err      error
	errAt    time.Time
}

func (s *feedStatus) set(state State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = state
	if state == StateLive {
		s.sessions++
	}
}

func (s *feedStatus) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.errAt = err, time.Now()
}

func (s *feedStatus) gap() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gaps++
}

func (s *feedStatus) lastError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *feedStatus) snapshot() ChannelStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return ChannelStatus{
		State: s.state, Reconnects: max(0, s.sessions-1), Gaps: s.gaps,
		LastError: s.err, LastErrorAt: s.errAt,
	}
}
