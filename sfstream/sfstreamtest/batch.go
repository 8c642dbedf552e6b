package sfstreamtest

import (
	"encoding/binary"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

// batch is a response whose memory is used again for each response of a stream.
type batch struct {
	response eventbus.FetchResponse
	events   []eventbus.ConsumerEvent
	producer []eventbus.ProducerEvent
	pointers []*eventbus.ConsumerEvent
	ids      []byte
}

// fill takes the next events from the log into the batch. It reports whether there are any.
func (st *stream) fill() bool {
	s, t, b := st.server, st.topic, &st.batch
	t.mu.Lock()
	defer t.mu.Unlock()
	if st.outstanding == 0 || st.cursor >= t.log.next {
		return false
	}
	t.log.expire(s.now(), s.config.retention)
	st.cursor = max(st.cursor, t.log.first)
	limit := min(st.outstanding, s.config.batchEvents)
	b.reset(limit)
	n, size := 0, 0
	groups := s.parting(t, &st.place)
	for ; n < limit && st.cursor < t.log.next; st.cursor++ {
		r := t.log.at(st.cursor)
		if r.kind == mark {
			continue
		}
		if groups.before(st.cursor) {
			break
		}
		if st.wentBack(r) {
			st.failed = s.newFailure("subscription.fetch.replay.repeated", t.name)
			break
		}
		payload := r.payload
		if r.enriched != nil && st.cursor < st.began {
			payload = s.enrichedNow(r)
		}
		const overhead = 32 // tags, lengths, replay id
		size += len(payload) + len(r.id) + len(r.schema) + overhead
		if n > 0 && size > s.config.batchBytes {
			break
		}
		b.put(n, r, payload)
		if r.kind == event {
			st.reached = r.replay
		}
		n++
		if groups.behind(st.cursor) {
			st.broken = groups.broken
			s.groups.use(st.broken)
			st.cursor++
			break
		}
	}
	t.sent = max(t.sent, st.cursor)
	if n == 0 {
		return false
	}
	st.outstanding -= n
	b.response.Events = b.pointers[:n]
	b.response.LatestReplayId = b.ids[(n-1)*10 : n*10]
	b.response.RpcId = st.rpcID
	b.response.PendingNumRequested = int32(st.outstanding)
	return true
}

// reset makes room for n events, which are reused from batch to batch.
func (b *batch) reset(n int) {
	if len(b.events) >= n {
		return
	}
	b.events = make([]eventbus.ConsumerEvent, n)
	b.producer = make([]eventbus.ProducerEvent, n)
	b.pointers = make([]*eventbus.ConsumerEvent, n)
	b.ids = make([]byte, n*10)
	for i := range b.events {
		b.events[i].Event = &b.producer[i]
		b.pointers[i] = &b.events[i]
	}
}

// put makes a record the i-th event.
func (b *batch) put(i int, r *record, payload []byte) {
	id := b.ids[i*10 : (i+1)*10]
	binary.BigEndian.PutUint64(id, r.replay)
	b.events[i].ReplayId = id
	if r.kind == anonymous {
		b.events[i].ReplayId = nil
	}
	p := &b.producer[i]
	p.Id, p.SchemaId, p.Payload = r.id, r.schema, payload
}
