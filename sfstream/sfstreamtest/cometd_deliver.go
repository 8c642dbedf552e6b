package sfstreamtest

import "time"

// delivery is an event on its way into a response.
type delivery struct {
	sub     *subscription
	channel []byte
	record  record
	index   int
	size    int
	place   place       // how far the subscriber is in a group once it has this event
	broken  *GroupBreak // the fault that ends the session after this event; nil if it goes on
}

// take takes the next events out of the session's queue, oldest first. They count as delivered
// then, whatever becomes of the response. With a poll it takes them for that connect, which then is
// no longer the session's; for a connect that another one has displaced it takes nothing.
func (s *Server) take(ses *bayeuxSession, p *poll) []delivery {
	limited := s.limited()
	ses.mu.Lock()
	defer ses.mu.Unlock()
	if ses.gone || p != nil && ses.poll != p {
		return nil
	}
	queues := make([][]delivery, 0, len(ses.subs))
	for _, sub := range ses.subs {
		if q := s.queued(sub, limited); len(q) > 0 {
			queues = append(queues, q)
		}
	}
	events := s.merge(queues)
	for i := range events {
		s.countDelivered(events[i].sub.topic, 1)
	}
	if p != nil && len(events) > 0 {
		ses.poll = nil
	}
	return events
}

// queued returns the next events of a subscription, as many as a response can have. It moves the
// subscription past all that are not for it. With limited, the org has used up its events of the
// day, and only the rest of a group that has begun is due.
func (s *Server) queued(sub *subscription, limited bool) []delivery {
	t := sub.topic
	t.mu.Lock()
	defer t.mu.Unlock()
	t.log.expire(s.now(), s.retention(t))
	if s.seeks(sub.seek) {
		return nil
	}
	sub.cursor = max(sub.cursor, t.log.first)
	var q []delivery
	size := 0
	at := sub.place
	groups := s.parting(t, &at)
	for i := sub.cursor; i < t.log.next && len(q) < s.config.cometd.replyEvents && size < s.config.cometd.replyBytes; i++ {
		r := t.log.at(i)
		if limited && !t.log.continues(i) {
			break
		}
		if r.kind == mark || !t.reaches(r, sub.session.user) || !sub.filter.matches(r.payload) {
			if len(q) == 0 {
				sub.cursor = i + 1
			}
			continue
		}
		if groups.before(i) {
			break
		}
		length := len(r.payload)
		d := delivery{sub: sub, channel: sub.channel, index: i}
		switch {
		case t.streaming:
		case r.enriched != nil && i < sub.began:
			replayed := *r
			replayed.payload = s.enrichedNow(r)
			replayed.json = s.eventJSON(&replayed)
			r = &replayed
			length = len(r.json)
		default:
			if r.json == nil {
				r.json = s.eventJSON(r)
			}
			length = len(r.json)
		}
		d.record = *r
		d.size = length + len(d.channel) + eventOverhead
		size += d.size
		if groups.behind(i) {
			d.broken = groups.broken
		}
		d.place = at
		q = append(q, d)
		if d.broken != nil {
			break
		}
	}
	return q
}

// merge orders the events of several channels by their time. It moves the subscriptions past those
// that go into this response.
func (s *Server) merge(queues [][]delivery) []delivery {
	if len(queues) == 0 {
		return nil
	}
	var events []delivery
	if len(queues) == 1 {
		events = queues[0]
	}
	n, size := 0, 0
	for n < s.config.cometd.replyEvents {
		oldest := -1
		for i, q := range queues {
			if len(q) > 0 && (oldest < 0 || q[0].record.at < queues[oldest][0].record.at) {
				oldest = i
			}
		}
		if oldest < 0 {
			break
		}
		d := &queues[oldest][0]
		size += d.size
		if n > 0 && size > s.config.cometd.replyBytes {
			break
		}
		s.deliver(d)
		if n == len(events) {
			events = append(events, *d)
		}
		n++
		queues[oldest] = queues[oldest][1:]
	}
	return events[:n]
}

// deliver moves the subscription of d past the event of d, which goes into a response.
func (s *Server) deliver(d *delivery) {
	d.sub.cursor, d.sub.place = d.index+1, d.place
	if d.broken != nil {
		s.groups.use(d.broken)
	}
	if d.record.enriched == nil && !s.groups.active.Load() {
		return
	}
	d.sub.topic.mu.Lock()
	d.sub.topic.sent = max(d.sub.topic.sent, d.index+1)
	d.sub.topic.mu.Unlock()
}

// limited reports whether the org has used up its events of the day.
func (s *Server) limited() bool {
	b := s.bayeux
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Now().Before(b.limit)
}

// retention returns how long a channel keeps its events.
func (s *Server) retention(t *topic) time.Duration {
	if t.streaming {
		return s.config.cometd.topicRetention
	}
	return s.config.retention
}
