package cluster

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/replaystore/replaystoretest"
)

// boundStore is the store of a leadership that has begun now.
func boundStore(t *testing.T) *store {
	t.Helper()
	cfg, err := newConfig([]Option{WithName("a")})
	if err != nil {
		t.Fatal(err)
	}
	cfg.register = new(replaystoretest.Register)
	key := replaystore.Key{OrgID: "00D000000000001EAA", API: "pubsub", Channel: "/event/Order__e"}
	log := slog.New(slog.DiscardHandler)
	claim := replaystore.NewClaim(cfg.register, cfg.keyText(key), cfg.name, cfg.lease, log)
	s := newStore(&cfg)
	if err := s.Held(); err == nil {
		t.Error("it is held before it is bound")
	}
	if err := claim.Put(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.bind(claim, key, log); s.Held() != nil {
		t.Fatal(s.Held())
	}
	return s
}

// After a pause of the process Held may be asked before any timer fires.
func TestTheEndOfALeaseNeedsNoTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := boundStore(t)
		s.expiry.Stop()
		time.Sleep(9*time.Second - time.Nanosecond)
		if err := s.Held(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Nanosecond)
		if s.Held() == nil {
			t.Error("it is held beyond nine tenths of the lease")
		}
		select {
		case <-s.Lost():
		default:
			t.Error("it is not lost")
		}
		// A put that comes late changes nothing.
		if err := s.claim.Put(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s.extend(); s.Held() == nil {
			t.Error("it is held again")
		}
	})
}

func TestALeaseEndsWhileNobodyAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := boundStore(t)
		began := time.Now()
		<-s.Lost()
		if took := time.Since(began); took != 9*time.Second {
			t.Errorf("lost after %s", took)
		}
	})
}

// Saves are put at most once in the interval, and the last of them counts.
func TestSavesArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := boundStore(t)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.keep(ctx) }()
		first, _, _ := s.claim.Read(t.Context())
		for i := range 50 {
			save(t, s, byte(i))
		}
		s.hurry()
		began := time.Now()
		save(t, s, 50)
		if took := time.Since(began); took > 0 {
			t.Errorf("a hurried Save has taken %s", took)
		}
		last, _, err := s.claim.Read(t.Context())
		if puts := last.Counter - first.Counter; err != nil || puts != 51 || last.Marker.ReplayID[0] != 50 {
			t.Errorf("%d puts, the last of %x: %v", puts, last.Marker.ReplayID, err)
		}
		if since := time.Since(s.made); since < 48*time.Second || since > 50*time.Second {
			t.Errorf("50 Saves have taken %s", since)
		}
		stop()
		<-done
		s.lose(errReleased)
		if err := s.Save(t.Context(), map[replaystore.Key]replaystore.Marker{s.key: {}}); !errors.Is(err, errReleased) {
			t.Errorf("Save after the end: %v", err)
		}
	})
}

func save(t *testing.T, s *store, id byte) {
	t.Helper()
	if err := s.Save(t.Context(), map[replaystore.Key]replaystore.Marker{s.key: {ReplayID: []byte{id}}}); err != nil {
		t.Fatal(err)
	}
}

// An idle leader puts every third of the lease.
func TestAnIdleLeaderPuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := boundStore(t)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.keep(ctx) }()
		first, _, _ := s.claim.Read(t.Context())
		time.Sleep(time.Minute)
		last, _, _ := s.claim.Read(t.Context())
		if puts := last.Counter - first.Counter; puts < 17 || puts > 18 || s.Held() != nil {
			t.Errorf("%d puts in a minute: %v", puts, s.Held())
		}
		stop()
		<-done
		s.lose(errReleased)
	})
}

// The process was paused, others have led meanwhile, and the engine has lost the key since. The
// keeper may run before any timer: it must not create the key with a marker of before.
func TestAKeeperPutsNothingBeyondItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := boundStore(t)
		s.expiry.Stop()
		time.Sleep(15 * time.Second)
		if err := s.cfg.register.(*replaystoretest.Register).Delete(t.Context(), s.cfg.keyText(s.key)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		s.keep(ctx)
		if _, _, err := s.cfg.register.Get(t.Context(), s.cfg.keyText(s.key)); !errors.Is(err, replaystore.ErrNotFound) {
			t.Errorf("the key: %v", err)
		}
		if s.Held() == nil {
			t.Error("it is held")
		}
	})
}
