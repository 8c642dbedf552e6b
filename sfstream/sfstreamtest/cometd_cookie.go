package sfstreamtest

import (
	"encoding/base64"
	"net/http"
	"time"
)

// The cookies that matter. The org also sets others, as Salesforce does.
const (
	browserCookie = "BAYEUX_BROWSER"
	nodeCookie    = "sfdc-stream"
)

// cookieGrace is how long after a rotation the old cookie is still good, for requests that were on
// their way.
const cookieGrace = time.Second

func (s *Server) setCookie(x *exchange, name, path, value string, expires time.Time) {
	x.cookies = append(x.cookies, &http.Cookie{
		Name: name, Value: value, Path: path, Expires: expires,
		HttpOnly: name == browserCookie, Secure: s.cert != nil,
	})
}

// cookie returns the value of a cookie of the request, "" if it has none.
func (x *exchange) cookie(name string) string {
	c, err := x.request.Cookie(name)
	if err != nil {
		return ""
	}
	return c.Value
}

// newNode makes a cookie of the load balancer. It expires by the real clock: a skewed one
// (WithClockSkew) would make the client drop it at once.
func (x *exchange) newNode() string {
	b, tokens := x.server.bayeux, x.server.dice.sessions
	node := "!" + base64.StdEncoding.EncodeToString([]byte(tokens.text()+tokens.text()))
	now := time.Now()
	b.mu.Lock()
	b.nodes[node] = now
	b.mu.Unlock()
	x.server.setCookie(x, nodeCookie, "/", node, now.Add(x.server.config.cometd.lbLife))
	return node
}

// node returns the node to which the load balancer sends the request: the one that its cookie
// names, else a new one.
func (x *exchange) node() string {
	if node := x.cookie(nodeCookie); x.nodeLives(node) {
		return node
	}
	return x.newNode()
}

func (x *exchange) nodeLives(node string) bool {
	b := x.server.bayeux
	b.mu.Lock()
	defer b.mu.Unlock()
	made, ok := b.nodes[node]
	if ok && time.Since(made) >= x.server.config.cometd.lbLife {
		delete(b.nodes, node)
		ok = false
	}
	return ok
}

// routed reports whether the request came to the session's node.
func (x *exchange) routed(ses *bayeuxSession) bool {
	sent := x.cookie(nodeCookie)
	ses.mu.Lock()
	own := sent != "" && (sent == ses.node || sent == ses.previous && time.Now().Before(ses.until))
	ses.mu.Unlock()
	return own && x.nodeLives(sent)
}

// rotate gives the session another cookie if RotateLBCookie has asked for that.
func (x *exchange) rotate(ses *bayeuxSession) {
	ses.mu.Lock()
	due := ses.rotate
	ses.rotate = false
	ses.mu.Unlock()
	if !due {
		return
	}
	node := x.newNode()
	ses.mu.Lock()
	ses.previous, ses.node, ses.until = ses.node, node, time.Now().Add(cookieGrace)
	ses.mu.Unlock()
}

// RotateLBCookie gives each session a new sfdc-stream cookie with its next response. A client that
// goes on with the old one is unknown.
func (s *Server) RotateLBCookie() {
	for _, ses := range s.bayeux.all() {
		ses.mu.Lock()
		ses.rotate = true
		ses.mu.Unlock()
	}
}
