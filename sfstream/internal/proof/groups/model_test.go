package groups

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/scripted"
)

// eventLog is a channel of change events.
type eventLog struct {
	mu     sync.Mutex
	rng    *rand.Rand
	events []scripted.AccountChange
	top    uint64        // the newest replay id that is taken
	oldest int           // the first event that is retained
	more   chan struct{} // closed and replaced at each publish
	sent   []int         // what the present subscription was sent
	calm   bool          // the servers make no more trouble
	down   time.Time     // they answer nothing until then
	opens  uint64        // sessions so far
	trace  []string
	before bool // nobody follows it yet: what has no date could not be told from what comes later
	shape  serverShape
}

// serverShape is what is special about a run.
type serverShape struct {
	chunk     int     // most events at once
	perBreak  int     // a session ends after up to so many events; 0: it does not
	resend    float64 // how often an older event comes again
	chatter   float64 // how often a keepalive or an empty reply comes where it proves nothing
	sharedID  bool    // the events of a group have one Event.id
	beyond    bool    // keepalives name ids that no event has
	hidden    float64 // how many events cannot be read
	ride      bool    // Streaming API: events come with the replies of other calls
	lose      float64 // Streaming API: replies that are lost
	stall     float64 // Streaming API: held connects that bring nothing while there is a backlog
	groupSize int
}

func (l *eventLog) logf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.logLocked(format, args...)
}

func (l *eventLog) logLocked(format string, args ...any) {
	l.trace = append(l.trace, time.Now().UTC().Format("02 15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// publish commits a transaction of n events that share a replay id.
func (l *eventLog) publish(n int, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.top += 1 + l.rng.Uint64N(3)
	tx := fmt.Sprintf("tx-%d", l.top)
	for i := range n {
		e := scripted.AccountChange{N: len(l.events), ID: l.top, At: at, Tx: tx, Seq: i + 1, Unreadable: !l.before && l.rng.Float64() < l.shape.hidden}
		e.EventID = fmt.Sprintf("uuid-%d", e.N)
		if l.shape.sharedID {
			e.EventID = "uuid-" + tx
		}
		l.events = append(l.events, e)
	}
	l.logLocked("published %d..%d as %d", len(l.events)-n, len(l.events)-1, l.top)
	close(l.more)
	l.more = make(chan struct{})
}

// after is the first event behind a replay id.
func (l *eventLog) after(id uint64) int {
	n := len(l.events)
	for n > 0 && l.events[n-1].ID > id {
		n--
	}
	return n
}

// programModel knows what a program has handled and what it is to see next.
type programModel struct {
	log *eventLog

	mu       sync.Mutex
	base     int          // the first event that concerns the program
	at       int          // the last one that was handed out
	any      bool         // they may be handed out in any order
	given    map[int]bool // where any
	handled  map[int]bool
	inFlight int  // events that may have been handled since the model last heard
	lax      bool // handled events of a group may come again after a polite end
	faults   []string
}

func (m *programModel) faultLocked(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	m.faults = append(m.faults, text)
	m.log.logf("FAULT %s", text)
}

func (m *programModel) fault(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faultLocked(format, args...)
}

func (m *programModel) got(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.log.logf("got %d", n)
	if m.any {
		if n <= m.at || m.given[n] {
			m.faultLocked("got %d again", n)
		}
		m.given[n] = true
		return
	}
	if n != m.at+1 {
		m.faultLocked("got %d, want %d", n, m.at+1)
	}
	m.at = n
}

func (m *programModel) putBack(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.log.logf("put back %d", n)
	if m.any {
		delete(m.given, n)
	} else {
		m.at = n - 1
	}
}

func (m *programModel) handle(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.log.logf("handled %d", n)
	m.handled[n] = true
}

// prefixLocked is the first event that is not handled.
func (m *programModel) prefixLocked() int {
	n := m.base
	for m.handled[n] {
		n++
	}
	return n
}

// coveredLocked is the first event that a program which starts from a marker sees.
func (m *programModel) coveredLocked(marker replaystore.Marker) int {
	m.log.mu.Lock()
	n, events := m.base, m.log.events
	if len(marker.ReplayID) > 0 {
		n = max(n, m.log.after(idNumber(marker.ReplayID)))
	}
	m.log.mu.Unlock()
	left := len(marker.Group.Handled)
	if left > 0 && n < len(events) && events[n].ID != idNumber(marker.Group.ReplayID) {
		m.faultLocked("a marker behind %d events names the group %d", n, idNumber(marker.Group.ReplayID))
	}
	for ; left > 0 && n < len(events) && events[n].ID == idNumber(marker.Group.ReplayID); left-- {
		n++
	}
	if left > 0 {
		m.faultLocked("a marker names %d events more than there are of a group", left)
	}
	return n
}

// idNumber reads a replay id of either API.
func idNumber(id []byte) uint64 {
	if len(id) == 10 && id[0] == 0 {
		return binary.BigEndian.Uint64(id)
	}
	n, err := strconv.ParseUint(string(id), 10, 64)
	if err != nil {
		panic(fmt.Sprintf("replay id %x", id))
	}
	return n
}

// saved checks a marker on its way to the store.
func (m *programModel) saved(marker replaystore.Marker) {
	m.mu.Lock()
	defer m.mu.Unlock()
	covered, prefix := m.coveredLocked(marker), m.prefixLocked()
	m.log.logf("saved %s, group %s of %d: up to %d", marker.ReplayID, marker.Group.ReplayID, len(marker.Group.Handled), covered-1)
	if covered > prefix+m.inFlight {
		m.faultLocked("a marker covers %d, of which only those before %d are handled", covered-1, prefix)
	}
}

// begin is the start of a program from a marker.
func (m *programModel) begin(marker replaystore.Marker, polite bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	covered, prefix := m.coveredLocked(marker), m.prefixLocked()
	if covered > prefix {
		m.faultLocked("started from a marker that covers %d, of which only those before %d are handled", covered-1, prefix)
	}
	if polite && covered < prefix && !m.lax {
		m.faultLocked("after a polite end %d comes again", covered)
	}
	m.againLocked(covered)
}

// again is a new subscription in the same program.
func (m *programModel) again(marker replaystore.Marker) {
	m.mu.Lock()
	defer m.mu.Unlock()
	from := m.prefixLocked()
	if m.lax {
		from = min(from, m.coveredLocked(marker))
	}
	m.againLocked(from)
}

func (m *programModel) againLocked(from int) {
	m.log.logf("begins at %d", from)
	m.at = from - 1
	for n := range m.handled {
		if n >= from {
			delete(m.handled, n)
		}
	}
	m.given = make(map[int]bool)
	m.log.mu.Lock()
	m.log.sent = nil
	m.log.mu.Unlock()
}

// checkedStore checks what is saved.
type checkedStore struct {
	*lab.Store
	drops bool // it keeps no groups
	mu    sync.Mutex
	model *programModel // nil: nobody listens any more
}

func (s *checkedStore) Save(ctx context.Context, markers map[replaystore.Key]replaystore.Marker) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.model != nil {
		for key, marker := range markers {
			if key.Channel == lab.AllChanges {
				s.model.saved(marker)
				if s.drops {
					marker.Group = replaystore.Group{}
					markers[key] = marker
				}
			}
		}
	}
	return s.Store.Save(ctx, markers)
}

// crash leaves the store as it is: what is saved from now on never happened.
func (s *checkedStore) crash() *checkedStore {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := &checkedStore{Store: s.Snapshot(), model: s.model, drops: s.drops}
	s.model = nil
	return left
}
