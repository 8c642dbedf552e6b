package sfstream

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/authenticator"
)

// judge says what follows from the end of the link's session, and for which channel; nil: for none
// in particular.
func (l *link) judge(err error, now time.Time) (v verdict, of *channel) {
	act := classify(err)
	if act == actionResume {
		if l.course.useful {
			return verdict{err: err, action: act, notice: noticeResumed, pacing: byServer}, nil
		}
		if errors.Is(err, errParted) && !l.outage.parted {
			return verdict{err: err, action: act, notice: noticeParted, pacing: byLink}, nil
		}
		act = actionRetry // the link must not storm a server that ends every session at once
	}
	channels := l.snapshot()
	v.pacing = byLink
	switch {
	case act == actionReauthorize && l.refused == nil:
		v = verdict{relogin: reloginRefused} // what is followed goes on with a new token at once
	case act == actionReauthorize:
		v.relogin, v.endUnaccepted = reloginRefused, true
	case act == actionRelocate:
		v.relogin = reloginMoved
	case len(channels) == 0:
	case act == actionRetry && len(channels) == 1:
		of = channels[0]
		v = of.situation(now).judgeRetry(err)
	case act != actionRetry:
		v, of = judgeOne(channels, act, err, now)
	}
	v.err, v.action, v.notice = err, act, noticeDisconnected
	return v, of
}

// judgeOne judges a session that was refused for what concerns its channels. A denial does not say
// which of them it means: channels that were never accepted end with it, as Subscribe wants an
// answer, and one that was accepted is judged for the others.
func judgeOne(channels []*channel, act action, err error, now time.Time) (v verdict, of *channel) {
	if act == actionDenied || act == actionRetryUnknown {
		for _, ch := range channels {
			if ch.isAccepted() {
				v = ch.situation(now).judge(act, err)
				v.endUnaccepted = true
				return v, ch
			}
		}
	}
	return channels[0].situation(now).judge(act, err), channels[0]
}

// situation is what the judge is to know of the channel.
func (ch *channel) situation(now time.Time) situation {
	return situation{
		now: now, channel: ch.sub.Name, accepted: ch.isAccepted(), history: ch.history,
		last: ch.lastMarker(), latest: ch.clock.Latest(), openGroup: ch.groups.canSeek(),
		below: ch.gap.below > 0, policy: ch.cfg.fallback, managed: ch.managed.Load() != nil,
	}
}

// channelRefused deals with a channel that the server does not follow while the session lives on.
// The error ends the session: a new one is needed, because this one has the old token.
func (l *link) channelRefused(ch *channel, err error) error {
	delete(l.inSession, &ch.sub.Credit)
	explain(err, l.creds)
	v := ch.situation(time.Now()).judge(classify(err), err)
	v.notice = noticeRefused
	wait, renewed, fatal := l.carryOut(v, ch)
	if wait > 0 {
		wait, fatal = ch.limitWait(wait, err)
	}
	switch {
	case fatal != nil:
		l.roster.end(ch, fatal)
	case renewed:
		l.course.useful = true
		return io.EOF
	case wait > 0:
		ch.set(StateWaiting)
		l.retryIn(ch, wait)
	default:
		notify(l.changed)
	}
	return nil
}

// retryIn makes a channel that is refused due again after a wait.
func (l *link) retryIn(ch *channel, wait time.Duration) {
	ch.refusal.until = time.Now().Add(wait)
	time.AfterFunc(wait, func() { notify(l.changed) }) // to a link that has ended it means nothing
}

// resumeMissed deals with channels that have missed events. The error is errReopen where there was
// one: its session goes on from the wrong position.
func (l *link) resumeMissed() (err error) {
	for _, ch := range l.inSession {
		why, possible := ch.missed()
		if why == nil {
			continue
		}
		v := ch.situation(time.Now()).judgeMissed(why, possible)
		wait, _, fatal := l.carryOut(v, ch)
		if fatal != nil {
			l.roster.end(ch, fatal)
		} else if wait > 0 {
			l.retryIn(ch, wait)
		}
		err = errReopen
	}
	return err
}

// carryOut does what a verdict says, which is of channel ch unless that is nil: it tells of the
// failure, ends channels that were never accepted, resumes a channel elsewhere, and drops the token
// where a new login is wanted. It leaves the wait to the caller, and the end by the fatal error. A
// wait of zero means at once; renewed says that this is because a new login is to come, so that a
// session with the old token is of no use.
func (l *link) carryOut(v verdict, ch *channel) (wait time.Duration, renewed bool, fatal error) {
	l.tell(v, ch)
	if v.endUnaccepted {
		for _, ch := range l.snapshot() {
			if !ch.isAccepted() {
				l.roster.end(ch, v.err)
			}
		}
		if l.ctx.Err() != nil {
			return 0, false, nil // that was the last channel
		}
	}
	if ch != nil {
		ch.history = v.history
	}
	if v.fatal != nil {
		return 0, false, v.fatal
	}
	if ch != nil {
		ch.resume(v)
	}
	wait, renewed, fatal = l.next(v, ch)
	if v.warning != "" && fatal == nil {
		l.log.Warn(v.warning, "channel", ch.sub.Name, "for", deniedFor, "error", v.err)
	}
	return wait, renewed, fatal
}

// tell notes a failure, of channel ch where a channel is refused, in the status, and tells the log
// and the hook of it. Of an outage only the first failure is told at Info, and none that ends the
// channel: that is the error of Subscribe or of the client.
func (l *link) tell(v verdict, ch *channel) {
	log, level := l.log, slog.LevelInfo
	if v.fatal != nil {
		level = slog.LevelDebug
	}
	switch v.notice {
	case noticeResumed:
		log.Debug("session ended by the server, resuming", l.attr(), "error", v.err)
	case noticeParted:
		l.outage.parted = true
	case noticeDisconnected:
		if l.outage.failing {
			level = slog.LevelDebug
			l.outage.doubted = l.outage.doubted || !l.course.heard.IsZero()
		}
		l.outage.failing = true
		for _, ch := range l.snapshot() {
			ch.status.failed(v.err)
		}
		l.tellLimit(v.err)
		log.Log(context.Background(), level, "disconnected", l.attr(), "action", v.action.String(), "error", v.err)
	case noticeRefused:
		ch.status.failed(v.err)
		l.tellLimit(v.err)
		if ch.refusal.backOff == nil { // the first failure since Salesforce followed it
			ch.refusal.backOff = l.cfg.newBackOff()
		} else {
			level = slog.LevelDebug
		}
		log.Log(context.Background(), level, "channel refused", "channel", ch.sub.Name, "action", v.action.String(), "error", v.err)
	}
}

// tellLimit tells the hook of an allocation that is used up.
func (l *link) tellLimit(err error) {
	var server *ServerError
	if hook := l.cfg.hooks.OnLimit; hook != nil && errors.As(err, &server) && server.Code == LimitExceeded {
		hook(server)
	}
}

// next drops the token where a verdict, of channel ch unless that is nil, wants a new login, and
// says when the next attempt is to come. The fatal error is that of a login budget that is used up,
// or of a backoff that says stop.
func (l *link) next(v verdict, ch *channel) (wait time.Duration, renewed bool, fatal error) {
	logins := l.logins
	wait = v.wait
	switch v.relogin {
	case reloginDenied:
		renewed = logins.renew(l.creds)
	case reloginMoved:
		renewed = logins.relocate(l.creds)
	case reloginRefused:
		renewed = l.refused == nil
		if wait, fatal = l.replaceToken(v.err); fatal != nil {
			return 0, false, fatal
		}
	}
	if renewed {
		return 0, true, nil
	}
	switch v.pacing {
	case byServer:
		wait = max(wait, retryAfter(v.err))
	case byLink:
		wait, fatal = l.backOffFor(l.backOff, l.outage.since, wait, v.err)
	case byChannel:
		if ch != nil && ch.refusal.backOff != nil {
			wait, fatal = l.backOffFor(ch.refusal.backOff, ch.refusal.since, wait, v.err)
		} else {
			wait, fatal = l.backOffFor(l.backOff, l.outage.since, wait, v.err)
		}
	}
	return wait, false, fatal
}

// backOffFor is the longest of a policy's next wait, what the server asks for, and least.
func (l *link) backOffFor(policy backoff.BackOff, since time.Time, least time.Duration, err error) (time.Duration, error) {
	wait := policy.NextBackOff()
	if wait == backoff.Stop {
		return 0, &TimeoutError{Channel: l.name(), Down: time.Since(since), err: err}
	}
	return max(wait, least, retryAfter(err), 1), nil
}

// replaceToken drops a token that Salesforce has refused. It returns the least wait before the next
// login.
func (l *link) replaceToken(err error) (least time.Duration, fatal error) {
	l.refused, least, fatal = l.logins.refuse(l.creds, l.refused, l.name(), err)
	return least, fatal
}

// explain adds to the refusal of a token what is known of the token. The error is the caller's
// alone until it is told.
func explain(err error, creds *authenticator.Credentials) {
	var server *ServerError
	if errors.As(err, &server) && server.Code == Unauthenticated && !server.restOnly && creds != nil && restOnly(creds.AccessToken) {
		server.restOnly = true
	}
}

// retryAfter is how long the server wants us to wait, zero where it does not say.
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

// spread lengthens a wait by up to half of it, at most by half a minute. What our tables say, and
// mostly what a server says, is the same for all clients that failed together, which must not come
// back together. Less than a second is the pace of a server, and no such wait.
func spread(wait time.Duration) time.Duration {
	if wait < time.Second {
		return wait
	}
	return wait + time.Duration(rand.Int64N(int64(min(wait/2, 30*time.Second))+1))
}
