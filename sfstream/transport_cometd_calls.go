package sfstream

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/bayeux"
	"github.com/sfstream/sfstream-go/sfstream/internal/replayid"
)

// update hands channels to the goroutine of calls, which takes one update after the other, because
// a channel may be dropped and added again.
func (s *cometdSession) update(add []request, drop []*subscription) {
	defer notify(s.room) // a channel may have room again, or be dropped
	if len(add)+len(drop) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range drop {
		s.merger.drop(sub)
	}
	for _, req := range add {
		if !s.merger.canAdd(req.sub.Key.Channel) {
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

// calls makes the calls that are wanted, until there are none.
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

// unsubscribe ends subscriptions. Its error ends the session.
func (s *cometdSession) unsubscribe(subs []*subscription) error {
	if len(subs) == 0 {
		return nil
	}
	var channels []string
	for _, sub := range subs {
		channels = append(channels, sub.Name)
	}
	s.beginCall()
	err := s.bayeux.Unsubscribe(s.ctx, channels, s.deliverCall)
	if err != nil && !errors.Is(err, bayeux.ErrDisconnected) {
		return translateCometD("", err) // the call has not ended: what it holds comes again
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endCallLocked()
	if err != nil {
		return translateCometD("", err)
	}
	for _, sub := range subs {
		s.merger.unsubscribed(sub)
	}
	return nil
}

// subscribe asks for channels and queues what the server answers for each. Its error ends the
// session.
func (s *cometdSession) subscribe(reqs []request) error {
	wanted := s.ask(reqs)
	if len(wanted) == 0 {
		return nil
	}
	var ended error
	s.beginCall()
	err := s.bayeux.Subscribe(s.ctx, wanted, s.deliverCall, func(channel string, err error) {
		refusal := translateCometD(channel, err)
		if concernsSession(refusal) {
			refusal.Channel = ""
			ended = refusal
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.queueLocked(s.merger.answered(s.queue, bareName(channel), refusal))
	})
	parted := errors.Is(err, bayeux.ErrDisconnected)
	if err != nil && !parted {
		return translateCometD("", err)
	}
	if ended == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.endCallLocked()
		if parted {
			ended = translateCometD("", err)
		}
	}
	return ended
}

// ask announces channels to the merger and returns the subscriptions to send. It refuses, in the
// server's place, a replay id that is not one of the Streaming API.
func (s *cometdSession) ask(reqs []request) (wanted []bayeux.Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, req := range reqs {
		if !s.merger.ask(req.sub) {
			continue
		}
		bare, replay := req.sub.Key.Channel, "-2"
		switch id := req.position.id; {
		case len(id) > 0 && !replayid.IsDecimal(id):
			s.queueLocked(s.merger.answered(s.queue, bare, &ServerError{API: apiCometD, Channel: req.sub.Name, Code: ReplayInvalid,
				Message: fmt.Sprintf("%x is not a replay id of the Streaming API", id)}))
			continue
		case len(id) > 0:
			if replay = strings.TrimLeft(string(id), "0"); replay == "" {
				replay = "0"
			}
		case req.position.latest:
			replay = "-1"
		}
		wanted = append(wanted, bayeux.Subscription{Channel: req.sub.Name, Bare: bare, Replay: replay})
	}
	return wanted
}

func (s *cometdSession) beginCall() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.merger.callBegan()
}

func (s *cometdSession) endCallLocked() {
	queue, waiting := s.merger.callEnded(s.queue, time.Now())
	s.queueLocked(queue)
	if waiting {
		time.AfterFunc(overtakeTime, s.waitedLong) // in a session that has ended it does nothing
	}
}

// waitedLong lets the merger decide about events that have waited for a connect.
func (s *cometdSession) waitedLong() {
	s.mu.Lock()
	defer s.mu.Unlock()
	queue, reopen := s.merger.waitedLong(s.queue, time.Now())
	s.queueLocked(queue)
	if reopen {
		s.failLocked(errReopen)
	}
}
