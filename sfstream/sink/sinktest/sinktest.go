package sinktest

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sink"
)

// Queue is a sink over its engine, with what [Run] has to know of it. The queue is empty at first.
type Queue struct {
	Sink sink.Sink

	// Read returns all entries of the queue, those of each key in the order in which a reader gets
	// them. It is called when no Send runs.
	Read func(ctx context.Context) ([]Entry, error)

	// Cut breaks the connections between the sink and its engine, as a network does, also while a
	// Send runs. What the sink connects afterwards works. nil: there is no connection.
	Cut func()

	// Store makes the replay store of a program, for sinks that write the marker themselves. nil:
	// they do not, and markers are kept in memory.
	Store func() replaystore.Store
}

func (q Queue) store() replaystore.Store {
	if q.Store == nil {
		return replaystore.NewMemory()
	}
	return q.Store()
}

// Entry is what the queue has of a record.
type Entry struct {
	ID    string
	Value []byte
}

// Run tests what [sink.Sink] demands: 50,000 events (fewer under the race detector, and with -short)
// are forwarded by programs that are ended and killed while connections are cut, and each event is
// in the queue afterwards, in order per key by first occurrence, as it was, and with the same id in
// each copy. open is called for each test; it ends the sink and the engine by t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) Queue) {
	for _, test := range []struct {
		sentence string
		run      func(t *testing.T, q Queue)
	}{
		{"records are in the queue as they were sent", values},
		{"a Send whose ctx has ended returns, and the next one works", ended},
		{"no event is lost, overtaken or renamed in a storm", storm},
	} {
		t.Run(test.sentence, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// values: all envelopes, and a large value.
func values(t *testing.T, q Queue) {
	org := newOrg(t, 20)
	_, err := org.Publish(orders, map[string]any{"Number__c": string(bytes.Repeat([]byte("0123456789"), 10_000))})
	must(t, err)
	sent := make(map[string][][]byte) // by ID
	for e := sink.JSON; e <= sink.CloudEventsBinary && (e == sink.JSON || q.Store == nil); e++ {
		r := &recorder{to: q.Sink, want: 21, keys: make(map[string]string), acked: make(map[string]bool)}
		r.saw = func(record sink.Record) { sent[record.ID] = append(sent[record.ID], bytes.Clone(record.Value)) }
		forward(t, follow(t.Context(), t, org, q.store()), r, sink.WithEnvelope(e))
	}
	got := make(map[string]int)
	for _, entry := range read(t, q) {
		matches := false
		for _, value := range sent[entry.ID] {
			matches = matches || bytes.Equal(value, entry.Value)
		}
		if got[entry.ID]++; !matches {
			t.Errorf("the queue has a value of %q that was not sent: %.200q", entry.ID, entry.Value)
		}
	}
	if len(got) != 21 {
		t.Errorf("the queue has %d ids of 21", len(got))
	}
}

// ended: a Send that has no time left.
func ended(t *testing.T, q Queue) {
	org := newOrg(t, 10)
	r := &recorder{to: q.Sink, want: 10, keys: make(map[string]string), acked: make(map[string]bool)}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	first := true
	r.before = func(records []sink.Record) {
		if !first {
			return
		}
		first = false
		began := time.Now()
		_ = q.Sink.Send(over, records) // it may have had the time
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("Send returned %v after its ctx had ended", took)
		}
	}
	forward(t, follow(t.Context(), t, org, q.store()), r)
	check(t, q, r, 10)
}

// stormCuts is how often connections are cut in a storm: by progress, for what is slow is not to be
// cut more often.
const stormCuts = 25

// storm: programs that are ended and killed, connections that are cut.
func storm(t *testing.T, q Queue) {
	events := stormEvents
	if testing.Short() {
		events = shortEvents
	}
	org := newOrg(t, events)
	r := &recorder{to: q.Sink, want: events, keys: make(map[string]string), acked: make(map[string]bool)}
	kept := replaystore.NewMemory()
	ctx, finish := context.WithTimeout(t.Context(), 2*time.Minute)
	defer finish()
	var cuts sync.WaitGroup
	defer cuts.Wait()
	if q.Cut != nil {
		r.cut = make(chan struct{}, 1)
		cuts.Go(func() { // ends with ctx; awaited above
			for {
				select {
				case <-r.cut:
					q.Cut() // while the next Send runs
				case <-ctx.Done():
					return
				}
			}
		})
	}
	// What a sink that writes markers has committed without knowing does not come to the next program.
	done := func() bool { return r.done() || q.Store != nil && len(read(t, q)) >= events }
	for program := 0; ctx.Err() == nil && !done(); program++ {
		var store replaystore.Store = kept
		if q.Store != nil {
			store = q.Store()
		} else if program%3 == 1 { // it is killed, and what it saves is lost
			store = clone(t, kept)
		}
		run, end := context.WithTimeout(ctx, time.Duration(300+200*program)*time.Millisecond)
		r.finish = end
		client, lanes := follow(ctx, t, org, store), 1+program%2*3
		if q.Store != nil { // a marker is that of one order
			lanes = 1
		}
		err := sink.Forward(run, client, r, sink.WithLanes(lanes), sink.WithBatch(200, 1<<20),
			sink.WithBackOff(func() backoff.BackOff { return backoff.NewConstantBackOff(2 * time.Millisecond) }))
		if err = errors.Join(err, client.Close()); err != nil {
			t.Error(err)
		}
		end()
	}
	finish()
	check(t, q, r, events)
}

// check compares the queue with the numbers that were published and the keys that were sent.
func check(t *testing.T, q Queue, r *recorder, events int) {
	t.Helper()
	ids, last, copies := make(map[int]string), make(map[string]int), 0
	for _, entry := range read(t, q) {
		n, err := number(entry.Value)
		must(t, err)
		if id, again := ids[n]; again {
			if copies++; id != entry.ID {
				t.Errorf("event %d is in the queue as %q and as %q", n, id, entry.ID)
			}
			continue
		}
		ids[n] = entry.ID
		key, sent := r.keys[entry.ID]
		if !sent {
			t.Fatalf("the queue has %q, which was not sent", entry.ID)
		}
		if before, ok := last[key]; ok && before > n {
			t.Errorf("event %d of %s is behind event %d", n, key, before)
		}
		last[key] = n
	}
	if len(ids) != events {
		t.Errorf("%d of %d events are in the queue", len(ids), events)
	}
	t.Logf("%d events, %d copies, %d sends", len(ids), copies, r.sends)
}

func read(t *testing.T, q Queue) []Entry {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	entries, err := q.Read(ctx)
	must(t, err)
	return entries
}

// forward runs a Forward until all events are acked.
func forward(t *testing.T, client *sfstream.Client, r *recorder, opts ...sink.Option) {
	t.Helper()
	ctx, finish := context.WithTimeout(t.Context(), time.Minute)
	defer finish()
	r.finish = finish
	must(t, sink.Forward(ctx, client, r, opts...))
	must(t, client.Close())
	if !r.done() {
		t.Fatal("not all events were acked within a minute")
	}
}

// clone is a store with the markers of another.
func clone(t *testing.T, from *replaystore.Memory) *replaystore.Memory {
	t.Helper()
	to := replaystore.NewMemory()
	all, err := from.All(t.Context())
	must(t, err)
	for key, marker := range all {
		must(t, to.Save(t.Context(), map[replaystore.Key]replaystore.Marker{key: marker}))
	}
	return to
}

// A recorder is a sink that notes what passes through it, and ends a Forward when all is acked.
type recorder struct {
	to     sink.Sink
	want   int
	saw    func(sink.Record)   // called for each record; nil: nobody
	before func([]sink.Record) // called before each Send; nil: nobody
	cut    chan struct{}       // told after each part of what is wanted; nil: nobody
	finish context.CancelFunc

	mu    sync.Mutex
	keys  map[string]string // by ID
	acked map[string]bool   // by ID
	sends int
}

// Send implements [sink.Sink].
func (r *recorder) Send(ctx context.Context, records []sink.Record) error {
	if r.before != nil {
		r.before(records)
	}
	r.mu.Lock()
	r.sends++
	for _, record := range records {
		r.keys[record.ID] = record.Key
		if r.saw != nil {
			r.saw(record)
		}
	}
	r.mu.Unlock()
	err := r.to.Send(ctx, records)
	var partial *sink.PartialError
	if err != nil && !errors.As(err, &partial) {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	before := len(r.acked)
	for i, record := range records {
		if partial == nil || partial.Failed[i] == nil {
			r.acked[record.ID] = true
		}
	}
	if part := r.want/stormCuts + 1; len(r.acked)/part > before/part {
		select {
		case r.cut <- struct{}{}:
		default:
		}
	}
	if len(r.acked) >= r.want {
		r.finish()
	}
	return err
}

func (r *recorder) done() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.acked) >= r.want
}
