package sfstream

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream/internal/pause"
)

// link is what connects, fails and reconnects: one for each channel of the
// Pub/Sub API, one for all channels of the Streaming API. It opens a session,
// receives, delivers, and opens the next one from where the last one ended. It
// is the only place that sleeps between attempts. It ends with its last feed.
// The goroutine of run is the only writer of its fields.
type link struct {
	client    *Client
	transport transport
	life      context.Context // cancelled when the last feed leaves and when the client ends
	cancel    context.CancelFunc
	changed   chan struct{} // capacity 1: feeds joined, left, have room again or have waited long enough
	done      chan struct{} // closed when run has ended

	feeds []*feed // client.mu guards it

	asked     map[*subscription]*feed    // of the present session
	creds     *authenticator.Credentials // of the last attempt
	refused   *token                     // the last token that was refused since something was received
	backOff   backoff.BackOff
	heard     time.Time // when the present session last proved to work; zero: it has not
	lasted    bool      // it did so for a while
	parted    bool      // the last session was short, and its server ended it politely
	downSince time.Time // of the present outage
	failing   bool      // the last attempt failed: the next ones are told at Debug only
	again     bool      // that the link is connected again has been told, of the present outage
	doubted   bool      // a session of it was answered and failed all the same
}

func newLink(c *Client, t transport) *link {
	l := &link{
		client: c, transport: t, backOff: c.cfg.newBackOff(),
		changed: make(chan struct{}, 1), done: make(chan struct{}),
	}
	l.life, l.cancel = context.WithCancel(c.life)
	return l
}

// run is the loop. It ends when life does or when no retry helps.
func (l *link) run() {
	defer l.client.running.Done()
	defer close(l.done)
	l.downSince = time.Now()
	rush := 0 // sessions in a row that were short and are to be continued at once
	for {
		began := time.Now()
		s, err := l.open()
		progress := false
		if err == nil {
			progress, err = l.receive(s)
		}
		if l.life.Err() != nil {
			l.end(nil)
			return
		}
		if !l.heard.IsZero() {
			l.downSince, l.refused = time.Now(), nil
			if errors.Is(err, errSilent) && !l.lasted {
				l.downSince = l.heard
			}
		}
		if progress {
			l.failing, l.parted, l.again, l.doubted = false, false, false, false
			l.backOff.Reset()
		}
		wait, fatal := l.decide(err, progress)
		if wait > 0 || err == errReopen || time.Since(began) >= time.Second {
			rush = 0
		} else {
			rush++
			wait = pace(rush) // a server that brings something and ends must not be stormed
		}
		if fatal == nil && wait > 0 {
			fatal = l.sleep(wait, err)
		}
		if fatal != nil || l.life.Err() != nil {
			l.end(fatal)
			return
		}
	}
}

// open makes one attempt to have a session.
func (l *link) open() (session, error) {
	l.asked, l.heard = make(map[*subscription]*feed), time.Time{}
	due, err := l.awaitDue()
	if err != nil {
		return nil, err
	}
	if l.creds, err = l.client.logins.token(l.life, tokenRequest{channel: l.name()}); err != nil {
		return nil, err
	}
	return l.transport.open(l.life, l.creds, l.ask(due))
}

// ask takes feeds into the session and returns what to ask for.
func (l *link) ask(feeds []*feed) []request {
	var reqs []request
	for _, f := range feeds {
		l.asked[f.sub] = f
		reqs = append(reqs, f.request())
	}
	return reqs
}

// awaitDue waits until there is a feed to ask for.
func (l *link) awaitDue() ([]*feed, error) {
	for {
		if due := l.due(); len(due) > 0 {
			return due, nil
		}
		l.downSince = time.Now() // a slow consumer is no outage
		var look <-chan time.Time
		if l.client.cfg.ack == AckManual {
			wait := unackedWarning
			for _, f := range l.snapshot() {
				wait = min(wait, f.warnUnacked())
			}
			look = time.After(wait)
		}
		select {
		case <-look:
		case <-l.changed:
		case <-l.life.Done():
			return nil, l.life.Err()
		}
		l.downSince = time.Now()
	}
}

// due returns the feeds that are not asked for and should be.
func (l *link) due() (due []*feed) {
	for _, f := range l.snapshot() {
		if l.asked[f.sub] == nil && f.due() {
			due = append(due, f)
		}
	}
	return due
}

func (l *link) snapshot() []*feed {
	l.client.mu.Lock()
	defer l.client.mu.Unlock()
	return slices.Clone(l.feeds)
}

// name is the channel of a link that has one of its own, else empty.
func (l *link) name() string {
	if feeds := l.snapshot(); len(feeds) == 1 {
		return feeds[0].sub.channel
	}
	return ""
}

// attr tells log lines what the link follows.
func (l *link) attr() slog.Attr {
	if feeds := l.snapshot(); len(feeds) != 1 {
		return slog.Int("channels", len(feeds))
	}
	return slog.String("channel", l.name())
}

// receive delivers what comes on a session until it ends. It reports whether
// the session was of use: something new came, or it lasted.
func (l *link) receive(s session) (progress bool, err error) {
	defer func() {
		s.close()
		for _, f := range l.asked {
			f.sessionEnded()
		}
	}()
	started := time.Now()
	brought := false // an event that had not come before
	for {
		b, err := s.recv(l.changed)
		if err != nil {
			progress = progress || brought && errors.Is(err, errParted)
			l.lasted = l.heard.Sub(started) >= settled
			if time.Since(started) >= settled && !errors.Is(err, errSilent) {
				progress, l.heard = true, time.Now()
			}
			return progress || err == errReopen, err
		}
		works := b.proves
		switch b.kind {
		case batchChanged:
			s.update(l.update())
			continue
		case batchAccepted, batchRefused:
			if f := l.asked[b.sub]; f == nil {
				continue // it has left
			} else if b.kind == batchAccepted {
				f.accept()
			} else if l.channelRefused(f, b.err) {
				return true, io.EOF
			}
			continue
		case batchQuiet:
			for sub, f := range l.asked {
				if b.sub == nil && f.isAccepted() || b.sub == sub {
					f.quiet(b.latest, b.whole)
				}
			}
		case batchFollowed:
			if f := l.asked[b.sub]; f != nil {
				f.client.delivery.follows(f.sub, f.client.clock.Trusted(), f.proven)
			}
		case batchUndeliverable:
			if f := l.asked[b.sub]; f != nil {
				f.undeliverable(b.latest)
			}
			continue
		case batchConfirmed:
			if f := l.asked[b.sub]; f != nil {
				f.confirmed()
			}
			continue
		case batchMessages:
			if f := l.asked[b.sub]; f != nil {
				news := f.deliver(b.messages, b.provisional)
				works, brought = news && !b.sub.polled, brought || news
			}
		}
		l.heard = time.Now()
		progress = progress || works
		if err := l.missed(); err != nil {
			return progress, err
		}
		if works || b.kind == batchQuiet || b.kind == batchMessages && !b.sub.polled || b.kind == batchAnswered && !l.doubted {
			l.connectedAgain()
		}
	}
}

// missed decides about channels of which events are missing. The error is errReopen
// where there was one.
func (l *link) missed() (err error) {
	for _, f := range l.asked {
		if f.missed == nil {
			continue
		}
		if fatal := f.dealWithMissed(); fatal != nil {
			l.client.endFeed(f, fatal)
		}
		err = errReopen
	}
	return err
}

// update returns how the channels of the link differ from those of its session.
func (l *link) update() (add []request, drop []*subscription) {
	feeds := l.snapshot()
	for sub, f := range l.asked {
		if !slices.Contains(feeds, f) {
			delete(l.asked, sub)
			drop = append(drop, sub)
		}
	}
	return l.ask(l.due()), drop
}

// connectedAgain tells, once, that the server has answered after an outage.
func (l *link) connectedAgain() {
	if l.failing && !l.again {
		l.again = true
		l.client.log.Info("connected again", l.attr(), "after", time.Since(l.downSince).Round(time.Millisecond))
	}
}

// sleep waits, and gives up where that would pass WithReconnectTimeout.
func (l *link) sleep(wait time.Duration, cause error) error {
	for _, f := range l.snapshot() {
		f.set(StateWaiting)
	}
	limit := l.client.cfg.reconnectTimeout
	left := limit - time.Since(l.downSince)
	last := limit > 0 && wait >= left
	if last {
		wait = left
	}
	due := time.Now().Add(max(wait, 0))
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-l.life.Done():
		return nil
	case <-timer.C:
	}
	if paused := pause.Since(due, time.Now()); paused > 0 {
		l.downSince = l.downSince.Add(paused) // nobody could have connected meanwhile
		return nil
	}
	if last {
		return &TimeoutError{Channel: l.name(), Down: time.Since(l.downSince), err: cause}
	}
	return nil
}

// end is the end of run.
func (l *link) end(err error) {
	for _, f := range l.client.retire(l) {
		l.client.endFeed(f, err)
	}
	l.cancel()
}
