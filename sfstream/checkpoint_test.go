package sfstream

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// watermarkRig is a delivery with one subscription and no server.
type watermarkRig struct {
	t   *testing.T
	d   *delivery
	sub *subscription

	first time.Time
	model []modelEntry
}

// modelEntry is one place in the order of arrival, in a model too simple to be
// wrong: the watermark is at the end of the handled ones that come first.
type modelEntry struct {
	id      string
	live    time.Time
	reset   bool
	handled bool
	m       *Message
}

func newWatermarkRig(t *testing.T) *watermarkRig {
	d := &delivery{prefetch: 1 << 30, ackWith: AckManual, ready: make(chan struct{}, 1)}
	d.saver = newSaver(d, &config{store: replaystore.NewMemory(), log: slog.New(slog.DiscardHandler)}, func(error) {})
	sub := newSubscription(d, "/event/A__e", replaystore.Key{Channel: "/event/A__e"})
	return &watermarkRig{t: t, d: d, sub: sub, first: time.Now()}
}

// want is the model's watermark.
func (r *watermarkRig) want() (id string, live time.Time) {
	for _, e := range r.model {
		if !e.handled {
			break
		}
		if live = e.live; e.id != "" || e.reset {
			id = e.id
		}
	}
	return id, live
}

// check compares the watermark with the model, and its size with what is
// unhandled.
func (r *watermarkRig) check(step int, did string) {
	r.t.Helper()
	w := &r.sub.watermark
	id, live := r.want()
	if string(w.current.replayID()) != id || !w.current.live.Equal(live) {
		r.t.Fatalf("step %d, %s: the watermark is at %q, live %v; want %q, %v", step, did,
			w.current.replayID(), w.current.live.Sub(r.first), id, live.Sub(r.first))
	}
	var before *run
	for in := w.head; in != nil; before, in = in, in.after {
		unhandled := 0
		for i := in.passed; i < len(in.states); i++ {
			if in.states[i]&handled == 0 {
				unhandled++
			}
		}
		switch {
		case in.unhandled != unhandled:
			r.t.Fatalf("step %d, %s: %d are unhandled, and not %d", step, did, unhandled, in.unhandled)
		case in.before != before:
			r.t.Fatalf("step %d, %s: the list is broken", step, did)
		case before == nil && (unhandled == 0 || in.states[in.passed]&handled != 0):
			r.t.Fatalf("step %d, %s: the head is handled", step, did)
		case before != nil && unhandled == 0 && before.unhandled == 0:
			r.t.Fatalf("step %d, %s: two neighbours are handled", step, did)
		case unhandled == 0 && in.messages != nil:
			r.t.Fatalf("step %d, %s: a handled run keeps its messages", step, did)
		}
	}
	if w.tail != before {
		r.t.Fatalf("step %d, %s: the list's tail is not its end", step, did)
	}
}

// TestWatermarkIsTheHandledPrefix does random things and compares with the model.
func TestWatermarkIsTheHandledPrefix(t *testing.T) {
	for range 30 {
		seed := rand.Uint64()
		synctest.Test(t, func(t *testing.T) {
			defer tellSeed(t, seed)
			watermarkIsPrefix(t, seed)
		})
	}
}

// tellSeed is deferred in the bubble: synctest.Test does not return where that fails.
func tellSeed(t *testing.T, seed uint64) {
	if t.Failed() {
		t.Logf("seed %d", seed)
	}
}

func watermarkIsPrefix(t *testing.T, seed uint64) {
	r := newWatermarkRig(t)
	random := rand.New(rand.NewPCG(seed, 0))
	ids := 0
	nextID := func() string { ids++; return fmt.Sprintf("id %d", ids) }
	lazy := random.IntN(10) // how seldom messages are handled
	for step := range 400 {
		<-time.After(time.Duration(1+random.IntN(1000)) * time.Millisecond)
		did := ""
		switch op := random.IntN(12); {
		case op < 4:
			did = "push"
			batch := make([]Message, 1+random.IntN(6))
			for i := range batch {
				m := &batch[i]
				e := modelEntry{m: m, live: r.sub.live}
				if random.IntN(5) > 0 {
					e.id = nextID()
					m.ReplayID = []byte(e.id)
				}
				switch random.IntN(8) {
				case 0:
					m.fate, e.handled, e.id = fateSkip, true, ""
				case 1:
					m.fate = fateDuplicate
					continue // it has no place
				}
				m.placed = e.id != ""
				r.model = append(r.model, e)
			}
			r.d.push(r.sub, batch, nil, time.Now())
		case op == 4:
			did = "keepalive"
			e := modelEntry{id: nextID(), live: time.Now(), handled: true}
			r.d.keepalive(r.sub, []byte(e.id), e.live, true)
			r.model = append(r.model, e)
		case op == 5 && random.IntN(10) == 0:
			did = "fallback"
			e := modelEntry{live: time.Now(), reset: true, handled: true}
			r.d.restart(r.sub, e.live, false)
			r.model = append(r.model, e)
		default:
			did = "ack"
			var open []int
			for i, e := range r.model {
				if e.m != nil && !e.handled {
					open = append(open, i)
				}
			}
			for range 1 + len(open)/(1+lazy) {
				if len(open) == 0 {
					break
				}
				i := open[random.IntN(len(open))]
				r.d.ack(r.model[i].m) // a second time, too
				r.model[i].handled = true
			}
		}
		r.check(step, did)
	}
	for i := range r.model { // and all that is left, from the newest on
		if e := &r.model[len(r.model)-1-i]; !e.handled {
			r.d.ack(e.m)
			e.handled = true
			r.check(i, "ack at the end")
		}
	}
	r.sub.accepted = true
	r.d.saver.markQuiet(r.sub) // as Close does
	if err := r.d.saver.flush(time.Second); err != nil {
		t.Error(err)
	}
	saved, err := r.d.saver.store.Load(t.Context(), r.sub.key)
	if want, _ := r.want(); err == nil && string(saved.ReplayID) != want || err != nil && want != "" {
		t.Errorf("saved %q, %v; want %q", saved.ReplayID, err, want)
	}
	if r.sub.queued != 0 || r.sub.out != 0 || r.d.queued != 0 {
		t.Errorf("%d queued, %d in all, %d out when all is handled", r.sub.queued, r.d.queued, r.sub.out)
	}
}

// TestWatermarkStaysSmallBehindOneUnacked acks a million messages above one that
// is not.
func TestWatermarkStaysSmallBehindOneUnacked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newWatermarkRig(t)
		heap := func() uint64 {
			runtime.GC()
			var stats runtime.MemStats
			runtime.ReadMemStats(&stats)
			return stats.HeapAlloc
		}
		var oldest *Message
		before := heap()
		for batch := range 10_000 {
			messages := make([]Message, 100)
			for i := range messages {
				messages[i].ReplayID, messages[i].placed = fmt.Appendf(nil, "%d", batch*100+i), true
			}
			r.d.push(r.sub, messages, nil, time.Now())
			for range messages {
				if m := r.d.next(); oldest == nil {
					oldest = m
				} else {
					r.d.ack(m)
				}
			}
		}
		if grown := int64(heap()) - int64(before); grown > 1<<20 {
			t.Errorf("the heap has grown by %d bytes", grown)
		}
		if n := r.sub.out; n != 1 {
			t.Errorf("%d are out, want 1", n)
		}
		if id := r.sub.watermark.current.replayID(); id != nil {
			t.Errorf("the watermark is at %q, past the unacked message", id)
		}
		r.d.ack(oldest)
		if id := r.sub.watermark.current.replayID(); string(id) != "999999" {
			t.Errorf("the watermark is at %q, want the last one", id)
		}
		if w := &r.sub.watermark; w.head != nil || w.tail != nil {
			t.Error("entries are left though all is handled")
		}
		if err := r.d.saver.flush(time.Second); err != nil {
			t.Error(err)
		}
	})
}

// Behind one unacked message a million acked ones take no memory.
func TestOneUnackedMessageHoldsAMillionInNoMemory(t *testing.T) {
	f, d := newGate(t)
	d.ackWith = AckManual
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
		f.deliver(messages, false)
		for m := d.next(); m != nil; m = d.next() {
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
	w := &f.sub.watermark
	if w.head == nil || &w.head.messages[w.head.passed] != oldest || w.head.after == nil || w.head.after.after != nil || len(w.current.replayID()) > 0 {
		t.Error("the acked ones are not one entry behind the unacked one")
	}
	oldest.Ack()
	if at := binary.BigEndian.Uint64(w.current.replayID()); at != id {
		t.Errorf("the watermark is at %d, want %d", at, id)
	}
}

// What is handled is remembered of one replay id, the first one behind the mark.
func TestAMarkRemembersOneGroup(t *testing.T) {
	event := func(id string) *Message {
		return &Message{ReplayID: []byte(id), codec: new(codec), payload: []byte(`{}`)}
	}
	var m mark
	m.handle(event("101"), 1)
	m.handle(event("102"), 2)
	m.handle(event("101"), 3)
	if got := m.marker().Group; string(got.ReplayID) != "101" || !slices.Equal(got.Handled, []uint64{1, 3}) {
		t.Errorf("the marker remembers %v of %s, want 1 and 3 of 101", got.Handled, got.ReplayID)
	}
}
