package pubsub

import (
	"bytes"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// pubsubReplay is about where streams begin, and what is stored of it.
func pubsubReplay() []scenario {
	return []scenario{
		{name: "keepalive_ids", run: keepaliveIDs},
		{name: "aged_out_id", run: agedOutID},
		{name: "ids_of_all_lengths", run: idsOfAllLengths},
		{name: "stale_id_or_wrong_request", run: staleIDOrWrongRequest},
		{name: "stale_id_without_trailers", run: staleIDWithoutTrailers},
		{name: "routing_delay", run: routingDelay},
		{name: "dropped_before_any_response", run: droppedBeforeAnyResponse},
	}
}

// keepaliveIDs: the id of a keepalive lies ahead of all events. It is stored, but not before what
// came earlier is handled.
func keepaliveIDs(t *testing.T) {
	l := lab.New(t)
	var mu sync.Mutex
	var kept [][]byte
	watch := grpcWire{response: func(r *eventbus.Response) {
		mu.Lock()
		defer mu.Unlock()
		if len(r.Events) == 0 {
			kept = append(kept, bytes.Clone(r.Bytes(r.LatestReplayID)))
		}
	}}
	keepalives := func() [][]byte {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(kept)
	}
	l.Follow(watch.option(), sfstream.WithAck(sfstream.AckManual))
	l.PublishOrders(1, 2)
	one, two := l.Receive(), l.Receive()
	l.Pass(10*time.Minute + time.Second)
	ids := keepalives()
	if len(ids) != 10 || bytes.Equal(ids[0], ids[9]) {
		t.Fatalf("keepalives with the ids %x", ids)
	}
	two.Ack()
	l.Pass(time.Second)
	if m := l.Marker(lab.Orders); len(m.ReplayID) != 0 {
		t.Errorf("%x is stored, and 1 is not handled", m.ReplayID)
	}
	one.Ack()
	l.Pass(time.Second)
	if m := l.Marker(lab.Orders); !bytes.Equal(m.ReplayID, ids[9]) {
		t.Errorf("stored is %x, want %x", m.ReplayID, ids[9])
	}
	endStreams(l, lab.Orders, "UNAVAILABLE")
	l.Pass(10 * time.Second)
	expectPositions(l, lab.Orders, latest, after(ids[9]))
	l.Pass(80 * time.Hour) // the events age out
	l.Stop()
	ids = keepalives()
	last := ids[len(ids)-1]
	if m := l.Marker(lab.Orders); !bytes.Equal(m.ReplayID, last) {
		t.Errorf("stored is %x, want %x", m.ReplayID, last)
	}
	l.PublishOrders(3)
	l.Follow()
	l.Expect(3)
	expectPositions(l, lab.Orders, latest, after(ids[9]), after(last))
	finishStream(l, lab.Orders)
}

// agedOutID: the program was down for longer than events are retained.
func agedOutID(t *testing.T) {
	for _, fallback := range []sfstream.Fallback{sfstream.FallbackFail, sfstream.FallbackAll, sfstream.FallbackNew} {
		l := lab.New(t)
		l.Follow()
		events := l.PublishOrders(1, 2)
		l.Expect(1, 2)
		l.Stop()
		l.Pass(73 * time.Hour)
		l.PublishOrders(3)
		l.Pass(2 * time.Hour) // more than the margin of FallbackNew
		lost := after(events[1].ReplayID)

		l.Follow(sfstream.WithReplayFallback(fallback))
		switch fallback {
		case sfstream.FallbackFail:
			if e := lab.ExpectEnd[*sfstream.ReplayError](l); !bytes.Equal(e.Marker.ReplayID, events[1].ReplayID) {
				t.Errorf("%+v", e)
			}
			l.Pass(time.Hour)
			expectPositions(l, lab.Orders, latest, lost)
			l.Follow(sfstream.WithReplayFallback(sfstream.FallbackAll)) // the user decides otherwise
			l.Expect(3)
			expectPositions(l, lab.Orders, latest, lost, lost, earliest)
		case sfstream.FallbackAll:
			l.Expect(3)
			expectPositions(l, lab.Orders, latest, lost, earliest)
		case sfstream.FallbackNew:
			l.ExpectQuiet(time.Second)
			l.PublishOrders(4)
			l.Expect(4)
			expectPositions(l, lab.Orders, latest, lost, latest)
		}
		l.ExpectGap(lab.Orders, events[1])
		if n := l.Logins(); n > 3 {
			t.Errorf("%d logins", n)
		}
		finishStream(l, lab.Orders)
	}
}

// idsOfAllLengths: an id is bytes. The server alone judges it.
func idsOfAllLengths(t *testing.T) {
	l := lab.New(t)
	id := l.PublishOrders(1, 2)[0].ReplayID
	for i, good := range [][]byte{id, id[:8]} {
		l.Start()
		l.Subscribe(lab.Orders, sfstream.From(sfstream.ReplayAfter(good)))
		l.ExpectSubscribe(lab.Orders, "CUSTOM", good)
		l.Expect(2)
		expectCalls(l, i+1, i+1)
		l.Stop()
	}
	for _, bad := range [][]byte{id[:3], append(bytes.Clone(id), 0, 0), {0xff}, bytes.Repeat([]byte{7}, 100)} {
		before := len(l.Subscribes(lab.Orders))
		l.Start()
		l.Subscribe(lab.Orders, sfstream.From(sfstream.ReplayAfter(bad)))
		if e := lab.ExpectEnd[*sfstream.ReplayError](l); !bytes.Equal(e.Marker.ReplayID, bad) {
			t.Errorf("%x: %+v", bad, e)
		}
		l.Pass(time.Hour)
		if n := len(l.Subscribes(lab.Orders)) - before; n != 1 {
			t.Errorf("%x: %d Subscribe calls", bad, n)
		}
		closeStreams(l)
	}
	if _, err := sfstream.New(l.Authenticator(), sfstream.WithReplay(sfstream.ReplayAfter(nil))); err == nil {
		t.Error("ReplayAfter no id")
	}

	// An id that gets lost on the way is not one that is stale.
	empty := grpcWire{request: func(r *eventbus.FetchRequest) { r.ReplayId = nil }}
	l.Start(empty.option(), sfstream.WithReplayFallback(sfstream.FallbackAll))
	l.Subscribe(lab.Orders, sfstream.From(sfstream.ReplayAfter(id)))
	if e := lab.ExpectEnd[*sfstream.ServerError](l); e.Code != sfstream.Invalid {
		t.Errorf("%+v", e)
	}
	closeStreams(l)
	if n := l.GapCount(); n != 0 {
		t.Errorf("%d gaps", n)
	}
	l.Start()
	l.Subscribe(lab.Orders, sfstream.From(sfstream.ReplayAfter(id)))
	l.Expect(2)
	finishStream(l, lab.Orders)
}

// staleIDOrWrongRequest: of two INVALID_ARGUMENTs only one is about the position.
func staleIDOrWrongRequest(t *testing.T) {
	l := lab.New(t)
	l.Follow(sfstream.WithReplayFallback(sfstream.FallbackAll))
	events := l.PublishOrders(1, 2)
	l.Expect(1, 2)
	l.Reject(lab.Orders, 1, "subscription.fetch.topic.mismatch")
	endStreams(l, lab.Orders, "UNAVAILABLE")
	if e := lab.ExpectEnd[*sfstream.ServerError](l); e.Code != sfstream.Invalid || status.Code(e) != codes.InvalidArgument {
		t.Errorf("%+v", e)
	}
	closeStreams(l)
	if m := l.Marker(lab.Orders); !bytes.Equal(m.ReplayID, events[1].ReplayID) || l.GapCount() != 0 {
		t.Errorf("%d gaps, stored is %+v", l.GapCount(), m)
	}
	l.Follow(sfstream.WithReplayFallback(sfstream.FallbackAll))
	l.PublishOrders(3)
	l.Expect(3)
	expectCalls(l, 3, 2)

	l.Must(l.RestartReplay(lab.Orders, 1)) // the org has moved
	endStreams(l, lab.Orders, "UNAVAILABLE")
	l.PublishOrders(4)
	l.Expect(4)
	if n := l.GapCount(); n != 0 { // the channel was followed until a moment ago
		t.Errorf("%d gaps", n)
	}
	expectCalls(l, 5, 2)
	finishStream(l, lab.Orders)
}

// staleIDWithoutTrailers: a proxy takes the trailers away, and only the text tells.
func staleIDWithoutTrailers(t *testing.T) {
	l := lab.New(t)
	l.StripTrailers(true)
	last := l.StaleMarker()[2]
	l.PublishOrders(4)
	l.Follow(sfstream.WithReplayFallback(sfstream.FallbackAll))
	l.Expect(4)
	l.ExpectGap(lab.Orders, last)
	expectPositions(l, lab.Orders, earliest, after(last.ReplayID), earliest)

	l.Reject(lab.Orders, 1, "subscription.fetch.topic.mismatch") // says INVALID_ARGUMENT too
	endStreams(l, lab.Orders, "UNAVAILABLE")
	l.PublishOrders(5)
	l.Expect(5)
	l.ExpectGap(lab.Orders, last) // no other one
	expectCalls(l, 5, 2)
	finishStream(l, lab.Orders)
}

// routingDelay: Salesforce takes seconds until a stream of new events gets any.
func routingDelay(t *testing.T) {
	l := lab.New(t, sfstreamtest.WithRoutingDelay(3*time.Second))
	l.Follow()
	l.PublishOrders(1) // lost, and Subscribe says so
	l.Pass(4 * time.Second)
	l.PublishOrders(2)
	l.Expect(2)
	expectPositions(l, lab.Orders, latest)
	finishStream(l, lab.Orders)

	l = lab.New(t, sfstreamtest.WithRoutingDelay(3*time.Second))
	l.Start()
	l.Subscribe(lab.Orders, sfstream.From(sfstream.ReplaySince(time.Now())))
	l.PublishOrders(1)
	l.Expect(1)
	endStreams(l, lab.Orders, "UNAVAILABLE")
	l.PublishOrders(2, 3)
	l.Expect(2, 3)
	expectCalls(l, 2, 1)
	finishStream(l, lab.Orders)
}

// droppedBeforeAnyResponse: there is no id yet to resume after. "New" once more would skip what
// came meanwhile.
func droppedBeforeAnyResponse(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(0)
	l.Pass(2 * time.Hour)
	l.Follow()
	for range 3 {
		endStreams(l, lab.Orders, "UNAVAILABLE")
	}
	l.PublishOrders(1, 2) // while the client waits
	l.Expect(1, 2)
	calls := l.Subscribes(lab.Orders)
	if len(calls) < 2 || len(calls) > 4 {
		t.Errorf("%d Subscribe calls", len(calls))
	}
	want := append([]position{latest}, slices.Repeat([]position{earliest}, len(calls)-1)...)
	expectPositions(l, lab.Orders, want...)
	finishStream(l, lab.Orders)
}
