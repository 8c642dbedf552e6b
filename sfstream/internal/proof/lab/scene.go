package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// The channels of a scene's org.
const (
	Orders   = "/event/Order__e"
	Invoices = "/event/Invoice__e"
)

// Scene is an org, the store and the log of the programs that follow it. Events
// are numbered per channel from 1; the number is the event's ID, so that what
// comes out can be compared with what went in.
type Scene struct {
	*sfstreamtest.Server
	T     *testing.T
	Store *WatchedStore
	Log   *WatchedLog

	mu        sync.Mutex
	Published map[string]int    // by channel
	Numbers   map[string]string // by channel and replay id
}

// NewScene starts an org in memory that has orders and invoices.
func NewScene(t *testing.T, opts ...sfstreamtest.Option) *Scene {
	t.Helper()
	s := &Scene{
		Server: sfstreamtest.NewServer(t, append([]sfstreamtest.Option{sfstreamtest.InMemory()}, opts...)...),
		T:      t, Log: new(WatchedLog),
		Published: make(map[string]int), Numbers: make(map[string]string),
	}
	s.Store = NewWatchedStore(t)
	for _, channel := range []string{Orders, Invoices} {
		s.Define(channel)
	}
	return s
}

// Define gives the org an event that has a number.
func (s *Scene) Define(channel string) {
	s.T.Helper()
	Must(s.T, s.DefineEvent(channel, `{"type": "record", "name": "E", "fields": [
		{"name": "Number__c", "type": ["null", "string"], "default": null}]}`))
}

// PublishNext puts the next n events on a channel.
func (s *Scene) PublishNext(channel string, n int) {
	s.T.Helper()
	for range n {
		s.PublishNextRaw(channel, sfstreamtest.RawEvent{})
	}
}

// PublishNextRaw puts the next event on a channel: this one, numbered.
func (s *Scene) PublishNextRaw(channel string, e sfstreamtest.RawEvent) {
	s.T.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Published[channel]++
	e.ID = strconv.Itoa(s.Published[channel])
	if e.Payload == nil {
		e.Payload = []byte{0} // null
	}
	made, err := s.PublishRaw(channel, e)
	Must(s.T, err)
	s.Numbers[channel+string(SeenBy(s.T, made).ReplayID)] = e.ID
}

// Client is a program that has logged in, with the scene's store. It is closed
// when the test ends, if not before.
func (s *Scene) Client(opts ...sfstream.Option) *sfstream.Client {
	s.T.Helper()
	c, err := sfstream.New(s.Authenticator(), append([]sfstream.Option{
		sfstream.WithOrg(s), sfstream.WithTransport(TransportOf(s.T)), sfstream.WithReplayStore(s.Store),
		sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithLogger(slog.New(s.Log)),
	}, opts...)...)
	Must(s.T, err)
	s.T.Cleanup(func() { _ = c.Close() })
	Must(s.T, c.Open(s.T.Context()))
	return c
}

// Following is a client that follows orders.
func (s *Scene) Following(opts ...sfstream.Option) *sfstream.Client {
	s.T.Helper()
	c := s.Client(opts...)
	Must(s.T, c.Subscribe(s.T.Context(), Orders))
	return c
}

// Restart ends a program politely and starts it again.
func (s *Scene) Restart(c *sfstream.Client, opts ...sfstream.Option) *sfstream.Client {
	s.T.Helper()
	Must(s.T, c.Close())
	return s.Following(opts...)
}

// Crash starts the program again from what is in the store at this moment: what
// the old one saves from now on never happened. It returns when the old one has
// ended.
func (s *Scene) Crash(c *sfstream.Client, opts ...sfstream.Option) *sfstream.Client {
	s.T.Helper()
	s.Store = s.Store.snapshot()
	_ = c.Close()
	return s.Following(opts...)
}

// Saved is the number of the event that a channel's stored marker is at, "" for
// none.
func (s *Scene) Saved(channel string) string {
	return s.Number(channel, s.Store.Marker(s.Account().OrgID, channel).ReplayID)
}

// Number is the number of the event with a replay id.
func (s *Scene) Number(channel string, replayID []byte) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if number, ok := s.Numbers[channel+string(replayID)]; ok || len(replayID) == 0 {
		return number
	}
	return fmt.Sprintf("unknown replay id %x", replayID)
}

// SavedIs fails the test unless the stored marker of orders is at an event.
func (s *Scene) SavedIs(want string) {
	s.T.Helper()
	if got := s.Saved(Orders); got != want {
		s.T.Errorf("the stored marker is at %q, want %q", got, want)
	}
}

// Next receives one message and returns its number.
func Next(t *testing.T, c *sfstream.Client) string {
	t.Helper()
	m, err := c.Receive(t.Context())
	Must(t, err)
	return m.ID
}

// NextIs fails the test unless the next message is this one, and acks it.
func NextIs(t *testing.T, c *sfstream.Client, want string) {
	t.Helper()
	m, err := c.Receive(t.Context())
	Must(t, err)
	if m.ID != want {
		t.Fatalf("got message %s, want %s", m.ID, want)
	}
	m.Ack()
}

// NothingNext fails the test if a message comes within a second.
func NothingNext(t *testing.T, c *sfstream.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if m, err := c.Receive(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, %v, want nothing to come", m, err)
	}
}

// Loop takes n messages in a loop and leaves it with break, the last one acked.
func Loop(t *testing.T, c *sfstream.Client, n int) []string {
	t.Helper()
	var got []string
	for m := range c.Messages(t.Context()) {
		if got = append(got, m.ID); len(got) == n {
			m.Ack()
			break
		}
	}
	Must(t, c.Err())
	return got
}

// Numbered are the numbers of events from first to last.
func Numbered(first, last int) []string {
	var all []string
	for i := first; i <= last; i++ {
		all = append(all, strconv.Itoa(i))
	}
	return all
}

// SameNumbers fails the test unless these numbers came in this order.
func SameNumbers(t *testing.T, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("got %d messages, want %d; they differ at %d:\ngot  %v\nwant %v", len(got), len(want), i,
				got[min(i, len(got)):min(i+10, len(got))], want[min(i, len(want)):min(i+10, len(want))])
		}
	}
}

// NewStop is a ctx that the test ends.
func NewStop(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, cancel
}

// Must fails the test if there is an error.
func Must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Within fails the test if do takes longer, by the bubble's clock.
func Within(t *testing.T, limit time.Duration, do func()) {
	t.Helper()
	start := time.Now()
	do()
	if took := time.Since(start); took > limit {
		t.Errorf("took %s, want at most %s", took, limit)
	}
}

// EndsWith runs a call with a ctx that ends after a second, and fails the test
// unless the call then ends with it.
func EndsWith(t *testing.T, call func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	start := time.Now()
	err := call(ctx)
	if took := time.Since(start); took < time.Second || took > time.Second+10*time.Millisecond {
		t.Errorf("took %s, want it to end with its ctx after 1s: %v", took, err)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the ctx's error", err)
	}
}
