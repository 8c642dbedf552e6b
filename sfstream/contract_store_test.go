package sfstream_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
)

// contractStore proves what a store of the program's own cannot do to the client.
func contractStore() []rule {
	return []rule{
		{number: 12, words: "Subscribe ends with its ctx where Load takes no notice of it", run: subscribeEndsInDeafLoad},
		{number: 12, words: "Subscribe ends with its ctx while the start is saved", run: subscribeEndsInSave},
		{number: 3, words: "a Save that panics is an error of the store", run: savePanics},
		{number: 4, words: "a Load that panics is an error of the store", run: loadPanics},
		{number: 4, words: "an empty marker is none, and told", run: emptyMarker},
	}
}

func subscribeEndsInDeafLoad(t *testing.T) {
	s := newScene(t)
	s.publish(orders, 1)
	c := s.client()
	release := make(chan struct{})
	s.store.load(func(context.Context) error { <-release; return nil })
	endsWith(t, func(ctx context.Context) error {
		err := c.Subscribe(ctx, orders)
		expectError[*sfstream.StoreError](t, err)
		return err
	})
	must(t, c.Err())
	close(release)
	synctest.Wait()
	must(t, c.Subscribe(t.Context(), orders))
	nextIs(t, c, "1")
}

// Salesforce has accepted the channel: it is followed, and saved when the store
// returns.
func subscribeEndsInSave(t *testing.T) {
	for name, save := range map[string]func(release chan struct{}) func(context.Context) error{
		"which takes no notice": func(release chan struct{}) func(context.Context) error {
			return func(context.Context) error { <-release; return nil }
		},
		"which ends with its own ctx": func(chan struct{}) func(context.Context) error { return hang },
	} {
		t.Log(name)
		s := newScene(t)
		s.publish(orders, 1)
		c := s.client()
		release := make(chan struct{})
		s.store.beforeSave(save(release))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		within(t, 2*time.Second, func() {
			must(t, c.Subscribe(ctx, orders, sfstream.From(sfstream.ReplaySince(time.Now().Add(-time.Hour)))))
		})
		cancel()
		if !strings.Contains(strings.Join(s.log.warnings(""), "\n"), "the start of a subscription is not saved yet") {
			t.Errorf("nothing is told: %v", s.log.warnings(""))
		}
		s.store.beforeSave(nil)
		close(release)
		nextIs(t, c, "1")
		<-time.After(2 * time.Minute)
		if m := s.store.marker(s.Account().OrgID, orders); len(m.ReplayID) == 0 {
			t.Error("nothing is saved when the store returns")
		}
		must(t, c.Close())
	}
}

func savePanics(t *testing.T) {
	s := newScene(t)
	s.publish(orders, 2)
	c := s.following()
	s.store.beforeSave(func(context.Context) error { panic("nil map") })
	nextIs(t, c, "1")
	<-time.After(time.Minute)
	must(t, c.Err())
	s.store.beforeSave(nil)
	<-time.After(time.Minute)
	s.savedIs("1")

	s.store.beforeSave(func(context.Context) error { panic(errors.New("nil map")) })
	nextIs(t, c, "2")
	<-time.After(10 * time.Minute)
	if e := expectError[*sfstream.StoreError](t, c.Err()); e.Op != "save" || !strings.Contains(e.Error(), "panicked: nil map") {
		t.Errorf("got %v, want what the store panicked with", e)
	}
}

func loadPanics(t *testing.T) {
	s := newScene(t)
	s.publish(orders, 1)
	c := s.client()
	s.store.load(func(context.Context) error { panic("nil map") })
	e := expectError[*sfstream.StoreError](t, c.Subscribe(t.Context(), orders))
	if e.Op != "load" || e.Channel != orders || !strings.Contains(e.Error(), "panicked: nil map") {
		t.Errorf("got %v, want what the store panicked with", e)
	}
	must(t, c.Err())
	s.store.load(nil)
	must(t, c.Subscribe(t.Context(), orders))
	nextIs(t, c, "1")
}

func emptyMarker(t *testing.T) {
	s := newScene(t)
	s.publish(orders, 1)
	<-time.After(2 * time.Hour)
	key := replaystore.Key{OrgID: s.Account().OrgID, API: apiOf(t), Channel: orders}
	must(t, s.store.memory.Save(t.Context(), map[replaystore.Key]replaystore.Marker{key: {Date: time.Now()}}))
	c := s.following(sfstream.WithReplay(sfstream.ReplayNew))
	synctest.Wait() // the first request has arrived
	s.publish(orders, 1)
	nextIs(t, c, "2")
	if warnings := s.log.warnings("empty marker"); len(warnings) != 1 {
		t.Errorf("told %d times, want once: %v", len(warnings), s.log.warnings(""))
	}
}

// load sets what happens before each Load from now on; nil for nothing.
func (s *watchedStore) load(do func(ctx context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loading = do
}
