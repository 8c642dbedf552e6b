package replaystore

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"
)

// ErrNotFound is returned by Load if no marker was ever saved for that [Key], or it was deleted.
// Match it with [errors.Is].
var ErrNotFound = errors.New("replaystore: no marker for this key")

// Marker is a place in a channel's event log: everything up to it has been handled.
type Marker struct {
	// ReplayID identifies the last handled event. It is opaque: nobody parses, compares or orders
	// it. The number that CometD sends is kept as its decimal text. It is empty (nil and empty are
	// the same) if no event has been handled yet.
	ReplayID []byte

	// Date is the date of that event, zero if the event carries none, or one beyond the years 0 to
	// 9999, which its publisher got wrong. It is for information, never for ordering.
	Date time.Time

	// Live is the moment until which the channel was followed without a gap, zero if that is not
	// known. With an empty ReplayID it says where to start: at the events from Live on.
	Live time.Time

	// Followed is the moment until which the channel was followed, with a gap or without. Over the
	// Streaming API it can be later than Live, because a server that seeks through a backlog is
	// quiet: the channel is followed, but nobody knows whether it is without a gap. It is zero if
	// it is not known, or the same as Live.
	Followed time.Time

	// Group says which of the events that come next after ReplayID are handled, if these share one
	// replay id. Its zero value says that none is. ReplayID alone is always a safe place to resume
	// at: if a store forgets Group no events are lost, and those that were handled come again.
	Group Group
}

// Group is the handled part of several events that share one replay id. Salesforce gives one id to
// all events of a transaction if a channel of change events has enriched fields or filters. A
// subscriber that resumes at that id gets none of them, so a marker reaches it only when all of
// them are handled.
type Group struct {
	ReplayID []byte    // the replay id that they share; empty: there is no group
	Date     time.Time // the date of the first event; zero if that carries none

	// Handled names the events that are handled, by 8 bytes each that tell them apart within the
	// group. It is opaque, and no longer than [MaxHandled].
	Handled []uint64
}

// MaxHandled is the greatest length of [Group].Handled: the names of so many events take 32 KiB.
const MaxHandled = 4096

// clone returns a copy of the marker that shares no memory with it.
func (m Marker) clone() Marker {
	m.ReplayID = bytes.Clone(m.ReplayID)
	m.Group.ReplayID = bytes.Clone(m.Group.ReplayID)
	m.Group.Handled = slices.Clone(m.Group.Handled)
	return m
}

// Store loads and saves markers. This comment is its contract; package replaystoretest tests it.
//
// A Store serves one consumer per [Key]: it need not arbitrate between two that save under the same
// one, but may tell one of them by [ErrConflict]. All methods must be safe for concurrent use. Keys that are equal after [Key.Canonical] are
// one key.
//
// A blocking call returns with ctx.Err() (perhaps wrapped) soon after ctx ends, as far as the back
// end allows. A call with a ctx that has ended already does nothing. The exception to both is a
// Save that can no longer be taken back: it may finish and return nil.
type Store interface {
	// Load returns the marker last saved for key: ReplayID byte for byte, times as the same
	// instants to the millisecond or better, zero times as zero times. A store may lose Followed,
	// and Group as a whole, never a part of it. What the marker refers to belongs to the caller,
	// who may change it.
	//
	// The error is ErrNotFound if there is no marker. It must not be ErrNotFound if there is one
	// that cannot be read or reached, because the caller would start from the default position and
	// lose events.
	Load(ctx context.Context, key Key) (Marker, error)

	// Save stores the markers, each of them whole: no Load sees a part of one. If it returns an
	// error it has stored some of them, or none. If it returns nil they are durable: a crash of the
	// process or the machine right afterwards does not lose them. Save overwrites whatever is
	// there, even with an older marker. Keys not in the map keep their markers, and an empty map is
	// no error.
	//
	// The error is [ErrConflict] if somebody else has a key now: it is final, and ends the client.
	//
	// The map and the bytes in it belong to the caller, who may reuse both after Save returns: a
	// store copies what it keeps.
	Save(ctx context.Context, markers map[Key]Marker) error
}
