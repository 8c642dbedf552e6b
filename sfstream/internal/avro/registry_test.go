package avro

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const tiny = `{"type":"record","name":"R","fields":[]}`

var errFetch = errors.New("unavailable")

// Each test is a synctest bubble, which cannot end while a fetch is still running.

func TestRegistryFetchesOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Registry
		var fetches atomic.Int32
		fetch := func(ctx context.Context, id string) (string, error) {
			fetches.Add(1)
			time.Sleep(time.Second)
			return tiny, nil
		}
		got := make([]*Schema, 50)
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() {
				s, err := r.Get(t.Context(), "a", fetch)
				if err != nil {
					t.Error(err)
				}
				got[i] = s
			})
		}
		wg.Wait()
		again, err := r.Get(t.Context(), "a", fetch)
		if n := fetches.Load(); n != 1 || err != nil {
			t.Errorf("%d fetches, %v", n, err)
		}
		for _, s := range got {
			if s == nil || s != again {
				t.Fatal("callers have different schemas")
			}
		}
	})
}

func TestRegistryEndsOnlyTheWaitOfItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Registry
		fetch := func(ctx context.Context, id string) (string, error) {
			select {
			case <-time.After(time.Minute):
				return tiny, nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}
		var wg sync.WaitGroup
		first, cancel := context.WithTimeout(t.Context(), time.Second) // this call starts the fetch, and leaves before it ends
		defer cancel()
		wg.Go(func() {
			if _, err := r.Get(first, "a", fetch); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("first: %v", err)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			if s, err := r.Get(t.Context(), "a", fetch); s == nil || err != nil {
				t.Errorf("second: %v, %v", s, err)
			}
		})
		wg.Wait()
	})
}

func TestRegistryCancelsAFetchThatNobodyWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Registry
		var ended atomic.Bool
		stuck := func(ctx context.Context, id string) (string, error) {
			<-ctx.Done()
			time.Sleep(time.Second) // a fetch may need a moment to return
			ended.Store(true)
			return "", ctx.Err()
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if _, err := r.Get(ctx, "a", stuck); !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
			})
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		// A Get that comes now has a fetch of its own, not the cancelled one.
		s, err := r.Get(t.Context(), "a", func(context.Context, string) (string, error) { return tiny, nil })
		if s == nil || err != nil || ended.Load() {
			t.Errorf("%v, %v; the old fetch has ended: %v", s, err, ended.Load())
		}
		wg.Wait()
		if !ended.Load() {
			t.Error("Get returned before its fetch")
		}
		if len(r.fetches) != 0 || len(r.schemas) != 1 {
			t.Errorf("%d fetches, %d schemas", len(r.fetches), len(r.schemas))
		}
	})
}

func TestRegistryTakesTheContextsValuesAndNotItsEnd(t *testing.T) {
	type key struct{}
	var r Registry
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "v"))
	fetch := func(ctx context.Context, id string) (string, error) {
		if ctx.Value(key{}) != "v" {
			t.Error("the value is missing")
		}
		return tiny, nil
	}
	if _, err := r.Get(ctx, "a", fetch); err != nil {
		t.Error(err)
	}
	cancel()
	if s, err := r.Get(ctx, "a", fetch); s == nil || err != nil { // a schema that the registry has needs no live context
		t.Errorf("kept: %v, %v", s, err)
	}
	if _, err := r.Get(ctx, "b", fetch); !errors.Is(err, context.Canceled) || len(r.schemas) != 1 {
		t.Errorf("not kept: %v", err)
	}
}

func TestRegistryKeepsNoFailure(t *testing.T) {
	var r Registry
	answer := func(text string, err error) func(context.Context, string) (string, error) {
		return func(context.Context, string) (string, error) { return text, err }
	}
	_, err := r.Get(t.Context(), "a", answer("", errFetch))
	if err != errFetch || errors.As(err, new(*SchemaError)) {
		t.Errorf("fetch error: %v", err)
	}
	_, err = r.Get(t.Context(), "a", answer(`{"type":"recrod"}`, nil))
	var bad *SchemaError
	if !errors.As(err, &bad) || bad.ID != "a" || bad.Err == nil {
		t.Errorf("schema error: %v", err)
	}
	s, err := r.Get(t.Context(), "a", answer(tiny, nil))
	if s == nil || err != nil || s.ID() == "a" { // it is kept although its ID is another
		t.Errorf("then: %v, %v", s, err)
	}
}

func TestRegistryIsBounded(t *testing.T) {
	var r Registry
	fetches := 0
	get := func(i int) {
		t.Helper()
		_, err := r.Get(t.Context(), fmt.Sprint(i), func(context.Context, string) (string, error) {
			fetches++
			return tiny, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range maxSchemas + 50 {
		get(i)
		get(0) // "0" is used all the time
	}
	if len(r.schemas) != maxSchemas || len(r.fetches) != 0 || fetches != maxSchemas+50 {
		t.Errorf("%d schemas, %d fetches under way, %d made", len(r.schemas), len(r.fetches), fetches)
	}
	if get(60); fetches != maxSchemas+50 {
		t.Error("a schema used lately is gone")
	}
	if get(1); fetches != maxSchemas+51 {
		t.Error("the schema used least recently is still there")
	}
}

func TestRegistryUnderLoad(t *testing.T) {
	var r Registry
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for n := range 100 {
				ctx, cancel := context.WithCancel(t.Context())
				if (i+n)%3 == 0 {
					go cancel()
				}
				id := fmt.Sprint(n % 7)
				s, err := r.Get(ctx, id, func(ctx context.Context, got string) (string, error) {
					if got != id {
						t.Errorf("fetch of %s for %s", got, id)
					}
					if n%5 == 0 {
						return "", errFetch
					}
					return tiny, ctx.Err()
				})
				if (s == nil) == (err == nil) || err != nil && err != errFetch && !errors.Is(err, context.Canceled) {
					t.Errorf("%v, %v", s, err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if len(r.fetches) != 0 {
		t.Errorf("%d fetches are left", len(r.fetches))
	}
}
