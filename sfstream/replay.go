package sfstream

import (
	"fmt"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/replayid"
)

// A Replay says where in a channel's retained events to start. It is comparable; its zero value is
// [ReplayNew].
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
	// ReplayAll starts with the oldest event that Salesforce retains (72 hours for platform events
	// and change events, 24 for PushTopics and generic events).
	ReplayAll = Replay{kind: replayAll}
)

// ReplayAfter starts strictly after the event of that replay id: a [Message]'s [Message.ReplayID],
// which is opaque bytes on the Pub/Sub API and the number's decimal text on the Streaming API.
// Where several change events share the id, as on channels with enriched fields or filters, it
// skips all of them: start after the id before it to get them again. An empty id is refused by the
// call that the [Replay] is given to.
func ReplayAfter(id []byte) Replay { return Replay{kind: replayAfter, id: string(id)} }

// ReplaySince replays what is retained and skips what is older than t by the event's own date: a
// change event's commit time, a PushTopic's or generic event's createdDate, a platform event's
// CreatedDate (which its publisher writes). Skipping ends at the first event that is not older. An
// event without a believable date is not skipped. The zero time, as any before 1970, is
// [ReplayAll].
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

// Fallback says what to do about a stale replay id; see [WithReplayFallback].
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
