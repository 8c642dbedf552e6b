package sfstream

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream/internal/serverclock"
)

const (
	loginTimeout = 2 * time.Minute // of one login: longer than an authenticator's own

	// slowLogin is the least pause after a login that Salesforce refused because there were too
	// many.
	slowLogin = time.Minute

	// renewEvery is the least time between two logins for channels that are denied.
	renewEvery = time.Minute

	// replacements is how many tokens requests of Do have replaced within the budget's period.
	replacements = 2

	// relocateEvery is the least time between two logins for an instance that is not where it was.
	// After so many relocations in a row that is relocateSlowly.
	relocateEvery  = time.Minute
	relocateSlowly = 15 * time.Minute
	relocations    = 5
)

// errOtherOrg ends a client whose account logs in to another org than before: replay ids and
// markers of one org mean nothing in another.
var errOtherOrg = errors.New("this login is of another org than the first one: its events have other replay ids; make a new client")

// logins gives the links of a client, and Do, their tokens. They share one login, and all pause
// after one that failed. Salesforce locks accounts that log in wrongly too often, so
// WithLoginBudget bounds how many logins Salesforce refuses, and how many give a token that it then
// refuses.
type logins struct {
	cache *authenticator.Cache
	login authenticator.Login
	cfg   *config
	fixed bool // the credentials are the user's own and never change
	clock *serverclock.Clock

	mu         sync.Mutex
	orgID      string // of the first login
	instance   string // of the last login
	relocation relocation
	last       token       // of the last login
	refused    []token     // that Salesforce has refused, within the budget's period
	rejected   []time.Time // when Salesforce has refused a login, within the budget's period
	renewed    time.Time   // when a token was dropped last for a channel that was denied
	replaced   []token     // that were dropped for requests of Do, within the budget's period
	pause      loginPause
}

func newLogins(cfg *config, auth authenticator.Authenticator, login authenticator.Login, clock *serverclock.Clock) *logins {
	return &logins{cache: authenticator.NewCache(auth), login: login, cfg: cfg, fixed: isStatic(auth), clock: clock}
}

// A loginPause is how long there is no login after one that failed. The zero value is no pause.
type loginPause struct {
	until   time.Time       // links do not log in before
	full    time.Time       // Open does not either: the budget is used up
	failure error           // of the last login
	backOff backoff.BackOff // nil: the last login succeeded
}

// A tokenRequest is for what a token is wanted.
type tokenRequest struct {
	channel string // for the error; empty: for several
	open    bool   // Open's: the user wants a login though links pause
}

// token returns a token that Salesforce has not refused yet, after a login where it takes one.
func (l *logins) token(ctx context.Context, req tokenRequest) (*authenticator.Credentials, error) {
	creds, err := l.credentials(ctx, req)
	if err == nil {
		return creds, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return nil, &AuthError{LoginURL: l.login.URL, Channel: req.channel, after: time.Until(l.pause.until), err: err}
}

func (l *logins) credentials(ctx context.Context, req tokenRequest) (*authenticator.Credentials, error) {
	if err := l.pausing(req); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	creds, err := l.cache.Get(limited, l.login)
	switch {
	case err != nil && ctx.Err() != nil && !req.open && errors.Is(err, context.DeadlineExceeded):
		return nil, err // the time of a request of Do is over: that says nothing about the login
	case err != nil:
		l.failed(err, req)
		return nil, err
	case creds.OrgID == "" || creds.InstanceURL == "" || creds.AccessToken == "":
		return nil, fmt.Errorf("%w: the authenticator's credentials lack an access token, instance URL or org id", ErrInvalidOption)
	}
	if err := creds.Validate(); err != nil {
		return nil, err
	}
	return creds, l.succeeded(creds)
}

// pausing returns why there is no login now, nil where there is one.
func (l *logins) pausing(req tokenRequest) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Before(l.pause.full) || !req.open && now.Before(l.pause.until) {
		return l.pause.failure
	}
	return nil
}

// failed begins a pause. Links that have waited for the same login fail together: only the first
// one of them lengthens the pause.
func (l *logins) failed(err error, req tokenRequest) {
	if errors.Is(err, context.Canceled) {
		return // nobody wants the login any more
	}
	l.mu.Lock()
	now := time.Now()
	if now.Before(l.pause.until) && !req.open {
		l.mu.Unlock()
		return
	}
	if l.pause.backOff == nil {
		l.pause.backOff = l.cfg.newBackOff()
	}
	pause := max(0, l.pause.backOff.NextBackOff()) // Stop is for the link to obey
	if e, ok := errors.AsType[*authenticator.Error](err); ok {
		if tooMany(e) {
			pause = max(pause, slowLogin)
		}
		if judged(e) {
			l.rejected = append(withinPeriod(l.rejected, now, l.cfg.loginPeriod), now)
			if over := len(l.rejected) - l.cfg.loginBudget; over >= 0 {
				l.pause.full = l.rejected[over].Add(l.cfg.loginPeriod)
				pause = max(pause, l.pause.full.Sub(now))
			}
		}
	}
	l.pause.until, l.pause.failure = now.Add(pause), err
	l.mu.Unlock()
	l.report(LoginEvent{Err: err})
}

// judged reports whether Salesforce itself has refused a login, which counts against the budget.
// Salesforce refuses those by SOAP with HTTP 500. An answer that cannot be read may be a refusal
// where its status is that of one: it does not end the client, but counts. An HTML page is never
// Salesforce's refusal.
func judged(e *authenticator.Error) bool {
	switch e.StatusCode {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		return e.Code != "html_reply"
	}
	return e.StatusCode >= 400 && (e.StatusCode < 500 || authenticator.Permanent(e)) && !strings.HasSuffix(e.Code, "_reply")
}

// tooMany reports whether Salesforce has refused a login because there were too many before.
func tooMany(e *authenticator.Error) bool {
	return e.StatusCode == http.StatusTooManyRequests || e.Code == "rate_limit_exceeded" || e.Code == "REQUEST_LIMIT_EXCEEDED" ||
		e.Code == "LOGIN_RATE_EXCEEDED" || strings.Contains(strings.ToLower(e.Description), "login rate exceeded")
}

// withinPeriod drops the times that are older than a period.
func withinPeriod(times []time.Time, now time.Time, period time.Duration) []time.Time {
	return slices.DeleteFunc(times, func(at time.Time) bool { return now.Sub(at) >= period })
}

// succeeded notes the token of a login, and refuses one of another org. The cache gives the same
// token many times: only a new one is reported.
func (l *logins) succeeded(creds *authenticator.Credentials) error {
	org := replaystore.Key{OrgID: creds.OrgID}.Canonical().OrgID
	got := tokenOf(creds)
	l.mu.Lock()
	if l.orgID == "" {
		l.orgID = org
	}
	same := l.orgID == org
	from := l.instance
	moved := from != "" && from != creds.InstanceURL
	isNew := moved || !l.last.same(got)
	if l.instance = creds.InstanceURL; moved {
		l.relocation.inRow = 0
	}
	l.last, l.pause = got, loginPause{}
	l.mu.Unlock()
	l.clock.SetInstance(creds.InstanceURL)
	switch {
	case !same:
		return errOtherOrg
	case isNew:
		if moved {
			l.cfg.log.Info("the org has another instance now", "from", from, "to", creds.InstanceURL)
		}
		l.report(LoginEvent{OrgID: org, InstanceURL: creds.InstanceURL})
	}
	return nil
}

// report tells the log and the hook of a login.
func (l *logins) report(e LoginEvent) {
	e.LoginURL = l.login.URL
	if e.Err != nil {
		l.cfg.log.Info("login failed", "login_url", e.LoginURL, "error", e.Err)
	} else {
		l.cfg.log.Info("logged in", "login_url", e.LoginURL, "instance_url", e.InstanceURL, "org_id", e.OrgID)
	}
	if hook := l.cfg.hooks.OnLogin; hook != nil {
		hook(e)
	}
}

// A token tells logins apart by what they gave.
type token struct {
	hash   [sha256.Size]byte // what is printed of a client must hold no secret
	issued time.Time         // tells two logins apart that gave the same token; zero where the flow has no such time
	at     time.Time         // when we looked at it
}

func tokenOf(creds *authenticator.Credentials) token {
	return token{sha256.Sum256([]byte(creds.AccessToken)), creds.IssuedAt, time.Now()}
}

func (t token) same(other token) bool {
	return t.hash == other.hash && t.issued.Equal(other.issued)
}

// invalidate drops credentials that Salesforce has refused, and returns how many logins of the
// budget have been in vain. A refused token counts only if the last login gave it, because streams
// live on with older tokens. Links that fail with the token of one login count once; again says
// that the caller has logged in since its last refusal and got the same token.
func (l *logins) invalidate(creds *authenticator.Credentials, again bool) (inVain int) {
	refused := tokenOf(creds)
	l.mu.Lock()
	l.refused = slices.DeleteFunc(l.refused, func(t token) bool { return refused.at.Sub(t.at) >= l.cfg.loginPeriod })
	if again || l.last.same(refused) && !slices.ContainsFunc(l.refused, refused.same) {
		l.refused = append(l.refused, refused)
	}
	inVain = len(l.refused)
	l.mu.Unlock()
	l.cache.Invalidate(creds)
	return inVain
}

// refuse drops credentials that Salesforce has refused to a stream, which had refused before since
// it was last heard of; nil: none. It returns the least wait before the next login where the one
// before was in vain, too: Salesforce may need minutes, and the budget is spread over its period.
// The error is that of a budget that is used up.
func (l *logins) refuse(creds *authenticator.Credentials, before *token, channel string, err error) (now *token, least time.Duration, fatal error) {
	refused := tokenOf(creds)
	inVain := l.invalidate(creds, before != nil && before.same(refused))
	switch {
	case inVain > l.cfg.loginBudget:
		fatal = &AuthError{LoginURL: l.cfg.loginURL, Channel: channel,
			err: fmt.Errorf("%d logins within %s gave no token that Salesforce takes: %w", l.cfg.loginBudget, l.cfg.loginPeriod, err)}
	case inVain > 1:
		least = l.cfg.loginPeriod / time.Duration(l.cfg.loginBudget)
	}
	return &refused, least, fatal
}

// replace drops credentials that Salesforce has refused to a request of Do, and reports whether the
// request is to be sent again: there will be another token. Links need what the budget leaves, and
// a program may send requests without end, so it drops two tokens in a period, and each for once.
func (l *logins) replace(creds *authenticator.Credentials) bool {
	if l.fixed {
		return false
	}
	refused := tokenOf(creds)
	l.mu.Lock()
	l.replaced = slices.DeleteFunc(l.replaced, func(t token) bool { return refused.at.Sub(t.at) >= l.cfg.loginPeriod })
	dropped := slices.ContainsFunc(l.replaced, refused.same) || !l.last.same(refused)
	due := !dropped && len(l.replaced) < min(replacements, l.cfg.loginBudget)
	if due {
		l.replaced = append(l.replaced, refused)
	}
	l.mu.Unlock()
	if due {
		l.invalidate(creds, false)
	}
	return due || dropped
}

// renew drops credentials, which Salesforce has not refused, for a channel that is denied. It
// reports whether it did: once in renewEvery, however many channels are denied.
func (l *logins) renew(creds *authenticator.Credentials) bool {
	now := time.Now()
	l.mu.Lock()
	due := l.renewed.IsZero() || now.Sub(l.renewed) >= renewEvery
	if due {
		l.renewed = now
	}
	l.mu.Unlock()
	if due {
		l.cache.Invalidate(creds)
	}
	return due
}

// relocate drops credentials whose instance is not where they say, so that a new login names the
// present one. It reports whether it did: once in a while, and never where there is no login.
func (l *logins) relocate(creds *authenticator.Credentials) bool {
	if l.fixed {
		return false
	}
	l.mu.Lock()
	due := l.relocation.due(time.Now())
	l.mu.Unlock()
	if due {
		l.cache.Invalidate(creds)
	}
	return due
}

// A relocation is the last time that an instance was looked for by a new login.
type relocation struct {
	at    time.Time
	inRow int // how often so far, without finding another instance
}

// due reports whether a new login may look for the instance now, and notes that it does.
func (r *relocation) due(now time.Time) bool {
	since := now.Sub(r.at)
	if since > 2*relocateSlowly {
		r.inRow = 0 // the last time was of other trouble
	}
	every := relocateEvery
	if r.inRow >= relocations {
		every = relocateSlowly
	}
	if !r.at.IsZero() && since < every {
		return false
	}
	r.at = now
	r.inRow++
	return true
}

// restOnly reports whether a token has the form of a JWT. Opaque tokens may have dots as well, but
// begin with the org's id and an exclamation mark.
func restOnly(token string) bool {
	return strings.Count(token, ".") == 2 && !strings.Contains(token, "!")
}

// isStatic reports whether an authenticator has nothing but credentials of the user's own.
func isStatic(auth authenticator.Authenticator) bool {
	switch auth.(type) {
	case authenticator.Static, *authenticator.Static:
		return true
	}
	return false
}
