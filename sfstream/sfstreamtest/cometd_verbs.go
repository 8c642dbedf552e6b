package sfstreamtest

import (
	"net/http"
	"time"
)

const failCometD = "FailCometD"

// FailCometD makes the next messages of a kind go wrong, see [CometDFault].
func (s *Server) FailCometD(f CometDFault) {
	s.bayeux.faults.add(or(f.Times, 1), cometdFault{CometDFault: f, as: faultRequest{Fault: failCometD}})
}

// UnknownClient makes the org forget the session at the next n connects that come in: 403::Unknown
// client. EndStreams does the same at once.
func (s *Server) UnknownClient(n int) {
	s.failConnects(n, faultRequest{Fault: "UnknownClient"}, CometDFault{Error: unknownClient})
}

// LegacyUnknownClient does what UnknownClient does in the words of older servers: code 402, and an
// interval of 500 ms before the handshake.
func (s *Server) LegacyUnknownClient(n int) {
	s.failConnects(n, faultRequest{Fault: "LegacyUnknownClient"},
		CometDFault{Error: "402::Unknown client", Advice: `{"reconnect":"handshake","interval":500}`})
}

// Busy503As401 answers the next n connects with 401::Authentication invalid whose failureReason
// tells the truth: the server is too busy.
func (s *Server) Busy503As401(n int) {
	s.failConnects(n, faultRequest{Fault: "Busy503As401"}, CometDFault{Error: authInvalid, FailureReason: serverBusy})
}

// HTMLError answers the next n connects with a page of the proxy.
func (s *Server) HTMLError(n, status int) {
	s.failConnects(n, faultRequest{Fault: "HTMLError", Status: status}, CometDFault{
		Status: status, Body: "<html><body><h1>" + http.StatusText(status) + "</h1>upstream connect error</body></html>",
	})
}

func (s *Server) failConnects(n int, as faultRequest, f CometDFault) {
	f.Kind = "connect"
	s.bayeux.faults.add(n, cometdFault{CometDFault: f, as: as})
}

// LoseResponse cuts the connection in place of the next n connect replies that carry events. For
// the org the events count as delivered.
func (s *Server) LoseResponse(n int) { s.failReplies(n, "LoseResponse", cometdFault{cut: true}) }

// TruncateResponse sends the first half of the next n connect replies that carry events.
func (s *Server) TruncateResponse(n int) {
	s.failReplies(n, "TruncateResponse", cometdFault{truncated: true})
}

// EmptyReply sends an empty body in place of the next n connect replies that carry events.
func (s *Server) EmptyReply(n int) { s.failReplies(n, "EmptyReply", cometdFault{empty: true}) }

// OmitConnectReply sends the next n responses with events without the reply to the connect.
func (s *Server) OmitConnectReply(n int) {
	s.failReplies(n, "OmitConnectReply", cometdFault{CometDFault: CometDFault{OmitReply: true}})
}

func (s *Server) failReplies(n int, name string, f cometdFault) {
	f.as.Fault, f.Kind, f.onEvents = name, "connect", true
	s.bayeux.faults.add(n, f)
}

// HandshakeAdviceLoop answers the first connect after each of the next n handshakes with the advice
// to shake hands again.
func (s *Server) HandshakeAdviceLoop(n int) {
	s.bayeux.faults.add(n, cometdFault{
		CometDFault: CometDFault{Kind: "connect", Error: unknownClient}, first: true, as: faultRequest{Fault: "HandshakeAdviceLoop"},
	})
}

// ConcurrentLimit denies the next n handshakes: too many clients.
func (s *Server) ConcurrentLimit(n int) {
	s.bayeux.faults.add(n, cometdFault{
		CometDFault: CometDFault{Kind: "handshake", Error: handshakeDenied, FailureReason: concurrentLimit},
		as:          faultRequest{Fault: "ConcurrentLimit"},
	})
}

// ConnectReplyFirst puts the replies of all responses before the events, or after them again.
func (s *Server) ConnectReplyFirst(on bool) { s.bayeux.faults.replyFirst.Store(on) }

// DailyLimit uses up the org's events for a while: nothing is delivered on CometD, without a word
// to live sessions, and subscribing fails. Events that are published meanwhile come afterwards. A
// group that has begun is finished: whether Salesforce does that is not documented, but no client
// could tell a part of a group from all of it. 0 ends the limit. To tell a session of the limit use
// FailCometD{Kind: "connect", Error: "403::Organization total events daily limit exceeded"}.
func (s *Server) DailyLimit(d time.Duration) {
	b := s.bayeux
	b.mu.Lock()
	b.limit = time.Now().Add(d)
	if b.limitEnds != nil {
		b.limitEnds.Stop()
	}
	if !b.closed {
		b.limitEnds = time.AfterFunc(max(0, d), func() {
			for _, ses := range b.all() {
				ses.wakeUp()
			}
		})
	}
	b.mu.Unlock()
}

// limitLeft returns how long the limit of DailyLimit lasts.
func (s *Server) limitLeft() time.Duration {
	s.bayeux.mu.Lock()
	defer s.bayeux.mu.Unlock()
	return max(0, time.Until(s.bayeux.limit))
}
