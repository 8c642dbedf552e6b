package sfstream

import (
	"fmt"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// Hooks are functions that the client calls when something happens that a program may want to count
// or act on. Nil functions are not called. They run on the goroutine to which it happens, mostly
// that of a connection, and several may run at once: they must not block, and must not call
// [Client.Close], [Client.Subscribe] or [Client.Unsubscribe] other than on a goroutine of their own
// (go client.Close()).
type Hooks struct {
	// OnState is called when a channel's connection has another state. err is why it is waiting or
	// has ended, else nil.
	OnState func(channel string, state State, err error)

	// OnReconnect is called when a channel that was followed before is followed again.
	OnReconnect func(Reconnect)

	// OnLogin is called after each login, and after each login that failed.
	OnLogin func(LoginEvent)

	// OnSaved is called for each marker that the store has saved, and for each one that a managed
	// subscription has committed: its key has "managed" as API and the given name as Channel. It
	// must not block: the next Save waits for it.
	OnSaved func(key replaystore.Key, marker replaystore.Marker)

	// OnGap is called when events of a channel may have been missed: Salesforce refused its stored
	// position and WithReplayFallback resumed elsewhere, or replay ids have begun anew; or, where
	// Possible is set, nobody can know.
	OnGap func(Gap)

	// OnLimit is called when Salesforce refuses something because an allocation of the org or the
	// user is used up. The client retries slowly.
	OnLimit func(*ServerError)

	// OnSubscriptionError is called when a channel cannot be followed any more. If it returns true
	// the client drops just that channel and lives on; else, as without the hook, the client ends
	// with the error. An *AuthError concerns all channels and ends the client in any case.
	OnSubscriptionError func(channel string, err error) (drop bool)

	// OnRaw is called with what a server sent, for debugging: each FetchResponse of the Pub/Sub API
	// in protobuf's wire format, with its channel, and each message of the Streaming API, as JSON,
	// with the channel that it names. The hook must not change or keep raw.
	OnRaw func(channel string, raw []byte)
}

// A Reconnect is the end of a channel's outage.
type Reconnect struct {
	Channel string
	Down    time.Duration // since it was followed last
	Err     error         // why it was not, nil where the server ended it politely
}

// A LoginEvent is a login, or one that failed. It holds no secret.
type LoginEvent struct {
	LoginURL    string
	InstanceURL string // empty where it failed
	OrgID       string // 18 characters; empty where it failed
	Err         error  // why it failed: mostly an *authenticator.Error
}

// A Gap is a place in a channel where events may be missing.
type Gap struct {
	Channel string
	After   replaystore.Marker // the last position that was followed
	Reason  error              // what Salesforce said
	// Possible is true where events may be missing and nobody can know: over the Streaming API a
	// quiet channel may be one whose backlog the server seeks through, and a server that is behind
	// names a position that is behind. The client goes on, whatever WithReplayFallback says.
	Possible bool
}

// State is what a channel's connection is doing.
//
//	opening ──► live ──► waiting ──► opening …
//	   └──► waiting ◄───────┘   │
//	live, waiting ──► parked ──► opening     (no room: the consumer is slow)
//	any ──► ended
type State int

const (
	// StateOpening is logging in and subscribing.
	StateOpening State = iota
	// StateLive is receiving.
	StateLive
	// StateWaiting is backing off after a failure.
	StateWaiting
	// StateParked has as much as WithPrefetch allows and no connection; it opens one when the
	// consumer goes on.
	StateParked
	// StateEnded is over: unsubscribed, closed or failed.
	StateEnded
)

// String names the state, as in "live".
func (s State) String() string {
	names := [...]string{"opening", "live", "waiting", "parked", "ended"}
	if s < 0 || int(s) >= len(names) {
		return fmt.Sprintf("State(%d)", int(s))
	}
	return names[s]
}
