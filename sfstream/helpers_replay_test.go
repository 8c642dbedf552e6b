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

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// The channels of a lab's org, and the error code of a replay id that is too old.
const (
	LabOrders = "/event/LabOrder__e"
	Undated   = "/event/LabUndated__e"
	Accounts  = "/data/AccountChangeEvent"

	StaleReplayID = "subscription.fetch.replayid.corrupted"
)

// Schema is the schema of an event that has a number.
func Schema(name string, more ...string) string {
	fields := append([]string{
		`{"name":"CreatedDate","type":"long","doc":"CreatedDate:DateTime"}`,
		`{"name":"CreatedById","type":"string","doc":"CreatedBy:EntityId"}`,
		`{"name":"N__c","type":["null","double"],"default":null}`,
	}, more...)
	return `{"type":"record","name":"` + name + `","namespace":"com.sforce.eventbus","fields":[` + strings.Join(fields, ",") + `]}`
}

// Lab is an org, a program that follows it, and what the program has kept. The
// program can be ended and started again.
type Lab struct {
	*sfstreamtest.Server
	T      *testing.T
	Store  *replaystore.Memory
	Client *sfstream.Client // of the program that runs now
	Log    *LogBuffer

	mu   sync.Mutex
	Gaps []sfstream.Gap
}

func New(t *testing.T, opts ...sfstreamtest.Option) *Lab {
	t.Helper()
	l := &Lab{
		Server: sfstreamtest.NewServer(t, append(opts, sfstreamtest.InMemory())...),
		T:      t, Store: replaystore.NewMemory(), Log: new(LogBuffer),
	}
	l.define()
	return l
}

func (l *Lab) define() {
	l.T.Helper()
	l.Must(l.DefineEvent(LabOrders, Schema("LabOrder__e")))
	l.Must(l.DefineEvent(Undated, `{"type":"record","name":"LabUndated__e","fields":[{"name":"N__c","type":["null","double"],"default":null}]}`))
	l.Must(l.DefineObject("Account", sfstreamtest.Field{Name: "Name", Type: "Text"}, sfstreamtest.Field{Name: "NumberOfEmployees", Type: "Integer"}))
}

func (l *Lab) Must(err error) {
	l.T.Helper()
	if err != nil {
		l.T.Fatal(err)
	}
}

// NewClient makes a program that has not logged in. Tests give it what they need beyond
// a store, a log and a hook for gaps.
func (l *Lab) NewClient(opts ...sfstream.Option) *sfstream.Client {
	l.T.Helper()
	c, err := sfstream.New(l.Authenticator(), append([]sfstream.Option{
		sfstream.WithOrg(l), sfstream.WithTransport(TransportOf(l.T)), sfstream.WithReplayStore(l.Store), sfstream.WithLogger(l.Log.Logger()),
		sfstream.WithHooks(sfstream.Hooks{OnGap: l.OnGap}),
	}, opts...)...)
	l.Must(err)
	l.Client = c
	l.T.Cleanup(func() { _ = c.Close() })
	return c
}

func (l *Lab) OnGap(g sfstream.Gap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Gaps = append(l.Gaps, g)
}

// GapCount is how many gaps the hook heard of; the log must agree.
func (l *Lab) GapCount() int {
	l.T.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if logged := l.Log.Count("stored position refused"); logged != len(l.Gaps) {
		l.T.Errorf("the hook heard of %d gaps, the log of %d", len(l.Gaps), logged)
	}
	return len(l.Gaps)
}

// ExpectPossibleGaps expects no gap over the Pub/Sub API, where a keepalive proves
// that a quiet channel has missed nothing. Over the Streaming API nothing proves it of
// a channel of platform events, and so many possible gaps are told.
func (l *Lab) ExpectPossibleGaps(streaming int) {
	l.T.Helper()
	want := 0
	if TransportOf(l.T) == sfstream.CometD {
		want = streaming
	}
	if n := l.GapCount(); n != want {
		l.T.Errorf("%d gaps, want %d", n, want)
	}
	for _, g := range l.Gaps {
		if !g.Possible {
			l.T.Errorf("a gap that is more than possible: %+v", g)
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

// Start starts the program.
func (l *Lab) Start(opts ...sfstream.Option) {
	l.T.Helper()
	l.Must(l.NewClient(opts...).Open(l.T.Context()))
}

// Follow starts the program and subscribes it to the orders.
func (l *Lab) Follow(opts ...sfstream.Option) {
	l.T.Helper()
	l.Start(opts...)
	l.Subscribe(LabOrders)
}

func (l *Lab) Subscribe(channel string, opts ...sfstream.SubscribeOption) {
	l.T.Helper()
	l.Must(l.Client.Subscribe(l.T.Context(), channel, opts...))
	synctest.Wait() // the first request has arrived
}

// failSubscribe fails the next n subscriptions where they are decided: in
// GetTopic, or in the answer to the subscribe.
func failSubscribe(t *testing.T, s *sfstreamtest.Server, n int, code string) {
	if TransportOf(t) == sfstream.CometD {
		s.Reject("", n, code)
		return
	}
	s.FailGetTopic(n, code)
}

// followStale starts the program where its position is refused. Over the Pub/Sub
// API that ends the client; over the Streaming API it is the answer to Subscribe.
func (l *Lab) followStale(opts ...sfstream.Option) *sfstream.ReplayError {
	l.T.Helper()
	l.Start(opts...)
	err := l.Client.Subscribe(l.T.Context(), LabOrders)
	if TransportOf(l.T) == sfstream.CometD {
		l.Must(l.Client.Err())
		return ExpectError[*sfstream.ReplayError](l.T, err)
	}
	l.Must(err)
	return ExpectEnd[*sfstream.ReplayError](l)
}

// Stop ends the program in good order.
func (l *Lab) Stop() {
	l.T.Helper()
	l.Must(l.Client.Close())
}

// Pass lets time go by, and what happens in it.
func (l *Lab) Pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// PublishOrders puts orders with these numbers on their channel.
func (l *Lab) PublishOrders(numbers ...int) []sfstreamtest.Event {
	l.T.Helper()
	return l.PublishNumbers(LabOrders, numbers...)
}

func (l *Lab) PublishNumbers(channel string, numbers ...int) (events []sfstreamtest.Event) {
	l.T.Helper()
	for _, n := range numbers {
		e, err := l.Publish(channel, map[string]any{"N__c": float64(n)})
		l.Must(err)
		events = append(events, SeenBy(l.T, e))
	}
	return events
}

// PublishDated publishes an order whose publisher has written this CreatedDate.
func (l *Lab) PublishDated(number int, date time.Time) sfstreamtest.Event {
	l.T.Helper()
	e, err := l.Publish(LabOrders, map[string]any{"N__c": float64(number), "CreatedDate": date})
	l.Must(err)
	return SeenBy(l.T, e)
}

// ChangeAccount commits a change of an account now.
func (l *Lab) ChangeAccount(numbers ...int) (events []sfstreamtest.Event) {
	l.T.Helper()
	for _, n := range numbers {
		e, err := l.Change(sfstreamtest.Change{
			Object: "Account", Type: "UPDATE", RecordIDs: []string{"001000000000001AAA"},
			Set: map[string]any{"NumberOfEmployees": n},
		})
		l.Must(err)
		events = append(events, SeenBy(l.T, e))
	}
	return events
}

// Receive takes the next message, and waits for it no longer than a day's outage.
func (l *Lab) Receive() *sfstream.Message {
	l.T.Helper()
	ctx, cancel := context.WithTimeout(l.T.Context(), 24*time.Hour)
	defer cancel()
	m, err := l.Client.Receive(ctx)
	if err != nil {
		l.T.Fatalf("no message comes: %v; status %+v", err, l.Client.Status())
	}
	return m
}

func (l *Lab) Number(m *sfstream.Message) int {
	l.T.Helper()
	fields, err := m.Fields()
	l.Must(err)
	switch n := cmpOr(fields["N__c"], fields["NumberOfEmployees"]).(type) {
	case float64:
		return int(n)
	case int64:
		return int(n)
	}
	l.T.Fatalf("no number in %v", fields)
	return 0
}

func cmpOr(a, b any) any {
	if a == nil {
		return b
	}
	return a
}

// Expect takes exactly these messages, in this order, and handles them.
func (l *Lab) Expect(numbers ...int) {
	l.T.Helper()
	for i, want := range numbers {
		m := l.Receive()
		if got := l.Number(m); got != want {
			l.T.Fatalf("message %d of %d is number %d, want %d", i+1, len(numbers), got, want)
		}
		m.Ack()
	}
	synctest.Wait()
	if n := l.Client.Pending(); n > 0 {
		m := l.Receive()
		l.T.Fatalf("%d messages too many, the first of them is number %d", n, l.Number(m))
	}
}

// ExpectQuiet expects that nothing comes for a while.
func (l *Lab) ExpectQuiet(d time.Duration) {
	l.T.Helper()
	ctx, cancel := context.WithTimeout(l.T.Context(), d)
	defer cancel()
	if m, err := l.Client.Receive(ctx); err == nil {
		l.T.Fatalf("number %d comes, want nothing", l.Number(m))
	} else if !errors.Is(err, context.DeadlineExceeded) {
		l.T.Fatalf("want silence, got: %v", err)
	}
}

// ExpectStillWorks uses the client again after a test of failure.
func (l *Lab) ExpectStillWorks(channel string) {
	l.T.Helper()
	l.PublishNumbers(channel, 9999)
	l.Expect(9999)
	l.Must(l.Client.Err())
}

// ExpectEnd expects that the loop ends by itself, for a reason of type E. What
// was waiting before must have been taken.
func ExpectEnd[E error](l *Lab) E {
	l.T.Helper()
	ctx, cancel := context.WithTimeout(l.T.Context(), 24*time.Hour)
	defer cancel()
	for m := range l.Client.Messages(ctx) {
		l.T.Fatalf("number %d comes, want the end", l.Number(m))
	}
	if ctx.Err() != nil {
		l.T.Fatalf("the loop does not end; status %+v", l.Client.Status())
	}
	return ExpectError[E](l.T, l.Client.Err())
}

func ExpectError[E error](t *testing.T, err error) E {
	t.Helper()
	var want E
	if !errors.As(err, &want) {
		t.Fatalf("error %v (%T), want a %T", err, err, want)
	}
	return want
}

// Marker is what a restarted program would begin at.
func (l *Lab) Marker(channel string) replaystore.Marker {
	l.T.Helper()
	m, err := l.Store.Load(context.Background(), l.Key(APIOf(l.T), channel))
	if errors.Is(err, replaystore.ErrNotFound) {
		return replaystore.Marker{}
	}
	l.Must(err)
	return m
}

func (l *Lab) Key(api, channel string) replaystore.Key {
	return replaystore.Key{OrgID: l.Account().OrgID, API: api, Channel: channel}
}

func (l *Lab) Save(key replaystore.Key, m replaystore.Marker) {
	l.T.Helper()
	l.Must(l.Store.Save(context.Background(), map[replaystore.Key]replaystore.Marker{key: m}))
}

// LastSubscribe is the request that the newest stream began with.
func (l *Lab) LastSubscribe(channel string) sfstreamtest.SubscribeCall {
	l.T.Helper()
	calls := l.Subscribes(channel)
	if len(calls) == 0 {
		l.T.Fatal("no Subscribe call")
	}
	return calls[len(calls)-1]
}

// ExpectSubscribe expects how the newest stream began.
func (l *Lab) ExpectSubscribe(channel, preset string, id []byte) {
	l.T.Helper()
	call := l.LastSubscribe(channel)
	if call.Preset != preset || !bytes.Equal(call.ReplayID, id) {
		l.T.Fatalf("subscribed with %s %x, want %s %x", call.Preset, call.ReplayID, preset, id)
	}
}

// Outage cuts all connections, lets something happen, and ends after d.
func (l *Lab) Outage(d time.Duration, during func()) {
	l.T.Helper()
	l.Refuse(true)
	l.DropConnections()
	synctest.Wait()
	during()
	l.Pass(d)
	l.Refuse(false)
}

// Reconnect cuts all connections and waits until the channel is followed again.
func (l *Lab) Reconnect(channel string) {
	l.T.Helper()
	before := len(l.Subscribes(channel))
	l.DropConnections()
	for range 200 {
		l.Pass(time.Second)
		if len(l.Subscribes(channel)) > before && l.Streams(channel) == 1 {
			return
		}
	}
	l.T.Fatal("the channel is not followed again")
}

func Numbers(from, to int) []int {
	var all []int
	for n := from; n <= to; n++ {
		all = append(all, n)
	}
	return all
}

// LogBuffer keeps all log lines at all levels.
type LogBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *LogBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *LogBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *LogBuffer) Count(text string) int { return strings.Count(b.String(), text) }

func (b *LogBuffer) Logger() *slog.Logger {
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

// names gives each of several rules its own words.
func names(format string, of []string, run func(t *testing.T, of string), number int) []rule {
	var rules []rule
	for _, one := range of {
		rules = append(rules, rule{number: number, words: fmt.Sprintf(format, one), run: func(t *testing.T) { run(t, one) }})
	}
	return rules
}

func Contains(t *testing.T, text string, parts ...string) {
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
