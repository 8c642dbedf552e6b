package pubsub

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// pubsubCloses is about the end of a program.
func pubsubCloses() []scenario {
	return []scenario{
		{name: "close_with_a_handler_in_flight", run: closeWithHandler},
		{name: "ctx_ends_with_a_handler_in_flight", run: ctxEndsWithHandler},
		{name: "close_with_acks_outstanding", run: closeWithAcks},
	}
}

// backlog follows the orders, of which five are there and more than wait in the client.
func backlog(t *testing.T, opts ...sfstream.Option) (*lab.Lab, []sfstreamtest.Event) {
	l := lab.New(t)
	events := l.PublishOrders(lab.Numbers(1, 5)...)
	l.Follow(append(opts, sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithPrefetch(4))...)
	return l, events
}

// restarted ends a program and starts it again. The marker is at an event, and the next one comes.
func restarted(l *lab.Lab, last sfstreamtest.Event, next ...int) {
	l.T.Helper()
	closeStreams(l)
	if m := l.Marker(lab.Orders); !bytes.Equal(m.ReplayID, last.ReplayID) {
		l.T.Errorf("stored is %x, want %x", m.ReplayID, last.ReplayID)
	}
	l.Follow()
	expectPositions(l, lab.Orders, earliest, after(last.ReplayID))
	l.Expect(next...)
	expectCalls(l, 2, 2)
	finishStream(l, lab.Orders)
}

// closeWithHandler: the end comes from elsewhere, while a body is at work. What it does is
// finished, and counts.
func closeWithHandler(t *testing.T) {
	l, events := backlog(t)
	closed := make(chan error)
	for m := range l.Client.Messages(t.Context()) {
		if l.Number(m) != 3 {
			continue
		}
		go func() { closed <- l.Client.Close() }() // ends when Close does, which is awaited here
		lab.Within(t, 300*time.Millisecond, func() { l.Must(<-closed) })
		synctest.Wait() // the server has heard of it
		if n := l.Streams(""); n != 0 {
			t.Errorf("%d streams while the body is still at work", n)
		}
		if m := l.Marker(lab.Orders); !bytes.Equal(m.ReplayID, events[1].ReplayID) {
			t.Errorf("stored is %x, want %x", m.ReplayID, events[1].ReplayID)
		}
		l.Pass(10 * time.Minute)
	}
	l.Must(l.Client.Err())
	restarted(l, events[2], 4, 5)
}

// ctxEndsWithHandler: the loop ends after the body, and the client lives on.
func ctxEndsWithHandler(t *testing.T) {
	l, events := backlog(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for m := range l.Client.Messages(ctx) {
		if l.Number(m) == 2 {
			cancel()
			l.Pass(10 * time.Minute)
		} else if l.Number(m) > 2 {
			t.Errorf("number %d comes after the end of ctx", l.Number(m))
		}
	}
	l.Must(l.Client.Err())
	if m := l.Marker(lab.Orders); !bytes.Equal(m.ReplayID, events[1].ReplayID) {
		t.Errorf("stored is %x, want %x", m.ReplayID, events[1].ReplayID)
	}
	m := l.Receive() // another loop goes on where that one ended
	if n := l.Number(m); n != 3 {
		t.Errorf("got %d, want 3", n)
	}
	m.Ack()
	closeStreams(l)
	if m := l.Marker(lab.Orders); !bytes.Equal(m.ReplayID, events[2].ReplayID) {
		t.Errorf("stored is %x, want %x", m.ReplayID, events[2].ReplayID)
	}
	subscribes := len(l.Subscribes(lab.Orders))
	l.Follow()
	l.Expect(4, 5)
	expectCalls(l, subscribes+1, 2)
	finishStream(l, lab.Orders)
}

// closeWithAcks: what is acked counts up to the first that is not, and acks that come after the end
// do nothing.
func closeWithAcks(t *testing.T) {
	l, events := backlog(t, sfstream.WithAck(sfstream.AckManual))
	var taken []*sfstream.Message
	for range 4 {
		taken = append(taken, l.Receive())
	}
	for _, i := range []int{3, 1, 0} { // not the third
		taken[i].Ack()
	}
	l.Stop()
	taken[2].Ack()
	l.Pass(time.Minute)
	restarted(l, events[1], 3, 4, 5)
}
