package sfstreamtest

import (
	"encoding/binary"
	"fmt"
)

// ResetReplay begins the replay ids of a channel anew, at id and so below those before, as
// sandboxes do after an update of the org and orgs after a migration. The retained events are
// forgotten. A subscription from an old id is refused; or, if accepted is set, it is accepted
// although the id lies ahead of the new ones, and then it is at the end of the channel. If ids have
// gone back, the Streaming API delivers the events, and a stream of the Pub/Sub API, even an open
// one, ends with subscription.fetch.replay.repeated.
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

// afterLocked returns the index of the first record after a replay id; false if the id is refused.
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

// wentBack reports whether the record would give the stream a replay id below one that it already
// had, as after ResetReplay.
func (st *stream) wentBack(r *record) bool {
	return st.topic.reset && r.kind == event && r.replay < st.reached
}

// LagKeepalive makes the next n keepalives of a channel ("": any) name a position before events
// that the stream has already had, as a server node that lags does.
func (s *Server) LagKeepalive(channel string, n int) {
	s.faults.add(fault{name: "LagKeepalive", at: atLag, channel: channel, left: n})
}

// HoldKeepaliveID(true) makes keepalives name the replay id of the newest event. By default, and
// again after HoldKeepaliveID(false), each names a new id ahead of all events, as on a channel
// whose replay ids are counted together with other channels'.
func (s *Server) HoldKeepaliveID(on bool) { s.faults.toggle("HoldKeepaliveID", atHold, on) }

// latestLocked returns the latest_replay_id of a keepalive that is sent now.
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

// behindLocked returns a replay id before events that the stream has had. It is that of a retained
// record, from which a subscription can resume, if there is one.
func (st *stream) behindLocked() uint64 {
	const records, far = 3, 1000
	l := &st.topic.log
	if i := max(l.first, st.cursor-1-records); i < l.next && l.at(i).replay < st.reached {
		return l.at(i).replay
	}
	return max(l.last, far+1) - far
}

// PassPositions skips n replay ids, which no event of the channel gets, as when bulk loads on other
// channels use them.
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
