package lab

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// BeforeLoad sets what happens before each Load from now on; nil for nothing.
func (s *WatchedStore) BeforeLoad(do func(ctx context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loading = do
}

// WatchedStore is a replay store in memory that sees each Save, and can fail or
// hold it. It fails the test if two Saves overlap.
type WatchedStore struct {
	t      *testing.T
	Memory *replaystore.Memory

	mu      sync.Mutex
	saving  bool
	saves   []Save
	before  func(ctx context.Context) error // before each Save; its error is the Save's
	loading func(ctx context.Context) error
}

// Save is a call of a store's Save.
type Save struct {
	Began   time.Time
	Markers map[replaystore.Key]replaystore.Marker
	err     error
}

// NewWatchedStore is a store that is empty.
func NewWatchedStore(t *testing.T) *WatchedStore {
	return &WatchedStore{t: t, Memory: replaystore.NewMemory()}
}

// snapshot is a store of its own with what is in this one now.
func (s *WatchedStore) snapshot() *WatchedStore {
	copied := NewWatchedStore(s.t)
	all, err := s.Memory.All(context.Background())
	Must(s.t, err)
	Must(s.t, copied.Memory.Save(context.Background(), maps.Collect(all)))
	return copied
}

// Load loads a marker.
func (s *WatchedStore) Load(ctx context.Context, key replaystore.Key) (replaystore.Marker, error) {
	s.mu.Lock()
	loading := s.loading
	s.mu.Unlock()
	if loading != nil {
		if err := loading(ctx); err != nil {
			return replaystore.Marker{}, err
		}
	}
	return s.Memory.Load(ctx, key)
}

// Save saves markers.
func (s *WatchedStore) Save(ctx context.Context, markers map[replaystore.Key]replaystore.Marker) error {
	began := time.Now()
	s.mu.Lock()
	if s.saving {
		s.t.Error("two Saves at a time")
	}
	s.saving = true
	before := s.before
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.saving = false // also where before panics
	}()
	var err error
	if before != nil {
		err = before(ctx)
	}
	if err == nil {
		err = s.Memory.Save(ctx, markers)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saves = append(s.saves, Save{Began: began, Markers: maps.Clone(markers), err: err})
	return err
}

// BeforeSave sets what happens before each Save from now on; nil for nothing.
func (s *WatchedStore) BeforeSave(do func(ctx context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = do
}

// Hang is a Save or a Load that ends with its ctx.
func Hang(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// Marker is the stored marker of a channel, over the API that the test is about.
func (s *WatchedStore) Marker(org, channel string) replaystore.Marker {
	m, err := s.Memory.Load(context.Background(), replaystore.Key{OrgID: org, API: APIOf(s.t), Channel: channel})
	if err != nil && !errors.Is(err, replaystore.ErrNotFound) {
		s.t.Error(err)
	}
	return m
}

// History is all Saves so far.
func (s *WatchedStore) History() []Save {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.saves)
}
