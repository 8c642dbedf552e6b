package replaystoretest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

type (
	key    = replaystore.Key
	marker = replaystore.Marker
)

type clause struct {
	sentence string
	run      func(t *testing.T, store replaystore.Store)
}

func contract() []clause {
	return []clause{
		{"a key that was never saved is not found", func(t *testing.T, store replaystore.Store) {
			expectNone(t, store, order)
			save(t, store, map[key]marker{numbered(1): {ReplayID: []byte("1")}})
			expectNone(t, store, order)
		}},
		{"a marker comes back with all its fields", func(t *testing.T, store replaystore.Store) {
			for i, m := range markers() {
				save(t, store, map[key]marker{numbered(i): m})
				expect(t, store, numbered(i), m)
			}
		}},
		{"keys that differ in org, API or channel do not collide", func(t *testing.T, store replaystore.Store) {
			for i, k := range nastyKeys() {
				save(t, store, map[key]marker{k: {ReplayID: []byte(strconv.Itoa(i))}})
			}
			for i, k := range nastyKeys() {
				expect(t, store, k, marker{ReplayID: []byte(strconv.Itoa(i))})
			}
		}},
		{"a 15-character org id is its 18-character one", func(t *testing.T, store replaystore.Store) {
			short, long := order, order
			short.OrgID = org[:15]
			save(t, store, map[key]marker{short: {ReplayID: []byte("1")}})
			expect(t, store, long, marker{ReplayID: []byte("1")})
			save(t, store, map[key]marker{long: {ReplayID: []byte("2")}})
			expect(t, store, short, marker{ReplayID: []byte("2")})
		}},
		{"a channel is the same with and without its filter", func(t *testing.T, store replaystore.Store) {
			bare := key{OrgID: org, API: "cometd", Channel: "/topic/Accounts"}
			filtered := bare
			filtered.Channel += "?Country='DE'"
			save(t, store, map[key]marker{filtered: {ReplayID: []byte("1")}})
			expect(t, store, bare, marker{ReplayID: []byte("1")})
			save(t, store, map[key]marker{bare: {ReplayID: []byte("2")}})
			expect(t, store, filtered, marker{ReplayID: []byte("2")})
		}},
		{"the last save wins, forward and back", func(t *testing.T, store replaystore.Store) {
			for _, m := range append(markers(), markers()...) {
				save(t, store, map[key]marker{order: m})
				expect(t, store, order, m)
			}
			for _, id := range []string{"10", "9", "", "11"} {
				save(t, store, map[key]marker{order: {ReplayID: []byte(id)}})
				expect(t, store, order, marker{ReplayID: []byte(id)})
			}
		}},
		{"one save stores many keys and leaves the others alone", func(t *testing.T, store replaystore.Store) {
			save(t, store, map[key]marker{order: {ReplayID: []byte("other")}})
			many := make(map[key]marker)
			for i := range 100 {
				many[numbered(i)] = marker{ReplayID: []byte(strconv.Itoa(i))}
			}
			save(t, store, many)
			for k, m := range many {
				expect(t, store, k, m)
			}
			expect(t, store, order, marker{ReplayID: []byte("other")})
		}},
		{"saving nothing is no error", func(t *testing.T, store replaystore.Store) {
			save(t, store, nil)
			save(t, store, map[key]marker{})
			expectNone(t, store, key{})
		}},
		{"with a ctx that has ended nothing is saved", func(t *testing.T, store replaystore.Store) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			save(t, store, map[key]marker{numbered(1): {ReplayID: []byte("old")}})
			err := store.Save(ctx, map[key]marker{numbered(1): {ReplayID: []byte("new")}, numbered(2): {ReplayID: []byte("new")}})
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("Save: %v; want context.Canceled", err)
			}
			expect(t, store, numbered(1), marker{ReplayID: []byte("old")})
			expectNone(t, store, numbered(2))
		}},
		{"with a ctx that has ended Load says so and not that nothing is there", func(t *testing.T, store replaystore.Store) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := store.Load(ctx, order); !errors.Is(err, context.Canceled) || errors.Is(err, replaystore.ErrNotFound) {
				t.Fatalf("Load: %v; want context.Canceled", err)
			}
		}},
		{"the store keeps no reference to what it was given", func(t *testing.T, store replaystore.Store) {
			id := []byte("abc")
			batch := map[key]marker{order: {ReplayID: id}}
			save(t, store, batch)
			id[0] = 'X'
			clear(batch)
			expect(t, store, order, marker{ReplayID: []byte("abc")})
		}},
		{"the store leaves the map it was given alone", func(t *testing.T, store replaystore.Store) {
			short := key{OrgID: org[:15], API: "cometd", Channel: "/topic/X?A='1'"}
			batch := map[key]marker{short: {ReplayID: []byte("abc")}}
			save(t, store, batch)
			if m, ok := batch[short]; !ok || len(batch) != 1 || string(m.ReplayID) != "abc" {
				t.Fatalf("the caller's map is %+v after Save", batch)
			}
		}},
		{"a group is kept whole or not at all, and goes with its marker", func(t *testing.T, store replaystore.Store) {
			handled := []uint64{3, 1, 2}
			want := marker{ReplayID: []byte("9"), Group: replaystore.Group{ReplayID: []byte("10"), Handled: slices.Clone(handled)}}
			save(t, store, map[key]marker{order: {ReplayID: []byte("9"), Group: replaystore.Group{ReplayID: []byte("10"), Handled: handled}}})
			handled[0] = 7
			expect(t, store, order, want)
			got, err := store.Load(t.Context(), order)
			if err != nil {
				t.Fatal(err)
			}
			clear(got.Group.Handled)
			clear(got.Group.ReplayID)
			expect(t, store, order, want)
			save(t, store, map[key]marker{order: {ReplayID: []byte("10")}})
			expect(t, store, order, marker{ReplayID: []byte("10")})
		}},
		{"what was loaded may be changed", func(t *testing.T, store replaystore.Store) {
			save(t, store, map[key]marker{order: {ReplayID: []byte("abc")}})
			got, err := store.Load(t.Context(), order)
			if err != nil {
				t.Fatal(err)
			}
			got.ReplayID[0] = 'X'
			_ = append(got.ReplayID, "yz"...)
			expect(t, store, order, marker{ReplayID: []byte("abc")})
		}},
		{"it may be used from many goroutines", concurrent},
		{"no load sees a part of a marker", atomic},
		{"all lists what was saved", all},
		{"a deleted key is not found", deletes},
	}
}

func concurrent(t *testing.T, store replaystore.Store) {
	const goroutines, saves = 8, 10
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range saves {
				want := marker{ReplayID: fmt.Appendf(nil, "%d", i)}
				if err := store.Save(t.Context(), map[key]marker{numbered(g): want}); err != nil {
					t.Errorf("Save: %v", err)
				}
				if got, err := store.Load(t.Context(), numbered(g)); err != nil || !equal(got, want) {
					t.Errorf("Load: %+v, %v; want %+v", got, err, want)
				}
				if _, err := store.Load(t.Context(), numbered((g+1)%goroutines)); err != nil && !errors.Is(err, replaystore.ErrNotFound) {
					t.Errorf("Load: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

// atomic saves a marker again and again: a caller that loads it must find one of those, whole, and
// none that is older than one it has found before.
func atomic(t *testing.T, store replaystore.Store) {
	numbered := func(i int64) marker {
		at := time.Unix(1e9+i, 0)
		return marker{ReplayID: strconv.AppendInt(nil, i, 10), Date: at, Live: at.Add(time.Hour)}
	}
	save(t, store, map[key]marker{order: numbered(0)})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range int64(30) {
			if err := store.Save(t.Context(), map[key]marker{order: numbered(i + 1)}); err != nil {
				t.Errorf("Save: %v", err)
			}
		}
	})
	newest := int64(0)
	for range 400 {
		got, err := store.Load(t.Context(), order)
		i, numErr := strconv.ParseInt(string(got.ReplayID), 10, 64)
		if err = errors.Join(err, numErr); err != nil {
			t.Errorf("Load: %v", err)
			break
		}
		if !equal(got, numbered(i)) || i < newest {
			t.Errorf("saw %+v, after marker %d was seen", got, newest)
		}
		newest = i
	}
	wg.Wait()
}

func all(t *testing.T, store replaystore.Store) {
	l, ok := store.(lister)
	if !ok {
		t.Skipf("%T has no method All", store)
	}
	want, shapes := make(map[key]marker), markers()
	for i, k := range nastyKeys() {
		want[k] = shapes[i%len(shapes)]
	}
	save(t, store, want)
	seq, err := l.All(t.Context())
	if err != nil {
		t.Fatalf("All: %v", err)
	}
	for k := range seq { // changes made inside the loop are allowed, and do not show in it
		save(t, store, map[key]marker{k: {ReplayID: []byte("changed")}})
		break
	}
	if got := maps.Collect(seq); !maps.EqualFunc(got, want, equal) {
		t.Fatalf("All\n got %+v\nwant %+v", got, want)
	}
	var before *key
	for k := range seq {
		if before != nil && (before.OrgID > k.OrgID || before.OrgID == k.OrgID && before.API > k.API) {
			t.Fatalf("%+v came before %+v", *before, k)
		}
		before = &k
	}
}

func deletes(t *testing.T, store replaystore.Store) {
	d, ok := store.(deleter)
	if !ok {
		t.Skipf("%T has no method Delete", store)
	}
	save(t, store, map[key]marker{order: {ReplayID: []byte("1")}, numbered(1): {ReplayID: []byte("2")}})
	spelled := key{OrgID: org[:15], API: order.API, Channel: order.Channel + "?A='1'"}
	for range 2 { // a marker that is gone can be deleted again
		if err := d.Delete(t.Context(), spelled); err != nil {
			t.Fatalf("Delete: %v", err)
		}
		expectNone(t, store, order)
	}
	expect(t, store, numbered(1), marker{ReplayID: []byte("2")})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Delete(ctx, numbered(1)); !errors.Is(err, context.Canceled) {
		t.Fatalf("Delete: %v; want context.Canceled", err)
	}
	expect(t, store, numbered(1), marker{ReplayID: []byte("2")})
}
