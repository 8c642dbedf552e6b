package sfstreamtest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// routes is the HTTP face of the org. Every answer has the org's date.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/services/oauth2/token", s.token)
	mux.HandleFunc("GET /services/oauth2/userinfo", s.userinfo)
	s.mountREST(mux)
	s.mountCometD(mux)
	mux.HandleFunc("/maintenance", func(w http.ResponseWriter, _ *http.Request) { maintenance(w, http.StatusOK) })
	if s.config.control {
		s.mountControl(mux)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", s.now().UTC().Format(http.TimeFormat))
		mux.ServeHTTP(w, r)
	})
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // a client that has gone
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

// denied answers with an "error" or an "error/description".
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

// failLogin does what FailLogin asked for.
func failLogin(w http.ResponseWriter, r *http.Request, kind string) {
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
		denied(w, kind)
	}
}

// token is the OAuth token endpoint.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	s.logins.Add(1)
	// The form is read first: only then does a request's context end with its connection.
	if err := r.ParseForm(); err != nil {
		denied(w, "invalid_request")
		return
	}
	if f, ok := s.faults.take(atLogin, ""); ok {
		failLogin(w, r, f.code)
		return
	}
	id, secret, basic := r.BasicAuth()
	if !basic {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	grant := r.PostForm.Get("grant_type")
	switch {
	case grant != "password" && grant != "refresh_token":
		denied(w, "unsupported_grant_type")
	case id != s.account.ConsumerKey:
		denied(w, "invalid_client_id")
	case secret != s.account.ConsumerSecret && (grant == "password" || secret != ""):
		denied(w, "invalid_client")
	case grant == "password":
		user, known := s.user(r.PostForm.Get("username"))
		if !known || r.PostForm.Get("password") != s.account.Password+s.account.SecurityToken {
			denied(w, "invalid_grant")
			return
		}
		s.grant(w, user, nil)
	default:
		next, ok := s.sessions.exchange(r.PostForm.Get("refresh_token"))
		if !ok {
			denied(w, "invalid_grant/expired access/refresh token")
			return
		}
		more := map[string]string{"scope": "refresh_token api"}
		if next != "" {
			more["refresh_token"] = next
		}
		s.grant(w, s.account.UserID, more)
	}
}

// user is the id of a user of the org.
func (s *Server) user(username string) (id string, ok bool) {
	if username == s.account.Username {
		return s.account.UserID, true
	}
	id, ok = s.config.cometd.users[username]
	return id, ok
}

// grant answers with a new session of a user.
func (s *Server) grant(w http.ResponseWriter, user string, reply map[string]string) {
	if reply == nil {
		reply = make(map[string]string)
	}
	now := s.now()
	instance := s.instanceURL()
	id := s.LoginURL() + "/id/" + s.account.OrgID + "/" + user
	issued := strconv.FormatInt(now.UnixMilli(), 10)
	mac := hmac.New(sha256.New, []byte(s.account.ConsumerSecret))
	mac.Write([]byte(id + issued))

	reply["access_token"] = s.sessions.issue(instance, user, now)
	reply["instance_url"] = instance
	reply["id"] = id
	reply["token_type"] = "Bearer"
	reply["issued_at"] = issued
	reply["signature"] = base64.StdEncoding.EncodeToString(mac.Sum(nil))
	writeJSON(w, http.StatusOK, reply)
}

// userinfo says whose token it is.
func (s *Server) userinfo(w http.ResponseWriter, r *http.Request) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if _, ok := s.sessions.use(token, s.now()); !ok {
		w.Header().Set("Content-Type", "text/html;charset=UTF-8")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "Bad_OAuth_Token")
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"sub":                s.LoginURL() + "/id/" + s.account.OrgID + "/" + s.account.UserID,
		"user_id":            s.account.UserID,
		"organization_id":    s.account.OrgID,
		"preferred_username": s.account.Username,
		"nickname":           "integration",
		"name":               "Integration User",
		"email":              s.account.Username,
		"active":             true,
		"user_type":          "STANDARD",
	})
}
