package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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

// New starts an org in memory that has orders, events without a date, and accounts.
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

// Must fails the test if there is an error.
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

// OnGap notes a gap; it is the hook of the lab's programs.
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

// Subscribe subscribes the program to a channel.
func (l *Lab) Subscribe(channel string, opts ...sfstream.SubscribeOption) {
	l.T.Helper()
	l.Must(l.Client.Subscribe(l.T.Context(), channel, opts...))
	synctest.Wait() // the first request has arrived
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

// PublishNumbers puts events with these numbers on a channel.
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

// Number is the number that a message holds.
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

// ExpectError fails the test unless the error is, or wraps, one of type E.
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

// Key is the key of a channel's marker.
func (l *Lab) Key(api, channel string) replaystore.Key {
	return replaystore.Key{OrgID: l.Account().OrgID, API: api, Channel: channel}
}

// Save puts a marker into the store.
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

// Numbers are the numbers from one to another.
func Numbers(from, to int) []int {
	var all []int
	for n := from; n <= to; n++ {
		all = append(all, n)
	}
	return all
}

// Contains fails the test unless a text contains all the parts.
func Contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	if missing := slices.DeleteFunc(parts, func(p string) bool { return strings.Contains(text, p) }); len(missing) > 0 {
		t.Errorf("%q does not contain %q", text, missing)
	}
}

// Payload is that of a published order.
func (l *Lab) Payload(number int) []byte {
	l.T.Helper()
	var payload []byte
	c, err := sfstream.New(l.Authenticator(), sfstream.WithOrg(l))
	l.Must(err)
	l.Must(c.Open(l.T.Context()))
	l.Must(c.Subscribe(l.T.Context(), LabOrders))
	synctest.Wait()
	l.PublishOrders(number)
	m, err := c.Receive(l.T.Context())
	l.Must(err)
	payload = bytes.Clone(m.Raw())
	l.Must(c.Close())
	return payload
}

// ExpectDecodeError expects that a message cannot be read, in any way.
func (l *Lab) ExpectDecodeError(m *sfstream.Message) error {
	l.T.Helper()
	_, fields := m.Fields()
	_, marshal := m.MarshalJSON()
	var v map[string]any
	decode := m.Decode(&v)
	for _, err := range []error{fields, marshal, decode} {
		e := ExpectError[*sfstream.DecodeError](l.T, err)
		if e.Channel != m.Channel || e.SchemaID != m.SchemaID || !bytes.Equal(e.ReplayID, m.ReplayID) {
			l.T.Errorf("%+v", e)
		}
		Contains(l.T, e.Error(), m.Channel, fmt.Sprintf("%x", m.ReplayID))
	}
	return decode
}

// StaleMarker leaves a program's marker behind numbers 1 to 3, which nobody has
// any more: a busy channel, so that nothing was heard of it since.
func (l *Lab) StaleMarker() []sfstreamtest.Event {
	l.T.Helper()
	events := l.PublishOrders(1, 2, 3)
	l.Follow(sfstream.WithReplay(sfstream.ReplayAll))
	l.Expect(1, 2, 3)
	l.Stop()
	l.Must(l.TruncateReplay(LabOrders))
	return events
}

// ExpectGap expects one gap of a channel, after an event.
func (l *Lab) ExpectGap(channel string, after sfstreamtest.Event) {
	l.T.Helper()
	if n := l.GapCount(); n != 1 {
		l.T.Fatalf("%d gaps", n)
	}
	g := l.Gaps[0]
	if g.Channel != channel || !bytes.Equal(g.After.ReplayID, after.ReplayID) {
		l.T.Errorf("gap %+v", g)
	}
	if e := ExpectError[*sfstream.ServerError](l.T, g.Reason); e.Code != sfstream.ReplayInvalid {
		l.T.Errorf("gap because of %v", e)
	}
	lines := slices.DeleteFunc(bytes.Split([]byte(l.Log.String()), []byte("\n")), func(line []byte) bool {
		return !bytes.Contains(line, []byte("stored position refused"))
	})
	Contains(l.T, string(lines[0]), "level=WARN", channel)
}

// Date is what the tests' DateTime fields hold.
var Date = time.Date(2025, 6, 1, 12, 30, 15, 123e6, time.UTC)
