package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/child"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// TestRun proves what Run says, on both transports, each sentence in a bubble of its own: one that
// leaves a goroutine behind does not end.
func TestRun(t *testing.T) {
	scenarios := []scenario{
		{name: "messages of a key are handled one by one in order, by 8 workers", run: runInOrder},
		{name: "messages of different keys are handled at once", run: runParallel},
		{name: "one worker handles all in order", run: runOneWorker},
		{name: "by default platform events are in order per channel, channels at once", run: runChannels},
		{name: "by default change events are in order per record, wildcards behind all", run: runRecords},
		{name: "the records of an event are those of the same channel", run: runRecordsOfChannels},
		{name: "OrderBy spans channels", run: runAcrossChannels},
		{name: "Stop returns the error, and the message comes first in the next Run", run: runStop},
		{name: "Stop waits for handlers that run and keeps what they did", run: runStopDrains},
		{name: "a restart resumes exactly after the contiguous watermark", run: runRestart},
		{name: "what several keys left goes back in order", run: runPutsBackInOrder},
		{name: "Retry keeps its key in order while others go on", run: runRetry},
		{name: "Retry that gives up stops", run: runRetryStops},
		{name: "Retry that gives up skips where Skip comes after it", run: runRetrySkips},
		{name: "Skip reports and handles", run: runSkip},
		{name: "the end of ctx drains what is in flight and starts nothing", run: runDrains},
		{name: "DrainTimeout ends the ctx of handlers, whose messages go back", run: runDrainTimeout},
		{name: "a message waiting to be retried goes back when ctx ends", run: runEndsRetry},
		{name: "Close in a handler ends Run", run: runClose},
		{name: "Close elsewhere does not wait for handlers, whose acks are saved", run: runCloseElsewhere},
		{name: "Unsubscribe in a handler lets nothing more of the channel out", run: runUnsubscribe},
		{name: "the terminal error of the client comes after what waited", run: runTerminal},
		{name: "Ack in a handler settles", run: runAck},
		{name: "Run handles the message of the Receive before it", run: runAfterReceive},
		{name: "Run waits its turn", run: runTurn},
		{name: "AckManual lets several Runs share", run: runSeveral},
		{name: "AckOnReceive handles when the handler is called, and retries nonetheless", run: runOnReceive},
		{name: "under AckOnReceive a Run that stops makes room for what it had out", run: runOnReceiveStops},
		{name: "a handler that ends its goroutine ends Run", run: runGoexit},
		{name: "a panic of OrderBy's function loses nothing", run: runKeyPanics},
		{name: "markers are saved while handlers run", run: runSaves},
		{name: "reconnects do not disturb it", run: runReconnects},
		{name: "markers are saved as soon as it waits, and it goes on when more comes", run: runIdles},
		{name: "the shortest of several waits to retry ends first", run: runRetriesInTime},
		{name: "a message waiting to be retried is forgotten with its channel", run: runUnsubscribesRetry},
		{name: "a handler that fails while Run ends is its error", run: runFailsAtEnd},
		{name: "thousands of keys and failures lose nothing and leave nothing", run: runMuch},
	}
	for _, policy := range []sfstream.AckPolicy{sfstream.AckAuto, sfstream.AckOnReceive, sfstream.AckManual} {
		scenarios = append(scenarios, scenario{
			name: fmt.Sprintf("WithPrefetch bounds what is held under policy %d", policy),
			run:  func(t *testing.T) { runBounds(t, policy) },
		})
	}
	for _, transport := range []string{"pubsub", "cometd"} {
		t.Run(transport, func(t *testing.T) {
			for _, r := range scenarios {
				t.Run(r.name, func(t *testing.T) { synctest.Test(t, r.run) })
			}
		})
	}
}

var errHandler = errors.New("the handler's error")

// perMessage orders nothing.
func perMessage(m *sfstream.Message) string { return m.Channel + m.ID }

// runs is what handlers did.
type runs struct {
	t     *testing.T
	began time.Time

	mu     sync.Mutex
	done   []string // in order of their ends
	starts map[string]time.Duration
	left   int
	stop   context.CancelFunc
}

// runUntil runs until n messages are handled. The handler takes a second if it is nil.
func runUntil(t *testing.T, c *sfstream.Client, n int, handler func(context.Context, *sfstream.Message) error, opts ...sfstream.RunOption) (*runs, error) {
	ctx, stop := lab.NewStop(t)
	r := &runs{t: t, began: time.Now(), starts: make(map[string]time.Duration), left: n, stop: stop}
	err := c.Run(ctx, r.counting(handler), opts...)
	return r, err
}

func (r *runs) counting(handler func(context.Context, *sfstream.Message) error) func(context.Context, *sfstream.Message) error {
	if handler == nil {
		handler = second
	}
	return func(ctx context.Context, m *sfstream.Message) error {
		name := nameOf(r.t, m)
		r.mu.Lock()
		r.starts[name] = time.Since(r.began)
		r.mu.Unlock()
		err := handler(ctx, m)
		if err == nil {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.done = append(r.done, name)
			if r.left--; r.left == 0 {
				r.stop()
			}
		}
		return err
	}
}

// second is a handler that takes one.
func second(context.Context, *sfstream.Message) error {
	<-time.After(time.Second)
	return nil
}

// arrived waits until n messages wait.
func arrived(c *sfstream.Client, n int) {
	for c.Pending() < n {
		<-time.After(time.Second)
	}
}

// nameOf is the number of an event: that of a change is its sequence number.
func nameOf(t *testing.T, m *sfstream.Message) string {
	if !strings.HasPrefix(m.Channel, "/data/") {
		return m.ID
	}
	fields, err := m.Fields()
	if err != nil {
		t.Error(err)
		return ""
	}
	header, _ := fields["ChangeEventHeader"].(map[string]any)
	return fmt.Sprint(header["sequenceNumber"])
}

// startedAt fails the test unless handlers began at these seconds.
func (r *runs) startedAt(want map[string]int) {
	r.t.Helper()
	for name, at := range want {
		if got, ok := r.starts[name]; !ok || got != time.Duration(at)*time.Second {
			r.t.Errorf("handler of %s began after %s (at all: %v), want %ds", name, got, ok, at)
		}
	}
	if len(r.starts) != len(want) {
		r.t.Errorf("%d handlers began, want %d: %v", len(r.starts), len(want), r.starts)
	}
}

func runInOrder(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 500)
	c := s.FollowFromOldest()
	key := func(m *sfstream.Message) string {
		n, _ := strconv.Atoi(m.ID)
		return strconv.Itoa(n % 7)
	}
	var mu sync.Mutex
	running, last := make(map[string]bool), make(map[string]int)
	most := 0
	_, err := runUntil(t, c, 500, func(_ context.Context, m *sfstream.Message) error {
		n, _ := strconv.Atoi(m.ID)
		mu.Lock()
		if running[key(m)] {
			t.Errorf("two of key %s at once", key(m))
		}
		if n <= last[key(m)] {
			t.Errorf("%d after %d", n, last[key(m)])
		}
		running[key(m)], last[key(m)] = true, n
		most = max(most, len(running))
		mu.Unlock()
		<-time.After(rand.N(50 * time.Millisecond))
		mu.Lock()
		delete(running, key(m))
		mu.Unlock()
		return nil
	}, sfstream.Workers(8), sfstream.OrderBy(key))
	lab.Must(t, err)
	if most != 7 {
		t.Errorf("at most %d handlers at once, want one for each of 7 keys", most)
	}
	s.ExpectSaved("500")
	lab.ExpectQuiet(t, c, time.Second)
}

func runParallel(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 80)
	c := s.FollowFromOldest()
	lab.Within(t, 10*time.Second, func() {
		_, err := runUntil(t, c, 80, nil, sfstream.Workers(8), sfstream.OrderBy(perMessage))
		lab.Must(t, err)
	})
	s.ExpectSaved("80")
}

func runOneWorker(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 20)
	c := s.FollowFromOldest()
	r, err := runUntil(t, c, 20, nil, sfstream.Workers(1), sfstream.OrderBy(perMessage))
	lab.Must(t, err)
	lab.ExpectIDs(t, r.done, lab.IDs(1, 20))
	if took := time.Since(r.began); took != 20*time.Second {
		t.Errorf("took %s, want 20s", took)
	}
}

func runChannels(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 5)
	s.PublishNext(lab.Invoices, 5)
	c := s.FollowFromOldest()
	lab.Must(t, c.Subscribe(t.Context(), lab.Invoices))
	arrived(c, 10)
	r, err := runUntil(t, c, 10, nil)
	lab.Must(t, err)
	if took := time.Since(r.began); took != 5*time.Second {
		t.Errorf("took %s, want 5s", took)
	}
	for i, name := range r.done {
		if want := strconv.Itoa(i/2 + 1); name != want {
			t.Errorf("the %dth to end was %s, want %s: %v", i+1, name, want, r.done)
		}
	}
}

// changing is a client that follows the changes of accounts.
func changing(s *lab.Lab, channel string, opts ...sfstream.Option) *sfstream.Client {
	s.T.Helper()
	c := s.StartFromOldest(opts...)
	lab.Must(s.T, c.Subscribe(s.T.Context(), channel))
	return c
}

// change publishes changes numbered from 1 of these records.
func change(s *lab.Lab, records ...[]string) {
	s.T.Helper()
	for i, ids := range records {
		c := sfstreamtest.Change{Object: "Account", Type: "UPDATE", RecordIDs: ids, SequenceNumber: i + 1}
		if len(ids) == 0 {
			c.Type = "GAP_OVERFLOW"
		}
		_, err := s.Change(c)
		lab.Must(s.T, err)
	}
}

func record(letter string) string { return "00100000000000" + letter + "AAA" }

func runRecords(t *testing.T) {
	s := lab.New(t)
	a, b := record("A"), record("B")
	change(s,
		[]string{a}, []string{b}, []string{a, b}, []string{record("C")}, []string{a}, // 1 … 5
		nil, []string{record("D")}, []string{a}, []string{"001*"}, // 6 … 9
		[]string{a}, []string{b, b}, []string{a[:15]}, []string{b}, // 10 … 13
	)
	c := changing(s, lab.Accounts)
	synctest.Wait()
	r, err := runUntil(t, c, 13, nil, sfstream.Workers(8))
	lab.Must(t, err)
	r.startedAt(map[string]int{
		"1": 0, "2": 0, "3": 1, "4": 0, "5": 2,
		"6": 3, "7": 4, "8": 4, "9": 5,
		"10": 6, "11": 6, "12": 7, "13": 7,
	})
}

func runRecordsOfChannels(t *testing.T) {
	s := lab.New(t)
	change(s, []string{record("A")}, nil)
	c := changing(s, lab.Accounts)
	lab.Must(t, c.Subscribe(t.Context(), "/data/ChangeEvents"))
	arrived(c, 4)
	lab.Within(t, 2*time.Second, func() {
		_, err := runUntil(t, c, 4, nil)
		lab.Must(t, err)
	})
}

func runAcrossChannels(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 3)
	s.PublishNext(lab.Invoices, 3)
	c := s.FollowFromOldest()
	lab.Must(t, c.Subscribe(t.Context(), lab.Invoices))
	arrived(c, 6)
	r, err := runUntil(t, c, 6, nil, sfstream.OrderBy(func(*sfstream.Message) string { return "" }))
	lab.Must(t, err)
	if took := time.Since(r.began); took != 6*time.Second {
		t.Errorf("took %s, want 6s", took)
	}
}

// failing fails the messages of these numbers, at once, and handles others in a second.
func failingOn(numbers ...string) func(context.Context, *sfstream.Message) error {
	return func(ctx context.Context, m *sfstream.Message) error {
		if slices.Contains(numbers, m.ID) {
			return fmt.Errorf("message %s: %w", m.ID, errHandler)
		}
		return second(ctx, m)
	}
}

func runStop(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 5)
	c := s.FollowFromOldest()
	r, err := runUntil(t, c, 5, failingOn("3"))
	if !errors.Is(err, errHandler) || err.Error() != "message 3: the handler's error" {
		t.Fatalf("got %v, want the handler's error as it is", err)
	}
	lab.ExpectIDs(t, r.done, lab.IDs(1, 2))
	s.ExpectSaved("2")
	if st := c.Status().Channels[0]; st.Pending != 3 || st.Unacked != 0 {
		t.Errorf("status %+v, want 3 pending and nothing unacked", st)
	}
	r, err = runUntil(t, c, 3, nil)
	lab.Must(t, err)
	lab.ExpectIDs(t, r.done, lab.IDs(3, 5))
	s.ExpectSaved("5")
}

func runStopDrains(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 8)
	c := s.FollowFromOldest()
	synctest.Wait()
	r, err := runUntil(t, c, 8, failingOn("2"), sfstream.Workers(4), sfstream.OrderBy(perMessage))
	if !errors.Is(err, errHandler) {
		t.Fatalf("got %v, want the handler's error", err)
	}
	r.startedAt(map[string]int{"1": 0, "2": 0, "3": 0, "4": 0})
	s.ExpectSaved("1")
	lab.ExpectIDs(t, lab.Loop(t, c, 5), []string{"2", "5", "6", "7", "8"})
	s.ExpectSaved("8")
}

func runRestart(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 10)
	c := s.FollowFromOldest()
	synctest.Wait()
	slow := func(_ context.Context, m *sfstream.Message) error {
		if m.ID == "4" {
			<-time.After(time.Minute)
			return errHandler
		}
		return nil
	}
	r, err := runUntil(t, c, 10, slow, sfstream.OrderBy(perMessage))
	if !errors.Is(err, errHandler) || len(r.done) != 9 {
		t.Fatalf("got %v, %v handled", err, r.done)
	}
	s.ExpectSaved("3")
	c = s.Restart(c)
	r, err = runUntil(t, c, 7, nil)
	lab.Must(t, err)
	lab.ExpectIDs(t, r.done, lab.IDs(4, 10))
	c = s.Restart(c)
	lab.ExpectQuiet(t, c, time.Second)
}

func runPutsBackInOrder(t *testing.T) {
	s := lab.New(t)
	c := s.FollowFromOldest()
	lab.Must(t, c.Subscribe(t.Context(), lab.Invoices))
	s.PublishNext(lab.Orders, 30)
	synctest.Wait()
	s.PublishNext(lab.Invoices, 30)
	synctest.Wait()
	failed := rand.Perm(30)[:3]
	_, err := runUntil(t, c, 60, func(_ context.Context, m *sfstream.Message) error {
		<-time.After(rand.N(time.Second))
		if n, _ := strconv.Atoi(m.ID); slices.Contains(failed, n) {
			return errHandler
		}
		return nil
	}, sfstream.OrderBy(perMessage))
	if !errors.Is(err, errHandler) {
		t.Fatalf("got %v, want the handler's error", err)
	}
	last, lastChannel := 0, ""
	for range c.Pending() {
		m, err := c.Receive(t.Context())
		lab.Must(t, err)
		n, _ := strconv.Atoi(m.ID)
		if m.Channel == lab.Orders && lastChannel == lab.Invoices || m.Channel == lastChannel && n <= last {
			t.Errorf("%s %d comes after %s %d", m.Channel, n, lastChannel, last)
		}
		last, lastChannel = n, m.Channel
		m.Ack()
	}
	lab.ExpectQuiet(t, c, time.Second)
}

// every is a policy that waits d each time, at most n times.
func every(d time.Duration, n uint64) func() backoff.BackOff {
	return func() backoff.BackOff { return backoff.WithMaxRetries(backoff.NewConstantBackOff(d), n) }
}

func runRetry(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 9)
	c := s.FollowFromOldest()
	synctest.Wait()
	attempts := 0 // of message 1
	parity := func(m *sfstream.Message) string {
		n, _ := strconv.Atoi(m.ID)
		return strconv.Itoa(n % 2)
	}
	r, err := runUntil(t, c, 9, func(ctx context.Context, m *sfstream.Message) error {
		if m.ID == "1" {
			if attempts++; attempts < 4 {
				s.ExpectSaved("")
				return errHandler
			}
		}
		return second(ctx, m)
	}, sfstream.OrderBy(parity), sfstream.OnError(sfstream.Retry(every(10*time.Second, 10))))
	lab.Must(t, err)
	r.startedAt(map[string]int{"2": 0, "4": 1, "6": 2, "8": 3, "1": 30, "3": 31, "5": 32, "7": 33, "9": 34})
	s.ExpectSaved("9")
	if got := len(s.Log.Warnings("handler failed")); got != 3 {
		t.Errorf("%d warnings, want one per retry", got)
	}
}

func runRetryStops(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 2)
	c := s.FollowFromOldest()
	start := time.Now()
	_, err := runUntil(t, c, 2, failingOn("1"), sfstream.OnError(sfstream.Retry(every(time.Second, 5))))
	if took := time.Since(start); !errors.Is(err, errHandler) || took != 5*time.Second {
		t.Fatalf("got %v after %s, want the handler's error after 5s", err, took)
	}
	attempts := 0
	_, err = runUntil(t, c, 2, func(context.Context, *sfstream.Message) error {
		attempts++
		return backoff.Permanent(errHandler)
	}, sfstream.OnError(sfstream.Retry(every(time.Second, 5))))
	if !errors.Is(err, errHandler) || attempts != 1 {
		t.Fatalf("got %v after %d attempts, want the handler's error after 1", err, attempts)
	}
	lab.ExpectIDs(t, lab.Loop(t, c, 2), lab.IDs(1, 2))
}

func runRetrySkips(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 4)
	c := s.FollowFromOldest()
	attempts := 0
	var skipped []string
	r, err := runUntil(t, c, 3, func(ctx context.Context, m *sfstream.Message) error {
		if m.ID == "2" {
			attempts++
			return errHandler
		}
		return nil
	}, sfstream.OnError(sfstream.Retry(every(time.Second, 2)), sfstream.Skip(func(m *sfstream.Message, err error) {
		skipped = append(skipped, m.ID+": "+err.Error())
	})))
	lab.Must(t, err)
	lab.ExpectIDs(t, r.done, []string{"1", "3", "4"})
	if want := []string{"2: " + errHandler.Error()}; attempts != 3 || !slices.Equal(skipped, want) {
		t.Errorf("%d attempts, skipped %q, want 3 and %q", attempts, skipped, want)
	}
	s.ExpectSaved("4")
}

func runSkip(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 4)
	c := s.FollowFromOldest()
	var skipped []string
	r, err := runUntil(t, c, 2, failingOn("1", "3"), sfstream.OnError(sfstream.Skip(func(m *sfstream.Message, err error) {
		<-time.After(time.Second)
		s.ExpectSaved(map[string]string{"1": "", "3": "2"}[m.ID])
		skipped = append(skipped, m.ID)
	})))
	lab.Must(t, err)
	lab.ExpectIDs(t, r.done, []string{"2", "4"})
	lab.ExpectIDs(t, skipped, []string{"1", "3"})
	s.ExpectSaved("4")
	lab.ExpectQuiet(t, c, time.Second)
}

func runDrains(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 20)
	c := s.FollowFromOldest()
	synctest.Wait()
	ctx, stop := lab.NewStop(t)
	type keyType struct{}
	ctx = context.WithValue(ctx, keyType{}, "value")
	time.AfterFunc(time.Second/2, stop)
	r := &runs{t: t, began: time.Now(), starts: make(map[string]time.Duration)}
	lab.Must(t, c.Run(ctx, r.counting(func(ctx context.Context, m *sfstream.Message) error {
		<-time.After(9 * time.Second)
		if ctx.Value(keyType{}) != "value" {
			t.Error("the handler's ctx has not the values of Run's")
		}
		return ctx.Err()
	}), sfstream.OrderBy(perMessage), sfstream.Workers(3)))
	r.startedAt(map[string]int{"1": 0, "2": 0, "3": 0})
	if took := time.Since(r.began); took != 9*time.Second {
		t.Errorf("Run took %s, want the 9s of its handlers", took)
	}
	s.ExpectSaved("3")
	lab.ExpectID(t, c, "4")
	lab.Must(t, c.Run(ctx, func(context.Context, *sfstream.Message) error {
		t.Error("a handler is called after ctx has ended")
		return nil
	}))
}

func runDrainTimeout(t *testing.T) {
	for _, limit := range []time.Duration{0, time.Second, 10 * time.Second} {
		s := lab.New(t)
		s.PublishNext(lab.Orders, 3)
		c := s.FollowFromOldest()
		synctest.Wait()
		ctx, stop := lab.NewStop(t)
		time.AfterFunc(time.Minute, stop)
		opts := []sfstream.RunOption{
			sfstream.OrderBy(perMessage),
			// Not even this loses what was interrupted.
			sfstream.OnError(sfstream.Skip(func(m *sfstream.Message, err error) { t.Errorf("%s is skipped for %v", m.ID, err) })),
		}
		if limit != 10*time.Second { // the default
			opts = append(opts, sfstream.DrainTimeout(limit))
		}
		start := time.Now()
		lab.Must(t, c.Run(ctx, func(ctx context.Context, m *sfstream.Message) error {
			if m.ID == "1" {
				return nil
			}
			<-ctx.Done()
			if m.ID == "2" {
				return ctx.Err()
			}
			return nil
		}, opts...))
		if took := time.Since(start); took != time.Minute+limit {
			t.Errorf("Run took %s, want the minute until its ctx ends and %s", took, limit)
		}
		s.ExpectSaved("1")
		lab.ExpectID(t, c, "2")
		lab.ExpectQuiet(t, c, time.Second)
		lab.Must(t, c.Close())
	}
}

func runEndsRetry(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 2)
	c := s.FollowFromOldest()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	lab.Within(t, time.Second, func() {
		lab.Must(t, c.Run(ctx, failingOn("1"), sfstream.OnError(sfstream.Retry(every(time.Hour, 5)))))
	})
	lab.ExpectIDs(t, lab.Loop(t, c, 2), lab.IDs(1, 2))
}

func runClose(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 5)
	c := s.FollowFromOldest()
	lab.Within(t, time.Second, func() {
		lab.Must(t, c.Run(t.Context(), func(_ context.Context, m *sfstream.Message) error {
			if m.ID == "3" {
				lab.Must(t, c.Close())
			}
			return nil
		}))
	})
	s.ExpectSaved("3")
	lab.Must(t, c.Run(t.Context(), second))
	lab.ExpectID(t, s.FollowFromOldest(), "4")
}

func runCloseElsewhere(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 2)
	c := s.FollowFromOldest()
	time.AfterFunc(time.Second/2, func() { lab.Within(t, 0, func() { lab.Must(t, c.Close()) }) })
	r := &runs{t: t, began: time.Now(), starts: make(map[string]time.Duration)}
	lab.Must(t, c.Run(t.Context(), r.counting(nil)))
	r.startedAt(map[string]int{"1": 0})
	s.ExpectSaved("1")
}

func runUnsubscribe(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 5)
	c := s.FollowFromOldest()
	lab.Must(t, c.Subscribe(t.Context(), lab.Invoices))
	synctest.Wait()
	s.PublishNext(lab.Invoices, 2)
	synctest.Wait()
	_, err := runUntil(t, c, 4, func(_ context.Context, m *sfstream.Message) error {
		if m.Channel == lab.Orders && m.ID == "2" {
			lab.Must(t, c.Unsubscribe(t.Context(), lab.Orders))
		}
		if m.Channel == lab.Orders && m.ID > "2" {
			t.Errorf("%s comes after Unsubscribe", m.ID)
		}
		<-time.After(time.Second)
		return nil
	}, sfstream.Workers(1))
	lab.Must(t, err)
	s.ExpectSaved("1")
	lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
	r, err := runUntil(t, c, 4, nil)
	lab.Must(t, err)
	lab.ExpectIDs(t, r.done, lab.IDs(2, 5))
}

func runTerminal(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 3)
	c := s.FollowFromOldest(sfstream.WithReconnectTimeout(time.Minute))
	synctest.Wait()
	s.Refuse(true)
	s.DropConnections()
	var done []string
	failed := 0
	err := c.Run(t.Context(), func(_ context.Context, m *sfstream.Message) error {
		<-time.After(time.Hour)
		if m.ID == "3" {
			failed++
			return errHandler
		}
		done = append(done, m.ID)
		return nil
	}, sfstream.OnError(sfstream.Retry(every(time.Second, 1e9))))
	var timeout *sfstream.TimeoutError
	if !errors.As(err, &timeout) {
		t.Fatalf("got %v, want a TimeoutError", err)
	}
	lab.ExpectIDs(t, done, lab.IDs(1, 2))
	if failed != 1 {
		t.Errorf("message 3 was tried %d times after the end, want 1", failed)
	}
	s.ExpectSaved("2")
}

func runAck(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 2)
	c := s.FollowFromOldest()
	_, err := runUntil(t, c, 2, func(_ context.Context, m *sfstream.Message) error {
		m.Ack()
		m.Clone().Ack()
		return errHandler
	})
	if !errors.Is(err, errHandler) {
		t.Fatalf("got %v, want the handler's error", err)
	}
	s.ExpectSaved("1")
	lab.ExpectID(t, c, "2")
}

func runAfterReceive(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 3)
	c := s.FollowFromOldest()
	lab.Receive(t, c)
	r, err := runUntil(t, c, 2, nil)
	lab.Must(t, err)
	lab.ExpectIDs(t, r.done, lab.IDs(2, 3))
	s.ExpectSaved("3")
}

func runTurn(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 4)
	c := s.FollowFromOldest()
	ran := make(chan *runs)
	for m := range c.Messages(t.Context()) {
		if m.ID == "1" {
			go func() {
				r, err := runUntil(t, c, 2, nil)
				if err != nil {
					t.Error(err)
				}
				ran <- r
			}()
			<-time.After(time.Minute)
			continue
		}
		m.Ack()
		break
	}
	lab.ExpectIDs(t, (<-ran).done, lab.IDs(3, 4))
	lab.Must(t, c.Run(t.Context(), func(ctx context.Context, _ *sfstream.Message) error { return nil }, cancelled(t, c)))
}

// cancelled is no option: it publishes nothing and closes the client, so that a Run ends at once.
func cancelled(t *testing.T, c *sfstream.Client) sfstream.RunOption {
	lab.Must(t, c.Close())
	return sfstream.Workers(1)
}

func runSeveral(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 200)
	c := s.FollowFromOldest(sfstream.WithAck(sfstream.AckManual), sfstream.WithPrefetch(20))
	ctx, stop := lab.NewStop(t)
	r := &runs{t: t, began: time.Now(), starts: make(map[string]time.Duration), left: 200, stop: stop}
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if err := c.Run(ctx, r.counting(nil), sfstream.OrderBy(perMessage)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(r.done) != 200 || len(r.starts) != 200 {
		t.Errorf("%d handled, %d different, want 200", len(r.done), len(r.starts))
	}
	s.ExpectSaved("200")
	if got := s.Log.Warnings("another loop"); len(got) > 0 {
		t.Errorf("AckManual warns of several Runs: %v", got)
	}
}

func runOnReceive(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 3)
	c := s.FollowFromOldest(sfstream.WithAck(sfstream.AckOnReceive))
	attempts := 0
	_, err := runUntil(t, c, 2, func(ctx context.Context, m *sfstream.Message) error {
		<-time.After(time.Second)
		s.ExpectSaved(m.ID)
		if m.ID == "2" {
			if attempts++; attempts < 3 {
				return errHandler
			}
		}
		return nil
	}, sfstream.OnError(sfstream.Retry(every(time.Minute, 10))))
	lab.Must(t, err)
	if attempts != 3 {
		t.Errorf("%d attempts, want 3", attempts)
	}
	if got := lab.Receive(t, c).ID; got != "3" {
		t.Errorf("got %s, want 3", got)
	}
}

// runOnReceiveStops has a channel without room when its Run stops: at once, and after its
// connection was given up for want of demand.
func runOnReceiveStops(t *testing.T) {
	for _, took := range []time.Duration{0, 10 * time.Minute} {
		s := lab.New(t)
		c := s.FollowFromOldest(sfstream.WithAck(sfstream.AckOnReceive), sfstream.WithPrefetch(1))
		s.PublishNext(lab.Orders, 1)
		err := c.Run(t.Context(), func(context.Context, *sfstream.Message) error {
			<-time.After(took)
			return errHandler
		})
		if err != errHandler {
			t.Fatalf("got %v, want the handler's error", err)
		}
		s.PublishNext(lab.Orders, 1)
		lab.Within(t, time.Second, func() {
			if m, err := c.Receive(anHour(t)); err != nil || m.ID != "2" {
				t.Errorf("after a handler of %v got %v, %v", took, m, err)
			}
		})
		lab.Must(t, c.Close())
	}
}

func runGoexit(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 2)
	c := s.FollowFromOldest()
	err := c.Run(t.Context(), func(context.Context, *sfstream.Message) error {
		runtime.Goexit()
		return nil
	}, sfstream.Workers(1))
	if err == nil || !strings.Contains(err.Error(), "Goexit") {
		t.Fatalf("got %v, want an error that names runtime.Goexit", err)
	}
	lab.ExpectIDs(t, lab.Loop(t, c, 2), lab.IDs(1, 2))
}

func runKeyPanics(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 5)
	c := s.FollowFromOldest()
	synctest.Wait()
	func() {
		defer func() {
			if got := recover(); got != errHandler {
				t.Errorf("recovered %v", got)
			}
		}()
		_ = c.Run(t.Context(), second, sfstream.OrderBy(func(m *sfstream.Message) string {
			if m.ID == "3" {
				panic(errHandler)
			}
			return m.ID
		}))
	}()
	lab.ExpectIDs(t, lab.Loop(t, c, 5), lab.IDs(1, 5))
}

func runSaves(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 3)
	c := s.FollowFromOldest()
	_, err := runUntil(t, c, 3, func(_ context.Context, m *sfstream.Message) error {
		<-time.After(200 * time.Millisecond)
		n, _ := strconv.Atoi(m.ID)
		s.ExpectSaved(map[int]string{1: "", 2: "1", 3: "2"}[n])
		return nil
	})
	lab.Must(t, err)
	s.ExpectSaved("3")
}

func runReconnects(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 10)
	c := s.FollowFromOldest()
	r, err := runUntil(t, c, 20, func(ctx context.Context, m *sfstream.Message) error {
		if m.ID == "5" {
			s.DropConnections()
			s.PublishNext(lab.Orders, 10)
		}
		return second(ctx, m)
	})
	lab.Must(t, err)
	lab.ExpectIDs(t, r.done, lab.IDs(1, 20))
}

func runIdles(t *testing.T) {
	s := lab.New(t)
	c := s.FollowFromOldest()
	go func() { // ends with the last event
		for _, n := range lab.IDs(1, 3) {
			<-time.After(time.Second)
			s.PublishNext(lab.Orders, 1)
			<-time.After(time.Second)
			s.ExpectSaved(n)
		}
	}()
	r, err := runUntil(t, c, 3, func(_ context.Context, m *sfstream.Message) error {
		n, _ := strconv.Atoi(m.ID)
		time.AfterFunc(50*time.Millisecond, func() { s.ExpectSaved(strconv.Itoa(n)) })
		return nil
	})
	lab.Must(t, err)
	lab.ExpectIDs(t, r.done, lab.IDs(1, 3))
	<-time.After(time.Minute)
}

func runRetriesInTime(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 3)
	c := s.FollowFromOldest()
	synctest.Wait()
	waits := map[string]time.Duration{"1": 20, "2": 30, "3": 10}
	var mu sync.Mutex
	var failed []string
	var asked []time.Duration // by policies, in the order of failures
	r, err := runUntil(t, c, 3, func(_ context.Context, m *sfstream.Message) error {
		mu.Lock()
		defer mu.Unlock()
		if slices.Contains(failed, m.ID) {
			return nil
		}
		failed = append(failed, m.ID)
		asked = append(asked, waits[m.ID]*time.Second)
		return errHandler
	}, sfstream.Workers(1), sfstream.OrderBy(perMessage), sfstream.OnError(sfstream.Retry(func() backoff.BackOff {
		return backoff.NewConstantBackOff(asked[len(asked)-1])
	})))
	lab.Must(t, err)
	r.startedAt(map[string]int{"1": 20, "2": 30, "3": 10})
}

func runUnsubscribesRetry(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 2)
	c := s.FollowFromOldest()
	time.AfterFunc(time.Second, func() { lab.Must(t, c.Unsubscribe(t.Context(), lab.Orders)) })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	attempts := 0
	lab.Must(t, c.Run(ctx, func(context.Context, *sfstream.Message) error {
		attempts++
		return errHandler
	}, sfstream.OnError(sfstream.Retry(every(5*time.Second, 100)))))
	if attempts != 1 {
		t.Errorf("%d attempts, want 1", attempts)
	}
	lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
	lab.ExpectIDs(t, lab.Loop(t, c, 2), lab.IDs(1, 2))
}

func runFailsAtEnd(t *testing.T) {
	s := lab.New(t)
	s.PublishNext(lab.Orders, 2)
	c := s.FollowFromOldest()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := c.Run(ctx, func(context.Context, *sfstream.Message) error {
		<-time.After(5 * time.Second)
		return errHandler
	}); !errors.Is(err, errHandler) {
		t.Errorf("got %v, want the handler's error", err)
	}
	lab.ExpectIDs(t, lab.Loop(t, c, 2), lab.IDs(1, 2))
}

func runMuch(t *testing.T) {
	const total = 2000
	s := lab.New(t)
	s.PublishNext(lab.Orders, total)
	c := s.FollowFromOldest(sfstream.WithPrefetch(300))
	var mu sync.Mutex
	failures := make(map[string]int)
	r, err := runUntil(t, c, total, func(_ context.Context, m *sfstream.Message) error {
		<-time.After(rand.N(100 * time.Millisecond))
		mu.Lock()
		defer mu.Unlock()
		if failures[m.ID] < 3 && rand.N(10) == 0 {
			failures[m.ID]++
			return errHandler
		}
		return nil
	}, sfstream.OrderBy(func(m *sfstream.Message) string { return m.ID[:1] + m.ID[len(m.ID)-1:] }),
		sfstream.Workers(16), sfstream.OnError(sfstream.Retry(every(50*time.Millisecond, 3))))
	lab.Must(t, err)
	if len(r.done) != total || len(r.starts) != total {
		t.Errorf("%d handled, %d different, want %d", len(r.done), len(r.starts), total)
	}
	s.ExpectSaved(strconv.Itoa(total))
	if st := c.Status().Channels[0]; st.Pending != 0 || st.Unacked != 0 || st.Handled != total {
		t.Errorf("status %+v, want all of %d handled", st, total)
	}
}

// runBounds looks, in every handler, at what the server still owes and the client holds. One reply
// of the Streaming API may pass the bound by its own size, which is all there is here; there the
// test is that all comes.
func runBounds(t *testing.T, policy sfstream.AckPolicy) {
	const prefetch = 20
	s := lab.New(t, sfstreamtest.WithBatchEvents(9), sfstreamtest.WithOverflowError())
	c := s.FollowFromOldest(sfstream.WithPrefetch(prefetch), sfstream.WithAck(policy))
	s.PublishNext(lab.Orders, 150)
	var mu sync.Mutex
	unsettled := make(map[string]bool)
	failed := make(map[string]bool)
	r, err := runUntil(t, c, 150, func(_ context.Context, m *sfstream.Message) error {
		mu.Lock()
		unsettled[m.ID] = true
		mu.Unlock()
		<-time.After(rand.N(time.Second))
		mu.Lock()
		defer mu.Unlock()
		held := c.Pending() + len(unsettled) + s.Outstanding(lab.Orders)
		if held > prefetch && lab.TransportOf(t) == sfstream.PubSub {
			t.Errorf("at message %s: %d held, want at most %d", m.ID, held, prefetch)
		}
		if n, _ := strconv.Atoi(m.ID); n%3 == 0 && !failed[m.ID] {
			failed[m.ID] = true
			return errHandler // it keeps its room
		}
		delete(unsettled, m.ID)
		return nil
	}, sfstream.Workers(4), sfstream.OrderBy(perMessage), sfstream.OnError(sfstream.Retry(every(10*time.Second, 5))))
	lab.Must(t, err)
	if st := c.Status().Channels[0]; len(r.done) != 150 || st.Handled != 150 || st.Unacked != 0 {
		t.Errorf("%d handled, status %+v, want 150", len(r.done), st)
	}
}

// A panic ends the program with the stack of the handler, as in any goroutine, and with no secret:
// also where the handler panics with all that it has.
func TestRunPanicEndsTheProgram(t *testing.T) {
	cmd := child.Command(t, "panic", struct{}{})
	cmd.Stderr = nil // of Output
	_, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !strings.Contains(string(exit.Stderr), "panic: of a handler: ") || !strings.Contains(string(exit.Stderr), "panicking.func") {
		t.Fatalf("got %v, want a panic that shows the handler", err)
	}
	account := sfstreamtest.NewServer(t).Account() // it is the same in every org
	token := account.OrgID[:15] + "!"              // as each token begins
	for _, secret := range []string{token, account.Password, account.SecurityToken, account.ConsumerSecret, account.RefreshToken} {
		if strings.Contains(string(exit.Stderr), secret) {
			t.Errorf("%q is in %s", secret, exit.Stderr)
		}
	}
}

// panicking is a program whose handler panics.
func panicking(struct{}) error {
	org, err := sfstreamtest.Start()
	if err != nil {
		return err
	}
	defer org.Close()
	client, err := sfstream.New(org.Authenticator(), sfstream.WithOrg(org), sfstream.WithReplay(sfstream.ReplayAll))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx := context.Background()
	if err := errors.Join(org.DefineEvent(lab.Orders, lab.Schema("Order__e")), client.Open(ctx), client.Subscribe(ctx, lab.Orders)); err != nil {
		return err
	}
	if _, err := org.Publish(lab.Orders, nil); err != nil {
		return err
	}
	defer func() { _ = recover() }() // does not get it
	return client.Run(ctx, func(ctx context.Context, msg *sfstream.Message) error {
		_, refused := client.Do(&http.Request{URL: &url.URL{Path: "nothing"}})
		panic(fmt.Sprintf("of a handler: %v %+v %#v %+v %+v %+v", client, client, client, msg, client.Status(), refused))
	})
}

func TestRunRefusesNonsense(t *testing.T) {
	c, err := sfstream.New(sfstreamtest.NewServer(t).Authenticator())
	lab.Must(t, err)
	retry := sfstream.Retry(every(time.Second, 1))
	for name, opt := range map[string]sfstream.RunOption{
		"Workers":           sfstream.Workers(0),
		"OrderBy":           sfstream.OrderBy(nil),
		"DrainTimeout":      sfstream.DrainTimeout(-1),
		"Retry":             sfstream.OnError(sfstream.Retry(nil)),
		"Skip":              sfstream.OnError(sfstream.Skip(nil)),
		"OnError: ":         sfstream.OnError(sfstream.Stop, retry),
		"OnError: only":     sfstream.OnError(retry, retry),
		"OnError: only R":   sfstream.OnError(sfstream.Skip(func(*sfstream.Message, error) {}), sfstream.Stop),
		"OnError: only Ret": sfstream.OnError(retry, sfstream.Stop, sfstream.Stop),
	} {
		if err := c.Run(t.Context(), second, opt); !errors.Is(err, sfstream.ErrInvalidOption) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := c.Run(t.Context(), nil); !errors.Is(err, sfstream.ErrInvalidOption) {
		t.Errorf("no handler: got %v", err)
	}
	if err := c.Run(t.Context(), second, sfstream.OnError(), sfstream.OnError(retry, sfstream.Stop)); !errors.Is(err, sfstream.ErrNotOpen) {
		t.Errorf("before Open: got %v, want ErrNotOpen", err)
	}
}

// scenario is one sub-test.
type scenario struct {
	name string
	run  func(t *testing.T)
}
