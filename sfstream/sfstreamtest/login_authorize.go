package sfstreamtest

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// codeLife is how long an authorization code can be exchanged.
const codeLife = 15 * time.Minute

// appScopes are the scopes of the app.
var appScopes = []string{"api", "refresh_token", "offline_access", "id"}

// authorization is what a person has approved, until its code is exchanged.
type authorization struct {
	callback, challenge string
	refresh             bool // a refresh token was asked for
	until               time.Time
	used                bool
}

// authorizations has the authorization codes of the org.
type authorizations struct {
	mu    sync.Mutex
	codes map[string]*authorization
}

// WithCallbackURLs adds callback URLs of the app, beside [Account].CallbackURL. As in Salesforce,
// the redirect_uri of a request must be one of them, letter by letter.
func WithCallbackURLs(urls ...string) Option {
	return func(c *config) { c.callbackURLs = append(c.callbackURLs, urls...) }
}

// WithRequiredSecret makes the app want its secret when a code is exchanged or a token refreshed,
// as the settings "Require Secret for Web Server Flow" and "Require Secret for Refresh Token Flow"
// do. Default: a secret that is sent must be right, and none need be sent.
func WithRequiredSecret() Option { return func(c *config) { c.requireSecret = true } }

// FailAuthorize makes the person at the browser, or Salesforce, refuse the next n authorizations:
// the callback gets the error, "error/description" ("access_denied/end-user denied authorization",
// "OAUTH_APP_BLOCKED/this app is blocked by admin"). n < 0: all, until ClearFaults.
func (s *Server) FailAuthorize(n int, kind string) {
	s.faults.add(fault{name: "FailAuthorize", at: atAuthorize, left: n, code: kind})
}

// mountAuthorize adds the page at which a person approves the app, and the revocation of tokens.
func (s *Server) mountAuthorize(mux *http.ServeMux) {
	mux.HandleFunc("GET /services/oauth2/authorize", s.authorize)
	mux.HandleFunc("/services/oauth2/revoke", s.revoke)
}

// authorize is the page of the authorization code flow. Nobody is asked: it sends the browser back
// at once, as if the account's user had logged in and approved.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	// Where the app or its callback are in doubt, the browser must not be sent anywhere.
	switch callback := q.Get("redirect_uri"); {
	case q.Get("client_id") != s.account.ConsumerKey:
		pageError(w, "invalid_client_id", "client identifier invalid")
		return
	case callback == "":
		pageError(w, "redirect_uri_missing", "redirect_uri not provided")
		return
	case callback != s.account.CallbackURL && !slices.Contains(s.config.callbackURLs, callback):
		pageError(w, "redirect_uri_mismatch", "redirect_uri must match configuration")
		return
	}
	kind := s.refusedAuthorization(q)
	if f, ok := s.faults.take(atAuthorize, ""); ok && kind == "" {
		kind = f.code
	}
	answer := url.Values{}
	if state := q.Get("state"); state != "" {
		answer.Set("state", state)
	}
	if kind != "" {
		code, description, _ := strings.Cut(kind, "/")
		answer.Set("error", code)
		answer.Set("error_description", description)
	} else {
		answer.Set("code", s.newCode(q))
	}
	back, err := url.Parse(q.Get("redirect_uri"))
	if err != nil {
		pageError(w, "redirect_uri_mismatch", "redirect_uri must match configuration")
		return
	}
	back.RawQuery = answer.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound)
}

// refusedAuthorization returns the error for a request that asks for what the app may not have, in
// the form of FailAuthorize; "" if there is none. The app wants PKCE.
func (s *Server) refusedAuthorization(q url.Values) string {
	switch {
	case q.Get("response_type") != "code":
		return "unsupported_response_type/response type not supported"
	case q.Get("code_challenge") == "":
		return "invalid_request/missing required code challenge"
	case q.Get("code_challenge_method") != "S256":
		return "invalid_request/code challenge method not supported"
	}
	for _, scope := range strings.Fields(q.Get("scope")) {
		if !slices.Contains(appScopes, scope) {
			return "invalid_scope/the requested scope is not allowed"
		}
	}
	return ""
}

// newCode keeps what was approved under a new code. As Salesforce's codes do, it ends in characters
// that a URL has to escape.
func (s *Server) newCode(q url.Values) string {
	code := "aPrx" + s.dice.tokens.text() + s.dice.tokens.text() + "=="
	scopes := strings.Fields(q.Get("scope"))
	s.authorizations.mu.Lock()
	defer s.authorizations.mu.Unlock()
	if s.authorizations.codes == nil {
		s.authorizations.codes = make(map[string]*authorization)
	}
	s.authorizations.codes[code] = &authorization{
		callback:  q.Get("redirect_uri"),
		challenge: q.Get("code_challenge"),
		refresh:   len(scopes) == 0 || slices.Contains(scopes, "refresh_token") || slices.Contains(scopes, "offline_access"),
		until:     time.Now().Add(codeLife),
	}
	return code
}

// codeGrant exchanges an authorization code.
func (s *Server) codeGrant(w http.ResponseWriter, r *http.Request) {
	if wrong := s.app(r, s.config.requireSecret); wrong != "" {
		denied(w, wrong)
		return
	}
	approved, wrong := s.exchangeCode(r.PostForm)
	if wrong != "" {
		denied(w, wrong)
		return
	}
	ses := &session{user: s.account.UserID}
	more := map[string]string{"scope": "api"}
	if approved.refresh {
		ses.approval, more["refresh_token"] = s.sessions.approve(ses.user)
		more["scope"] = "refresh_token api"
	}
	s.grantSession(w, ses, more)
}

// exchangeCode uses a code up, and returns the error if it cannot be exchanged. A code that was
// sent with another callback or a wrong verifier is used up too.
func (s *Server) exchangeCode(form url.Values) (approved authorization, wrong string) {
	s.authorizations.mu.Lock()
	defer s.authorizations.mu.Unlock()
	a := s.authorizations.codes[form.Get("code")]
	if a == nil {
		return authorization{}, "invalid_grant/invalid authorization code"
	}
	used := a.used
	a.used = true
	switch {
	case used || time.Now().After(a.until):
		return authorization{}, "invalid_grant/expired authorization code"
	case form.Get("redirect_uri") != a.callback:
		return authorization{}, "redirect_uri_mismatch/redirect_uri must match configuration"
	case !verified(form.Get("code_verifier"), a.challenge):
		return authorization{}, "invalid_grant/invalid code verifier"
	}
	return *a, ""
}

// verified reports whether challenge is that of verifier by S256. Salesforce takes verifiers of
// base64url's characters only: not the "~" and "." that RFC 7636 allows.
func verified(verifier, challenge string) bool {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	if len(verifier) < 43 || len(verifier) > 128 || strings.Trim(verifier, alphabet) != "" {
		return false
	}
	sum := sha256.Sum256([]byte(verifier))
	want := base64.RawURLEncoding.EncodeToString(sum[:])
	return subtle.ConstantTimeCompare([]byte(want), []byte(challenge)) == 1
}

// revoke ends a session by its access token, or an approval by its refresh token: then with all
// sessions of it.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil || !s.sessions.revoke(r.Form.Get("token")) {
		denied(w, "invalid_token/token was invalid")
		return
	}
	w.WriteHeader(http.StatusOK)
}

// pageError answers a browser that cannot be sent back.
func pageError(w http.ResponseWriter, code, description string) {
	w.Header().Set("Content-Type", "text/html;charset=UTF-8")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = io.WriteString(w, fmt.Sprintf("error=%s&error_description=%s", code, url.PathEscape(description)))
}
