package sfstreamtest

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"strings"
	"sync"
	"time"
)

// proxyPage is the proxy of ProxyPage, which answers in place of the Pub/Sub API.
type proxyPage struct {
	mu     sync.Mutex
	server *http.Server // nil: there is no proxy
	left   int
	status int
	body   string
}

// ProxyPage puts a proxy, a firewall or a portal in front of the Pub/Sub API, which answers the
// next n RPCs with a page over HTTP/2: 401, 403, 404, 407, 302 to a portal, 451, and even 200. The
// body is HTML unless its first character says that it is JSON; "" is a page that says the status.
// Connections that are open to the Pub/Sub API are cut. n < 0: until ClearFaults; n == 0 takes the
// proxy away.
func (s *Server) ProxyPage(n, status int, body string) {
	if s.page.close() {
		s.servePubSub()
	}
	if n == 0 {
		return
	}
	asked := body
	if body == "" {
		body = "<html>\n<head><title>" + http.StatusText(status) + "</title></head>\n<body>\n<h1>Blocked by the proxy</h1>\n</body>\n</html>\n"
	}
	kind := "text/html; charset=utf-8"
	if strings.HasPrefix(body, "{") || strings.HasPrefix(body, "[") {
		kind = "application/json"
	}
	h2 := new(http.Protocols)
	h2.SetHTTP2(true)
	h2.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Protocols: h2, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute,
		ConnState: s.countConn,
	}
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		given, last := s.page.use(server)
		if !given {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		switch status {
		case http.StatusFound:
			w.Header().Set("Location", "https://portal.example/login")
		case http.StatusUnauthorized:
			w.Header().Set("WWW-Authenticate", `Basic realm="proxy"`)
		case http.StatusProxyAuthRequired:
			w.Header().Set("Proxy-Authenticate", `Basic realm="proxy"`)
		}
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body) // it fails only if the client has gone
		if last {
			s.servePubSub()
			// Shutdown returns when the proxy's connections have ended, at the latest when Close
			// cuts them.
			s.wg.Go(func() { _ = server.Shutdown(context.Background()) })
		}
	})

	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	ln := s.pubsubGate.newDoor()
	s.mu.Unlock()
	s.page.mu.Lock()
	s.page.server, s.page.left, s.page.status, s.page.body = server, n, status, asked
	s.page.mu.Unlock()
	// Both end when close closes the server.
	s.wg.Go(func() {
		if s.cert == nil {
			_ = server.Serve(ln)
			return
		}
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{s.cert.server}}
		_ = server.ServeTLS(ln, "", "")
	})
	s.network.each(s.pubsubGate, (*conn).cut)
}

// use counts an answer of the proxy. given is false if it has given all of its answers, last is
// true for the last one, after which the Pub/Sub API answers again.
func (p *proxyPage) use(server *http.Server) (given, last bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server != server {
		return false, false
	}
	if p.left > 0 {
		if p.left--; p.left == 0 {
			p.server = nil
			return true, true
		}
	}
	return true, false
}

// close ends the proxy and reports whether there was one.
func (p *proxyPage) close() bool {
	p.mu.Lock()
	server := p.server
	p.server = nil
	p.mu.Unlock()
	if server == nil {
		return false
	}
	_ = server.Close()
	return true
}

// requests returns the control request that would ask for the proxy, if there is one.
func (p *proxyPage) requests() []faultRequest {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server == nil {
		return nil
	}
	left := p.left
	return []faultRequest{{Fault: "ProxyPage", N: &left, Status: p.status, Body: p.body}}
}
