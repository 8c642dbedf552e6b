package sfstreamtest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// routes returns the handler of all HTTP requests to the org. Every answer has the org's date.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/services/oauth2/token", s.token)
	s.mountSOAP(mux)
	s.mountIdentity(mux)
	s.mountAuthorize(mux)
	s.mountREST(mux)
	s.mountCometD(mux)
	mux.HandleFunc("/maintenance", func(w http.ResponseWriter, _ *http.Request) { maintenance(w, http.StatusOK) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.httpRequests.Add(1)
		w.Header().Set("Date", s.now().UTC().Format(http.TimeFormat))
		mux.ServeHTTP(w, r)
	})
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // it fails only if the client has gone
}

// loginErrors has the usual description of errors that have one.
var loginErrors = map[string]string{
	"invalid_grant":              "authentication failure",
	"invalid_client":             "invalid client credentials",
	"invalid_client_id":          "client identifier invalid",
	"invalid_client_credentials": "client credentials invalid",
	"unsupported_grant_type":     "grant type not supported",
	"invalid_request":            "must include a valid response_type",
	"invalid_scope":              "the requested scope is not allowed",
	"invalid_app_access":         "user is not admin approved to access this app",
	"inactive_user":              "user is inactive",
	"inactive_org":               "organization is inactive",
	"rate_limit_exceeded":        "login rate exceeded",
	"unknown_error":              "retry your request",
}

// denied answers with an error, given as "error" or "error/description".
func denied(w http.ResponseWriter, kind string) {
	code, description, given := strings.Cut(kind, "/")
	if !given {
		description = loginErrors[code]
	}
	status := http.StatusBadRequest
	if strings.HasPrefix(code, "invalid_client") {
		status = http.StatusUnauthorized
	}
	writeJSON(w, status, map[string]string{"error": code, "error_description": description})
}

func maintenance(w http.ResponseWriter, code int) {
	w.Header().Set("Content-Type", "text/html;charset=UTF-8")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, "<html><head><title>Maintenance</title></head><body>We are down for maintenance. Sorry for the inconvenience.</body></html>")
}

// failLogin answers a login as FailLogin asked for. deny answers with an error in the form of the
// endpoint, OAuth or SOAP.
func failLogin(w http.ResponseWriter, r *http.Request, kind string, deny func(http.ResponseWriter, string)) {
	switch kind {
	case "html":
		maintenance(w, http.StatusOK)
	case "503":
		maintenance(w, http.StatusServiceUnavailable)
	case "empty":
		w.WriteHeader(http.StatusOK)
	case "timeout":
		<-r.Context().Done()
	case "redirect":
		http.Redirect(w, r, "/maintenance", http.StatusFound)
	default:
		deny(w, kind)
	}
}

// token is the OAuth token endpoint.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	s.logins.Add(1)
	// The form is read first: only after that does a request's context end with its connection.
	if err := r.ParseForm(); err != nil {
		denied(w, "invalid_request")
		return
	}
	if f, ok := s.faults.take(atLogin, ""); ok {
		failLogin(w, r, f.code, denied)
		return
	}
	switch r.PostForm.Get("grant_type") {
	case "password":
		s.passwordGrant(w, r)
	case "refresh_token":
		s.refreshGrant(w, r)
	case "authorization_code":
		s.codeGrant(w, r)
	case "client_credentials":
		s.clientCredentialsGrant(w, r)
	case "urn:ietf:params:oauth:grant-type:jwt-bearer":
		s.jwtGrant(w, r)
	default:
		denied(w, "unsupported_grant_type")
	}
}

// app checks the consumer key and secret of a request, in its body or as HTTP Basic, and returns
// the error for them; "" if they are right.
func (s *Server) app(r *http.Request, secretRequired bool) (wrong string) {
	id, secret, basic := r.BasicAuth()
	if !basic {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	switch {
	case id != s.account.ConsumerKey:
		return "invalid_client_id"
	case secret != s.account.ConsumerSecret && (secretRequired || secret != ""):
		return "invalid_client"
	}
	return ""
}

func (s *Server) passwordGrant(w http.ResponseWriter, r *http.Request) {
	if wrong := s.app(r, true); wrong != "" {
		denied(w, wrong)
		return
	}
	user, ok := s.knows(r.PostForm.Get("username"), r.PostForm.Get("password"))
	switch {
	case !ok || s.config.withoutFlow[PasswordFlow]:
		denied(w, "invalid_grant")
	case s.config.passwordExpired:
		denied(w, "invalid_grant/password expired")
	default:
		s.grant(w, user, nil)
	}
}

func (s *Server) refreshGrant(w http.ResponseWriter, r *http.Request) {
	if wrong := s.app(r, s.config.requireSecret); wrong != "" {
		denied(w, wrong)
		return
	}
	approved, next, ok := s.sessions.exchange(r.PostForm.Get("refresh_token"))
	if !ok {
		denied(w, "invalid_grant/expired access/refresh token")
		return
	}
	more := map[string]string{"scope": "refresh_token api"}
	if next != "" {
		more["refresh_token"] = next
	}
	s.grantSession(w, &session{user: approved.user, approval: approved}, more)
}

// clientCredentialsGrant logs the app's run-as user in.
func (s *Server) clientCredentialsGrant(w http.ResponseWriter, r *http.Request) {
	wrong := s.app(r, true)
	switch {
	case !s.isMyDomain(r):
		denied(w, "invalid_grant/request not supported on this domain")
	case wrong != "":
		denied(w, wrong)
	case s.config.withoutFlow[ClientCredentialsFlow]:
		denied(w, "invalid_grant/no client credentials user enabled")
	default:
		s.grant(w, s.account.UserID, map[string]string{"scope": "api"})
	}
}

// isMyDomain reports whether a request came to the org's own host. login.salesforce.com and
// test.salesforce.com belong to all orgs; with [InMemory] their requests come here too.
func (s *Server) isMyDomain(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	return host != "login.salesforce.com" && host != "test.salesforce.com" &&
		!(s.config.loginHost && strings.EqualFold(host, s.places.instances[0].host))
}

// knows returns the id of the user with this username if password is right: the password followed
// by the security token.
func (s *Server) knows(username, password string) (id string, ok bool) {
	id, ok = s.user(username)
	return id, ok && password == s.account.Password+s.account.SecurityToken
}

// user returns the id of a user of the org.
func (s *Server) user(username string) (id string, ok bool) {
	if username == s.account.Username {
		return s.account.UserID, true
	}
	id, ok = s.config.cometd.users[username]
	return id, ok
}

// grant answers with a new session of a user.
func (s *Server) grant(w http.ResponseWriter, user string, reply map[string]string) {
	s.grantSession(w, &session{user: user}, reply)
}

// grantSession begins a session, whose user the caller has set, and answers with it.
func (s *Server) grantSession(w http.ResponseWriter, ses *session, reply map[string]string) {
	if reply == nil {
		reply = make(map[string]string)
	}
	now := s.now()
	instance := s.instanceURL()
	id := s.identityURL(ses.user)
	issued := strconv.FormatInt(now.UnixMilli(), 10)
	mac := hmac.New(sha256.New, []byte(s.account.ConsumerSecret))
	mac.Write([]byte(id + issued))

	ses.instanceURL, ses.restOnly = instance, s.config.jwtTokens
	reply["access_token"] = s.sessions.issue(ses, now)
	reply["instance_url"] = instance
	reply["id"] = id
	reply["token_type"] = "Bearer"
	reply["issued_at"] = issued
	reply["signature"] = base64.StdEncoding.EncodeToString(mac.Sum(nil))
	writeJSON(w, http.StatusOK, reply)
}
