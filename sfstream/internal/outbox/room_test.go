package outbox

import (
	"math/rand/v2"
	"testing"
)

func granted(w *Waiting) bool {
	if w == nil {
		return true
	}
	select {
	case <-w.Granted:
		return true
	default:
		return false
	}
}

// TestRoomIsBoundedAndGrantedInOrder takes, gives and leaves at random, and compares with a list of
// who has room and who waits.
func TestRoomIsBoundedAndGrantedInOrder(t *testing.T) {
	type one struct {
		w     *Waiting
		bytes int
	}
	for range 300 {
		seed := rand.Uint64()
		r := rand.New(rand.NewPCG(seed, 0))
		room := &Room{Events: 1 + r.IntN(8), Bytes: 1 + r.IntN(100)}
		var all []one
		for range 200 {
			switch {
			case r.IntN(2) == 0 || len(all) == 0:
				bytes := r.IntN(120)
				all = append(all, one{room.Take(bytes), bytes})
			default:
				i := r.IntN(len(all))
				gone := all[i]
				all = append(all[:i], all[i+1:]...)
				if gone.w != nil && r.IntN(2) == 0 || !granted(gone.w) {
					room.Leave(gone.w)
				} else {
					room.Give(1, gone.bytes)
				}
			}
			events, bytes, waits, next := 0, 0, false, 0
			for _, o := range all {
				switch {
				case granted(o.w) && waits:
					t.Fatalf("seed %d: granted before an older one", seed)
				case granted(o.w):
					events, bytes = events+1, bytes+o.bytes
				case !waits:
					waits, next = true, o.bytes
				}
			}
			if events > room.Events || bytes > room.Bytes && events > 1 {
				t.Fatalf("seed %d: %d events and %d bytes have room, bounds %d and %d", seed, events, bytes, room.Events, room.Bytes)
			}
			if waits && (events == 0 || events < room.Events && bytes+next <= room.Bytes) || waits != room.Crowded() {
				t.Fatalf("seed %d: one of %d bytes waits beside %d events and %d bytes, crowded %v", seed, next, events, bytes, room.Crowded())
			}
		}
	}
}

func TestABoxIsFullWithARequestsWorth(t *testing.T) {
	for _, tc := range []struct {
		most, events, size int
		want               bool
	}{
		{0, 199, 10, false}, {0, 200, 10, true}, {5, 4, 10, false}, {5, 5, 10, true}, {0, 2, 1_400_000, false}, {0, 3, 1_400_000, true},
	} {
		box := &Box[int]{Most: tc.most}
		for range tc.events {
			box.Add(&Event[int]{Payload: make([]byte, tc.size)})
		}
		full := box.Full()
		request := box.Cut(nil)
		if full != tc.want || tc.most > 0 && len(request) > tc.most {
			t.Errorf("%+v: full: %v, a request has %d", tc, full, len(request))
		}
		if box.Return(request); box.Full() != full {
			t.Errorf("%+v: full is %v after a return", tc, box.Full())
		}
	}
}
