package sfstream

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// mergeModel is a server, a network and a link around a merger. The server writes the events that
// it has, in order, into whichever reply it writes next. The network brings each reply in pieces,
// as late as it likes, or loses it.
type mergeModel struct {
	t    *testing.T
	seed uint64
	rng  *rand.Rand
	log  []string

	m         merger
	now       time.Time
	timer     []time.Time // when waitedLong is due
	ended     bool
	finishing bool // the server writes all that it has
	why       string

	pending   []modelEvent // at the server, which has not written them yet
	connect   *modelReply  // nil: no connect is under way
	call      *modelReply
	connected bool // the first call has ended
	follows   []*modelSubscription
	channels  int
}

// modelSubscription is one subscription to a channel, as the server and the link know it.
type modelSubscription struct {
	sub        *subscription
	server     bool // the server has subscribed to it
	accepted   bool
	dropped    bool
	published  int // its events are 1 to published
	written    int // those up to this one are in a reply
	delivered  map[int]bool
	position   int // the link resumes behind this event
	base       int // of its ids
	overtaking int // its last provisional event; 0: none is unconfirmed
}

type modelEvent struct {
	of *modelSubscription
	n  int
}

// Why a session has ended.
const (
	reopened = "events have waited too long"
	parted   = "the server has parted"
	lost     = "a reply was lost"
	tooSoon  = "a channel has come back too soon"
)

type modelReply struct {
	written bool
	events  []modelEvent
	add     *modelSubscription
	drop    *modelSubscription
}

func (s *modelSubscription) id(n int) int { return s.base + n }

func (m *mergeModel) fatalf(format string, args ...any) {
	m.t.Helper()
	for _, line := range m.log {
		m.t.Log(line)
	}
	m.t.Fatalf("seed %d: "+format, append([]any{m.seed}, args...)...)
}

func (m *mergeModel) note(format string, args ...any) {
	m.log = append(m.log, fmt.Sprintf(format, args...))
}

// TestMergerModel lets the server and the network do what they can at random, and checks what the
// merger tells the link:
//   - An event that is not provisional comes when all older ones of its subscription have come.
//   - Provisional ones are confirmed only then, too.
//   - No event comes twice, or as one of another subscription.
//   - A channel is quiet only when all that the server has written of it has come.
//   - In the end nothing is missing.
func TestMergerModel(t *testing.T) {
	seeds := uint64(4000)
	if testing.Short() {
		seeds = 500
	}
	ends := make(map[string]int) // sessions by why they have ended
	for seed := range seeds {
		m := &mergeModel{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), m: newMerger(new(codec)), now: time.Unix(1e9, 0), channels: 1 + int(seed%3)}
		m.startCall(m.add(0), nil)
		for range 300 {
			if m.step(); m.ended {
				break
			}
		}
		if !m.ended {
			m.finish()
		}
		ends[m.why]++
	}
	for _, why := range []string{"", reopened, parted, lost, tooSoon} {
		if ends[why] < int(seeds)/50 {
			t.Errorf("the model is one-sided: %v", ends)
			break
		}
	}
}

// step is one random thing that happens.
func (m *mergeModel) step() {
	switch n := m.rng.IntN(100); {
	case n < 20:
		m.publish()
	case n < 32 && m.connect != nil:
		m.write(m.connect)
	case n < 44 && m.call != nil:
		m.write(m.call)
	case n < 60 && m.connect != nil && m.connect.written:
		m.arrive(m.connect, 1+m.rng.IntN(5))
	case n < 76 && m.call != nil && m.call.written:
		m.arrive(m.call, 1+m.rng.IntN(5))
	case n < 86 && m.connect == nil && m.connected:
		m.note("connect begins")
		m.connect = &modelReply{}
		m.m.connectBegan(m.now)
	case n < 91 && m.call == nil:
		m.wantCall()
	case n < 99:
		m.pass(time.Duration(m.rng.IntN(1000)) * time.Millisecond)
	case n == 99 && m.rng.IntN(10) == 0:
		m.end(lost)
	}
}

func (m *mergeModel) publish() {
	s := m.follows[m.rng.IntN(len(m.follows))]
	if !s.server {
		return
	}
	for range 1 + m.rng.IntN(3) {
		s.published++
		m.pending = append(m.pending, modelEvent{s, s.published})
	}
}

// write makes the server write a reply, with some or all of the events that it has.
func (m *mergeModel) write(r *modelReply) {
	if r.written {
		return
	}
	if r.written = true; r.drop != nil {
		r.drop.server = false
	}
	if r.add != nil {
		r.add.server = true
		for range m.rng.IntN(6) { // old ones
			r.add.published++
			m.pending = append(m.pending, modelEvent{r.add, r.add.published})
		}
		if m.connect != nil && !m.connect.written && m.rng.IntN(4) == 0 {
			m.write(m.connect) // before the call's reply, with older events of the new channel
		}
	}
	n := len(m.pending)
	if !m.finishing && m.rng.IntN(3) == 0 {
		n = m.rng.IntN(n + 1)
	}
	r.events = m.pending[:n:n]
	m.pending = m.pending[n:]
	for _, e := range r.events {
		e.of.written = e.n
	}
	m.note("the server writes %s with %s", m.name(r), eventsText(r.events))
}

func eventsText(events []modelEvent) (text string) {
	for _, e := range events {
		text += fmt.Sprintf(" %s:%d", e.of.sub.Name, e.of.id(e.n))
	}
	return text
}

func (m *mergeModel) name(r *modelReply) string {
	if r == m.connect {
		return "the connect"
	}
	return "the call"
}

// arrive lets n more events of a reply arrive, or its end where there are no more.
func (m *mergeModel) arrive(r *modelReply, n int) {
	if len(r.events) == 0 {
		if m.note("%s ends", m.name(r)); r == m.connect {
			m.connectEnds()
		} else {
			m.callEnds()
		}
		return
	}
	n = min(n, len(r.events))
	for n > 0 {
		k := 1
		for k < n && r.events[k].of == r.events[0].of {
			k++
		}
		s, ids := r.events[0].of, make([]int, k)
		for i := range ids {
			ids[i] = s.id(r.events[i].n)
		}
		m.note("%s brings%s", m.name(r), eventsText(r.events[:k]))
		queue, _ := m.m.events(nil, s.sub.Name, eventsOf(s.sub.Name, ids...), r == m.call)
		m.take(queue)
		r.events, n = r.events[k:], n-k
	}
}

func (m *mergeModel) connectEnds() {
	m.connect = nil
	if m.rng.IntN(300) == 0 {
		m.take(m.m.parted(nil))
		m.end(parted)
		return
	}
	queue, _ := m.m.connectEnded(nil, m.now)
	m.take(queue)
}

func (m *mergeModel) callEnds() {
	r := m.call
	if r.add != nil {
		m.take(m.m.answered(nil, r.add.sub.Name, nil))
	}
	m.call, m.connected = nil, true
	queue, waiting := m.m.callEnded(nil, m.now)
	m.take(queue)
	if waiting {
		m.timer = append(m.timer, m.now.Add(overtakeTime))
	}
	if r.drop != nil {
		m.m.unsubscribed(r.drop.sub)
	}
}

// add makes a new subscription to a channel.
func (m *mergeModel) add(channel int) *modelSubscription {
	name := fmt.Sprintf("/topic/%c", 'A'+channel)
	s := &modelSubscription{
		sub:       &subscription{Name: name, Key: replaystore.Key{API: apiCometD, Channel: name}},
		delivered: make(map[int]bool), base: len(m.follows) * 10000,
	}
	m.follows = append(m.follows, s)
	return s
}

// wantCall subscribes to a channel, or unsubscribes from one.
func (m *mergeModel) wantCall() {
	channel := m.rng.IntN(m.channels)
	var old *modelSubscription
	for _, s := range m.follows {
		if s.sub.Name == fmt.Sprintf("/topic/%c", 'A'+channel) && !s.dropped {
			old = s
		}
	}
	if old != nil {
		if m.channels > 1 && m.rng.IntN(2) == 0 {
			old.dropped = true
			m.m.drop(old.sub)
			m.startCall(nil, old)
		} else {
			m.startCall(nil, nil) // such as for another channel, which is refused
		}
		return
	}
	if !m.m.canAdd(fmt.Sprintf("/topic/%c", 'A'+channel)) {
		if m.rng.IntN(10) == 0 {
			m.end(tooSoon)
		}
		return
	}
	m.startCall(m.add(channel), nil)
}

func (m *mergeModel) startCall(add, drop *modelSubscription) {
	m.note("a call begins: %v %v", add != nil, drop != nil)
	m.call = &modelReply{add: add, drop: drop}
	if add != nil && !m.m.ask(add.sub) {
		m.fatalf("a channel that can be added is not asked for")
	}
	m.m.callBegan()
}

// pass lets time pass.
func (m *mergeModel) pass(d time.Duration) {
	m.now = m.now.Add(d)
	for len(m.timer) > 0 && !m.timer[0].After(m.now) && !m.ended {
		m.timer = m.timer[1:]
		m.note("events have waited long")
		queue, reopen := m.m.waitedLong(nil, m.now)
		if m.take(queue); reopen {
			m.end(reopened)
		}
	}
}

func (m *mergeModel) end(why string) {
	m.note("%s", why)
	m.take(m.m.end(nil))
	m.ended, m.why = true, why
}

// finish lets all replies arrive, and then sees whether anything is missing.
func (m *mergeModel) finish() {
	m.finishing = true
	for range 3 {
		for _, r := range []*modelReply{m.call, m.connect} {
			if r == nil {
				continue
			}
			for m.write(r); len(r.events) > 0; {
				m.arrive(r, len(r.events))
			}
			m.arrive(r, 0)
			if m.ended {
				return
			}
		}
		m.connect = &modelReply{}
		m.m.connectBegan(m.now)
	}
	for _, s := range m.follows {
		if len(s.delivered) < s.published && !s.dropped {
			m.fatalf("%d events of %s, which has %d", len(s.delivered), s.sub.Name, s.published)
		}
	}
}

// take is the link: it checks what it is told.
func (m *mergeModel) take(queue []batch) {
	for _, b := range queue {
		if b.sub == nil {
			continue // of the session
		}
		var s *modelSubscription
		for _, other := range m.follows {
			if other.sub == b.sub {
				s = other
			}
		}
		m.note("  the link: %s %s", b.sub.Name, batchText(b))
		switch {
		case s.dropped:
			m.fatalf("told of a channel that was dropped: %s", batchText(b))
		case b.kind == batchAccepted:
			s.accepted = true
		case !s.accepted && b.kind != batchUndeliverable:
			m.fatalf("told of a channel before it was accepted: %s", batchText(b))
		case b.kind == batchMessages:
			m.takeEvents(s, b)
		case b.kind == batchConfirmed:
			if s.overtaking == 0 {
				m.fatalf("nothing was to be confirmed")
			}
			m.moveTo(s, s.overtaking)
			s.overtaking = 0
		case b.kind == batchQuiet:
			if m.moveTo(s, s.written); b.whole && s.overtaking != 0 {
				m.fatalf("quiet before what was provisional is confirmed")
			}
		}
	}
}

func (m *mergeModel) takeEvents(s *modelSubscription, b batch) {
	for i := range b.messages {
		var id int
		fmt.Sscan(string(b.messages[i].ReplayID), &id)
		n := id - s.base
		switch {
		case n < 1 || n > s.written:
			m.fatalf("%d is not an event of this subscription", id)
		case s.delivered[n]:
			m.fatalf("%d comes twice", id)
		}
		if s.delivered[n] = true; b.provisional {
			s.overtaking = max(s.overtaking, n)
		} else {
			m.moveTo(s, n)
		}
	}
}

// moveTo moves the link's position behind an event: all before it must have been delivered, because
// they do not come again.
func (m *mergeModel) moveTo(s *modelSubscription, n int) {
	for ; s.position < n; s.position++ {
		if !s.delivered[s.position+1] {
			m.fatalf("%s: the position passes %d, which has not been delivered", s.sub.Name, s.id(s.position+1))
		}
	}
}
