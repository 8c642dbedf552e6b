package sfstream

import "github.com/sfstream/sfstream-go/replaystore"

// Hooks are called when something happens that a program may want to count or
// act on. Nil ones are not called. They run on the goroutine of the connection:
// they must not block, and must not call Close, Subscribe or Unsubscribe other
// than by a goroutine of their own (go client.Close()).
type Hooks struct {
	// OnGap hears that events of a channel may have been missed: its stored
	// position was refused and WithReplayFallback resumed elsewhere.
	OnGap func(Gap)

	// OnSubscriptionError hears that a channel cannot be followed any more. If it
	// returns true the client drops just that channel and lives on; else, as
	// without the hook, the client ends with the error.
	OnSubscriptionError func(channel string, err error) (drop bool)
}

// A Gap is a place in a channel where events may be missing.
type Gap struct {
	Channel string
	After   replaystore.Marker // the last position that was followed
	Reason  error              // what Salesforce said
}
