package sfstreamtest

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// handshake begins a session. If the token or a limit of the org is at fault, that error is nested
// in a 403::Handshake denied.
func (x *exchange) handshake(m *bayeuxMessage) {
	s, b := x.server, x.server.bayeux
	if types := m.SupportedConnectionTypes; len(types) > 0 && !slices.Contains(types, "long-polling") {
		x.reply(bayeuxReply{message: m, error: "400::Invalid connection type {" + strings.Join(types, ",") + "}", advice: adviceDenied})
		return
	}
	reason := x.denied
	if limit := s.config.cometd.maxSessions; reason == "" && limit > 0 && s.Sessions() >= limit {
		reason = concurrentLimit
	}
	if reason != "" {
		r := bayeuxReply{message: m, error: handshakeDenied, failureReason: reason, advice: adviceDenied}
		if x.denied != "" && s.config.cometd.createDenied {
			r.error, r.failureReason = createDenied, ""
		}
		x.reply(r)
		if x.denied != "" {
			x.badStatus(http.StatusUnauthorized)
		}
		return
	}
	browser := x.cookie(browserCookie)
	if browser == "" {
		browser = strings.ToLower(s.dice.sessions.text())
		s.setCookie(x, browserCookie, "/cometd/", browser, time.Time{})
		s.setCookie(x, "CookieConsentPolicy", "/", "0:1", time.Time{})
	}
	node := x.node()
	b.mu.Lock()
	b.counts.begun++
	b.mu.Unlock()
	x.session = s.newSession(browser, x.user, node)
	x.touched = append(x.touched, x.session)
	x.polled = true // the response to a handshake carries no events
	x.reply(bayeuxReply{message: m, handshake: true, clientID: x.session.id})
}

// disconnect ends a session. Its held connect is answered.
func (x *exchange) disconnect(m *bayeuxMessage) {
	ses := x.find(m)
	if ses == nil {
		return
	}
	x.session = nil
	x.server.endSession(ses, farewell{advice: adviceDenied})
	if !x.server.bayeux.faults.silentDisconnect.Load() {
		x.reply(bayeuxReply{message: m, clientID: ses.id})
	}
}
