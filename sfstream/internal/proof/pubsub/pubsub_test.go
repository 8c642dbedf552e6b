package pubsub

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// TestPubSub plays what servers of the Pub/Sub API do, each scenario in a bubble of its own. Its
// test proves what the client makes of it: which messages come, and how often it subscribes and
// logs in meanwhile.
func TestPubSub(t *testing.T) {
	scenarios := slices.Concat(
		pubsubLogins(), pubsubFlows(), pubsubDemand(), pubsubReplay(), pubsubRepeats(), pubsubTrouble(), pubsubChannels(), pubsubSchemas(),
		pubsubChanges(), pubsubCloses(),
	)
	slices.SortStableFunc(scenarios, func(a, b scenario) int { return strings.Compare(a.name, b.name) })
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) { synctest.Test(t, s.run) })
	}
}

// endStreams is EndStreams, once the client has heard of it: what is published now does not go over
// the old streams.
func endStreams(l *lab.Lab, channel, code string) {
	l.EndStreams(channel, code)
	synctest.Wait()
}

// expectCalls expects how often the orders were subscribed to, and how often a client logged in, so
// far.
func expectCalls(l *lab.Lab, subscribes, logins int) {
	l.T.Helper()
	synctest.Wait()
	if s, n := len(l.Subscribes(lab.Orders)), l.Logins(); s != subscribes || n != logins {
		l.T.Errorf("%d Subscribe calls and %d logins, want %d and %d", s, n, subscribes, logins)
	}
}

// expectPositions expects how the streams of a channel began: the preset, or the event that the
// stream resumed after.
func expectPositions(l *lab.Lab, channel string, want ...position) {
	l.T.Helper()
	synctest.Wait()
	var got []position
	for _, call := range l.Subscribes(channel) {
		got = append(got, position{call.Preset, string(call.ReplayID)})
	}
	if !slices.Equal(got, want) {
		l.T.Errorf("the streams began with\n%+q, want\n%+q", got, want)
	}
}

// position is where a stream began.
type position struct{ preset, id string }

var latest, earliest = position{preset: "LATEST"}, position{preset: "EARLIEST"}

// after is the position behind a replay id.
func after(id []byte) position { return position{"CUSTOM", string(id)} }

// subscribeWaits are the times between Subscribe calls of the orders, from the call with this index
// on.
func subscribeWaits(l *lab.Lab, from int) (waits []time.Duration) {
	calls := l.Subscribes(lab.Orders)
	for i := from + 1; i < len(calls); i++ {
		waits = append(waits, calls[i].At.Sub(calls[i-1].At))
	}
	return waits
}

// finishStream uses the client once more after all that happened to it, and ends it. Nothing stays
// behind at the server.
func finishStream(l *lab.Lab, channel string) {
	l.T.Helper()
	l.ExpectStillWorks(channel)
	if n := l.Streams(channel); n != 1 {
		l.T.Errorf("%d streams, want one", n)
	}
	closeStreams(l)
}

// closeStreams ends the client, which may have ended before. It takes no time.
func closeStreams(l *lab.Lab) {
	l.T.Helper()
	lab.Within(l.T, 300*time.Millisecond, func() { _ = l.Client.Close() })
	synctest.Wait()
	if n := l.Streams(""); n != 0 {
		l.T.Errorf("%d streams stay behind", n)
	}
}

// grpcWire sees what goes over streams, and may change it: what a client of ours would never send,
// and what only few servers do.
type grpcWire struct {
	open     func(ctx context.Context) context.Context // what a call begins with
	request  func(r *eventbus.FetchRequest)
	response func(r *eventbus.Response)
}

func (w grpcWire) option() sfstream.Option {
	return sfstream.WithPubSubDialOptions(grpc.WithStreamInterceptor(
		func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, stream grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			if w.open != nil {
				ctx = w.open(ctx)
			}
			s, err := stream(ctx, desc, cc, method, opts...)
			return &wiredStream{s, w}, err
		}))
}

type wiredStream struct {
	grpc.ClientStream
	wire grpcWire
}

func (s *wiredStream) SendMsg(m any) error {
	if r, ok := m.(*eventbus.FetchRequest); ok && s.wire.request != nil {
		s.wire.request(r)
	}
	return s.ClientStream.SendMsg(m)
}

func (s *wiredStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if r, ok := m.(*eventbus.Response); ok && err == nil && s.wire.response != nil {
		s.wire.response(r)
	}
	return err
}

// scenario is one sub-test.
type scenario struct {
	name string
	run  func(t *testing.T)
}
