package groups

import (
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/scripted"
)

// pubsubServer serves an eventLog as the Pub/Sub API does, without a network.
type pubsubServer struct {
	log  *eventLog
	seed uint64
}

func (b *pubsubServer) options() sfstream.Option {
	return sfstream.WithPubSubDialOptions(
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, _ *grpc.ClientConn, _ grpc.UnaryInvoker, _ ...grpc.CallOption) error {
			switch req := req.(type) {
			case *eventbus.TopicRequest:
				info := reply.(*eventbus.TopicInfo)
				info.TopicName, info.CanSubscribe = req.TopicName, true
			case *eventbus.SchemaRequest:
				if req.SchemaId != "S" {
					return status.Error(codes.NotFound, "no such schema")
				}
				info := reply.(*eventbus.SchemaInfo)
				info.SchemaId, info.SchemaJson = "S", scripted.ChangeSchema
			}
			return nil
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, _ *grpc.StreamDesc, _ *grpc.ClientConn, _ string, _ grpc.Streamer, _ ...grpc.CallOption) (grpc.ClientStream, error) {
			b.log.mu.Lock()
			defer b.log.mu.Unlock()
			b.log.opens++
			s := &pubsubStream{log: b.log, ctx: ctx, rng: rand.New(rand.NewPCG(b.seed, b.log.opens)), asked: make(chan struct{}, 1), left: -1}
			if b.log.shape.perBreak > 0 && !b.log.calm {
				s.left = s.rng.IntN(b.log.shape.perBreak)
			}
			return s, nil
		}))
}

// pubsubStream is one Subscribe call.
type pubsubStream struct {
	log *eventLog
	ctx context.Context
	rng *rand.Rand

	mu       sync.Mutex
	requests []*eventbus.FetchRequest
	asked    chan struct{}

	begun  bool
	cursor int
	credit int
	left   int // events until it ends; negative: it does not
	open   int // the event that it sent last, where that can have others of its id behind it; else -1
	echoed bool
	behind uint64 // the event before the last group that it has begun; 0: none
}

func (s *pubsubStream) Header() (metadata.MD, error) { return nil, nil }
func (s *pubsubStream) Trailer() metadata.MD         { return nil }
func (s *pubsubStream) CloseSend() error             { return nil }
func (s *pubsubStream) Context() context.Context     { return s.ctx }

func (s *pubsubStream) SendMsg(m any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, m.(*eventbus.FetchRequest))
	notify(s.asked)
	return nil
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (s *pubsubStream) RecvMsg(m any) error {
	resp, err := s.respond()
	if err != nil {
		return err
	}
	frame, err := proto.Marshal(resp)
	if err != nil {
		return err
	}
	return eventbus.Codec{}.Unmarshal(mem.BufferSlice{mem.SliceBuffer(frame)}, m)
}

func idBytes(id uint64) []byte {
	return append(binary.BigEndian.AppendUint64(nil, id), 0, 0)
}

// take reads the requests so far.
func (s *pubsubStream) take() {
	s.mu.Lock()
	requests := s.requests
	s.requests = nil
	s.mu.Unlock()
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	for _, r := range requests {
		if !s.begun {
			s.begun, s.open = true, -1
			switch r.ReplayPreset {
			case eventbus.ReplayPreset_CUSTOM:
				s.cursor = s.log.after(binary.BigEndian.Uint64(r.ReplayId))
				s.log.logLocked("stream after %d", binary.BigEndian.Uint64(r.ReplayId))
			case eventbus.ReplayPreset_EARLIEST:
				s.cursor = s.log.oldest
				s.log.logLocked("stream of all")
			default:
				s.cursor = len(s.log.events)
				s.log.logLocked("stream of new ones")
			}
		}
		s.credit = min(100, s.credit+int(r.NumRequested))
	}
}

func (s *pubsubStream) respond() (*eventbus.FetchResponse, error) {
	wait := func(d time.Duration, more <-chan struct{}) (expired bool) {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-s.ctx.Done():
		case <-s.asked:
		case <-more:
		case <-timer.C:
			return true
		}
		return false
	}
	for !s.begun {
		wait(time.Minute, nil)
		if s.ctx.Err() != nil {
			return nil, status.FromContextError(s.ctx.Err()).Err()
		}
		s.take()
	}
	time.Sleep(time.Duration(1+s.rng.IntN(20)) * time.Millisecond) // a network
	for {
		if s.ctx.Err() != nil {
			return nil, status.FromContextError(s.ctx.Err()).Err()
		}
		s.take()
		resp, more, err := s.step()
		if resp != nil || err != nil {
			return resp, err
		}
		d := time.Duration(60+s.rng.IntN(90)) * time.Second
		if s.credit == 0 {
			d = time.Minute
		}
		if !wait(d, more) {
			continue
		}
		if s.take(); s.credit == 0 {
			return nil, io.EOF
		}
		if resp := s.idle(); resp != nil {
			return resp, nil
		}
	}
}

// step is what the server does now, nothing if it waits.
func (s *pubsubStream) step() (_ *eventbus.FetchResponse, more <-chan struct{}, _ error) {
	l := s.log
	l.mu.Lock()
	defer l.mu.Unlock()
	shape := &l.shape
	if time.Now().Before(l.down) {
		return nil, nil, status.Error(codes.Unavailable, "down")
	}
	if s.left == 0 && !l.calm {
		l.logLocked("stream ends")
		return nil, nil, []error{io.EOF, status.Error(codes.Unavailable, "RST_STREAM"), status.Error(codes.Internal, "Received RST_STREAM with code 0")}[s.rng.IntN(3)]
	}
	avail := len(l.events) - s.cursor
	inside := s.open >= 0 && s.cursor < len(l.events) && l.events[s.open].ID == l.events[s.cursor].ID
	if !l.calm && s.rng.Float64() < shape.chatter && (s.credit == 0 || inside && !s.echoed) {
		resp := &eventbus.FetchResponse{PendingNumRequested: int32(s.credit)}
		if s.open >= 0 {
			resp.LatestReplayId = idBytes(l.events[s.open].ID)
		}
		switch {
		case s.credit == 0 && s.rng.IntN(3) == 0:
			resp.LatestReplayId = nil
		case s.rng.IntN(3) == 0 && s.open >= 0:
			// One of before the group, which is where the client is at most.
			if before := l.after(l.events[s.open].ID - 1); before > 0 && l.events[before-1].ID == s.behind {
				resp.LatestReplayId = idBytes(s.behind)
			}
		}
		s.echoed = true
		l.logLocked("keepalive inside, pending %d, latest %x", s.credit, resp.LatestReplayId)
		return resp, nil, nil
	}
	if avail == 0 || s.credit == 0 {
		if s.credit == 0 {
			return nil, nil, nil
		}
		return nil, l.more, nil
	}
	n := 1 + s.rng.IntN(min(avail, s.credit, shape.chunk))
	if s.left > 0 && !l.calm {
		n = min(n, s.left)
		s.left -= n
	}
	resp := new(eventbus.FetchResponse)
	add := func(e scripted.AccountChange) {
		event := &eventbus.ProducerEvent{Id: e.EventID, SchemaId: "S", Payload: e.Avro()}
		if e.Unreadable {
			event.SchemaId = "lost"
		}
		resp.Events = append(resp.Events, &eventbus.ConsumerEvent{Event: event, ReplayId: idBytes(e.ID)})
		s.credit--
	}
	first := s.cursor
	for range n {
		if len(l.sent) > 0 && s.credit > 1 && !l.calm && s.rng.Float64() < shape.resend {
			if old := l.sent[max(0, len(l.sent)-1-s.rng.IntN(300))]; old < s.cursor {
				l.logLocked("resend %d", old)
				add(l.events[old])
			}
		}
		if s.credit == 0 {
			break
		}
		add(l.events[s.cursor])
		l.sent = append(l.sent, s.cursor)
		if s.open >= 0 && l.events[s.open].ID != l.events[s.cursor].ID {
			s.behind = l.events[s.open].ID
		}
		s.open, s.echoed = s.cursor, false
		s.cursor++
	}
	l.logLocked("send %d..%d, pending %d", first, s.cursor-1, s.credit)
	resp.LatestReplayId = resp.Events[len(resp.Events)-1].ReplayId
	resp.PendingNumRequested = int32(s.credit)
	return resp, nil, nil
}

// idle is a keepalive of a stream that has nothing more to send.
func (s *pubsubStream) idle() *eventbus.FetchResponse {
	l := s.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.cursor < len(l.events) {
		return nil
	}
	if l.shape.beyond {
		l.top += s.rng.Uint64N(3)
	}
	resp := &eventbus.FetchResponse{PendingNumRequested: int32(s.credit), LatestReplayId: idBytes(l.top)}
	l.logLocked("keepalive, pending %d, latest %d", s.credit, l.top)
	return resp
}
