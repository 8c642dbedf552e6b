package lab

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// Store is a replay store in memory that sees each Save, and can fail or hold it. What a test does
// to its Memory is no Save.
type Store struct {
	*replaystore.Memory
	t *testing.T

	mu         sync.Mutex
	saves      []Save
	beforeSave func(ctx context.Context) error
	beforeLoad func(ctx context.Context) error
}

// Save is a call of a store's Save.
type Save struct {
	Began   time.Time
	Markers map[replaystore.Key]replaystore.Marker
}

// NewStore is a store that is empty.
func NewStore(t *testing.T) *Store { return &Store{t: t, Memory: replaystore.NewMemory()} }

// Snapshot is a store of its own with what is in this one now: what a crash leaves.
func (s *Store) Snapshot() *Store {
	copied := NewStore(s.t)
	all, err := s.All(context.Background())
	Must(s.t, err)
	Must(s.t, copied.Memory.Save(context.Background(), maps.Collect(all)))
	return copied
}

// BeforeSave sets what happens before each Save from now on, and whose error is the Save's; nil for
// nothing.
func (s *Store) BeforeSave(do func(ctx context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beforeSave = do
}

// BeforeLoad is BeforeSave for Loads.
func (s *Store) BeforeLoad(do func(ctx context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beforeLoad = do
}

// Hang is a Save or a Load that ends with its ctx.
func Hang(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// Load loads a marker.
func (s *Store) Load(ctx context.Context, key replaystore.Key) (replaystore.Marker, error) {
	s.mu.Lock()
	before := s.beforeLoad
	s.mu.Unlock()
	if before != nil {
		if err := before(ctx); err != nil {
			return replaystore.Marker{}, err
		}
	}
	return s.Memory.Load(ctx, key)
}

// Save saves markers.
func (s *Store) Save(ctx context.Context, markers map[replaystore.Key]replaystore.Marker) error {
	began := time.Now()
	s.mu.Lock()
	before := s.beforeSave
	s.mu.Unlock()
	var err error
	if before != nil {
		err = before(ctx)
	}
	if err == nil {
		err = s.Memory.Save(ctx, markers)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saves = append(s.saves, Save{Began: began, Markers: maps.Clone(markers)})
	return err
}

// History is all Saves so far.
func (s *Store) History() []Save {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.saves)
}

// programStore is a Store as one program sees it. It fails the test if two of its Saves overlap.
type programStore struct {
	*Store
	saving atomic.Bool
}

// Save saves markers.
func (p *programStore) Save(ctx context.Context, markers map[replaystore.Key]replaystore.Marker) error {
	if p.saving.Swap(true) {
		p.t.Error("two Saves at a time")
	}
	defer p.saving.Store(false) // also where BeforeSave's function panics
	return p.Store.Save(ctx, markers)
}
