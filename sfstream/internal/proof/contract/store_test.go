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

// storeRules prove what a store that fails does to the client, and what it cannot do.
func storeRules() []rule {
	return []rule{
		{number: 12, words: "Subscribe ends with its ctx where Load takes no notice of it", run: subscribeEndsInDeafLoad},
		{number: 12, words: "Subscribe ends with its ctx while the start is saved", run: subscribeEndsInSave},
		{number: 3, words: "a Save that panics is an error of the store", run: savePanics},
		{number: 3, words: "a failing store is retried while delivery goes on", run: storeFailsForAWhile},
		{number: 3, words: "a store that fails for 5 minutes ends the client", run: storeStaysBroken},
		{number: 4, words: "a Load that panics is an error of the store", run: loadPanics},
		{number: 4, words: "an empty marker is none, and told", run: emptyMarker},
		{number: 4, words: "a marker that names events of no group is one without a group", run: namesOfNoGroup},
	}
}

func subscribeEndsInDeafLoad(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 1)
	c := s.StartFromOldest()
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
	lab.ExpectID(t, c, "1")
}

// subscribeEndsInSave: Salesforce has accepted the channel, so the client follows it, and saves the
// start when the store returns.
func subscribeEndsInSave(t *testing.T) {
	for name, save := range map[string]func(release chan struct{}) func(context.Context) error{
		"which takes no notice": func(release chan struct{}) func(context.Context) error {
			return func(context.Context) error { <-release; return nil }
		},
		"which ends with its own ctx": func(chan struct{}) func(context.Context) error { return lab.Hang },
	} {
		t.Log(name)
		s := lab.New(t)
		s.PublishNext(lab.Orders, 1)
		c := s.StartFromOldest()
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
		lab.ExpectID(t, c, "1")
		<-time.After(2 * time.Minute)
		if m := s.Marker(lab.Orders); len(m.ReplayID) == 0 {
			t.Error("nothing is saved when the store returns")
		}
		lab.Must(t, c.Close())
	}
}

func savePanics(t *testing.T) {
	s, c := following(t, 2)
	s.Store.BeforeSave(func(context.Context) error { panic("nil map") })
	lab.ExpectID(t, c, "1")
	<-time.After(time.Minute)
	lab.Must(t, c.Err())
	s.Store.BeforeSave(nil)
	<-time.After(time.Minute)
	s.ExpectSaved("1")

	s.Store.BeforeSave(func(context.Context) error { panic(errors.New("nil map")) })
	lab.ExpectID(t, c, "2")
	<-time.After(10 * time.Minute)
	if e := lab.ExpectError[*sfstream.StoreError](t, c.Err()); e.Op != "save" || !strings.Contains(e.Error(), "panicked: nil map") {
		t.Errorf("got %v, want what the store panicked with", e)
	}
}

func loadPanics(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 1)
	c := s.StartFromOldest()
	s.Store.BeforeLoad(func(context.Context) error { panic("nil map") })
	e := lab.ExpectError[*sfstream.StoreError](t, c.Subscribe(t.Context(), lab.Orders))
	if e.Op != "load" || e.Channel != lab.Orders || !strings.Contains(e.Error(), "panicked: nil map") {
		t.Errorf("got %v, want what the store panicked with", e)
	}
	lab.Must(t, c.Err())
	s.Store.BeforeLoad(nil)
	lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
	lab.ExpectID(t, c, "1")
}

func emptyMarker(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 1)
	<-time.After(2 * time.Hour)
	key := replaystore.Key{OrgID: s.Account().OrgID, API: lab.APIOf(t), Channel: lab.Orders}
	lab.Must(t, s.Store.Memory.Save(t.Context(), map[replaystore.Key]replaystore.Marker{key: {Date: time.Now()}}))
	c := s.FollowFromOldest(sfstream.WithReplay(sfstream.ReplayNew))
	synctest.Wait() // the first request has arrived
	s.PublishNext(lab.Orders, 1)
	lab.ExpectID(t, c, "2")
	if warnings := s.Log.Warnings("empty marker"); len(warnings) != 1 {
		t.Errorf("told %d times, want once: %v", len(warnings), s.Log.Warnings(""))
	}
}

// namesOfNoGroup: a replaystore.Group without ReplayID is none, whatever else a store gives with
// it. Were it one, the channel would count as one with groups, and the marker would stop before
// each event until it is known to be alone.
func namesOfNoGroup(t *testing.T) {
	s := lab.New(t)
	s.SilenceKeepalive(true)
	c := s.FollowFromOldest()
	s.PublishNext(lab.Orders, 1)
	lab.ExpectID(t, c, "1")
	lab.Must(t, c.Close())
	key := s.Key(lab.APIOf(t), lab.Orders)
	m := s.Marker(lab.Orders)
	m.Group = replaystore.Group{Handled: []uint64{7}}
	s.Save(key, m)
	c = s.FollowFromOldest()
	s.PublishNext(lab.Orders, 1)
	lab.ExpectID(t, c, "2")
	<-time.After(time.Second)
	s.ExpectSaved("2")
}

func storeFailsForAWhile(t *testing.T) {
	s := lab.New(t)
	s.SilenceKeepalive(true)
	c := s.FollowFromOldest()
	<-time.After(time.Second)
	s.Store.BeforeSave(func(context.Context) error { return errors.New("disk full") })
	s.PublishNext(lab.Orders, 240)
	n := 0
	before := len(s.Store.History())
	for m := range c.Messages(t.Context()) { // four minutes
		if n++; n == 240 {
			m.Ack()
			break
		}
		<-time.After(time.Second)
	}
	s.ExpectSaved("")
	if tries := len(s.Store.History()) - before; tries < 5 || tries > 50 {
		t.Errorf("%d Saves were tried in 4 minutes", tries)
	}
	if len(s.Log.Warnings("not saved")) == 0 {
		t.Error("no warning of a store that fails")
	}
	lab.Must(t, c.Err())
	s.Store.BeforeSave(nil)
	<-time.After(31 * time.Second)
	s.ExpectSaved("240")
	<-time.After(10 * time.Minute)
	lab.Must(t, c.Err())
	s.PublishNext(lab.Orders, 1)
	lab.ExpectID(t, c, "241")
}

func storeStaysBroken(t *testing.T) {
	s := lab.New(t)
	c := s.FollowFromOldest()
	<-time.After(time.Second)
	full := errors.New("disk full")
	s.Store.BeforeSave(func(context.Context) error { return full })
	s.PublishNext(lab.Orders, 3)
	start := time.Now()
	var got []string
	for m, err := range c.MessagesErr(t.Context()) {
		if err != nil {
			got = append(got, "error")
			continue
		}
		got = append(got, m.ID)
	}
	lab.ExpectIDs(t, got, []string{"1", "2", "3", "error"})
	if took := time.Since(start); took < 5*time.Minute || took > 5*time.Minute+30*time.Second {
		t.Errorf("the client ended after %s, want 5 minutes", took)
	}
	var failed *sfstream.StoreError
	if err := c.Err(); !errors.As(err, &failed) || !errors.Is(err, full) {
		t.Errorf("got %v, want a *StoreError that wraps the store's", err)
	}
	if _, err := c.Receive(t.Context()); !errors.As(err, &failed) {
		t.Errorf("Receive: got %v, want the *StoreError", err)
	}
	if err := c.Close(); !errors.As(err, &failed) {
		t.Errorf("Close: got %v, want the *StoreError", err)
	}
}
