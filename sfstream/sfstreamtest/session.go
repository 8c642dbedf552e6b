package sfstreamtest

import (
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// session is the login that an access token stands for.
type session struct {
	instanceURL string
	user        string
	restOnly    bool         // the token is in JWT form, which the event APIs refuse
	approval    *approval    // of the refresh token that it came from; nil if there is none
	used        atomic.Int64 // when it was used last, in Unix nanoseconds; 0: it has expired
}

// touch slides the session's timeout.
func (s *session) touch() {
	if s.used.Load() != 0 {
		s.used.Store(time.Now().UnixNano())
	}
}

// sessions has the tokens of the org.
type sessions struct {
	prefix  string // the beginning of access tokens: the org's 15 characters
	timeout time.Duration
	dice    *dice
	rotate  bool

	mu        sync.Mutex
	live      map[string]*session  // by access token
	approvals map[string]*approval // by refresh token, also by those that were rotated away
	reused    int                  // how often a refresh token was sent that was rotated away or revoked
}

// approval is a person's approval of the app, which its refresh tokens stand for. sessions.mu
// guards it.
type approval struct {
	user  string
	token string // the one to use now; empty if the approval was revoked
}

func newSessions(a Account, c config, tokens *dice) *sessions {
	return &sessions{
		prefix: a.OrgID[:15] + "!", timeout: c.sessionTimeout, dice: tokens, rotate: c.rotate,
		live:      make(map[string]*session),
		approvals: map[string]*approval{a.RefreshToken: {a.UserID, a.RefreshToken}},
	}
}

// issue begins a session, which a token in JWT form dates.
func (s *sessions) issue(ses *session, now time.Time) (token string) {
	token = s.prefix + "AQ" + s.dice.text() + s.dice.text()
	if ses.restOnly {
		token = s.jwtToken(ses, now)
	}
	ses.used.Store(time.Now().UnixNano())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live[token] = ses
	return token
}

// jwtToken returns an access token in the form of a JWT. Its signature is random and never checked:
// to a client the token is opaque, and the org looks it up like any other.
func (s *sessions) jwtToken(ses *session, now time.Time) string {
	payload := fmt.Sprintf(`{"scp":"api","aud":[%q],"sub":"uid:%s","iss":%q,"iat":%d,"jti":%q}`,
		ses.instanceURL, ses.user, ses.instanceURL, now.Unix(), s.dice.text())
	var parts []string
	for _, part := range []string{`{"typ":"JWT","alg":"RS256"}`, payload, s.dice.text() + s.dice.text()} {
		parts = append(parts, base64.RawURLEncoding.EncodeToString([]byte(part)))
	}
	return strings.Join(parts, ".")
}

// useForEvents does what use does for the Pub/Sub API and CometD, which refuse tokens in JWT form.
func (s *sessions) useForEvents(token string) (*session, bool) {
	ses, ok := s.use(token)
	return ses, ok && !ses.restOnly
}

// use returns the session of a token, and slides its timeout.
func (s *sessions) use(token string) (*session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ses := s.live[token]
	if ses == nil {
		return nil, false
	}
	if time.Since(time.Unix(0, ses.used.Load())) > s.timeout {
		delete(s.live, token)
		return nil, false
	}
	ses.touch()
	return ses, true
}

// expire ends all sessions.
func (s *sessions) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expireLocked()
}

func (s *sessions) expireLocked() {
	for _, ses := range s.live {
		ses.used.Store(0)
	}
	clear(s.live)
}

// approve begins an approval of the app by a user, and returns its refresh token.
func (s *sessions) approve(user string) (a *approval, token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a = &approval{user: user}
	s.renewLocked(a)
	return a, a.token
}

func (s *sessions) renewLocked(a *approval) {
	a.token = "5Aep" + strings.ToLower(s.dice.text()+s.dice.text())
	s.approvals[a.token] = a
}

// exchange uses a refresh token. next is the token to use from now on, empty if there is no
// rotation. Use of a token that was rotated away counts as theft: everything is revoked.
func (s *sessions) exchange(token string) (a *approval, next string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a = s.approvals[token]
	if a == nil {
		return nil, "", false
	}
	if a.token != token {
		s.reused++
		if a.token != "" {
			a.token = ""
			s.expireLocked()
		}
		return nil, "", false
	}
	if s.rotate {
		s.renewLocked(a)
		next = a.token
	}
	return a, next, true
}

// revoke ends the session of an access token, or the approval of a refresh token with its sessions.
func (s *sessions) revoke(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ses := s.live[token]; ses != nil {
		ses.used.Store(0)
		delete(s.live, token)
		return true
	}
	a := s.approvals[token]
	if token == "" || a == nil || a.token != token {
		return false
	}
	a.token = ""
	for token, ses := range s.live {
		if ses.approval == a {
			ses.used.Store(0)
			delete(s.live, token)
		}
	}
	return true
}

// keep slides the timeout of a session that was in use all the time.
func (s *sessions) keep(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ses := s.live[token]; ses != nil {
		ses.touch()
	}
}
