package sfstream

import (
	"errors"
	"io"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/bayeux"
)

// parkAfter is how long a session waits for room before it ends: less than the 40 s after which
// Salesforce would end it: internal/bayeux/PROTOCOL.md, "Connect".
const parkAfter = 30 * time.Second

// poll subscribes, and then keeps one connect with the server. Subscribing comes first, because no
// connect is under way then that the reply could overtake.
func (s *cometdSession) poll(reqs []request) {
	if err := s.subscribe(reqs); err != nil {
		s.fail(err)
		return
	}
	rush := 0 // connects in a row that the server has answered at once, with nothing
	for first := true; ; first = false {
		if !s.awaitRoom() {
			s.fail(io.EOF)
			return
		}
		pause, atOnce, err := s.connect(first)
		if err != nil {
			s.fail(err)
			return
		}
		if rush++; first || !atOnce {
			rush = 0
		}
		// This is pacing between two requests that both succeed, not a retry.
		select {
		case <-time.After(max(pause, pace(rush))):
		case <-s.ctx.Done():
			return
		}
	}
}

// connect makes one connect request. It returns the pause that the server wants before the next
// one, and whether the server has answered at once and with nothing. Its error ends the session.
func (s *cometdSession) connect(first bool) (pause time.Duration, atOnce bool, err error) {
	s.mu.Lock()
	s.merger.connectBegan(time.Now())
	s.mu.Unlock()
	began := time.Now()
	advice, err := s.bayeux.Connect(s.ctx, first, s.deliver)
	switch pause = s.bayeux.Interval(); {
	case errors.Is(err, bayeux.ErrDisconnected):
		s.mu.Lock()
		s.queueLocked(s.merger.parted(s.queue))
		s.mu.Unlock()
		return 0, false, translateCometD("", err)
	case err != nil:
		return 0, false, translateCometD("", err)
	}
	s.mu.Lock()
	queue, empty := s.merger.connectEnded(s.queue, time.Now())
	s.queueLocked(queue)
	s.mu.Unlock()
	switch {
	case pause > parkAfter: // the server would have forgotten the session by then
		e := translateCometD("", errPause)
		e.RetryAfter = pause
		return 0, false, e
	case advice.Reconnect != "" && advice.Reconnect != "retry":
		return 0, false, translateCometD("", errAdvised)
	}
	return pause, empty && time.Since(began) < longPolled, nil
}

// awaitRoom waits until the link has taken all batches and no channel is full, because the
// Streaming API knows no credit: a connect receives whatever there is. It returns false where that
// takes so long that the server would give the session up.
func (s *cometdSession) awaitRoom() bool {
	if s.hasRoom() {
		return true
	}
	timer := time.NewTimer(parkAfter)
	defer timer.Stop()
	for {
		select {
		case <-s.room:
			if s.hasRoom() {
				return true
			}
		case <-timer.C:
			return false
		case <-s.ctx.Done():
			return true // the connect then fails with the reason
		}
	}
}

// hasRoom reports whether the next connect may begin. If not, room is signalled when that changes.
func (s *cometdSession) hasRoom() bool {
	s.mu.Lock()
	if !s.idle {
		s.mu.Unlock()
		return false
	}
	var subs []*subscription
	var held []int
	for _, c := range s.merger.channels {
		if c.dropped() {
			continue
		}
		subs, held = append(subs, c.sub), append(held, len(c.held))
	}
	s.mu.Unlock()
	room := true
	for i, sub := range subs {
		room = sub.Room(held[i]) && room // each channel without room must know that the session waits
	}
	return room
}
