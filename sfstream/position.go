package sfstream

import (
	"bytes"
	"strings"
	"time"
)

// What Salesforce keeps, and how far dates can be trusted.
const (
	// believable is the age past which an event's date says nothing: the bus
	// holds 72 hours at most, and purges late.
	believable = 73 * time.Hour

	// A position that was followed up to a retention less this margin ago has lost
	// nothing when its id ages out: what came since is still retained.
	retentionMargin = time.Hour

	commitMargin  = 10 * time.Minute // Salesforce sets commitTimestamp and createdDate
	createdMargin = time.Hour        // a publisher sets CreatedDate, often wrongly
)

// retention is how long Salesforce keeps the events of a channel.
func retention(channel string) time.Duration {
	if strings.HasPrefix(channel, "/topic/") || strings.HasPrefix(channel, "/u/") {
		return 24 * time.Hour
	}
	return 72 * time.Hour
}

// position is where a subscription opens next. Only its link touches it.
type position struct {
	id     []byte // strictly after this one; empty: none yet
	latest bool   // without id: only what comes from now on, else the oldest retained
	skip   skipper
}

// skipper drops events that are provably older than a moment. The zero value
// drops nothing.
type skipper struct {
	before time.Time
	exact  bool // the user named the moment; else it is ours, and clocks differ
	start  bool // it is when the channel was set to "new", and zero until Salesforce's time of that is known

	// until is the first event of a stream of new events that could not be queued:
	// it and what follows is new, whatever its date.
	until []byte
}

// reached ends the skipping at the event that it was until.
func (s *skipper) reached(id []byte) {
	if len(s.until) > 0 && bytes.Equal(id, s.until) {
		*s = skipper{}
	}
}

// skips reports whether an event is provably older. The first event that is
// provably not older ends the skipping: what follows it was published later,
// whatever its date says.
func (s *skipper) skips(m *Message, now time.Time) bool {
	if s.before.IsZero() {
		return false
	}
	if s.reached(m.ReplayID); s.before.IsZero() {
		return false
	}
	date := m.Date()
	if date.IsZero() || date.Before(now.Add(-believable)) {
		return false
	}
	official := m.codec.datedBySalesforce(m.payload)
	if date.After(now) && !official { // now may be slow: then Salesforce's date is right
		return false
	}
	margin := createdMargin
	switch {
	case s.exact:
		margin = 0
	case official:
		margin = commitMargin
	}
	if date.Before(s.before.Add(-margin)) {
		return true
	}
	*s = skipper{}
	return false
}
