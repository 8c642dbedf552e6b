package sfstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
)

const (
	// settled is how long a session must have lasted to count as a success where
	// nothing was received on it: less than what proxies grant an idle stream.
	settled = 10 * time.Second

	// deniedFor is how long a channel that was once accepted may be denied before
	// that is believed: permission and channel changes take Salesforce 10 minutes.
	deniedFor   = 10 * time.Minute
	deniedEvery = 30 * time.Second

	// unackedWarning is how long a channel waits for Ack without a warning.
	unackedWarning = time.Minute

	// stillNow is how long after a channel was set to "new" a session of new
	// events begins at that moment. Salesforce itself takes some 3 s.
	stillNow = 2 * time.Second
)

// link follows one channel: it opens a session, receives, delivers, and opens
// the next one from where the last one ended. It is the only place that sleeps
// between attempts. The goroutine of run is the only writer of its fields.
type link struct {
	client *Client
	sub    *subscription
	life   context.Context    // of the subscription; Unsubscribe and the client's end cancel it
	cancel context.CancelFunc // of life
	status linkStatus

	accepted chan struct{} // closed when Salesforce has accepted the subscription
	done     chan struct{} // closed when run has ended; err is set then
	err      error

	position   position
	startedNew time.Time // where position.latest: when that was decided
	fresh      bool      // this session brings only what is new, whatever its date
	duplicates duplicates

	creds     *authenticator.Credentials // of the last attempt
	refused   *refusal                   // the last token that was refused since something was received
	backOff   backoff.BackOff
	downSince time.Time // of the present outage
	denied    time.Time // since when an accepted channel is denied; zero: it is not
	failing   bool      // the last attempt failed: the next ones are told at Debug only
}

// run is the loop. It ends when life does or when no retry helps.
func (l *link) run() {
	ctx := l.life
	l.downSince = time.Now()
	for {
		s, err := l.open(ctx)
		progress := false
		if err == nil {
			progress, err = l.receive(s)
		}
		if ctx.Err() != nil {
			l.end(nil)
			return
		}
		if progress {
			l.downSince, l.denied, l.refused, l.failing = time.Now(), time.Time{}, nil, false
			l.backOff.Reset()
		}
		wait, fatal := l.decide(err, progress)
		if fatal == nil && wait > 0 {
			fatal = l.sleep(ctx, wait, err)
		}
		if fatal != nil || ctx.Err() != nil {
			l.end(fatal)
			return
		}
	}
}

// open makes one attempt to have a session.
func (l *link) open(ctx context.Context) (session, error) {
	credit, err := l.awaitRoom(ctx)
	if err != nil {
		return nil, err
	}
	l.status.set(StateOpening)
	if l.creds, err = l.client.credentials(ctx, l.sub.channel); err != nil {
		return nil, err
	}
	if l.position.latest && l.isAccepted() && l.client.clock.now().Sub(l.startedNew) > stillNow {
		l.position = position{skip: skipper{before: l.startedNew}}
	}
	l.fresh = l.position.latest
	s, err := l.client.transport.open(ctx, l.creds, request{
		sub: l.sub, verify: !l.isAccepted(), position: l.position, credit: credit,
	})
	if err != nil {
		return nil, err
	}
	if l.isAccepted() {
		if l.failing {
			l.client.log.Info("connected again", "channel", l.sub.channel, "after", time.Since(l.downSince))
		}
		l.duplicates.expect()
	} else {
		l.client.delivery.accepted(l.sub)
		close(l.accepted)
	}
	if l.position.latest {
		// From here on "new" means what comes after that moment, whenever a
		// reconnect asks for it.
		l.position = position{skip: skipper{before: l.startedNew}}
	}
	l.status.set(StateLive)
	return s, nil
}

// awaitRoom waits until there is something to ask for: a session without demand
// would be ended by the server after a minute.
func (l *link) awaitRoom(ctx context.Context) (credit int, err error) {
	var warned time.Time
	for {
		if credit = l.sub.openCredit(); credit > 0 {
			return credit, nil
		}
		l.status.set(StateParked)
		var look <-chan time.Time
		if l.client.cfg.ack == AckManual {
			var wait time.Duration
			warned, wait = l.warnUnacked(warned)
			look = time.After(wait)
		}
		select {
		case <-look:
		case <-l.sub.room:
			l.downSince = time.Now() // a slow consumer is no outage
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// warnUnacked warns, once for each time, that all room of the channel has been
// taken by unacked messages for a while. It returns when to look again.
func (l *link) warnUnacked(warned time.Time) (_ time.Time, wait time.Duration) {
	since, n, oldest := l.client.delivery.fullOf(l.sub)
	if since.IsZero() || since.Equal(warned) {
		return warned, unackedWarning
	}
	if full := time.Since(since); full < unackedWarning {
		return warned, unackedWarning - full
	}
	l.client.log.Warn("the channel waits for Ack: as many messages as WithPrefetch allows are not acked",
		"channel", l.sub.channel, "unacked", n, "since", since, "oldest_id", oldest.ID, "oldest_replay_id", fmt.Sprintf("%x", oldest.ReplayID))
	return since, unackedWarning
}

func (l *link) isAccepted() bool {
	select {
	case <-l.accepted:
		return true
	default:
		return false
	}
}

// receive delivers what comes on a session until it ends. It reports whether
// the session was of use: something came, or it lasted.
func (l *link) receive(s session) (progress bool, err error) {
	defer s.close()
	started := time.Now()
	for {
		b, err := s.recv()
		if err != nil {
			if l.fresh && len(l.position.id) == 0 {
				l.position.skip.until = b.unread
			}
			return progress || time.Since(started) >= settled, err
		}
		progress = true
		l.deliver(b)
	}
}

// deliver queues what was received and moves the position behind it.
func (l *link) deliver(b batch) {
	now := l.client.clock.now()
	if len(b.messages) == 0 {
		l.client.delivery.keepalive(l.sub, b.latest, now)
		l.fresh = l.fresh || !l.position.skip.before.After(now) // all that is retained has come
		l.moveTo(b.latest)
		return
	}
	for i := range b.messages {
		m := &b.messages[i]
		m.client = l.client
		if l.duplicates.seen(m) {
			m.fate = fateDuplicate
			continue
		}
		if !l.fresh && l.position.skip.skips(m, now) {
			m.fate = fateSkip
		}
		l.moveTo(m.ReplayID)
	}
	l.client.delivery.push(l.sub, b.messages, now)
}

// moveTo makes a replay id the place to resume after. An event without one
// leaves the place as it is: it comes again after a reconnect.
func (l *link) moveTo(id []byte) {
	if len(id) == 0 {
		return
	}
	l.position.id = id
	if l.fresh {
		l.position.skip = skipper{} // what comes after it is new too
	}
}

// decide says how long to wait before the next attempt, or why there is none.
func (l *link) decide(err error, progress bool) (wait time.Duration, fatal error) {
	act := classify(err)
	if act == actionResume {
		if progress {
			l.client.log.Debug("stream ended by the server, resuming", "channel", l.sub.channel)
			return 0, nil
		}
		act = actionRetry // a server that ends every stream at once must not be stormed
	}
	l.status.failed(err)
	level := slog.LevelInfo
	if l.failing {
		level = slog.LevelDebug
	}
	l.failing = true
	l.client.log.Log(context.Background(), level, "disconnected", "channel", l.sub.channel, "action", act.String(), "error", err)
	switch act {
	case actionGiveUp:
		return 0, err
	case actionReauthorize:
		return l.reauthorize(err)
	case actionFallback:
		return l.fallBack(err)
	case actionRetrySlowly:
		return l.retryDenied(err)
	default:
		return l.nextWait(err)
	}
}

// nextWait is the backoff's wait, or the server's where that is longer.
func (l *link) nextWait(err error) (time.Duration, error) {
	wait := l.backOff.NextBackOff()
	if wait == backoff.Stop {
		return 0, &TimeoutError{Channel: l.sub.channel, Down: time.Since(l.downSince), err: err}
	}
	var server *ServerError
	if errors.As(err, &server) {
		wait = max(wait, server.RetryAfter)
	}
	return max(wait, 1), nil
}

// sleep waits, and gives up where that would pass WithReconnectTimeout.
func (l *link) sleep(ctx context.Context, wait time.Duration, cause error) error {
	l.status.set(StateWaiting)
	limit := l.client.cfg.reconnectTimeout
	left := limit - time.Since(l.downSince)
	last := limit > 0 && wait >= left
	if last {
		wait = left
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return nil
	case <-timer.C:
	}
	if last {
		return &TimeoutError{Channel: l.sub.channel, Down: time.Since(l.downSince), err: cause}
	}
	return nil
}

// reauthorize drops the token that was refused. The first refusal is followed
// at once by an attempt with a new one. Refused again, a Subscribe fails; a
// channel that was followed before tries on within the login budget.
func (l *link) reauthorize(err error) (time.Duration, error) {
	before, refused := l.refused, refusalOf(l.creds)
	l.refused = &refused
	switch {
	case before != nil && !l.isAccepted():
		return 0, err
	case !l.client.invalidate(l.creds, before != nil && before.same(refused)):
		return 0, &AuthError{LoginURL: l.client.cfg.loginURL, Channel: l.sub.channel,
			err: fmt.Errorf("%d logins within %s gave no token that Salesforce takes: %w", loginBudget, loginPeriod, err)}
	case before != nil:
		return l.nextWait(err)
	}
	return 0, nil
}

// retryDenied gives a channel that was followed before time to come back.
func (l *link) retryDenied(err error) (time.Duration, error) {
	if !l.isAccepted() {
		return 0, err // the answer to Subscribe
	}
	switch now := time.Now(); {
	case l.denied.IsZero():
		l.denied = now
		l.client.log.Warn("channel denied, trying on", "channel", l.sub.channel, "for", deniedFor, "error", err)
		l.client.cache.Invalidate(l.creds) // a new login may see new permissions; no token was refused
	case now.Sub(l.denied) >= deniedFor:
		return 0, err
	}
	return deniedEvery, nil
}

// fallBack decides what to do about a replay id that Salesforce refuses.
func (l *link) fallBack(err error) (time.Duration, error) {
	last := l.client.delivery.marker(l.sub)
	if !bytes.Equal(last.ReplayID, l.position.id) {
		last = replaystore.Marker{ReplayID: l.position.id, Live: last.Live}
	}
	if len(l.position.id) == 0 {
		return 0, &ReplayError{Channel: l.sub.channel, Marker: last, err: err} // a fallback, refused too
	}
	now := l.client.clock.now()
	if !last.Live.IsZero() && now.Sub(last.Live) < followed {
		// The id is older than what is retained, but the channel was quiet: all
		// that came since is still there.
		l.client.log.Debug("replay id aged out on a quiet channel", "channel", l.sub.channel, "live", last.Live)
		l.position = position{}
		return 0, nil
	}
	switch l.client.cfg.fallback {
	case FallbackAll:
		l.position = position{}
		l.client.delivery.restart(l.sub, time.Time{})
	case FallbackNew:
		l.position, l.startedNew = position{latest: true}, now
		l.client.delivery.restart(l.sub, now)
	default:
		return 0, &ReplayError{Channel: l.sub.channel, Marker: last, err: err}
	}
	l.duplicates.forget()
	l.status.gap()
	l.client.log.Warn("stored position refused, events may have been missed", "channel", l.sub.channel,
		"replay_id", fmt.Sprintf("%x", last.ReplayID), "resume", l.client.cfg.fallback.String(), "error", err)
	if hook := l.client.cfg.hooks.OnGap; hook != nil {
		hook(Gap{Channel: l.sub.channel, After: last, Reason: err})
	}
	return 0, nil
}

// end is the end of run.
func (l *link) end(err error) {
	l.err = err
	l.status.set(StateEnded)
	l.cancel()
	l.client.linkEnded(l, err)
	close(l.done)
}
