package sfstreamtest

import (
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

// publishWire is the server's side of a PublishStream call.
type publishWire = grpc.BidiStreamingServer[eventbus.PublishRequest, eventbus.PublishResponse]

// publishStream is one PublishStream call. Only the handler's goroutine uses it, except for end.
type publishStream struct {
	server  *Server
	session *session
	wire    publishWire
	rpcID   string
	topic   *topic // nil until the first request names it

	end  chan error // has room for one: end now, with this error; nil is OK
	idle time.Time  // when the last request with events came
}

// PublishStream publishes events of one channel until the client or silence ends it.
func (p *pubsub) PublishStream(w publishWire) error {
	s, rpcID := (*Server)(p), p.dice.calls.uuid()
	return s.send(s.publishStream(w, rpcID), rpcID, w.SetTrailer)
}

func (s *Server) publishStream(w publishWire, rpcID string) error {
	session, err := s.authenticate(w.Context())
	if err != nil {
		return err
	}
	st := &publishStream{
		server: s, session: session, wire: w, rpcID: rpcID, end: make(chan error, 1), idle: time.Now(),
	}
	defer st.close()
	return st.run(receive(s, w))
}

func (st *publishStream) close() {
	if t := st.topic; t != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.publishStreams, st)
	}
}

// run answers requests until there are no more.
func (st *publishStream) run(in <-chan received[eventbus.PublishRequest]) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(time.Until(st.idle.Add(st.server.config.publishIdle)))
		select {
		case r := <-in:
			if errors.Is(r.err, io.EOF) {
				return nil
			}
			if r.err != nil {
				return r.err
			}
			if err := st.publish(r.request); err != nil {
				return err
			}
		case err := <-st.end:
			return err
		case <-timer.C:
			return st.server.newFailure("publish.stream.sweeper.timeout", "")
		case <-st.wire.Context().Done():
			return status.FromContextError(st.wire.Context().Err()).Err()
		}
	}
}

// publish answers a request.
func (st *publishStream) publish(req *eventbus.PublishRequest) error {
	if err := st.admit(req); err != nil {
		return err
	}
	resp, err := st.server.publishRequest(st.topic, req, true)
	if err != nil {
		return err
	}
	st.idle = time.Now()
	st.session.touch()
	resp.RpcId = st.rpcID
	return st.wire.Send(resp)
}

// admit checks what a request says besides its events. The first one gives the stream its channel.
func (st *publishStream) admit(req *eventbus.PublishRequest) error {
	s, first := st.server, st.topic == nil
	switch {
	case first && req.AuthRefresh != "":
		return s.newFailure("publish.auth.refresh.invalid", req.TopicName)
	case !first && req.TopicName != "" && req.TopicName != st.topic.name:
		return s.newFailure("publish.topic.mismatch", st.topic.name)
	case req.AuthRefresh != "":
		session, ok := s.sessions.useForEvents(req.AuthRefresh)
		if !ok {
			return s.newFailure("service.auth.refresh.invalid", st.topic.name)
		}
		st.session = session
	}
	name := req.TopicName
	if !first {
		name = st.topic.name // which may have been removed, or closed to the user, meanwhile
	}
	t, err := s.publishTopic(name)
	if err != nil {
		return err
	}
	if first {
		st.topic = t
		t.mu.Lock()
		t.publishStreams[st] = struct{}{}
		t.mu.Unlock()
	}
	return nil
}
