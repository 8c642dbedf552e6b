package sfstream

import (
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// Hooks are called when something happens that a program may want to count or
// act on. Nil ones are not called. But for OnSaved they run on the goroutine of
// the connection: they must not block, and must not call Close, Subscribe or
// Unsubscribe other than by a goroutine of their own (go client.Close()). They
// may be called on several goroutines at once.
type Hooks struct {
	// OnState hears that a channel's connection is in another state. err is why it
	// is waiting or has ended, else nil.
	OnState func(channel string, state State, err error)

	// OnReconnect hears that a channel which was followed before is followed again.
	OnReconnect func(Reconnect)

	// OnLogin hears of each login, and of each that failed.
	OnLogin func(LoginEvent)

	// OnSaved hears of each marker that the store has taken. It must not block: the
	// next Save waits for it.
	OnSaved func(key replaystore.Key, marker replaystore.Marker)

	// OnGap hears that events of a channel may have been missed: its stored
	// position was refused and WithReplayFallback resumed elsewhere, or replay ids
	// have begun anew; or, where Possible is set, nobody can know.
	OnGap func(Gap)

	// OnLimit hears that Salesforce refuses something because an allocation of the
	// org or the user is used up. The client retries slowly.
	OnLimit func(*ServerError)

	// OnSubscriptionError hears that a channel cannot be followed any more. If it
	// returns true the client drops just that channel and lives on; else, as
	// without the hook, the client ends with the error. An *AuthError is no channel's
	// and ends the client in any case.
	OnSubscriptionError func(channel string, err error) (drop bool)

	// OnRaw hears what a server sent, for debugging: each FetchResponse of the
	// Pub/Sub API in protobuf's wire format, with the channel, and each message of
	// the Streaming API, as JSON, with the channel that it names. raw must not be
	// changed or kept.
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
	// Possible is true where events may be missing and nobody can know: over the
	// Streaming API a quiet channel may be one whose backlog the server seeks through,
	// and a server that is behind names a position that is behind. The client goes
	// on, whatever WithReplayFallback says.
	Possible bool
}
