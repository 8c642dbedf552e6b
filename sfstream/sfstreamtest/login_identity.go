package sfstreamtest

import (
	"io"
	"net/http"
	"strings"
)

// mountIdentity adds userinfo and the identity URL, which tell which user a token belongs to.
func (s *Server) mountIdentity(mux *http.ServeMux) {
	mux.HandleFunc("GET /services/oauth2/userinfo", s.userinfo)
	mux.HandleFunc("GET /id/{org}/{user}", s.identity)
}

// identityURL returns the identity URL of a user, which the reply to a login has as "id".
func (s *Server) identityURL(user string) string {
	return s.LoginURL() + "/id/" + s.account.OrgID + "/" + user
}

// username returns the username of the user with this id.
func (s *Server) username(id string) string {
	for name, user := range s.config.cometd.users {
		if user == id {
			return name
		}
	}
	return s.account.Username
}

// idError answers with an error in the form of userinfo and the identity URL: the word alone is the
// body.
func idError(w http.ResponseWriter, status int, word string) {
	w.Header().Set("Content-Type", "text/html;charset=UTF-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, word)
}

// tokenOwner returns the session of the access token that a request carries, in the Authorization
// header or, as the identity URL allows too, in the parameter oauth_token. Without a good token it
// answers the request.
func (s *Server) tokenOwner(w http.ResponseWriter, r *http.Request) (*session, bool) {
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if token == "" {
		token = r.URL.Query().Get("oauth_token")
	}
	if token == "" {
		idError(w, http.StatusForbidden, "Missing_OAuth_Token")
		return nil, false
	}
	ses, ok := s.sessions.use(strings.TrimSpace(token))
	if !ok {
		idError(w, http.StatusForbidden, "Bad_OAuth_Token")
	}
	return ses, ok
}

// userinfo tells which user the token belongs to, in the members that OpenID Connect names.
func (s *Server) userinfo(w http.ResponseWriter, r *http.Request) {
	ses, ok := s.tokenOwner(w, r)
	if !ok {
		return
	}
	name := s.username(ses.user)
	writeJSON(w, http.StatusOK, map[string]any{
		"sub":                s.identityURL(ses.user),
		"user_id":            ses.user,
		"organization_id":    s.account.OrgID,
		"preferred_username": name,
		"nickname":           "integration",
		"name":               "Integration User",
		"email":              name,
		"active":             true,
		"user_type":          "STANDARD",
	})
}

// identity serves the identity URL. It answers in JSON, whatever format is asked for.
func (s *Server) identity(w http.ResponseWriter, r *http.Request) {
	ses, ok := s.tokenOwner(w, r)
	switch {
	case !ok:
		return
	case r.PathValue("org") != s.account.OrgID:
		idError(w, http.StatusForbidden, "Wrong_Org")
		return
	case r.PathValue("user") != ses.user:
		idError(w, http.StatusNotFound, "Bad_Id")
		return
	}
	instance, name := s.instanceURL(), s.username(ses.user)
	rest := instance + "/services/data/v{version}/"
	writeJSON(w, http.StatusOK, map[string]any{
		"id":              s.identityURL(ses.user),
		"asserted_user":   true,
		"user_id":         ses.user,
		"organization_id": s.account.OrgID,
		"username":        name,
		"nick_name":       "integration",
		"display_name":    "Integration User",
		"email":           name,
		"first_name":      "Integration",
		"last_name":       "User",
		"timezone":        "GMT",
		"status":          map[string]any{"created_date": nil, "body": nil},
		"urls": map[string]string{
			"partner":  instance + "/services/Soap/u/{version}/" + s.account.OrgID[:15],
			"metadata": instance + "/services/Soap/m/{version}/" + s.account.OrgID[:15],
			"rest":     rest, "sobjects": rest + "sobjects/", "query": rest + "query/",
			"custom_domain": instance,
		},
		"active":           true,
		"user_type":        "STANDARD",
		"language":         "en_US",
		"locale":           "en_US",
		"utcOffset":        0,
		"is_app_installed": true,
	})
}
