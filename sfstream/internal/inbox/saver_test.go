package inbox

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// failingStore fails each Save, after what save does.
type failingStore struct {
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

// ending is what a saver has reported its store to be broken with.
type ending struct{ atomic.Value }

func failingSaver(t *testing.T, store *failingStore) (s *saver[message], ended *ending) {
	t.Helper()
	ended = new(ending)
	in := New(config(Config[message]{Prefetch: 10, Save: store.Save, Broken: func(err error) { ended.Store(err) }}))
	ch := in.Channel("/event/X__e", replaystore.Key{OrgID: "00D", API: "pubsub", Channel: "/event/X__e"})
	in.mu.Lock()
	in.saver.markLocked(ch)
	in.mu.Unlock()
	return in.saver, ended
}

// stop stops the saver's timer: nothing runs any more.
func (s *saver[M]) stop() {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
	}
}

// A process is stopped for an hour between two Saves that fail. Nobody knows yet that the store is
// broken.
func TestAPauseBetweenSavesBreaksNoStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(failingStore)
		s, ended := failingSaver(t, store)
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
		s.in.mu.Lock()
		s.closed = true
		s.timer.Stop()
		s.in.mu.Unlock()
	})
}

// Few Saves that take long are not many that fail.
func TestAStoreIsBrokenByAttemptsAndByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &failingStore{save: func() { <-time.After(4 * time.Minute) }}
		s, ended := failingSaver(t, store)
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
		s.in.mu.Lock()
		s.closed = true
		s.timer.Stop()
		s.in.mu.Unlock()
		<-time.After(time.Hour)
	})
}
