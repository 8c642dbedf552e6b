// Package replaystoretest has the contract of [replaystore.Store] as tests, for every store to run:
//
//	func TestContract(t *testing.T) {
//		replaystoretest.Run(t, func(t *testing.T) replaystore.Store {
//			return mystore.New(client, "test-"+rand.Text())
//		})
//	}
//
// Run the tests with -race, which finds shared memory and missing locks.
package replaystoretest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// Run tests the contract. It calls open once in each sub-test: open returns a store without any
// markers, which nothing else uses, and closes it with [testing.T.Cleanup]. If a store has All or
// Delete as [replaystore.Bolt] has them, Run tests those too.
func Run(t *testing.T, open func(t *testing.T) replaystore.Store) {
	t.Helper()
	for _, test := range contract() {
		t.Run(test.sentence, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// RunDurable tests that markers outlive the store. open opens the store at place, the path of an
// empty directory whose name nothing else has; when open is called with the same place again, the
// markers must be there. A store that is an [io.Closer] is closed in between.
func RunDurable(t *testing.T, open func(t *testing.T, place string) replaystore.Store) {
	t.Helper()
	t.Run("what was saved is there after the store is opened again", func(t *testing.T) {
		place, markers := t.TempDir(), markers()
		for i, marker := range markers {
			store := open(t, place)
			for j, before := range markers[:i] {
				expect(t, store, numbered(j), before)
			}
			save(t, store, map[replaystore.Key]replaystore.Marker{numbered(i): marker})
			closeStore(t, store)
		}
	})
	t.Run("a marker that was overwritten stays overwritten after the store is opened again", func(t *testing.T) {
		place := t.TempDir()
		for _, id := range []string{"2", "1", "3"} {
			store := open(t, place)
			save(t, store, map[replaystore.Key]replaystore.Marker{order: {ReplayID: []byte(id)}})
			closeStore(t, store)
			store = open(t, place)
			expect(t, store, order, replaystore.Marker{ReplayID: []byte(id)})
			closeStore(t, store)
		}
	})
}

// The optional methods of a store.
type (
	lister interface {
		All(ctx context.Context) (iter.Seq2[replaystore.Key, replaystore.Marker], error)
	}
	deleter interface {
		Delete(ctx context.Context, key replaystore.Key) error
	}
)

func save(t *testing.T, store replaystore.Store, markers map[replaystore.Key]replaystore.Marker) {
	t.Helper()
	if err := store.Save(t.Context(), markers); err != nil {
		t.Fatalf("Save: %v", err)
	}
}

// expect fails the test unless Load(key) returns want.
func expect(t *testing.T, store replaystore.Store, key replaystore.Key, want replaystore.Marker) {
	t.Helper()
	got, err := store.Load(t.Context(), key)
	if err != nil {
		t.Fatalf("Load(%+v): %v", key, err)
	}
	if !equal(got, want) {
		t.Fatalf("Load(%+v)\n got %+v\nwant %+v", key, got, want)
	}
}

func expectNone(t *testing.T, store replaystore.Store, key replaystore.Key) {
	t.Helper()
	if got, err := store.Load(t.Context(), key); !errors.Is(err, replaystore.ErrNotFound) {
		t.Fatalf("Load(%+v) = %+v, %v; want ErrNotFound", key, got, err)
	}
}

// equal accepts it if got lacks what a store may forget: Followed, and all of Group.
func equal(got, want replaystore.Marker) bool {
	return bytes.Equal(got.ReplayID, want.ReplayID) && sameTime(got.Date, want.Date) && sameTime(got.Live, want.Live) &&
		(got.Followed.IsZero() || sameTime(got.Followed, want.Followed)) && (isNone(got.Group) || sameGroup(got.Group, want.Group))
}

func isNone(g replaystore.Group) bool {
	return len(g.ReplayID) == 0 && g.Date.IsZero() && len(g.Handled) == 0
}

func sameGroup(a, b replaystore.Group) bool {
	return bytes.Equal(a.ReplayID, b.ReplayID) && sameTime(a.Date, b.Date) && slices.Equal(a.Handled, b.Handled)
}

func sameTime(a, b time.Time) bool {
	return a.IsZero() == b.IsZero() && a.Sub(b).Abs() < time.Millisecond
}

func closeStore(t *testing.T, store replaystore.Store) {
	t.Helper()
	if c, ok := store.(io.Closer); ok {
		if err := c.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
}
