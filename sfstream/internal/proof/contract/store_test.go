package contract

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
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
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 1)
	c := s.Client()
	release := make(chan struct{})
	s.Store.BeforeLoad(func(context.Context) error { <-release; return nil })
	lab.EndsWith(t, func(ctx context.Context) error {
		err := c.Subscribe(ctx, lab.Orders)
		lab.ExpectError[*sfstream.StoreError](t, err)
		return err
	})
	lab.Must(t, c.Err())
	close(release)
	synctest.Wait()
	lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
	lab.NextIs(t, c, "1")
}

// Salesforce has accepted the channel: it is followed, and saved when the store
// returns.
func subscribeEndsInSave(t *testing.T) {
	for name, save := range map[string]func(release chan struct{}) func(context.Context) error{
		"which takes no notice": func(release chan struct{}) func(context.Context) error {
			return func(context.Context) error { <-release; return nil }
		},
		"which ends with its own ctx": func(chan struct{}) func(context.Context) error { return lab.Hang },
	} {
		t.Log(name)
		s := lab.NewScene(t)
		s.PublishNext(lab.Orders, 1)
		c := s.Client()
		release := make(chan struct{})
		s.Store.BeforeSave(save(release))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		lab.Within(t, 2*time.Second, func() {
			lab.Must(t, c.Subscribe(ctx, lab.Orders, sfstream.From(sfstream.ReplaySince(time.Now().Add(-time.Hour)))))
		})
		cancel()
		if !strings.Contains(strings.Join(s.Log.Warnings(""), "\n"), "the start of a subscription is not saved yet") {
			t.Errorf("nothing is told: %v", s.Log.Warnings(""))
		}
		s.Store.BeforeSave(nil)
		close(release)
		lab.NextIs(t, c, "1")
		<-time.After(2 * time.Minute)
		if m := s.Store.Marker(s.Account().OrgID, lab.Orders); len(m.ReplayID) == 0 {
			t.Error("nothing is saved when the store returns")
		}
		lab.Must(t, c.Close())
	}
}

func savePanics(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 2)
	c := s.Following()
	s.Store.BeforeSave(func(context.Context) error { panic("nil map") })
	lab.NextIs(t, c, "1")
	<-time.After(time.Minute)
	lab.Must(t, c.Err())
	s.Store.BeforeSave(nil)
	<-time.After(time.Minute)
	s.SavedIs("1")

	s.Store.BeforeSave(func(context.Context) error { panic(errors.New("nil map")) })
	lab.NextIs(t, c, "2")
	<-time.After(10 * time.Minute)
	if e := lab.ExpectError[*sfstream.StoreError](t, c.Err()); e.Op != "save" || !strings.Contains(e.Error(), "panicked: nil map") {
		t.Errorf("got %v, want what the store panicked with", e)
	}
}

func loadPanics(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 1)
	c := s.Client()
	s.Store.BeforeLoad(func(context.Context) error { panic("nil map") })
	e := lab.ExpectError[*sfstream.StoreError](t, c.Subscribe(t.Context(), lab.Orders))
	if e.Op != "load" || e.Channel != lab.Orders || !strings.Contains(e.Error(), "panicked: nil map") {
		t.Errorf("got %v, want what the store panicked with", e)
	}
	lab.Must(t, c.Err())
	s.Store.BeforeLoad(nil)
	lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
	lab.NextIs(t, c, "1")
}

func emptyMarker(t *testing.T) {
	s := lab.NewScene(t)
	s.PublishNext(lab.Orders, 1)
	<-time.After(2 * time.Hour)
	key := replaystore.Key{OrgID: s.Account().OrgID, API: lab.APIOf(t), Channel: lab.Orders}
	lab.Must(t, s.Store.Memory.Save(t.Context(), map[replaystore.Key]replaystore.Marker{key: {Date: time.Now()}}))
	c := s.Following(sfstream.WithReplay(sfstream.ReplayNew))
	synctest.Wait() // the first request has arrived
	s.PublishNext(lab.Orders, 1)
	lab.NextIs(t, c, "2")
	if warnings := s.Log.Warnings("empty marker"); len(warnings) != 1 {
		t.Errorf("told %d times, want once: %v", len(warnings), s.Log.Warnings(""))
	}
}
