package contract

import (
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// memoryRules are rule 8: WithPrefetch bounds what a client holds, and a slow body costs nothing
// but time.
func memoryRules() []rule {
	rules := []rule{
		// Pub/Sub API only: one reply of CometD may pass the bound; it has rules of its own.
		{number: 8, words: "a blocked body stops the demand after the prefetch", run: blockedBody, only: sfstream.PubSub},
		{number: 8, words: "a stream that the server closes meanwhile is resumed silently", run: idleClosed},
		{number: 8, words: "a slow body loses nothing over a day", run: slowBody},
		// Pub/Sub API only: a CometD session stops polling for all channels; it has rules of its
		// own.
		{number: 8, words: "the bound is per channel", run: boundPerChannel, only: sfstream.PubSub},
		// Pub/Sub API only: CometD has no credit; it has rules of its own.
		{number: 8, words: "break does not raise the demand", run: breakKeepsBound, only: sfstream.PubSub},
		{number: 8, words: "Pending counts what is received and not handed out", run: pendingCounts},
		// Pub/Sub API only: CometD has no credit; it has rules of its own.
		{number: 8, words: "under AckManual a channel at the bound waits for Ack", run: manualBound, only: sfstream.PubSub},
		{number: 8, words: "Status shows the oldest unacked message, with one Warn after a minute at the bound", run: manualWarns},
		{number: 8, words: "under AckManual a message acked while it waits makes room", run: manualAckedAfterWithdrawal},
		// Pub/Sub API only: it counts credit.
		{number: 8, words: "memory grows with unacked messages and not with those after them", run: manualMemory, only: sfstream.PubSub},
		{number: 8, words: "room that is smaller than a step is asked for too", run: manualLittleRoom},
		{number: 8, words: "acking in groups smaller than the prefetch goes on", run: manualGroups},
	}
	for _, policy := range policies {
		// Pub/Sub API only: it counts credit.
		r := rule{number: 8, words: "prefetch %d bounds what is asked for and held under " + policy.String(), only: sfstream.PubSub}
		rules = append(rules, each(r, []int{1, 2, 7, 100, 150, 200, 1000}, func(t *testing.T, prefetch int) { prefetchBounds(t, prefetch, policy) })...)
	}
	return rules
}

// prefetchBounds looks, at every message, at what the server still owes and the client holds: never
// more than the prefetch together, and never more than Salesforce lets a stream have outstanding.
func prefetchBounds(t *testing.T, prefetch int, policy sfstream.AckPolicy) {
	s := lab.New(t, sfstreamtest.WithBatchEvents(9), sfstreamtest.WithOverflowError())
	c := s.FollowFromOldest(sfstream.WithPrefetch(prefetch), sfstream.WithAck(policy))
	total := 2*prefetch + 150
	s.PublishNext(lab.Orders, total)
	var unacked []*sfstream.Message
	var got []string
	bound := func() {
		t.Helper()
		synctest.Wait()
		held := s.Outstanding(lab.Orders) + c.Pending() + len(unacked)
		if held > prefetch {
			t.Fatalf("at message %d: asked for %d + waiting %d + unacked %d = %d, want at most %d", len(got),
				s.Outstanding(lab.Orders), c.Pending(), len(unacked), held, prefetch)
		}
	}
	bound()
	for m := range c.Messages(t.Context()) {
		got = append(got, m.ID)
		if policy == sfstream.AckManual {
			unacked = append(unacked, m)
		}
		if len(got)%5 == 0 || prefetch < 10 {
			bound()
		}
		if len(unacked) == min(prefetch, 20) {
			for i := range unacked {
				unacked[len(unacked)-1-i].Ack()
			}
			unacked = nil
		}
		if len(got) == total {
			m.Ack()
			break
		}
	}
	lab.ExpectIDs(t, got, lab.IDs(1, total))
	if most := s.MaxOutstanding(lab.Orders); most > min(prefetch, 100) {
		t.Errorf("%d were asked for at once, want at most %d", most, min(prefetch, 100))
	}
	if streams := len(s.Subscribes(lab.Orders)); streams != 1 {
		t.Errorf("%d streams, want 1", streams)
	}
}

func blockedBody(t *testing.T) {
	s, c := following(t, 1000, sfstream.WithPrefetch(150))
	for m := range c.Messages(t.Context()) {
		<-time.After(30 * time.Second)
		if got := c.Pending(); got != 150 {
			t.Errorf("%d wait for a blocked body, want the 150 of the prefetch", got)
		}
		if got := s.Outstanding(lab.Orders); got != 0 {
			t.Errorf("%d are asked for beyond the prefetch", got)
		}
		m.Ack()
		break
	}
	lab.ExpectIDs(t, lab.Loop(t, c, 999), lab.IDs(2, 1000))
}

func idleClosed(t *testing.T) {
	for _, prefetch := range []int{1, 30} {
		s, c := following(t, 100, sfstream.WithPrefetch(prefetch))
		var got []string
		for m := range c.Messages(t.Context()) {
			got = append(got, m.ID)
			if len(got)%30 == 1 && len(got) < 70 {
				<-time.After(10 * time.Minute)
				synctest.Wait()
				if n := s.Streams(lab.Orders); n != 0 {
					t.Errorf("%d streams are open without demand", n)
				}
				if state := c.Status().Channels[0].State; state != sfstream.StateParked {
					t.Errorf("the channel is %s, want parked", state)
				}
			}
			if len(got) == 100 {
				m.Ack()
				break
			}
		}
		lab.ExpectIDs(t, got, lab.IDs(1, 100))
		if w := s.Log.Warnings(""); len(w) > 0 {
			t.Errorf("warnings: %v", w)
		}
		if err := c.Status().Channels[0].LastError; err != nil {
			t.Errorf("the status shows %v", err)
		}
		lab.ExpectQuiet(t, c, time.Second)
	}
}

func slowBody(t *testing.T) {
	s := lab.New(t)
	c := s.FollowFromOldest(sfstream.WithPrefetch(5))
	go func() {
		for range 100 {
			s.PublishNext(lab.Orders, 1)
			<-time.After(10 * time.Minute)
		}
	}()
	var got []string
	for m := range c.Messages(t.Context()) {
		<-time.After(14 * time.Minute)
		if got = append(got, m.ID); len(got) == 100 {
			m.Ack()
			break
		}
	}
	lab.ExpectIDs(t, got, lab.IDs(1, 100))
	lab.ExpectQuiet(t, c, time.Second)
}

func boundPerChannel(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 100)
	s.PublishNext(lab.Invoices, 3)
	c := s.FollowFromOldest(sfstream.WithPrefetch(10))
	synctest.Wait()
	lab.Must(t, c.Subscribe(t.Context(), lab.Invoices))
	synctest.Wait()
	if got := c.Pending(); got != 13 {
		t.Errorf("%d wait, want the prefetch of one channel and all 3 of the other", got)
	}
	lab.Loop(t, c, 103)
}

func breakKeepsBound(t *testing.T) {
	s, c := following(t, 100, sfstream.WithPrefetch(10))
	for range 50 {
		for range c.Messages(t.Context()) {
			break
		}
		synctest.Wait()
		if held := c.Pending() + s.Outstanding(lab.Orders); held > 11 { // one was in the body
			t.Fatalf("%d are held", held)
		}
	}
	lab.ExpectIDs(t, lab.Loop(t, c, 100), lab.IDs(1, 100))
}

func pendingCounts(t *testing.T) {
	s := lab.New(t)
	c := s.FollowFromOldest()
	want := func(n int) {
		t.Helper()
		synctest.Wait()
		if got := c.Pending(); got != n {
			t.Errorf("%d pending, want %d", got, n)
		}
	}
	want(0)
	s.PublishNext(lab.Orders, 5)
	want(5)
	lab.Receive(t, c)
	want(4)
	ctx, stop := lab.NewStop(t)
	messages := c.C(ctx)
	want(4) // one is held out
	<-messages
	want(3)
	stop()
	for range messages {
	}
	want(4) // what was taken has come back
	lab.Must(t, c.Unsubscribe(t.Context(), lab.Orders))
	want(0)
	lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
	want(4)
	lab.Must(t, c.Close())
}

func manualBound(t *testing.T) {
	s, c := following(t, 40, sfstream.WithAck(sfstream.AckManual), sfstream.WithPrefetch(10))
	var all []*sfstream.Message
	for range 10 {
		m := receive(t, c)
		all = append(all, m)
	}
	lab.ExpectQuiet(t, c, time.Second)
	<-time.After(time.Hour) // the server ends the stream meanwhile
	lab.ExpectQuiet(t, c, time.Second)
	all[4].Ack()
	m := receive(t, c)
	if m.ID != "11" {
		t.Errorf("got %s, want 11", m.ID)
	}
	lab.ExpectQuiet(t, c, time.Second)
	m.Ack()
	for _, m := range all {
		m.Ack()
	}
	for _, want := range lab.IDs(12, 40) {
		lab.ExpectID(t, c, want)
	}
	lab.Must(t, c.Close())
	s.ExpectSaved("40")
}

func manualWarns(t *testing.T) {
	s, c := following(t, 9, sfstream.WithAck(sfstream.AckManual), sfstream.WithPrefetch(3))
	waits := func(want int) {
		t.Helper()
		synctest.Wait()
		if got := s.Log.Warnings("waits for Ack"); len(got) != want {
			t.Errorf("%d warnings, want %d: %v", len(got), want, got)
		}
	}
	oldest := func(unacked int, want string) {
		t.Helper()
		ch := c.Status().Channels[0]
		got := ""
		if ch.OldestUnacked != nil {
			got = ch.OldestUnacked.ID
		}
		if ch.Unacked != unacked || got != want {
			t.Errorf("the status shows %d unacked from %q on, want %d from %q on", ch.Unacked, got, unacked, want)
		}
	}
	var all []*sfstream.Message
	take := func() {
		m := receive(t, c)
		all = append(all, m)
	}
	oldest(0, "")
	take()
	take()
	<-time.After(5 * time.Minute)
	waits(0) // there is room for one
	take()
	oldest(3, "1")
	<-time.After(59 * time.Second)
	waits(0)
	<-time.After(time.Second)
	waits(1)
	<-time.After(time.Hour)
	waits(1)
	all[1].Ack()
	oldest(2, "1")
	all[0].Ack()
	oldest(1, "3")
	take()
	take()
	oldest(3, "3")
	<-time.After(2 * time.Minute)
	waits(2)
	for _, m := range all {
		m.Ack()
	}
	oldest(0, "")
	for _, want := range lab.IDs(6, 9) {
		lab.ExpectID(t, c, want)
	}
	waits(2)
}

func manualAckedAfterWithdrawal(t *testing.T) {
	_, c := following(t, 6, sfstream.WithAck(sfstream.AckManual), sfstream.WithPrefetch(1))
	for _, want := range lab.IDs(1, 5) {
		ctx, stop := lab.NewStop(t)
		messages := c.C(ctx)
		m := <-messages
		if m.ID != want {
			t.Fatalf("got %s, want %s", m.ID, want)
		}
		stop()
		for range messages {
			t.Error("more than the prefetch")
		}
		m.Ack()
	}
	lab.ExpectID(t, c, "6")
}

// manualMemory: 40 MB go by behind one message that is not acked.
func manualMemory(t *testing.T) {
	s := lab.New(t)
	c := s.FollowFromOldest(sfstream.WithAck(sfstream.AckManual), sfstream.WithPrefetch(50))
	payload := make([]byte, 4096) // shared by all that the org retains
	publish := func() {
		for range 100 {
			s.PublishNextRaw(lab.Orders, sfstreamtest.RawEvent{Payload: payload})
		}
	}
	publish()
	oldest := receive(t, c)
	heap := func() int64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return int64(stats.HeapAlloc)
	}
	before := heap()
	for n := 2; n <= 10_000; n++ {
		if n%100 == 1 {
			publish()
		}
		m := receive(t, c)
		m.Ack()
	}
	if grown := heap() - before; grown > 12<<20 {
		t.Errorf("the heap has grown by %d KiB behind one unacked message", grown>>10)
	}
	oldest.Ack()
	lab.Must(t, c.Close())
	s.ExpectSaved("10000")
}

func manualGroups(t *testing.T) {
	s := lab.New(t)
	c := s.FollowFromOldest(sfstream.WithAck(sfstream.AckManual), sfstream.WithPrefetch(8))
	s.PublishNext(lab.Orders, 700)
	var group []*sfstream.Message
	n := 0
	for m := range c.Messages(t.Context()) {
		n++
		if group = append(group, m); len(group) == 7 {
			for _, m := range group {
				m.Ack()
			}
			group = group[:0]
		}
		if n == 700 {
			break
		}
	}
	lab.Must(t, c.Close())
	s.ExpectSaved(strconv.Itoa(700))
}

// manualLittleRoom: credit is asked for in steps, but never at the price of standing still.
func manualLittleRoom(t *testing.T) {
	s, c := following(t, 200, sfstream.WithAck(sfstream.AckManual), sfstream.WithPrefetch(100))
	var all []*sfstream.Message
	for range 100 {
		m := receive(t, c)
		all = append(all, m)
	}
	all[50].Ack() // room for one, for ever
	for _, want := range lab.IDs(101, 200) {
		lab.ExpectID(t, c, want)
	}
	lab.ExpectQuiet(t, c, time.Second)
	for _, m := range all {
		m.Ack()
	}
	lab.Must(t, c.Close())
	s.ExpectSaved("200")
}
