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

	end     chan error      // has room for one: end now, with this error; nil is OK
	idle    time.Time       // when the last request with events came
	quiet   time.Time       // when the last answer or keepalive was sent
	answers []publishAnswer // that are not sent yet, in the order of the requests
}

// publishAnswer is the answer to a request, and when it is sent.
type publishAnswer struct {
	response *eventbus.PublishResponse
	due      time.Time
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
		server: s, session: session, wire: w, rpcID: rpcID, end: make(chan error, 1),
		idle: time.Now(), quiet: time.Now(),
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
	for in != nil || len(st.answers) > 0 {
		timer.Reset(time.Until(st.deadline()))
		select {
		case r := <-in:
			if errors.Is(r.err, io.EOF) {
				in = nil // the answers that are due later still come
				continue
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
			if err := st.elapsed(); err != nil {
				return err
			}
		case <-st.wire.Context().Done():
			return status.FromContextError(st.wire.Context().Err()).Err()
		}
	}
	return nil
}

// deadline returns when there is something to do though the client is silent.
func (st *publishStream) deadline() time.Time {
	at := st.idle.Add(st.server.config.publishIdle)
	if every := st.server.config.publishKeepalive; every > 0 && st.quiet.Add(every).Before(at) {
		at = st.quiet.Add(every)
	}
	if len(st.answers) > 0 && st.answers[0].due.Before(at) {
		at = st.answers[0].due
	}
	return at
}

// elapsed does what is due.
func (st *publishStream) elapsed() error {
	now, c := time.Now(), &st.server.config
	for len(st.answers) > 0 && !st.answers[0].due.After(now) {
		if err := st.send(st.answers[0].response); err != nil {
			return err
		}
		st.answers = st.answers[1:]
	}
	if now.Sub(st.idle) >= c.publishIdle {
		return st.server.newFailure("publish.stream.sweeper.timeout", "")
	}
	if c.publishKeepalive > 0 && now.Sub(st.quiet) >= c.publishKeepalive {
		return st.send(new(eventbus.PublishResponse))
	}
	return nil
}

func (st *publishStream) send(resp *eventbus.PublishResponse) error {
	st.quiet = time.Now()
	st.session.touch()
	resp.RpcId = st.rpcID
	return st.wire.Send(resp)
}

// publish carries a request out, and answers it unless the answer is due later.
func (st *publishStream) publish(req *eventbus.PublishRequest) error {
	if err := st.admit(req); err != nil {
		return err
	}
	resp, due, err := st.server.publishRequest(st.wire.Context(), st.topic, req, true)
	if err != nil {
		return err
	}
	st.idle = time.Now()
	st.answers = append(st.answers, publishAnswer{resp, due})
	return st.elapsed()
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
