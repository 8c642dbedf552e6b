package sfstream

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/bayeux"
	"github.com/sfstream/sfstream-go/sfstream/internal/replayid"
)

// overtakeTime is how long the events of a call's reply wait for a connect reply
// that may have older ones and be under way.
const overtakeTime = 5 * time.Second

// call is something to do on the second connection.
type call struct {
	add  []request
	drop []*subscription
}

// update hands what is to be done to calls, one thing after the other: a channel
// may be dropped and added again.
func (s *cometdSession) update(add []request, drop []*subscription) {
	notify(s.room)
	if len(add)+len(drop) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range drop {
		if c := s.channels[sub.Key.Channel]; c != nil && c.sub == sub {
			delete(s.channels, sub.Key.Channel)
			s.dropped[sub.Key.Channel] = math.MaxInt
		}
	}
	for _, req := range add {
		// Events of the old subscription could not be told from those of the new one.
		if s.dropped[req.sub.Key.Channel] > 0 {
			s.failLocked(errReopen)
			return
		}
	}
	s.wanted = append(s.wanted, call{add, drop})
	if !s.calling {
		s.calling = true
		s.wg.Go(s.calls) // ends when nothing is wanted; close waits for it
	}
}

func (s *cometdSession) calls() {
	for {
		s.mu.Lock()
		wanted := s.wanted
		s.wanted = nil
		s.calling = len(wanted) > 0
		s.mu.Unlock()
		if len(wanted) == 0 {
			return
		}
		for _, c := range wanted {
			err := s.unsubscribe(c.drop)
			if err == nil {
				err = s.subscribe(c.add)
			}
			if err != nil {
				s.fail(err)
				return
			}
		}
	}
}

func (s *cometdSession) unsubscribe(subs []*subscription) error {
	var channels []string
	for _, sub := range subs {
		channels = append(channels, sub.Name)
	}
	s.begin()
	err := s.bayeux.Unsubscribe(s.ctx, channels, s.deliverCall)
	if err != nil && !errors.Is(err, bayeux.ErrDisconnected) {
		return translateCometD("", err) // what is held is not let go: it comes again
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finishLocked()
	if err != nil {
		return translateCometD("", err)
	}
	for _, sub := range subs {
		// What the server had queued comes with the connect that is under way, or
		// with later ones, as long as they bring anything.
		s.dropped[sub.Key.Channel] = s.connects + 2
	}
	return nil
}

// subscribe asks for channels and reports what the server says to each. The
// error is one of the whole session.
func (s *cometdSession) subscribe(reqs []request) error {
	var wanted []bayeux.Subscription
	s.mu.Lock()
	for _, req := range reqs {
		bare := req.sub.Key.Channel
		s.channels[bare] = &cometdChannel{sub: req.sub}
		replay := "-2"
		switch {
		case len(req.position.id) > 0 && !replayid.IsDecimal(req.position.id):
			s.answeredLocked(bare, &ServerError{API: apiCometD, Channel: req.sub.Name, Code: ReplayInvalid,
				Message: fmt.Sprintf("%x is not a replay id of the Streaming API", req.position.id)})
			continue
		case len(req.position.id) > 0:
			if replay = strings.TrimLeft(string(req.position.id), "0"); replay == "" {
				replay = "0"
			}
		case req.position.latest:
			replay = "-1"
		}
		wanted = append(wanted, bayeux.Subscription{Channel: req.sub.Name, Bare: bare, Replay: replay})
	}
	s.mu.Unlock()
	if len(wanted) == 0 {
		return nil
	}

	var ended error
	s.begin()
	err := s.bayeux.Subscribe(s.ctx, wanted, s.deliverCall, func(channel string, err error) {
		if refusal := translateCometD(channel, err); err != nil && concernsSession(refusal) {
			refusal.Channel = ""
			ended = refusal
			return
		} else if err != nil {
			s.answered(bareName(channel), refusal)
			return
		}
		s.answered(bareName(channel), nil)
	})
	parted := errors.Is(err, bayeux.ErrDisconnected)
	if err != nil && !parted {
		return translateCometD("", err)
	}
	if ended == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.finishLocked()
		if parted {
			ended = translateCometD("", err)
		}
	}
	return ended
}

// begin notes that a call is under way.
func (s *cometdSession) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight++
	s.made++
}

// finishLocked notes that a call has been answered, and lets go what is held,
// unless the connect that is under way may bring older events.
func (s *cometdSession) finishLocked() {
	if s.inFlight--; s.inFlight > 0 {
		return
	}
	for _, c := range s.channels {
		if c.rode && s.polling {
			after := s.connects + 1
			c.after, c.fresh = after, c.since == s.made
			time.AfterFunc(overtakeTime, func() { s.overtake(c, after) })
		}
		c.rode = false
		s.releaseLocked(c)
	}
}

// answered takes in what the server says to a subscription.
func (s *cometdSession) answered(bare string, refusal *ServerError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answeredLocked(bare, refusal)
}

func (s *cometdSession) answeredLocked(bare string, refusal *ServerError) {
	c := s.channels[bare]
	switch {
	case c == nil: // dropped meanwhile
	case refusal != nil:
		delete(s.channels, bare)
		s.pushLocked(batch{kind: batchRefused, sub: c.sub, err: refusal})
	default:
		c.accepted, c.since = true, s.made
		s.pushLocked(batch{kind: batchAccepted, sub: c.sub})
	}
}

// overtake decides about events that have waited long enough for a connect, which
// is held at the server, or slow, or lost. Of a channel that was followed before,
// older ones may be in its reply: a new session brings all in order. Of one that
// this call has subscribed to, a server puts all into one reply, if it is like
// Salesforce's: they are let go, but come again if the connect is lost.
func (s *cometdSession) overtake(c *cometdChannel, connect int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case c.after != connect || s.connects >= connect || len(c.held) == 0:
		return
	case !c.fresh:
		s.failLocked(errReopen)
		return
	}
	c.after, c.early = 0, true
	s.releaseLocked(c)
}

func (s *cometdSession) holdsLocked(c *cometdChannel) bool {
	return s.inFlight > 0 || !c.accepted || c.after > s.connects
}

// releaseLocked queues the events of a channel that need not be held any more.
func (s *cometdSession) releaseLocked(c *cometdChannel) {
	if len(c.held) > 0 && !s.holdsLocked(c) && s.err == nil {
		s.pushLocked(batch{kind: batchMessages, sub: c.sub, messages: inOrder(c.held), provisional: c.early})
		c.held = nil
		notify(s.room)
	}
}

// deliverCall is deliver for what comes with the reply to a call.
func (s *cometdSession) deliverCall(events []bayeux.Event) {
	s.mu.Lock()
	for _, e := range events {
		if c := s.channels[bareName(e.Channel)]; c != nil {
			c.rode = true
		}
	}
	s.mu.Unlock()
	s.deliver(events)
}
