package sink_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
	"github.com/sfstream/sfstream-go/sfstream/sink"
)

// TestForward proves what Forward says.
func TestForward(t *testing.T) {
	for _, scenario := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"what the queue has not acked is not handled", ackAfterTheQueue},
		{"what waits goes in one batch", batches},
		{"a value that is too large for a batch goes alone", largeValues},
		{"an outage of the queue costs time only", outage},
		{"a record that has failed is sent again before later ones of its key", failedFirst},
		{"an event of several records comes between all others of its channel", barriers},
		{"keys of the program's own are all the order that there is", ownKeys},
		{"at its end no Send begins, one that runs is awaited, and the rest goes back", ends},
		{"a Send that outlasts the drain is cancelled", drains},
		{"an error that no repetition cures ends it", permanent},
		{"a queue that says of records that they are not acked, and not of which, is not believed", badPartial},
		{"a backoff policy that stops ends it", gaveUp},
		{"a record that the queue never takes is a dead letter", deadLetters},
		{"a dead letter that cannot be kept is tried again", deadLetterFails},
		{"an event that cannot be read is a dead letter, and is itself as Raw", unreadable},
		{"a client that has failed sends what it has", clientFails},
		{"a client that is closed ends it", clientCloses},
		{"a lost store cancels what runs", lost},
		{"a store that is lost in the drain cancels what runs", lostInTheDrain},
		{"a ctx that ends with the last Send of a failed client is no race", endsTwice},
		{"a process that was paused sends nothing of what is lost", paused},
	} {
		t.Run(scenario.name, func(t *testing.T) { synctest.Test(t, scenario.run) })
	}
}

func ackAfterTheQueue(t *testing.T) {
	org := newOrg(t)
	order(t, org, 1, 3)
	client := follow(t, org, []string{orders})
	answer := make(chan error)
	q := &queue{t: t, send: func(context.Context, []sink.Record) error { return <-answer }}
	f := forward(t, client, q)
	after(time.Minute)
	if s := client.Status().Channels[0]; s.Handled != 0 || s.Unacked != 3 {
		t.Errorf("%d are handled and %d not acked, while the queue has not answered", s.Handled, s.Unacked)
	}
	close(answer)
	after(time.Second)
	if s := client.Status().Channels[0]; s.Handled != 3 {
		t.Errorf("%d are handled", s.Handled)
	}
	f.stop()
}

func batches(t *testing.T) {
	org := newOrg(t)
	client := follow(t, org, []string{orders})
	q := &queue{t: t, send: func(context.Context, []sink.Record) error { time.Sleep(time.Second); return nil }}
	f := forward(t, client, q, sink.WithBatch(4, 1<<20))
	order(t, org, 1, 1)
	after(time.Second / 2)
	order(t, org, 2, 7)
	after(time.Minute)
	f.stop()
	if want := [][]int{{1}, {2, 3, 4, 5}, {6, 7}}; fmt.Sprint(q.sends) != fmt.Sprint(want) {
		t.Errorf("sends %v, want %v", q.sends, want)
	}
}

func largeValues(t *testing.T) {
	org := newOrg(t)
	for range 5 {
		_, err := org.Publish(orders, map[string]any{"Number__c": "1"})
		must(t, err)
	}
	q := &queue{t: t}
	f := forward(t, follow(t, org, []string{orders}), q, sink.WithBatch(10, 1))
	after(time.Minute)
	f.stop()
	if len(q.sends) != 5 {
		t.Errorf("sends %v", q.sends)
	}
}

func outage(t *testing.T) {
	org := newOrg(t)
	order(t, org, 1, 50)
	var up atomic.Bool
	q := &queue{t: t, send: func(context.Context, []sink.Record) error {
		if up.Load() {
			return nil
		}
		return errors.New("down")
	}}
	client := follow(t, org, []string{orders})
	f := forward(t, client, q)
	after(time.Hour)
	if n := len(q.sent()); n < 60*3 || n > 60*12 {
		t.Errorf("%d Sends in an hour", n)
	}
	up.Store(true)
	after(20 * time.Second)
	f.stop()
	if !slices.Equal(q.acked(), span(1, 50)) {
		t.Errorf("acked %v", q.acked())
	}
}

// failedFirst: of the keys, one has a record that fails for a while.
func failedFirst(t *testing.T) {
	org := newOrg(t)
	client := follow(t, org, []string{accounts})
	for n := 1; n <= 30; n++ {
		change(t, org, n, n%3)
	}
	var acked []int
	q := &queue{t: t}
	failures := 5
	q.send = func(_ context.Context, records []sink.Record) error {
		failed := make(map[int]error)
		for i, r := range records {
			if n := number(t, r.Message); failures > 0 && n >= 10 && r.Key == account(1) {
				failed[i] = errors.New("not this one")
			} else {
				acked = append(acked, n)
			}
		}
		failures--
		if len(failed) > 0 {
			return &sink.PartialError{Failed: failed}
		}
		return nil
	}
	f := forward(t, client, q, sink.WithBatch(7, 1<<20))
	after(time.Minute)
	f.stop()
	expectOrder(t, acked, 30, func(n int) []int { return []int{n % 3} })
}

// expectOrder fails if the numbers up to n are not all there, or if those of a key have another order
// by first occurrence.
func expectOrder(t *testing.T, got []int, n int, keys func(n int) []int) {
	t.Helper()
	seen, last := make(map[int]bool), make(map[int]int)
	for _, number := range got {
		if seen[number] {
			continue
		}
		seen[number] = true
		for _, key := range keys(number) {
			if last[key] > number {
				t.Errorf("%d of %d came after %d", number, key, last[key])
			}
			last[key] = number
		}
	}
	if len(seen) != n {
		t.Errorf("%d of %d", len(seen), n)
	}
}

// barriers: each tenth change is of three accounts, and Sends fail as they like.
func barriers(t *testing.T) {
	for seed := range uint64(10) {
		random, events := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2))
		org := newOrg(t)
		concerns := func(n int) []int {
			if n%10 == 0 {
				return []int{n % 7, (n + 1) % 7, (n + 2) % 7}
			}
			return []int{n % 7}
		}
		var mu sync.Mutex
		var acked []int
		sending := make(map[string]bool)
		q := &queue{t: t}
		q.send = func(_ context.Context, records []sink.Record) error {
			mu.Lock()
			for _, r := range records {
				if sending[r.Key] {
					t.Errorf("two Sends have %s at once", r.Key)
				}
			}
			for _, r := range records {
				sending[r.Key] = true
			}
			pause, failed, stuck := time.Duration(random.IntN(50))*time.Millisecond, make(map[int]error), make(map[string]bool)
			all := random.IntN(6) == 0
			for i, r := range records {
				if stuck[r.Key] || random.IntN(10) == 0 { // a sink keeps the order within a Send
					failed[i], stuck[r.Key] = errors.New("failed"), true
				}
			}
			mu.Unlock()
			time.Sleep(pause)
			mu.Lock()
			defer mu.Unlock()
			for i, r := range records {
				if delete(sending, r.Key); failed[i] == nil {
					acked = append(acked, number(t, r.Message))
				}
			}
			switch {
			case all:
				return errors.New("all may have failed")
			case len(failed) > 0:
				return &sink.PartialError{Failed: failed}
			}
			return nil
		}
		client := follow(t, org, []string{accounts}, sfstream.WithPrefetch(1+events.IntN(200)))
		f := forward(t, client, q, sink.WithLanes(1+events.IntN(5)), sink.WithBatch(1+events.IntN(20), 1<<20))
		for n := 1; n <= 100; n++ {
			change(t, org, n, concerns(n)...)
			if events.IntN(10) == 0 {
				after(time.Duration(events.IntN(100)) * time.Millisecond)
			}
		}
		after(10 * time.Minute)
		f.stop()
		expectOrder(t, acked, 100, concerns)
		if s := client.Status().Channels[0]; s.Handled != 100 {
			t.Errorf("%d are handled", s.Handled)
		}
		must(t, client.Close())
		must(t, org.Close())
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func ownKeys(t *testing.T) {
	org := newOrg(t)
	client := follow(t, org, []string{orders, accounts})
	order(t, org, 1, 2)
	after(time.Second)
	change(t, org, 3, 1, 2, 3)
	after(time.Second)
	keys := make(map[string]string)
	q := &queue{t: t, send: func(_ context.Context, records []sink.Record) error {
		for _, r := range records {
			keys[fmt.Sprint(number(t, r.Message))] = r.Key
		}
		return nil
	}}
	f := forward(t, client, q, sink.WithLanes(3), sink.WithKey(func(m *sfstream.Message) string {
		if number(t, m) == 2 {
			return ""
		}
		return "own"
	}))
	after(time.Minute)
	f.stop()
	if want := map[string]string{"1": "own", "2": orders, "3": "own"}; fmt.Sprint(keys) != fmt.Sprint(want) {
		t.Errorf("keys %v, want %v", keys, want)
	}
}

func ends(t *testing.T) {
	org := newOrg(t)
	store := replaystore.NewMemory()
	client := follow(t, org, []string{orders}, sfstream.WithReplayStore(store))
	order(t, org, 1, 10)
	after(time.Second)
	q := &queue{t: t, send: func(context.Context, []sink.Record) error { time.Sleep(9 * time.Second); return nil }}
	f := forward(t, client, q, sink.WithBatch(4, 1<<20))
	after(time.Second)
	f.end()
	must(t, f.wait())
	if len(q.sends) != 1 || !slices.Equal(q.acked(), q.sends[0]) {
		t.Errorf("acked %v of the Sends %v", q.acked(), q.sends)
	}
	key, err := client.Key(orders)
	must(t, err)
	marker, err := store.Load(t.Context(), key)
	must(t, err)
	q.send = nil
	f = forward(t, client, q) // the next consumer gets the rest, in order
	after(time.Second)
	f.stop()
	if !slices.Equal(q.acked(), span(1, 10)) {
		t.Errorf("acked %v", q.acked())
	}
	must(t, client.Close())
	last, err := store.Load(t.Context(), key)
	must(t, err)
	if len(marker.ReplayID) == 0 || string(marker.ReplayID) == string(last.ReplayID) {
		t.Errorf("saved at the end of the first Forward: %x, of the second: %x", marker.ReplayID, last.ReplayID)
	}
}

func drains(t *testing.T) {
	org := newOrg(t)
	order(t, org, 1, 1)
	q := &queue{t: t, send: func(ctx context.Context, _ []sink.Record) error { <-ctx.Done(); return ctx.Err() }}
	f := forward(t, follow(t, org, []string{orders}), q, sink.WithDrainTimeout(3*time.Second))
	after(time.Hour)
	began := time.Now()
	f.stop()
	if took := time.Since(began); took != 3*time.Second {
		t.Errorf("it took %v", took)
	}
}

func permanent(t *testing.T) {
	org := newOrg(t)
	order(t, org, 1, 2)
	cause := errors.New("no such topic")
	q := &queue{t: t, send: func(context.Context, []sink.Record) error { return backoff.Permanent(cause) }}
	f := forward(t, follow(t, org, []string{orders}), q)
	err := f.wait()
	var record *sink.RecordError
	if !errors.As(err, &record) || !errors.Is(err, cause) || record.Channel != orders || !strings.Contains(err.Error(), record.ID) {
		t.Errorf("%v", err)
	}
	if len(q.sends) != 1 {
		t.Errorf("%d Sends", len(q.sends))
	}
}

func badPartial(t *testing.T) {
	org := newOrg(t)
	order(t, org, 1, 1)
	client := follow(t, org, []string{orders})
	answers := []error{
		&sink.PartialError{}, &sink.PartialError{Failed: map[int]error{1: errors.New("behind the end")}},
		&sink.PartialError{Failed: map[int]error{0: nil}}, (*sink.PartialError)(nil), nil,
	}
	q := &queue{t: t}
	q.send = func(context.Context, []sink.Record) error { return answers[len(q.sends)-1] }
	f := forward(t, client, q)
	after(time.Minute)
	f.stop()
	if fmt.Sprint(q.sends) != "[[1] [1] [1] [1] [1]]" {
		t.Errorf("sends %v", q.sends)
	}
}

func gaveUp(t *testing.T) {
	org := newOrg(t)
	order(t, org, 1, 1)
	q := &queue{t: t, send: func(context.Context, []sink.Record) error { return errors.New("down") }}
	f := forward(t, follow(t, org, []string{orders}), q, sink.WithBackOff(func() backoff.BackOff {
		return backoff.WithMaxRetries(backoff.NewConstantBackOff(time.Second), 2)
	}))
	var record *sink.RecordError
	if err := f.wait(); !errors.As(err, &record) || len(q.sends) != 3 {
		t.Errorf("%v after %d Sends", err, len(q.sends))
	}
}

// poison is a queue that never takes the order 2.
func poison(t *testing.T) *queue {
	return &queue{t: t, send: func(_ context.Context, records []sink.Record) error {
		for i, r := range records {
			if number(t, r.Message) == 2 {
				return &sink.PartialError{Failed: map[int]error{i: backoff.Permanent(errors.New("too large"))}}
			}
		}
		return nil
	}}
}

func deadLetters(t *testing.T) {
	org := newOrg(t)
	order(t, org, 1, 3)
	client := follow(t, org, []string{orders})
	after(time.Second)
	f := forward(t, client, poison(t))
	var record *sink.RecordError
	if err := f.wait(); !errors.As(err, &record) {
		t.Errorf("without a dead letter: %v", err)
	}
	if s := client.Status().Channels[0]; s.Handled == 3 {
		t.Error("all are handled")
	}
	var letters []string
	f = forward(t, client, poison(t), sink.WithDeadLetter(func(_ context.Context, r sink.Record, err error) error {
		letters = append(letters, fmt.Sprint(number(t, r.Message), " ", err))
		return nil
	}))
	after(time.Second)
	f.stop()
	if fmt.Sprint(letters) != "[2 too large]" {
		t.Errorf("letters %v", letters)
	}
	if s := client.Status().Channels[0]; s.Handled != 3 {
		t.Errorf("%d are handled", s.Handled)
	}
}

func deadLetterFails(t *testing.T) {
	org := newOrg(t)
	order(t, org, 2, 2)
	client := follow(t, org, []string{orders})
	tries := 0
	f := forward(t, client, poison(t), sink.WithDeadLetter(func(context.Context, sink.Record, error) error {
		if tries++; tries < 3 {
			return backoff.Permanent(errors.New("disk full"))
		}
		return nil
	}))
	after(time.Minute)
	f.stop()
	if s := client.Status().Channels[0]; s.Handled != 1 || tries != 3 {
		t.Errorf("%d are handled after %d tries", s.Handled, tries)
	}
}

func unreadable(t *testing.T) {
	org := newOrg(t)
	order(t, org, 1, 1)
	bad, err := org.PublishRaw(orders, sfstreamtest.RawEvent{Payload: []byte{0xff}})
	must(t, err)
	order(t, org, 3, 3)
	client := follow(t, org, []string{orders})
	q := &queue{t: t}
	f := forward(t, client, q)
	var record *sink.RecordError
	var decode *sfstream.DecodeError
	if err := f.wait(); !errors.As(err, &record) || !errors.As(err, &decode) || !strings.HasSuffix(record.ID, bad.ID) {
		t.Errorf("without a dead letter: %v", err)
	}
	letters := 0
	f = forward(t, client, q, sink.WithDeadLetter(func(_ context.Context, r sink.Record, err error) error {
		if letters++; r.Value != nil || !errors.As(err, &decode) || string(r.Message.Raw()) != "\xff" {
			t.Errorf("the letter is %+v: %v", r, err)
		}
		return nil
	}))
	after(time.Minute)
	f.stop()
	if s := client.Status().Channels[0]; s.Handled != 3 || letters != 1 || !slices.Equal(q.acked(), []int{1, 3}) {
		t.Errorf("%d are handled, %d letters, acked %v", s.Handled, letters, q.acked())
	}
	raw := collect(t, org, orders, sfstream.PubSub, sink.WithEnvelope(sink.Raw))
	if len(raw) != 3 || string(raw[1].Value) != "\xff" || raw[1].ContentType != "avro/binary" {
		t.Errorf("as Raw: %+v", raw)
	}
}

// clientFails: the client ends after ten minutes without the permission, and a Send takes five.
func clientFails(t *testing.T) {
	for _, fails := range []bool{false, true} {
		org := newOrg(t)
		order(t, org, 1, 6)
		client := follow(t, org, []string{orders})
		q := &queue{t: t}
		q.send = func(context.Context, []sink.Record) error {
			if time.Sleep(5 * time.Minute); fails && client.Err() != nil {
				return errors.New("down")
			}
			return nil
		}
		f := forward(t, client, q, sink.WithBatch(1, 1<<20))
		after(time.Second)
		org.Revoke(orders)
		err := f.wait()
		var server *sfstream.ServerError
		if !errors.As(err, &server) {
			t.Errorf("%v", err)
		}
		if sent := len(q.acked()); !fails && sent != 6 || fails && (sent == 0 || len(q.sends) != sent+1) {
			t.Errorf("%d are acked, after %d Sends", sent, len(q.sends))
		}
	}
}

func clientCloses(t *testing.T) {
	org := newOrg(t)
	order(t, org, 1, 6)
	client := follow(t, org, []string{orders})
	q := &queue{t: t, send: func(context.Context, []sink.Record) error { time.Sleep(3 * time.Second); return nil }}
	f := forward(t, client, q, sink.WithBatch(1, 1<<20))
	after(time.Second)
	must(t, client.Close())
	must(t, f.wait())
	if len(q.sends) != 1 {
		t.Errorf("sends %v", q.sends)
	}
}

// fencedStore is one that another process may take.
type fencedStore struct {
	*replaystore.Memory
	mu   sync.Mutex
	err  error
	lost chan struct{}
}

func (s *fencedStore) Held() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *fencedStore) Lost() <-chan struct{} { return s.lost }

func (s *fencedStore) take() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = replaystore.ErrConflict
}

func lost(t *testing.T) {
	org := newOrg(t)
	order(t, org, 1, 6)
	store := &fencedStore{Memory: replaystore.NewMemory(), lost: make(chan struct{})}
	client := follow(t, org, []string{orders}, sfstream.WithReplayStore(store))
	q := &queue{t: t, send: func(ctx context.Context, _ []sink.Record) error { <-ctx.Done(); return ctx.Err() }}
	f := forward(t, client, q, sink.WithBatch(1, 1<<20))
	after(time.Second)
	began := time.Now()
	store.take()
	close(store.lost)
	err := f.wait()
	var storeErr *sfstream.StoreError
	if !errors.As(err, &storeErr) || !errors.Is(err, replaystore.ErrConflict) || len(q.sends) != 1 {
		t.Errorf("%v after %d Sends", err, len(q.sends))
	}
	if took := time.Since(began); took != 0 {
		t.Errorf("it took %v", took)
	}
}

// lostInTheDrain: the loop over messages has ended, because ctx has, or the client has failed.
func lostInTheDrain(t *testing.T) {
	for what, begin := range map[string]func(org *sfstreamtest.Server, f *forwarding){
		"ctx ended":     func(_ *sfstreamtest.Server, f *forwarding) { f.end() },
		"client failed": func(org *sfstreamtest.Server, _ *forwarding) { org.Revoke(orders); after(time.Hour) },
	} {
		org := newOrg(t)
		order(t, org, 1, 6)
		store := &fencedStore{Memory: replaystore.NewMemory(), lost: make(chan struct{})}
		client := follow(t, org, []string{orders}, sfstream.WithReplayStore(store))
		q := &queue{t: t, send: func(ctx context.Context, _ []sink.Record) error { <-ctx.Done(); return context.Cause(ctx) }}
		f := forward(t, client, q, sink.WithBatch(1, 1<<20), sink.WithDrainTimeout(time.Hour))
		after(time.Second)
		begin(org, f)
		after(time.Second)
		began := time.Now()
		store.take()
		close(store.lost)
		err := f.wait()
		if took := time.Since(began); took > time.Second || len(q.sends) != 1 {
			t.Errorf("%s: it took %v, after %d Sends: %v", what, took, len(q.sends), err)
		}
	}
}

func endsTwice(t *testing.T) {
	org := newOrg(t)
	order(t, org, 1, 1)
	client := follow(t, org, []string{orders})
	q := &queue{t: t, send: func(context.Context, []sink.Record) error { time.Sleep(time.Hour); return nil }}
	f := forward(t, client, q)
	after(time.Second)
	org.Revoke(orders)
	time.AfterFunc(time.Hour-time.Second, f.end)
	_ = f.wait()
	if !slices.Equal(q.acked(), []int{1}) {
		t.Errorf("acked %v", q.acked())
	}
}

// paused: nobody has told that the store is lost, as after SIGCONT.
func paused(t *testing.T) {
	org := newOrg(t)
	order(t, org, 1, 6)
	store := &fencedStore{Memory: replaystore.NewMemory(), lost: make(chan struct{})}
	client := follow(t, org, []string{orders}, sfstream.WithReplayStore(store))
	q := &queue{t: t}
	q.send = func(context.Context, []sink.Record) error { store.take(); return nil }
	f := forward(t, client, q, sink.WithBatch(1, 1<<20))
	if err := f.wait(); !errors.Is(err, replaystore.ErrConflict) || len(q.sends) != 1 {
		t.Errorf("%v after %d Sends", err, len(q.sends))
	}
}

func TestForwardRefusesWhatCannotWork(t *testing.T) {
	org := newOrg(t)
	client := follow(t, org, nil)
	auto := follow(t, org, nil, sfstream.WithAck(sfstream.AckAuto))
	q := &queue{t: t}
	for name, err := range map[string]error{
		"no client":                    sink.Forward(t.Context(), nil, q),
		"no sink":                      sink.Forward(t.Context(), client, nil),
		"WithAck(AckManual)":           sink.Forward(t.Context(), auto, q),
		"WithEnvelope: Envelope(9)":    sink.Forward(t.Context(), client, q, sink.WithEnvelope(9)),
		"WithKey: nil":                 sink.Forward(t.Context(), client, q, sink.WithKey(nil)),
		"WithLanes: 0":                 sink.Forward(t.Context(), client, q, sink.WithLanes(0)),
		"WithBatch: 0 records":         sink.Forward(t.Context(), client, q, sink.WithBatch(0, 1)),
		"WithBatch: 1 records, 0 byte": sink.Forward(t.Context(), client, q, sink.WithBatch(1, 0)),
		"WithBackOff: nil":             sink.Forward(t.Context(), client, q, sink.WithBackOff(nil)),
		"WithBackOff: the function":    sink.Forward(t.Context(), client, q, sink.WithBackOff(func() backoff.BackOff { return nil })),
		"WithDeadLetter: nil":          sink.Forward(t.Context(), client, q, sink.WithDeadLetter(nil)),
		"WithDrainTimeout: -1s":        sink.Forward(t.Context(), client, q, sink.WithDrainTimeout(-time.Second)),
	} {
		if !errors.Is(err, sfstream.ErrInvalidOption) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	notOpen, err := sfstream.New(org.Authenticator(), sfstream.WithOrg(org), sfstream.WithAck(sfstream.AckManual))
	must(t, err)
	if err := sink.Forward(t.Context(), notOpen, q); !errors.Is(err, sfstream.ErrNotOpen) {
		t.Errorf("a client that is not open: %v", err)
	}
}
