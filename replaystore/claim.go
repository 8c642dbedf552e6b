package replaystore

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Claim is the hold of one process on one key of a [Register]: it reads the key, takes it, and
// keeps and moves its marker until another process takes it or it is released. Each Claim has an
// incarnation of its own, by which it knows what it has written itself, also where a reply was
// lost. It is for packages such as cluster, and starts no goroutine; all methods are safe for
// concurrent use.
//
// A Claim does not judge leases. Who calls Put first decides that the key is free.
type Claim struct {
	register    Register
	key         string
	owner       string
	incarnation string
	lease       time.Duration
	log         *slog.Logger

	// turn holds a token while a method works with the register. [Advance].Next does not need it:
	// it runs in a transaction that has locked the value for which a Put may be waiting.
	turn chan struct{}

	mu      sync.Mutex // guards all below
	state   claimState
	known   bool                 // the key has had a value
	entry   Entry                // the value, as far as the claim knows
	rev     string               // its revision; "": there is none
	doubt   bool                 // something of this claim may have been written that it does not know of
	wanted  Marker               // what the next put writes
	counter uint64               // the greatest that was seen or used
	sent    time.Time            // when the last put was sent that has succeeded; zero unless the key is held
	pending map[uint64]time.Time // by counter, when it was sent; without those that are older than entry
	step    *step                // the last one of Advance
}

// claimState is what a claim has of its key. It goes from idle to held to over, or from idle to
// over.
type claimState int

const (
	claimIdle claimState = iota
	claimHeld
	claimOver // another process has taken the key, or it was released
)

// NewClaim returns a claim on key for a process with the name owner, which must not be empty. A key
// that it holds is free for others if lease passes without a put; zero means never. Warnings go to
// log; nil means that there is none.
func NewClaim(register Register, key, owner string, lease time.Duration, log *slog.Logger) *Claim {
	return &Claim{
		register: register, key: key, owner: owner, incarnation: rand.Text(), lease: lease,
		log:     cmp.Or(log, slog.New(slog.DiscardHandler)),
		turn:    make(chan struct{}, 1),
		pending: make(map[uint64]time.Time),
	}
}

// Incarnation returns what tells this claim from others of the same owner: [Entry].Incarnation of
// what it puts.
func (c *Claim) Incarnation() string { return c.incarnation }

// Again returns a new claim of the same process on the same key, with the last marker that this one
// knows: it is what a key gets that has been lost from the engine.
func (c *Claim) Again() *Claim {
	next := NewClaim(c.register, c.key, c.owner, c.lease, c.log)
	c.mu.Lock()
	defer c.mu.Unlock()
	next.known, next.wanted, next.counter = c.known, c.wanted.clone(), c.counter
	return next
}

// Read returns the value of the key and its revision. The error is [ErrNotFound] if there is none.
// It renews no lease. Where this claim held the key and it belongs to another process now, Read
// returns that value and the claim is over.
func (c *Claim) Read(ctx context.Context) (Entry, string, error) {
	if err := c.begin(ctx); err != nil {
		return Entry{}, "", err
	}
	defer c.end()
	entry, rev, err := c.get(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case errors.Is(err, ErrNotFound):
		c.rev = ""
	case err != nil:
	case c.state == claimIdle && !c.mine(entry):
		c.known, c.entry, c.rev, c.doubt = true, entry, rev, false
		c.counter = max(c.counter, entry.Counter)
		c.wanted = entry.Marker.clone()
	default:
		_ = c.learn(entry, rev)
	}
	return entry, rev, err
}

// Set sets the marker that the next Put writes. A marker from before a transaction of Advance that
// is known to have been committed is ignored.
func (c *Claim) Set(marker Marker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(marker)
}

// Marker returns the marker that the next Put writes: the last one that was read, set, or moved by a
// transaction that is known to have been committed. It is zero if there was none.
func (c *Claim) Marker() Marker {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wanted.clone()
}

// Put writes the marker, and the owner with it: it renews the lease of a key that is held, and
// takes one that is not, if it still has the revision that Read has returned, or has no value where
// Read has found none. Without a Set it writes the marker that is there.
//
// The error is [ErrConflict] if another process has the key: for ever, if this claim held it. A
// claim that did not may Read again. After any other error the claim may have the key or get it
// later, and Put can be called again.
//
// Where the register has lost a value that it had, Put creates it again with the last marker known
// and logs a warning.
func (c *Claim) Put(ctx context.Context) error { return c.write(ctx, false) }

// Release writes the marker and an empty owner in one put, so that another process may take the key
// at once. The claim is over then. It does nothing if the claim does not hold the key.
func (c *Claim) Release(ctx context.Context) error { return c.write(ctx, true) }

// Sent returns when the last put that is known to have succeeded was sent, by the monotonic clock:
// the lease counts from then. It is zero while the claim does not hold the key.
func (c *Claim) Sent() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent
}

// Advance returns the step from before to after, as [Advancer] has it. Only the last step of a
// claim may be under way. It puts the marker first where the key has no value, and does not wait
// for the register else: it may be called within a transaction that has locked much.
func (c *Claim) Advance(ctx context.Context, before, after Marker) (Advance, error) {
	c.mu.Lock()
	c.set(before)
	absent := c.rev == "" && c.state != claimOver
	c.mu.Unlock()
	if absent {
		if err := c.Put(ctx); err != nil {
			return Advance{}, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == claimOver {
		return Advance{}, c.conflict()
	}
	c.step = &step{claim: c, before: before.clone(), after: after.clone(), counter: c.counter}
	return Advance{Register: c.register, Key: c.key, Next: c.step.next}, nil
}

// step is a marker's way from before to after, which a transaction makes or does not.
type step struct {
	claim         *Claim
	before, after Marker
	counter       uint64 // no value with a greater one had been written when the step was made
}

// next is [Advance].Next.
func (s *step) next(stored []byte) ([]byte, error) {
	var entry Entry
	if err := entry.UnmarshalBinary(stored); err != nil {
		return nil, fmt.Errorf("replaystore: key %q: %w", s.claim.key, err)
	}
	c := s.claim
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counter = max(c.counter, entry.Counter)
	switch {
	case c.state == claimOver:
		return nil, c.conflict()
	case c.mine(entry) && samePlace(entry.Marker, s.after):
		c.learnMarker(entry.Marker)
		return nil, ErrHandled
	case c.mine(entry) && entry.Counter > s.counter && !samePlace(entry.Marker, s.before):
		// A value with a lower counter has a marker from before the step. This one was written
		// since, and may have a marker from after it.
		return nil, fmt.Errorf("replaystore: key %q: the marker has moved since the message was handed out", c.key)
	case c.mine(entry):
	case c.state == claimIdle && entry.Counter == c.entry.Counter && entry.Incarnation == c.entry.Incarnation && entry.Owner == c.entry.Owner:
		// The transaction takes the key as Put does: it has the value that was read.
	default:
		return nil, c.deposed(entry)
	}
	value, _, err := c.next(s.after, false)
	c.doubt = true
	return value, err
}

// begin waits for the turn of a call that uses the register.
func (c *Claim) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case c.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Claim) end() { <-c.turn }

func (c *Claim) get(ctx context.Context) (entry Entry, rev string, err error) {
	value, rev, err := c.register.Get(ctx, c.key)
	if err != nil {
		return Entry{}, "", err
	}
	if err := entry.UnmarshalBinary(value); err != nil {
		return Entry{}, "", fmt.Errorf("replaystore: key %q: %w", c.key, err)
	}
	return entry, rev, nil
}

// write puts until what is wanted is known to be there, or cannot be.
func (c *Claim) write(ctx context.Context, release bool) error {
	if err := c.begin(ctx); err != nil {
		return err
	}
	defer c.end()
	c.mu.Lock()
	first := c.counter + 1
	c.mu.Unlock()
	var failed error
	for range 3 {
		if done, err := c.resolve(ctx, first, release); done || err != nil {
			return trouble(err, failed)
		}
		if failed = c.put(ctx, release); failed == nil {
			return nil
		}
	}
	if done, err := c.resolve(ctx, first, release); done || err != nil {
		return trouble(err, failed)
	}
	return fmt.Errorf("replaystore: key %q could not be put: %v", c.key, failed)
}

// trouble returns err, with the failure of the put that it was to clear up. That one is for people
// only: as long as nobody knows what it has done, it is no [ErrConflict].
func trouble(err, failed error) error {
	if err == nil || failed == nil || errors.Is(err, ErrConflict) {
		return err
	}
	return fmt.Errorf("%w, after: %v", err, failed)
}

// resolve finds out what the register has, if that is in doubt. It is done if that is what is
// wanted, put by a counter from first on where a lease must be renewed.
func (c *Claim) resolve(ctx context.Context, first uint64, release bool) (done bool, err error) {
	c.mu.Lock()
	doubt, over, nothing := c.doubt, c.state == claimOver, c.state == claimIdle && release
	if over {
		err = c.conflict()
	}
	c.mu.Unlock()
	if over || !doubt {
		return nothing, err
	}
	entry, rev, err := c.get(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.Is(err, ErrNotFound) {
		c.rev, c.doubt = "", false
		return c.state == claimIdle && release, nil
	}
	if err != nil {
		return false, err
	}
	if err := c.learn(entry, rev); err != nil {
		return false, err
	}
	switch c.state {
	case claimIdle:
		return release, nil
	case claimOver:
		return true, nil
	}
	return !release && (c.lease == 0 || entry.Counter >= first) && sameMarker(entry.Marker, c.wanted), nil
}

// put tries once.
func (c *Claim) put(ctx context.Context, release bool) error {
	c.mu.Lock()
	rev, lost := c.rev, c.rev == "" && c.known
	value, entry, err := c.next(c.wanted, release)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	newRev, err := c.register.Put(ctx, c.key, value, rev)
	if err == nil && lost {
		c.log.Warn("the register had lost a value: it is created again with the last marker known", "key", c.key, "owner", c.owner)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.doubt = true
		return err
	}
	return c.learn(entry, newRev)
}

// lost returns the error of a claim that is over, else nil.
func (c *Claim) lost() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != claimOver {
		return nil
	}
	return c.conflict()
}

// The methods from here on need mu.

// next returns a value of this claim, with a counter that none has had.
func (c *Claim) next(marker Marker, release bool) ([]byte, Entry, error) {
	c.counter++
	entry := Entry{Owner: c.owner, Incarnation: c.incarnation, Lease: c.lease, Counter: c.counter, Marker: marker.clone()}
	if release {
		entry.Owner = ""
	}
	value, err := entry.MarshalBinary()
	if err != nil {
		return nil, entry, fmt.Errorf("replaystore: key %q: %w", c.key, err)
	}
	c.pending[c.counter] = time.Now()
	return value, entry, nil
}

func (c *Claim) mine(entry Entry) bool {
	return entry.Incarnation == c.incarnation && entry.Owner == c.owner
}

// learn takes notice of the value that the register has.
func (c *Claim) learn(entry Entry, rev string) error {
	c.doubt = false
	c.counter = max(c.counter, entry.Counter)
	switch {
	case c.state == claimOver:
		return c.conflict()
	case c.state == claimIdle && rev == c.rev:
		return nil // it is what was read
	case entry.Incarnation == c.incarnation && entry.Owner == "":
		c.finish(entry)
		return nil
	case !c.mine(entry):
		return c.deposed(entry)
	}
	c.state, c.known, c.entry, c.rev = claimHeld, true, entry, rev
	if sent := c.pending[entry.Counter]; sent.After(c.sent) {
		c.sent = sent
	}
	for counter := range c.pending {
		if counter <= entry.Counter {
			delete(c.pending, counter)
		}
	}
	c.learnMarker(entry.Marker)
	return nil
}

// learnMarker takes notice of a marker of this claim: a transaction may have moved it.
func (c *Claim) learnMarker(marker Marker) {
	if s := c.step; s != nil && samePlace(marker, s.after) && samePlace(c.wanted, s.before) {
		c.wanted = marker.clone()
	}
}

func (c *Claim) set(marker Marker) {
	if s := c.step; s != nil && samePlace(marker, s.before) && samePlace(c.wanted, s.after) {
		return // a Save that began before the transaction's message was acked
	}
	c.wanted = marker.clone()
}

// deposed takes notice of another's value. A claim that never held the key may read it again.
func (c *Claim) deposed(entry Entry) error {
	if c.state == claimIdle {
		return fmt.Errorf("%w: %q has %q now", ErrConflict, entry.Owner, c.key)
	}
	c.finish(entry)
	return c.conflict()
}

func (c *Claim) finish(entry Entry) {
	c.state, c.entry, c.sent = claimOver, entry, time.Time{}
	clear(c.pending)
}

// conflict is the error of a claim that is over.
func (c *Claim) conflict() error {
	if c.entry.Owner == "" {
		return fmt.Errorf("%w: %q was released", ErrConflict, c.key)
	}
	return fmt.Errorf("%w: %q has %q now", ErrConflict, c.entry.Owner, c.key)
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
