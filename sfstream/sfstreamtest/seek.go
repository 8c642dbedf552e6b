package sfstreamtest

import "time"

// SeekBacklog makes each of the next n subscribers of a channel ("": any) that begin
// behind its end wait until the org has sought through the backlog, which takes d. A
// Bayeux session gets nothing of the channel meanwhile, newer events neither: its
// connects are answered as if there were nothing, and what ages out is never told. A
// stream of the Pub/Sub API gets empty responses whose latest_replay_id advances over
// positions that are no events ([Server.PassPositions]). n < 0: all, until ClearFaults,
// which also ends the seeking.
func (s *Server) SeekBacklog(channel string, n int, d time.Duration) {
	s.faults.add(fault{at: atSeek, channel: channel, left: n, wait: d})
}

// seek is a subscriber that is not where its events are yet. The zero value is one
// that is.
type seek struct {
	until, next time.Time
	step        time.Duration
	cleared     int64 // how often ClearFaults was called before
}

// seekSteps is how many empty responses come while a stream seeks, at least.
const seekSteps = 10

// seekLocked is what a subscriber that begins at an index has to go through.
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

// seeks says whether a subscriber is on its way.
func (s *Server) seeks(k seek) bool {
	return time.Now().Before(k.until) && k.cleared == s.cleared.Load()
}

// endSeeks lets all subscribers arrive.
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

// seekOn sends the empty response that is due. The position that it names is before
// the next event.
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
	if st.cursor >= t.log.next { // all has aged out
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
	if latest == 0 { // at the beginning of the channel
		latest = t.log.at(st.cursor).replay - 1
		t.before = latest
	}
	t.mu.Unlock()
	return st.sendEmpty(latest)
}

// beginSeekLocked makes a subscription wait, and its connect look again afterwards.
func (sub *subscription) beginSeekLocked(s *Server) {
	sub.seek = s.seekLocked(sub.topic, sub.cursor)
	if s.seeks(sub.seek) {
		// It ends by itself; a session that has gone has nobody to wake.
		time.AfterFunc(time.Until(sub.seek.until), sub.session.wakeUp)
	}
}
