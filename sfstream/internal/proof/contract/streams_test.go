package contract

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// streamsRules are connections that several channels share.
func streamsRules() []rule {
	rules := []rule{{number: 9, words: "a schema that two channels wait for tells its error with the right channel", run: sharedSchema, only: sfstream.PubSub}}
	for _, streams := range []int{1, 2, 3} {
		r := rule{number: 5, words: fmt.Sprintf("%%d channels over connections that carry %d streams are no livelock", streams), only: sfstream.PubSub}
		rules = append(rules, each(r, []int{1, 3, 8}, func(t *testing.T, channels int) { fewStreams(t, streams, channels) })...)
	}
	return rules
}

// fewStreams: a proxy lets one or two streams through on a connection. What waits for a place gets
// a connection of its own: streams live for days.
func fewStreams(t *testing.T, streams, channels int) {
	s := lab.New(t)
	proxy, log := newGRPCProxy(t, s.Server, streams), new(lab.Log)
	c := s.StartFromOldest(proxy.option(), sfstream.WithAck(sfstream.AckOnReceive), sfstream.WithLogger(log.Logger()))
	subscribed := make(chan error, channels)
	for i := range channels {
		channel := fmt.Sprintf("/event/C%d__e", i)
		s.Define(channel)
		s.PublishNext(channel, 3)
		go func() { subscribed <- c.Subscribe(t.Context(), channel) }()
	}
	for range channels {
		lab.Must(t, <-subscribed)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got := make(map[string][]string)
	for range 3 * channels {
		m, err := c.Receive(ctx)
		if err != nil {
			t.Fatalf("%v after %v: %+v", err, got, c.Status())
		}
		got[m.Channel] = append(got[m.Channel], m.ID)
		lab.Must(t, m.Decode(new(map[string]any)))
	}
	for channel, ids := range got {
		if !slices.Equal(ids, lab.IDs(1, 3)) {
			t.Errorf("%s: %v", channel, ids)
		}
	}
	// Channels come and go, also while there is no place.
	for range 3 {
		lab.Must(t, c.Unsubscribe(t.Context(), "/event/C0__e"))
		began := time.Now()
		lab.Must(t, c.Subscribe(t.Context(), "/event/C0__e"))
		if took := time.Since(began); took > 25*time.Second {
			t.Errorf("Subscribe took %v", took)
		}
	}
	if n := proxy.connections(); n > channels+3 {
		t.Errorf("%d connections", n)
	}
	if n := log.Count("carries few streams"); n > 1 {
		t.Errorf("told %d times", n)
	}
	lab.Must(t, c.Close())
}

// sharedSchema: two channels wait for one schema. Each error names its own.
func sharedSchema(t *testing.T) {
	s := lab.New(t)
	proxy := newGRPCProxy(t, s.Server, 100)
	proxy.answer(htmlPage(503, "GetSchema"))
	log := new(lab.Log)
	c := s.StartFromOldest(proxy.option(), sfstream.WithLogger(log.Logger()))
	for _, channel := range []string{lab.Orders, lab.Invoices} {
		lab.Must(t, c.Subscribe(t.Context(), channel))
	}
	s.PublishNext(lab.Orders, 1)
	s.PublishNext(lab.Invoices, 1)
	<-time.After(10 * time.Minute)
	for _, ch := range c.Status().Channels {
		if ch.LastError == nil || !strings.Contains(ch.LastError.Error(), ch.Channel) {
			t.Errorf("%s: %v", ch.Channel, ch.LastError)
		}
	}
	lab.Must(t, c.Close())
}
