package replaystore

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
)

// RegisterOption is an option of [FromRegister].
type RegisterOption func(*registerStore)

// WithKeyPrefix sets what the keys in the register begin with, for programs that share it: such as
// "billing/". The default is none.
func WithKeyPrefix(prefix string) RegisterOption {
	return func(s *registerStore) { s.prefix = prefix }
}

// WithWarnings sets the log for warnings: a value that the register has lost is one. The default is
// none.
func WithWarnings(log *slog.Logger) RegisterOption {
	return func(s *registerStore) { s.log = log }
}

// FromRegister returns a [Store] that keeps each marker under a key of its own, the text of its
// canonical [Key], as an [Entry]. A Save of several keys puts some of them at a time, and those
// that succeed stay where others fail. It is an [Advancer], too.
//
// It serves one process for each key, without leases: whoever loads a marker and saves has the key
// from then on. The process that had it before gets [ErrConflict] from its next Save, and so does
// the slower one of two that have loaded the same marker; the client of either ends, so that no
// marker goes back. Up to then both handle messages. Where replicas are to take turns, use package
// cluster and not this store, which would take their keys.
//
// A store that has got ErrConflict after it had saved has lost that key for ever: make another one.
func FromRegister(register Register, opts ...RegisterOption) Store {
	host, _ := os.Hostname()
	s := &registerStore{register: register, owner: cmp.Or(host, "unknown"), claims: make(map[Key]*storeClaim)}
	for _, opt := range opts {
		opt(s)
	}
	return s
}

type registerStore struct {
	register Register
	prefix   string
	owner    string // for people who read a conflict
	log      *slog.Logger

	mu     sync.Mutex
	claims map[Key]*storeClaim
}

// storeClaim is the store's claim on one key.
type storeClaim struct {
	*Claim
	known atomic.Bool // it was read
}

var _ Advancer = (*registerStore)(nil)

func (s *registerStore) claim(key Key) *storeClaim {
	key = key.Canonical()
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.claims[key]
	if c == nil {
		text, _ := key.MarshalText()
		c = &storeClaim{Claim: NewClaim(s.register, s.prefix+string(text), s.owner, 0, s.log)}
		s.claims[key] = c
	}
	return c
}

// read reads the key, and fails if this store had it and has lost it.
func (c *storeClaim) read(ctx context.Context) (Entry, error) {
	entry, _, err := c.Read(ctx)
	if err == nil || errors.Is(err, ErrNotFound) {
		c.known.Store(true)
		err = cmp.Or(c.lost(), err)
	}
	return entry, err
}

// lost is the error of a claim that is over, else nil.
func (c *storeClaim) lost() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != claimOver {
		return nil
	}
	return c.conflict()
}

// want sets the marker before it reads a key that was never read: a transaction may move the marker
// on while it does.
func (c *storeClaim) want(ctx context.Context, marker Marker) error {
	c.Set(marker)
	if c.known.Load() {
		return nil
	}
	if _, err := c.read(ctx); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}

// Load implements [Store]. Where the register has lost the value, it returns the last marker known.
func (s *registerStore) Load(ctx context.Context, key Key) (Marker, error) {
	c := s.claim(key)
	entry, err := c.read(ctx)
	switch {
	case errors.Is(err, ErrNotFound):
		if marker := c.Marker(); !sameMarker(marker, Marker{}) {
			return marker, nil
		}
	case err == nil && entry.Lease > 0 && sameMarker(entry.Marker, Marker{}):
		err = ErrNotFound // of a leader that has not saved yet: no Save of ours has a lease
	}
	return entry.Marker, err
}

// Save implements [Store].
func (s *registerStore) Save(ctx context.Context, markers map[Key]Marker) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	markers, err := canonical(markers)
	if err != nil {
		return err
	}
	var (
		saves   sync.WaitGroup
		mu      sync.Mutex // guards failed
		failed  error
		atATime = make(chan struct{}, 8)
	)
	for key, marker := range markers {
		atATime <- struct{}{}
		saves.Go(func() {
			defer func() { <-atATime }()
			c := s.claim(key)
			err := c.want(ctx, marker)
			if err == nil {
				err = c.Put(ctx)
			}
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = errors.Join(failed, err)
			}
		})
	}
	saves.Wait()
	return failed
}

// Advance implements [Advancer].
func (s *registerStore) Advance(ctx context.Context, key Key, before, after Marker) (Advance, error) {
	c := s.claim(key)
	if err := c.want(ctx, before); err != nil {
		return Advance{}, err
	}
	return c.Claim.Advance(ctx, before, after)
}
