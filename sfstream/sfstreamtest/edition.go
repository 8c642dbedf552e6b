package sfstreamtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// editions has how many PushTopics and channels of generic streaming an org can have, by its
// edition.
var editions = map[string]struct{ pushTopics, streamingChannels int }{
	"developer": {40, 200}, "professional": {40, 1000}, "enterprise": {50, 1000}, "unlimited": {100, 1000},
}

// WithEdition sets the edition, on which it depends how many PushTopics and channels of generic
// streaming requests can create: developer (40 and 200, the default), professional (40 and 1,000),
// enterprise (50 and 1,000) or unlimited (100 and 1,000). PushTopics that are not active do not
// count. What Go code and the control API define counts, and is never refused.
func WithEdition(edition string) Option { return func(c *config) { c.edition = edition } }

func validEdition(edition string) error {
	if _, ok := editions[edition]; ok {
		return nil
	}
	return fmt.Errorf("sfstreamtest: WithEdition(%q): it is one of %s", edition, strings.Join(slices.Sorted(maps.Keys(editions)), ", "))
}

// roomFor fails if the org has as many channels of a kind as it can have.
func (s *Server) roomFor(kind channelKind, have int) error {
	most, what := editions[s.config.edition].pushTopics, "active PushTopics"
	if kind == streamingChannels {
		most, what = editions[s.config.edition].streamingChannels, "streaming channels"
	}
	if have >= most {
		return limitExceeded(what, most)
	}
	return nil
}
