package sfstreamtest

import (
	"encoding/binary"
	"fmt"
)

// ResetReplay begins the replay ids of a channel anew, at id and so below those
// before, as sandboxes do after an update of the org and orgs after a migration. What
// was retained is forgotten. An old id that a subscriber comes with is refused; or it is
// accepted, if accepted is set, though it lies ahead of the new ids: the subscription
// is then at the end of the channel. Where ids have gone back the Streaming API delivers
// them, and a stream of the Pub/Sub API, an open one too, ends with
// subscription.fetch.replay.repeated.
func (s *Server) ResetReplay(channel string, id uint64, accepted bool) error {
	if err := s.RestartReplay(channel, id); err != nil {
		return err
	}
	t := s.topic(channel)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reset, t.acceptOld = true, accepted
	return nil
}

// afterLocked returns the index of what comes after a replay id.
func (t *topic) afterLocked(id []byte) (int, bool) {
	i, ok := t.log.find(id)
	if !ok && t.acceptOld && len(id) >= 8 && len(id) <= 10 && binary.BigEndian.Uint64(id) > t.log.last {
		return t.log.next, true
	}
	if first := t.log.first; !ok && first < t.log.next && len(id) == 10 && t.before == t.log.at(first).replay-1 &&
		binary.BigEndian.Uint64(id) == t.before {
		return first, true
	}
	return i + 1, ok
}

// wentBack says whether a stream is to get an id at or below one that it had.
func (st *stream) wentBack(r *record) bool {
	return st.topic.reset && r.kind == event && r.replay < st.reached
}

// LagKeepalive makes the next n keepalives of a channel ("": any) name a position
// behind what the stream has had: they come from a node that lags.
func (s *Server) LagKeepalive(channel string, n int) {
	s.faults.add(fault{at: atLag, channel: channel, left: n})
}

// HoldKeepaliveID makes keepalives name the newest event, or again a position ahead
// of all events, as they do on a channel whose ids others share.
func (s *Server) HoldKeepaliveID(on bool) { s.faults.toggle(atHold, on) }

// latestLocked is the replay id that a keepalive names.
func (st *stream) latestLocked() (uint64, error) {
	s, t := st.server, st.topic
	if _, ok := s.faults.take(atLag, t.name); ok {
		return st.behindLocked(), nil
	}
	if s.faults.active(atHold, t.name) {
		return t.log.last, nil
	}
	err := t.markLocked(s.now(), s.config.keepalive/2, s.journal)
	return t.log.last, err
}

// behindLocked is a position before what the stream has had, if possible one that can
// be resumed from.
func (st *stream) behindLocked() uint64 {
	const records, far = 3, 1000
	l := &st.topic.log
	if i := max(l.first, st.cursor-1-records); i < l.next && l.at(i).replay < st.reached {
		return l.at(i).replay
	}
	return max(l.last, far+1) - far
}

// PassPositions lets n replay ids of a channel pass that are of none of its events, as
// when others load data in bulk.
func (s *Server) PassPositions(channel string, n int) error {
	t, ok := s.find(channel)
	if !ok {
		return fmt.Errorf("sfstreamtest: %s %w", channel, errUndefined)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for range n {
		if _, err := t.addLocked(record{at: s.now().UnixNano(), kind: mark}, s.journal); err != nil {
			return err
		}
	}
	return nil
}
