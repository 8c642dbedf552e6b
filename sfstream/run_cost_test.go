package sfstream

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/sfstream/sfstream-go/replaystore"
)

// runGate is a client with nothing below it and a handler that does nothing but
// keep two batches waiting.
type runGate struct {
	client   *Client
	feed     *feed
	arriving chan []Message
}

// newRunGate makes a gate for n batches of messages with a hundred keys.
func newRunGate(tb testing.TB, n int) *runGate {
	in := gateInbox(tb, AckAuto, 3*gateBatch)
	services := testServices(in)
	g := &runGate{client: &Client{services: services, turn: make(chan struct{}, 1)}, arriving: make(chan []Message, n)}
	g.feed = &feed{services: services, sub: in.Channel("/event/Order__e", replaystore.Key{})}
	var keys [gateBatch]string
	for i := range keys {
		keys[i] = fmt.Sprint("key ", i)
	}
	id := uint64(0)
	for range n {
		messages := make([]Message, gateBatch)
		for i := range messages {
			id++
			messages[i].ReplayID, messages[i].Type = binary.BigEndian.AppendUint64(nil, id), keys[i]
		}
		g.arriving <- messages
	}
	return g
}

// run handles n batches.
func (g *runGate) run(tb testing.TB, n int, opts ...RunOption) {
	ctx, stop := context.WithCancel(tb.Context())
	defer stop()
	var left atomic.Int64
	left.Store(int64(n * gateBatch))
	g.feed.deliver(<-g.arriving, false)
	err := g.client.Run(ctx, func(context.Context, *Message) error {
		switch left := left.Add(-1); {
		case left == 0:
			stop()
		case left%gateBatch == gateBatch/2 && left > gateBatch:
			g.feed.deliver(<-g.arriving, false)
		}
		return nil
	}, opts...)
	if err != nil {
		tb.Error(err)
	}
}

func byType(m *Message) string { return m.Type }

// A job, its key, and what waits for it.
func TestRunAllocatesLittlePerMessage(t *testing.T) {
	g := newRunGate(t, 2*gateBatches)
	perRun := testing.AllocsPerRun(1, func() { g.run(t, gateBatches, OrderBy(byType)) })
	if perMessage := perRun / (gateBatches * gateBatch); perMessage > 4 {
		t.Errorf("%.2f allocations per message", perMessage)
	}
}

// BenchmarkRun is what Run costs per message, beside what the handler does.
func BenchmarkRun(b *testing.B) {
	for _, workers := range []int{1, 8} {
		for name, opt := range map[string]RunOption{"one key": OrderBy(func(*Message) string { return "" }), "many keys": OrderBy(byType)} {
			b.Run(fmt.Sprintf("workers=%d/%s", workers, name), func(b *testing.B) {
				batches := (b.N + gateBatch - 1) / gateBatch
				g := newRunGate(b, batches)
				b.ReportAllocs()
				b.ResetTimer()
				g.run(b, batches, opt, Workers(workers))
			})
		}
	}
}
