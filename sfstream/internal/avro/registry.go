package avro

import (
	"context"
	"errors"
	"sync"
)

// maxSchemas bounds a Registry. An org has a few schemas per channel, and one more for each time
// that a field is added.
const maxSchemas = 1000

// Registry keeps schemas by id and fetches each once. An id never changes its meaning, so nothing
// expires; when there are too many, the one that was used least recently goes. The zero value is
// ready for use. A Registry is safe for concurrent use.
type Registry struct {
	mu      sync.Mutex
	schemas map[string]*cached
	fetches map[string]*fetching
	clock   uint64 // counts the uses of all schemas
}

type cached struct {
	schema *Schema
	used   uint64
}

// fetching is one fetch and the calls that wait for it.
type fetching struct {
	cancel  context.CancelFunc
	waiting int           // how many calls wait; guarded by Registry.mu
	done    chan struct{} // closed when schema and err are set
	schema  *Schema
	err     error
}

// Get returns the schema with that id, and calls fetch for it if the registry has not got it. Calls
// for one id share a fetch. When ctx ends, this call ends, and the fetch goes on for the others.
// When the last of them ends, the context that fetch got is cancelled, and that call waits for
// fetch to return, so that no fetch outlives the calls that wanted it. fetch's context has the
// values of the first caller's.
//
// Get returns an error of fetch as it is, and a *SchemaError if the schema is bad. It keeps
// neither: the next Get fetches again. A schema is kept under the id that was asked for even if its
// ID differs, because no event must be lost to a server that computes ids in another way.
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

// join returns the schema, or the fetch that will have it. It starts the fetch if there is none.
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
		// The fetch does not run on the first caller's goroutine, because the end of that caller's
		// ctx must not end the wait of the others. The goroutine ends with fetch; the last Get that
		// leaves waits for that.
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

// leave is called when ctx ended before the fetch did.
func (r *Registry) leave(id string, f *fetching) {
	r.mu.Lock()
	f.waiting--
	last := f.waiting == 0
	if last {
		r.forgetLocked(id, f) // a Get that comes now must start a fetch of its own: this one is cancelled
	}
	r.mu.Unlock()
	if last {
		f.cancel()
		<-f.done
	}
}

// forgetLocked removes f, unless the id has a newer fetch by now.
func (r *Registry) forgetLocked(id string, f *fetching) {
	if r.fetches[id] == f {
		delete(r.fetches, id)
	}
}

// keepLocked keeps a schema, and drops the one used least recently if there are too many. It looks
// at all of them for that: it runs once per fetch, and a fetch costs a round trip.
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
