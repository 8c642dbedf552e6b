package sfstream

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// failingStore fails each Save, after what save does.
type failingStore struct {
	replaystore.Store
	save  func()
	saves atomic.Int64
}

func (s *failingStore) Save(context.Context, map[replaystore.Key]replaystore.Marker) error {
	s.saves.Add(1)
	if s.save != nil {
		s.save()
	}
	return errors.New("disk full")
}

// ending is what a saver has ended its client with.
type ending struct{ atomic.Value }

func pausedSaver(t *testing.T, store *failingStore) (s *saver, ended *ending) {
	t.Helper()
	ended = new(ending)
	d := &delivery{ready: make(chan struct{}, 1), prefetch: 10}
	cfg := &config{store: store, log: slog.New(slog.DiscardHandler)}
	s = newSaver(d, cfg, func(err error) { ended.Store(err) })
	sub := newSubscription(d, "/event/X__e", replaystore.Key{OrgID: "00D", API: apiPubSub, Channel: "/event/X__e"})
	d.mu.Lock()
	s.markLocked(sub)
	d.mu.Unlock()
	return s, ended
}

// stop stops the saver's timer: nothing runs any more.
func (s *saver) stop() {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
	}
}

// A process is stopped for an hour between two Saves that fail. Nobody knows yet that
// the store is broken.
func TestAPauseBetweenSavesBreaksNoStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(failingStore)
		s, ended := pausedSaver(t, store)
		<-time.After(3 * time.Second)
		synctest.Wait()
		for range 10 {
			s.stop()
			<-time.After(time.Hour) // the timer is due
			s.cycle()
		}
		if ended.Load() != nil || store.saves.Load() < 10 {
			t.Errorf("%v after %d Saves", ended.Load(), store.saves.Load())
		}
		<-time.After(6 * time.Minute)
		synctest.Wait()
		if ended.Load() == nil {
			t.Error("a store that fails for minutes does not end the client any more")
		}
		s.d.mu.Lock()
		s.closed = true
		s.timer.Stop()
		s.d.mu.Unlock()
	})
}

// Few Saves that take long are not many that fail.
func TestAStoreIsBrokenByAttemptsAndByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &failingStore{save: func() { <-time.After(4 * time.Minute) }}
		s, ended := pausedSaver(t, store)
		<-time.After(15 * time.Minute)
		synctest.Wait()
		if ended.Load() != nil || store.saves.Load() > 4 {
			t.Errorf("%v after %d Saves", ended.Load(), store.saves.Load())
		}
		<-time.After(15 * time.Minute)
		synctest.Wait()
		if ended.Load() == nil {
			t.Error("it never ends")
		}
		s.d.mu.Lock()
		s.closed = true
		s.timer.Stop()
		s.d.mu.Unlock()
		<-time.After(time.Hour)
	})
}
