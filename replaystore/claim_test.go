package replaystore_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
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

// faults returns a register that goes wrong with the next put as fault says, as often as it is
// given one.
func faults(r replaystore.Register) (*replaystoretest.Faulty, func(...replaystoretest.Fault)) {
	var mu sync.Mutex
	var next []replaystoretest.Fault
	f := &replaystoretest.Faulty{Register: r, Plan: func(c replaystoretest.Call) (fault replaystoretest.Fault) {
		mu.Lock()
		defer mu.Unlock()
		if c.Put && len(next) > 0 {
			fault, next = next[0], next[1:]
		}
		return fault
	}}
	return f, func(all ...replaystoretest.Fault) {
		mu.Lock()
		defer mu.Unlock()
		next = all
	}
}

func TestAPutWhoseReplyIsLostIsAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(replaystoretest.Register)
		r, fail := faults(memory)
		a := newClaim(r, "a")
		for _, id := range []string{"1", "2"} { // the first takes the key
			sent := time.Now()
			fail(replaystoretest.Fault{ReplyLost: true, GiveUp: time.Second})
			put(t, a, id)
			if !a.Sent().Equal(sent) {
				t.Fatalf("the lease counts from %v, the put was sent at %v", a.Sent(), sent)
			}
			if e := stored(t, memory); e.Counter > 2 {
				t.Fatalf("it was put again: %+v", e)
			}
			time.Sleep(time.Second)
		}
		expectStored(t, memory, "a", "2")
	})
}

func TestALeaseThatMustBeRenewedIsPutAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(replaystoretest.Register)
		r, fail := faults(memory)
		a := newClaim(r, "a")
		put(t, a, "1")
		fail(replaystoretest.Fault{ReplyLost: true})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		a.Set(at("2"))
		if err := a.Put(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, replaystore.ErrConflict) {
			t.Fatal(err)
		}
		before := a.Sent()
		time.Sleep(5 * time.Second)
		if err := a.Put(t.Context()); err != nil {
			t.Fatal(err)
		}
		if since := time.Since(a.Sent()); since != 0 || !a.Sent().After(before) {
			t.Fatalf("the lease counts from %v ago", since)
		}
	})
}

func TestAPutThatComesLateCountsFromItsOwnSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(replaystoretest.Register)
		r, fail := faults(memory)
		a := newClaim(r, "a")
		put(t, a, "1")
		sent := time.Now()
		// The first put arrives before the second one, which conflicts then.
		fail(replaystoretest.Fault{Out: 1500 * time.Millisecond, GiveUp: time.Second}, replaystoretest.Fault{Out: time.Second})
		put(t, a, "2")
		if !a.Sent().Equal(sent) {
			t.Fatalf("the lease counts from %v, the put that has come was sent at %v", a.Sent(), sent)
		}
		expectStored(t, memory, "a", "2")
		put(t, a, "3")
		expectStored(t, memory, "a", "3")
	})
}

func TestALatePutOfAnOldLeaderChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(replaystoretest.Register)
		r, fail := faults(memory)
		a, b := newClaim(r, "a"), newClaim(memory, "b")
		put(t, a, "1")
		fail(replaystoretest.Fault{Out: 5 * time.Second, GiveUp: time.Second}, replaystoretest.Fault{RequestLost: true})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		a.Set(at("2"))
		if err := a.Put(ctx); err == nil || errors.Is(err, replaystore.ErrConflict) {
			t.Fatal(err)
		}
		if _, _, err := b.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		put(t, b, "1")
		r.Wait()
		expectStored(t, memory, "b", "1")
		if err := a.Put(t.Context()); !errors.Is(err, replaystore.ErrConflict) {
			t.Fatal(err)
		}
	})
}

// A conflict that cannot be looked into may be one with the claim itself.
func TestAConflictIsNoneUntilItIsKnownWithWhom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(replaystoretest.Register)
		away := false
		r := &replaystoretest.Faulty{Register: memory}
		a := newClaim(r, "a")
		put(t, a, "1")
		r.Plan = func(c replaystoretest.Call) replaystoretest.Fault {
			if c.Put {
				away = true
				return replaystoretest.Fault{}
			}
			return replaystoretest.Fault{RequestLost: away, GiveUp: time.Second}
		}
		step, err := a.Advance(t.Context(), at("1"), at("2"))
		if err != nil || memory.Update(claimKey, step.Next) != nil {
			t.Fatal(err)
		}
		r.Plan, away = nil, false
		put(t, a, "1") // the transaction is learnt of, and not undone
		expectStored(t, memory, "a", "2")

		other := newClaim(memory, "b")
		if _, _, err := other.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		put(t, other, "2")
		r.Plan = func(c replaystoretest.Call) replaystoretest.Fault {
			return replaystoretest.Fault{RequestLost: !c.Put, GiveUp: time.Second, Out: time.Millisecond}
		}
		if err := a.Put(t.Context()); !errors.Is(err, replaystoretest.ErrLost) || errors.Is(err, replaystore.ErrConflict) || a.Sent().IsZero() {
			t.Fatal(err)
		}
		r.Plan = nil
		if err := a.Put(t.Context()); !errors.Is(err, replaystore.ErrConflict) || !a.Sent().IsZero() {
			t.Fatal(err)
		}
	})
}

func TestAValueThatTheRegisterHasLostIsCreatedAgain(t *testing.T) {
	for name, take := range map[string]func(*testing.T, *replaystore.Claim) *replaystore.Claim{
		"by its leader": func(_ *testing.T, leader *replaystore.Claim) *replaystore.Claim { return leader },
		"by a standby that has read it": func(t *testing.T, leader *replaystore.Claim) *replaystore.Claim {
			return leader.Again()
		},
	} {
		t.Run(name, func(t *testing.T) {
			memory, ctx := new(replaystoretest.Register), t.Context()
			var log strings.Builder
			leader := replaystore.NewClaim(memory, claimKey, "a", 10*time.Second, slog.New(slog.NewTextHandler(&log, nil)))
			put(t, leader, "1")
			put(t, leader, "2")
			before := stored(t, memory)
			if err := memory.Delete(ctx, claimKey); err != nil {
				t.Fatal(err)
			}
			c := take(t, leader)
			if err := c.Put(ctx); err != nil {
				t.Fatal(err)
			}
			if e := stored(t, memory); string(e.Marker.ReplayID) != "2" || e.Counter <= before.Counter {
				t.Fatalf("%+v after %+v", e, before)
			}
			if err := c.Put(ctx); err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(log.String(), "WARN"); n != 1 || !strings.Contains(log.String(), claimKey) {
				t.Fatalf("%d warnings: %s", n, log.String())
			}
			if c != leader {
				if err := leader.Put(ctx); !errors.Is(err, replaystore.ErrConflict) {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestAReleaseWhoseReplyIsLostIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(replaystoretest.Register)
		r, fail := faults(memory)
		a := newClaim(r, "a")
		put(t, a, "1")
		fail(replaystoretest.Fault{ReplyLost: true, GiveUp: time.Second})
		a.Set(at("2"))
		if err := a.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		expectStored(t, memory, "", "2")

		idle := newClaim(r, "b")
		if err := idle.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, _, err := idle.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		fail(replaystoretest.Fault{ReplyLost: true})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := idle.Put(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		expectStored(t, memory, "b", "2")
		if err := idle.Release(t.Context()); err != nil { // it may have the key, and does
			t.Fatal(err)
		}
		expectStored(t, memory, "", "2")
	})
}

func advance(t *testing.T, c *replaystore.Claim, before, after string) replaystore.Advance {
	t.Helper()
	step, err := c.Advance(t.Context(), at(before), at(after))
	if err != nil || step.Key != claimKey {
		t.Fatalf("%q, %v", step.Key, err)
	}
	return step
}

func TestATransactionMovesTheMarkerOnce(t *testing.T) {
	memory, ctx := new(replaystoretest.Register), t.Context()
	a := newClaim(memory, "a")
	if err := memory.Update(claimKey, advance(t, a, "", "1").Next); err != nil { // creates the key
		t.Fatal(err)
	}
	expectStored(t, memory, "a", "1")
	first := advance(t, a, "1", "2")
	if err := a.Put(ctx); err != nil { // a heartbeat in between does no harm
		t.Fatal(err)
	}
	if err := memory.Update(claimKey, first.Next); err != nil {
		t.Fatal(err)
	}
	expectStored(t, memory, "a", "2")
	for _, step := range []replaystore.Advance{first, advance(t, a, "1", "2")} {
		if err := memory.Update(claimKey, step.Next); !errors.Is(err, replaystore.ErrHandled) {
			t.Fatal(err)
		}
	}
	put(t, a, "1") // a save from before
	if err := a.Put(ctx); err != nil {
		t.Fatal(err)
	}
	expectStored(t, memory, "a", "2")
	put(t, a, "5") // messages without a transaction
	expectStored(t, memory, "a", "5")
	if err := memory.Update(claimKey, first.Next); err == nil || errors.Is(err, replaystore.ErrHandled) || errors.Is(err, replaystore.ErrConflict) {
		t.Fatal(err)
	}
	if err := memory.Update(claimKey, advance(t, a, "7", "8").Next); err != nil { // 6 and 7 are not saved yet
		t.Fatal(err)
	}
	expectStored(t, memory, "a", "8")
	if err := memory.Update(claimKey, advance(t, a, "9", "10").Next); err != nil { // 9 had none again
		t.Fatal(err)
	}
	if err := a.Release(ctx); err != nil {
		t.Fatal(err)
	}
	expectStored(t, memory, "", "10")
}

// TestTransactionsThatTheDatabaseHasLostEndTheClaim is about a failover to a replica that was behind:
// the rows of the transactions are lost with the marker, and must be made again.
func TestTransactionsThatTheDatabaseHasLostEndTheClaim(t *testing.T) {
	for _, found := range []string{"by a transaction", "by a put", "by a read"} {
		for _, held := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, held=%t", found, held), func(t *testing.T) {
				memory, ctx := new(replaystoretest.Register), t.Context()
				earlier := newClaim(memory, "before")
				put(t, earlier, "0")
				if err := earlier.Release(ctx); err != nil {
					t.Fatal(err)
				}
				a := newClaim(memory, "a")
				if _, _, err := a.Read(ctx); err != nil {
					t.Fatal(err)
				}
				if held {
					put(t, a, "0")
				}
				replica := stored(t, memory)
				for i := range 3 {
					if err := memory.Update(claimKey, advance(t, a, strconv.Itoa(i), strconv.Itoa(i+1)).Next); err != nil {
						t.Fatal(err)
					}
				}
				failover := func([]byte) ([]byte, error) { return replica.MarshalBinary() }
				if err := memory.Update(claimKey, failover); err != nil {
					t.Fatal(err)
				}
				var err error
				switch found {
				case "by a transaction":
					err = memory.Update(claimKey, advance(t, a, "3", "4").Next)
				case "by a put":
					a.Set(at("3"))
					err = a.Put(ctx)
				default:
					if _, _, err = a.Read(ctx); err == nil {
						err = a.Put(ctx)
					}
				}
				if !errors.Is(err, replaystore.ErrConflict) || !strings.Contains(err.Error(), "lost transactions") {
					t.Errorf("got %v", err)
				}
				if err := a.Put(ctx); !errors.Is(err, replaystore.ErrConflict) {
					t.Errorf("it goes on: %v", err)
				}
				expectStored(t, memory, replica.Owner, "0")
			})
		}
	}
}

// slowReplies calls meanwhile between what the register does and its reply.
type slowReplies struct {
	*replaystoretest.Register
	meanwhile func()
}

func (r *slowReplies) Get(ctx context.Context, key string) ([]byte, string, error) {
	defer r.meanwhile()
	return r.Register.Get(ctx, key)
}

func (r *slowReplies) Put(ctx context.Context, key string, value []byte, rev string) (string, error) {
	defer r.meanwhile()
	return r.Register.Put(ctx, key, value, rev)
}

// TestAReplyThatComesAfterTransactionsIsNoLoss is about a heartbeat whose reply is slow: what it says
// was true before the transactions, and they are committed.
func TestAReplyThatComesAfterTransactionsIsNoLoss(t *testing.T) {
	for _, late := range []string{"of a put", "of a get before a put", "of a read"} {
		t.Run(late, func(t *testing.T) {
			memory, ctx := new(replaystoretest.Register), t.Context()
			engine := &slowReplies{memory, func() {}}
			a := newClaim(engine, "a")
			put(t, a, "0")
			place := 0
			transactions := func() {
				for range 2 {
					step := advance(t, a, strconv.Itoa(place), strconv.Itoa(place+1))
					if err := memory.Update(claimKey, step.Next); err != nil {
						t.Fatal(err)
					}
					place++
				}
			}
			if late == "of a get before a put" {
				transactions()
			}
			engine.meanwhile = func() {
				engine.meanwhile = func() {}
				transactions()
			}
			var err error
			if late == "of a read" {
				_, _, err = a.Read(ctx)
			} else {
				err = a.Put(ctx)
			}
			if err != nil {
				t.Fatal(err)
			}
			transactions()
			end := strconv.Itoa(place)
			put(t, a, end)
			expectStored(t, memory, "a", end)
		})
	}
}

// TestAFailoverThatBringsTheRevisionBackIsFound is about one that comes before the next call: the
// revision that the claim knows is good again, and what was committed meanwhile is lost.
func TestAFailoverThatBringsTheRevisionBackIsFound(t *testing.T) {
	for _, slow := range []bool{false, true} { // the reply of the put before the transactions
		t.Run(fmt.Sprintf("slow=%t", slow), func(t *testing.T) {
			memory, ctx := new(replaystoretest.Register), t.Context()
			engine := &slowReplies{memory, func() {}}
			var replica replaystore.Entry
			var replicaRev string
			restored := make(map[string]string)
			a := newClaim(renamed{engine, restored}, "a")
			put(t, a, "0")
			transactions := func() {
				engine.meanwhile = func() {}
				replica = stored(t, memory)
				_, replicaRev, _ = memory.Get(ctx, claimKey)
				for i := range 2 {
					if err := memory.Update(claimKey, advance(t, a, strconv.Itoa(i), strconv.Itoa(i+1)).Next); err != nil {
						t.Fatal(err)
					}
				}
			}
			if slow {
				engine.meanwhile = transactions
			}
			if err := a.Put(ctx); err != nil {
				t.Fatal(err)
			}
			if !slow {
				transactions()
			}
			if err := memory.Update(claimKey, func([]byte) ([]byte, error) { return replica.MarshalBinary() }); err != nil {
				t.Fatal(err)
			}
			_, rev, err := memory.Get(ctx, claimKey)
			if err != nil {
				t.Fatal(err)
			}
			restored[replicaRev] = rev
			a.Set(at("2"))
			if err := a.Put(ctx); !errors.Is(err, replaystore.ErrConflict) {
				t.Errorf("got %v", err)
			}
			expectStored(t, memory, "a", "0")
		})
	}
}

// renamed is a register in which revisions come again, as after a failover.
type renamed struct {
	replaystore.Register
	revs map[string]string
}

func (r renamed) Put(ctx context.Context, key string, value []byte, rev string) (string, error) {
	if now, ok := r.revs[rev]; ok {
		rev = now
	}
	return r.Register.Put(ctx, key, value, rev)
}

// TestAMarkerThatWasSetAfterATransactionIsPut is about what is found on the way: the transaction's
// marker is one of this claim, and not the one that was set.
func TestAMarkerThatWasSetAfterATransactionIsPut(t *testing.T) {
	for _, lease := range []time.Duration{0, 10 * time.Second} {
		memory := new(replaystoretest.Register)
		a := replaystore.NewClaim(memory, claimKey, "a", lease, nil)
		put(t, a, "0")
		if err := memory.Update(claimKey, advance(t, a, "0", "1").Next); err != nil {
			t.Fatal(err)
		}
		put(t, a, "2")
		expectStored(t, memory, "a", "2")
	}
}

// TestATakeThatWasLostIsMadeAgain is about a first put that never arrives: the value that was read is
// there still, and nobody has come in between.
func TestATakeThatWasLostIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(replaystoretest.Register)
		put(t, newClaim(memory, "a"), "1")
		r, fail := faults(memory)
		b := newClaim(r, "b")
		if _, _, err := b.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		fail(replaystoretest.Fault{RequestLost: true, GiveUp: time.Second})
		if err := b.Put(t.Context()); err != nil {
			t.Fatal(err)
		}
		expectStored(t, memory, "b", "1")
	})
}

// TestATransactionDoesNotTakeAKeyThatHasMovedSince is about two processes that have loaded a marker:
// the one that had the key has saved again, and the marker must not go back.
func TestATransactionDoesNotTakeAKeyThatHasMovedSince(t *testing.T) {
	memory := new(replaystoretest.Register)
	a, b := newClaim(memory, "a"), newClaim(memory, "b")
	put(t, a, "1")
	if _, _, err := b.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, a, "3")
	if err := memory.Update(claimKey, advance(t, b, "1", "2").Next); !errors.Is(err, replaystore.ErrConflict) {
		t.Errorf("got %v", err)
	}
	expectStored(t, memory, "a", "3")
}

// TestAValueThatWasLostBeforeAPutIsThereAfterIt is about claims without a lease, which need no put
// where the register has what is wanted: here it has nothing.
func TestAValueThatWasLostBeforeAPutIsThereAfterIt(t *testing.T) {
	for _, had := range []string{"held", "read"} {
		memory, ctx := new(replaystoretest.Register), t.Context()
		a := replaystore.NewClaim(memory, claimKey, "a", 0, nil)
		if had == "held" {
			put(t, a, "1")
			value, _, err := memory.Get(ctx, claimKey)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := advance(t, a, "1", "2").Next(value); err != nil { // and it is rolled back
				t.Fatal(err)
			}
		} else {
			put(t, newClaim(memory, "before"), "1")
			if _, _, err := a.Read(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if err := memory.Delete(ctx, claimKey); err != nil {
			t.Fatal(err)
		}
		if err := a.Put(ctx); err != nil {
			t.Fatalf("%s: %v", had, err)
		}
		expectStored(t, memory, "a", "1")
	}
}

// TestAClaimThatHasReadThatNothingIsThereCreates is about a standby: it has seen a value, and then
// that there is none, and its caller has waited.
func TestAClaimThatHasReadThatNothingIsThereCreates(t *testing.T) {
	memory, ctx := new(replaystoretest.Register), t.Context()
	put(t, newClaim(memory, "before"), "1")
	a := newClaim(memory, "a")
	if _, _, err := a.Read(ctx); err != nil {
		t.Fatal(err)
	}
	if err := memory.Delete(ctx, claimKey); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Read(ctx); !errors.Is(err, replaystore.ErrNotFound) {
		t.Fatal(err)
	}
	if err := a.Put(ctx); err != nil {
		t.Fatal(err)
	}
	expectStored(t, memory, "a", "1")
	if err := a.Release(ctx); err != nil || !a.Sent().IsZero() {
		t.Errorf("%v; a released key counts as held since %v", err, a.Sent())
	}
}

// TestATransactionThatIsMadeAgainNeedsNoMore is about a program that tries for hours.
func TestATransactionThatIsMadeAgainNeedsNoMore(t *testing.T) {
	a := newClaim(new(replaystoretest.Register), "a")
	put(t, a, "1")
	again := func() uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for _, end := range []string{"2", "3", "2", "3"} {
			advance(t, a, "1", end)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	again()
	first := again()
	for range 1000 {
		again()
	}
	if last := again(); last > 2*first+4096 {
		t.Errorf("%d bytes at first, and %d in the end", first, last)
	}
}

func TestATransactionOfADeposedLeaderIsRefused(t *testing.T) {
	memory, ctx := new(replaystoretest.Register), t.Context()
	a := newClaim(memory, "a")
	put(t, a, "1")
	step := advance(t, a, "1", "2")
	b := a.Again()
	if _, _, err := b.Read(ctx); err != nil {
		t.Fatal(err)
	}
	put(t, b, "1")
	if err := memory.Update(claimKey, step.Next); !errors.Is(err, replaystore.ErrConflict) {
		t.Fatal(err)
	}
	if !a.Sent().IsZero() {
		t.Fatal("it holds the key")
	}
	expectStored(t, memory, "a", "1")
	if err := memory.Update(claimKey, func([]byte) ([]byte, error) { return []byte{9}, nil }); err != nil {
		t.Fatal(err)
	}
	if err := memory.Update(claimKey, advance(t, b, "1", "2").Next); err == nil || !strings.Contains(err.Error(), claimKey) {
		t.Fatal(err)
	}
}

// A program without a marker has none put before its first transaction, and one whose marker the
// register has lost need not wait for a put: that could wait for the transaction.
func TestATransactionCreatesTheKey(t *testing.T) {
	memory, ctx := new(replaystoretest.Register), t.Context()
	var log strings.Builder
	a := replaystore.NewClaim(memory, claimKey, "a", 10*time.Second, slog.New(slog.NewTextHandler(&log, nil)))
	b := newClaim(memory, "b")
	first, other := advance(t, a, "", "1"), advance(t, b, "", "1")
	if err := memory.Update(claimKey, first.Next); err != nil {
		t.Fatal(err)
	}
	if err := memory.Update(claimKey, other.Next); !errors.Is(err, replaystore.ErrConflict) {
		t.Fatalf("another has created the key: %v", err)
	}
	if err := memory.Update(claimKey, first.Next); !errors.Is(err, replaystore.ErrHandled) {
		t.Fatal(err)
	}
	if err := memory.Update(claimKey, advance(t, a, "1", "2").Next); err != nil {
		t.Fatal(err)
	}
	put(t, a, "2") // learns of it all
	if a.Sent().IsZero() || log.Len() > 0 {
		t.Fatalf("it does not hold the key, or: %s", log.String())
	}
	if err := memory.Delete(ctx, claimKey); err != nil {
		t.Fatal(err)
	}
	if err := memory.Update(claimKey, advance(t, a, "2", "3").Next); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "WARN"); n != 1 {
		t.Fatalf("%d warnings: %s", n, log.String())
	}
	put(t, a, "3")
	expectStored(t, memory, "a", "3")
}

// A batch is not made again as a part of another one: the rows of its messages would be written twice.
func TestATransactionOfOtherMessagesIsRefused(t *testing.T) {
	memory := new(replaystoretest.Register)
	a := newClaim(memory, "a")
	put(t, a, "0")
	if err := memory.Update(claimKey, advance(t, a, "0", "5").Next); err != nil { // and nobody knows
		t.Fatal(err)
	}
	for i, after := range []string{"7", "3", "8", "3"} {
		step := advance(t, a, "0", after)
		if i > 0 { // a save in between, and a heartbeat, do not put the marker back
			put(t, a, "0")
			if err := a.Put(t.Context()); err != nil {
				t.Fatal(err)
			}
			expectStored(t, memory, "a", "5")
		}
		err := memory.Update(claimKey, step.Next)
		if err == nil || errors.Is(err, replaystore.ErrHandled) || errors.Is(err, replaystore.ErrConflict) {
			t.Fatalf("up to %s: %v", after, err)
		}
	}
	if err := memory.Update(claimKey, advance(t, a, "0", "5").Next); !errors.Is(err, replaystore.ErrHandled) {
		t.Fatal(err)
	}
	if err := memory.Update(claimKey, advance(t, a, "5", "7").Next); err != nil {
		t.Fatal(err)
	}
	expectStored(t, memory, "a", "7")
}

// A program that restarts has read its marker, and saves none before its first message.
func TestATransactionTakesTheKeyAsItWasRead(t *testing.T) {
	memory, ctx := new(replaystoretest.Register), t.Context()
	put(t, newClaim(memory, "a"), "1")
	b, c := newClaim(memory, "b"), newClaim(memory, "c")
	for _, claim := range []*replaystore.Claim{b, c} {
		if _, _, err := claim.Read(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := memory.Update(claimKey, advance(t, b, "1", "2").Next); err != nil {
		t.Fatal(err)
	}
	expectStored(t, memory, "b", "2")
	if err := memory.Update(claimKey, advance(t, c, "1", "2").Next); !errors.Is(err, replaystore.ErrConflict) {
		t.Fatal(err)
	}
	put(t, b, "2")
	if b.Sent().IsZero() {
		t.Fatal("it does not hold the key")
	}
}

// A process that has given a take up, and is not aware of it when another takes over, stands by.
func TestATakeThatComesLateIsNoLeadership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory, ctx := new(replaystoretest.Register), t.Context()
		r, fail := faults(memory)
		a, b := newClaim(r, "a"), newClaim(memory, "b")
		fail(replaystoretest.Fault{Out: 5 * time.Second})
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := a.Put(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		r.Wait()
		if e, _, err := a.Read(ctx); err != nil || e.Incarnation != a.Incarnation() || !a.Sent().IsZero() {
			t.Fatalf("%+v, %v, sent %v", e, err, a.Sent())
		}
		for _, c := range []*replaystore.Claim{b, a} {
			if _, _, err := c.Read(ctx); err != nil {
				t.Fatal(err)
			}
			if err := c.Put(ctx); err != nil || c.Sent().IsZero() {
				t.Fatal(err)
			}
		}
	})
}

// A claim that has only read the key does not create one that was lost meanwhile: another may have
// taken it before, and rely on its lease.
func TestAClaimThatHasReadDoesNotCreate(t *testing.T) {
	register := new(replaystoretest.Register)
	claim := func(owner string) *replaystore.Claim {
		return replaystore.NewClaim(register, "key", owner, 10*time.Second, nil)
	}
	first, reader, leader := claim("first"), claim("reader"), claim("leader")
	if err := first.Put(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*replaystore.Claim{reader, leader} {
		if _, _, err := c.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := leader.Put(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := register.Delete(t.Context(), "key"); err != nil {
		t.Fatal(err)
	}
	if err := reader.Put(t.Context()); !errors.Is(err, replaystore.ErrConflict) {
		t.Errorf("the put of a reader: %v", err)
	}
	if err := leader.Put(t.Context()); err != nil {
		t.Errorf("the leader does not create it again: %v", err)
	}
	if _, _, err := reader.Read(t.Context()); err != nil {
		t.Error(err)
	}
	if err := reader.Put(t.Context()); err != nil { // the caller judges the lease
		t.Error(err)
	}
}
