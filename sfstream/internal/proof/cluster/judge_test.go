package cluster

import (
	"bytes"
	"slices"
	"strconv"
	"time"
)

// judge looks at what has happened.
func (s *simulation) judge() {
	s.T.Helper()
	s.judgeDeliveries()
	for _, channel := range s.all {
		key, _ := s.Key("pubsub", channel).MarshalText()
		s.judgePuts(string(key))
	}
	if s.T.Failed() {
		s.T.Logf("%s; lease %s", inWords(s.counts), s.lease)
	}
}

// judgeDeliveries expects every event, in order, from one replica at a time.
func (s *simulation) judgeDeliveries() {
	s.T.Helper()
	if !s.complete() {
		s.T.Errorf("not every event was handled")
	}
	for _, channel := range s.all {
		var all []*delivery
		for _, d := range s.deliveries {
			if d.channel == channel {
				all = append(all, d)
			}
		}
		s.judgeOrder(channel, all)
		s.judgeOverlaps(all)
	}
}

// judgeOrder expects every event in order of its first hand-out.
func (s *simulation) judgeOrder(channel string, all []*delivery) {
	s.T.Helper()
	seen := make(map[string]bool)
	for _, d := range all {
		s.counts["hand-outs"]++
		if !seen[d.id] && d.id != strconv.Itoa(len(seen)+1) {
			s.T.Errorf("%s: %s was handed out first after %d others", channel, d.id, len(seen))
		}
		seen[d.id] = true
	}
	s.counts["events"] += len(seen)
	if len(seen) != s.Published(channel) {
		s.T.Errorf("%s: %d of %d events were handed out", channel, len(seen), s.Published(channel))
	}
}

// judgeOverlaps expects that a leadership hands out nothing once a later one does, and that none of
// its handlers runs then: unless its process was paused meanwhile.
func (s *simulation) judgeOverlaps(all []*delivery) {
	s.T.Helper()
	for i, d := range all {
		for _, other := range all[:i] {
			older, newer := d, other
			if older.leadership > newer.leadership {
				older, newer = newer, older
			}
			if older.leadership == newer.leadership || older.ended.Before(newer.began) {
				continue
			}
			if older.waited || older.process.wasPaused(older.began, older.ended) {
				s.counts["overlaps by a pause"]++
				continue
			}
			s.T.Errorf("%s: %s by leadership %d of %s (%s to %s) overlaps %s by %d of %s (from %s)", d.channel,
				older.id, older.leadership, older.process.name, clock(older.began), clock(older.ended),
				newer.id, newer.leadership, newer.process.name, clock(newer.began))
		}
	}
}

func clock(t time.Time) string { return t.Format("15:04:05.000000") }

// judgePuts expects of the puts of a key that were applied that those of a leadership are not
// interrupted by those of another, and that the marker moves forward.
func (s *simulation) judgePuts(key string) {
	s.T.Helper()
	var last string
	var place []byte
	over := make(map[string]bool)
	for _, p := range s.engine.history() {
		if p.key != key {
			continue
		}
		s.counts["puts"]++
		e := p.entry
		if e.Incarnation != last {
			s.counts["owners"]++
			over[last] = true
			last = e.Incarnation
		}
		if over[e.Incarnation] {
			s.T.Errorf("%s: %s put it at %s, and was deposed", key, e.Owner, clock(p.at))
		}
		if e.Lease != 0 && (e.Lease-s.lease).Abs() > time.Millisecond {
			s.T.Fatalf("the lease is %s, not %s: convert is wrong", e.Lease, s.lease)
		}
		if id := e.Marker.ReplayID; len(id) < len(place) || len(id) == len(place) && bytes.Compare(id, place) < 0 {
			s.T.Errorf("%s: the marker went back from %x to %x at %s by %s", key, place, id, clock(p.at), e.Owner)
		} else {
			place = id
		}
		for _, at := range []time.Time{e.Marker.Live, e.Marker.Followed} {
			if d := at.Sub(p.at) - s.skew; !at.IsZero() && slices.Max([]time.Duration{d, -d}) > 2*time.Hour && s.skew.Abs() > 2*time.Hour {
				s.T.Errorf("%s: the marker has the time %s, where Salesforce has %s", key, at, p.at.Add(s.skew))
			}
		}
	}
}
