package replaystore

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
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
	register Register
	log      *slog.Logger

	// turn holds a token while a method works with the register. [Advance].Next does not need it:
	// it runs in a transaction that has locked the value for which a Put may be waiting.
	turn chan struct{}

	mu sync.Mutex
	hold
}

// NewClaim returns a claim on key for a process with the name owner, which must not be empty. A key
// that it holds is free for others if lease passes without a put; zero says nothing of that, as with
// [FromRegister]. Warnings go to log; nil means that there is none.
func NewClaim(register Register, key, owner string, lease time.Duration, log *slog.Logger) *Claim {
	return &Claim{
		register: register,
		log:      cmp.Or(log, slog.New(slog.DiscardHandler)),
		turn:     make(chan struct{}, 1),
		hold: hold{
			key: key, owner: owner, incarnation: rand.Text(), lease: lease,
			pending: make(map[uint64]time.Time),
		},
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
// returns that value and the claim is over. Where a Put that had failed has come late, Read returns
// what that one has put; the claim holds the key when it has put it once more.
func (c *Claim) Read(ctx context.Context) (Entry, string, error) {
	if err := c.begin(ctx); err != nil {
		return Entry{}, "", err
	}
	defer c.end()
	entry, rev, seen, err := c.get(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case errors.Is(err, ErrNotFound):
		c.rev = ""
	case err != nil, c.goesBack(entry, seen):
	case c.state == claimIdle && !c.mine(entry):
		c.observe(entry, rev)
	default:
		_ = c.learn(entry, rev, seen)
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

// Marker returns the marker that the next Put writes: the last one that was set, or moved by a
// transaction that is known to have been committed, else the last one that was read. It is zero if
// there was none.
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
// at once. The claim is over then. It does nothing if the claim has not got the key.
func (c *Claim) Release(ctx context.Context) error { return c.write(ctx, true) }

// Sent returns when the last put that is known to have succeeded was sent, by the monotonic clock:
// the lease counts from then. It is zero while the claim does not hold the key.
func (c *Claim) Sent() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != claimHeld {
		return time.Time{}
	}
	return c.sent
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

// get returns what had been seen when it asked, too.
func (c *Claim) get(ctx context.Context) (entry Entry, rev string, seen uint64, err error) {
	c.mu.Lock()
	seen = c.seen
	c.mu.Unlock()
	value, rev, err := c.register.Get(ctx, c.key)
	if err != nil {
		return Entry{}, "", seen, err
	}
	if err := entry.UnmarshalBinary(value); err != nil {
		return Entry{}, "", seen, fmt.Errorf("replaystore: key %q: %w", c.key, err)
	}
	return entry, rev, seen, nil
}

// write puts until what is wanted is known to be there, or cannot be.
func (c *Claim) write(ctx context.Context, release bool) error {
	if err := c.begin(ctx); err != nil {
		return err
	}
	defer c.end()
	c.mu.Lock()
	first, doubt := c.counter+1, c.doubt
	c.mu.Unlock()
	var failed error
	for tries := 3; ; tries-- {
		if doubt {
			if err := c.find(ctx); err != nil {
				return trouble(err, failed)
			}
		}
		c.mu.Lock()
		done, err := c.reached(first, doubt, release)
		c.mu.Unlock()
		switch {
		case done || err != nil:
			return err
		case tries == 0:
			return fmt.Errorf("replaystore: key %q could not be put: %v", c.key, failed)
		}
		if failed = c.put(ctx, release); failed == nil {
			return nil
		}
		doubt = true
	}
}

// trouble returns err, with the failure of the put that it was to clear up. That one is for people
// only: as long as nobody knows what it has done, it is no [ErrConflict].
func trouble(err, failed error) error {
	if failed == nil || errors.Is(err, ErrConflict) {
		return err
	}
	return fmt.Errorf("%w, after: %v", err, failed)
}

// find finds out what the register has.
func (c *Claim) find(ctx context.Context) error {
	entry, rev, seen, err := c.get(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.Is(err, ErrNotFound) {
		hadOne := c.rev != ""
		c.rev, c.doubt = "", false
		if hadOne && c.state == claimIdle && c.lease > 0 {
			// Another may have taken it before it was lost, and hold it still.
			return fmt.Errorf("%w: %q was lost from the register since it was read", ErrConflict, c.key)
		}
		return nil
	}
	if err != nil {
		return err
	}
	return c.learn(entry, rev, seen)
}

// put tries once.
func (c *Claim) put(ctx context.Context, release bool) error {
	c.mu.Lock()
	rev, lost, seen := c.rev, c.rev == "" && c.known, c.seen
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
	if err := c.learn(entry, newRev, seen); err != nil {
		return err
	}
	if !release {
		c.state = claimHeld
	}
	return nil
}
