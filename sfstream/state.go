package sfstream

import "fmt"

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
	// StateParked has as much as WithPrefetch allows and no connection; it opens
	// one when the consumer goes on.
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
