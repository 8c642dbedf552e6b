package cluster

import (
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

func TestAChannelHasOneLeader(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start("a", []string{lab.Orders})
		w.start("b", []string{lab.Orders})
		w.Pass(10 * time.Second)
		w.publish(lab.Orders, 50)
		first := w.leader(lab.Orders)
		first.end()
		w.publish(lab.Orders, 50)
		w.Pass(time.Second)
		if second := w.leader(lab.Orders); second == first {
			t.Error("nobody has taken over")
		}
		w.expectAll(lab.Orders, 0)
	})
}

func TestTheEngineIsAway(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start("a", []string{lab.Orders})
		w.start("b", []string{lab.Orders})
		w.Pass(10 * time.Second)
		w.publish(lab.Orders, 20)
		w.engine.setAway(true)
		gone := time.Now()
		w.publish(lab.Orders, 300)
		w.engine.setAway(false)
		back := time.Now()
		w.publish(lab.Orders, 20)
		w.Pass(2 * time.Second)
		w.expectAll(lab.Orders, 110) // what was handed out within the lease and not saved
		var first time.Time
		for _, h := range w.handedOut() {
			if h.began.Before(back) && h.began.Sub(gone) > 10*time.Second {
				t.Errorf("%s was handed out %s after the engine had gone", h.id, h.began.Sub(gone))
			}
			if first.IsZero() && !h.began.Before(back) {
				first = h.began
			}
		}
		if took := first.Sub(back); first.IsZero() || took > 2*time.Second {
			t.Errorf("delivery went on %s after the return of the engine", took)
		}
	})
}

func TestAKeyThatIsLostIsPutAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start("a", []string{lab.Orders})
		w.start("b", []string{lab.Orders})
		w.Pass(10 * time.Second)
		w.publish(lab.Orders, 20)
		leader := w.leader(lab.Orders)
		w.Pass(2 * time.Second)
		w.engine.flush()
		w.Pass(10 * time.Second)
		if w.leader(lab.Orders) != leader {
			t.Error("another replica leads")
		}
		key, _ := w.Key(lab.APIOf(t), lab.Orders).MarshalText()
		var entry replaystore.Entry
		value, _, err := w.engine.Get(t.Context(), string(key))
		w.Must(err)
		w.Must(entry.UnmarshalBinary(value))
		if id := w.IDOf(lab.Orders, entry.Marker.ReplayID); id != "20" {
			t.Errorf("the marker is at %q", id)
		}
	})
}
