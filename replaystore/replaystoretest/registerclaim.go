package replaystoretest

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

func newClaim(r replaystore.Register, key, owner string) *replaystore.Claim {
	return replaystore.NewClaim(r, key, owner, 10*time.Second, nil)
}

// claimAdopts lets every other put lose its reply, and every other one of those come late.
func claimAdopts(t *testing.T, r replaystore.Register) {
	puts := 0
	f := &Faulty{Register: r, Plan: func(c Call) Fault {
		if c.Put {
			puts++
		}
		switch {
		case !c.Put || puts%2 == 0:
			return Fault{}
		case puts%4 == 1:
			return Fault{ReplyLost: true, GiveUp: 50 * time.Millisecond}
		}
		return Fault{Out: 30 * time.Millisecond, GiveUp: 10 * time.Millisecond}
	}}
	key := newKey()
	claim := newClaim(f, key, "leader")
	var before replaystore.Entry
	for i := range 10 {
		began := time.Now()
		claim.Set(replaystore.Marker{ReplayID: strconv.AppendInt(nil, int64(i), 10)})
		if err := claim.Put(t.Context()); err != nil {
			t.Fatalf("put %d: %v", i, err)
		}
		if claim.Sent().Before(began) {
			t.Fatalf("put %d: the lease counts from before it", i)
		}
		f.Wait()
		e := readEntry(t, r, key)
		if string(e.Marker.ReplayID) != strconv.Itoa(i) || e.Owner != "leader" || i > 0 && (e.Counter <= before.Counter || e.Incarnation != before.Incarnation) {
			t.Fatalf("put %d: %+v after %+v", i, e, before)
		}
		before = e
	}
}

func claimDeposed(t *testing.T, r replaystore.Register) {
	key := newKey()
	old, next := newClaim(r, key, "a"), newClaim(r, key, "a")
	old.Set(replaystore.Marker{ReplayID: []byte("1")})
	if err := old.Put(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := next.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := next.Put(t.Context()); err != nil {
		t.Fatal(err)
	}
	old.Set(replaystore.Marker{ReplayID: []byte("2")})
	for range 2 {
		if err := old.Put(t.Context()); !errors.Is(err, replaystore.ErrConflict) {
			t.Fatalf("the old leader's put: %v; want ErrConflict", err)
		}
	}
	if err := next.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := old.Put(t.Context()); !errors.Is(err, replaystore.ErrConflict) {
		t.Fatalf("the old leader's put: %v; want ErrConflict", err)
	}
	if e := readEntry(t, r, key); e.Owner != "" || string(e.Marker.ReplayID) != "1" {
		t.Fatalf("%+v", e)
	}
}

func claimCreates(t *testing.T, r replaystore.Register) {
	d, ok := r.(keyDeleter)
	if !ok {
		t.Skipf("%T has no method Delete", r)
	}
	key := newKey()
	claim := newClaim(r, key, "a")
	for _, id := range []string{"1", "2", "3"} {
		claim.Set(replaystore.Marker{ReplayID: []byte(id)})
		if err := claim.Put(t.Context()); err != nil {
			t.Fatal(err)
		}
		if e := readEntry(t, r, key); string(e.Marker.ReplayID) != id {
			t.Fatalf("%+v", e)
		}
		if err := d.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	other := newClaim(r, key, "b")
	if _, _, err := other.Read(t.Context()); !errors.Is(err, replaystore.ErrNotFound) {
		t.Fatal(err)
	}
	if err := other.Put(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := claim.Put(t.Context()); !errors.Is(err, replaystore.ErrConflict) {
		t.Fatalf("another has created the key first: %v; want ErrConflict", err)
	}
}

func readEntry(t *testing.T, r replaystore.Register, key string) (entry replaystore.Entry) {
	t.Helper()
	value, _, err := r.Get(t.Context(), key)
	if err == nil {
		err = entry.UnmarshalBinary(value)
	}
	if err != nil {
		t.Fatal(err)
	}
	return entry
}
