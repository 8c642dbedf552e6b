package chaos

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// lifeStore is the store as one life of the program has it. When that is killed, what it saves from
// then on never happened.
type lifeStore struct {
	c      *chaos
	life   int
	memory *replaystore.Memory // shared by all lives

	slow *atomic.Int64 // how long a Save takes, half of it before it is done

	mu   sync.Mutex
	dead bool
}

func (s *lifeStore) Load(ctx context.Context, key replaystore.Key) (replaystore.Marker, error) {
	marker, err := s.memory.Load(ctx, key)
	s.c.loaded(s.life, key, marker, err)
	return marker, err
}

func (s *lifeStore) Save(ctx context.Context, markers map[replaystore.Key]replaystore.Marker) error {
	slow := time.Duration(s.slow.Load())
	if err := wait(ctx, slow/2); err != nil {
		return err
	}
	if err := s.save(ctx, markers); err != nil {
		return err
	}
	_ = wait(ctx, slow/2) // it is saved, whatever becomes of the answer
	return nil
}

func (s *lifeStore) save(ctx context.Context, markers map[replaystore.Key]replaystore.Marker) error {
	s.mu.Lock() // a kill comes before or after
	defer s.mu.Unlock()
	if s.dead {
		return nil
	}
	for key, marker := range markers {
		s.c.model.save(key, marker)
	}
	return s.memory.Save(ctx, markers)
}

func (s *lifeStore) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = true
}

// at is the number that a channel's stored marker is at.
func (s *lifeStore) at(key replaystore.Key, ch *channelModel) int {
	marker, err := s.memory.Load(context.Background(), key)
	if err != nil {
		return 0
	}
	return ch.upToMarker(marker)
}

// loaded begins an epoch: a Subscribe has asked where to start.
func (c *chaos) loaded(life int, key replaystore.Key, marker replaystore.Marker, err error) {
	m := c.model
	m.mu.Lock()
	defer m.mu.Unlock()
	ch := m.channels[key.Channel]
	if life != m.life || ch == nil || c.apiOf(key.Channel) != key.API {
		return // the marker of the other API, where there is none of this one
	}
	what, floor, at := loadedID, 0, 0
	switch {
	case errors.Is(err, replaystore.ErrNotFound):
		what = loadedNone
		if ch.started && !c.replayAll {
			m.deviateLocked("%s: a Subscribe has succeeded, and left no marker", ch.name)
		}
	case len(marker.ReplayID) == 0:
		what = loadedMoment
	}
	if err == nil && len(marker.ReplayID) > 0 {
		floor, at = ch.upToMarker(marker), ch.upTo(marker.ReplayID)
	}
	m.trace.add("life %d  subscribing %s, the marker is at %d", life, ch.name, floor)
	ch.begin(what, floor, at, c.replayAll)
}

// wait lets time go by.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
