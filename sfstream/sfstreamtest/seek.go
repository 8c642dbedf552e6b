package sfstreamtest

import "time"

// SeekBacklog makes each of the next n subscribers of a channel ("": any) that begin before its end
// wait until the org has sought through the backlog, which takes d. A Bayeux session gets nothing
// of the channel meanwhile, not even newer events: its connects are answered as if there were
// nothing, and it never hears of events that age out. A stream of the Pub/Sub API gets empty
// responses whose latest_replay_id advances over positions that are no events
// ([Server.PassPositions]). n < 0: all, until ClearFaults, which also ends the seeking.
func (s *Server) SeekBacklog(channel string, n int, d time.Duration) {
	s.faults.add(fault{name: "SeekBacklog", at: atSeek, channel: channel, left: n, wait: d})
}

// seek is the state of a subscriber for which the org seeks through the backlog, see SeekBacklog.
// The zero value is a subscriber that waits for nothing.
type seek struct {
	until, next time.Time
	step        time.Duration
	cleared     int64 // the Server's count of ClearFaults calls at the beginning: another one ends the seeking
}

// seekSteps is the least number of empty responses that a stream gets while it seeks.
const seekSteps = 10

// seekLocked returns the seek of a subscriber that begins at the record with index cursor.
func (s *Server) seekLocked(t *topic, cursor int) seek {
	if !t.log.eventsFrom(cursor) {
		return seek{}
	}
	f, ok := s.faults.take(atSeek, t.name)
	if !ok || f.wait <= 0 {
		return seek{}
	}
	now, step := time.Now(), min(f.wait/seekSteps+1, s.config.keepalive)
	return seek{until: now.Add(f.wait), next: now.Add(step), step: step, cleared: s.cleared.Load()}
}

// seeks reports whether the org still seeks for the subscriber with this state.
func (s *Server) seeks(k seek) bool {
	return time.Now().Before(k.until) && k.cleared == s.cleared.Load()
}

// endSeeks ends the seeking for all subscribers, for ClearFaults.
func (s *Server) endSeeks() {
	s.cleared.Add(1)
	s.observe("", func(t *topic) {
		for st := range t.streams {
			st.wakeUp()
		}
	})
	for _, ses := range s.bayeux.all() {
		ses.wakeUp()
	}
}

// seekOn sends a stream for which the org seeks the empty response that is due. Its
// latest_replay_id is before the next event.
func (st *stream) seekOn(now time.Time) error {
	if now.Before(st.seek.next) {
		return nil
	}
	left := int(st.seek.until.Sub(now)/st.seek.step) + 1
	st.seek.next = now.Add(st.seek.step)
	if st.server.faults.active(atKeepalive, st.topic.name) {
		return nil
	}
	t := st.topic
	t.mu.Lock()
	st.cursor = max(st.cursor, t.log.first)
	if st.cursor >= t.log.next { // the backlog has aged out meanwhile
		t.mu.Unlock()
		return st.sendKeepalive()
	}
	passable := 0
	for i := st.cursor; i+1 < t.log.next && t.log.at(i).kind == mark; i++ {
		passable++
	}
	if n := passable / left; n > 0 {
		st.cursor += n
		st.reached = t.log.at(st.cursor - 1).replay
	}
	latest := st.reached
	if latest == 0 { // the stream has seen no replay id: it begins with the first event
		latest = t.log.at(st.cursor).replay - 1
		t.before = latest
	}
	t.mu.Unlock()
	return st.sendEmpty(latest)
}

// beginSeekLocked makes a subscription wait for the seeking, and wakes a held connect of its
// session when that is over.
func (sub *subscription) beginSeekLocked(s *Server) {
	sub.seek = s.seekLocked(sub.topic, sub.cursor)
	if s.seeks(sub.seek) {
		// Nothing stops the timer: if the session has ended before, it wakes nobody.
		time.AfterFunc(time.Until(sub.seek.until), sub.session.wakeUp)
	}
}
