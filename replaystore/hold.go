package replaystore

import (
	"bytes"
	"fmt"
	"slices"
	"time"
)

// hold is what a [Claim] knows of its key. Claim.mu guards all but the first four fields, which do
// not change. Its methods do no I/O.
type hold struct {
	key         string
	owner       string
	incarnation string
	lease       time.Duration

	state   claimState
	known   bool                 // the key has had a value
	entry   Entry                // the value, as far as the claim knows
	rev     string               // its revision; "": there is none
	doubt   bool                 // something of this claim may have been written that it does not know of
	wanted  Marker               // what the next put writes
	isSet   bool                 // wanted is from Set, and not what was read
	counter uint64               // the greatest that was seen or used
	sent    time.Time            // when the last put was sent that has succeeded
	pending map[uint64]time.Time // by counter, when it was sent; without those that are older than entry
	step    *step                // the last one of Advance
	seen    uint64               // the greatest counter of this claim's values that the register was known to have
}

// claimState is what a claim has of its key. It goes from idle to held to over, or from idle to
// over where what has come late is released.
type claimState int

const (
	claimIdle claimState = iota // it does not count on the key, even if a put of it has come late
	claimHeld                   // a Put has returned nil
	claimOver                   // another process has taken the key, or it was released
)

func (h *hold) mine(entry Entry) bool {
	return entry.Incarnation == h.incarnation && entry.Owner == h.owner
}

// released reports whether entry is the release of this claim.
func (h *hold) released(entry Entry) bool {
	return entry.Incarnation == h.incarnation && entry.Owner == ""
}

// next returns a value of this claim, with a counter that none has had.
func (h *hold) next(marker Marker, release bool) ([]byte, Entry, error) {
	h.counter++
	entry := Entry{Owner: h.owner, Incarnation: h.incarnation, Lease: h.lease, Counter: h.counter, Marker: marker.clone()}
	if release {
		entry.Owner = ""
	}
	value, err := entry.MarshalBinary()
	if err != nil {
		return nil, entry, fmt.Errorf("replaystore: key %q: %w", h.key, err)
	}
	h.pending[h.counter] = time.Now()
	return value, entry, nil
}

// observe takes notice of a value of another, at which an idle claim may take the key.
func (h *hold) observe(entry Entry, rev string) {
	h.known, h.entry, h.rev, h.doubt = true, entry, rev, false
	h.counter = max(h.counter, entry.Counter)
	if !h.isSet {
		h.wanted = entry.Marker.clone()
	}
}

// learn takes notice of the value that the register has, and fails if it is another's. seen is what
// was seen when the register was asked: transactions may have been faster than its reply.
func (h *hold) learn(entry Entry, rev string, seen uint64) error {
	h.doubt = entry.Counter < h.seen
	h.counter = max(h.counter, entry.Counter)
	switch {
	case h.state == claimOver, h.goesBack(entry, seen):
		return h.conflict()
	case h.state == claimIdle && rev == h.rev:
		return nil // it is what was read
	case h.released(entry):
		h.finish(entry)
		return nil
	case !h.mine(entry):
		return h.deposed(entry)
	}
	h.known, h.entry, h.rev = true, entry, rev
	if sent := h.pending[entry.Counter]; sent.After(h.sent) {
		h.sent = sent
	}
	for counter := range h.pending {
		if counter <= entry.Counter {
			delete(h.pending, counter)
		}
	}
	h.learnMarker(entry.Marker)
	return nil
}

// goesBack ends the claim where the register has an earlier value than it had, as a database has
// after a failover to a replica that was behind, and transactions have moved the marker: their rows
// are lost with it, and whoever starts with the marker that is there now makes them again.
func (h *hold) goesBack(entry Entry, seen uint64) bool {
	if h.mine(entry) {
		h.seen = max(h.seen, entry.Counter)
	}
	if !h.isBefore(entry, seen) {
		return false
	}
	h.finish(entry)
	return true
}

func (h *hold) isBefore(entry Entry, seen uint64) bool { return h.step != nil && entry.Counter < seen }

// learnMarker takes notice of a marker of this claim: a transaction may have moved it.
func (h *hold) learnMarker(marker Marker) {
	if s := h.step; s != nil && s.isEnd(marker) && samePlace(h.wanted, s.before) {
		h.wanted = marker.clone()
	}
}

func (h *hold) set(marker Marker) {
	if s := h.step; s != nil && samePlace(marker, s.before) && s.isEnd(h.wanted) {
		return // a Save that began before the transaction's message was acked
	}
	h.wanted, h.isSet = marker.clone(), true
}

// reached reports whether the register has what is wanted. With found it was looked for in this
// call; where a lease must be renewed, only a put with a counter from first on counts.
func (h *hold) reached(first uint64, found, release bool) (bool, error) {
	switch {
	case release && h.state == claimOver && h.released(h.entry):
		return true, nil
	case h.state == claimOver:
		return false, h.conflict()
	case release:
		return h.state == claimIdle && !h.mine(h.entry), nil
	case found && h.rev != "" && h.mine(h.entry) && (h.lease == 0 || h.entry.Counter >= first) && sameMarker(h.entry.Marker, h.wanted):
		h.state = claimHeld
		return true, nil
	}
	return false, nil
}

// deposed takes notice of another's value. A claim that never held the key may read it again.
func (h *hold) deposed(entry Entry) error {
	if h.state == claimIdle {
		return fmt.Errorf("%w: %q has %q now", ErrConflict, entry.Owner, h.key)
	}
	h.finish(entry)
	return h.conflict()
}

func (h *hold) finish(entry Entry) {
	h.state, h.entry = claimOver, entry
	clear(h.pending)
}

// conflict is the error of a claim that is over.
func (h *hold) conflict() error {
	switch {
	case h.isBefore(h.entry, h.seen):
		return fmt.Errorf("%w: the register has lost transactions that were committed: %q has an earlier value", ErrConflict, h.key)
	case h.entry.Owner == "":
		return fmt.Errorf("%w: %q was released", ErrConflict, h.key)
	}
	return fmt.Errorf("%w: %q has %q now", ErrConflict, h.entry.Owner, h.key)
}

// samePlace reports whether two markers are at the same place, whatever times they have.
func samePlace(a, b Marker) bool {
	return bytes.Equal(a.ReplayID, b.ReplayID) && bytes.Equal(a.Group.ReplayID, b.Group.ReplayID) && slices.Equal(a.Group.Handled, b.Group.Handled)
}

// sameMarker reports whether two markers have the same encoding.
func sameMarker(a, b Marker) bool {
	x, errX := a.MarshalBinary()
	y, errY := b.MarshalBinary()
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
