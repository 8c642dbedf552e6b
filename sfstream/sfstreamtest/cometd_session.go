package sfstreamtest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// bayeux is the Streaming API's part of the org.
type bayeux struct {
	faults  cometdFaults
	closing chan struct{} // closed by Close

	mu        sync.Mutex
	closed    bool
	sessions  map[string]*bayeuxSession // by clientId
	ended     map[string]farewell       // what to tell sessions that are gone, at their next message
	nodes     map[string]time.Time      // the load balancer's cookies, with the time when each was made
	limit     time.Time                 // until when no event is delivered, see DailyLimit
	limitEnds *time.Timer
	counts    cometdCounts
	requests  []CometDRequest
}

func newBayeux() *bayeux {
	return &bayeux{
		closing:  make(chan struct{}),
		sessions: make(map[string]*bayeuxSession), ended: make(map[string]farewell), nodes: make(map[string]time.Time),
	}
}

// close ends the held connects and the sessions' timers.
func (b *bayeux) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.closed = true
	close(b.closing)
	if b.limitEnds != nil {
		b.limitEnds.Stop()
	}
	for _, ses := range b.sessions {
		ses.timer.Stop()
	}
}

// bayeuxSession is a client that has shaken hands.
type bayeuxSession struct {
	id      string
	browser string // the value of its cookie BAYEUX_BROWSER
	user    string
	timer   *time.Timer   // ends the session when no connect comes
	wake    chan struct{} // has room for one: there may be something to send

	// The connection of the held connect has ended. Salesforce would not know that; the method
	// Streams does.
	deserted atomic.Bool

	// Lock order: bayeuxSession.mu before topic.mu.
	mu        sync.Mutex
	gone      bool
	connected bool   // the session has sent a connect
	leaving   string // see isLeaving
	poll      *poll
	subs      []*subscription
	node      string    // the load balancer's cookie
	rotate    bool      // the next response sets another cookie
	previous  string    // the cookie before this one
	until     time.Time // until when previous is still good, for requests under way
}

// poll is a connect from its arrival until its events are taken.
type poll struct {
	ctx context.Context // ends with the connection
	end chan farewell   // has room for one: answer now, with this
}

// farewell is the answer to a connect that got neither events nor an idle answer.
type farewell struct {
	status int    // if not 0: this HTTP status in place of a Bayeux reply
	error  string // "": a success
	advice string
}

func (p *poll) finish(f farewell) {
	select {
	case p.end <- f:
	default: // it is ending already
	}
}

// newSession begins a session whose window starts now.
func (s *Server) newSession(browser, user, node string) *bayeuxSession {
	ids := s.dice.sessions
	ses := &bayeuxSession{
		// 25 to 31 characters of base 36.
		id:      strings.ToLower(ids.text() + ids.text())[:25+ids.below(7)],
		browser: browser, user: user, node: node,
		wake: make(chan struct{}, 1),
	}
	b := s.bayeux
	b.mu.Lock()
	defer b.mu.Unlock()
	ses.timer = time.AfterFunc(s.config.cometd.window, func() { s.expireSession(ses) })
	if b.closed {
		ses.timer.Stop()
	}
	b.sessions[ses.id] = ses
	return ses
}

func (b *bayeux) session(id string) *bayeuxSession {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sessions[id]
}

func (b *bayeux) all() []*bayeuxSession {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]*bayeuxSession, 0, len(b.sessions))
	for _, ses := range b.sessions {
		all = append(all, ses)
	}
	return all
}

// expireSession ends a session for which no connect came.
func (s *Server) expireSession(ses *bayeuxSession) {
	ses.mu.Lock()
	polling := ses.poll != nil
	ses.mu.Unlock()
	if !polling {
		s.endSession(ses, farewell{error: unknownClient, advice: adviceHandshake})
	}
}

// endSession removes a session. A held connect is answered; told says whether there was one.
func (s *Server) endSession(ses *bayeuxSession, f farewell) (told bool) {
	b := s.bayeux
	b.mu.Lock()
	known := b.sessions[ses.id] == ses
	delete(b.sessions, ses.id)
	b.mu.Unlock()
	if !known {
		return true
	}
	ses.mu.Lock()
	ses.gone = true
	subs, p := ses.subs, ses.poll
	ses.subs = nil
	ses.timer.Stop()
	ses.mu.Unlock()
	for _, sub := range subs {
		sub.leave()
	}
	if p != nil {
		p.finish(f)
	}
	return p != nil
}

// last returns what to tell a session that is gone, and forgets it.
func (b *bayeux) last(id string) (farewell, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f, ok := b.ended[id]
	delete(b.ended, id)
	return f, ok
}

// begin makes a connect the session's only one. An older one ends with an HTTP error; live says
// whether its client was still there.
func (ses *bayeuxSession) begin(p *poll, status int) (first, live, ok bool) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	if ses.gone {
		return false, false, false
	}
	if old := ses.poll; old != nil {
		live = old.ctx.Err() == nil
		old.finish(farewell{status: status})
	}
	ses.poll = p
	ses.timer.Stop()
	first = !ses.connected
	ses.connected = true
	return first, live, true
}

// finish ends a connect that took no events.
func (ses *bayeuxSession) finish(p *poll) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	if ses.poll == p {
		ses.poll = nil
	}
}

// desert notes that the session's client has gone, or has come back.
func (ses *bayeuxSession) desert(gone bool) {
	if ses.deserted.Swap(gone) == gone {
		return
	}
	ses.mu.Lock()
	subs := slices.Clone(ses.subs)
	ses.mu.Unlock()
	for _, sub := range subs {
		sub.topic.mu.Lock()
		sub.topic.notifyLocked()
		sub.topic.mu.Unlock()
	}
}

// restart begins the window after a response.
func (ses *bayeuxSession) restart(window time.Duration) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	if !ses.gone {
		ses.timer.Reset(window)
	}
}

// wakeUp tells the held connect that there is something new.
func (ses *bayeuxSession) wakeUp() {
	select {
	case ses.wake <- struct{}{}:
	default:
	}
}

// has reports whether the session has a channel, or any if channel is "".
func (ses *bayeuxSession) has(channel string) bool {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	return channel == "" || slices.ContainsFunc(ses.subs, func(sub *subscription) bool { return sub.topic.name == channel })
}

// endSessions ends all sessions that have one of the channels now, and not those that come later in
// their place. If there is no held connect to be told, the answer to the session's next message
// tells it.
func (s *Server) endSessions(f farewell, topics ...*topic) {
	sessions := make(map[*bayeuxSession]bool)
	for _, t := range topics {
		t.mu.Lock()
		for sub := range t.subs {
			sessions[sub.session] = true
		}
		t.mu.Unlock()
	}
	for ses := range sessions {
		s.endWith(ses, f)
	}
}

func (s *Server) endWith(ses *bayeuxSession, f farewell) {
	if !s.endSession(ses, f) && f.error != unknownClient {
		s.bayeux.mu.Lock()
		s.bayeux.ended[ses.id] = f
		s.bayeux.mu.Unlock()
	}
}
