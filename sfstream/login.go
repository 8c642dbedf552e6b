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

	// slowLogin is the least pause after a login that was one too many.
	slowLogin = time.Minute

	// relocateEvery and relocateSlowly are the pauses between logins for an instance
	// that is not where it was: for the first relocations of them in a row, and for
	// those after.
	relocateEvery  = time.Minute
	relocateSlowly = 15 * time.Minute
	relocations    = 5

	// renewEvery is the least pause between logins for channels that are denied.
	renewEvery = time.Minute
)

// errOtherOrg ends a client whose account logs in elsewhere now: replay ids and
// markers of one org mean nothing in another.
var errOtherOrg = errors.New("this login is of another org than the first one: its events have other replay ids; make a new client")

// logins gives the links of a client their tokens. All share one login; after
// one that failed all pause; and there are no more than a budget of logins that
// Salesforce refuses, or whose tokens it refuses: that locks accounts.
type logins struct {
	cache *authenticator.Cache
	login authenticator.Login
	cfg   *config
	fixed bool // the credentials are the user's own and never change
	clock *serverclock.Clock

	mu       sync.Mutex
	orgID    string    // of the first login
	instance string    // of the last login
	moved    time.Time // when a token was dropped for an instance that was not there
	moves    int       // how often that was, since another instance was found
	last     refusal   // the last login, by its token
	refusals []refusal // tokens that were refused, within the budget's period
	rejected []time.Time
	renewed  time.Time       // when a token was dropped for a channel that was denied
	backOff  backoff.BackOff // of failing logins; nil: the last one succeeded
	until    time.Time       // no login of a link before
	full     time.Time       // no login at all before: the budget is spent
	failure  error           // why
}

// open is get for Open, which waits for no pause.
func (l *logins) open(ctx context.Context) (*authenticator.Credentials, error) {
	return l.token(ctx, "", true)
}

// get returns a token that has not been refused yet, after a login if need be.
func (l *logins) get(ctx context.Context, channel string) (*authenticator.Credentials, error) {
	return l.token(ctx, channel, false)
}

func (l *logins) token(ctx context.Context, channel string, atOnce bool) (*authenticator.Credentials, error) {
	if err := l.pausing(atOnce); err != nil {
		return nil, l.error(channel, err)
	}
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	creds, err := l.cache.Get(ctx, l.login)
	switch {
	case err != nil:
		l.failed(err, atOnce)
		return nil, l.error(channel, err)
	case creds.OrgID == "" || creds.InstanceURL == "" || creds.AccessToken == "":
		return nil, l.error(channel, fmt.Errorf("%w: the authenticator's credentials lack an access token, instance URL or org id", ErrInvalidOption))
	}
	if err := creds.Validate(); err != nil {
		return nil, l.error(channel, err)
	}
	if err := l.succeeded(creds); err != nil {
		return nil, l.error(channel, err)
	}
	return creds, nil
}

// error wraps why there is no token, and for how long there will be none.
func (l *logins) error(channel string, err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &AuthError{LoginURL: l.login.URL, Channel: channel, after: time.Until(l.until), err: err}
}

func (l *logins) pausing(atOnce bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Before(l.full) || !atOnce && now.Before(l.until) {
		return l.failure
	}
	return nil
}

// failed begins a pause. Links that waited for one login fail together: the first
// one counts.
func (l *logins) failed(err error, atOnce bool) {
	if errors.Is(err, context.Canceled) {
		return // nobody wants it any more
	}
	l.mu.Lock()
	now := time.Now()
	if now.Before(l.until) && !atOnce {
		l.mu.Unlock()
		return
	}
	if l.backOff == nil {
		l.backOff = l.cfg.newBackOff()
	}
	pause := max(0, l.backOff.NextBackOff()) // Stop is for the link to obey
	if e, ok := errors.AsType[*authenticator.Error](err); ok {
		if tooMany(e) {
			pause = max(pause, slowLogin)
		}
		if judged(e) {
			l.rejected = append(withinPeriod(l.rejected, now, l.cfg.loginPeriod), now)
			if over := len(l.rejected) - l.cfg.loginBudget; over >= 0 {
				l.full = l.rejected[over].Add(l.cfg.loginPeriod)
				pause = max(pause, l.full.Sub(now))
			}
		}
	}
	l.until, l.failure = now.Add(pause), err
	l.mu.Unlock()
	l.tell(LoginEvent{Err: err})
}

// judged reports whether Salesforce itself has refused a login. SOAP does so with
// HTTP 500. An answer that cannot be read may be a refusal where the status is that
// of one: it ends nothing, but counts. A page is never one.
func judged(e *authenticator.Error) bool {
	switch e.StatusCode {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		return e.Code != "html_reply"
	}
	return e.StatusCode >= 400 && (e.StatusCode < 500 || authenticator.Permanent(e)) && !strings.HasSuffix(e.Code, "_reply")
}

// tooMany reports whether a login was refused for those before it.
func tooMany(e *authenticator.Error) bool {
	return e.StatusCode == http.StatusTooManyRequests || e.Code == "rate_limit_exceeded" || e.Code == "REQUEST_LIMIT_EXCEEDED" ||
		e.Code == "LOGIN_RATE_EXCEEDED" || strings.Contains(strings.ToLower(e.Description), "login rate exceeded")
}

func withinPeriod(times []time.Time, now time.Time, period time.Duration) []time.Time {
	return slices.DeleteFunc(times, func(at time.Time) bool { return now.Sub(at) >= period })
}

// succeeded takes in a token, and refuses one of another org.
func (l *logins) succeeded(creds *authenticator.Credentials) error {
	org := replaystore.Key{OrgID: creds.OrgID}.Canonical().OrgID
	token := refusalOf(creds)
	l.mu.Lock()
	if l.orgID == "" {
		l.orgID = org
	}
	same := l.orgID == org
	from := l.instance
	moved := from != "" && from != creds.InstanceURL
	fresh := moved || !l.last.same(token)
	if l.instance = creds.InstanceURL; moved {
		l.moves = 0
	}
	l.last, l.backOff, l.until, l.full = token, nil, time.Time{}, time.Time{}
	l.mu.Unlock()
	l.clock.SetInstance(creds.InstanceURL)
	switch {
	case !same:
		return errOtherOrg
	case fresh:
		if moved {
			l.cfg.log.Info("the org has another instance now", "from", from, "to", creds.InstanceURL)
		}
		l.tell(LoginEvent{OrgID: org, InstanceURL: creds.InstanceURL})
	}
	return nil
}

// tell tells the log and the hook of a login.
func (l *logins) tell(e LoginEvent) {
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

// refusal is a login whose token Salesforce refused.
type refusal struct {
	token  [sha256.Size]byte // its hash: what is printed of a client must hold no secret
	issued time.Time         // tells two logins that gave the same token apart; zero where the flow does not tell
	at     time.Time
}

func refusalOf(creds *authenticator.Credentials) refusal {
	return refusal{sha256.Sum256([]byte(creds.AccessToken)), creds.IssuedAt, time.Now()}
}

func (r refusal) same(other refusal) bool {
	return r.token == other.token && r.issued.Equal(other.issued)
}

// invalidate drops credentials that Salesforce refused, and returns how many logins
// of the budget have been in vain. Of the tokens that are refused only those count
// that the last login gave: streams live on with older ones. Links that fail with
// one login count once; again says that the caller has logged in since and got no
// other token.
func (l *logins) invalidate(creds *authenticator.Credentials, again bool) (inVain int) {
	refused := refusalOf(creds)
	l.mu.Lock()
	l.refusals = slices.DeleteFunc(l.refusals, func(r refusal) bool { return refused.at.Sub(r.at) >= l.cfg.loginPeriod })
	if again || l.last.same(refused) && !slices.ContainsFunc(l.refusals, refused.same) {
		l.refusals = append(l.refusals, refused)
	}
	inVain = len(l.refusals)
	l.mu.Unlock()
	l.cache.Invalidate(creds)
	return inVain
}

// renew drops credentials that were not refused, for a channel that is denied. It
// reports whether it did: once in a while, however many channels are denied.
func (l *logins) renew(creds *authenticator.Credentials) bool {
	now := time.Now()
	l.mu.Lock()
	again := l.renewed.IsZero() || now.Sub(l.renewed) >= renewEvery
	if again {
		l.renewed = now
	}
	l.mu.Unlock()
	if again {
		l.cache.Invalidate(creds)
	}
	return again
}

const restOnlyAdvice = "the access token is a JWT, which Salesforce takes for REST only: turn off JWT-based access tokens in the app's settings"

// restOnly reports whether a token has the form of a JWT. Opaque tokens may have
// dots as well, but begin with the org's id and an exclamation mark.
func restOnly(token string) bool {
	return strings.Count(token, ".") == 2 && !strings.Contains(token, "!")
}

// explain adds to the refusal of a token what is known of the token. Nobody else
// has the error yet.
func (l *link) explain(err error) {
	var server *ServerError
	if errors.As(err, &server) && server.Code == Unauthenticated && !server.restOnly && l.creds != nil && restOnly(l.creds.AccessToken) {
		server.restOnly = true
	}
}

// relocate drops credentials whose instance is not where they say, so that a new
// login names the present one. It reports whether it did: once in a while, and never
// where there is no login.
func (l *logins) relocate(creds *authenticator.Credentials) bool {
	if l.fixed {
		return false
	}
	now := time.Now()
	l.mu.Lock()
	since := now.Sub(l.moved)
	if since > 2*relocateSlowly {
		l.moves = 0 // that was another time
	}
	every := relocateEvery
	if l.moves >= relocations {
		every = relocateSlowly
	}
	again := l.moved.IsZero() || since >= every
	if again {
		l.moved = now
		l.moves++
	}
	l.mu.Unlock()
	if again {
		l.cache.Invalidate(creds)
	}
	return again
}

func isStatic(auth authenticator.Authenticator) bool {
	switch auth.(type) {
	case authenticator.Static, *authenticator.Static:
		return true
	}
	return false
}
