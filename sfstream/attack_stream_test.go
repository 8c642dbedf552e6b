package sfstream_test

import (
	"context"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

// ScriptedStreams answers Subscribe in place of the server.
type ScriptedStreams struct {
	mu     sync.Mutex
	opened []time.Time
	First  []*eventbus.FetchRequest
	Answer func(n int, req *eventbus.FetchRequest, sent int) (*eventbus.FetchResponse, error)
}

func (s *ScriptedStreams) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.opened)
}

func (s *ScriptedStreams) Option() sfstream.Option {
	return sfstream.WithPubSubDialOptions(grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		s.mu.Lock()
		s.opened = append(s.opened, time.Now())
		n := len(s.opened)
		s.mu.Unlock()
		return &scriptedStream{s: s, ctx: ctx, n: n, got: make(chan *eventbus.FetchRequest, 1)}, nil
	}))
}

type scriptedStream struct {
	s    *ScriptedStreams
	ctx  context.Context
	n    int
	got  chan *eventbus.FetchRequest
	req  *eventbus.FetchRequest
	sent int
}

func (s *scriptedStream) Header() (metadata.MD, error) { return nil, nil }
func (s *scriptedStream) Trailer() metadata.MD         { return nil }
func (s *scriptedStream) CloseSend() error             { return nil }
func (s *scriptedStream) Context() context.Context     { return s.ctx }
func (s *scriptedStream) SendMsg(m any) error {
	select {
	case s.got <- m.(*eventbus.FetchRequest):
	default:
	}
	return nil
}
func (s *scriptedStream) RecvMsg(m any) error {
	if s.req == nil {
		s.req = <-s.got
		s.s.mu.Lock()
		s.s.First = append(s.s.First, s.req)
		s.s.mu.Unlock()
	}
	select {
	case <-s.ctx.Done():
		return status.FromContextError(s.ctx.Err()).Err()
	case <-time.After(10 * time.Millisecond): // a fast network
	}
	resp, err := s.s.Answer(s.n, s.req, s.sent)
	s.sent++
	if err != nil {
		return err
	}
	if resp == nil {
		<-s.ctx.Done()
		return status.FromContextError(s.ctx.Err()).Err()
	}
	frame, err := proto.Marshal(resp)
	if err != nil {
		return err
	}
	return eventbus.Codec{}.Unmarshal(mem.BufferSlice{mem.SliceBuffer(frame)}, m)
}

func againstStreams(t *testing.T, limit int, answer func(n int, req *eventbus.FetchRequest, sent int) (*eventbus.FetchResponse, error), opts ...sfstream.Option) {
	t.Run("pubsub", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := NewScene(t)
			script := &ScriptedStreams{Answer: answer}
			c := s.Client(append([]sfstream.Option{script.Option()}, opts...)...)
			Must(t, c.Subscribe(t.Context(), Orders))
			start := time.Now()
			<-time.After(10 * time.Minute)
			n := script.Count()
			t.Logf("%d streams in %v, %d logins, Err %v", n, time.Since(start), s.Logins(), c.Err())
			if n > limit {
				t.Errorf("%d streams in 10 minutes", n)
			}
			Must(t, c.Close())
		})
	})
}

func Keepalive(id byte) *eventbus.FetchResponse {
	return &eventbus.FetchResponse{LatestReplayId: []byte{0, 0, 0, 0, 0, 0, 0, id, 0, 0}}
}

// A server greets each stream with a keepalive and ends it politely.
func TestAStreamThatEndsAfterItsKeepaliveIsNotStormed(t *testing.T) {
	againstStreams(t, 600, func(n int, req *eventbus.FetchRequest, sent int) (*eventbus.FetchResponse, error) {
		if sent == 0 {
			return Keepalive(1), nil
		}
		return nil, io.EOF
	})
}

// A server greets each stream with a keepalive and then says that it is down.
func TestAStreamThatFailsAfterItsKeepaliveIsNotStormed(t *testing.T) {
	againstStreams(t, 200, func(n int, req *eventbus.FetchRequest, sent int) (*eventbus.FetchResponse, error) {
		if sent == 0 {
			return Keepalive(1), nil
		}
		return nil, status.Error(codes.Unavailable, "going down")
	})
}

// A server refuses the ids that it names in its keepalives.
func TestAServerThatRefusesItsOwnIDsIsNotStormed(t *testing.T) {
	againstStreams(t, 600, func(n int, req *eventbus.FetchRequest, sent int) (*eventbus.FetchResponse, error) {
		if req.ReplayPreset == eventbus.ReplayPreset_CUSTOM {
			return nil, status.Error(codes.InvalidArgument, "The Replay ID validation failed. Ensure that")
		}
		if sent == 0 {
			return Keepalive(1), nil
		}
		return nil, io.EOF
	}, sfstream.WithReplayFallback(sfstream.FallbackAll))
}

// A server sends the same event at the begin of each stream.
func TestTheSameEventAgainAndAgainIsNoProgress(t *testing.T) {
	againstStreams(t, 600, func(n int, req *eventbus.FetchRequest, sent int) (*eventbus.FetchResponse, error) {
		if sent == 0 {
			return &eventbus.FetchResponse{Events: []*eventbus.ConsumerEvent{{ReplayId: []byte{0, 0, 0, 0, 0, 0, 0, 1, 0, 0}, Event: &eventbus.ProducerEvent{Id: "1", Payload: []byte{0}}}}}, nil
		}
		return nil, io.EOF
	})
}
