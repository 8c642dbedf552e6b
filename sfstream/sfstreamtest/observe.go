package sfstreamtest

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// SubscribeCall is the first request of a stream, or a /meta/subscribe.
type SubscribeCall struct {
	Preset       string // LATEST, EARLIEST or CUSTOM
	ReplayID     []byte // on CometD the decimal text of the id
	NumRequested int
	At           time.Time
}

// Logins returns how often the token endpoint was asked, with or without success.
func (s *Server) Logins() int { return int(s.logins.Load()) }

// ReusedRefreshTokens counts the logins with a refresh token that was good once: it was rotated
// away or revoked.
func (s *Server) ReusedRefreshTokens() int {
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	return s.sessions.reused
}

// GetTopicCalls returns how often GetTopic was called.
func (s *Server) GetTopicCalls() int { return int(s.topicCalls.Load()) }

// GetSchemaCalls returns how often GetSchema was called.
func (s *Server) GetSchemaCalls() int { return int(s.schemaCalls.Load()) }

// Streams returns how many streams are open on a channel ("": on all): those of the Pub/Sub API,
// and subscriptions of those sessions of the Streaming API whose client is there.
func (s *Server) Streams(channel string) int {
	n := 0
	s.observe(channel, func(t *topic) { n += t.openLocked() })
	return n
}

// Outstanding returns how many events the open streams of a channel have asked for and not got.
func (s *Server) Outstanding(channel string) int {
	n := 0
	s.observe(channel, func(t *topic) {
		for st := range t.streams {
			n += st.outstanding
		}
	})
	return n
}

// MaxOutstanding returns the most events that one stream of a channel ever had asked for and not
// got, counted before the cap: above the cap the client asked for more than it can have.
func (s *Server) MaxOutstanding(channel string) int {
	n := 0
	s.observe(channel, func(t *topic) { n = max(n, t.maxOutstanding) })
	return n
}

// Subscribes returns the history of a channel's Subscribe calls, including those that were
// rejected, if they had a good token and a known channel.
func (s *Server) Subscribes(channel string) []SubscribeCall {
	var calls []SubscribeCall
	s.observe(channel, func(t *topic) { calls = slices.Concat(calls, t.subscribes) })
	return calls
}

func (s *Server) observe(channel string, look func(*topic)) {
	for _, t := range s.matching(channel) {
		t.mu.Lock()
		look(t)
		t.mu.Unlock()
	}
}

// AwaitStreams returns when exactly n streams are open on a channel. From then on a subscriber of
// new events gets what is published, unless [WithRoutingDelay] says otherwise.
func (s *Server) AwaitStreams(ctx context.Context, channel string, n int) error {
	t, ok := s.find(channel)
	if !ok {
		return fmt.Errorf("sfstreamtest: %s is not defined", channel)
	}
	for {
		t.mu.Lock()
		open, changed := t.openLocked(), t.streamsChanged
		t.mu.Unlock()
		if open == n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("sfstreamtest: %s has %d streams, not %d: %w", channel, open, n, ctx.Err())
		}
	}
}

// openLocked counts streams and subscriptions.
func (t *topic) openLocked() int {
	n := len(t.streams)
	for sub := range t.subs {
		if !sub.session.deserted.Load() {
			n++
		}
	}
	return n
}

// notifyLocked tells AwaitStreams to look again.
func (t *topic) notifyLocked() {
	close(t.streamsChanged)
	t.streamsChanged = make(chan struct{})
}
