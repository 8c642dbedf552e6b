package sfstream

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream/internal/avro"
	"github.com/sfstream/sfstream-go/sfstream/internal/bayeux"
)

// The path of a message from its batch to the loop allocates per batch, not per
// message. What grpc and its codec allocate before that, BenchmarkReceive shows.

const (
	gateBatch   = 100
	gateBatches = 100
)

// newGate is a feed with nothing below it.
func newGate(t *testing.T) (*feed, *delivery) {
	d := &delivery{prefetch: gateBatch * (gateBatches + 2), ready: make(chan struct{}, 1)}
	d.saver = newSaver(d, &config{store: replaystore.NewMemory(), log: slog.New(slog.DiscardHandler)}, func(err error) { t.Error(err) })
	t.Cleanup(func() { _ = d.saver.close(time.Second, nil) })
	c := &Client{delivery: d}
	return &feed{client: c, sub: newSubscription(d, "/event/Order__e", replaystore.Key{})}, d
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
	f, _ := newGate(t)
	f.duplicates.ring = make([]arrival, 0, remembered)
	arriving := batches()
	perBatch := testing.AllocsPerRun(gateBatches, func() {
		f.deliver(arriving[0].messages, false)
		arriving = arriving[1:]
	})
	if perBatch > 2 { // the entries and the run
		t.Errorf("%v allocations per batch of %d messages", perBatch, gateBatch)
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
			f, d := newGate(t)
			d.ackWith = test.policy
			for _, b := range batches() {
				f.deliver(b.messages, false)
			}
			// Per batch, because AllocsPerRun rounds down.
			perBatch := testing.AllocsPerRun(gateBatches, func() {
				for range gateBatch {
					m := d.next()
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

func TestDateAllocatesNothing(t *testing.T) {
	schema, err := avro.Parse(`{"type": "record", "name": "Order__e", "fields": [
		{"name": "City__c", "type": ["null", "string"], "default": null},
		{"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	const ms = 1_767_225_600_000
	m := &Message{schema: schema, payload: binary.AppendVarint([]byte("\x02\x08Lyon"), ms)}
	if got := m.Date().UnixMilli(); got != ms {
		t.Fatalf("Date is %d, want %d", got, ms)
	}
	if n := testing.AllocsPerRun(100, func() { m.Date() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Over the Streaming API a slab of events costs its messages and its place in the
// session's queue; what is read of an event is cut from the reply.
func TestReceivingOverCometDAllocatesPerSlabOnly(t *testing.T) {
	_, d := newGate(t)
	sub := newSubscription(d, "/topic/Accounts", replaystore.Key{API: apiCometD, Channel: "/topic/Accounts"})
	s := &cometdSession{ready: make(chan struct{}, 1), channels: map[string]*cometdChannel{"/topic/Accounts": {sub: sub, accepted: true}}}
	slab := make([]bayeux.Event, 256)
	for i := range slab {
		slab[i] = bayeux.Event{Channel: sub.channel, Data: fmt.Appendf(nil,
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
