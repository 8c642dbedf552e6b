package client

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// steppingStore is a store that transactions can write to, which notes what they are to write.
type steppingStore struct {
	*lab.Store
	refuse, refuseNext error

	mu            sync.Mutex
	before, after []replaystore.Marker
	hangs         bool                // the next Save lasts until its ctx ends
	saving        *replaystore.Marker // of the Save under way
}

func (s *steppingStore) Save(ctx context.Context, markers map[replaystore.Key]replaystore.Marker) error {
	s.mu.Lock()
	hangs := s.hangs
	for _, marker := range markers {
		s.saving, s.hangs = &marker, false
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.saving = nil
	}()
	if hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.Store.Save(ctx, markers)
}

func (s *steppingStore) Advance(_ context.Context, key replaystore.Key, before, after replaystore.Marker) (replaystore.Advance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.saving != nil && !samePlace(*s.saving, before) {
		return replaystore.Advance{}, errors.New("a Save of an older marker is under way")
	}
	s.before, s.after = append(s.before, before), append(s.after, after)
	return replaystore.Advance{Key: key.Channel, Next: func(stored []byte) ([]byte, error) { return stored, s.refuseNext }}, s.refuse
}

func samePlace(a, b replaystore.Marker) bool {
	return string(a.ReplayID) == string(b.ReplayID) && string(a.Group.ReplayID) == string(b.Group.ReplayID) &&
		len(a.Group.Handled) == len(b.Group.Handled) && (len(a.Group.Handled) == 0 || reflect.DeepEqual(a.Group.Handled, b.Group.Handled))
}

// TestAdvance proves what Message.Advance says.
func TestAdvance(t *testing.T) {
	scenarios := []scenario{
		{name: "each step begins where the one before ended, and the saver agrees", run: advanceSteps},
		{name: "events that share a replay id are steps too", run: advanceInGroups},
		{name: "several messages are one step", run: advanceSeveral},
		{name: "a keepalive between two messages is a part of no step", run: advanceBehindKeepalive},
		{name: "a save that has an older marker ends first", run: advanceOutruns},
		{name: "only the next message will do", run: advanceOutOfOrder},
		{name: "what cannot be meant is refused", run: advanceRefused},
		{name: "a conflict ends the client", run: advanceConflicts},
		{name: "a step that was made already ends nothing", run: advanceHandled},
	}
	for _, transport := range []string{"pubsub", "cometd"} {
		t.Run(transport, func(t *testing.T) {
			for _, r := range scenarios {
				t.Run(r.name, func(t *testing.T) { synctest.Test(t, r.run) })
			}
		})
	}
}

// stepping follows a channel with a store for steps.
func stepping(t *testing.T, channel string, opts ...sfstream.Option) (*lab.Lab, *steppingStore) {
	l := lab.New(t)
	l.Must(l.DefineMembers(allChanges, sfstreamtest.Member{Channel: lab.Accounts, Enriched: []string{"Name"}}))
	s := &steppingStore{Store: l.Store}
	l.Start(append([]sfstream.Option{sfstream.WithReplayStore(s)}, opts...)...)
	l.Subscribe(channel)
	return l, s
}

func advanceSteps(t *testing.T) {
	l, s := stepping(t, lab.Orders)
	l.PublishNext(lab.Orders, 5)
	for range 5 {
		m := l.Receive()
		a, err := m.Advance(t.Context())
		lab.Must(t, err)
		if a.Key != lab.Orders {
			t.Errorf("the key is of %s", a.Key)
		}
		if got := string(s.after[len(s.after)-1].ReplayID); got != string(m.ReplayID) {
			t.Errorf("the step ends at %x, want %x", got, m.ReplayID)
		}
		m.Ack()
	}
	expectChain(t, s)
	l.Pass(time.Second)
	if m := l.Marker(lab.Orders); !samePlace(m, s.after[4]) || !m.Date.Equal(s.after[4].Date) || !m.Live.Equal(s.after[4].Live) {
		t.Errorf("the saver has %+v, want %+v", m, s.after[4])
	}
}

func expectChain(t *testing.T, s *steppingStore) {
	t.Helper()
	for i := 1; i < len(s.before); i++ {
		if !samePlace(s.before[i], s.after[i-1]) {
			t.Errorf("step %d begins at %+v, and the one before ended at %+v", i, s.before[i], s.after[i-1])
		}
	}
}

func advanceInGroups(t *testing.T) {
	l, s := stepping(t, allChanges)
	for _, ids := range [][]string{{"0011"}, {"001A", "001B", "001C"}, {"0012"}, {"001D", "001E"}} {
		_, err := l.Change(sfstreamtest.Change{Object: "Account", Type: "UPDATE", RecordIDs: ids, Set: map[string]any{"NumberOfEmployees": 1}})
		lab.Must(t, err)
	}
	l.Pass(time.Second)
	for i := range 7 {
		m := l.Receive()
		_, err := m.Advance(t.Context())
		lab.Must(t, err)
		if before, after := s.before[i], s.after[i]; samePlace(before, after) {
			t.Errorf("step %d ends where it began: %+v", i, before)
		}
		m.Ack()
	}
	// What the watermark learns without a message, such as that a group is whole, lies between two
	// steps: it moves to an id that the marker has named as a group's.
	for i := 1; i < len(s.before); i++ {
		ended, begins := s.after[i-1], s.before[i]
		if !samePlace(begins, ended) && (len(begins.Group.ReplayID) > 0 || string(begins.ReplayID) != string(ended.Group.ReplayID)) {
			t.Errorf("step %d begins at %+v, and the one before ended at %+v", i, begins, ended)
		}
	}
	l.Pass(time.Second)
	if m := l.Marker(allChanges); !samePlace(m, s.after[6]) && string(m.ReplayID) != string(s.after[6].Group.ReplayID) {
		t.Errorf("the saver has %+v, want %+v", m, s.after[6])
	}
}

func advanceSeveral(t *testing.T) {
	l, s := stepping(t, lab.Orders, sfstream.WithAck(sfstream.AckManual))
	l.PublishNext(lab.Orders, 3)
	l.Pass(time.Second)
	l.PublishNext(lab.Orders, 2) // in another batch
	var messages []*sfstream.Message
	for range 5 {
		messages = append(messages, l.Receive())
	}
	_, err := messages[0].Advance(t.Context(), messages[1:]...)
	lab.Must(t, err)
	if string(s.after[0].ReplayID) != string(messages[4].ReplayID) {
		t.Errorf("the step ends at %x", s.after[0].ReplayID)
	}
	messages[1].Ack() // the next step passes it
	_, err = messages[0].Advance(t.Context(), messages[2])
	lab.Must(t, err)
	if string(s.after[1].ReplayID) != string(messages[2].ReplayID) || !samePlace(s.before[0], s.before[1]) {
		t.Errorf("the step is from %x to %x", s.before[1].ReplayID, s.after[1].ReplayID)
	}
	for _, wrong := range [][]*sfstream.Message{{messages[3]}, {messages[0]}, {messages[1]}} {
		_, err = messages[0].Advance(t.Context(), wrong...)
		expectInvalid(t, err, "")
	}
}

func advanceBehindKeepalive(t *testing.T) {
	l, s := stepping(t, lab.Orders)
	l.PublishNext(lab.Orders, 1)
	m := l.Receive()
	_, err := m.Advance(t.Context())
	lab.Must(t, err)
	m.Ack()
	l.Pass(10 * time.Minute)
	l.PublishNext(lab.Orders, 1)
	m = l.Receive()
	_, err = m.Advance(t.Context())
	lab.Must(t, err)
	if string(s.after[1].ReplayID) != string(m.ReplayID) {
		t.Errorf("the step ends at %x", s.after[1].ReplayID)
	}
}

func advanceOutruns(t *testing.T) {
	l, s := stepping(t, lab.Orders)
	l.PublishNext(lab.Orders, 4)
	l.Receive().Ack()
	l.Pass(time.Second)
	s.mu.Lock()
	s.hangs = true
	s.mu.Unlock()
	l.Receive().Ack()
	l.Pass(time.Second) // its Save hangs
	for range 2 {       // that has the place before the first of them, but is older than the other
		m, began := l.Receive(), time.Now()
		_, err := m.Advance(t.Context())
		lab.Must(t, err)
		if time.Since(began) > 0 {
			t.Errorf("it took %v", time.Since(began))
		}
		m.Ack()
	}
	s.mu.Lock()
	last, saving := s.after[1], s.saving
	s.mu.Unlock()
	if saving != nil {
		t.Error("the Save is still under way")
	}
	l.Pass(time.Second)
	key, err := l.Client.Key(lab.Orders)
	lab.Must(t, err)
	marker, err := s.Load(t.Context(), key)
	if err != nil || !samePlace(marker, last) {
		t.Errorf("%+v was saved, %v; want %+v", marker, err, last)
	}
	if err := l.Client.Status().StoreError; err != nil || len(l.Log.Warnings("not saved")) > 0 {
		t.Errorf("the store counts as failing: %v", err)
	}
}

func expectInvalid(t *testing.T, err error, reason string) {
	t.Helper()
	if !errors.Is(err, sfstream.ErrInvalidOption) || !strings.Contains(err.Error(), reason) {
		t.Errorf("got %v, want ErrInvalidOption: %s", err, reason)
	}
}

func advanceOutOfOrder(t *testing.T) {
	l, s := stepping(t, lab.Orders, sfstream.WithAck(sfstream.AckManual))
	l.PublishNext(lab.Orders, 2)
	first, second := l.Receive(), l.Receive()
	_, err := second.Advance(t.Context())
	expectInvalid(t, err, "a message before it is not handled")
	first.Ack()
	_, err = second.Clone().Advance(t.Context())
	lab.Must(t, err)
	second.Ack()
	_, err = second.Advance(t.Context())
	expectInvalid(t, err, "counts as handled already")
	if len(s.after) != 1 {
		t.Errorf("the store was asked %d times", len(s.after))
	}
}

func advanceRefused(t *testing.T) {
	_, err := new(sfstream.Message).Advance(t.Context())
	expectInvalid(t, err, "did not come from a client")

	l := lab.New(t)
	l.Follow()
	l.PublishNext(lab.Orders, 1)
	_, err = l.Receive().Advance(t.Context())
	expectInvalid(t, err, "replaystore.FromRegister")
	l.Stop()

	l, _ = stepping(t, lab.Orders, sfstream.WithAck(sfstream.AckOnReceive))
	l.PublishNext(lab.Orders, 1)
	_, err = l.Receive().Advance(t.Context())
	expectInvalid(t, err, "AckOnReceive")
	l.Stop()

	l, _ = stepping(t, lab.Orders)
	l.Subscribe(lab.Invoices)
	l.PublishNext(lab.Orders, 1)
	m := l.Receive()
	l.PublishNext(lab.Invoices, 1)
	l.Pass(time.Second)
	other := l.Receive()
	_, err = other.Advance(t.Context(), m)
	expectInvalid(t, err, "several channels")
	lab.Must(t, l.Client.Unsubscribe(t.Context(), lab.Invoices))
	_, err = other.Advance(t.Context())
	expectInvalid(t, err, "unsubscribed")
	lab.Must(t, l.Client.Err())
}

func advanceConflicts(t *testing.T) {
	for _, next := range []bool{false, true} {
		l, s := stepping(t, lab.Orders)
		l.PublishNext(lab.Orders, 2)
		l.Pass(time.Second)
		err := l.Client.Run(t.Context(), func(ctx context.Context, m *sfstream.Message) error {
			if next {
				s.refuseNext = replaystore.ErrConflict
			} else {
				s.refuse = replaystore.ErrConflict
			}
			a, err := m.Advance(ctx)
			if next {
				lab.Must(t, err)
				_, err = a.Next(nil)
			}
			if e := lab.ExpectError[*sfstream.StoreError](t, err); e.Op != "advance" || e.Channel != lab.Orders || !errors.Is(err, replaystore.ErrConflict) {
				t.Errorf("got %v", err)
			}
			<-ctx.Done()
			return err
		}, sfstream.DrainTimeout(time.Hour))
		if e := lab.ExpectError[*sfstream.StoreError](t, err); e.Op != "advance" {
			t.Errorf("got %v", err)
		}
		expectEnded := lab.ExpectError[*sfstream.StoreError](t, l.Client.Err())
		if !errors.Is(expectEnded, replaystore.ErrConflict) {
			t.Errorf("got %v", expectEnded)
		}
	}
}

func advanceHandled(t *testing.T) {
	l, s := stepping(t, lab.Orders)
	s.refuseNext = replaystore.ErrHandled
	l.PublishNext(lab.Orders, 1)
	a, err := l.Receive().Advance(t.Context())
	lab.Must(t, err)
	if _, err := a.Next(nil); !errors.Is(err, replaystore.ErrHandled) {
		t.Errorf("got %v", err)
	}
	lab.Must(t, l.Client.Err())
}
