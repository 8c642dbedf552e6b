package replaystore

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
)

// Memory is a [Store] that forgets when the process ends. The zero value is ready to use; a Memory
// must not be copied after that. It is safe for concurrent use.
type Memory struct {
	mu      sync.RWMutex
	markers map[Key]Marker // nil until the first Save
}

var _ Store = (*Memory)(nil)

// NewMemory returns an empty [Memory].
func NewMemory() *Memory { return new(Memory) }

// Load implements [Store].
func (m *Memory) Load(ctx context.Context, key Key) (Marker, error) {
	if err := ctx.Err(); err != nil {
		return Marker{}, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	marker, ok := m.markers[key.Canonical()]
	if !ok {
		return Marker{}, ErrNotFound
	}
	return marker.clone(), nil
}

// Save implements [Store]. It also fails if markers has one key in two spellings.
func (m *Memory) Save(ctx context.Context, markers map[Key]Marker) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	markers, err := canonical(markers)
	if err != nil {
		return err
	}
	for key, marker := range markers {
		markers[key] = marker.clone()
	}

	m.mu.Lock()
	defer m.mu.Unlock()
	if m.markers == nil {
		m.markers = markers
		return nil
	}
	maps.Copy(m.markers, markers)
	return nil
}

// All returns an iterator over the markers as they are now, sorted by org, API and channel. The
// store may be used and changed inside the loop.
func (m *Memory) All(ctx context.Context) (iter.Seq2[Key, Marker], error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return sorted(maps.Clone(m.markers)), nil
}

// Delete forgets the marker of key. It is no error if there is none.
func (m *Memory) Delete(ctx context.Context, key Key) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.markers, key.Canonical())
	return nil
}

// sorted iterates over markers in the order of their keys. It yields copies, so that what the loop
// does to them is not seen by a second loop.
func sorted(markers map[Key]Marker) iter.Seq2[Key, Marker] {
	keys := slices.SortedFunc(maps.Keys(markers), func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.OrgID, b.OrgID), cmp.Compare(a.API, b.API), cmp.Compare(a.Channel, b.Channel))
	})
	return func(yield func(Key, Marker) bool) {
		for _, key := range keys {
			if !yield(key, markers[key].clone()) {
				return
			}
		}
	}
}
