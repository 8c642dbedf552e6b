package sfstream

import (
	"errors"
	"slices"
	"time"
)

// An evidence is what a batch shows about its session. Each one includes those above it.
type evidence int

const (
	evidenceNone     evidence = iota // nothing: the batch is about one channel, or made by the session
	evidenceHeard                    // the server lives
	evidenceAnswered                 // the server answers on this session: the link is connected
	evidenceUseful                   // the session is of use: failures before it do not count any more
)

// receive delivers what comes on a session until it ends, and returns why it has ended.
func (l *link) receive(s session) error {
	defer func() {
		s.close()
		for _, ch := range l.inSession {
			ch.sessionEnded()
		}
	}()
	c := &l.course
	c.began = time.Now()
	for {
		b, err := s.recv(l.changed)
		if err != nil {
			c.end(err)
			return err
		}
		shown, err := l.take(s, b)
		if err != nil {
			return err
		}
		if shown == evidenceNone {
			continue
		}
		c.heard = time.Now()
		l.pulse.beat(c.heard)
		c.useful = c.useful || shown == evidenceUseful
		if err := l.resumeMissed(); err != nil {
			return err
		}
		if shown >= evidenceAnswered {
			l.connectedAgain()
			l.answered()
		}
	}
}

// answered notes, once in a session, that its server answers.
func (l *link) answered() {
	if l.course.answered {
		return
	}
	l.course.answered = true
	for _, ch := range l.inSession {
		ch.status.answered()
	}
}

// end notes with which error a session has ended. One that has lasted was of use, and so was one
// that its server has ended politely after it brought something new, or that the client ends
// because it needs a new one.
func (c *course) end(err error) {
	if time.Since(c.began) >= settled && !errors.Is(err, errSilent) {
		c.useful, c.heard = true, time.Now()
	}
	c.useful = c.useful || c.brought && errors.Is(err, errParted) || err == errReopen
}

// take deals with one batch of a session and returns what the batch shows. An error ends the
// session.
func (l *link) take(s session, b batch) (evidence, error) {
	ch := l.inSession[b.sub] // nil: the batch is of the whole session, or the channel has left
	switch b.kind {
	case batchChanged:
		s.update(l.update())
		return evidenceNone, nil
	case batchAnswered:
		switch {
		case b.proves:
			return evidenceUseful, nil
		case l.outage.doubted:
			return evidenceHeard, nil
		}
		return evidenceAnswered, nil
	case batchQuiet:
		l.quiet(b)
		return evidenceAnswered, nil
	case batchMessages:
		return l.deliver(ch, b), nil
	case batchFollowed:
		if ch != nil {
			ch.sub.Keepalive(nil, ch.evidence(ch.clock.Trusted()))
		}
		return evidenceHeard, nil
	}
	if ch == nil {
		return evidenceNone, nil
	}
	switch b.kind {
	case batchAccepted:
		ch.accept()
		if l.course.answered {
			ch.status.answered()
		}
	case batchRefused:
		return evidenceNone, l.channelRefused(ch, b.err)
	case batchUndeliverable:
		ch.undeliverable(b.latest)
	case batchConfirmed:
		ch.confirmed()
	}
	return evidenceNone, nil
}

// quiet tells channels that the server has sent all events: the channel that the batch names, else
// all that are accepted.
func (l *link) quiet(b batch) {
	for sub, ch := range l.inSession {
		if b.sub == nil && ch.isAccepted() || b.sub == sub {
			ch.quiet(b.latest, b.whole)
		}
	}
}

// deliver gives messages to their channel, which is nil where it has left. Over the Streaming API
// messages may come with the answer to the subscribe, which does not show that connects work.
func (l *link) deliver(ch *channel, b batch) evidence {
	news := ch != nil && ch.deliver(b.messages, b.provisional)
	l.course.brought = l.course.brought || news
	switch {
	case !b.proves:
		return evidenceHeard
	case news:
		return evidenceUseful
	}
	return evidenceAnswered
}

// update returns which channels are to join the session, and which have left the link.
func (l *link) update() (add []request, drop []*subscription) {
	channels := l.snapshot()
	for sub, ch := range l.inSession {
		if !slices.Contains(channels, ch) {
			delete(l.inSession, sub)
			drop = append(drop, sub)
		}
	}
	return l.ask(l.due()), drop
}
