package sfstream

import "time"

// parkAfter is how long a session waits for room before it ends: less than the 40 s after which
// Salesforce would end it.
const parkAfter = 30 * time.Second

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
