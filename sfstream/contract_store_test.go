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
	s := NewScene(t)
	s.PublishNext(Orders, 1)
	c := s.Client()
	release := make(chan struct{})
	s.Store.BeforeLoad(func(context.Context) error { <-release; return nil })
	EndsWith(t, func(ctx context.Context) error {
		err := c.Subscribe(ctx, Orders)
		ExpectError[*sfstream.StoreError](t, err)
		return err
	})
	Must(t, c.Err())
	close(release)
	synctest.Wait()
	Must(t, c.Subscribe(t.Context(), Orders))
	NextIs(t, c, "1")
}

// Salesforce has accepted the channel: it is followed, and saved when the store
// returns.
func subscribeEndsInSave(t *testing.T) {
	for name, save := range map[string]func(release chan struct{}) func(context.Context) error{
		"which takes no notice": func(release chan struct{}) func(context.Context) error {
			return func(context.Context) error { <-release; return nil }
		},
		"which ends with its own ctx": func(chan struct{}) func(context.Context) error { return Hang },
	} {
		t.Log(name)
		s := NewScene(t)
		s.PublishNext(Orders, 1)
		c := s.Client()
		release := make(chan struct{})
		s.Store.BeforeSave(save(release))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		Within(t, 2*time.Second, func() {
			Must(t, c.Subscribe(ctx, Orders, sfstream.From(sfstream.ReplaySince(time.Now().Add(-time.Hour)))))
		})
		cancel()
		if !strings.Contains(strings.Join(s.Log.Warnings(""), "\n"), "the start of a subscription is not saved yet") {
			t.Errorf("nothing is told: %v", s.Log.Warnings(""))
		}
		s.Store.BeforeSave(nil)
		close(release)
		NextIs(t, c, "1")
		<-time.After(2 * time.Minute)
		if m := s.Store.Marker(s.Account().OrgID, Orders); len(m.ReplayID) == 0 {
			t.Error("nothing is saved when the store returns")
		}
		Must(t, c.Close())
	}
}

func savePanics(t *testing.T) {
	s := NewScene(t)
	s.PublishNext(Orders, 2)
	c := s.Following()
	s.Store.BeforeSave(func(context.Context) error { panic("nil map") })
	NextIs(t, c, "1")
	<-time.After(time.Minute)
	Must(t, c.Err())
	s.Store.BeforeSave(nil)
	<-time.After(time.Minute)
	s.SavedIs("1")

	s.Store.BeforeSave(func(context.Context) error { panic(errors.New("nil map")) })
	NextIs(t, c, "2")
	<-time.After(10 * time.Minute)
	if e := ExpectError[*sfstream.StoreError](t, c.Err()); e.Op != "save" || !strings.Contains(e.Error(), "panicked: nil map") {
		t.Errorf("got %v, want what the store panicked with", e)
	}
}

func loadPanics(t *testing.T) {
	s := NewScene(t)
	s.PublishNext(Orders, 1)
	c := s.Client()
	s.Store.BeforeLoad(func(context.Context) error { panic("nil map") })
	e := ExpectError[*sfstream.StoreError](t, c.Subscribe(t.Context(), Orders))
	if e.Op != "load" || e.Channel != Orders || !strings.Contains(e.Error(), "panicked: nil map") {
		t.Errorf("got %v, want what the store panicked with", e)
	}
	Must(t, c.Err())
	s.Store.BeforeLoad(nil)
	Must(t, c.Subscribe(t.Context(), Orders))
	NextIs(t, c, "1")
}

func emptyMarker(t *testing.T) {
	s := NewScene(t)
	s.PublishNext(Orders, 1)
	<-time.After(2 * time.Hour)
	key := replaystore.Key{OrgID: s.Account().OrgID, API: APIOf(t), Channel: Orders}
	Must(t, s.Store.Memory.Save(t.Context(), map[replaystore.Key]replaystore.Marker{key: {Date: time.Now()}}))
	c := s.Following(sfstream.WithReplay(sfstream.ReplayNew))
	synctest.Wait() // the first request has arrived
	s.PublishNext(Orders, 1)
	NextIs(t, c, "2")
	if warnings := s.Log.Warnings("empty marker"); len(warnings) != 1 {
		t.Errorf("told %d times, want once: %v", len(warnings), s.Log.Warnings(""))
	}
}

// BeforeLoad sets what happens before each Load from now on; nil for nothing.
func (s *WatchedStore) BeforeLoad(do func(ctx context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loading = do
}
