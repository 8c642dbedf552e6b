package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
)

// patience is how long tests wait for what has to come: longer than the longest outage.
const patience = 24 * time.Hour

// Receive takes a program's next message.
func Receive(t *testing.T, c *sfstream.Client) *sfstream.Message {
	t.Helper()
	return ReceiveWithin(t, c, patience)
}

// ReceiveWithin takes the next message of a program, which has so long to come.
func ReceiveWithin(t *testing.T, c *sfstream.Client, limit time.Duration) *sfstream.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	m, err := c.Receive(ctx)
	if err != nil {
		t.Fatalf("no message comes: %v; status %+v", err, c.Status())
	}
	return m
}

// ExpectID expects that a program's next message has an ID, and handles it. It decodes nothing.
func ExpectID(t *testing.T, c *sfstream.Client, want string) {
	t.Helper()
	m := Receive(t, c)
	if m.ID != want {
		t.Fatalf("got message %s, want %s", m.ID, want)
	}
	m.Ack()
}

// ExpectQuiet expects that nothing comes to a program for a while.
func ExpectQuiet(t *testing.T, c *sfstream.Client, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if m, err := c.Receive(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %+v, %v, want nothing to come", m, err)
	}
}

// Loop takes n messages in a loop and leaves it with break, the last one acked. It returns their
// IDs.
func Loop(t *testing.T, c *sfstream.Client, n int) (ids []string) {
	t.Helper()
	for m := range c.Messages(t.Context()) {
		if ids = append(ids, m.ID); len(ids) == n {
			m.Ack()
			break
		}
	}
	Must(t, c.Err())
	return ids
}

// ExpectIDs fails the test unless these IDs came in this order.
func ExpectIDs(t *testing.T, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("got %d messages, want %d; they differ at %d:\ngot  %v\nwant %v", len(got), len(want), i,
				got[min(i, len(got)):min(i+10, len(got))], want[min(i, len(want)):min(i+10, len(want))])
		}
	}
}

// TakeReplayIDs receives and acks what comes within a time, and returns the replay ids.
func TakeReplayIDs(t *testing.T, c *sfstream.Client, d time.Duration) (ids []string) {
	t.Helper()
	end := time.Now().Add(d)
	for time.Now().Before(end) {
		for c.Pending() > 0 {
			m := Receive(t, c)
			ids = append(ids, string(m.ReplayID))
			m.Ack()
		}
		<-time.After(time.Second)
		synctest.Wait()
	}
	return ids
}

// Receive takes the program's next message.
func (l *Lab) Receive() *sfstream.Message {
	l.T.Helper()
	return Receive(l.T, l.Client)
}

// Number is the number that a message holds.
func (l *Lab) Number(m *sfstream.Message) int {
	l.T.Helper()
	fields, err := m.Fields()
	l.Must(err)
	if text, ok := fields["payload"].(string); ok { // of a generic event
		n, err := strconv.Atoi(text)
		l.Must(err)
		return n
	}
	for _, field := range []string{"N__c", "NumberOfEmployees"} {
		switch n := fields[field].(type) {
		case float64:
			return int(n)
		case int64:
			return int(n)
		}
	}
	l.T.Fatalf("no number in %v", fields)
	return 0
}

// Expect takes exactly messages with these numbers, in this order, and handles them.
func (l *Lab) Expect(numbers ...int) {
	l.T.Helper()
	for i, want := range numbers {
		m := l.Receive()
		if got := l.Number(m); got != want {
			l.T.Fatalf("message %d of %d is number %d, want %d", i+1, len(numbers), got, want)
		}
		m.Ack()
	}
	l.expectNoMore()
}

// ExpectEach takes exactly messages with these numbers, each channel's in this order, and handles
// them.
func (l *Lab) ExpectEach(want map[string][]int) {
	l.T.Helper()
	got, n := make(map[string][]int), 0
	for _, numbers := range want {
		n += len(numbers)
	}
	for range n {
		m := l.Receive()
		got[m.Channel] = append(got[m.Channel], l.Number(m))
		m.Ack()
	}
	for channel, numbers := range want {
		if !slices.Equal(got[channel], numbers) {
			l.T.Fatalf("%s: got %v, want %v", channel, got[channel], numbers)
		}
	}
	l.expectNoMore()
}

// expectNoMore expects that no message waits.
func (l *Lab) expectNoMore() {
	l.T.Helper()
	synctest.Wait()
	if n := l.Client.Pending(); n > 0 {
		m := l.Receive()
		l.T.Fatalf("%d messages too many, the first of them is number %d of %s", n, l.Number(m), m.Channel)
	}
}

// ExpectQuiet expects that nothing comes for a while.
func (l *Lab) ExpectQuiet(d time.Duration) {
	l.T.Helper()
	ExpectQuiet(l.T, l.Client, d)
}

// ExpectStillWorks uses the client again after a test of failure.
func (l *Lab) ExpectStillWorks(channel string) {
	l.T.Helper()
	l.PublishNumbers(channel, 9999)
	l.Expect(9999)
	l.Must(l.Client.Err())
}

// ExpectEnd expects that the loop ends by itself, for a reason of type E. What was waiting before
// must have been taken.
func ExpectEnd[E error](l *Lab) E {
	l.T.Helper()
	ctx, cancel := context.WithTimeout(l.T.Context(), patience)
	defer cancel()
	for m := range l.Client.Messages(ctx) {
		l.T.Fatalf("number %d comes, want the end", l.Number(m))
	}
	if ctx.Err() != nil {
		l.T.Fatalf("the loop does not end; status %+v", l.Client.Status())
	}
	return ExpectError[E](l.T, l.Client.Err())
}

// ExpectDecodeError expects that a message cannot be read, in any way.
func (l *Lab) ExpectDecodeError(m *sfstream.Message) error {
	l.T.Helper()
	_, fields := m.Fields()
	_, marshal := m.MarshalJSON()
	var v map[string]any
	decode := m.Decode(&v)
	for _, err := range []error{fields, marshal, decode} {
		e := ExpectError[*sfstream.DecodeError](l.T, err)
		if e.Channel != m.Channel || e.SchemaID != m.SchemaID || !bytes.Equal(e.ReplayID, m.ReplayID) {
			l.T.Errorf("%+v", e)
		}
		Contains(l.T, e.Error(), m.Channel, fmt.Sprintf("%x", m.ReplayID))
	}
	return decode
}
