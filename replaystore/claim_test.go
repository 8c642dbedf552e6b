package replaystore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/replaystore/replaystoretest"
)

const claimKey = "00D000000000062EAA/pubsub//event/A__e"

func at(id string) replaystore.Marker { return replaystore.Marker{ReplayID: []byte(id)} }

func newClaim(r replaystore.Register, owner string) *replaystore.Claim {
	return replaystore.NewClaim(r, claimKey, owner, 10*time.Second, nil)
}

func put(t *testing.T, c *replaystore.Claim, id string) {
	t.Helper()
	c.Set(at(id))
	if err := c.Put(t.Context()); err != nil {
		t.Fatalf("Put(%s): %v", id, err)
	}
}

func stored(t *testing.T, r replaystore.Register) replaystore.Entry {
	t.Helper()
	value, _, err := r.Get(t.Context(), claimKey)
	if err != nil {
		t.Fatal(err)
	}
	var entry replaystore.Entry
	if err := entry.UnmarshalBinary(value); err != nil {
		t.Fatal(err)
	}
	return entry
}

func expectStored(t *testing.T, r replaystore.Register, owner, id string) {
	t.Helper()
	if e := stored(t, r); e.Owner != owner || string(e.Marker.ReplayID) != id {
		t.Fatalf("%q has the key, with the marker %q; want %q and %q", e.Owner, e.Marker.ReplayID, owner, id)
	}
}

func TestAClaimTakesAKeyKeepsItAndReleasesIt(t *testing.T) {
	r, ctx := new(replaystoretest.Register), t.Context()
	a, b := newClaim(r, "a"), newClaim(r, "b")
	if _, _, err := a.Read(ctx); !errors.Is(err, replaystore.ErrNotFound) {
		t.Fatal(err)
	}
	put(t, a, "1")
	first := stored(t, r)
	if first.Lease != 10*time.Second || first.Incarnation == "" {
		t.Fatalf("%+v", first)
	}
	put(t, a, "2")
	if e := stored(t, r); e.Counter <= first.Counter || e.Incarnation != first.Incarnation {
		t.Fatalf("%+v after %+v", e, first)
	}
	if _, _, err := b.Read(ctx); err != nil {
		t.Fatal(err)
	}
	a.Set(at("3"))
	if err := a.Release(ctx); err != nil {
		t.Fatal(err)
	}
	expectStored(t, r, "", "3")
	if err := a.Put(ctx); !errors.Is(err, replaystore.ErrConflict) || !a.Sent().IsZero() {
		t.Fatalf("%v, sent %v", err, a.Sent())
	}
	if err := b.Put(ctx); !errors.Is(err, replaystore.ErrConflict) {
		t.Fatalf("the key was taken at a revision that has passed: %v", err)
	}
	if _, _, err := b.Read(ctx); err != nil {
		t.Fatal(err)
	}
	if err := b.Put(ctx); err != nil {
		t.Fatal(err)
	}
	expectStored(t, r, "b", "3")
}

func TestAClaimThatIsDeposedIsOverForEver(t *testing.T) {
	r, ctx := new(replaystoretest.Register), t.Context()
	a := newClaim(r, "a")
	put(t, a, "1")
	same := a.Again() // the same name is someone else
	if _, _, err := same.Read(ctx); err != nil {
		t.Fatal(err)
	}
	put(t, same, "5")
	for range 2 {
		a.Set(at("2"))
		if err := a.Put(ctx); !errors.Is(err, replaystore.ErrConflict) {
			t.Fatal(err)
		}
		if !a.Sent().IsZero() {
			t.Fatal("it holds the key")
		}
		if _, _, err := a.Read(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Release(ctx); !errors.Is(err, replaystore.ErrConflict) {
		t.Fatal(err)
	}
	if _, err := a.Advance(ctx, at("1"), at("2")); !errors.Is(err, replaystore.ErrConflict) {
		t.Fatal(err)
	}
	expectStored(t, r, "a", "5")
}
