package scripted

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

// Streams answers Subscribe in place of a server. An Answer of nil holds the stream.
type Streams struct {
	mu     sync.Mutex
	opened []time.Time
	First  []*eventbus.FetchRequest
	Answer func(n int, req *eventbus.FetchRequest, sent int) (*eventbus.FetchResponse, error)
}

// Count is how many streams were opened.
func (s *Streams) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.opened)
}

// Option has a client's streams answered by the script.
func (s *Streams) Option() sfstream.Option {
	return sfstream.WithPubSubDialOptions(grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		s.mu.Lock()
		s.opened = append(s.opened, time.Now())
		n := len(s.opened)
		s.mu.Unlock()
		return &scriptedStream{s: s, ctx: ctx, n: n, got: make(chan *eventbus.FetchRequest, 1)}, nil
	}))
}

type scriptedStream struct {
	s    *Streams
	ctx  context.Context
	n    int
	got  chan *eventbus.FetchRequest
	req  *eventbus.FetchRequest
	sent int
}

func (s *scriptedStream) Header() (metadata.MD, error) { return nil, nil }

func (s *scriptedStream) Trailer() metadata.MD { return nil }

func (s *scriptedStream) CloseSend() error { return nil }

func (s *scriptedStream) Context() context.Context { return s.ctx }

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

// Keepalive is a response without events that names a replay id.
func Keepalive(id byte) *eventbus.FetchResponse {
	return &eventbus.FetchResponse{LatestReplayId: []byte{0, 0, 0, 0, 0, 0, 0, id, 0, 0}}
}
