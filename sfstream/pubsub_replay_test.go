package sfstream_test

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
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// pubsubReplay is about where streams begin, and what is stored of it.
func pubsubReplay() []scenario {
	return []scenario{
		{name: "08_keepalive_ids", run: keepaliveIDs},
		{name: "10_aged_out_id", run: agedOutID},
		{name: "11_ids_of_all_lengths", run: idsOfAllLengths},
		{name: "12_stale_id_or_wrong_request", run: staleIDOrWrongRequest},
		{name: "13_stale_id_without_trailers", run: staleIDWithoutTrailers},
		{name: "15_routing_delay", run: routingDelay},
		{name: "16_dropped_before_any_response", run: droppedBeforeAnyResponse},
	}
}

// keepaliveIDs: the id of a keepalive lies ahead of all events. It is stored, but not
// before what came earlier is handled.
func keepaliveIDs(t *testing.T) {
	l := newLab(t)
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
	l.follow(watch.option(), sfstream.WithAck(sfstream.AckManual))
	l.publish(1, 2)
	one, two := l.receive(), l.receive()
	l.pass(10*time.Minute + time.Second)
	ids := keepalives()
	if len(ids) != 10 || bytes.Equal(ids[0], ids[9]) {
		t.Fatalf("keepalives with the ids %x", ids)
	}
	two.Ack()
	l.pass(time.Second)
	if m := l.marker(labOrders); len(m.ReplayID) != 0 {
		t.Errorf("%x is stored, and 1 is not handled", m.ReplayID)
	}
	one.Ack()
	l.pass(time.Second)
	if m := l.marker(labOrders); !bytes.Equal(m.ReplayID, ids[9]) {
		t.Errorf("stored is %x, want %x", m.ReplayID, ids[9])
	}
	l.endStreams(labOrders, "UNAVAILABLE")
	l.pass(10 * time.Second)
	l.expectPositions(labOrders, latest, after(ids[9]))
	l.pass(80 * time.Hour) // the events age out
	l.stop()
	ids = keepalives()
	last := ids[len(ids)-1]
	if m := l.marker(labOrders); !bytes.Equal(m.ReplayID, last) {
		t.Errorf("stored is %x, want %x", m.ReplayID, last)
	}
	l.publish(3)
	l.follow()
	l.expect(3)
	l.expectPositions(labOrders, latest, after(ids[9]), after(last))
	l.finishStream(labOrders)
}

// agedOutID: the program was down for longer than events are retained.
func agedOutID(t *testing.T) {
	for _, fallback := range []sfstream.Fallback{sfstream.FallbackFail, sfstream.FallbackAll, sfstream.FallbackNew} {
		l := newLab(t)
		l.follow()
		events := l.publish(1, 2)
		l.expect(1, 2)
		l.stop()
		l.pass(73 * time.Hour)
		l.publish(3)
		l.pass(2 * time.Hour) // more than the margin of FallbackNew
		lost := after(events[1].ReplayID)

		l.follow(sfstream.WithReplayFallback(fallback))
		switch fallback {
		case sfstream.FallbackFail:
			if e := expectEnd[*sfstream.ReplayError](l); !bytes.Equal(e.Marker.ReplayID, events[1].ReplayID) {
				t.Errorf("%+v", e)
			}
			l.pass(time.Hour)
			l.expectPositions(labOrders, latest, lost)
			l.follow(sfstream.WithReplayFallback(sfstream.FallbackAll)) // the user decides otherwise
			l.expect(3)
			l.expectPositions(labOrders, latest, lost, lost, earliest)
		case sfstream.FallbackAll:
			l.expect(3)
			l.expectPositions(labOrders, latest, lost, earliest)
		case sfstream.FallbackNew:
			l.expectQuiet(time.Second)
			l.publish(4)
			l.expect(4)
			l.expectPositions(labOrders, latest, lost, latest)
		}
		l.expectGap(labOrders, events[1])
		if n := l.Logins(); n > 3 {
			t.Errorf("%d logins", n)
		}
		l.finishStream(labOrders)
	}
}

// idsOfAllLengths: an id is bytes. The server alone judges it.
func idsOfAllLengths(t *testing.T) {
	l := newLab(t)
	id := l.publish(1, 2)[0].ReplayID
	for i, good := range [][]byte{id, id[:8]} {
		l.start()
		l.subscribe(labOrders, sfstream.From(sfstream.ReplayAfter(good)))
		l.expectSubscribe(labOrders, "CUSTOM", good)
		l.expect(2)
		l.expectCalls(i+1, i+1)
		l.stop()
	}
	for _, bad := range [][]byte{id[:3], append(bytes.Clone(id), 0, 0), {0xff}, bytes.Repeat([]byte{7}, 100)} {
		before := len(l.Subscribes(labOrders))
		l.start()
		l.subscribe(labOrders, sfstream.From(sfstream.ReplayAfter(bad)))
		if e := expectEnd[*sfstream.ReplayError](l); !bytes.Equal(e.Marker.ReplayID, bad) {
			t.Errorf("%x: %+v", bad, e)
		}
		l.pass(time.Hour)
		if n := len(l.Subscribes(labOrders)) - before; n != 1 {
			t.Errorf("%x: %d Subscribe calls", bad, n)
		}
		l.closeStreams()
	}
	if _, err := sfstream.New(l.Authenticator(), sfstream.WithReplay(sfstream.ReplayAfter(nil))); err == nil {
		t.Error("ReplayAfter no id")
	}

	// An id that gets lost on the way is not one that is stale.
	empty := grpcWire{request: func(r *eventbus.FetchRequest) { r.ReplayId = nil }}
	l.start(empty.option(), sfstream.WithReplayFallback(sfstream.FallbackAll))
	l.subscribe(labOrders, sfstream.From(sfstream.ReplayAfter(id)))
	if e := expectEnd[*sfstream.ServerError](l); e.Code != sfstream.Invalid {
		t.Errorf("%+v", e)
	}
	l.closeStreams()
	if n := l.gapCount(); n != 0 {
		t.Errorf("%d gaps", n)
	}
	l.start()
	l.subscribe(labOrders, sfstream.From(sfstream.ReplayAfter(id)))
	l.expect(2)
	l.finishStream(labOrders)
}

// staleIDOrWrongRequest: of two INVALID_ARGUMENTs only one is about the position.
func staleIDOrWrongRequest(t *testing.T) {
	l := newLab(t)
	l.follow(sfstream.WithReplayFallback(sfstream.FallbackAll))
	events := l.publish(1, 2)
	l.expect(1, 2)
	l.Reject(labOrders, 1, "subscription.fetch.topic.mismatch")
	l.endStreams(labOrders, "UNAVAILABLE")
	if e := expectEnd[*sfstream.ServerError](l); e.Code != sfstream.Invalid || status.Code(e) != codes.InvalidArgument {
		t.Errorf("%+v", e)
	}
	l.closeStreams()
	if m := l.marker(labOrders); !bytes.Equal(m.ReplayID, events[1].ReplayID) || l.gapCount() != 0 {
		t.Errorf("%d gaps, stored is %+v", l.gapCount(), m)
	}
	l.follow(sfstream.WithReplayFallback(sfstream.FallbackAll))
	l.publish(3)
	l.expect(3)
	l.expectCalls(3, 2)

	l.must(l.RestartReplay(labOrders, 1)) // the org has moved
	l.endStreams(labOrders, "UNAVAILABLE")
	l.publish(4)
	l.expect(4)
	if n := l.gapCount(); n != 0 { // the channel was followed until a moment ago
		t.Errorf("%d gaps", n)
	}
	l.expectCalls(5, 2)
	l.finishStream(labOrders)
}

// staleIDWithoutTrailers: a proxy takes the trailers away, and only the text tells.
func staleIDWithoutTrailers(t *testing.T) {
	l := newLab(t)
	l.StripTrailers(true)
	last := l.staleMarker()[2]
	l.publish(4)
	l.follow(sfstream.WithReplayFallback(sfstream.FallbackAll))
	l.expect(4)
	l.expectGap(labOrders, last)
	l.expectPositions(labOrders, earliest, after(last.ReplayID), earliest)

	l.Reject(labOrders, 1, "subscription.fetch.topic.mismatch") // says INVALID_ARGUMENT too
	l.endStreams(labOrders, "UNAVAILABLE")
	l.publish(5)
	l.expect(5)
	l.expectGap(labOrders, last) // no other one
	l.expectCalls(5, 2)
	l.finishStream(labOrders)
}

// routingDelay: Salesforce takes seconds until a stream of new events gets any.
func routingDelay(t *testing.T) {
	l := newLab(t, sfstreamtest.WithRoutingDelay(3*time.Second))
	l.follow()
	l.publish(1) // lost, and Subscribe says so
	l.pass(4 * time.Second)
	l.publish(2)
	l.expect(2)
	l.expectPositions(labOrders, latest)
	l.finishStream(labOrders)

	l = newLab(t, sfstreamtest.WithRoutingDelay(3*time.Second))
	l.start()
	l.subscribe(labOrders, sfstream.From(sfstream.ReplaySince(time.Now())))
	l.publish(1)
	l.expect(1)
	l.endStreams(labOrders, "UNAVAILABLE")
	l.publish(2, 3)
	l.expect(2, 3)
	l.expectCalls(2, 1)
	l.finishStream(labOrders)
}

// droppedBeforeAnyResponse: there is no id yet to resume after. "New" once more would
// skip what came meanwhile.
func droppedBeforeAnyResponse(t *testing.T) {
	l := newLab(t)
	l.publish(0)
	l.pass(2 * time.Hour)
	l.follow()
	for range 3 {
		l.endStreams(labOrders, "UNAVAILABLE")
	}
	l.publish(1, 2) // while the client waits
	l.expect(1, 2)
	calls := l.Subscribes(labOrders)
	if len(calls) < 2 || len(calls) > 4 {
		t.Errorf("%d Subscribe calls", len(calls))
	}
	want := append([]position{latest}, slices.Repeat([]position{earliest}, len(calls)-1)...)
	l.expectPositions(labOrders, want...)
	l.finishStream(labOrders)
}
