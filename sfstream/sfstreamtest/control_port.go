package sfstreamtest

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// WithControlAddr serves the control API on an address of its own, by HTTP without TLS. With it
// programs in other processes and languages define channels, publish, inject faults and look at
// what has happened. GET /control/ tells all of it; the faults do not happen to it. Whoever reaches
// it controls the org, so keep it on loopback, such as "127.0.0.1:0", a free port. Default: there
// is none.
func WithControlAddr(addr string) Option { return func(c *config) { c.controlAddr = addr } }

// ControlURL returns where the control API is, such as http://127.0.0.1:40003, or "" without
// [WithControlAddr].
func (s *Server) ControlURL() string {
	if s.controlGate == nil {
		return ""
	}
	host := toldHost(s.config.controlAddr, s.places.instances[0].host)
	return origin{"http", host, s.controlGate.port}.String()
}

func (s *Server) serveControl() {
	if s.controlGate == nil {
		return
	}
	mux := http.NewServeMux()
	s.mountControl(mux)
	s.control = &http.Server{
		Handler:           s.fromHere(mux),
		ErrorLog:          log.New(io.Discard, "", 0),
		ReadHeaderTimeout: time.Minute,
		ConnState:         s.countConn,
	}
	ln := s.controlGate.newDoor()
	// Ends when Close closes the server.
	s.wg.Go(func() { _ = s.control.Serve(ln) })
}

// fromHere refuses what a web page in a browser of this machine may send: a request to a name that
// its owner has led here (DNS rebinding), one for another site (Origin), and a form.
func (s *Server) fromHere(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := hostname(r.Host)
		names := append(s.hosts(), "localhost", toldHost(s.config.controlAddr, "localhost"))
		isName := func(name string) bool { return strings.EqualFold(name, host) }
		if net.ParseIP(host) == nil && !slices.ContainsFunc(names, isName) {
			m := unknown("the Host header has the name "+host+", which is not one of this org: WithNames, or -names of testorg, adds it", names)
			m.status = http.StatusForbidden
			refuse(w, m)
			return
		}
		if from := r.Header.Get("Origin"); from != "" && !sameHost(from, r.Host) {
			refuse(w, &mistake{status: http.StatusForbidden, Text: "the Origin header says that the request is from " + from + ": pages of other sites cannot control the org"})
			return
		}
		kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
		if r.Method == http.MethodPost && !strings.EqualFold(strings.TrimSpace(kind), "application/json") {
			refuse(w, &mistake{status: http.StatusUnsupportedMediaType, Text: "the Content-Type of a request is application/json"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hostname returns the host of a Host header.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.Trim(host, "[]")
}

func sameHost(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Scheme == "http" && strings.EqualFold(u.Host, host)
}
