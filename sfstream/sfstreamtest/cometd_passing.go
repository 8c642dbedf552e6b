package sfstreamtest

import (
	"encoding/json"
	"net/http"
)

// The ways in which the server sends the /meta/disconnect that ends a session.
const (
	disconnectAlone  = "alone"  // the response to a connect has nothing else
	disconnectBeside = "beside" // the response also has the successful answer to the connect
)

func disconnectMode(alone bool) string {
	if alone {
		return disconnectAlone
	}
	return disconnectBeside
}

// DisconnectSessions ends all sessions that have a channel ("": all) by a /meta/disconnect of the
// server, as Salesforce does since API version 64.0: alone in the reply to their connect, or beside
// the good reply. A held connect is answered now, else the next one is. Events that wait for the
// session are in that reply.
func (s *Server) DisconnectSessions(channel string, alone bool) {
	for _, ses := range s.bayeux.all() {
		if !ses.has(channel) {
			continue
		}
		ses.mu.Lock()
		ses.leaving = disconnectMode(alone)
		ses.mu.Unlock()
		ses.wakeUp()
	}
}

// DisconnectWithEvents puts the /meta/disconnect of DisconnectSessions into the next n connect
// replies that carry events.
func (s *Server) DisconnectWithEvents(n int, alone bool) {
	s.failReplies(n, "DisconnectWithEvents", cometdFault{disconnect: disconnectMode(alone), as: faultRequest{Alone: alone}})
}

// isLeaving returns disconnectAlone or disconnectBeside if the server is to end the session, else
// "".
func (ses *bayeuxSession) isLeaving() string {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	return ses.leaving
}

// sayGoodbye ends a session by a /meta/disconnect in the response to its connect.
func (x *exchange) sayGoodbye(ses *bayeuxSession, mode string) {
	ses.mu.Lock()
	gone := ses.gone
	ses.mu.Unlock()
	if gone {
		return
	}
	goodbye := bayeuxReply{message: &bayeuxMessage{Channel: "/meta/disconnect"}}
	if mode == disconnectAlone {
		x.replies = []bayeuxReply{goodbye}
	} else {
		x.replies = append([]bayeuxReply{goodbye}, x.replies...)
	}
	x.server.endSession(ses, farewell{error: unknownClient, advice: adviceHandshake})
}

// PassingError fails the next n messages of a kind (handshake, subscribe and so on; "": connect)
// with an error that is over by itself, such as "500::Internal error", or one with 502, 504 or 409,
// although its advice is "reconnect": "none". With an empty text the reply has no error. n < 0:
// until ClearFaults.
func (s *Server) PassingError(kind string, n int, text string) {
	s.bayeux.faults.add(n, cometdFault{
		CometDFault: CometDFault{Kind: or(kind, "connect"), Error: text, Advice: adviceNone}, wordless: text == "",
		as: faultRequest{Fault: "PassingError", Kind: kind, Code: text},
	})
}

// CreateDenied answers the next n handshakes with 403:denied_by_security_policy:create_denied. On a
// handshake that means that the token is dead, on a subscribe that the name of the channel is
// refused. See also [WithCreateDenied].
func (s *Server) CreateDenied(n int) {
	s.bayeux.faults.add(n, cometdFault{
		CometDFault: CometDFault{Kind: "handshake", Error: createDenied}, as: faultRequest{Fault: "CreateDenied"},
	})
}

// restMessages are the errors of the REST API, by their codes, with which Salesforce also answers
// requests to the CometD URL.
var restMessages = map[string]restError{
	"API_DISABLED_FOR_ORG":   {http.StatusForbidden, "API is not enabled for this Organization or Partner", "", nil},
	"REQUEST_LIMIT_EXCEEDED": {http.StatusForbidden, "TotalRequests Limit exceeded.", "", nil},
	"INVALID_SESSION_ID":     {http.StatusUnauthorized, "Session expired or invalid", "", nil},
	"SERVER_UNAVAILABLE":     {http.StatusServiceUnavailable, "The server is temporarily unavailable", "", nil},
}

// RESTError answers the next n requests on CometD with an error in the form of the REST API,
// [{"errorCode": …, "message": …}]: API_DISABLED_FOR_ORG, REQUEST_LIMIT_EXCEEDED,
// INVALID_SESSION_ID, SERVER_UNAVAILABLE, or any other with status 403. n < 0: until ClearFaults.
func (s *Server) RESTError(n int, code string) {
	known, ok := restMessages[code]
	if !ok {
		known = restError{http.StatusForbidden, code, "", nil}
	}
	known.Code = code
	body, err := json.Marshal([]restError{known})
	if err != nil {
		return // not reached: every code can be JSON
	}
	s.bayeux.faults.add(n, cometdFault{
		CometDFault: CometDFault{Status: known.status, Body: string(body), ContentType: "application/json;charset=UTF-8"},
		as:          faultRequest{Fault: "RESTError", Code: code},
	})
}

// SilenceDisconnect(true) leaves a client's /meta/disconnect without a reply: the session ends, but
// the response is an empty array. SilenceDisconnect(false) takes that back. For a server that does
// not answer at all use FailCometD{Kind: "disconnect", NoAnswer: true}.
func (s *Server) SilenceDisconnect(on bool) { s.bayeux.faults.silentDisconnect.Store(on) }

// WithCreateDenied makes the org refuse handshakes with a bad token by
// 403:denied_by_security_policy:create_denied. Default: by 403::Handshake denied, with the reason
// nested in it.
func WithCreateDenied() Option { return func(c *config) { c.cometd.createDenied = true } }
