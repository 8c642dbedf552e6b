package sink

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// changes is an org with changes of accounts, and a client that follows them.
func changes(tb testing.TB, events int) *sfstream.Client {
	tb.Helper()
	org := sfstreamtest.NewServer(tb, sfstreamtest.InMemory())
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	must(org.DefineObject("Account", sfstreamtest.Field{Name: "Name", Type: "Text"}, sfstreamtest.Field{Name: "NumberOfEmployees", Type: "Integer"}))
	for n := range events {
		id := "001" + strconv.Itoa(100_000_000_000+n%1000) + "AAA"
		_, err := org.Change(sfstreamtest.Change{Object: "Account", Type: "UPDATE", RecordIDs: []string{id}, Set: map[string]any{"Name": "Ann & Co", "NumberOfEmployees": n}})
		must(err)
	}
	client, err := sfstream.New(org.Authenticator(), sfstream.WithOrg(org), sfstream.WithAck(sfstream.AckManual),
		sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithPrefetch(2000))
	must(err)
	tb.Cleanup(func() { _ = client.Close() })
	must(client.Open(tb.Context()))
	must(client.Subscribe(tb.Context(), "/data/AccountChangeEvent"))
	return client
}

// TestAllocations bounds what a record costs from the client's loop to its ack.
func TestAllocations(t *testing.T) {
	client := changes(t, 1)
	m, err := client.Receive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// 8, 57 and 61, but that the race detector makes the pools of encoding/json forget.
	for envelope, most := range map[Envelope]float64{Raw: 9, JSON: 75, CloudEvents: 80} {
		cfg, err := newConfig([]Option{WithEnvelope(envelope)})
		if err != nil {
			t.Fatal(err)
		}
		f := newForwarder(t.Context(), client, nil, cfg)
		allocs := testing.AllocsPerRun(1000, func() {
			f.add(m)
			if l := f.lanes[0]; !l.next() || l.fill() != nil {
				t.Fatal("no batch")
			} else if err, _ := l.settle(nil); err != nil {
				t.Fatal(err)
			}
		})
		f.cancel(nil)
		t.Logf("%v: %v", envelope, allocs)
		if allocs > most {
			t.Errorf("%v: %v allocations for a record, want at most %v", envelope, allocs, most)
		}
	}
}

// BenchmarkForward measures Forward to a sink that does nothing, with a server in the same process.
func BenchmarkForward(b *testing.B) {
	for _, envelope := range []Envelope{Raw, JSON, CloudEvents, CloudEventsBinary} {
		b.Run(envelope.String(), func(b *testing.B) {
			client := changes(b, b.N)
			b.ReportAllocs()
			b.ResetTimer()
			ctx, cancel := context.WithCancel(b.Context())
			to := &counter{want: int64(b.N), done: cancel}
			if err := Forward(ctx, client, to, WithEnvelope(envelope)); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(b.N)/float64(to.sends), "events/send")
		})
	}
}

type counter struct {
	want  int64
	done  context.CancelFunc
	count atomic.Int64
	sends int
}

func (c *counter) Send(_ context.Context, records []Record) error {
	c.sends++
	if c.count.Add(int64(len(records))) >= c.want {
		c.done()
	}
	return nil
}
