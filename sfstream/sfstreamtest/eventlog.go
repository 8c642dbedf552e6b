package sfstreamtest

import (
	"encoding/binary"
	"sort"
	"time"
)

// record is one position of a channel. Salesforce's positions are not all events of the channel: a
// mark is a position that only keepalives name. A record of /topic has its event type in schema and
// an sobject in payload. One of /u has a JSON string in payload, and in id the users that it is
// for, if it is not for all.
type record struct {
	replay  uint64
	at      int64 // Unix nanoseconds by the org's clock
	id      string
	schema  string
	payload []byte
	json    []byte // the event as CometD sends it, once that was needed
	kind    kind

	enriched *enrichment // nil if a replay brings the payload as it is
}

type kind uint8

const (
	event kind = iota
	mark
	anonymous // an event that is delivered without a replay id
)

// chunkLen records are allocated at once: a log grows without copying the records that it has, and
// forgets them by the chunk.
const chunkLen = 1024

// eventLog has the records that a channel retains. Each has an index that never changes, from first
// up to next. The topic's mutex guards it.
type eventLog struct {
	chunks      []*[chunkLen]record
	base        int // index of chunks[0][0], a multiple of chunkLen
	first, next int
	last        uint64 // the newest replay id
	restart     uint64 // the id of the next record, if not 0
	gaps        *dice
}

// newEventLog starts at a random replay id, so that ids of another run, channel or org do not fit
// by chance.
func newEventLog(gaps *dice) eventLog {
	return eventLog{gaps: gaps, last: 1_000_000 + gaps.below(100_000_000)}
}

func (l *eventLog) at(i int) *record {
	i -= l.base
	return &l.chunks[i/chunkLen][i%chunkLen]
}

// nextReplay returns the replay id of the next record. It leaves gaps, at random.
func (l *eventLog) nextReplay() uint64 {
	if l.restart != 0 {
		return l.restart
	}
	return l.last + 2 + l.gaps.below(3)
}

func (l *eventLog) append(r record) {
	if l.next-l.base == len(l.chunks)*chunkLen {
		l.chunks = append(l.chunks, new([chunkLen]record))
	}
	l.next++
	*l.at(l.next - 1) = r
	l.last, l.restart = r.replay, 0
}

// begin forgets everything and goes on with another replay id.
func (l *eventLog) begin(id uint64) {
	l.forget(l.next)
	l.last, l.restart = id-1, id
}

// forget drops all records before an index.
func (l *eventLog) forget(first int) {
	for ; l.first < first; l.first++ {
		*l.at(l.first) = record{}
	}
	for len(l.chunks) > 0 && l.first-l.base >= chunkLen {
		l.chunks[0] = nil
		l.chunks = l.chunks[1:]
		l.base += chunkLen
	}
}

// expire drops the records that have aged out.
func (l *eventLog) expire(now time.Time, retention time.Duration) {
	oldest := now.Add(-retention).UnixNano()
	first := l.first
	for first < l.next && l.at(first).at < oldest {
		first++
	}
	l.forget(first)
}

// find returns the index of the last record that has the replay id: 8 bytes, or the 10 of which the
// last two are zero. Ids that were never given out do not count.
func (l *eventLog) find(id []byte) (int, bool) {
	switch {
	case len(id) == 8:
	case len(id) == 10 && id[8] == 0 && id[9] == 0:
	default:
		return 0, false
	}
	replay := binary.BigEndian.Uint64(id)
	i := l.first + sort.Search(l.next-l.first, func(i int) bool { return l.at(l.first+i).replay > replay }) - 1
	return i, i >= l.first && l.at(i).replay == replay
}

// back returns the index n events before i, as far as there are any.
func (l *eventLog) back(i, n int) int {
	for n > 0 && i > l.first {
		i--
		if l.at(i).kind != mark {
			n--
		}
	}
	return i
}

// eventsFrom reports whether there is an event at an index or after it.
func (l *eventLog) eventsFrom(i int) bool {
	for i = max(i, l.first); i < l.next; i++ {
		if l.at(i).kind != mark {
			return true
		}
	}
	return false
}

// replayBytes returns the wire form of a replay id: 8 bytes big-endian and two zero bytes.
func replayBytes(replay uint64) []byte {
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, 10), replay), 0, 0)
}
