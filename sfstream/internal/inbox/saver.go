package inbox

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
	saveDelay   = 100 * time.Millisecond // from handling to a Save, at most
	saveSpacing = 10 * time.Millisecond  // between two Saves, however slow
	soonSpacing = 50 * time.Millisecond  // the same for consumers that wait often: the sync of a file takes 0.5 ms
	saveTimeout = 30 * time.Second       // of one Save
	storeBroken = 5 * time.Minute        // no Save succeeded for so long, and
	brokenAfter = 5                      // so many have failed: the client ends
)

// ErrLater is what the save of a kept channel returns where nothing can be saved now: it is no
// failure, and the saver tries again at Channel.SaveNow.
var ErrLater = errors.New("not now")

// saver writes watermarks to the store: one Save at a time, in the order of each watermark, beside
// delivery and never in its way. Its goroutine exists only while there is something to save. A kept
// channel has a saver of its own.
type saver[M any] struct {
	in *Inbox[M]
	keeper[M]
	ctx    context.Context // of Saves; cancelled when Close has waited long enough, and with Config.Held
	cancel context.CancelFunc

	// Inbox.mu guards the rest.
	dirty   dirtyList[M]
	since   time.Time     // when the first dirty channel came to be so
	saving  *saving[M]    // the Save under way; nil: there is none
	timer   *time.Timer   // runs cycle
	due     time.Time     // when timer fires; zero: it does not
	urgent  bool          // a consumer waits: save as soon as allowed
	closed  bool          // no cycle starts by itself any more
	last    time.Time     // end of the last Save
	done    chan struct{} // closed and replaced at the end of each cycle
	trouble trouble
}

// saving is a Save under way.
type saving[M any] struct {
	channels []*Channel[M]
	marks    []mark[M] // of each
	began    time.Time
	ctx      context.Context
	end      context.CancelCauseFunc
}

// errOutrun is why a Save ends before a transaction writes a later marker; see Channel.Advance.
var errOutrun = errors.New("the marker is written by a transaction")

func (s *saving[M]) isOutrun() bool { return context.Cause(s.ctx) == errOutrun }

// A keeper is who saves. Inbox.mu guards what changes of it.
type keeper[M any] struct {
	keep  func(context.Context, map[replaystore.Key]replaystore.Marker) error // Config.Save, or that of the kept channel
	kept  *Channel[M]                                                         // nil: keep is the store's
	later bool                                                                // keep has returned ErrLater: nothing is tried but by SaveNow and Flush
	asked bool                                                                // SaveNow was called since the last Save began
}

// trouble is what a saver knows of a store that fails.
type trouble struct {
	since  time.Time // when the first Save failed, without pauses of the process; zero: all is well
	failed int       // Saves since then
	err    error     // of the last Save; nil: it succeeded
}

// dirtyList holds the channels that have something to save, in the order in which they came to have
// it. It is linked through Channel.nextDirty, so that asking for one channel costs as little as a
// flag would.
type dirtyList[M any] struct{ first, last *Channel[M] }

func (l *dirtyList[M]) isEmpty() bool { return l.first == nil }

func (l *dirtyList[M]) has(ch *Channel[M]) bool { return ch.nextDirty != nil || l.last == ch }

func (l *dirtyList[M]) add(ch *Channel[M]) {
	switch {
	case l.has(ch):
		return
	case l.last == nil:
		l.first = ch
	default:
		l.last.nextDirty = ch
	}
	l.last = ch
}

func (l *dirtyList[M]) all() (all []*Channel[M]) {
	for ch := l.first; ch != nil; ch = ch.nextDirty {
		all = append(all, ch)
	}
	return all
}

// take empties the list and returns what was in it.
func (l *dirtyList[M]) take() []*Channel[M] {
	all := l.all()
	for _, ch := range all {
		ch.nextDirty = nil
	}
	*l = dirtyList[M]{}
	return all
}

func newSaver[M any](in *Inbox[M], keep func(context.Context, map[replaystore.Key]replaystore.Marker) error) *saver[M] {
	s := &saver[M]{in: in, keeper: keeper[M]{keep: keep}, done: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(in.cfg.Held)
	return s
}

// markLocked notes that the watermark of a channel has moved.
func (s *saver[M]) markLocked(ch *Channel[M]) {
	first := s.dirty.isEmpty()
	s.dirty.add(ch)
	if !first {
		return
	}
	s.since = time.Now()
	if s.trouble.since.IsZero() {
		s.scheduleLocked(s.since.Add(saveDelay))
	}
}

// soonLocked saves what there is without further delay: a consumer is about to wait, but does not
// wait for the Save.
func (s *saver[M]) soonLocked() {
	if s.dirty.isEmpty() || s.urgent || s.later || !s.trouble.since.IsZero() {
		return
	}
	s.urgent = true
	s.scheduleLocked(s.last.Add(s.spacing(soonSpacing)))
}

// spacing is the least time between two Saves: a server gets no more commits than that.
func (s *saver[M]) spacing(ofStore time.Duration) time.Duration {
	if s.kept != nil {
		return saveDelay
	}
	return ofStore
}

// soonLocked saves what there is of all channels without further delay.
func (in *Inbox[M]) soonLocked() {
	in.saver.soonLocked()
	for _, s := range in.keepers {
		s.soonLocked()
	}
}

func (s *saver[M]) scheduleLocked(at time.Time) {
	if s.saving != nil || s.closed || s.in.isLost() || !s.due.IsZero() && !at.Before(s.due) {
		return
	}
	s.due = at
	if s.timer == nil {
		// The timer's goroutine is cycle, which ends with its Save; Flush waits for it.
		s.timer = time.AfterFunc(time.Until(at), s.cycle)
		return
	}
	s.timer.Reset(time.Until(at))
}

// cycle saves what is dirty now.
func (s *saver[M]) cycle() {
	s.in.mu.Lock()
	now := s.beginCycleLocked()
	s.in.unlock()
	if now == nil {
		return
	}
	defer now.end(nil)
	markers := make(map[replaystore.Key]replaystore.Marker, len(now.channels))
	for i, ch := range now.channels {
		markers[ch.Key] = now.marks[i].marker(&s.in.cfg)
	}
	paused, err := s.save(now.ctx, markers)
	cfg := &s.in.cfg
	if err == nil && cfg.Saved != nil {
		for key, marker := range markers {
			if s.kept == nil || len(marker.ReplayID) > 0 {
				cfg.Saved(key, marker)
			}
		}
	}

	s.in.mu.Lock()
	if !s.trouble.since.IsZero() {
		s.trouble.since = s.trouble.since.Add(paused)
	}
	down, retry := s.endCycleLocked(now, err)
	broken := err != nil && down >= storeBroken && s.trouble.failed >= brokenAfter
	level := slog.LevelWarn
	if s.closed || s.in.isLost() {
		level = slog.LevelDebug
	}
	s.in.unlock()
	switch {
	case err == nil || s.kept != nil: // who keeps the channel tells of failures, and none of them is fatal
		return
	case now.isOutrun() && !errors.Is(err, replaystore.ErrConflict):
		return
	case errors.Is(err, replaystore.ErrConflict): // no later Save would succeed
		cfg.Broken(err)
		return
	}
	cfg.Log.Log(context.Background(), level, "replay markers not saved, trying again",
		"error", err, "failing_for", down, "retry_in", retry)
	if broken {
		cfg.Broken(fmt.Errorf("failing for %s: %w", down.Round(time.Second), err))
	}
}

// beginCycleLocked takes the dirty channels and copies their marks. It takes none if a Save is
// under way already: the end of that one schedules the next.
func (s *saver[M]) beginCycleLocked() *saving[M] {
	if !s.due.IsZero() && !s.trouble.since.IsZero() {
		s.trouble.since = s.trouble.since.Add(pause.Since(s.due, time.Now()))
	}
	s.due = time.Time{}
	if s.saving != nil || s.dirty.isEmpty() {
		return nil
	}
	s.urgent, s.later, s.asked = false, false, false
	now := &saving[M]{channels: s.dirty.take(), began: time.Now()}
	now.ctx, now.end = context.WithCancelCause(s.ctx)
	now.marks = make([]mark[M], len(now.channels))
	for i, ch := range now.channels {
		now.marks[i] = ch.watermark.current
		now.marks[i].group = now.marks[i].group.snapshot()
	}
	s.saving = now
	return now
}

// save calls the store, and tells of one that does not return. It returns for how long the process
// was paused meanwhile.
func (s *saver[M]) save(ctx context.Context, markers map[replaystore.Key]replaystore.Marker) (paused time.Duration, err error) {
	cfg := &s.in.cfg
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	switch {
	case s.in.isLost():
		return 0, ctx.Err()
	case s.kept != nil:
		return 0, s.keep(ctx, markers)
	}
	began := time.Now()
	hangs := time.AfterFunc(saveTimeout+time.Second, func() {
		cfg.Log.Warn("the replay store does not return from Save, in spite of its context",
			"since", began)
	})
	hopeless := pause.AfterFunc(storeBroken, func() {
		cfg.Broken(fmt.Errorf("no answer within %s", storeBroken))
	})
	err = s.keep(ctx, markers)
	hangs.Stop()
	return hopeless.Stop(), err
}

// endCycleLocked notes the result of a Save and schedules the next one. After a failure it returns
// for how long the store has been failing, and after which time the saver tries again.
func (s *saver[M]) endCycleLocked(ended *saving[M], err error) (down, retry time.Duration) {
	now := time.Now()
	s.saving, s.last, s.trouble.err = nil, now, err
	next := max(s.spacing(saveSpacing), saveDelay-now.Sub(s.since))
	switch {
	case err == nil:
		s.trouble = trouble{}
		for i, ch := range ended.channels {
			m := &ended.marks[i]
			ch.watermark.saved = mark[M]{id: bytes.Clone(m.replayID(&s.in.cfg)), Evidence: m.Evidence, group: m.group}
		}
		if s.urgent {
			next = min(next, s.spacing(soonSpacing))
		}
	case errors.Is(err, ErrLater):
		s.saveAgainLocked(ended.channels)
		s.later = !s.asked
	case ended.isOutrun(): // no failure of the store
		s.saveAgainLocked(ended.channels)
	default:
		s.saveAgainLocked(ended.channels)
		if s.trouble.since.IsZero() {
			s.trouble.since = now
		}
		s.trouble.failed++
		down = now.Sub(s.trouble.since)
		retry = min(max(down, time.Second), 30*time.Second)
		next = retry
	}
	close(s.done)
	s.done = make(chan struct{})
	if !s.dirty.isEmpty() && !s.later {
		s.scheduleLocked(now.Add(next))
	}
	return down, retry
}

// saveAgainLocked notes that channels are still to be saved, before what became dirty meanwhile.
func (s *saver[M]) saveAgainLocked(channels []*Channel[M]) {
	newer := s.dirty.take()
	for _, ch := range slices.Concat(channels, newer) {
		s.dirty.add(ch)
	}
}

// isLost reports whether another process has the channels: nothing is saved any more.
func (in *Inbox[M]) isLost() bool { return in.cfg.Held.Err() != nil }

// Trouble returns since when the store fails, zero where it does not, and the last error. A Save
// that does not return within its time fails, too.
func (in *Inbox[M]) Trouble() (since time.Time, err error) {
	in.mu.Lock()
	defer in.unlock()
	s := in.saver
	if t := s.trouble; !t.since.IsZero() {
		return t.since, t.err
	}
	if s.saving != nil {
		if hung := time.Since(s.saving.began); hung > saveTimeout {
			return s.saving.began, fmt.Errorf("no answer within %s", hung.Round(time.Second))
		}
	}
	return time.Time{}, nil
}

// MarkQuiet notes that the evidence of channels is to be saved although it is recent.
func (in *Inbox[M]) MarkQuiet(channels ...*Channel[M]) {
	in.mu.Lock()
	defer in.unlock()
	for _, ch := range channels {
		w := &ch.watermark
		newer := w.current.Live.After(w.saved.Live) || w.current.Followed.After(w.saved.Followed)
		if newer && ch.isAccepted() {
			ch.saver.markLocked(ch)
		}
	}
}

// Flush saves what there is and waits for it, until ctx ends and at most for limit. A store that
// fails twice in it is left to the timer. The error is the store's.
func (in *Inbox[M]) Flush(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %s", limit))
	defer cancel()
	in.mu.Lock()
	defer in.unlock()
	in.commitLocked()
	err := in.saver.flushLocked(ctx)
	in.awaitKeepersLocked(ctx)
	return err
}

// FlushKept is Flush for kept channels alone.
func (in *Inbox[M]) FlushKept(ctx context.Context, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	in.mu.Lock()
	defer in.unlock()
	in.commitLocked()
	in.awaitKeepersLocked(ctx)
}

// commitLocked begins to save what there is of kept channels.
func (in *Inbox[M]) commitLocked() {
	for _, s := range in.keepers {
		if s.saving == nil && !s.dirty.isEmpty() {
			go s.cycle() // ends with its save, for which awaitKeepersLocked waits
		}
	}
}

// awaitKeepersLocked saves what is left of kept channels, and forgets those that are removed.
func (in *Inbox[M]) awaitKeepersLocked(ctx context.Context) {
	for _, s := range slices.Clone(in.keepers) {
		_ = s.flushLocked(ctx) // told by who keeps the channel
	}
	in.keepers = slices.DeleteFunc(in.keepers, func(s *saver[M]) bool {
		if !s.kept.removed || s.saving != nil {
			return false
		}
		s.stopLocked()
		return true
	})
}

// flushLocked saves what there is and waits for it, until ctx ends.
func (s *saver[M]) flushLocked(ctx context.Context) error {
	in := s.in
	for attempts := 0; !s.dirty.isEmpty() && !in.isLost() || s.saving != nil; {
		if s.saving == nil {
			if err := s.trouble.err; attempts == 2 || attempts == 1 && (s.later || errors.Is(err, replaystore.ErrClosed)) {
				return err
			}
			attempts++
			go s.cycle() // ends with its Save, for which the select below waits
		}
		done := s.done
		in.unlock()
		select {
		case <-done:
			in.mu.Lock()
			// A Save that ran already may lack what is to be saved. What is dirty after one of ours
			// was handled later, and is the timer's.
			if attempts > 0 && s.trouble.err == nil {
				return nil
			}
		case <-ctx.Done():
			in.mu.Lock()
			return context.Cause(ctx)
		}
	}
	return nil
}

// Close ends the saver after a last Flush, for which also the evidence of the given channels
// counts. Saves after it happen only where a consumer flushes at the end of its loop.
func (in *Inbox[M]) Close(limit time.Duration, channels ...*Channel[M]) error {
	in.MarkQuiet(channels...)
	err := in.Flush(context.Background(), limit)
	in.mu.Lock()
	defer in.unlock()
	for _, s := range append(in.keepers, in.saver) {
		s.stopLocked()
	}
	return err
}

// stopLocked lets no cycle start by itself any more, and ends one that is under way.
func (s *saver[M]) stopLocked() {
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	if s.saving != nil {
		s.cancel()
	}
}

// Unsaved returns the marker that a removed channel of key left behind and the store does not have.
func (in *Inbox[M]) Unsaved(key replaystore.Key) (replaystore.Marker, bool) {
	left, ok := in.saver.unsaved(key)
	if !ok {
		return replaystore.Marker{}, false
	}
	marker := left.marker(&in.cfg)
	marker.Followed = left.Followed
	return marker, true
}

func (s *saver[M]) unsaved(key replaystore.Key) (mark[M], bool) {
	s.in.mu.Lock()
	defer s.in.unlock()
	all := s.dirty.all()
	if s.saving != nil {
		all = slices.Concat(s.saving.channels, all)
	}
	for _, ch := range slices.Backward(all) {
		if ch.Key == key {
			left := ch.watermark.current
			left.group = left.group.snapshot()
			return left, true
		}
	}
	return mark[M]{}, false
}
