package cluster

import (
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// newSeat is the seat of a standby with a lease of 10 seconds.
func newSeat(t *testing.T) *seat {
	t.Helper()
	cfg, err := newConfig([]Option{WithName("me")})
	if err != nil {
		t.Fatal(err)
	}
	claim := replaystore.NewClaim(nil, "key", cfg.name, cfg.lease, nil)
	return &seat{cfg: &cfg, claim: claim}
}

// A key belongs to its owner for the longer one of both leases, from when its revision was first
// seen.
func TestAKeyIsFreeAfterTheLongerLease(t *testing.T) {
	for stored, want := range map[time.Duration]time.Duration{
		3 * time.Second:  10 * time.Second,
		10 * time.Second: 10 * time.Second,
		25 * time.Second: 25 * time.Second,
	} {
		s, began := newSeat(t), time.Now()
		for after := range 4 { // seen again and again
			s.observe(replaystore.Entry{Owner: "other", Incarnation: "1", Lease: stored, Counter: 1}, "1", nil, began.Add(time.Duration(after)*2*time.Second))
		}
		if got := s.takeable(true).Sub(began); got != want {
			t.Errorf("a lease of %s: it is free after %s, want %s", stored, got, want)
		}
		moved := began.Add(7 * time.Second)
		s.observe(replaystore.Entry{Owner: "other", Incarnation: "1", Lease: stored, Counter: 2}, "2", nil, moved)
		if got := s.takeable(true).Sub(moved); got != want {
			t.Errorf("a lease of %s, put again: it is free after %s, want %s", stored, got, want)
		}
	}
}

// The process is paused. What it saw before is no reason to take a key afterwards, and that there is
// no value, which can come again, says nothing about the time of the pause.
func TestAPausedStandbyLooksAgain(t *testing.T) {
	s, now := newSeat(t), time.Now()
	absent := func() { s.observe(replaystore.Entry{}, "", replaystore.ErrNotFound, now) }
	s.observe(replaystore.Entry{Owner: "other", Incarnation: "1", Lease: 10 * time.Second, Counter: 1}, "1", nil, now)
	now = now.Add(time.Second)
	absent()
	if free := s.takeable(true); !s.isKnown(now) || free.Sub(now) != 10*time.Second {
		t.Errorf("known %v, free after %s", s.isKnown(now), free.Sub(now))
	}
	now = now.Add(30 * time.Second)
	if s.isKnown(now) {
		t.Error("it takes the key without a look")
	}
	absent()
	if free := s.takeable(true); !s.isKnown(now) || free.Sub(now) != 10*time.Second {
		t.Errorf("after the pause: known %v, free after %s", s.isKnown(now), free.Sub(now))
	}
	s.observe(replaystore.Entry{Owner: "other", Incarnation: "1", Lease: 10 * time.Second, Counter: 9}, "9", nil, now)
	seen := now
	now = now.Add(30 * time.Second)
	s.observe(replaystore.Entry{Owner: "other", Incarnation: "1", Lease: 10 * time.Second, Counter: 9}, "9", nil, now)
	if free := s.takeable(true); !s.isKnown(now) || free.Sub(seen) != 10*time.Second {
		t.Errorf("a revision that has not moved in the pause: known %v, free after %s", s.isKnown(now), free.Sub(seen))
	}
}
