package sfstreamtest

import (
	"fmt"
	"strings"
	"time"
)

// connect answers a connect, at once or when there is something to tell. As in Salesforce, a held
// connect does not notice that its client has gone: events that it gets are lost.
func (x *exchange) connect(m *bayeuxMessage) {
	s := x.server
	if t := m.ConnectionType; t != "" && t != "long-polling" {
		x.reply(bayeuxReply{message: m, error: "400::Invalid connection type {" + t + "}"})
		return
	}
	ses := x.find(m)
	if ses == nil {
		return
	}
	x.polled = true
	s.endRival(ses)
	p := &poll{ctx: x.request.Context(), end: make(chan farewell, 1)}
	first, live, ok := ses.begin(p, s.config.cometd.duplicateStatus)
	if !ok {
		x.session = nil
		x.unknown(m)
		return
	}
	ses.desert(false)
	if live {
		s.bayeux.mu.Lock()
		s.bayeux.counts.duplicates++
		s.bayeux.mu.Unlock()
	}
	defer ses.finish(p)
	hold := s.config.cometd.hold
	if m.Advice != nil && m.Advice.Timeout != nil {
		hold = min(hold, time.Duration(max(0, min(*m.Advice.Timeout, 1<<31)))*time.Millisecond)
	}
	if first || len(x.messages) > 1 {
		hold = 0
	}
	f, over := x.hold(ses, p, hold)
	switch {
	case x.aborted:
		return
	case over && f.status != 0:
		x.status, x.session = f.status, nil
		return
	case over:
		x.session = nil
		x.farewell(m, f)
		return
	}
	// The token was good when the connect came. A login session that is in use does not time out,
	// but it can be revoked.
	if _, denied := s.eventsBearer(x.request); denied != "" {
		x.events, x.session = nil, nil
		s.endSession(ses, farewell{})
		x.farewell(m, farewell{error: denied, advice: adviceNone})
		return
	}
	r := bayeuxReply{message: m, clientID: ses.id}
	if first || m.Advice != nil {
		r.advice = fmt.Sprintf(adviceRetry, s.config.cometd.hold.Milliseconds())
	}
	x.reply(r)
	if mode := ses.isLeaving(); mode != "" {
		x.sayGoodbye(ses, mode)
	}
}

// farewell answers a connect that ends with its session.
func (x *exchange) farewell(m *bayeuxMessage, f farewell) {
	if f.error == unknownClient {
		x.reply(bayeuxReply{message: m, error: f.error, advice: f.advice})
		x.newNode()
		return
	}
	x.reply(bayeuxReply{message: m, clientID: m.ClientID, error: f.error, advice: f.advice})
}

// hold waits for events and takes them. over says that the connect ends in another way.
func (x *exchange) hold(ses *bayeuxSession, p *poll, d time.Duration) (f farewell, over bool) {
	s := x.server
	timer := time.NewTimer(d)
	defer timer.Stop()
	if d > 0 {
		s.held(1)
		defer s.held(-1)
	}
	// A connect that another one displaces may have taken the wake-up meant for that one.
	defer ses.wakeUp()
	gone := p.ctx.Done()
	for {
		select {
		case f := <-p.end:
			return f, true
		default:
		}
		x.events = s.take(ses, p)
		if len(x.events) > 0 || d == 0 || ses.isLeaving() != "" {
			return farewell{}, false
		}
		select {
		case <-ses.wake:
		case f := <-p.end:
			return f, true
		case <-gone:
			gone = nil
			ses.desert(true)
		case <-timer.C:
			if !s.faults.active(atKeepalive, "") {
				s.keepLogin(x)
				x.events = s.take(ses, p)
				return farewell{}, false
			}
			timer.Reset(d)
		case <-s.bayeux.closing:
			x.aborted = true
			return farewell{}, true
		}
	}
}

// endRival ends another session of the same browser whose connect is held: a browser has one
// session, and the newest wins.
func (s *Server) endRival(ses *bayeuxSession) {
	for _, rival := range s.bayeux.all() {
		if rival == ses || rival.browser != ses.browser {
			continue
		}
		rival.mu.Lock()
		polling := rival.poll != nil
		rival.mu.Unlock()
		if polling {
			s.endSession(rival, farewell{error: unknownClient, advice: adviceHandshake})
		}
	}
}

// keepLogin slides the timeout of the login session that a held connect has used.
func (s *Server) keepLogin(x *exchange) {
	_, token, _ := strings.Cut(x.request.Header.Get("Authorization"), " ")
	s.sessions.keep(strings.TrimSpace(token))
}
