package inbox

import (
	"context"
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

// message is one of the tests.
type message struct {
	id   []byte
	date time.Time
	slot Slot[message]
}

// config completes that of a test.
func config(cfg Config[message]) Config[message] {
	cfg.MaxCredit, cfg.Held = 100, context.Background()
	cfg.ID = func(m *message) []byte { return m.id }
	cfg.Date = func(m *message) time.Time { return m.date }
	cfg.Log = slog.New(slog.DiscardHandler)
	if cfg.Broken == nil {
		cfg.Broken = func(error) {}
	}
	return cfg
}

// watermarkRig is an inbox with one channel and no server.
type watermarkRig struct {
	t  *testing.T
	in *Inbox[message]
	ch *Channel[message]

	store *replaystore.Memory
	first time.Time
	model []modelEntry
}

// modelEntry is one place in the order of arrival, in a model too simple to be wrong: the watermark
// is at the end of the handled ones that come first.
type modelEntry struct {
	id      string
	live    time.Time
	reset   bool
	handled bool
	m       *message
}

func newWatermarkRig(t *testing.T) *watermarkRig {
	store := replaystore.NewMemory()
	in := New(config(Config[message]{Policy: SettleOnAck, Prefetch: 1 << 30, Save: store.Save}))
	ch := in.Channel("/event/A__e", replaystore.Key{Channel: "/event/A__e"})
	return &watermarkRig{t: t, in: in, ch: ch, store: store, first: time.Now()}
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

// check compares the watermark with the model, and its size with what is unhandled.
func (r *watermarkRig) check(step int, did string) {
	r.t.Helper()
	w := &r.ch.watermark
	id, live := r.want()
	if string(w.current.replayID(w.cfg)) != id || !w.current.Live.Equal(live) {
		r.t.Fatalf("step %d, %s: the watermark is at %q, live %v; want %q, %v", step, did,
			w.current.replayID(w.cfg), w.current.Live.Sub(r.first), id, live.Sub(r.first))
	}
	var before *Slab[message]
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
			batch := make([]message, 1+random.IntN(6))
			slab := r.ch.Slab(batch, false)
			for i := range batch {
				m := &batch[i]
				m.slot = slab.Slot(i)
				e := modelEntry{m: m, live: r.ch.evidence.Live}
				if random.IntN(5) > 0 {
					e.id = nextID()
					m.id = []byte(e.id)
				}
				switch random.IntN(8) {
				case 0:
					slab.Skip(i)
					e.handled, e.id = true, ""
				case 1:
					slab.Duplicate(i)
					continue // it has no place
				}
				if e.id != "" {
					slab.Place(i)
				}
				r.model = append(r.model, e)
			}
			r.ch.Push(slab, time.Now())
		case op == 4:
			did = "keepalive"
			e := modelEntry{id: nextID(), live: time.Now(), handled: true}
			r.ch.Keepalive([]byte(e.id), Evidence{Live: e.live})
			r.model = append(r.model, e)
		case op == 5 && random.IntN(10) == 0:
			did = "fallback"
			e := modelEntry{live: time.Now(), reset: true, handled: true}
			r.ch.Restart(e.live, false)
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
				r.model[i].m.slot.Ack() // a second time, too
				r.model[i].handled = true
			}
		}
		r.check(step, did)
	}
	for i := range r.model { // and all that is left, from the newest on
		if e := &r.model[len(r.model)-1-i]; !e.handled {
			e.m.slot.Ack()
			e.handled = true
			r.check(i, "ack at the end")
		}
	}
	close(r.ch.accepted)
	r.in.MarkQuiet(r.ch) // as Close does
	if err := r.in.Flush(t.Context(), time.Second); err != nil {
		t.Error(err)
	}
	saved, err := r.store.Load(t.Context(), r.ch.Key)
	if want, _ := r.want(); err == nil && string(saved.ReplayID) != want || err != nil && want != "" {
		t.Errorf("saved %q, %v; want %q", saved.ReplayID, err, want)
	}
	if r.ch.queued != 0 || r.ch.unacked != 0 || r.in.queued != 0 {
		t.Errorf("%d queued, %d in all, %d out when all is handled", r.ch.queued, r.in.queued, r.ch.unacked)
	}
}

// TestWatermarkStaysSmallBehindOneUnacked acks a million messages above one that is not.
func TestWatermarkStaysSmallBehindOneUnacked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newWatermarkRig(t)
		heap := func() uint64 {
			runtime.GC()
			var stats runtime.MemStats
			runtime.ReadMemStats(&stats)
			return stats.HeapAlloc
		}
		var oldest *message
		before := heap()
		for batch := range 10_000 {
			messages := make([]message, 100)
			slab := r.ch.Slab(messages, false)
			for i := range messages {
				messages[i] = message{id: fmt.Appendf(nil, "%d", batch*100+i), slot: slab.Slot(i)}
				slab.Place(i)
			}
			r.ch.Push(slab, time.Now())
			for range messages {
				if m := r.in.Next(); oldest == nil {
					oldest = m
				} else {
					m.slot.Ack()
				}
			}
		}
		if grown := int64(heap()) - int64(before); grown > 1<<20 {
			t.Errorf("the heap has grown by %d bytes", grown)
		}
		if n := r.ch.unacked; n != 1 {
			t.Errorf("%d are out, want 1", n)
		}
		if id := r.ch.watermark.current.replayID(&r.in.cfg); id != nil {
			t.Errorf("the watermark is at %q, past the unacked message", id)
		}
		w := &r.ch.watermark
		if w.head == nil || &w.head.messages[w.head.passed] != oldest || w.head.after == nil || w.head.after.after != nil {
			t.Error("the acked ones are not one entry behind the unacked one")
		}
		oldest.slot.Ack()
		if id := r.ch.watermark.current.replayID(&r.in.cfg); string(id) != "999999" {
			t.Errorf("the watermark is at %q, want the last one", id)
		}
		if w.head != nil || w.tail != nil {
			t.Error("entries are left though all is handled")
		}
		if err := r.in.Flush(t.Context(), time.Second); err != nil {
			t.Error(err)
		}
	})
}

// What is handled is remembered of one replay id, the first one behind the mark.
func TestAMarkRemembersOneGroup(t *testing.T) {
	cfg := config(Config[message]{})
	event := func(id string) *message { return &message{id: []byte(id)} }
	var m mark[message]
	m.handle(&cfg, event("101"), 1, false)
	m.handle(&cfg, event("102"), 2, false)
	m.handle(&cfg, event("101"), 3, false)
	if got := m.marker(&cfg).Group; string(got.ReplayID) != "101" || !slices.Equal(got.Handled, []uint64{1, 3}) {
		t.Errorf("the marker remembers %v of %s, want 1 and 3 of 101", got.Handled, got.ReplayID)
	}
}
