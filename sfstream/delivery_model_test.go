package sfstream

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// TestDeliveryDoesWhatItsModelDoes lets consumers of all kinds do random things with
// two channels, and compares: what comes next, who has it, where the watermarks and
// the stored markers are, what is asked for. Whenever more is to be asked for, the
// link must have been woken.
func TestDeliveryDoesWhatItsModelDoes(t *testing.T) {
	for range 60 {
		seed := rand.Uint64()
		synctest.Test(t, func(t *testing.T) {
			defer tellSeed(t, seed)
			newDeliveryModel(t, seed).run()
		})
	}
}

// deliveryModel is a delivery without server, and what it should do, too simple to
// be wrong.
type deliveryModel struct {
	*testing.T
	*rand.Rand
	d       *delivery
	store   *slowStore
	channel []*modelChannel
	arrived []*arrival // of all channels, in order
	current *arrival   // AckAuto
	held    []*arrival // of a Run: taken, or handed out
	offered *arrival
	ids     int
	did     string
}

// modelChannel is a subscription and its link.
type modelChannel struct {
	sub  *subscription
	live bool // it has a session; else it waits for room
}

// arrival is a message or, where it has none, a keepalive.
type arrival struct {
	m       *Message
	sub     *subscription
	id      string
	queued  bool // it is next, but for those before it
	out     bool // it takes room
	handled bool
}

// slowStore takes a while to save.
type slowStore struct{ *replaystore.Memory }

const saveTakes = 30 * time.Millisecond

func (s *slowStore) Save(ctx context.Context, markers map[replaystore.Key]replaystore.Marker) error {
	<-time.After(saveTakes)
	return s.Memory.Save(ctx, markers)
}

func newDeliveryModel(t *testing.T, seed uint64) *deliveryModel {
	m := &deliveryModel{T: t, Rand: rand.New(rand.NewPCG(seed, 0)), store: &slowStore{replaystore.NewMemory()}}
	prefetches := []int{1, 2, 3, 7, 30, 150}
	m.d = &delivery{
		prefetch: prefetches[m.IntN(len(prefetches))], ready: make(chan struct{}, 1),
		ackWith: []AckPolicy{AckAuto, AckOnReceive, AckManual}[m.IntN(3)],
	}
	m.d.saver = newSaver(m.d, &config{store: m.store, log: slog.New(slog.DiscardHandler)}, func(err error) { t.Error(err) })
	m.channel = []*modelChannel{m.subscribe("/event/A__e"), m.subscribe("/event/B__e")}
	return m
}

func (m *deliveryModel) subscribe(channel string) *modelChannel {
	c := &modelChannel{sub: newSubscription(m.d, channel, replaystore.Key{Channel: channel})}
	c.sub.changed = make(chan struct{}, 1)
	m.open(c)
	return c
}

func (m *deliveryModel) run() {
	for range 500 {
		quiet := time.Duration(m.IntN(300)) * time.Millisecond
		<-time.After(quiet)
		if quiet > saveDelay+2*saveTakes {
			m.checkSaved()
		}
		m.step()
		m.checkWatermarks()
		for _, c := range m.channel {
			m.checkDemand(c)
		}
	}
	if err := m.d.saver.flush(time.Second); err != nil {
		m.Error(err)
	}
	m.checkSaved()
}

func (m *deliveryModel) step() {
	c := m.channel[m.IntN(len(m.channel))]
	switch op := m.IntN(20); {
	case op < 6:
		m.push(c)
	case op == 6:
		m.did = "keepalive"
		k := &arrival{sub: c.sub, id: m.nextID(), handled: true}
		m.arrived = append(m.arrived, k)
		m.d.keepalive(c.sub, []byte(k.id), time.Now(), true)
	case op == 7:
		m.did = "a new session"
		if m.IntN(2) == 0 {
			c.sub.beCareful()
		}
		c.sub.sessionEnded()
		m.open(c)
	case op == 8 && m.IntN(20) == 0:
		m.unsubscribe(c)
	case op < 11:
		m.did = "next"
		m.settleCurrent()
		if a := m.isNext(m.d.next()); a != nil {
			m.handOut(a)
		}
	case op == 11:
		m.did = "leave"
		m.d.leave()
		if a := m.current; a != nil {
			a.queued = !a.handled
			m.current = nil
		}
	case op == 12 && m.offered == nil:
		m.did = "offer"
		m.offered = m.isNext(m.d.offer())
	case op == 13 && m.offered != nil:
		m.did = "taken"
		m.settleCurrent()
		m.d.taken(m.offered.m)
		m.handOut(m.offered)
		m.offered = nil
	case op == 14 && m.offered != nil:
		m.did = "withdraw"
		m.d.withdraw(m.offered.m)
		m.offered.queued = !m.offered.handled && !m.offered.sub.removed
		m.offered = nil
	case op < 16:
		m.did = "hold"
		if a := m.isNext(m.d.hold()); a != nil {
			m.held = append(m.held, a)
		}
	case op == 16 && len(m.held) > 0:
		m.start(m.held[m.IntN(len(m.held))])
	case op == 17:
		m.putBack()
	default:
		m.ack()
	}
}

func (m *deliveryModel) nextID() string { m.ids++; return fmt.Sprint(m.ids) }

// push brings as much as was asked for, or less.
func (m *deliveryModel) push(c *modelChannel) {
	if m.did = "push"; !c.live || c.sub.asked == 0 {
		return
	}
	batch := make([]Message, 1+m.IntN(min(c.sub.asked, 6)))
	for i := range batch {
		a := &arrival{m: &batch[i], sub: c.sub, queued: true}
		if m.IntN(8) > 0 {
			a.id = m.nextID()
			a.m.ReplayID = []byte(a.id)
		}
		switch m.IntN(8) {
		case 0:
			a.m.fate, a.queued, a.handled, a.id = fateSkip, false, true, ""
		case 1:
			a.m.fate = fateDuplicate
			continue
		}
		a.m.placed = a.id != ""
		m.arrived = append(m.arrived, a)
	}
	m.d.push(c.sub, batch, nil, time.Now())
	m.ask(c) // as recv does
}

// isNext compares what was taken with what is first.
func (m *deliveryModel) isNext(got *Message) *arrival {
	i := slices.IndexFunc(m.arrived, func(a *arrival) bool { return a.queued && !a.sub.removed })
	switch {
	case i < 0 && got != nil:
		m.Fatalf("%s: got %s, nothing waits", m.did, got.ReplayID)
	case i < 0:
		return nil
	case m.arrived[i].m != got:
		m.Fatalf("%s: got another one than %q", m.did, m.arrived[i].id)
	}
	m.arrived[i].queued = false
	return m.arrived[i]
}

func (m *deliveryModel) settleCurrent() {
	if m.current != nil {
		m.current.handled, m.current = true, nil
	}
}

func (m *deliveryModel) handOut(a *arrival) {
	if a.handled || a.sub.removed {
		return
	}
	switch m.d.ackWith {
	case AckAuto:
		m.current = a
	case AckOnReceive:
		a.handled = true
	case AckManual:
		a.out = true
	}
}

func (m *deliveryModel) start(a *arrival) {
	m.did = "start"
	if a.out {
		return
	}
	want := !a.handled && !a.sub.removed
	if got := m.d.start(a.m); got != want {
		m.Fatalf("start of %q: %v", a.id, got)
	}
	if !want {
		m.held = slices.DeleteFunc(m.held, func(h *arrival) bool { return h == a })
		return
	}
	a.out = true
	a.handled = m.d.ackWith == AckOnReceive
}

// putBack ends a Run.
func (m *deliveryModel) putBack() {
	m.did = "put back"
	var all []*Message
	for _, a := range m.held {
		all = append(all, a.m)
		a.out, a.queued = false, !a.handled && !a.sub.removed
	}
	m.held = nil
	m.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	m.d.putBack(all)
}

// ack settles what somebody has or had.
func (m *deliveryModel) ack() {
	m.did = "ack"
	for range 1 + m.IntN(4) {
		var seen []*arrival
		for _, a := range m.arrived {
			if a.m != nil && a.m.run != nil && (a.out || a == m.current || a == m.offered || slices.Contains(m.held, a) || a.m.isLocked(waiting) && slices.Contains(m.d.back, a.m)) {
				seen = append(seen, a)
			}
		}
		if len(seen) == 0 {
			return
		}
		a := seen[m.IntN(len(seen))]
		a.m.Clone().Ack()
		if !a.sub.removed {
			a.handled, a.queued, a.out = true, false, false
		}
		m.held = slices.DeleteFunc(m.held, func(h *arrival) bool { return h == a && m.IntN(2) == 0 })
	}
}

func (m *deliveryModel) unsubscribe(c *modelChannel) {
	m.did = "unsubscribe"
	m.d.remove(c.sub)
	if n := c.sub.takeCredit(); n != 0 {
		m.Fatalf("%d are asked for after Unsubscribe", n)
	}
	for _, a := range m.arrived {
		if a.sub == c.sub {
			a.queued, a.out = false, false
		}
	}
	if err := m.d.saver.flush(time.Second); err != nil {
		m.Error(err)
	}
	m.checkSaved()
	if m.current != nil && m.current.sub == c.sub {
		m.current = nil
	}
	*c = *m.subscribe(c.sub.channel)
}

// open begins a session where there is room.
func (m *deliveryModel) open(c *modelChannel) {
	if c.live = c.sub.hasRoom(); !c.live {
		return
	}
	if n := c.sub.firstCredit(); n < 1 || n > maxCredit || c.sub.careful && n > 1 {
		m.Fatalf("%s: a session asks for %d", m.did, n)
	}
}

func (m *deliveryModel) ask(c *modelChannel) {
	before := c.sub.asked
	n := c.sub.takeCredit()
	if n < 0 || before+n > maxCredit || c.sub.asked != before+n || n > 0 && (c.sub.careful || c.sub.asked > c.sub.roomLocked()) {
		m.Fatalf("%s: asks for %d more than %d, with room for %d", m.did, n, before, c.sub.roomLocked())
	}
}

// checkDemand looks whether the link knows what to do, and lets it.
func (m *deliveryModel) checkDemand(c *modelChannel) {
	queued, taken := 0, 0
	for _, a := range m.arrived {
		switch {
		case a.sub != c.sub:
		case a.out:
			taken++
		case a.queued, !a.handled && a.m != nil && a != m.current:
			queued++
		}
	}
	s := c.sub
	if s.queued != queued || s.out != taken {
		m.Fatalf("%s: %d wait and %d are out, want %d and %d", m.did, s.queued, s.out, queued, taken)
	}
	want, room := s.wantLocked(), s.roomLocked()
	due := !s.careful && (want >= s.creditStep() || want > 0 && s.asked == 0)
	switch {
	case c.live && due && len(s.creditDue) == 0:
		m.Fatalf("%s: %d are wanted, %d asked for, and nobody was woken", m.did, want, s.asked)
	case !c.live && room > 0 && len(s.changed) == 0:
		m.Fatalf("%s: there is room for %d, and the link sleeps", m.did, room)
	case c.live && s.asked == 0 && !s.careful && room > 0 && len(s.creditDue) == 0:
		m.Fatalf("%s: nothing is asked for though there is room for %d", m.did, room)
	}
	if len(s.creditDue) > 0 && c.live {
		<-s.creditDue
		m.ask(c)
	}
	if len(s.changed) > 0 {
		<-s.changed
		if !c.live {
			m.open(c)
		}
	}
}

// reached is up to where a channel is handled: the last id, and the last of a message.
func (m *deliveryModel) reached(s *subscription) (all []string, last, message string) {
	for _, a := range m.arrived {
		if a.sub != s {
			continue
		}
		if !a.handled {
			break
		}
		if a.id != "" {
			all, last = append(all, a.id), a.id
		}
		if a.id != "" && a.m != nil {
			message = a.id
		}
	}
	return all, last, message
}

func (m *deliveryModel) checkWatermarks() {
	for _, c := range m.channel {
		if _, want, _ := m.reached(c.sub); string(c.sub.watermark.current.replayID()) != want {
			m.Fatalf("%s: the watermark of %s is at %q, want %q", m.did, c.sub.channel, c.sub.watermark.current.replayID(), want)
		}
		var ch ChannelStatus
		c.sub.report(&ch, time.Now())
		var out *arrival
		for _, a := range m.arrived {
			if a.sub == c.sub && a.out && !a.handled {
				out = a
				break
			}
		}
		if (out == nil) != (ch.OldestUnacked == nil) || out != nil && ch.OldestUnacked != out.m {
			m.Fatalf("%s: the oldest unacked one is another", m.did)
		}
	}
}

// checkSaved looks at the store when what is handled must be in it: a message is,
// and nothing beyond it but keepalives.
func (m *deliveryModel) checkSaved() {
	for _, c := range m.channel {
		all, _, message := m.reached(c.sub)
		marker, err := m.store.Load(m.Context(), c.sub.key)
		if err != nil && message == "" {
			continue
		}
		id := string(marker.ReplayID)
		from := slices.Index(all, message)
		if message != "" && (err != nil || !slices.Contains(all[from:], id)) {
			m.Fatalf("%s: %q is saved, %v; %q was handled, of %q", m.did, id, err, message, all)
		}
	}
}
