package sfstream_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const (
	orders   = "/event/Order__e"
	invoices = "/event/Invoice__e"
)

// scene is an org, the store and the log of the programs that follow it. Events
// are numbered per channel from 1; the number is the event's ID, so that what
// comes out can be compared with what went in.
type scene struct {
	*sfstreamtest.Server
	t     *testing.T
	store *watchedStore
	log   *watchedLog

	mu        sync.Mutex
	published map[string]int    // by channel
	numbers   map[string]string // by channel and replay id
}

// newScene starts an org in memory that has orders and invoices.
func newScene(t *testing.T, opts ...sfstreamtest.Option) *scene {
	t.Helper()
	s := &scene{
		Server: sfstreamtest.NewServer(t, append([]sfstreamtest.Option{sfstreamtest.InMemory()}, opts...)...),
		t:      t, log: new(watchedLog),
		published: make(map[string]int), numbers: make(map[string]string),
	}
	s.store = newWatchedStore(t)
	for _, channel := range []string{orders, invoices} {
		s.define(channel)
	}
	return s
}

func (s *scene) define(channel string) {
	s.t.Helper()
	must(s.t, s.DefineEvent(channel, `{"type": "record", "name": "E", "fields": [
		{"name": "Number__c", "type": ["null", "string"], "default": null}]}`))
}

// publish puts the next n events on a channel.
func (s *scene) publish(channel string, n int) {
	s.t.Helper()
	for range n {
		s.publishRaw(channel, sfstreamtest.RawEvent{})
	}
}

func (s *scene) publishRaw(channel string, e sfstreamtest.RawEvent) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.published[channel]++
	e.ID = strconv.Itoa(s.published[channel])
	if e.Payload == nil {
		e.Payload = []byte{0} // null
	}
	made, err := s.PublishRaw(channel, e)
	must(s.t, err)
	s.numbers[channel+string(seenBy(s.t, made).ReplayID)] = e.ID
}

// client is a program that has logged in, with the scene's store. It is closed
// when the test ends, if not before.
func (s *scene) client(opts ...sfstream.Option) *sfstream.Client {
	s.t.Helper()
	c, err := sfstream.New(s.Authenticator(), append([]sfstream.Option{
		sfstream.WithOrg(s), sfstream.WithTransport(transportOf(s.t)), sfstream.WithReplayStore(s.store),
		sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithLogger(slog.New(s.log)),
	}, opts...)...)
	must(s.t, err)
	s.t.Cleanup(func() { _ = c.Close() })
	must(s.t, c.Open(s.t.Context()))
	return c
}

// following is a client that follows orders.
func (s *scene) following(opts ...sfstream.Option) *sfstream.Client {
	s.t.Helper()
	c := s.client(opts...)
	must(s.t, c.Subscribe(s.t.Context(), orders))
	return c
}

// restart ends a program politely and starts it again.
func (s *scene) restart(c *sfstream.Client, opts ...sfstream.Option) *sfstream.Client {
	s.t.Helper()
	must(s.t, c.Close())
	return s.following(opts...)
}

// crash starts the program again from what is in the store at this moment: what
// the old one saves from now on never happened. It returns when the old one has
// ended.
func (s *scene) crash(c *sfstream.Client, opts ...sfstream.Option) *sfstream.Client {
	s.t.Helper()
	s.store = s.store.snapshot()
	_ = c.Close()
	return s.following(opts...)
}

// saved is the number of the event that a channel's stored marker is at, "" for
// none.
func (s *scene) saved(channel string) string {
	return s.number(channel, s.store.marker(s.Account().OrgID, channel).ReplayID)
}

func (s *scene) number(channel string, replayID []byte) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if number, ok := s.numbers[channel+string(replayID)]; ok || len(replayID) == 0 {
		return number
	}
	return fmt.Sprintf("unknown replay id %x", replayID)
}

// savedIs fails the test unless the stored marker of orders is at an event.
func (s *scene) savedIs(want string) {
	s.t.Helper()
	if got := s.saved(orders); got != want {
		s.t.Errorf("the stored marker is at %q, want %q", got, want)
	}
}

// next receives one message and returns its number.
func next(t *testing.T, c *sfstream.Client) string {
	t.Helper()
	m, err := c.Receive(t.Context())
	must(t, err)
	return m.ID
}

// nextIs fails the test unless the next message is this one, and acks it.
func nextIs(t *testing.T, c *sfstream.Client, want string) {
	t.Helper()
	m, err := c.Receive(t.Context())
	must(t, err)
	if m.ID != want {
		t.Fatalf("got message %s, want %s", m.ID, want)
	}
	m.Ack()
}

// nothingNext fails the test if a message comes within a second.
func nothingNext(t *testing.T, c *sfstream.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if m, err := c.Receive(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, %v, want nothing to come", m, err)
	}
}

// loop takes n messages in a loop and leaves it with break, the last one acked.
func loop(t *testing.T, c *sfstream.Client, n int) []string {
	t.Helper()
	var got []string
	for m := range c.Messages(t.Context()) {
		if got = append(got, m.ID); len(got) == n {
			m.Ack()
			break
		}
	}
	must(t, c.Err())
	return got
}

// numbered are the numbers of events from first to last.
func numbered(first, last int) []string {
	var all []string
	for i := first; i <= last; i++ {
		all = append(all, strconv.Itoa(i))
	}
	return all
}

func sameNumbers(t *testing.T, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("got %d messages, want %d; they differ at %d:\ngot  %v\nwant %v", len(got), len(want), i,
				got[min(i, len(got)):min(i+10, len(got))], want[min(i, len(want)):min(i+10, len(want))])
		}
	}
}

// newStop is a ctx that the test ends.
func newStop(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, cancel
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// within fails the test if do takes longer, by the bubble's clock.
func within(t *testing.T, limit time.Duration, do func()) {
	t.Helper()
	start := time.Now()
	do()
	if took := time.Since(start); took > limit {
		t.Errorf("took %s, want at most %s", took, limit)
	}
}

// endsWith runs a call with a ctx that ends after a second, and fails the test
// unless the call then ends with it.
func endsWith(t *testing.T, call func(ctx context.Context) error) {
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

// watchedStore is a replay store in memory that sees each Save, and can fail or
// hold it. It fails the test if two Saves overlap.
type watchedStore struct {
	t      *testing.T
	memory *replaystore.Memory

	mu      sync.Mutex
	saving  bool
	saves   []save
	before  func(ctx context.Context) error // before each Save; its error is the Save's
	loading func(ctx context.Context) error
}

type save struct {
	began   time.Time
	markers map[replaystore.Key]replaystore.Marker
	err     error
}

func newWatchedStore(t *testing.T) *watchedStore {
	return &watchedStore{t: t, memory: replaystore.NewMemory()}
}

// snapshot is a store of its own with what is in this one now.
func (s *watchedStore) snapshot() *watchedStore {
	copied := newWatchedStore(s.t)
	all, err := s.memory.All(context.Background())
	must(s.t, err)
	must(s.t, copied.memory.Save(context.Background(), maps.Collect(all)))
	return copied
}

func (s *watchedStore) Load(ctx context.Context, key replaystore.Key) (replaystore.Marker, error) {
	s.mu.Lock()
	loading := s.loading
	s.mu.Unlock()
	if loading != nil {
		if err := loading(ctx); err != nil {
			return replaystore.Marker{}, err
		}
	}
	return s.memory.Load(ctx, key)
}

func (s *watchedStore) Save(ctx context.Context, markers map[replaystore.Key]replaystore.Marker) error {
	began := time.Now()
	s.mu.Lock()
	if s.saving {
		s.t.Error("two Saves at a time")
	}
	s.saving = true
	before := s.before
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.saving = false // also where before panics
	}()
	var err error
	if before != nil {
		err = before(ctx)
	}
	if err == nil {
		err = s.memory.Save(ctx, markers)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saves = append(s.saves, save{began: began, markers: maps.Clone(markers), err: err})
	return err
}

// beforeSave sets what happens before each Save from now on; nil for nothing.
func (s *watchedStore) beforeSave(do func(ctx context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = do
}

// hang is a Save or a Load that ends with its ctx.
func hang(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func (s *watchedStore) marker(org, channel string) replaystore.Marker {
	m, err := s.memory.Load(context.Background(), replaystore.Key{OrgID: org, API: apiOf(s.t), Channel: channel})
	if err != nil && !errors.Is(err, replaystore.ErrNotFound) {
		s.t.Error(err)
	}
	return m
}

func (s *watchedStore) history() []save {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.saves)
}

// watchedLog keeps what is logged.
type watchedLog struct {
	mu    sync.Mutex
	warns []string
	also  func(slog.Record) // if set, called for each record
}

func (l *watchedLog) Enabled(context.Context, slog.Level) bool { return true }
func (l *watchedLog) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *watchedLog) WithGroup(string) slog.Handler            { return l }

func (l *watchedLog) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	if r.Level >= slog.LevelWarn {
		l.warns = append(l.warns, r.Message)
	}
	also := l.also
	l.mu.Unlock()
	if also != nil {
		also(r)
	}
	return nil
}

// warnings are the warnings and errors so far that contain a text.
func (l *watchedLog) warnings(containing string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for _, w := range l.warns {
		if strings.Contains(w, containing) {
			found = append(found, w)
		}
	}
	return found
}
