package replaystore_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/replaystore/replaystoretest"
)

func TestFromRegister(t *testing.T) {
	replaystoretest.Run(t, func(*testing.T) replaystore.Store {
		return replaystore.FromRegister(new(replaystoretest.Register))
	})
	engines := make(map[string]*replaystoretest.Register)
	replaystoretest.RunDurable(t, func(_ *testing.T, place string) replaystore.Store {
		if engines[place] == nil {
			engines[place] = new(replaystoretest.Register)
		}
		return replaystore.FromRegister(engines[place])
	})
}

func TestAProcessThatSavesTakesTheKeyOfAnother(t *testing.T) {
	r, ctx := new(replaystoretest.Register), t.Context()
	old, next := replaystore.FromRegister(r), replaystore.FromRegister(r)
	mustSave(t, old, keyA, "1")
	if got := mustLoad(t, next, keyA); got != "1" {
		t.Fatal(got)
	}
	mustSave(t, old, keyA, "2") // the other one has only read
	save := func(store replaystore.Store, id string) error {
		return store.Save(ctx, map[replaystore.Key]replaystore.Marker{keyA: at(id), keyB: at(id)})
	}
	err := save(next, "1") // it has not seen 2
	if !errors.Is(err, replaystore.ErrConflict) || !strings.Contains(err.Error(), "00D000000000062EAA/pubsub//event/A__e") {
		t.Fatal(err)
	}
	if got := mustLoad(t, next, keyA); got != "2" || mustLoad(t, next, keyB) != "1" {
		t.Fatalf("%s; the keys are saved one by one", got)
	}
	mustSave(t, next, keyA, "3")
	for range 2 {
		if err := save(old, "2"); !errors.Is(err, replaystore.ErrConflict) {
			t.Fatal(err)
		}
		if _, err := old.Load(ctx, keyA); !errors.Is(err, replaystore.ErrConflict) {
			t.Fatal(err)
		}
	}
	if got := mustLoad(t, next, keyA); got != "3" {
		t.Fatal(got)
	}
}

func TestAPrefixKeepsProgramsApart(t *testing.T) {
	r := new(replaystoretest.Register)
	a, b := replaystore.FromRegister(r), replaystore.FromRegister(r, replaystore.WithKeyPrefix("b/"))
	mustSave(t, a, keyA, "1")
	mustSave(t, b, keyA, "2")
	mustSave(t, a, keyA, "3")
	if mustLoad(t, a, keyA) != "3" || mustLoad(t, b, keyA) != "2" {
		t.Fatal("one has the marker of the other")
	}
	if _, _, err := r.Get(t.Context(), "b/00D000000000062EAA/pubsub//event/A__e"); err != nil {
		t.Fatal(err)
	}
}

func TestAStoreCreatesAgainWhatItsRegisterHasLost(t *testing.T) {
	r := new(replaystoretest.Register)
	var log strings.Builder
	store := replaystore.FromRegister(r, replaystore.WithWarnings(slog.New(slog.NewTextHandler(&log, nil))))
	mustSave(t, store, keyA, "1")
	if err := r.Delete(t.Context(), claimKey); err != nil {
		t.Fatal(err)
	}
	if got := mustLoad(t, store, keyA); got != "1" {
		t.Fatal(got)
	}
	mustSave(t, store, keyA, "2")
	if got := mustLoad(t, store, keyA); got != "2" || strings.Count(log.String(), "WARN") != 1 {
		t.Fatal(got, log.String())
	}
}

func TestAKeyThatALeaderHasTakenWithoutAMarkerHasNone(t *testing.T) {
	r := new(replaystoretest.Register)
	if err := newClaim(r, "leader").Put(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := replaystore.FromRegister(r).Load(t.Context(), keyA); !errors.Is(err, replaystore.ErrNotFound) {
		t.Fatal(err)
	}
}

func TestAStoreOverARegisterIsAdvancedInATransaction(t *testing.T) {
	r, ctx := new(replaystoretest.Register), t.Context()
	store := replaystore.FromRegister(r).(replaystore.Advancer)
	short := keyA
	short.OrgID = short.OrgID[:15]
	step, err := store.Advance(ctx, short, at("1"), at("2"))
	if err != nil || r.Update(step.Key, step.Next) != nil {
		t.Fatal(err)
	}
	if got := mustLoad(t, store.(replaystore.Store), keyA); got != "2" {
		t.Fatal(got)
	}
	next := replaystore.FromRegister(r).(replaystore.Advancer) // it has loaded nothing
	step, err = next.Advance(ctx, keyA, at("2"), at("3"))
	if err != nil || r.Update(step.Key, step.Next) != nil {
		t.Fatal(err)
	}
	mustSave(t, next.(replaystore.Store), keyA, "3")
	step, err = store.Advance(ctx, keyA, at("2"), at("3"))
	if err == nil {
		err = r.Update(step.Key, step.Next)
	}
	if !errors.Is(err, replaystore.ErrConflict) {
		t.Fatal(err)
	}
}

// A save of which nobody knows whether it was done is found out about, and not repeated, where no
// lease must be renewed.
func TestASaveInDoubtIsFoundToBeDone(t *testing.T) {
	r := new(replaystoretest.Register)
	puts := 0
	f := &replaystoretest.Faulty{Register: r, Plan: func(c replaystoretest.Call) (fault replaystoretest.Fault) {
		if c.Put {
			puts++
			fault = replaystoretest.Fault{ReplyLost: puts == 1, GiveUp: time.Millisecond}
		}
		return fault
	}}
	mustSave(t, replaystore.FromRegister(f), keyA, "1")
	if puts != 1 {
		t.Fatalf("%d puts", puts)
	}
}

// The first Save of a program that was told where to begin reads the key first. A transaction goes
// on meanwhile.
func TestASlowFirstSaveDoesNotPutBackWhatATransactionWrote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(replaystoretest.Register)
		for _, id := range []string{"8", "9"} {
			mustSave(t, replaystore.FromRegister(r), keyA, id) // without a Load
			expectStored(t, r, stored(t, r).Owner, id)
		}
		slow := true
		f := &replaystoretest.Faulty{Register: r, Plan: func(c replaystoretest.Call) (fault replaystoretest.Fault) {
			if slow && !c.Put {
				slow, fault.Back = false, time.Second
			}
			return fault
		}}
		store := replaystore.FromRegister(f)
		saved := make(chan error)
		go func() {
			saved <- store.Save(context.Background(), map[replaystore.Key]replaystore.Marker{keyA: at("1")})
		}()
		synctest.Wait()
		step, err := store.(replaystore.Advancer).Advance(t.Context(), keyA, at("1"), at("2"))
		if err != nil || r.Update(step.Key, step.Next) != nil {
			t.Fatal(err)
		}
		if err := <-saved; err != nil {
			t.Fatal(err)
		}
		if got := mustLoad(t, store, keyA); got != "2" {
			t.Fatalf("the marker is %s", got)
		}
	})
}
