package sfstreamtest

import (
	"encoding/binary"
	"fmt"
	"time"

	"google.golang.org/grpc"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

// managedStream is what the stream of a managed subscription has that others have not. Only the
// handler's goroutine uses it, but for what the mutex of the table guards.
type managedStream struct {
	*stream
	wire grpc.BidiStreamingServer[eventbus.ManagedFetchRequest, eventbus.ManagedFetchResponse]
	of   *managed

	commits time.Time                      // when the last commit came, or the stream began
	pending *eventbus.CommitReplayResponse // of the commits that are not answered yet; nil: there are none
	due     time.Time                      // when it is to be sent
	named   uint64                         // the replay id that the last response named; 0: none has been sent
}

// ManagedSubscribe serves a stream of a managed subscription.
func (p *pubsub) ManagedSubscribe(w grpc.BidiStreamingServer[eventbus.ManagedFetchRequest, eventbus.ManagedFetchResponse]) error {
	s, rpcID := (*Server)(p), p.dice.calls.uuid()
	return s.send(s.managedSubscribe(w, rpcID), rpcID, w.SetTrailer)
}

func (s *Server) managedSubscribe(w grpc.BidiStreamingServer[eventbus.ManagedFetchRequest, eventbus.ManagedFetchResponse], rpcID string) error {
	session, err := s.authenticate(w.Context())
	if err != nil {
		return err
	}
	in := receive(s, w)
	req, err := first(w.Context(), in)
	if req == nil {
		return err
	}
	m, err := s.managedOf(req)
	if err != nil {
		return err
	}
	t, err := s.resolve(m.TopicName)
	if err != nil {
		return err
	}
	st := &stream{
		server: s, topic: t, session: session, ctx: w.Context(), rpcID: rpcID,
		wake: make(chan struct{}, 1), end: make(chan error, 1),
	}
	ms := &managedStream{stream: st, wire: w, of: m, commits: time.Now()}
	st.managed, st.answer = ms, ms.respond
	if ended, err := ms.open(int(req.NumRequested)); ended || err != nil {
		return err
	}
	defer ms.leave()
	return run(st, in, ms.fetch)
}

// managedOf returns the subscription that a first request names.
func (s *Server) managedOf(req *eventbus.ManagedFetchRequest) (*managed, error) {
	fail := func(code string) error { return s.newFailure("managed.subscription."+code, "") }
	id, name := req.SubscriptionId, req.DeveloperName
	switch {
	case (id == "") == (name == ""):
		return nil, fail("id.or.developer.name.empty")
	case id != "" && len(id) != 15 && len(id) != 18:
		return nil, fail("subscription.id.invalid")
	case req.CommitReplayIdRequest != nil:
		return nil, fail("fetch.request.commit.request.restricted")
	case req.AuthRefresh != "":
		return nil, fail("fetch.request.auth.request.restricted")
	case req.NumRequested < 0:
		return nil, fail("fetch.request.events.invalid")
	}
	s.managed.mu.Lock()
	defer s.managed.mu.Unlock()
	m := s.managed.findLocked(or(id, name))
	switch {
	case m == nil && id != "", m != nil && id != "" && id == m.DeveloperName:
		return nil, fail("subscription.id.not.found")
	case m == nil, id == "" && name != m.DeveloperName:
		return nil, fail("developer.name.not.found")
	case m.State == stopped:
		return nil, fail("config.stopped")
	}
	return m, nil
}

// open takes the slot of the subscription and gives the stream its place in the topic.
func (ms *managedStream) open(n int) (ended bool, err error) {
	s, t, m := ms.server, ms.topic, ms.of
	t.mu.Lock()
	defer t.mu.Unlock()
	s.managed.mu.Lock()
	defer s.managed.mu.Unlock()
	call := SubscribeCall{ReplayID: m.Committed, NumRequested: n, At: time.Now()}
	t.log.expire(s.now(), s.config.retention)
	ms.began = t.log.next
	ms.cursor, call.Preset = m.startLocked(t)
	t.subscribes = append(t.subscribes, call)
	if f, ok := s.faults.take(atSubscribe, t.name); ok {
		return true, s.newFailure(f.code, t.name) // which is nil for "OK"
	}
	switch {
	case t.schema == nil && !t.multi: // the topic was removed a moment ago
		return false, s.newFailure("topic.not.found", t.name)
	case t.revoked:
		return false, s.newFailure("subscription.topic.cannot.subscribe", t.name)
	case !m.freeLocked(call.At, s.config.managed.expiry):
		code := "managed.subscription.already.active"
		if s.config.managed.precondition {
			code = "FAILED_PRECONDITION " + code
		}
		return false, s.newFailure(code, t.name)
	}
	if aged := len(m.Committed) > 0 && call.Preset != "CUSTOM"; aged && s.config.managed.refuseAged && !m.refused {
		m.refused = true
		return false, s.newFailure("subscription.fetch.replayid.corrupted", t.name)
	} else if len(m.Committed) > 0 && !aged {
		ms.reached = binary.BigEndian.Uint64(m.Committed)
	}
	if s.config.managed.perStream {
		m.delivered = ms.reached
	}
	if call.Preset == fromLatest && s.config.routingDelay > 0 {
		ms.routed = time.Now().Add(s.config.routingDelay)
	}
	if err := ms.joinLocked(n); err != nil {
		return false, err
	}
	m.holder, m.lost = ms.stream, time.Time{}
	return false, nil
}

// freeLocked reports whether a stream can have the slot now. A holder whose connection went dead
// has it until it expires.
func (m *managed) freeLocked(now time.Time, expiry time.Duration) bool {
	if m.holder == nil {
		return !now.Before(m.taken)
	}
	if m.lost.IsZero() || now.Sub(m.lost) < expiry {
		return false
	}
	m.endLocked(nil)
	return true
}

// leave gives the slot back, unless the connection went dead: then nobody knows that the client has
// gone.
func (ms *managedStream) leave() {
	ms.close()
	s := ms.server
	s.managed.mu.Lock()
	defer s.managed.mu.Unlock()
	m := ms.of
	if m.holder != ms.stream {
		return
	}
	if m.holder = nil; !m.lost.IsZero() {
		m.taken = m.lost.Add(s.config.managed.expiry)
	}
}

// fetch handles a further request of the client.
func (ms *managedStream) fetch(req *eventbus.ManagedFetchRequest) error {
	s, m := ms.server, ms.of
	fail := func(code string) error { return s.newFailure("managed.subscription."+code, ms.topic.name) }
	commit := req.CommitReplayIdRequest
	switch {
	case req.SubscriptionId != "" && req.SubscriptionId != m.ID && req.SubscriptionId != m.ID[:15],
		req.DeveloperName != "" && req.DeveloperName != m.DeveloperName:
		return fail("fetch.request.invalid")
	case req.NumRequested < 0:
		return fail("fetch.request.events.invalid")
	case req.NumRequested == 0 && req.AuthRefresh == "" && commit == nil:
		return fail("fetch.request.invalid")
	}
	if err := ms.more(int(req.NumRequested), req.AuthRefresh); err != nil || commit == nil {
		return err
	}
	now := time.Now()
	ms.commits = now
	answer := &eventbus.CommitReplayResponse{CommitRequestId: commit.CommitRequestId, ReplayId: commit.ReplayId, ProcessTime: s.now().UnixMilli()}
	text, err := ms.commit(commit.ReplayId)
	if err != nil {
		return err
	}
	if text != "" {
		answer.Error = &eventbus.Error{Code: eventbus.ErrorCode_COMMIT, Msg: text}
		return ms.confirm(answer)
	}
	if ms.pending == nil {
		ms.due = now.Add(s.config.managed.coalesce)
	}
	if ms.pending = answer; s.config.managed.coalesce > 0 {
		return nil
	}
	return ms.elapsed(now)
}

// commit commits a replay id, or says why it does not.
func (ms *managedStream) commit(id []byte) (refusal string, err error) {
	s, t, m := ms.server, ms.topic, ms.of
	t.mu.Lock()
	defer t.mu.Unlock()
	s.managed.mu.Lock()
	defer s.managed.mu.Unlock()
	if f, ok := s.faults.take(atCommit, t.name); ok {
		return f.code, nil
	}
	if len(id) == 0 {
		return "The commit request has no replay ID.", nil
	}
	if _, ok := t.retainedAfterLocked(id); !ok {
		return "The replay ID to commit is invalid or not retained any more.", nil
	}
	at := binary.BigEndian.Uint64(id)
	if _, retained := t.retainedAfterLocked(m.Committed); retained && at < binary.BigEndian.Uint64(m.Committed) {
		return "The replay ID to commit is older than the committed one.", nil
	}
	if at > m.delivered && at != ms.reached {
		return "The replay ID to commit has not been delivered on this subscription.", nil
	}
	if m.holder == ms.stream && string(m.Committed) != string(id) {
		m.Committed, m.refused = append([]byte(nil), id...), false
		err = s.keepLocked(m, false)
	}
	return "", err
}

// confirm sends the answer to a commit, in a response of its own.
func (ms *managedStream) confirm(answer *eventbus.CommitReplayResponse) error {
	response := &eventbus.ManagedFetchResponse{CommitResponse: answer, RpcId: ms.rpcID, PendingNumRequested: int32(ms.stream.pending())}
	if ms.named > 0 {
		response.LatestReplayId = replayBytes(ms.named) // which is no reason to commit again
	}
	return ms.wire.Send(response)
}

// respond sends what the stream has to send, with the answer to commits if there is one.
func (ms *managedStream) respond(r *eventbus.FetchResponse) error {
	ms.named = binary.BigEndian.Uint64(r.LatestReplayId)
	ms.deliver(ms.named)
	answer := ms.pending
	ms.pending = nil
	return ms.wire.Send(&eventbus.ManagedFetchResponse{
		Events: r.Events, LatestReplayId: r.LatestReplayId, RpcId: r.RpcId, PendingNumRequested: r.PendingNumRequested,
		CommitResponse: answer,
	})
}

// deliver notes up to where the client may commit.
func (ms *managedStream) deliver(id uint64) {
	s, t, m := ms.server, ms.topic, ms.of
	t.mu.Lock()
	defer t.mu.Unlock()
	s.managed.mu.Lock()
	defer s.managed.mu.Unlock()
	if id > m.delivered || m.delivered > t.log.last { // ids have begun anew
		m.delivered = id
	}
}

// deadline returns when the stream has to act for commits.
func (ms *managedStream) deadline() time.Time {
	at := ms.commits.Add(ms.server.config.managed.commitIdle)
	if ms.pending != nil {
		at = earliest(at, ms.due)
	}
	return at
}

// elapsed acts on the deadline for commits.
func (ms *managedStream) elapsed(now time.Time) error {
	if answer := ms.pending; answer != nil && !now.Before(ms.due) {
		ms.pending = nil
		if err := ms.confirm(answer); err != nil {
			return err
		}
	}
	if idle := ms.server.config.managed.commitIdle; now.Sub(ms.commits) >= idle {
		return ms.server.newFailure(fmt.Sprintf("DEADLINE_EXCEEDED: No CommitReplayRequests sent in the last %d seconds", int(idle.Seconds())), "")
	}
	return nil
}
