package sfstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream/internal/pause"
)

const (
	saveDelay   = 100 * time.Millisecond // at the latest after handling
	saveSpacing = 10 * time.Millisecond  // between two Saves, however slow
	soonSpacing = 50 * time.Millisecond  // between two Saves for loops that wait often: a synced write costs half a millisecond
	saveTimeout = 30 * time.Second       // of one Save
	lastSaves   = 5 * time.Second        // what the end of a loop, Unsubscribe and Close wait for Saves
	storeBroken = 5 * time.Minute        // no Save succeeded for so long, and
	brokenAfter = 5                      // so many have failed: the client ends
)

// saveMarkers and loadMarker call a store. A panic of one that is the program's own is
// an error of it: on a goroutine of ours nobody else could recover.
func saveMarkers(ctx context.Context, store replaystore.Store, markers map[replaystore.Key]replaystore.Marker) (err error) {
	defer recoverStore(&err)
	return store.Save(ctx, markers)
}

func loadMarker(ctx context.Context, store replaystore.Store, key replaystore.Key) (marker replaystore.Marker, err error) {
	defer recoverStore(&err)
	return store.Load(ctx, key)
}

func recoverStore(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("it panicked: %v", r)
	}
}

// saver writes watermarks to the store: one Save at a time, in watermark order,
// beside delivery and never in its way. Its goroutine exists only while there
// is something to save.
type saver struct {
	store  replaystore.Store
	log    *slog.Logger
	saved  func(replaystore.Key, replaystore.Marker) // Hooks.OnSaved; may be nil
	broken func(error)                               // ends the client
	ctx    context.Context                           // of Saves; cancelled when Close has waited long enough
	cancel context.CancelFunc

	// delivery.mu guards the rest.
	d       *delivery
	dirty   []*subscription // in the order in which they came to have something to save
	since   time.Time       // when the first of them did
	timer   *time.Timer     // runs cycle
	due     time.Time       // when timer fires; zero: it does not
	running bool            // cycle is in Save
	saving  []*subscription // what it saves
	urgent  bool            // a consumer waits: save as soon as allowed
	closed  bool            // no cycle starts by itself any more
	last    time.Time       // end of the last Save
	done    chan struct{}   // closed and replaced at the end of each cycle
	failing time.Time       // since when no Save succeeded, without pauses of the process; zero: all is well
	failed  int             // Saves since then
	lastErr error
}

func newSaver(d *delivery, cfg *config, broken func(error)) *saver {
	ctx, cancel := context.WithCancel(context.Background())
	return &saver{store: cfg.store, log: cfg.log, saved: cfg.hooks.OnSaved, broken: broken, ctx: ctx, cancel: cancel, d: d, done: make(chan struct{})}
}

// markLocked notes that the watermark of sub has moved.
func (s *saver) markLocked(sub *subscription) {
	if sub.watermark.dirty {
		return
	}
	sub.watermark.dirty = true
	s.dirty = append(s.dirty, sub)
	if len(s.dirty) > 1 {
		return
	}
	s.since = time.Now()
	if s.failing.IsZero() {
		s.scheduleLocked(s.since.Add(saveDelay))
	}
}

// soonLocked saves what there is without further delay: a consumer is about to
// wait and does not wait for the Save.
func (s *saver) soonLocked() {
	if len(s.dirty) == 0 || s.urgent || !s.failing.IsZero() {
		return
	}
	s.urgent = true
	s.scheduleLocked(s.last.Add(soonSpacing))
}

func (s *saver) scheduleLocked(at time.Time) {
	if s.running || s.closed || !s.due.IsZero() && !at.Before(s.due) {
		return
	}
	s.due = at
	if s.timer == nil {
		// The timer's goroutine is cycle, which ends with its Save; flush waits for it.
		s.timer = time.AfterFunc(time.Until(at), s.cycle)
		return
	}
	s.timer.Reset(time.Until(at))
}

// cycle saves what is dirty now.
func (s *saver) cycle() {
	s.d.mu.Lock()
	if !s.due.IsZero() && !s.failing.IsZero() {
		s.failing = s.failing.Add(pause.Since(s.due, time.Now()))
	}
	s.due = time.Time{}
	if s.running || len(s.dirty) == 0 {
		s.d.mu.Unlock()
		return
	}
	s.running, s.urgent = true, false
	subs := s.dirty
	s.saving = subs
	s.dirty = nil
	marks := make([]mark, len(subs))
	for i, sub := range subs {
		sub.watermark.dirty = false
		marks[i] = sub.watermark.current
		marks[i].group = marks[i].group.snapshot()
	}
	s.d.mu.Unlock()

	markers := make(map[replaystore.Key]replaystore.Marker, len(subs))
	for i, sub := range subs {
		markers[sub.key] = marks[i].marker()
	}
	ctx, cancel := context.WithTimeout(s.ctx, saveTimeout)
	began := time.Now()
	hangs := time.AfterFunc(saveTimeout+time.Second, func() {
		s.log.Warn("the replay store does not return from Save, in spite of its context", "since", began)
	})
	hopeless := pause.AfterFunc(storeBroken, func() {
		s.broken(&StoreError{Op: "save", err: fmt.Errorf("no answer within %s", storeBroken)})
	})
	err := saveMarkers(ctx, s.store, markers)
	hangs.Stop()
	paused := hopeless.Stop()
	cancel()
	if err == nil && s.saved != nil {
		for key, marker := range markers {
			s.saved(key, marker)
		}
	}

	s.d.mu.Lock()
	if !s.failing.IsZero() {
		s.failing = s.failing.Add(paused)
	}
	down, retry := s.endCycleLocked(subs, marks, err)
	broken := err != nil && down >= storeBroken && s.failed >= brokenAfter
	level := slog.LevelWarn
	if s.closed {
		level = slog.LevelDebug
	}
	s.d.mu.Unlock()
	if err == nil {
		return
	}
	s.log.Log(context.Background(), level, "replay markers not saved, trying again", "error", err, "failing_for", down, "retry_in", retry)
	if broken {
		s.broken(&StoreError{Op: "save", err: fmt.Errorf("failing for %s: %w", down.Round(time.Second), err)})
	}
}

// endCycleLocked takes the result of a Save in. It returns for how long the
// store has been failing and when it is tried again, if it does.
func (s *saver) endCycleLocked(subs []*subscription, marks []mark, err error) (down, retry time.Duration) {
	now := time.Now()
	s.running, s.saving, s.last, s.lastErr = false, nil, now, err
	next := max(saveSpacing, saveDelay-now.Sub(s.since))
	if err == nil {
		s.failing, s.failed = time.Time{}, 0
		for i, sub := range subs {
			sub.watermark.saved = mark{id: bytes.Clone(marks[i].replayID()), live: marks[i].live, followed: marks[i].followed, group: marks[i].group}
		}
		if s.urgent {
			next = min(next, soonSpacing)
		}
	} else {
		// Still to be saved, before what became dirty meanwhile.
		newer := s.dirty
		s.dirty = subs
		for _, sub := range subs {
			sub.watermark.dirty = true
		}
		for _, sub := range newer {
			if !slices.Contains(subs, sub) {
				s.dirty = append(s.dirty, sub)
			}
		}
		if s.failing.IsZero() {
			s.failing = now
		}
		s.failed++
		down = now.Sub(s.failing)
		retry = min(max(down, time.Second), 30*time.Second)
		next = retry
	}
	close(s.done)
	s.done = make(chan struct{})
	if len(s.dirty) > 0 {
		s.scheduleLocked(now.Add(next))
	}
	return down, retry
}

// markQuiet notes that the Live of channels is to be saved although it is recent.
func (s *saver) markQuiet(subs ...*subscription) {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	for _, sub := range subs {
		if w := &sub.watermark; sub.accepted && (w.current.live.After(w.saved.live) || w.current.followed.After(w.saved.followed)) {
			s.markLocked(sub)
		}
	}
}

// flush saves what there is and waits for it, at most for limit. A store that
// fails twice in it is left to the timer.
func (s *saver) flush(limit time.Duration) error { return s.flushWithin(context.Background(), limit) }

// flushWithin is flush that ends with ctx, too.
func (s *saver) flushWithin(ctx context.Context, limit time.Duration) error {
	expired := time.NewTimer(limit)
	defer expired.Stop()
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	for attempts := 0; len(s.dirty) > 0 || s.running; {
		if !s.running {
			if attempts == 2 || attempts == 1 && errors.Is(s.lastErr, replaystore.ErrClosed) {
				return &StoreError{Op: "save", err: s.lastErr}
			}
			attempts++
			go s.cycle() // ends with its Save, for which the select below waits
		}
		done := s.done
		s.d.mu.Unlock()
		select {
		case <-done:
			s.d.mu.Lock()
			// A Save that ran already may lack what is to be saved. What is dirty
			// after one of ours was handled later, and is the timer's.
			if attempts > 0 && s.lastErr == nil {
				return nil
			}
		case <-ctx.Done():
			s.d.mu.Lock()
			return &StoreError{Op: "save", err: ctx.Err()}
		case <-expired.C:
			s.d.mu.Lock()
			return &StoreError{Op: "save", err: fmt.Errorf("no answer within %s", limit)}
		}
	}
	return nil
}

// close ends the saver after a last flush. Saves after it happen only where a
// consumer flushes at the end of its loop.
func (s *saver) close(limit time.Duration, subs []*subscription) error {
	s.markQuiet(subs...)
	err := s.flush(limit)
	s.d.mu.Lock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	stuck := s.running
	s.d.mu.Unlock()
	if stuck {
		s.cancel()
	}
	return err
}

// unsaved returns the position that an ended subscription of key left behind
// and the store does not have.
func (s *saver) unsaved(key replaystore.Key) (mark, bool) {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	for _, sub := range slices.Backward(slices.Concat(s.saving, s.dirty)) {
		if sub.key == key {
			left := sub.watermark.current
			left.group = left.group.snapshot()
			return left, true
		}
	}
	return mark{}, false
}
