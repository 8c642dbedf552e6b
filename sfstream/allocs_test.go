package sfstream

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream/internal/avro"
	"github.com/sfstream/sfstream-go/sfstream/internal/bayeux"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/internal/inbox"
	"github.com/sfstream/sfstream-go/sfstream/internal/recent"
	"github.com/sfstream/sfstream-go/sfstream/internal/serverclock"
)

// The path of a message from its frame to the loop allocates per batch, not per message. What grpc
// allocates before that, BenchmarkReceive shows.

const (
	gateBatch   = 100
	gateBatches = 100
)

// newGate is a channel with nothing below it.
func newGate(tb testing.TB, policy AckPolicy) (*channel, *inbox.Inbox[Message]) {
	in := gateInbox(tb, policy, gateBatch*(gateBatches+2))
	return &channel{services: testServices(in), sub: in.Channel("/event/Order__e", replaystore.Key{})}, in
}

// testServices are the services of a client that has an inbox and no connections.
func testServices(in *inbox.Inbox[Message]) *services {
	log := slog.New(slog.DiscardHandler)
	life := newLifetime(log, nil)
	life.open("")
	return &services{cfg: new(config), log: log, clock: new(serverclock.Clock), inbox: in, life: life}
}

// gateInbox is the inbox of a client that is nothing else.
func gateInbox(tb testing.TB, policy AckPolicy, prefetch int) *inbox.Inbox[Message] {
	cfg := &config{ack: policy, prefetch: prefetch, store: replaystore.NewMemory(), log: slog.New(slog.DiscardHandler)}
	in := newInbox(cfg, tb.Context(), func(err error) { tb.Error(err) })
	tb.Cleanup(func() { _ = in.Close(time.Second) })
	return in
}

// batches are as many as AllocsPerRun of gateBatches takes.
func batches() []batch {
	all := make([]batch, gateBatches+1)
	id := uint64(0)
	for i := range all {
		all[i].messages = make([]Message, gateBatch)
		for j := range all[i].messages {
			id++
			all[i].messages[j].ReplayID = binary.BigEndian.AppendUint64(nil, id)
		}
	}
	return all
}

func TestReceivingAllocatesPerBatchOnly(t *testing.T) {
	ch, _ := newGate(t, AckAuto)
	for i := range recent.Remembered {
		ch.duplicates.Remember(recent.Event{ReplayID: fmt.Append(nil, i)})
	}
	arriving := batches()
	perBatch := testing.AllocsPerRun(gateBatches, func() {
		ch.deliver(arriving[0].messages, false)
		arriving = arriving[1:]
	})
	if perBatch > 2 { // the entries and the run
		t.Errorf("%v allocations per batch of %d messages", perBatch, gateBatch)
	}
}

// From the frame of a response to the loop: the ids, two chunks of payloads, the messages, the
// entries and the run, for a hundred events.
func TestAFrameBecomesMessagesInAFewAllocations(t *testing.T) {
	ch, in := newGate(t, AckAuto)
	schema, err := avro.Parse(`{"type": "record", "name": "Order__e", "fields": []}`)
	if err != nil {
		t.Fatal(err)
	}
	s := &pubsubSession{sub: &ch.sub.Credit, inbound: inbound{codecs: codecs{lastID: "schema", last: &codec{schema: schema}}}}
	frames := make([]mem.BufferSlice, recent.Remembered/gateBatch+gateBatches+1)
	for i := range frames {
		response := new(eventbus.FetchResponse)
		for j := range gateBatch {
			response.Events = append(response.Events, &eventbus.ConsumerEvent{
				ReplayId: binary.BigEndian.AppendUint64(nil, uint64(i*gateBatch+j+1)),
				Event: &eventbus.ProducerEvent{
					Id: fmt.Sprintf("%036d", j), SchemaId: "schema", Payload: make([]byte, 337),
				},
			})
		}
		frame, err := proto.Marshal(response)
		if err != nil {
			t.Fatal(err)
		}
		frames[i] = mem.BufferSlice{mem.SliceBuffer(frame[:16<<10]), mem.SliceBuffer(frame[16<<10:])}
	}
	receive := func() {
		if err := (eventbus.Codec{}).Unmarshal(frames[0], &s.inbound.response); err != nil {
			t.Fatal(err)
		}
		frames = frames[1:]
		ch.deliver(s.messages(&s.inbound.response).messages, false)
		s.inbound.response.Free()
		for range gateBatch {
			if m := in.Next(); m == nil || m.codec.schema != schema {
				t.Fatalf("%+v", m)
			}
		}
	}
	for range recent.Remembered / gateBatch {
		receive()
	}
	if perBatch := testing.AllocsPerRun(gateBatches, receive); perBatch > 8 { // 6, but that the race detector makes a pool forget
		t.Errorf("%v allocations for %d events", perBatch, gateBatch)
	}
}

func TestHandingOutAndSettlingAllocateNothing(t *testing.T) {
	for _, test := range []struct {
		name   string
		policy AckPolicy
		use    func(*Message)
	}{
		{"AckAuto", AckAuto, func(*Message) {}},
		{"AckOnReceive", AckOnReceive, func(*Message) {}},
		{"AckManual", AckManual, (*Message).Ack},
	} {
		t.Run(test.name, func(t *testing.T) {
			ch, in := newGate(t, test.policy)
			for _, b := range batches() {
				ch.deliver(b.messages, false)
			}
			// Per batch, because AllocsPerRun rounds down.
			perBatch := testing.AllocsPerRun(gateBatches, func() {
				for range gateBatch {
					m := in.Next()
					if m == nil {
						t.Fatal("the queue is empty")
					}
					test.use(m)
				}
			})
			if perBatch != 0 {
				t.Errorf("%v allocations per %d messages", perBatch, gateBatch)
			}
		})
	}
}

// A program that keeps one event of many keeps its clone, and nothing of its batch.
func TestACloneDoesNotKeepItsBatch(t *testing.T) {
	ch, in := newGate(t, AckAuto)
	var clone *Message
	var frame weak.Pointer[byte]
	arrivals := uint64(0)
	receive := func() {
		batch := make([]byte, 32<<10)
		frame = weak.Make(&batch[0])
		messages := make([]Message, gateBatch)
		for i := range messages {
			part := batch[i*100:][:100:100]
			binary.BigEndian.PutUint64(part, arrivals+uint64(i)+1)
			messages[i].ReplayID, messages[i].payload = part[:8:8], part[8:]
		}
		arrivals += gateBatch
		ch.deliver(messages, false)
		for m := in.Next(); m != nil; m = in.Next() {
			clone = m.Clone()
		}
	}
	receive()
	kept, first := clone, frame
	receive()
	if err := in.Flush(t.Context(), time.Second); err != nil { // a Save holds on to what it saves
		t.Fatal(err)
	}
	runtime.GC()
	if first.Value() != nil {
		t.Error("the batch is still there")
	}
	kept.Ack()
}

func TestDateAllocatesNothing(t *testing.T) {
	schema, err := avro.Parse(`{"type": "record", "name": "Order__e", "fields": [
		{"name": "City__c", "type": ["null", "string"], "default": null},
		{"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	const ms = 1_767_225_600_000
	m := &Message{codec: &codec{schema: schema}, payload: binary.AppendVarint([]byte("\x02\x08Lyon"), ms)}
	if got := m.Date().UnixMilli(); got != ms {
		t.Fatalf("Date is %d, want %d", got, ms)
	}
	if n := testing.AllocsPerRun(100, func() { m.Date() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Over the Streaming API a slab of events costs its messages and its place in the session's queue;
// what is read of an event is cut from the reply.
func TestReceivingOverCometDAllocatesPerSlabOnly(t *testing.T) {
	_, in := newGate(t, AckAuto)
	sub := &in.Channel("/topic/Accounts", replaystore.Key{API: apiCometD, Channel: "/topic/Accounts"}).Credit
	s := &cometdSession{ready: make(chan struct{}, 1), merger: newMerger(new(codec))}
	s.merger.channels["/topic/Accounts"] = &mergedChannel{sub: sub, phase: phaseFollowing}
	slab := make([]bayeux.Event, 256)
	for i := range slab {
		slab[i] = bayeux.Event{Channel: sub.Name, Data: fmt.Appendf(nil,
			`{"event":{"createdDate":"2026-01-09T10:00:01.208Z","replayId":%d,"type":"updated"},"sobject":{"Id":"001000000000001AAA","Name":"Acme"}}`, i)}
	}
	perSlab := testing.AllocsPerRun(100, func() {
		s.deliver(slab)
		s.queue = s.queue[:0]
	})
	if perSlab > 1 {
		t.Errorf("%v allocations per slab of %d events", perSlab, len(slab))
	}
}

// Behind one unacked message a million acked ones take no memory.
func TestOneUnackedMessageHoldsAMillionInNoMemory(t *testing.T) {
	ch, in := newGate(t, AckManual)
	heap := func() uint64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	var oldest *Message
	var id uint64
	receive := func() {
		messages := make([]Message, gateBatch)
		for i := range messages {
			id++
			messages[i].ReplayID = binary.BigEndian.AppendUint64(nil, id)
		}
		ch.deliver(messages, false)
		for m := in.Next(); m != nil; m = in.Next() {
			if oldest == nil {
				oldest = m
				continue
			}
			m.Ack()
		}
	}
	for range 20 {
		receive() // the memory of duplicates is full
	}
	before := heap()
	for range 1_000_000 / gateBatch {
		receive()
	}
	if grown := int64(heap()) - int64(before); grown > 256<<10 {
		t.Errorf("the heap has grown by %d KiB", grown>>10)
	}
	if status := ch.sub.Status(); status.OldestUnacked != oldest || status.Unacked != 1 || len(status.ReplayID) > 0 {
		t.Errorf("%d are unacked, the marker is at %x", status.Unacked, status.ReplayID)
	}
	oldest.Ack()
	if at := binary.BigEndian.Uint64(ch.sub.Status().ReplayID); at != id {
		t.Errorf("the watermark is at %d, want %d", at, id)
	}
}

// runGate is a client with nothing below it and a handler that does nothing but keep two batches
// waiting.
type runGate struct {
	client   *Client
	channel  *channel
	arriving chan []Message
}

// newRunGate makes a gate for n batches of messages with a hundred keys.
func newRunGate(tb testing.TB, n int) *runGate {
	in := gateInbox(tb, AckAuto, 3*gateBatch)
	services := testServices(in)
	g := &runGate{client: &Client{services: services, turn: make(chan struct{}, 1)}, arriving: make(chan []Message, n)}
	g.channel = &channel{services: services, sub: in.Channel("/event/Order__e", replaystore.Key{})}
	g.client.roster = newRoster(services, nil, nil)
	g.client.roster.channels["/event/Order__e"] = g.channel
	g.channel.sub.Accept(time.Time{})
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
			messages[i].Channel = "/event/Order__e"
		}
		g.arriving <- messages
	}
	return g
}

// run handles n batches, by Run or a function in its place.
func (g *runGate) run(tb testing.TB, n int, opts ...RunOption) { g.runBy(tb, g.client.Run, n, opts...) }

func (g *runGate) runBy(tb testing.TB, run func(context.Context, func(context.Context, *Message) error, ...RunOption) error, n int, opts ...RunOption) {
	ctx, stop := context.WithCancel(tb.Context())
	defer stop()
	var left atomic.Int64
	left.Store(int64(n * gateBatch))
	g.channel.deliver(<-g.arriving, false)
	err := run(ctx, func(context.Context, *Message) error {
		switch left := left.Add(-1); {
		case left == 0:
			stop()
		case left%gateBatch == gateBatch/2 && left > gateBatch:
			g.channel.deliver(<-g.arriving, false)
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

// A mux finds its handlers by a look-up, and has nothing to keep of a message that none refuses.
func TestServeAllocatesNoMoreThanRunPerMessage(t *testing.T) {
	g := newRunGate(t, 6*gateBatches)
	serve := func(handlers int) func(context.Context, func(context.Context, *Message) error, ...RunOption) error {
		return func(ctx context.Context, handler func(context.Context, *Message) error, opts ...RunOption) error {
			mux := NewMux()
			for range handlers - 1 {
				mux.Handle("/event/Order__e", func(context.Context, *Message) error { return nil })
			}
			mux.Handle("/event/Order__e", handler)
			return g.client.Serve(ctx, mux, opts...)
		}
	}
	byRun := testing.AllocsPerRun(1, func() { g.run(t, gateBatches, OrderBy(byType), Workers(1)) })
	for _, handlers := range []int{1, 3} {
		byServe := testing.AllocsPerRun(1, func() { g.runBy(t, serve(handlers), gateBatches, OrderBy(byType), Workers(1)) })
		if more := (byServe - byRun) / (gateBatches * gateBatch); more > 0.1 {
			t.Errorf("%d handlers: %.2f more allocations per message than Run's", handlers, more)
		}
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
