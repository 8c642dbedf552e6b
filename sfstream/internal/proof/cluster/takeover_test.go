package cluster

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/cluster"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// lastBefore and firstAfter are hand-outs of a replica and of the others.
func (w *world) change(from *replica, since time.Time) (last, first handout) {
	for _, h := range w.handedOut() {
		switch {
		case h.replica == from.name:
			last = h
		case first.began.IsZero() && h.began.After(since):
			first = h
		}
	}
	return last, first
}

func TestALeaderThatIsCutOffIsReplaced(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.startThree(lab.Orders)
		w.publish(lab.Orders, 20)
		old := w.leader(lab.Orders)
		old.wire.setCut(true)
		cut := time.Now()
		w.publish(lab.Orders, 150)
		w.Pass(time.Second)
		last, first := w.change(old, cut)
		if took := first.began.Sub(cut); first.began.IsZero() || took > 12*time.Second {
			t.Errorf("the first message of another came %s after the cut", took)
		}
		if d := last.began.Sub(cut); d > 9*time.Second || !last.began.Before(first.began) {
			t.Errorf("the last message of the old leader was handed out after %s", d)
		}
		w.expectAll(lab.Orders, 100)
		old.wire.setCut(false)
		w.publish(lab.Orders, 20)
		if w.leader(lab.Orders) == old {
			t.Error("the old leader has taken the channel back")
		}
		w.expectAll(lab.Orders, 100)
	})
}

// The context of a handler ends with the lease, and a replica whose handler goes on all the same
// takes no part for this channel.
func TestAHandlerThatRunsKeepsItsReplicaFromLeading(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		held := make(chan struct{})
		var cancelled time.Time
		w.start("a", []string{lab.Orders}, func(ctx context.Context, r *replica, m *sfstream.Message) error {
			<-ctx.Done()
			cancelled = time.Now()
			<-held
			return nil
		})
		w.Pass(10 * time.Second)
		a := w.leader(lab.Orders)
		w.publish(lab.Orders, 1)
		a.wire.setCut(true)
		cut := time.Now()
		w.Pass(30 * time.Second)
		a.wire.setCut(false)
		w.Pass(30 * time.Second)
		if d := cancelled.Sub(cut); cancelled.IsZero() || d > 9*time.Second {
			t.Errorf("the handler's context was cancelled after %s", d)
		}
		if len(a.leads()) > 0 {
			t.Error("it leads while a handler of before runs")
		}
		close(held)
		w.Pass(5 * time.Second)
		w.leader(lab.Orders)
	})
}

func TestAHandlersErrorEndsTheReplicaAndAnotherTakesOver(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		failure := errors.New("disk full")
		w.start("a", []string{lab.Orders}, func(ctx context.Context, r *replica, m *sfstream.Message) error { return failure })
		w.Pass(10 * time.Second)
		a := w.leader(lab.Orders)
		w.start("b", []string{lab.Orders}, nil)
		w.Pass(5 * time.Second)
		w.publish(lab.Orders, 1)
		<-a.done
		if !errors.Is(a.err, failure) {
			t.Errorf("it has ended with %v", a.err)
		}
		w.Pass(3 * time.Second)
		if b := w.leader(lab.Orders); b == a {
			t.Error("nobody has taken over")
		}
		w.expectAll(lab.Orders, 1)
	})
}

// Somebody else writes the key: the leader is deposed by its next put.
func TestADeposedLeaderSavesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.start("a", []string{lab.Orders}, nil)
		w.Pass(10 * time.Second)
		w.publish(lab.Orders, 5)
		key, _ := w.Key(lab.APIOf(t), lab.Orders).MarshalText()
		_, rev, err := w.engine.Get(t.Context(), string(key))
		w.Must(err)
		usurper, err := replaystore.Entry{Owner: "x", Incarnation: "y", Lease: 10 * time.Second, Counter: 1000}.MarshalBinary()
		w.Must(err)
		mine, err := w.engine.Put(t.Context(), string(key), usurper, rev)
		w.Must(err)
		w.publish(lab.Orders, 50)
		if _, rev, err := w.engine.Get(t.Context(), string(key)); err != nil || rev != mine {
			t.Errorf("the key was put: %s, %v", rev, err)
		}
		events := a.history()
		if last := events[len(events)-1]; last.state != cluster.StateStandby || !errors.Is(last.err, replaystore.ErrConflict) {
			t.Errorf("it has ended with %+v", last)
		}
	})
}

// A handler is still busy when its replica is stopped. The lease goes on, and another replica begins
// when the handler has returned.
func TestTheNextLeaderWaitsForTheHandlersOfTheOld(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		busy := func(ctx context.Context, r *replica, m *sfstream.Message) error {
			<-time.After(45 * time.Second)
			return nil
		}
		a := w.start("a", []string{lab.Orders}, busy)
		w.Pass(10 * time.Second)
		b := w.start("b", []string{lab.Orders}, nil)
		w.Pass(10 * time.Second)
		w.publish(lab.Orders, 2)
		a.stop()
		w.Pass(40 * time.Second)
		if len(b.leads()) > 0 {
			t.Error("the other leads beside the handler")
		}
		w.Pass(10 * time.Second)
		if len(b.leads()) == 0 {
			t.Error("nobody has taken over")
		}
		w.expectAll(lab.Orders, 0)
	})
}

// The reply to the put that takes a channel may come after the replica is told to stop.
func TestAReplicaThatStopsWhileItTakesLeavesTheChannelFree(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.start("a", []string{lab.Orders}, nil)
		a.wire.setSlow(time.Second)
		for a.Status().Channels[0].State != cluster.StateTaking {
			w.Pass(100 * time.Millisecond)
		}
		w.Pass(500 * time.Millisecond)
		if a.end(); a.err != nil {
			t.Error(a.err)
		}
		b := w.start("b", []string{lab.Orders}, nil)
		w.Pass(2 * time.Second)
		if len(b.leads()) == 0 {
			t.Error("the channel is still the stopped replica's")
		}
	})
}

// An engine may lose what it has acknowledged, and have an older value again: one that was nobody's,
// or of a leadership that has ended. Whoever has seen the later one knows that its owner may lead.
func TestAnEngineThatGoesBackFreesNoChannel(t *testing.T) {
	for _, way := range []string{"released", "of an ended leadership"} {
		t.Run(way, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.startThree(lab.Orders)
				w.publish(lab.Orders, 20)
				old := w.leader(lab.Orders)
				if way == "released" {
					old.end()
				} else {
					old.wire.setCut(true)
				}
				before := w.engine.history()[len(w.engine.history())-1]
				w.Pass(30 * time.Second)
				old.wire.setCut(false)
				w.Pass(10 * time.Second)
				leader := w.leader(lab.Orders)
				leader.wire.setCut(true)
				cut := time.Now()
				w.engine.goBack(t, before)
				w.publish(lab.Orders, 200)
				if last, first := w.change(leader, cut); first.began.Before(last.ended) {
					t.Errorf("another hands out after %s, and the leader for %s", first.began.Sub(cut), last.ended.Sub(cut))
				}
				w.expectAll(lab.Orders, 250)
			})
		})
	}
}

// That a key has no value can come again, unlike a revision: a standby that was cut off meanwhile
// does not know that a leader has put it in between.
func TestAKeyThatIsLostTwiceBelongsToItsLeader(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.start("a", []string{lab.Orders}, nil)
		w.Pass(10 * time.Second)
		b := w.start("b", []string{lab.Orders}, nil)
		w.Pass(10 * time.Second)
		lose := func() { // right after a put: the leader does not know it for a third of the lease
			for n := len(w.engine.history()); len(w.engine.history()) == n; {
				w.Pass(50 * time.Millisecond)
			}
			history := w.engine.history()
			w.Must(w.engine.values.Delete(t.Context(), history[len(history)-1].key))
		}
		lose()
		w.Pass(2500 * time.Millisecond)
		b.wire.setCut(true)
		w.Pass(15 * time.Second)
		lose()
		b.wire.setCut(false)
		w.Pass(15 * time.Second)
		for _, e := range b.history() {
			t.Errorf("the standby is %s at %s", e.state, clock(e.at))
		}
		if got := w.leader(lab.Orders); got != a {
			t.Errorf("%s leads", got.name)
		}
	})
}

// The engine loses everything, and the leader is cut off from it. A process that has just begun
// cannot know that there is one: it waits for as long as a leader may go on.
func TestAFreshProcessWaitsForALeaderItCannotKnow(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.start("a", []string{lab.Orders}, nil)
		w.Pass(20 * time.Second)
		w.publish(lab.Orders, 20)
		for _, p := range w.engine.history() {
			w.Must(w.engine.values.Delete(t.Context(), p.key))
		}
		a.wire.setCut(true)
		cut := time.Now()
		w.start("b", []string{lab.Orders}, nil)
		w.publish(lab.Orders, 120)
		last, first := w.change(a, cut)
		if first.began.IsZero() || first.began.Before(last.ended) {
			t.Errorf("it hands out after %s, and the leader for %s", first.began.Sub(cut), last.ended.Sub(cut))
		}
	})
}
