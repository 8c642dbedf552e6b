package cluster

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"sync"

	"github.com/sfstream/sfstream-go/replaystore"
)

// engine is a register in memory that replicas share.
type engine struct {
	mu     sync.Mutex
	values map[string]stored
	rev    int  // of the last put of all keys: none comes again
	away   bool // it answers with errors
}

type stored struct {
	value []byte
	rev   string
}

func newEngine() *engine { return &engine{values: make(map[string]stored)} }

var errAway = errors.New("engine: connection refused")

func (e *engine) Get(ctx context.Context, key string) ([]byte, string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	if e.away {
		return nil, "", errAway
	}
	v, ok := e.values[key]
	if !ok {
		return nil, "", replaystore.ErrNotFound
	}
	return bytes.Clone(v.value), v.rev, nil
}

func (e *engine) Put(ctx context.Context, key string, value []byte, rev string) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if e.away {
		return "", errAway
	}
	if e.values[key].rev != rev {
		return "", replaystore.ErrConflict
	}
	e.rev++
	v := stored{bytes.Clone(value), strconv.Itoa(e.rev)}
	e.values[key] = v
	return v.rev, nil
}

// setAway makes the engine fail, or work again.
func (e *engine) setAway(away bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.away = away
}

// flush forgets all values.
func (e *engine) flush() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.values)
}
