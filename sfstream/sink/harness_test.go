package sink_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
	"github.com/sfstream/sfstream-go/sfstream/sink"
)

const (
	orders   = "/event/Order__e"
	accounts = "/data/AccountChangeEvent"
)

// newOrg is an org in memory that has orders and accounts.
func newOrg(t testing.TB, opts ...sfstreamtest.Option) *sfstreamtest.Server {
	t.Helper()
	org := sfstreamtest.NewServer(t, append(opts, sfstreamtest.InMemory())...)
	must(t, org.DefineObject("Account", sfstreamtest.Field{Name: "Name", Type: "Text"}, sfstreamtest.Field{Name: "NumberOfEmployees", Type: "Integer"}))
	must(t, org.DefineEvent(orders, `{"type": "record", "name": "Order__e", "fields": [
		{"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
		{"name": "CreatedById", "type": "string"},
		{"name": "Number__c", "type": ["null", "string"], "default": null}]}`))
	return org
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// order publishes orders with numbers from first to last.
func order(t testing.TB, org *sfstreamtest.Server, first, last int) {
	t.Helper()
	for n := first; n <= last; n++ {
		_, err := org.Publish(orders, map[string]any{"Number__c": strconv.Itoa(n)})
		must(t, err)
	}
}

// change publishes a numbered change of accounts.
func change(t testing.TB, org *sfstreamtest.Server, n int, accounts ...int) {
	t.Helper()
	var ids []string
	for _, a := range accounts {
		ids = append(ids, account(a))
	}
	_, err := org.Change(sfstreamtest.Change{Object: "Account", Type: "UPDATE", RecordIDs: ids, Set: map[string]any{"NumberOfEmployees": n}})
	must(t, err)
}

func account(n int) string { return fmt.Sprintf("001%012dAAA", n) }

// number is the number of an event of order or change.
func number(t testing.TB, m *sfstream.Message) int {
	t.Helper()
	var event struct {
		Number            string `sf:"Number__c"`
		NumberOfEmployees int
	}
	must(t, m.Decode(&event))
	if event.Number != "" {
		n, err := strconv.Atoi(event.Number)
		must(t, err)
		return n
	}
	return event.NumberOfEmployees
}

// follow opens a client on channels, from the oldest event.
func follow(t testing.TB, org *sfstreamtest.Server, channels []string, opts ...sfstream.Option) *sfstream.Client {
	t.Helper()
	opts = append([]sfstream.Option{sfstream.WithAck(sfstream.AckManual), sfstream.WithOrg(org), sfstream.WithReplay(sfstream.ReplayAll)}, opts...)
	client, err := sfstream.New(org.Authenticator(), opts...)
	must(t, err)
	t.Cleanup(func() { _ = client.Close() })
	must(t, client.Open(t.Context()))
	for _, channel := range channels {
		must(t, client.Subscribe(t.Context(), channel))
	}
	return client
}

// A queue is a sink of a function, which notes the numbers that it has acked.
type queue struct {
	t    testing.TB
	send func(ctx context.Context, records []sink.Record) error // nil: it acks all

	mu      sync.Mutex
	sends   [][]int // what came, by Send
	numbers []int   // what was acked
}

func (q *queue) Send(ctx context.Context, records []sink.Record) error {
	var sent []int
	for _, r := range records {
		sent = append(sent, number(q.t, r.Message))
	}
	q.mu.Lock()
	q.sends = append(q.sends, sent)
	q.mu.Unlock()
	var err error
	if q.send != nil {
		err = q.send(ctx, records)
	}
	if err == nil {
		q.mu.Lock()
		q.numbers = append(q.numbers, sent...)
		q.mu.Unlock()
	}
	return err
}

func (q *queue) acked() []int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return append([]int(nil), q.numbers...)
}

func (q *queue) sent() [][]int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return append([][]int(nil), q.sends...)
}

// A forwarding is a Forward that runs.
type forwarding struct {
	t    testing.TB
	end  context.CancelFunc
	done chan error
}

// forward starts a Forward. wait or stop must follow.
func forward(t testing.TB, client *sfstream.Client, to sink.Sink, opts ...sink.Option) *forwarding {
	ctx, cancel := context.WithCancel(context.Background())
	f := &forwarding{t: t, end: cancel, done: make(chan error, 1)}
	go func() { f.done <- sink.Forward(ctx, client, to, opts...) }() // ends when Forward does; wait awaits it
	return f
}

func (f *forwarding) wait() error {
	defer f.end()
	return <-f.done
}

// stop ends it without an error.
func (f *forwarding) stop() {
	f.t.Helper()
	f.end()
	must(f.t, f.wait())
}

// after lets time pass and everything that is to happen meanwhile happen.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func span(first, last int) []int {
	var all []int
	for n := first; n <= last; n++ {
		all = append(all, n)
	}
	return all
}
