package sinktest

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/sfstream/sfstream-go/sfstream/sink"
)

// Memory is a queue in memory, with connections that break. Its zero value is empty. Its methods
// may be called from any goroutine.
type Memory struct {
	mu      sync.Mutex
	entries []Entry
	cut     bool
}

var errCut = errors.New("sinktest: the connection was cut")

// Send implements [sink.Sink]. After a Cut it takes some of the records, tells of fewer, or tells of
// none.
func (m *Memory) Send(ctx context.Context, records []sink.Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := len(records)
	cut := m.cut
	if m.cut = false; cut {
		taken = rand.IntN(len(records) + 1)
	}
	for _, r := range records[:taken] {
		m.entries = append(m.entries, Entry{ID: r.ID, Value: bytes.Clone(r.Value)})
	}
	if !cut {
		return nil
	}
	if told := rand.IntN(taken + 1); told > 0 && told < len(records) {
		failed := make(map[int]error)
		for i := told; i < len(records); i++ {
			failed[i] = errCut
		}
		return &sink.PartialError{Failed: failed}
	}
	return errCut
}

// Cut breaks the connection: the Send that runs or comes next fails, with what it has done unknown
// or known in part.
func (m *Memory) Cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cut = true
}

// Entries returns what is in the queue, in its order.
func (m *Memory) Entries() []Entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.entries)
}

// Queue returns the queue for [Run].
func (m *Memory) Queue() Queue {
	return Queue{Sink: m, Cut: m.Cut, Read: func(context.Context) ([]Entry, error) { return m.Entries(), nil }}
}
