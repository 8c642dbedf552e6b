package sfstream

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream/internal/pause"
)

// A link connects, fails and reconnects: there is one for each channel of the Pub/Sub API and one
// for all channels of the Streaming API. It opens a session, receives, delivers, and opens the next
// session from where the last one ended. Nothing else sleeps between attempts. The link ends with
// its last channel. Only the goroutine of run touches the fields from inSession on.
type link struct {
	*services
	roster    *roster
	transport transport
	ctx       context.Context // cancelled when the last channel leaves and when the client ends
	cancel    context.CancelFunc
	changed   chan struct{} // capacity 1: channels joined, left, have room again or have waited long enough
	done      chan struct{} // closed when run has ended

	channels []*channel // roster.mu guards it

	inSession map[*subscription]*channel // the channels that the present session was asked for
	creds     *authenticator.Credentials // of the last attempt
	refused   *token                     // the last token refused; nil: none since a session was last heard of
	backOff   backoff.BackOff            // reset when a session was of use
	course    course
	outage    outage

	pulse *pulse // any goroutine reads it
}

// A course is how the present or last session goes.
type course struct {
	began   time.Time // when it was open; zero: it never was
	heard   time.Time // when its server last proved to live; zero: never
	useful  bool      // it brought something new, or lasted: that ends an outage
	brought bool      // it brought an event that had not come before

	answered bool // its server has answered on it
}

// An outage is the time since the link was last heard of, and what has been told of it.
type outage struct {
	since   time.Time
	failing bool // an attempt has failed: the next failures are told at Debug only
	parted  bool // the last session was short, and its server ended it politely
	told    bool // that the link is connected again
	doubted bool // a session was heard of and failed all the same: an answer proves nothing now
}

func newLink(r *roster, t transport) *link {
	l := &link{
		services: r.services, roster: r, transport: t,
		changed: make(chan struct{}, 1), done: make(chan struct{}), pulse: newPulse(),
	}
	l.ctx, l.cancel = context.WithCancel(r.life.ctx)
	return l
}

// run is the loop of the link. It ends when the link's life does or when no retry helps.
func (l *link) run() {
	defer l.life.running.Done()
	defer close(l.done)
	l.outage.since = time.Now()
	// Not before, under roster.mu: the program's function may call the client.
	l.backOff = l.cfg.newBackOff()
	rush := 0 // sessions in a row that were short and are to be continued at once
	defer l.pulse.rest()
	for {
		began := time.Now()
		l.pulse.expect()
		s, err := l.open()
		if err == nil {
			err = l.receive(s)
		}
		if l.ctx.Err() != nil {
			l.end(nil)
			return
		}
		l.sessionEnded(err)
		explain(err, l.creds)
		wait, _, fatal := l.carryOut(l.judge(err, time.Now()))
		if wait > 0 || err == errReopen || time.Since(began) >= time.Second {
			rush = 0
		} else {
			rush++
			wait = pace(rush) // the link must not storm a server that brings something and ends
		}
		if fatal == nil && wait > 0 {
			fatal = l.sleep(wait, err)
		}
		if fatal != nil || l.ctx.Err() != nil {
			l.end(fatal)
			return
		}
	}
}

// sessionEnded notes what the course of a session, which err has ended, says about the outage.
func (l *link) sessionEnded(err error) {
	c := &l.course
	if !c.heard.IsZero() {
		l.outage.since, l.refused = time.Now(), nil
		if errors.Is(err, errSilent) && c.heard.Sub(c.began) < settled {
			l.outage.since = c.heard // it was down while we waited for it to speak
		}
	}
	if c.useful {
		l.outage = outage{since: l.outage.since}
		l.backOff.Reset()
	}
}

// open makes one attempt to have a session.
func (l *link) open() (session, error) {
	l.inSession, l.course = make(map[*subscription]*channel), course{}
	due, err := l.awaitDue()
	if err != nil {
		return nil, err
	}
	l.pulse.rest() // a login may take its time
	if l.creds, err = l.logins.token(l.ctx, tokenRequest{channel: l.name()}); err != nil {
		return nil, err
	}
	l.pulse.expect()
	return l.transport.open(l.ctx, l.creds, l.ask(due))
}

// ask takes channels into the session and returns what to ask the server for.
func (l *link) ask(channels []*channel) []request {
	var reqs []request
	for _, ch := range channels {
		l.inSession[&ch.sub.Credit] = ch
		reqs = append(reqs, ch.request())
	}
	return reqs
}

// awaitDue waits until there is a channel to ask for.
func (l *link) awaitDue() ([]*channel, error) {
	for {
		if due := l.due(); len(due) > 0 {
			return due, nil
		}
		l.outage.since = time.Now() // a slow consumer is no outage
		var look <-chan time.Time
		if l.cfg.ack == AckManual {
			wait := unackedWarning
			for _, ch := range l.snapshot() {
				wait = min(wait, ch.warnUnacked())
			}
			look = time.After(wait)
		}
		l.pulse.rest()
		select {
		case <-look:
		case <-l.changed:
		case <-l.ctx.Done():
			return nil, l.ctx.Err()
		}
		l.pulse.expect()
		l.outage.since = time.Now()
	}
}

// due returns the channels that are not asked for and should be.
func (l *link) due() (due []*channel) {
	for _, ch := range l.snapshot() {
		if l.inSession[&ch.sub.Credit] == nil && ch.due() {
			due = append(due, ch)
		}
	}
	return due
}

func (l *link) snapshot() []*channel {
	return l.roster.following(l)
}

// name is the channel of a link that follows one channel, else empty.
func (l *link) name() string {
	if channels := l.snapshot(); len(channels) == 1 {
		return channels[0].sub.Name
	}
	return ""
}

// attr tells log lines what the link follows.
func (l *link) attr() slog.Attr {
	if channels := l.snapshot(); len(channels) != 1 {
		return slog.Int("channels", len(channels))
	}
	return slog.String("channel", l.name())
}

// connectedAgain tells the log, once in an outage, that the link is connected again.
func (l *link) connectedAgain() {
	if l.outage.failing && !l.outage.told {
		l.outage.told = true
		l.log.Info("connected again", l.attr(), "after", time.Since(l.outage.since).Round(time.Millisecond))
	}
}

// sleep waits before the next attempt. The error is that WithReconnectTimeout has passed.
func (l *link) sleep(wait time.Duration, cause error) error {
	for _, ch := range l.snapshot() {
		ch.set(StateWaiting)
	}
	limit := l.cfg.reconnectTimeout
	left := limit - time.Since(l.outage.since)
	last := limit > 0 && wait >= left
	if last {
		wait = left
	}
	due := time.Now().Add(max(wait, 0))
	timer := time.NewTimer(wait)
	defer timer.Stop()
	l.pulse.rest()
	select {
	case <-l.ctx.Done():
		return nil
	case <-timer.C:
	}
	if paused := pause.Since(due, time.Now()); paused > 0 {
		l.outage.since = l.outage.since.Add(paused) // nobody could have connected meanwhile
		return nil
	}
	if last {
		return &TimeoutError{Channel: l.name(), Down: time.Since(l.outage.since), err: cause}
	}
	return nil
}

// end ends what the link still follows, with the error if there is one, and the link's life.
func (l *link) end(err error) {
	for _, ch := range l.roster.retire(l) {
		l.roster.end(ch, err)
	}
	l.cancel()
}
