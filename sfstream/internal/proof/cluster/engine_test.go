package cluster

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/replaystore/replaystoretest"
)

// engine is a register in memory that replicas share, and that remembers what was put.
type engine struct {
	mu     sync.Mutex
	values replaystoretest.Register
	puts   []put
	away   bool // it answers with errors
}

// put is a value of a channel's key that was put.
type put struct {
	key   string
	entry replaystore.Entry
	at    time.Time
}

func newEngine() *engine { return new(engine) }

var errAway = errors.New("engine: connection refused")

func (e *engine) Get(ctx context.Context, key string) ([]byte, string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.away {
		return nil, "", errAway
	}
	return e.values.Get(ctx, key)
}

func (e *engine) Put(ctx context.Context, key string, value []byte, rev string) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.away {
		return "", errAway
	}
	rev, err := e.values.Put(ctx, key, value, rev)
	p := put{key: key, at: time.Now()}
	if err == nil && p.entry.UnmarshalBinary(value) == nil {
		e.puts = append(e.puts, p)
	}
	return rev, err
}

// setAway makes the engine fail, or work again.
func (e *engine) setAway(away bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.away = away
}

// history returns the puts so far.
func (e *engine) history() []put {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]put(nil), e.puts...)
}

// goBack makes the engine have the value of before where it had another since.
func (e *engine) goBack(t *testing.T, to put) {
	t.Helper()
	err := e.values.Update(to.key, func([]byte) ([]byte, error) { return to.entry.MarshalBinary() })
	if err != nil {
		t.Fatal(err)
	}
}
