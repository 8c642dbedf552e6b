package replaystoretest

import (
	"bytes"
	"context"
	"strconv"
	"sync"

	"github.com/sfstream/sfstream-go/replaystore"
)

// Register is a [replaystore.Register] in memory, for tests: the zero value is empty and ready.
type Register struct {
	mu     sync.Mutex
	values map[string]versioned // nil until the first Put
	last   uint64               // counts puts, of all keys, so that no revision comes again
}

type versioned struct {
	value []byte
	rev   string
}

// Get implements [replaystore.Register].
func (r *Register) Get(ctx context.Context, key string) ([]byte, string, error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok := r.values[key]
	if !ok {
		return nil, "", replaystore.ErrNotFound
	}
	return bytes.Clone(v.value), v.rev, nil
}

// Put implements [replaystore.Register].
func (r *Register) Put(ctx context.Context, key string, value []byte, rev string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.values[key].rev != rev {
		return "", replaystore.ErrConflict
	}
	return r.putLocked(key, value), nil
}

func (r *Register) putLocked(key string, value []byte) (rev string) {
	if r.values == nil {
		r.values = make(map[string]versioned)
	}
	r.last++
	rev = strconv.FormatUint(r.last, 10)
	r.values[key] = versioned{bytes.Clone(value), rev}
	return rev
}

// Delete forgets a key, as an operator or an eviction does.
func (r *Register) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.values, key)
	return nil
}

// Update replaces the value of key by what change makes of it, with no other call in between, as a
// transaction does that has locked it: change can be the Next of a [replaystore.Advance]. Where
// change fails, Update returns its error and changes nothing. The value of a key that has none is
// nil.
func (r *Register) Update(key string, change func(value []byte) ([]byte, error)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	stored := []byte(nil)
	if v, ok := r.values[key]; ok {
		stored = append([]byte{}, v.value...)
	}
	value, err := change(stored)
	if err == nil {
		r.putLocked(key, value)
	}
	return err
}
