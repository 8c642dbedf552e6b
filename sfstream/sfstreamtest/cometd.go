package sfstreamtest

import (
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// exchange is one POST and its response.
type exchange struct {
	server   *Server
	request  *http.Request
	version  string
	messages []bayeuxMessage
	bytes    int // the size of the request

	user    string           // the user of the token
	denied  string           // what is wrong with the token
	session *bayeuxSession   // the session that gets its events with the response
	touched []*bayeuxSession // the sessions whose windows begin anew with the response
	replies []bayeuxReply
	events  []delivery
	cookies []*http.Cookie
	polled  bool // a connect is among the messages
	status  int  // the HTTP status of the response, 200 if 0
	fault   cometdFault
	aborted bool // there is no response, because the org closes
}

// mountCometD adds the Streaming API. The Java client appends the kind of the message to the path
// with the version.
func (s *Server) mountCometD(mux *http.ServeMux) {
	mux.HandleFunc("/cometd", s.serveCometD)
	mux.HandleFunc("/cometd/", s.serveCometD)
}

func (s *Server) serveCometD(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	if mime, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); !strings.EqualFold(strings.TrimSpace(mime), "application/json") {
		http.Error(w, "Content-Type must be application/json", http.StatusBadRequest)
		return
	}
	x := &exchange{server: s, request: r}
	x.version, _, _ = strings.Cut(strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/cometd"), "/"), "/")
	// A request that is too large is read as far as is needed to answer its messages.
	const most = 1 << 20
	body, err := io.ReadAll(io.LimitReader(r.Body, int64(s.config.cometd.requestBytes)+most))
	if err != nil {
		return // the client has gone
	}
	x.bytes = len(body)
	if x.messages, err = decodeMessages(body); err != nil {
		if x.bytes <= s.config.cometd.requestBytes {
			http.Error(w, "Bad Request: "+err.Error(), http.StatusBadRequest)
			return
		}
		x.messages = make([]bayeuxMessage, 1)
	}
	s.noteRequest(x)
	x.judge()
	x.write(w)
}

// judge answers the messages one by one, or refuses the request as a whole.
func (x *exchange) judge() {
	s := x.server
	if x.bytes > s.config.cometd.requestBytes {
		x.refuse(tooLarge, http.StatusRequestEntityTooLarge)
		return
	}
	x.version = s.routeVersion(x.version)
	if text := s.badVersion(x.version); text != "" {
		x.refuse(text, http.StatusBadRequest)
		return
	}
	for i := range x.messages {
		if x.messages[i].kind() == "handshake" && len(x.messages) > 1 {
			x.status = http.StatusInternalServerError
			return
		}
	}
	x.user, x.denied = s.eventsBearer(x.request)
	for i := range x.messages {
		x.handle(&x.messages[i])
		if x.status != 0 || x.aborted || x.fault.raw() {
			return
		}
	}
}

// refuse answers all messages with an error.
func (x *exchange) refuse(text string, status int) {
	for i := range x.messages {
		x.replies = append(x.replies, bayeuxReply{message: &x.messages[i], error: text, advice: adviceDenied})
	}
	x.badStatus(status)
}

func (x *exchange) badStatus(status int) {
	if x.server.config.cometd.httpStatus {
		x.status = status
	}
}

// routeVersion returns the API version that answers a request for version: the newest one for
// retired versions, else version itself.
func (s *Server) routeVersion(version string) string {
	v, err := strconv.ParseFloat(version, 64)
	if retired := v >= firstVersion && v < durableVersion; err == nil && retired && !s.config.cometd.refuseRetired {
		return s.config.cometd.versions[len(s.config.cometd.versions)-1]
	}
	return version
}

// badVersion returns what is wrong with the version in the URL, "" if nothing is.
func (s *Server) badVersion(version string) string {
	newest := s.config.cometd.versions[len(s.config.cometd.versions)-1]
	v, err := strconv.ParseFloat(version, 64)
	if err != nil || math.IsNaN(v) {
		return "400::API version in the URI is mandatory. URI format: '/cometd/" + newest + "'"
	}
	if most, _ := strconv.ParseFloat(newest, 64); v < durableVersion || v > most {
		return "400::Unsupported API version. Only API versions '37.0' and later are supported. URI format: '/cometd/" + newest + "'"
	}
	return ""
}

// bearer checks the Authorization header. After MoveInstance a token is only good at the host for
// which it was issued.
func (s *Server) bearer(r *http.Request) (ses *session, denied string) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") && !strings.EqualFold(scheme, "OAuth") || token == "" {
		return nil, authRequired
	}
	ses, ok := s.sessions.use(strings.TrimSpace(token))
	if !ok {
		return nil, authInvalid
	}
	if s.movedEver() && s.authority(r.Host) != hostOf(ses.instanceURL) {
		return nil, authInvalid
	}
	return ses, ""
}

// eventsBearer does what bearer does for CometD, which refuses tokens in JWT form.
func (s *Server) eventsBearer(r *http.Request) (user, denied string) {
	ses, denied := s.bearer(r)
	switch {
	case denied != "":
		return "", denied
	case ses.restOnly:
		return "", authInvalid
	}
	return ses.user, ""
}

// handle answers one message.
func (x *exchange) handle(m *bayeuxMessage) {
	s, kind := x.server, m.kind()
	has := func(channel string) bool {
		if kind == "connect" || kind == "disconnect" {
			ses := s.bayeux.session(m.ClientID)
			return channel == "" || ses != nil && ses.has(channel)
		}
		return channel == "" || channel == m.bare()
	}
	if f, ok := s.bayeux.faults.take(kind, has, s.isFirst(m), false); ok {
		x.fault = f
		if f.NoAnswer || f.raw() {
			return
		}
		if f.Error != "" || f.wordless {
			x.fail(m, f)
			return
		}
	}
	switch kind {
	case "handshake":
		x.handshake(m)
	case "connect":
		x.connect(m)
	case "subscribe":
		x.subscribe(m)
	case "unsubscribe":
		x.unsubscribe(m)
	case "disconnect":
		x.disconnect(m)
	default:
		text := "403:denied_by_security_policy:publish_denied"
		if strings.HasPrefix(m.Channel, "/meta/") {
			text = "404::Unknown meta channel"
		}
		x.reply(bayeuxReply{message: m, error: text})
	}
}

func (x *exchange) reply(r bayeuxReply) { x.replies = append(x.replies, r) }

// isFirst reports whether a message is the first connect after a handshake.
func (s *Server) isFirst(m *bayeuxMessage) bool {
	ses := s.bayeux.session(m.ClientID)
	if ses == nil || m.kind() != "connect" {
		return false
	}
	ses.mu.Lock()
	defer ses.mu.Unlock()
	return !ses.connected
}

// find returns the session of a message. If there is none that the request may act for, find
// answers the message and returns nil.
func (x *exchange) find(m *bayeuxMessage) *bayeuxSession {
	s := x.server
	connect := m.kind() == "connect"
	ses := s.bayeux.session(m.ClientID)
	if x.denied != "" {
		x.reply(bayeuxReply{message: m, clientID: m.ClientID, error: x.denied, advice: adviceNone})
		x.badStatus(http.StatusUnauthorized)
		if ses != nil && connect {
			s.endSession(ses, farewell{error: x.denied, advice: adviceNone})
		}
		return nil
	}
	if f, ok := s.bayeux.last(m.ClientID); ok {
		x.reply(bayeuxReply{message: m, clientID: m.ClientID, error: f.error, advice: f.advice})
		return nil
	}
	browser := x.cookie(browserCookie)
	switch {
	case m.ClientID == "" && !connect:
		x.reply(bayeuxReply{message: m, error: noHandshake})
	case ses == nil:
		x.unknown(m)
	case browser == "":
		x.reply(bayeuxReply{message: m, error: "400::Client " + m.ClientID + " has established a session, but no BAYEUX_BROWSER cookie present"})
	case browser != ses.browser:
		x.unknown(m)
	case x.user != ses.user:
		x.reply(bayeuxReply{message: m, clientID: m.ClientID, error: otherUser})
	case !x.routed(ses):
		s.endSession(ses, farewell{error: unknownClient, advice: adviceHandshake})
		x.unknown(m)
	default:
		x.session = ses
		x.touched = append(x.touched, ses)
		return ses
	}
	return nil
}

// unknown answers a message of a session that does not exist, as a node does that has never seen
// the client before.
func (x *exchange) unknown(m *bayeuxMessage) {
	r := bayeuxReply{message: m, error: unknownClient}
	if m.kind() == "connect" || x.server.config.cometd.adviceOnUnknown {
		r.advice = adviceHandshake
	}
	x.reply(r)
	x.newNode()
}
