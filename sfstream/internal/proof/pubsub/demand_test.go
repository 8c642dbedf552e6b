package pubsub

import (
	"bytes"
	"fmt"
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

// pubsubDemand is about how many events are asked for, and how many come.
func pubsubDemand() []scenario {
	return []scenario{
		{name: "demand_above_the_cap", run: demandAboveTheCap},
		{name: "demand_of_none", run: demandOfNone},
		{name: "slow_handler_idle_close", run: slowHandlerIdleClose},
		{name: "responses_of_all_sizes", run: responsesOfAllSizes},
		{name: "slow_consumer", run: slowConsumer},
		{name: "no_stream_left_on_the_connection", run: noStreamLeft},
		{name: "schema_on_a_full_connection", run: schemaOnAFullConnection},
	}
}

// demandAboveTheCap: a server that counts less than it is asked for, silently or as an error, gets
// no request that it would clamp, and never makes a client wait for events that it believes to have
// asked for.
func demandAboveTheCap(t *testing.T) {
	for _, opts := range [][]sfstreamtest.Option{nil, {sfstreamtest.WithOverflowError()}, {sfstreamtest.WithCreditCap(60)}} {
		l := lab.New(t, opts...)
		l.PublishOrders(lab.Numbers(1, 300)...)
		l.Follow(sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithPrefetch(250))
		lab.Within(t, 0, func() {
			for want := 1; want <= 150; want++ {
				m := l.Receive()
				if n := l.Number(m); n != want {
					t.Fatalf("got %d, want %d", n, want)
				}
				m.Ack()
			}
			l.PublishOrders(lab.Numbers(301, 700)...)
			l.Expect(lab.Numbers(151, 700)...)
		})
		if n := l.MaxOutstanding(lab.Orders); n > 100 {
			t.Errorf("%d events were asked for at once", n)
		}
		expectCalls(l, 1, 1)
		finishStream(l, lab.Orders)
	}
}

// demandOfNone: what is wrong with our request is wrong with the next one too.
func demandOfNone(t *testing.T) {
	for _, n := range []int32{0, -1} {
		l := lab.New(t)
		spoil := grpcWire{request: func(r *eventbus.FetchRequest) { r.NumRequested = n }}
		l.Follow(spoil.option())
		l.PublishOrders(1)
		e := lab.ExpectEnd[*sfstream.ServerError](l)
		if e.Code != sfstream.Invalid || e.Reason != "sfdc.platform.eventbus.grpc.subscription.fetch.requested.events.invalid" || status.Code(e) != codes.InvalidArgument {
			t.Errorf("%d: %+v", n, e)
		}
		l.Pass(time.Hour)
		expectCalls(l, 1, 1)
		closeStreams(l)
		l.Follow() // the next program asks for some, and gets what this one did not
		l.Expect(1)
		finishStream(l, lab.Orders)
	}
}

// slowHandlerIdleClose: a body that takes longer than a stream lives without demand, again and
// again, with nothing waiting and with something.
func slowHandlerIdleClose(t *testing.T) {
	l := lab.New(t)
	l.Follow(sfstream.WithPrefetch(1))
	events := l.PublishOrders(lab.Numbers(1, 6)...)
	var got []int
	for m := range l.Client.Messages(t.Context()) {
		got = append(got, l.Number(m))
		l.Pass(3 * time.Minute)
		if n := l.Streams(lab.Orders); n != 0 && len(got) < 6 {
			t.Errorf("during the body of %d there are %d streams", len(got), n)
		}
		if len(got) == 6 {
			m.Ack()
			break
		}
	}
	l.Must(l.Client.Err())
	if !slices.Equal(got, lab.Numbers(1, 6)) {
		t.Errorf("got %v", got)
	}
	want := []position{latest}
	for _, e := range events[1:] { // one waits while the body runs, and is the position
		want = append(want, after(e.ReplayID))
	}
	expectPositions(l, lab.Orders, want...)
	expectCalls(l, 6, 1)

	endStreams(l, lab.Orders, "OK") // no end of the channel, and no reason to wait
	l.PublishOrders(7)
	lab.Within(t, 0, func() { l.Expect(7) })
	expectCalls(l, 7, 1)
	if err := l.Client.Status().Channels[0].LastError; err != nil {
		t.Errorf("the last error is %v", err)
	}
	l.ExpectUnworried()
	finishStream(l, lab.Orders)
}

// responsesOfAllSizes: the events of one request come in as many responses as the server likes,
// with empty ones between them.
func responsesOfAllSizes(t *testing.T) {
	const events, size = 400, 32 << 10
	payload := bytes.Repeat([]byte{0}, size)
	for _, test := range []struct {
		opts  []sfstreamtest.Option
		least int // responses
	}{
		{nil, 5}, // of 3 MB at most
		{[]sfstreamtest.Option{sfstreamtest.WithBatchEvents(1)}, events},
		{[]sfstreamtest.Option{sfstreamtest.WithBatchEvents(7)}, events / 7},
		{[]sfstreamtest.Option{sfstreamtest.WithBatchBytes(1)}, events},
	} {
		l := lab.New(t, append(test.opts, sfstreamtest.WithKeepalive(10*time.Second))...)
		var mu sync.Mutex
		pending, full, empty := int32(0), 0, 0
		l.Follow(sfstream.WithPrefetch(100), grpcWire{
			request: func(r *eventbus.FetchRequest) {
				mu.Lock()
				defer mu.Unlock()
				if pending += r.NumRequested; pending > 100 {
					t.Errorf("asked for %d more, %d in all", r.NumRequested, pending)
				}
			},
			response: func(r *eventbus.Response) {
				mu.Lock()
				defer mu.Unlock()
				if pending -= int32(len(r.Events)); len(r.Events) > 0 {
					full++
				} else {
					empty++
				}
			},
		}.option())
		for n := range events {
			_, err := l.PublishRaw(lab.Orders, sfstreamtest.RawEvent{Payload: payload, ID: fmt.Sprint(n)})
			l.Must(err)
			if n == 50 {
				l.Pass(time.Minute) // the rest is asked for already while nothing comes
			}
		}
		for n := range events {
			m := l.Receive()
			if m.ID != fmt.Sprint(n) || len(m.Raw()) != size {
				t.Fatalf("event %s of %d bytes, want number %d", m.ID, len(m.Raw()), n)
			}
			m.Ack()
		}
		mu.Lock()
		if full < test.least || empty < 5 {
			t.Errorf("%d responses and %d empty ones, want %d and 5", full, empty, test.least)
		}
		mu.Unlock()
		expectCalls(l, 1, 1)
		finishStream(l, lab.Orders)
	}
}

// slowConsumer: demand stops with the consumer, whatever waits at the server.
func slowConsumer(t *testing.T) {
	const prefetch, backlog = 50, 2000
	l := lab.New(t)
	l.PublishOrders(lab.Numbers(1, backlog)...)
	l.Follow(sfstream.WithReplay(sfstream.ReplayAll), sfstream.WithPrefetch(prefetch))
	for want := 1; want <= 200; want++ {
		m := l.Receive()
		if n := l.Number(m); n != want {
			t.Fatalf("got %d, want %d", n, want)
		}
		l.Pass(10 * time.Second)
		if waiting, asked := l.Client.Pending(), l.Outstanding(lab.Orders); waiting+asked > prefetch {
			t.Fatalf("%d wait and %d are asked for", waiting, asked)
		}
		m.Ack()
	}
	if n := len(l.Subscribes(lab.Orders)); n > 200/(prefetch/5)+1 {
		t.Errorf("%d Subscribe calls", n)
	}
	lab.Within(t, time.Second, func() { l.Expect(lab.Numbers(201, backlog)...) }) // and it wakes up with it
	l.ExpectUnworried()
	finishStream(l, lab.Orders)
}

// noStreamLeft: a connection carries so many streams and no more (1,000 at Salesforce). gRPC waits
// for one without a word; the client opens another connection.
func noStreamLeft(t *testing.T) {
	l, channels, more := fullConnection(t)
	want := make(map[string][]int)
	for i, channel := range channels[1:] {
		l.PublishNumbers(channel, i, 100+i)
		want[channel] = []int{i, 100 + i}
	}
	lab.Within(t, 0, func() { l.ExpectEach(want) })
	lab.Within(t, 25*time.Second, func() { l.Subscribe(more) })
	for i, channel := range channels[1:] {
		l.PublishNumbers(channel, i, 100+i)
	}
	lab.Within(t, 0, func() { l.ExpectEach(want) }) // the others have noticed nothing
	l.Must(l.Client.Unsubscribe(t.Context(), channels[0]))
	l.PublishNumbers(more, 1)
	l.Expect(1)
	if subscribes, logins := len(l.Subscribes(more)), l.Logins(); subscribes != 1 || logins != 1 {
		t.Errorf("%d Subscribe calls and %d logins", subscribes, logins)
	}
	finishStream(l, more)
}

// schemaOnAFullConnection: the streams that take all the room there is for calls do not keep the
// client from asking for a schema.
func schemaOnAFullConnection(t *testing.T) {
	l, channels, _ := fullConnection(t)
	l.Must(l.DefineEvent(channels[0], lab.Schema("Lab__e", `{"name":"New__c","type":["null","string"],"default":null}`)))
	l.PublishNumbers(channels[0], 1)
	lab.Within(t, time.Minute, func() { l.Expect(1) })
	for _, channel := range channels[1:] {
		if n := len(l.Subscribes(channel)); n != 1 {
			t.Errorf("%s: %d Subscribe calls", channel, n)
		}
	}
	finishStream(l, channels[0])
}

// fullConnection is a client that follows as many channels as its connection has room for, and one
// channel more. They have one schema, which is known.
func fullConnection(t *testing.T) (l *lab.Lab, channels []string, more string) {
	const most = 10
	l = lab.New(t, sfstreamtest.WithMaxStreams(most))
	l.Start()
	for i := range most + 1 {
		more = fmt.Sprintf("/event/Lab%d__e", i)
		l.Must(l.DefineEvent(more, lab.Schema("Lab__e")))
		if i == most {
			break
		}
		channels = append(channels, more)
		l.Subscribe(more)
		if i == 0 {
			l.PublishNumbers(more, i)
			l.Expect(i)
		}
	}
	return l, channels, more
}
