package sfstreamtest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// instances has the hosts of the org: where it lives, and where it lived before.
type instances struct {
	mu    sync.Mutex
	moves int
	left  map[string]string // what each host that the org has left answers, see LeaveInstance
}

// The hosts of WithInstanceHosts: names below instanceDomain with TLS, else loopback addresses,
// because clients send tokens by http to loopback only.
const (
	instanceDomain  = "sfstreamtest.example"
	instanceNetwork = "127.0.1."
)

// WithInstanceHosts gives every instance that the org moves to a host of its own, which only
// [Server.HTTPClient] finds: instance-0.sfstreamtest.example and so on with TLS, else 127.0.1.1 and
// so on, 200 of them. Default: the instance is at the host of the logins, 127.0.0.1, and a move
// takes it to localhost or back.
func WithInstanceHosts() Option { return func(c *config) { c.instanceHosts = true } }

// instanceURL returns the instance URL that logins name now, see MoveInstance.
func (s *Server) instanceURL() string {
	s.instances.mu.Lock()
	defer s.instances.mu.Unlock()
	return s.instanceURLLocked()
}

func (s *Server) instanceURLLocked() string {
	places := s.places.instances
	n, first := s.instances.moves, places[0]
	switch {
	case s.config.instanceHosts && s.cert != nil:
		return origin{first.scheme, fmt.Sprintf("instance-%d.%s", n, instanceDomain), first.port}.String()
	case s.config.instanceHosts:
		const most = 200
		return origin{first.scheme, instanceNetwork + strconv.Itoa(1+n%most), first.port}.String()
	case s.config.loginHost:
		n++
	}
	return places[n%len(places)].String()
}

// MoveInstance moves the org to another instance: later logins name another instance URL (localhost
// for 127.0.0.1, and back; see [WithURL] and [WithInstanceHosts]), older tokens are invalid. If the
// org has no other URL, only the tokens become invalid.
func (s *Server) MoveInstance() {
	_ = s.leaveInstance("") // it fails only for others
}

// LeaveInstance does what MoveInstance does, and the old host does not serve the org any more. how
// is what the old host does: "301", "302" or "307" redirects to the new host, "404" answers with a
// page, and with "gone" its name is not found and its connections are cut. The host of the logins
// does not move, so it cannot be gone: see [WithInstanceHosts].
func (s *Server) LeaveInstance(how string) error {
	switch how {
	case "301", "302", "307", "404", "gone":
		return s.leaveInstance(how)
	}
	return fmt.Errorf("sfstreamtest: LeaveInstance(%q): 301, 302, 307, 404 or gone", how)
}

func (s *Server) leaveInstance(how string) error {
	in := &s.instances
	in.mu.Lock()
	old := s.instanceURLLocked()
	switch {
	case how != "" && !s.canMove():
		in.mu.Unlock()
		return errOneURL
	case how == "gone" && old == s.LoginURL():
		in.mu.Unlock()
		return fmt.Errorf("sfstreamtest: %s has the logins too, it cannot be gone", old)
	}
	in.moves++
	if in.left == nil {
		in.left = make(map[string]string)
	}
	if how != "" {
		in.left[hostOf(old)] = how
	}
	delete(in.left, hostOf(s.instanceURLLocked()))
	in.mu.Unlock()
	s.sessions.expire()
	if how == "gone" {
		s.client.CloseIdleConnections()
		s.network.each(s.httpGate, (*conn).cut)
	}
	return nil
}

var errOneURL = errors.New("sfstreamtest: the org tells only one URL, so it cannot move: WithURL, or -url of testorg, gives it others")

func (s *Server) canMove() bool { return s.config.instanceHosts || len(s.places.instances) > 1 }

func hostOf(instanceURL string) string {
	_, host, _ := strings.Cut(instanceURL, "://")
	return host
}

func (s *Server) movedEver() bool {
	s.instances.mu.Lock()
	defer s.instances.mu.Unlock()
	return s.instances.moves > 0
}

// leftBehind returns how a host that the org has left answers, "" for a host that it has not left,
// and the URL at which the org is now.
func (s *Server) leftBehind(host string) (how, now string) {
	s.instances.mu.Lock()
	defer s.instances.mu.Unlock()
	return s.instances.left[host], s.instanceURLLocked()
}

// RedirectToLogin answers the next n requests of REST and CometD with a redirect to the login page,
// as for a browser whose session has expired. n < 0: until ClearFaults.
func (s *Server) RedirectToLogin(n int) {
	s.faults.add(fault{name: "RedirectToLogin", at: atLoginPage, left: n})
}

// atInstance answers requests to hosts that the org has left, and hands others to org.
func (s *Server) atInstance(org http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data := strings.HasPrefix(r.URL.Path, "/services/data") || strings.HasPrefix(r.URL.Path, "/cometd")
		how, now := s.leftBehind(s.authority(r.Host))
		switch {
		case r.URL.Path == "/" && r.URL.Query().Has("ec"):
			page(w, http.StatusOK, "Login", "<form>Username Password</form>")
		case data && (how == "301" || how == "302" || how == "307"):
			w.Header().Set("Location", now+r.URL.RequestURI())
			page(w, map[string]int{"301": 301, "302": 302, "307": 307}[how], "Moved", "")
		case data && how != "":
			page(w, http.StatusNotFound, "URL No Longer Exists", "You have attempted to reach a URL that no longer exists on salesforce.com.")
		default:
			if data {
				if _, ok := s.faults.take(atLoginPage, ""); ok {
					to := s.LoginURL() + "/?ec=302&startURL=" + url.QueryEscape(r.URL.RequestURI())
					http.Redirect(w, r, to, http.StatusFound)
					return
				}
			}
			org.ServeHTTP(w, r)
		}
	})
}

// page answers with an HTML page.
func page(w http.ResponseWriter, status int, title, text string) {
	w.Header().Set("Content-Type", "text/html;charset=UTF-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "<html>\n<head><title>"+title+"</title></head>\n<body>\n<h1>"+title+"</h1>\n"+text+"\n</body>\n</html>\n")
}
