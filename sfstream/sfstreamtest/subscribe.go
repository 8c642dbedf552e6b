package sfstreamtest

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

// wire is the server's side of a Subscribe call.
type wire = grpc.BidiStreamingServer[eventbus.FetchRequest, eventbus.FetchResponse]

// stream is one Subscribe or ManagedSubscribe call: a place in a channel, and what the client has
// asked for. Only the handler's goroutine uses it, except for the fields named below.
type stream struct {
	server  *Server
	topic   *topic
	session *session
	ctx     context.Context
	answer  func(*eventbus.FetchResponse) error
	managed *managedStream // nil: it is a Subscribe call
	rpcID   string

	wake chan struct{} // has room for one: there may be something to send
	end  chan error    // has room for one: end now, with this error; nil is OK

	// The topic's mutex guards these.
	cursor      int // index of the next record
	outstanding int // how many events were asked for and not sent

	began  int         // index of the first record that came after the subscribe: those before are replayed
	place  place       // how far the stream is in a group
	broken *GroupBreak // the fault that ends the stream now, inside of a group; nil if it goes on

	seek    seek
	reached uint64    // the last replay id that the client knows of, 0 if none
	failed  error     // the error with which the stream ends; nil while it goes on
	quiet   time.Time // when the last response was sent; keepalives are timed from here
	routed  time.Time // when a stream of new events begins to see them; zero once it does
	batch   batch
}

// Subscribe serves a stream until the client, a fault or silence ends it.
func (p *pubsub) Subscribe(w wire) error {
	s, rpcID := (*Server)(p), p.dice.calls.uuid()
	return s.send(s.subscribe(w, rpcID), rpcID, w.SetTrailer)
}

func (s *Server) subscribe(w wire, rpcID string) error {
	session, err := s.authenticate(w.Context())
	if err != nil {
		return err
	}
	in := receive(s, w)
	req, err := first(w.Context(), in)
	if req == nil {
		return err
	}
	call := SubscribeCall{
		Preset: req.ReplayPreset.String(), ReplayID: req.ReplayId, NumRequested: int(req.NumRequested), At: time.Now(),
	}
	t, err := s.resolve(req.TopicName)
	if err != nil {
		return err
	}
	st := &stream{
		server: s, topic: t, session: session, ctx: w.Context(), answer: w.Send, rpcID: rpcID,
		wake: make(chan struct{}, 1), end: make(chan error, 1),
	}
	if ended, err := st.open(req, call); ended || err != nil {
		return err
	}
	defer st.close()
	return run(st, in, st.fetch)
}

// received is a request of a client, or why there are no more.
type received[Req any] struct {
	request *Req
	err     error // the last value has an error: io.EOF if the client has closed its side
}

// receive reads the client's requests. The goroutine ends with the stream, at the latest when the
// handler returns, because that ends the stream's context.
func receive[Req, Resp any](s *Server, w grpc.BidiStreamingServer[Req, Resp]) <-chan received[Req] {
	in := make(chan received[Req])
	s.wg.Go(func() {
		for {
			var r received[Req]
			r.request, r.err = w.Recv()
			if message, ok := any(r.request).(proto.Message); ok && r.err == nil {
				r.err = s.checkSize(message)
			}
			select {
			case in <- r:
			case <-w.Context().Done():
				return
			}
			if r.err != nil {
				return
			}
		}
	})
	return in
}

// first is the first request of a stream: nil where none comes, without an error where the client
// has closed its side.
func first[Req any](ctx context.Context, in <-chan received[Req]) (*Req, error) {
	select {
	case r := <-in:
		switch {
		case errors.Is(r.err, io.EOF):
			return nil, nil
		case r.err != nil:
			return nil, r.err
		}
		return r.request, nil
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}

// open checks the first request and gives the stream its place in the channel.
func (st *stream) open(req *eventbus.FetchRequest, call SubscribeCall) (ended bool, err error) {
	s, t := st.server, st.topic
	fail := func(code string) error { return s.newFailure(code, t.name) }
	t.mu.Lock()
	defer t.mu.Unlock()
	t.subscribes = append(t.subscribes, call)
	if f, ok := s.faults.take(atSubscribe, t.name); ok {
		return true, fail(f.code) // which is nil for "OK"
	}
	switch {
	case t.schema == nil && !t.multi: // the channel was removed a moment ago
		return false, fail("topic.not.found")
	case t.revoked:
		return false, fail("subscription.topic.cannot.subscribe")
	case req.NumRequested <= 0:
		return false, fail("subscription.fetch.requested.events.invalid")
	case req.ReplayPreset == eventbus.ReplayPreset_CUSTOM && len(req.ReplayId) == 0:
		return false, fail("subscription.fetch.replayid.validation.failed")
	}

	t.log.expire(s.now(), s.config.retention)
	st.began = t.log.next
	switch req.ReplayPreset {
	case eventbus.ReplayPreset_EARLIEST:
		st.cursor = t.log.first
	case eventbus.ReplayPreset_CUSTOM:
		i, ok := t.afterLocked(req.ReplayId)
		if !ok {
			return false, fail("subscription.fetch.replayid.corrupted")
		}
		st.cursor = i
		st.reached = binary.BigEndian.Uint64(req.ReplayId)
		if f, ok := s.faults.take(atReplay, t.name); ok {
			st.cursor = t.log.back(st.cursor, f.events)
		}
	default:
		st.cursor = t.log.next
		if s.config.routingDelay > 0 {
			st.routed = time.Now().Add(s.config.routingDelay)
		}
	}
	return false, st.joinLocked(int(req.NumRequested))
}

// joinLocked makes the stream one of the channel, at its cursor.
func (st *stream) joinLocked(n int) error {
	if err := st.askLocked(n); err != nil {
		return err
	}
	st.quiet = time.Now()
	st.seek = st.server.seekLocked(st.topic, st.cursor)
	st.topic.streams[st] = struct{}{}
	st.topic.notifyLocked()
	return nil
}

func (st *stream) close() {
	st.topic.mu.Lock()
	defer st.topic.mu.Unlock()
	delete(st.topic.streams, st)
	st.topic.notifyLocked()
}

// run sends the events that there are, as far as the client has asked for them, and waits for more.
// fetch handles a further request.
func run[Req any](st *stream, in <-chan received[Req], fetch func(*Req) error) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		sent, err := st.sendEvents()
		if err != nil {
			return err
		}
		if st.broken != nil {
			return st.breakOff(st.broken)
		}
		if sent {
			continue
		}
		timer.Reset(time.Until(st.deadline()))
		select {
		case r := <-in:
			if errors.Is(r.err, io.EOF) {
				return nil
			}
			if r.err != nil {
				return r.err
			}
			if err := fetch(r.request); err != nil {
				return err
			}
		case <-st.wake:
		case err := <-st.end:
			return err
		case <-timer.C:
			done, err := st.elapsed()
			if done || err != nil {
				return err
			}
		case <-st.ctx.Done():
			return status.FromContextError(st.ctx.Err()).Err()
		}
	}
}

// wakeUp tells the stream that its channel has something new.
func (st *stream) wakeUp() {
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

// fetch handles a further request of the client.
func (st *stream) fetch(req *eventbus.FetchRequest) error {
	s, t := st.server, st.topic
	switch {
	case req.TopicName != "" && req.TopicName != t.name:
		return s.newFailure("subscription.fetch.topic.mismatch", t.name)
	case req.NumRequested < 0:
		return s.newFailure("subscription.fetch.requested.events.invalid", t.name)
	case req.NumRequested == 0 && req.AuthRefresh == "":
		return s.newFailure("subscription.fetch.request.invalid", t.name)
	}
	return st.more(int(req.NumRequested), req.AuthRefresh)
}

// more takes the demand of a further request, and the token in it unless that is empty.
func (st *stream) more(n int, token string) error {
	s, t := st.server, st.topic
	if token != "" {
		session, ok := s.sessions.useForEvents(token)
		if !ok {
			return s.newFailure("service.auth.refresh.invalid", t.name)
		}
		st.session = session
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if st.outstanding == 0 && n > 0 {
		st.quiet = time.Now()
	}
	return st.askLocked(n)
}

// askLocked adds to the number of events that the client asked for.
func (st *stream) askLocked(n int) error {
	limit := st.server.config.creditCap
	st.outstanding += n
	st.topic.maxOutstanding = max(st.topic.maxOutstanding, st.outstanding)
	if st.outstanding > limit && st.server.config.overflow {
		return st.server.newFailure("subscription.fetch.overflow", st.topic.name)
	}
	st.outstanding = min(st.outstanding, limit)
	return nil
}

// sendEvents sends one batch, if there is one to send.
func (st *stream) sendEvents() (bool, error) {
	if !st.routed.IsZero() || st.server.seeks(st.seek) {
		return false, nil
	}
	if !st.fill() {
		return false, st.failed
	}
	st.session.touch()
	st.server.countDelivered(st.topic, len(st.batch.response.Events))
	// grpc has encoded the response when Send returns, so the response can be filled again.
	err := st.answer(&st.batch.response)
	st.quiet = time.Now()
	return true, err
}
