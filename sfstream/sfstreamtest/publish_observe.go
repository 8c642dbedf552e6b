package sfstreamtest

import (
	"slices"
	"time"
)

// PublishCall is a request with which a client publishes over the Pub/Sub API.
type PublishCall struct {
	Stream bool // on a PublishStream, not by a Publish of its own
	Events int
	At     time.Time
}

// PublishCalls returns the history of the requests that publish on a channel ("": on all),
// including those that were refused, if they had a good token and could publish on the channel.
func (s *Server) PublishCalls(channel string) []PublishCall {
	var calls []PublishCall
	s.observe(channel, func(t *topic) { calls = slices.Concat(calls, t.publishes) })
	return calls
}

// PublishStreams returns how many streams are open on which clients publish on a channel ("": on
// all).
func (s *Server) PublishStreams(channel string) int {
	n := 0
	s.observe(channel, func(t *topic) { n += len(t.publishStreams) })
	return n
}
