package sfstream

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/replayid"
)

// A Replay says where in a channel's retained events to start. It is
// comparable; its zero value is ReplayNew.
type Replay struct {
	kind replayKind
	id   string
	nano int64
}

type replayKind int

const (
	replayNew replayKind = iota
	replayAll
	replayAfter
	replaySince
)

var (
	// ReplayNew starts with events published from now on.
	ReplayNew Replay
	// ReplayAll starts with the oldest event that Salesforce retains (72 hours for
	// platform events and change events, 24 for PushTopics and generic events).
	ReplayAll = Replay{kind: replayAll}
)

// ReplayAfter starts strictly after the event of that replay id: a Message's
// ReplayID, which is opaque bytes on the Pub/Sub API and the number's decimal text
// on the Streaming API. Where several change events share the id, as on channels with
// enriched fields or filters, it skips all of them: start after the id before it to
// get them again. An empty id is refused by the call that the Replay is
// given to.
func ReplayAfter(id []byte) Replay { return Replay{kind: replayAfter, id: string(id)} }

// ReplaySince replays what is retained and skips what is older than t by the
// event's own date: a change event's commit time, a PushTopic's or generic
// event's createdDate, a platform event's CreatedDate (which its publisher
// writes). Skipping ends at the first event
// that is not older. An event without a believable date is not skipped. The
// zero time, as any before 1970, is ReplayAll.
func ReplaySince(t time.Time) Replay {
	if t.Unix() <= 0 {
		return ReplayAll
	}
	return Replay{kind: replaySince, nano: t.UnixNano()}
}

// String describes the start, as in "after 00000000075bcd150000".
func (r Replay) String() string {
	switch r.kind {
	case replayAll:
		return "all"
	case replayAfter:
		return "after " + replayid.Text([]byte(r.id))
	case replaySince:
		return "since " + time.Unix(0, r.nano).UTC().Format(time.RFC3339Nano)
	default:
		return "new"
	}
}

func (r Replay) validate(option string) error {
	if r.kind == replayAfter && r.id == "" {
		return fmt.Errorf("%w: %s: ReplayAfter needs a replay id", ErrInvalidOption, option)
	}
	return nil
}

// Fallback says what to do about a stale replay id; see WithReplayFallback.
type Fallback int

const (
	// FallbackFail ends the client with a *ReplayError.
	FallbackFail Fallback = iota
	// FallbackAll resumes at the oldest retained event.
	FallbackAll
	// FallbackNew resumes with events published from now on.
	FallbackNew
)

// String names the policy.
func (f Fallback) String() string {
	switch f {
	case FallbackFail:
		return "fail"
	case FallbackAll:
		return "all"
	case FallbackNew:
		return "new"
	default:
		return fmt.Sprintf("Fallback(%d)", int(f))
	}
}

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
	official := m.datedBySalesforce()
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
