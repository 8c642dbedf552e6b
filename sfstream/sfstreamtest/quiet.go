package sfstreamtest

import (
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

// deadline returns when the stream has to act if nothing happens before.
func (st *stream) deadline() time.Time {
	wait := st.server.config.keepalive
	if st.pending() == 0 {
		wait = st.server.config.idleClose
	}
	at := st.quiet.Add(wait)
	if !st.routed.IsZero() && st.routed.Before(at) {
		at = st.routed
	}
	if st.server.seeks(st.seek) && (st.pending() > 0 || st.seek.next.Before(at)) {
		at = st.seek.next // in place of keepalives seekOn sends empty responses
	}
	if st.managed != nil {
		at = earliest(at, st.managed.deadline())
	}
	return at
}

// earliest returns the earlier of two times.
func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (st *stream) pending() int {
	st.topic.mu.Lock()
	defer st.topic.mu.Unlock()
	return st.outstanding
}

// elapsed acts on the deadline: the stream is routed, ends, or is kept alive.
func (st *stream) elapsed() (done bool, err error) {
	now := time.Now()
	if st.managed != nil {
		if err := st.managed.elapsed(now); err != nil {
			return false, err
		}
	}
	if !st.routed.IsZero() && !now.Before(st.routed) {
		st.routed = time.Time{}
		st.topic.mu.Lock()
		st.cursor = st.topic.log.next
		st.topic.mu.Unlock()
	}
	if st.server.seeks(st.seek) {
		idle := st.pending() == 0 && now.Sub(st.quiet) >= st.server.config.idleClose
		return idle, st.seekOn(now)
	}
	if now.Before(st.deadline()) {
		return false, nil
	}
	if st.pending() == 0 {
		return true, nil // the stream is idle: Salesforce ends it with OK
	}
	st.quiet = now
	if st.server.faults.active(atKeepalive, st.topic.name) {
		return false, nil
	}
	return false, st.sendKeepalive()
}

// sendKeepalive sends a response without events. Its replay id may be ahead of all events, because
// positions pass that are not events of this channel.
func (st *stream) sendKeepalive() error {
	t := st.topic
	t.mu.Lock()
	if st.routed.IsZero() && st.cursor < t.log.next && t.log.eventsFrom(st.cursor) {
		t.mu.Unlock()
		return nil // an event came meanwhile, whose id would be skipped
	}
	latest, err := st.latestLocked()
	if st.routed.IsZero() {
		st.cursor = t.log.next
	}
	t.mu.Unlock()
	if err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	return st.sendEmpty(latest)
}

func (st *stream) sendEmpty(latest uint64) error {
	st.quiet = time.Now()
	st.session.touch()
	return st.answer(&eventbus.FetchResponse{
		LatestReplayId: replayBytes(latest), RpcId: st.rpcID, PendingNumRequested: int32(st.pending()),
	})
}
