package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// store is the replay store of one client, and the fence before its messages. A spare client has
// one that belongs to no leadership yet: it is bound to a claim when the client is to lead.
//
// Invariant: Held returns nil only while less than config.hold has passed since the last put was
// sent that is known to have succeeded, and never again after an error.
type store struct {
	cfg    *config
	loaded atomic.Bool   // the client has asked for its channel's marker
	lost   chan struct{} // closed when Held never returns nil again
	made   time.Time     // what until counts from
	until  atomic.Int64  // nanoseconds after made, by the monotonic clock; 0: not held

	// bind sets these, before the client follows anything.
	claim *replaystore.Claim // nil: not bound
	key   replaystore.Key
	log   *slog.Logger

	mu     sync.Mutex
	reason error              // why lost is closed; nil: it is not
	expiry *time.Timer        // runs expire when the lease is over
	noPut  context.CancelFunc // ends the keeper's put; nil: there is no keeper yet
	puts
}

// puts is what a keeper has to put. The mutex of its store guards it.
type puts struct {
	version int           // counts Saves
	saved   int           // the version that is put
	put     chan struct{} // closed and replaced when saved changes
	hurried bool          // they do not wait for config.save to pass
	trouble trouble
	wake    chan struct{} // capacity 1: the keeper has something to do
}

// trouble is an engine that fails.
type trouble struct {
	since time.Time // zero: it does not
	err   error
}

func (t *trouble) note(err error) {
	switch {
	case err == nil:
		*t = trouble{}
	case t.since.IsZero():
		t.since = time.Now()
	}
	t.err = err
}

func newStore(cfg *config) *store {
	return &store{
		cfg: cfg, lost: make(chan struct{}), made: time.Now(),
		puts: puts{put: make(chan struct{}), wake: make(chan struct{}, 1)},
	}
}

// bind gives the store the claim that has been put.
func (s *store) bind(claim *replaystore.Claim, key replaystore.Key, log *slog.Logger) {
	s.mu.Lock()
	s.claim, s.key, s.log = claim, key, log
	s.mu.Unlock()
	s.extend()
}

var errUnbound = errors.New("cluster: this client leads no channel yet")

// Held is what the client asks before each message.
func (s *store) Held() error {
	if time.Since(s.made) < time.Duration(s.until.Load()) {
		return nil
	}
	return s.lapsed()
}

// Lost is closed when the channel is another's, or may be.
func (s *store) Lost() <-chan struct{} { return s.lost }

// lapsed is Held where the lease is over, or seems to be.
func (s *store) lapsed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.reason != nil:
		return s.reason
	case s.claim == nil:
		return errUnbound
	case time.Since(s.made) < time.Duration(s.until.Load()):
		return nil // extended meanwhile
	}
	err := fmt.Errorf("cluster: %s: the lease of %s is over: no put has succeeded for %s", s.key.Channel, s.cfg.lease, s.cfg.hold())
	if s.trouble.err != nil {
		err = fmt.Errorf("%w; the last failure: %w", err, s.trouble.err)
	}
	s.loseLocked(err)
	return err
}

func (s *store) lose(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loseLocked(err)
}

func (s *store) loseLocked(err error) {
	if s.reason != nil {
		return
	}
	s.reason = err
	s.until.Store(0)
	if s.expiry != nil {
		s.expiry.Stop()
	}
	close(s.lost)
	if s.noPut != nil {
		s.noPut() // what is not put yet must not be put late
	}
}

// extend makes the lease count from the last put.
func (s *store) extend() {
	sent := s.claim.Sent()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reason != nil || sent.IsZero() {
		return
	}
	end := sent.Add(s.cfg.hold())
	if until := int64(end.Sub(s.made)); until > s.until.Load() {
		s.until.Store(until)
	}
	if s.expiry == nil {
		s.expiry = time.AfterFunc(time.Until(end), s.expire)
	} else {
		s.expiry.Reset(time.Until(end))
	}
}

// expire closes lost when the lease is over. It runs on the timer's goroutine and does not block.
func (s *store) expire() { _ = s.Held() }

// Load returns the channel's marker as the register has it, also that of the other API.
func (s *store) Load(ctx context.Context, key replaystore.Key) (replaystore.Marker, error) {
	if s.claim == nil {
		return replaystore.Marker{}, errUnbound
	}
	switch key = key.Canonical(); {
	case key.Channel != s.key.Channel:
		return replaystore.Marker{}, s.foreign(key)
	case key != s.key:
		claim := replaystore.NewClaim(s.cfg.register, s.cfg.keyText(key), s.cfg.name, s.cfg.lease, s.log)
		entry, _, err := claim.Read(ctx)
		return found(entry, err)
	}
	s.loaded.Store(true)
	entry, _, err := s.claim.Read(ctx)
	if errors.Is(err, replaystore.ErrNotFound) { // lost from the engine: only what is put again is the marker
		if err := s.keepUp(ctx); err != nil {
			return replaystore.Marker{}, err
		}
		if entry, _, err = s.claim.Read(ctx); errors.Is(err, replaystore.ErrNotFound) {
			err = fmt.Errorf("cluster: the engine has lost the key %q twice", s.cfg.keyText(key))
		}
	}
	if err == nil {
		err = s.Held()
	}
	return found(entry, err)
}

func (s *store) foreign(key replaystore.Key) error {
	return fmt.Errorf("cluster: %s: this client leads %s: follow other channels with another client", key.Channel, s.key.Channel)
}

// found returns the marker of an entry.
func found(entry replaystore.Entry, err error) (replaystore.Marker, error) {
	if err == nil && isZero(entry.Marker) {
		err = replaystore.ErrNotFound
	}
	return entry.Marker, err
}

// isZero reports whether a marker says nothing.
func isZero(m replaystore.Marker) bool {
	return len(m.ReplayID) == 0 && m.Date.IsZero() && m.Live.IsZero() && m.Followed.IsZero() && len(m.Group.ReplayID) == 0
}

// Save hands the marker to the keeper and waits until it is put.
func (s *store) Save(ctx context.Context, markers map[replaystore.Key]replaystore.Marker) error {
	if s.claim == nil {
		return errUnbound
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for key, marker := range markers {
		if key.Canonical() != s.key {
			return s.foreign(key)
		}
		marker.ReplayID = bytes.Clone(marker.ReplayID)
		marker.Group.ReplayID, marker.Group.Handled = bytes.Clone(marker.Group.ReplayID), slices.Clone(marker.Group.Handled)
		s.claim.Set(marker)
		return s.keepUp(ctx)
	}
	return nil
}

// keepUp waits until what is set is put.
func (s *store) keepUp(ctx context.Context) error {
	s.mu.Lock()
	s.version++
	version := s.version
	s.mu.Unlock()
	notify(s.wake)
	for {
		s.mu.Lock()
		done, put, reason := s.saved >= version, s.put, s.reason
		s.mu.Unlock()
		switch {
		case reason != nil:
			return reason
		case done:
			return nil
		}
		select {
		case <-put:
		case <-s.lost:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Advance is for a program that writes the marker in a transaction of its own.
func (s *store) Advance(ctx context.Context, key replaystore.Key, before, after replaystore.Marker) (replaystore.Advance, error) {
	if s.claim == nil {
		return replaystore.Advance{}, errUnbound
	}
	if key.Canonical() != s.key {
		return replaystore.Advance{}, s.foreign(key)
	}
	if err := s.Held(); err != nil {
		return replaystore.Advance{}, err
	}
	advance, err := s.claim.Advance(ctx, before, after)
	if err != nil {
		return replaystore.Advance{}, s.refused(err)
	}
	next := advance.Next
	advance.Next = func(stored []byte) ([]byte, error) {
		value, err := next(stored)
		return value, s.refused(err)
	}
	return advance, nil
}

// refused takes notice of a claim's error: after a conflict the channel is another's.
func (s *store) refused(err error) error {
	if errors.Is(err, replaystore.ErrConflict) {
		s.lose(fmt.Errorf("cluster: %s: %w", s.key.Channel, err))
	}
	return err
}

// keep puts the marker: at most once in config.save where it has changed, and once in config.beat
// where it has not. It runs on the keeper's goroutine until ctx ends or the channel is lost.
func (s *store) keep(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	s.noPut = cancel
	if s.reason != nil {
		cancel() // lost before this goroutine ran
	}
	s.mu.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for last := time.Now(); ; {
		timer.Reset(time.Until(s.due(last)))
		select {
		case <-timer.C:
		case <-s.wake:
			continue
		case <-ctx.Done(): // also when the channel is lost
			return
		}
		if s.Held() != nil {
			return // after a pause this may run before the timer of the lease
		}
		last = time.Now()
		if s.putOnce(ctx) != nil {
			sleep(ctx, s.cfg.pause())
		}
	}
}

// due is when the next put is, where the last one was sent at last.
func (s *store) due(last time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.trouble.err != nil:
		return time.Time{}
	case s.saved == s.version:
		return last.Add(s.cfg.beat())
	case s.hurried || s.saved == 0:
		return time.Time{} // also the first one: Subscribe waits for it
	}
	return last.Add(s.cfg.save)
}

// putOnce puts what is set. An engine that does not answer gets a third of the lease.
func (s *store) putOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.beat())
	defer cancel()
	s.mu.Lock()
	version := s.version
	s.mu.Unlock()
	err := s.refused(s.claim.Put(ctx))
	s.extend()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && s.trouble.err == nil && s.reason == nil && ctx.Err() != context.Canceled {
		s.log.Warn("cluster: the register cannot be put", "channel", s.key.Channel, "error", err)
	}
	s.trouble.note(err)
	if err == nil {
		s.saved = version
		close(s.put)
		s.put = make(chan struct{})
	}
	return err
}

// hurry makes the puts to come go at once: the leadership ends.
func (s *store) hurry() {
	s.mu.Lock()
	s.hurried = true
	s.mu.Unlock()
	notify(s.wake)
}

// failing returns since when puts fail, and why.
func (s *store) failing() trouble {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trouble
}

func (s *store) why() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason
}

// sleep waits, until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// notify wakes the one receiver of a channel of capacity 1. It never blocks.
func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
