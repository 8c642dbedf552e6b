package sfstream_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
)

// streamsRules are connections that several channels share.
func streamsRules() []rule {
	rules := []rule{{number: 9, words: "a schema that two channels wait for tells its error with the right channel", run: sharedSchema, pubsubOnly: true}}
	for _, streams := range []int{1, 2, 3} {
		for _, channels := range []int{1, 3, 8} {
			words := fmt.Sprintf("%d channels over connections that carry %d streams are no livelock", channels, streams)
			rules = append(rules, rule{number: 5, words: words, pubsubOnly: true, run: func(t *testing.T) { fewStreams(t, streams, channels) }})
		}
	}
	return rules
}

// fewStreams: a proxy lets one or two streams through on a connection. What waits for a
// place gets a connection of its own: streams live for days.
func fewStreams(t *testing.T, streams, channels int) {
	s := NewScene(t)
	proxy, log := newGRPCProxy(t, s.Server, streams), new(LogBuffer)
	c := s.Client(proxy.option(), sfstream.WithAck(sfstream.AckOnReceive), sfstream.WithLogger(log.Logger()))
	subscribed := make(chan error, channels)
	for i := range channels {
		channel := fmt.Sprintf("/event/C%d__e", i)
		s.Define(channel)
		s.PublishNext(channel, 3)
		go func() { subscribed <- c.Subscribe(t.Context(), channel) }()
	}
	for range channels {
		Must(t, <-subscribed)
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
		Must(t, m.Decode(new(map[string]any)))
	}
	for channel, ids := range got {
		if !slices.Equal(ids, Numbered(1, 3)) {
			t.Errorf("%s: %v", channel, ids)
		}
	}
	// Channels come and go, also while there is no place.
	for range 3 {
		Must(t, c.Unsubscribe(t.Context(), "/event/C0__e"))
		began := time.Now()
		Must(t, c.Subscribe(t.Context(), "/event/C0__e"))
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
	Must(t, c.Close())
}

// sharedSchema: two channels wait for one schema. Each error names its own.
func sharedSchema(t *testing.T) {
	s := NewScene(t)
	proxy := newGRPCProxy(t, s.Server, 100)
	proxy.answer(htmlPage(503, "GetSchema"))
	log := new(LogBuffer)
	c := s.Client(proxy.option(), sfstream.WithLogger(log.Logger()))
	for _, channel := range []string{Orders, Invoices} {
		Must(t, c.Subscribe(t.Context(), channel))
	}
	s.PublishNext(Orders, 1)
	s.PublishNext(Invoices, 1)
	<-time.After(10 * time.Minute)
	for _, ch := range c.Status().Channels {
		if ch.LastError == nil || !strings.Contains(ch.LastError.Error(), ch.Channel) {
			t.Errorf("%s: %v", ch.Channel, ch.LastError)
		}
	}
	Must(t, c.Close())
}
