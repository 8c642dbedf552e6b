package avro

import (
	"context"
	"errors"
	"sync"
)

// maxSchemas bounds a Registry. An org has a few schemas per channel and a new one when a field is added.
const maxSchemas = 1000

// Registry keeps schemas by id and fetches each once. An id never changes its meaning, so nothing expires; the schema
// used least recently goes when there are too many. The zero value is ready; it is safe for concurrent use.
type Registry struct {
	mu      sync.Mutex
	schemas map[string]*cached
	fetches map[string]*fetching
	clock   uint64 // counts uses
}

type cached struct {
	schema *Schema
	used   uint64
}

// fetching is one fetch and those who wait for it.
type fetching struct {
	cancel  context.CancelFunc
	waiting int           // guarded by Registry.mu
	done    chan struct{} // closed when schema and err are set
	schema  *Schema
	err     error
}

// Get returns the schema of that id, from fetch if the registry has not got it. Calls for one id share a fetch. When
// ctx ends, this call ends and the fetch goes on for the others; with nobody left, fetch's own context is cancelled and
// the last call waits for it to return, so that no fetch outlives the calls that wanted it. That context has the values
// of the first caller's.
//
// An error of fetch is returned as it is, one of the schema itself is a *SchemaError. Neither is kept: the next Get
// fetches again. A schema is kept under the id it was asked for even if its ID differs: an event must not be lost to a
// server that computes ids another way.
func (r *Registry) Get(
	ctx context.Context, id string, fetch func(ctx context.Context, id string) (schemaJSON string, err error),
) (*Schema, error) {
	schema, f, err := r.join(ctx, id, fetch)
	if schema != nil || err != nil {
		return schema, err
	}
	select {
	case <-f.done:
		return f.schema, f.err
	case <-ctx.Done():
		r.leave(id, f)
		return nil, ctx.Err()
	}
}

// join returns the schema, or the fetch of it, which it starts if there is none.
func (r *Registry) join(
	ctx context.Context, id string, fetch func(context.Context, string) (string, error),
) (*Schema, *fetching, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.schemas[id]; c != nil {
		r.clock++
		c.used = r.clock
		return c.schema, nil, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	f := r.fetches[id]
	if f == nil {
		f = &fetching{done: make(chan struct{})}
		if r.fetches == nil {
			r.fetches = map[string]*fetching{}
		}
		r.fetches[id] = f
		fetchCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		f.cancel = cancel
		// Not in the first caller's goroutine, whose ctx must not end the wait of the others. It ends with fetch,
		// and the last Get to leave waits for that.
		go r.run(fetchCtx, id, f, fetch)
	}
	f.waiting++
	return nil, f, nil
}

// run is the goroutine of one fetch.
func (r *Registry) run(
	ctx context.Context, id string, f *fetching, fetch func(context.Context, string) (string, error),
) {
	defer f.cancel()
	var text string
	text, f.err = fetch(ctx, id)
	if f.err == nil {
		f.schema, f.err = Parse(text)
		var bad *SchemaError
		if errors.As(f.err, &bad) {
			bad.ID = id
		}
	}

	r.mu.Lock()
	if f.err == nil {
		r.keepLocked(id, f.schema)
	}
	r.forgetLocked(id, f)
	r.mu.Unlock()
	close(f.done)
}

// leave is for a caller that waits no longer.
func (r *Registry) leave(id string, f *fetching) {
	r.mu.Lock()
	f.waiting--
	last := f.waiting == 0
	if last {
		r.forgetLocked(id, f) // who comes now needs a fetch that is not cancelled
	}
	r.mu.Unlock()
	if last {
		f.cancel()
		<-f.done
	}
}

// forgetLocked: the id may have a newer fetch than f by now.
func (r *Registry) forgetLocked(id string, f *fetching) {
	if r.fetches[id] == f {
		delete(r.fetches, id)
	}
}

// keepLocked is called once per fetch, which costs a round trip: a scan for the oldest is cheap beside it.
func (r *Registry) keepLocked(id string, schema *Schema) {
	if r.schemas == nil {
		r.schemas = map[string]*cached{}
	}
	if _, ok := r.schemas[id]; !ok && len(r.schemas) >= maxSchemas {
		var oldest string
		used := r.clock + 1
		for id, c := range r.schemas {
			if c.used < used {
				oldest, used = id, c.used
			}
		}
		delete(r.schemas, oldest)
	}
	r.clock++
	r.schemas[id] = &cached{schema: schema, used: r.clock}
}
