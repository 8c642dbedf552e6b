package sfstreamtest

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// point is a place in the server at which it looks for a fault.
type point int

const (
	atConnect point = iota
	atLogin
	atGetTopic
	atGetSchema
	atSubscribe
	atReplay
	atKeepalive
	atTrailer
	atPublish
	atLag
	atHold
	atSeek
	atLoginPage
	atAuthorize
	atPublishRequest
	atPublishAnswer
	atPublishDelay
	atCommit
	atEnqueued
	atEmptyUpdate
	atCollection
	atRecord
)

// fault is one thing that is to go wrong.
type fault struct {
	name    string // of the method that asked for it
	at      point
	channel string // "" matches every channel
	left    int    // how often it happens; negative: until it is taken back
	code    string
	events  int
	wait    time.Duration
}

// faultTable has the faults that are to happen, oldest first. The zero value is empty.
type faultTable struct {
	mu   sync.Mutex
	list []fault
}

// add takes a fault in. With left 0 it takes those of its name back, on its channel or on all.
func (t *faultTable) add(f fault) {
	if f.left == 0 {
		t.remove(func(other fault) bool {
			return other.name == f.name && (f.channel == "" || f.channel == other.channel)
		})
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = append(t.list, f)
}

// take returns the fault that is due, and counts it as happened once.
func (t *faultTable) take(at point, channel string) (fault, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.list {
		f := &t.list[i]
		if f.at != at || f.channel != "" && f.channel != channel {
			continue
		}
		due := *f
		if f.left > 0 {
			f.left--
		}
		if f.left == 0 {
			t.list = slices.Delete(t.list, i, i+1)
		}
		return due, true
	}
	return fault{}, false
}

// active reports whether a fault is on, without using it up.
func (t *faultTable) active(at point, channel string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.ContainsFunc(t.list, func(f fault) bool {
		return f.at == at && (f.channel == "" || f.channel == channel)
	})
}

func (t *faultTable) remove(match func(fault) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = slices.DeleteFunc(t.list, match)
}

// toggle turns a lasting fault on or off.
func (t *faultTable) toggle(name string, at point, on bool) {
	t.add(fault{name: name})
	if on {
		t.add(fault{name: name, at: at, left: -1})
	}
}

// requests returns the faults, each as the control request that would ask for it.
func (t *faultTable) requests() []faultRequest {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []faultRequest
	for _, f := range t.list {
		req := faultRequest{Fault: f.name, Channel: f.channel, N: &f.left}
		switch f.at {
		case atLogin, atAuthorize:
			req.Kind = f.code
		case atReplay:
			req.N = &f.events
		case atCommit:
			req.Body = f.code
		case atRecord: // its channel is an object
			req.Kind, req.Channel, req.Code = f.channel, "", f.code
		default:
			req.Code, req.Seconds = f.code, int(f.wait.Seconds())
		}
		if f.lasts() {
			req = faultRequest{Fault: f.name, On: new(bool)}
			*req.On = true
		}
		list = append(list, req)
	}
	return list
}

// lasts reports whether the fault is turned on and off, and not counted.
func (f fault) lasts() bool {
	switch f.at {
	case atConnect, atKeepalive, atTrailer, atHold, atEnqueued, atEmptyUpdate, atCollection:
		return true
	}
	return f.name == lockUser
}

// Reject ends the next n Subscribe calls, or fails the next n /meta/subscribe, on a channel ("":
// any) with a code, see the package documentation. n < 0: all, until ClearFaults.
func (s *Server) Reject(channel string, n int, code string) {
	s.faults.add(fault{name: "Reject", at: atSubscribe, channel: channel, left: n, code: code})
}

// FailGetTopic fails the next n GetTopic calls. n < 0: all, until ClearFaults.
func (s *Server) FailGetTopic(n int, code string) {
	s.faults.add(fault{name: "FailGetTopic", at: atGetTopic, left: n, code: code})
}

// FailGetSchema fails the next n GetSchema calls. n < 0: all, until ClearFaults.
func (s *Server) FailGetSchema(n int, code string) {
	s.faults.add(fault{name: "FailGetSchema", at: atGetSchema, left: n, code: code})
}

// FailLogin fails the next n logins. The kind is "error/description" as in the token endpoint's
// JSON ("invalid_grant/user is locked", or just "rate_limit_exceeded"), or one of: "html", a
// maintenance page with status 200; "503"; "empty", status 200 without a body; "timeout", no answer
// until the client gives up; "redirect", 302 to a page. For a SOAP login the kind can be "CODE" or
// "CODE/message" of a fault ("LOGIN_MUST_USE_SECURITY_TOKEN"); an error of the token endpoint
// becomes INVALID_LOGIN. n < 0: all, until ClearFaults.
func (s *Server) FailLogin(n int, kind string) {
	s.faults.add(fault{name: "FailLogin", at: atLogin, left: n, code: kind})
}

// LockUser makes all logins fail until ClearFaults. Sessions live on.
func (s *Server) LockUser() { s.lockUser(true) }

const lockUser = "LockUser"

func (s *Server) lockUser(on bool) {
	f := fault{name: lockUser, at: atLogin, code: "invalid_grant/user is locked"}
	if on {
		f.left = -1
	}
	s.faults.add(f)
}

// Duplicate makes the next Subscribe with a replay id send the last n events up to that position
// again.
func (s *Server) Duplicate(channel string, n int) {
	s.faults.add(fault{name: "Duplicate", at: atReplay, channel: channel, left: min(1, max(0, n)), events: n})
}

// SilenceKeepalive stops the keepalives of quiet streams, or starts them again.
func (s *Server) SilenceKeepalive(on bool) { s.faults.toggle("SilenceKeepalive", atKeepalive, on) }

// StripTrailers leaves error-code and rpc-id out of all failures, as some proxies do.
func (s *Server) StripTrailers(on bool) { s.faults.toggle("StripTrailers", atTrailer, on) }

// Refuse makes the org unreachable for new connections. Open connections stay: an outage is
// Refuse(true) and then DropConnections.
func (s *Server) Refuse(on bool) { s.faults.toggle("Refuse", atConnect, on) }

// ClearFaults takes back all faults that are still to come or that last. Permissions that were
// revoked, channels that were removed and events that were truncated do not come back.
func (s *Server) ClearFaults() {
	s.faults.remove(func(fault) bool { return true })
	s.bayeux.faults.clear()
	s.groups.clear()
	s.restFaults.clear()
	s.eventRules.remove("")
	s.endSeeks()
	s.ProxyPage(0, 0, "")
	s.DailyLimit(0)
}

// ExpireToken makes all access tokens issued so far invalid. Open streams live on, as Salesforce's
// do; EndStreams("", "service.auth.error") ends them too.
func (s *Server) ExpireToken() { s.sessions.expire() }

// DropConnections cuts all connections now, without a goodbye.
func (s *Server) DropConnections() { s.network.strike((*conn).cut) }

// Blackhole makes all connections that are open now go dead: nothing that either side sends arrives
// any more, and neither side is told. New connections work.
//
// The org does not notice the loss of a managed subscription's stream: see [WithManagedExpiry].
func (s *Server) Blackhole() {
	s.managed.lose(time.Now())
	s.network.strike(func(c *conn) { c.dead.Store(true) })
}

// GoAway sends HTTP/2 GOAWAY on all connections to the Pub/Sub API. Open streams go on; new calls
// need a new connection.
func (s *Server) GoAway() {
	s.mu.Lock()
	n, closed := len(s.pubsub), s.closed
	s.mu.Unlock()
	if closed {
		return
	}
	s.servePubSub()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	for _, old := range s.pubsub[:n] {
		// It ends with the last stream of the server, at the latest when Close stops that.
		s.wg.Go(old.GracefulStop)
	}
}

// EndStreams ends the open streams of a channel ("": all) with a code, see the package
// documentation; "" or "OK" ends them without an error. Bayeux sessions that have the channel end
// as a whole: a held connect is told at once, else the next message is.
func (s *Server) EndStreams(channel, code string) {
	topics := s.matching(channel)
	for _, t := range topics {
		t.mu.Lock()
		t.endLocked(s.newFailure(code, t.name))
		t.mu.Unlock()
	}
	s.endSessions(cometdEnd(code), topics...)
}

func (t *topic) endLocked(err error) {
	for st := range t.streams {
		select {
		case st.end <- err:
		default: // it is ending already
		}
	}
}

// TruncateReplay makes all that a channel ("": all channels) has retained age out now.
func (s *Server) TruncateReplay(channel string) error {
	for _, t := range s.matching(channel) {
		t.mu.Lock()
		err := s.journal.write(entry{Op: opTruncate, Channel: t.name})
		t.log.forget(t.log.next)
		t.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// RestartReplay forgets what a channel has retained and gives its next event this replay id, higher
// or lower than all before, as when the org was moved, or its ids have grown large.
func (s *Server) RestartReplay(channel string, id uint64) error {
	t, ok := s.find(channel)
	if !ok || id == 0 {
		return fmt.Errorf("sfstreamtest: restarting %s at %d: %w", channel, id, errUndefined)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := s.journal.write(entry{Op: opTruncate, Channel: t.name, Replay: id}); err != nil {
		return err
	}
	t.log.begin(id)
	return nil
}

// Revoke takes away the permission to subscribe to a channel and ends its streams. The object whose
// changes the channel has is hidden from REST, too, and nothing can be pushed to a generic channel.
func (s *Server) Revoke(channel string) { s.permit(channel, false) }

// RevokePublish takes away the permission to publish on a channel ("": all), or to push to a generic
// one and to write its record: GetTopic says so, and REST refuses. [Server.Publish] is not the user,
// and goes on.
func (s *Server) RevokePublish(channel string) {
	for _, t := range s.matching(channel) {
		t.mu.Lock()
		t.readOnly = true
		t.mu.Unlock()
	}
}

// Grant gives both permissions back.
func (s *Server) Grant(channel string) { s.permit(channel, true) }

func (s *Server) permit(channel string, ok bool) {
	for _, t := range s.matching(channel) {
		t.mu.Lock()
		t.revoked = !ok
		t.readOnly = t.readOnly && !ok
		if !ok {
			t.endLocked(s.newFailure("subscription.topic.cannot.subscribe", t.name))
		}
		t.mu.Unlock()
		if !ok {
			s.endSessions(cometdEnd(""), t)
		}
	}
}

// Remove deletes a channel and ends its streams. Defining it again begins it anew.
func (s *Server) Remove(channel string) error {
	s.mu.Lock()
	t := s.topics[channel]
	s.mu.Unlock()
	if t == nil {
		return nil
	}
	t.mu.Lock()
	err := s.journal.write(entry{Op: opRemove, Channel: channel})
	if err == nil {
		t.removeLocked()
		t.endLocked(s.newFailure("topic.not.found", channel))
	}
	t.mu.Unlock()
	if err == nil {
		s.emptied(t)
		s.endSessions(cometdEnd(""), t)
	}
	return err
}
