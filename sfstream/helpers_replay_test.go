package sfstream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const (
	labOrders   = "/event/LabOrder__e"
	labUndated  = "/event/LabUndated__e"
	labAccounts = "/data/AccountChangeEvent"

	stale = "subscription.fetch.replayid.corrupted"
)

// labSchema is the schema of an event that has a number.
func labSchema(name string, more ...string) string {
	fields := append([]string{
		`{"name":"CreatedDate","type":"long","doc":"CreatedDate:DateTime"}`,
		`{"name":"CreatedById","type":"string","doc":"CreatedBy:EntityId"}`,
		`{"name":"N__c","type":["null","double"],"default":null}`,
	}, more...)
	return `{"type":"record","name":"` + name + `","namespace":"com.sforce.eventbus","fields":[` + strings.Join(fields, ",") + `]}`
}

// lab is an org, a program that follows it, and what the program has kept. The
// program can be ended and started again.
type lab struct {
	*sfstreamtest.Server
	t      *testing.T
	store  *replaystore.Memory
	client *sfstream.Client // of the program that runs now
	log    *logBuffer

	mu   sync.Mutex
	gaps []sfstream.Gap
}

func newLab(t *testing.T, opts ...sfstreamtest.Option) *lab {
	t.Helper()
	l := &lab{
		Server: sfstreamtest.NewServer(t, append(opts, sfstreamtest.InMemory())...),
		t:      t, store: replaystore.NewMemory(), log: new(logBuffer),
	}
	l.define()
	return l
}

func (l *lab) define() {
	l.t.Helper()
	l.must(l.DefineEvent(labOrders, labSchema("LabOrder__e")))
	l.must(l.DefineEvent(labUndated, `{"type":"record","name":"LabUndated__e","fields":[{"name":"N__c","type":["null","double"],"default":null}]}`))
	l.must(l.DefineObject("Account", sfstreamtest.Field{Name: "Name", Type: "Text"}, sfstreamtest.Field{Name: "NumberOfEmployees", Type: "Integer"}))
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// new makes a program that has not logged in. Tests give it what they need beyond
// a store, a log and a hook for gaps.
func (l *lab) new(opts ...sfstream.Option) *sfstream.Client {
	l.t.Helper()
	c, err := sfstream.New(l.Authenticator(), append([]sfstream.Option{
		sfstream.WithOrg(l), sfstream.WithTransport(transportOf(l.t)), sfstream.WithReplayStore(l.store), sfstream.WithLogger(l.log.logger()),
		sfstream.WithHooks(sfstream.Hooks{OnGap: l.gap}),
	}, opts...)...)
	l.must(err)
	l.client = c
	l.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (l *lab) gap(g sfstream.Gap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gaps = append(l.gaps, g)
}

// gapCount is how many gaps the hook heard of; the log must agree.
func (l *lab) gapCount() int {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if logged := l.log.count("stored position refused"); logged != len(l.gaps) {
		l.t.Errorf("the hook heard of %d gaps, the log of %d", len(l.gaps), logged)
	}
	return len(l.gaps)
}

// expectPossibleGaps expects no gap over the Pub/Sub API, where a keepalive proves
// that a quiet channel has missed nothing. Over the Streaming API nothing proves it of
// a channel of platform events, and so many possible gaps are told.
func (l *lab) expectPossibleGaps(streaming int) {
	l.t.Helper()
	want := 0
	if transportOf(l.t) == sfstream.CometD {
		want = streaming
	}
	if n := l.gapCount(); n != want {
		l.t.Errorf("%d gaps, want %d", n, want)
	}
	for _, g := range l.gaps {
		if !g.Possible {
			l.t.Errorf("a gap that is more than possible: %+v", g)
		}
	}
}

// followedUntil is when a channel was last followed by its marker.
func followedUntil(m replaystore.Marker) time.Time {
	if m.Followed.After(m.Live) {
		return m.Followed
	}
	return m.Live
}

// start starts the program.
func (l *lab) start(opts ...sfstream.Option) {
	l.t.Helper()
	l.must(l.new(opts...).Open(l.t.Context()))
}

// follow starts the program and subscribes it to the orders.
func (l *lab) follow(opts ...sfstream.Option) {
	l.t.Helper()
	l.start(opts...)
	l.subscribe(labOrders)
}

func (l *lab) subscribe(channel string, opts ...sfstream.SubscribeOption) {
	l.t.Helper()
	l.must(l.client.Subscribe(l.t.Context(), channel, opts...))
	synctest.Wait() // the first request has arrived
}

// failSubscribe fails the next n subscriptions where they are decided: in
// GetTopic, or in the answer to the subscribe.
func failSubscribe(t *testing.T, s *sfstreamtest.Server, n int, code string) {
	if transportOf(t) == sfstream.CometD {
		s.Reject("", n, code)
		return
	}
	s.FailGetTopic(n, code)
}

// followStale starts the program where its position is refused. Over the Pub/Sub
// API that ends the client; over the Streaming API it is the answer to Subscribe.
func (l *lab) followStale(opts ...sfstream.Option) *sfstream.ReplayError {
	l.t.Helper()
	l.start(opts...)
	err := l.client.Subscribe(l.t.Context(), labOrders)
	if transportOf(l.t) == sfstream.CometD {
		l.must(l.client.Err())
		return expectError[*sfstream.ReplayError](l.t, err)
	}
	l.must(err)
	return expectEnd[*sfstream.ReplayError](l)
}

// stop ends the program in good order.
func (l *lab) stop() {
	l.t.Helper()
	l.must(l.client.Close())
}

// pass lets time go by, and what happens in it.
func (l *lab) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// publish puts orders with these numbers on their channel.
func (l *lab) publish(numbers ...int) []sfstreamtest.Event {
	l.t.Helper()
	return l.publishOn(labOrders, numbers...)
}

func (l *lab) publishOn(channel string, numbers ...int) (events []sfstreamtest.Event) {
	l.t.Helper()
	for _, n := range numbers {
		e, err := l.Publish(channel, map[string]any{"N__c": float64(n)})
		l.must(err)
		events = append(events, seenBy(l.t, e))
	}
	return events
}

// publishDated publishes an order whose publisher has written this CreatedDate.
func (l *lab) publishDated(number int, date time.Time) sfstreamtest.Event {
	l.t.Helper()
	e, err := l.Publish(labOrders, map[string]any{"N__c": float64(number), "CreatedDate": date})
	l.must(err)
	return seenBy(l.t, e)
}

// change commits a change of an account now.
func (l *lab) change(numbers ...int) (events []sfstreamtest.Event) {
	l.t.Helper()
	for _, n := range numbers {
		e, err := l.Change(sfstreamtest.Change{
			Object: "Account", Type: "UPDATE", RecordIDs: []string{"001000000000001AAA"},
			Set: map[string]any{"NumberOfEmployees": n},
		})
		l.must(err)
		events = append(events, seenBy(l.t, e))
	}
	return events
}

// receive takes the next message, and waits for it no longer than a day's outage.
func (l *lab) receive() *sfstream.Message {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 24*time.Hour)
	defer cancel()
	m, err := l.client.Receive(ctx)
	if err != nil {
		l.t.Fatalf("no message comes: %v; status %+v", err, l.client.Status())
	}
	return m
}

func (l *lab) number(m *sfstream.Message) int {
	l.t.Helper()
	fields, err := m.Fields()
	l.must(err)
	switch n := cmpOr(fields["N__c"], fields["NumberOfEmployees"]).(type) {
	case float64:
		return int(n)
	case int64:
		return int(n)
	}
	l.t.Fatalf("no number in %v", fields)
	return 0
}

func cmpOr(a, b any) any {
	if a == nil {
		return b
	}
	return a
}

// expect takes exactly these messages, in this order, and handles them.
func (l *lab) expect(numbers ...int) {
	l.t.Helper()
	for i, want := range numbers {
		m := l.receive()
		if got := l.number(m); got != want {
			l.t.Fatalf("message %d of %d is number %d, want %d", i+1, len(numbers), got, want)
		}
		m.Ack()
	}
	synctest.Wait()
	if n := l.client.Pending(); n > 0 {
		m := l.receive()
		l.t.Fatalf("%d messages too many, the first of them is number %d", n, l.number(m))
	}
}

// expectQuiet expects that nothing comes for a while.
func (l *lab) expectQuiet(d time.Duration) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), d)
	defer cancel()
	if m, err := l.client.Receive(ctx); err == nil {
		l.t.Fatalf("number %d comes, want nothing", l.number(m))
	} else if !errors.Is(err, context.DeadlineExceeded) {
		l.t.Fatalf("want silence, got: %v", err)
	}
}

// expectStillWorks uses the client again after a test of failure.
func (l *lab) expectStillWorks(channel string) {
	l.t.Helper()
	l.publishOn(channel, 9999)
	l.expect(9999)
	l.must(l.client.Err())
}

// expectEnd expects that the loop ends by itself, for a reason of type E. What
// was waiting before must have been taken.
func expectEnd[E error](l *lab) E {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 24*time.Hour)
	defer cancel()
	for m := range l.client.Messages(ctx) {
		l.t.Fatalf("number %d comes, want the end", l.number(m))
	}
	if ctx.Err() != nil {
		l.t.Fatalf("the loop does not end; status %+v", l.client.Status())
	}
	return expectError[E](l.t, l.client.Err())
}

func expectError[E error](t *testing.T, err error) E {
	t.Helper()
	var want E
	if !errors.As(err, &want) {
		t.Fatalf("error %v (%T), want a %T", err, err, want)
	}
	return want
}

// marker is what a restarted program would begin at.
func (l *lab) marker(channel string) replaystore.Marker {
	l.t.Helper()
	m, err := l.store.Load(context.Background(), l.key(apiOf(l.t), channel))
	if errors.Is(err, replaystore.ErrNotFound) {
		return replaystore.Marker{}
	}
	l.must(err)
	return m
}

func (l *lab) key(api, channel string) replaystore.Key {
	return replaystore.Key{OrgID: l.Account().OrgID, API: api, Channel: channel}
}

func (l *lab) save(key replaystore.Key, m replaystore.Marker) {
	l.t.Helper()
	l.must(l.store.Save(context.Background(), map[replaystore.Key]replaystore.Marker{key: m}))
}

// lastSubscribe is the request that the newest stream began with.
func (l *lab) lastSubscribe(channel string) sfstreamtest.SubscribeCall {
	l.t.Helper()
	calls := l.Subscribes(channel)
	if len(calls) == 0 {
		l.t.Fatal("no Subscribe call")
	}
	return calls[len(calls)-1]
}

// expectSubscribe expects how the newest stream began.
func (l *lab) expectSubscribe(channel, preset string, id []byte) {
	l.t.Helper()
	call := l.lastSubscribe(channel)
	if call.Preset != preset || !bytes.Equal(call.ReplayID, id) {
		l.t.Fatalf("subscribed with %s %x, want %s %x", call.Preset, call.ReplayID, preset, id)
	}
}

// outage cuts all connections, lets something happen, and ends after d.
func (l *lab) outage(d time.Duration, during func()) {
	l.t.Helper()
	l.Refuse(true)
	l.DropConnections()
	synctest.Wait()
	during()
	l.pass(d)
	l.Refuse(false)
}

// reconnect cuts all connections and waits until the channel is followed again.
func (l *lab) reconnect(channel string) {
	l.t.Helper()
	before := len(l.Subscribes(channel))
	l.DropConnections()
	for range 200 {
		l.pass(time.Second)
		if len(l.Subscribes(channel)) > before && l.Streams(channel) == 1 {
			return
		}
	}
	l.t.Fatal("the channel is not followed again")
}

func numbers(from, to int) []int {
	var all []int
	for n := from; n <= to; n++ {
		all = append(all, n)
	}
	return all
}

// logBuffer keeps all log lines at all levels.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *logBuffer) count(text string) int { return strings.Count(b.String(), text) }

func (b *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// relay is an org behind one address: the server behind it can be replaced.
type relay struct {
	*sfstreamtest.Server // the first one
	now                  atomic.Pointer[sfstreamtest.Server]
}

func newRelay(s *sfstreamtest.Server) *relay {
	r := &relay{Server: s}
	r.now.Store(s)
	return r
}

func (r *relay) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	return r.now.Load().HTTPClient().Transport.(*http.Transport).DialContext(ctx, "tcp", addr)
}

func (r *relay) HTTPClient() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: r.dial, DisableKeepAlives: true}}
}

func (r *relay) DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return r.dial(ctx, "tcp", addr) }),
	}
}

// authFunc is an authenticator made of a function.
func authFunc(f func(ctx context.Context, login authenticator.Login) (*authenticator.Credentials, error)) authenticator.Authenticator {
	return authenticator.Func(f)
}

// names gives each of several rules its own words.
func names(format string, of []string, run func(t *testing.T, of string), number int) []rule {
	var rules []rule
	for _, one := range of {
		rules = append(rules, rule{number: number, words: fmt.Sprintf(format, one), run: func(t *testing.T) { run(t, one) }})
	}
	return rules
}

func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	if missing := slices.DeleteFunc(parts, func(p string) bool { return strings.Contains(text, p) }); len(missing) > 0 {
		t.Errorf("%q does not contain %q", text, missing)
	}
}

// readAll reads a body and puts it back.
func readAll(resp *http.Response) string {
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), &failing{err}))
	return string(body)
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return 0, io.EOF
}
