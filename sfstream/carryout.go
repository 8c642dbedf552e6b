package sfstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/authenticator"
)

// longestWait bounds what a server can ask for: a mistake of its own must not
// silence a client for ever.
const longestWait = time.Hour

// channelRefused decides about a channel that is not followed while the session
// lives on. It reports whether a new session is needed.
func (l *link) channelRefused(f *feed, err error) (reopen bool) {
	delete(l.asked, f.sub)
	explain(err, l.creds)
	act := classify(err)
	f.status.failed(err)
	l.client.limited(err)
	level := slog.LevelDebug
	if f.backOff == nil { // the first time since it was followed
		f.backOff, level = l.client.cfg.newBackOff(), slog.LevelInfo
	}
	l.client.log.Log(context.Background(), level, "channel refused", "channel", f.sub.channel, "action", act.String(), "error", err)
	wait, fatal := l.concerning(f, act, err)
	if limit := l.client.cfg.reconnectTimeout; limit > 0 && fatal == nil && wait > 0 {
		down := time.Since(f.downSince)
		if wait = min(wait, limit-down); wait <= 0 {
			fatal = &TimeoutError{Channel: f.sub.channel, Down: down, err: err}
		}
	}
	switch {
	case fatal != nil:
		l.client.endFeed(f, fatal)
	case wait == 0 && act == actionRetrySlowly:
		return true // the session has the old token
	case wait > 0:
		f.set(StateWaiting)
		f.retryAt = time.Now().Add(wait)
		time.AfterFunc(wait, func() { notify(l.changed) }) // to a link that has ended it means nothing
	default:
		notify(l.changed)
	}
	return false
}

// decide says how long to wait before the next session, or why there is none.
func (l *link) decide(err error, progress bool) (wait time.Duration, fatal error) {
	explain(err, l.creds)
	act := classify(err)
	if act == actionResume {
		if progress {
			l.client.log.Debug("session ended by the server, resuming", l.attr(), "error", err)
			return retryAfter(err), nil
		}
		if errors.Is(err, errParted) && !l.parted { // it is trouble where it does so again
			l.parted = true
			return l.nextWait(l.backOff, l.downSince, err)
		}
		act = actionRetry // a server that ends every session at once must not be stormed
	}
	level := slog.LevelInfo
	if l.failing {
		level = slog.LevelDebug
		l.doubted = l.doubted || !l.heard.IsZero()
	}
	l.failing = true
	feeds := l.snapshot()
	for _, f := range feeds {
		f.status.failed(err)
	}
	l.client.limited(err)
	l.client.log.Log(context.Background(), level, "disconnected", l.attr(), "action", act.String(), "error", err)
	if act == actionReauthorize {
		return l.reauthorize(err)
	}
	if len(feeds) == 1 && feeds[0].repeats(err) {
		return 0, feeds[0].gap(feeds[0].lastMarker(), err)
	}
	if act == actionRelocate && l.client.logins.relocate(l.creds) {
		return 0, nil
	}
	if act == actionRetry || act == actionRelocate || len(feeds) == 0 {
		return l.nextWait(l.backOff, l.downSince, err)
	}
	return l.concerning(l.answerable(feeds, act, err), act, err)
}

// answerable is the channel that decides about a session which is refused for what
// is about channels. Those that were never followed have their answer where
// another one was.
func (l *link) answerable(feeds []*feed, act action, err error) *feed {
	i := slices.IndexFunc(feeds, (*feed).isAccepted)
	if i < 0 || act != actionRetrySlowly && act != actionRetryUnknown {
		return feeds[0]
	}
	for _, f := range feeds {
		if !f.isAccepted() {
			l.client.endFeed(f, err)
		}
	}
	return feeds[i]
}

// concerning decides what is about one channel.
func (l *link) concerning(f *feed, act action, err error) (wait time.Duration, fatal error) {
	switch act {
	case actionGiveUp:
		return 0, err
	case actionFallback:
		again := time.Since(f.fellBack) < fallBackEvery
		f.fellBack = time.Now()
		if wait, fatal = f.fallBack(err); !again || fatal != nil {
			return wait, fatal
		}
		return l.nextWait(l.backOff, l.downSince, err) // a server that refuses what it has just sent
	case actionRetrySlowly:
		return f.retryDenied(err)
	case actionRetryUnknown:
		return l.retryUnknown(f, err)
	default:
		return l.nextWait(f.backOff, f.downSince, err)
	}
}

// wording is an answer that we do not understand, and since when there has been no
// other.
type wording struct {
	words string
	since time.Time
	last  time.Time
}

// retryUnknown gives an answer that nobody knows time to pass: once soon, then
// slowly. It is final when the same has been said for as long as a denial lasts
// that is believed.
func (l *link) retryUnknown(f *feed, err error) (time.Duration, error) {
	var server *ServerError
	errors.As(err, &server) // it is one: only they have words
	if !f.isAccepted() && server.unknown == unknownRefusal {
		return 0, err // the answer to Subscribe
	}
	policy, since := l.backOff, l.downSince
	if f.backOff != nil { // the session lives on
		policy, since = f.backOff, f.downSince
	}
	wait, fatal := l.nextWait(policy, since, err)
	if !f.isAccepted() || fatal != nil {
		return wait, fatal // Subscribe's own time bounds it
	}
	now, said := time.Now(), server.Code.String()+server.Reason+server.Message
	heard := &f.unknown
	first := heard.words != said || now.Sub(heard.last) > deniedFor/2 // else other trouble has kept us from asking
	if first {
		*heard = wording{words: said, since: now}
		l.client.log.Warn("refused for a reason that is not known, trying on", "channel", f.sub.channel, "for", deniedFor, "error", err)
	}
	heard.last = now
	switch {
	case first:
		return wait, nil
	case now.Sub(heard.since) < deniedFor:
	case len(f.position.id) > 0 && strings.Contains(strings.ToLower(said), "replay"):
		return f.fallBack(err) // the code of a stale id, and its text, are lost on the way
	default:
		return 0, err
	}
	return max(wait, deniedEvery), nil
}

// nextWait is the backoff's wait, or the server's where that is longer.
func (l *link) nextWait(policy backoff.BackOff, since time.Time, err error) (time.Duration, error) {
	wait := policy.NextBackOff()
	if wait == backoff.Stop {
		return 0, &TimeoutError{Channel: l.name(), Down: time.Since(since), err: err}
	}
	return max(wait, retryAfter(err), 1), nil
}

// limited tells the hook of an allocation that is used up.
func (c *Client) limited(err error) {
	var server *ServerError
	if hook := c.cfg.hooks.OnLimit; hook != nil && errors.As(err, &server) && server.Code == LimitExceeded {
		hook(server)
	}
}

// spread is a wait and up to half as much, at most half a minute: what our tables say,
// and mostly what a server says, is the same for all clients that failed together. Less
// than a second is a pace and no such wait.
func spread(wait time.Duration) time.Duration {
	if wait < time.Second {
		return wait
	}
	return wait + time.Duration(rand.Int64N(int64(min(wait/2, 30*time.Second))+1))
}

func retryAfter(err error) time.Duration {
	var server *ServerError
	var auth *AuthError
	switch {
	case errors.As(err, &server):
		return min(spread(server.RetryAfter), longestWait)
	case errors.As(err, &auth):
		return min(auth.after, longestWait)
	}
	return 0
}

// explain adds to the refusal of a token what is known of the token. The error is the caller's
// alone until it is told.
func explain(err error, creds *authenticator.Credentials) {
	var server *ServerError
	if errors.As(err, &server) && server.Code == Unauthenticated && !server.restOnly && creds != nil && restOnly(creds.AccessToken) {
		server.restOnly = true
	}
}

// reauthorize drops the token that was refused. The first refusal is followed
// at once by an attempt with a new one. Refused again, a Subscribe fails; what
// was followed before tries on within the login budget.
func (l *link) reauthorize(err error) (time.Duration, error) {
	before, refused := l.refused, tokenOf(l.creds)
	l.refused = &refused
	if before != nil {
		for _, f := range l.snapshot() {
			if !f.isAccepted() {
				l.client.endFeed(f, err)
			}
		}
	}
	if l.life.Err() != nil {
		return 0, nil // that was the last one
	}
	cfg := &l.client.cfg
	inVain := l.client.logins.invalidate(l.creds, before != nil && before.same(refused))
	if inVain > cfg.loginBudget {
		return 0, &AuthError{LoginURL: cfg.loginURL, Channel: l.name(),
			err: fmt.Errorf("%d logins within %s gave no token that Salesforce takes: %w", cfg.loginBudget, cfg.loginPeriod, err)}
	}
	if before == nil {
		return 0, nil
	}
	wait, fatal := l.nextWait(l.backOff, l.downSince, err)
	if inVain > 1 { // the budget is spread over its period: Salesforce may need minutes
		wait = max(wait, cfg.loginPeriod/time.Duration(cfg.loginBudget))
	}
	return wait, fatal
}
