package inbox

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// TestAnInboxDoesWhatItsModelDoes lets consumers of all kinds do random things with two channels,
// and compares: what comes next, who has it, where the watermarks and the stored markers are, what
// is asked for. Whenever more is to be asked for, the link must have been woken.
func TestAnInboxDoesWhatItsModelDoes(t *testing.T) {
	for range 60 {
		seed := rand.Uint64()
		synctest.Test(t, func(t *testing.T) {
			defer tellSeed(t, seed)
			newInboxModel(t, seed).run()
		})
	}
}

// inboxModel is an inbox without server, and what it should do, too simple to be wrong.
type inboxModel struct {
	*testing.T
	*rand.Rand
	in      *Inbox[message]
	store   *slowStore
	channel []*modelChannel
	arrived []*arrival // of all channels, in order
	current *arrival   // SettleOnNext
	held    []*arrival // of a Run: taken, or handed out
	offered *arrival
	ids     int
	did     string
}

// modelChannel is a channel and its link.
type modelChannel struct {
	ch      *Channel[message]
	changed chan struct{}
	live    bool // it has a session; else it waits for room
}

// arrival is a message or, where it has none, a keepalive.
type arrival struct {
	m       *message
	ch      *Channel[message]
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

func newInboxModel(t *testing.T, seed uint64) *inboxModel {
	m := &inboxModel{T: t, Rand: rand.New(rand.NewPCG(seed, 0)), store: &slowStore{replaystore.NewMemory()}}
	prefetches := []int{1, 2, 3, 7, 30, 150}
	m.in = New(config(Config[message]{
		Prefetch: prefetches[m.IntN(len(prefetches))], Save: m.store.Save, Broken: func(err error) { t.Error(err) },
		Policy: []Policy{SettleOnNext, SettleOnHandOut, SettleOnAck}[m.IntN(3)],
	}))
	m.channel = []*modelChannel{m.subscribe("/event/A__e"), m.subscribe("/event/B__e")}
	return m
}

func (m *inboxModel) subscribe(channel string) *modelChannel {
	c := &modelChannel{ch: m.in.Channel(channel, replaystore.Key{Channel: channel}), changed: make(chan struct{}, 1)}
	c.ch.Notify(c.changed)
	m.open(c)
	return c
}

func (m *inboxModel) run() {
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
			m.checkStep(c)
		}
	}
	if err := m.in.Flush(m.Context(), time.Second); err != nil {
		m.Error(err)
	}
	m.checkSaved()
}

func (m *inboxModel) step() {
	c := m.channel[m.IntN(len(m.channel))]
	switch op := m.IntN(20); {
	case op < 6:
		m.push(c)
	case op == 6:
		m.did = "keepalive"
		k := &arrival{ch: c.ch, id: m.nextID(), handled: true}
		m.arrived = append(m.arrived, k)
		c.ch.Keepalive([]byte(k.id), Evidence{Live: time.Now()})
	case op == 7:
		m.did = "a new session"
		if m.IntN(2) == 0 {
			c.ch.OneAtATime()
		}
		c.ch.End()
		m.open(c)
	case op == 8 && m.IntN(20) == 0:
		m.unsubscribe(c)
	case op < 11:
		m.did = "next"
		m.settleCurrent()
		if a := m.isNext(m.in.Next()); a != nil {
			m.handOut(a)
		}
	case op == 11:
		m.did = "leave"
		m.in.Leave()
		if a := m.current; a != nil {
			a.queued = !a.handled
			m.current = nil
		}
	case op == 12 && m.offered == nil:
		m.did = "offer"
		m.offered = m.isNext(m.in.Offer())
	case op == 13 && m.offered != nil:
		m.did = "taken"
		m.settleCurrent()
		m.offered.m.slot.Taken()
		m.handOut(m.offered)
		m.offered = nil
	case op == 14 && m.offered != nil:
		m.did = "withdraw"
		m.offered.m.slot.Withdraw()
		m.offered.queued = !m.offered.handled && !m.offered.ch.removed
		m.offered = nil
	case op < 16:
		m.did = "hold"
		if a := m.isNext(m.in.Hold()); a != nil {
			m.held = append(m.held, a)
		}
	case op == 16 && len(m.held) > 0:
		m.start(m.held[m.IntN(len(m.held))])
	case op == 17:
		m.putBack()
	case op == 18 && m.in.cfg.Policy == SettleOnAck:
		m.nack()
	default:
		m.ack()
	}
}

func (m *inboxModel) nextID() string { m.ids++; return fmt.Sprint(m.ids) }

// push brings as much as was asked for, or less.
func (m *inboxModel) push(c *modelChannel) {
	if m.did = "push"; !c.live || c.ch.outstanding == 0 {
		return
	}
	batch := make([]message, 1+m.IntN(min(c.ch.outstanding, 6)))
	slab := c.ch.Slab(batch, false)
	for i := range batch {
		a := &arrival{m: &batch[i], ch: c.ch, queued: true}
		a.m.slot = slab.Slot(i)
		if m.IntN(8) > 0 {
			a.id = m.nextID()
			a.m.id = []byte(a.id)
		}
		switch m.IntN(8) {
		case 0:
			slab.Skip(i)
			a.queued, a.handled, a.id = false, true, ""
		case 1:
			slab.Duplicate(i)
			continue
		}
		if a.id != "" {
			slab.Place(i)
		}
		m.arrived = append(m.arrived, a)
	}
	c.ch.Push(slab, time.Now())
	m.ask(c) // as recv does
}

// isNext compares what was taken with what is first.
func (m *inboxModel) isNext(got *message) *arrival {
	i := slices.IndexFunc(m.arrived, func(a *arrival) bool { return a.queued && !a.ch.removed })
	switch {
	case i < 0 && got != nil:
		m.Fatalf("%s: got %s, nothing waits", m.did, got.id)
	case i < 0:
		return nil
	case m.arrived[i].m != got:
		m.Fatalf("%s: got another one than %q", m.did, m.arrived[i].id)
	}
	m.arrived[i].queued = false
	return m.arrived[i]
}

func (m *inboxModel) settleCurrent() {
	if m.current != nil {
		m.current.handled, m.current = true, nil
	}
}

func (m *inboxModel) handOut(a *arrival) {
	if a.handled || a.ch.removed {
		return
	}
	switch m.in.cfg.Policy {
	case SettleOnNext:
		m.current = a
	case SettleOnHandOut:
		a.handled = true
	case SettleOnAck:
		a.out = true
	}
}

func (m *inboxModel) start(a *arrival) {
	m.did = "start"
	if a.out {
		return
	}
	want := !a.handled && !a.ch.removed
	if got := a.m.slot.Start(); got != want {
		m.Fatalf("start of %q: %v", a.id, got)
	}
	if !want {
		m.held = slices.DeleteFunc(m.held, func(h *arrival) bool { return h == a })
		return
	}
	a.out = true
	a.handled = m.in.cfg.Policy == SettleOnHandOut
}

// putBack ends a Run.
func (m *inboxModel) putBack() {
	m.did = "put back"
	var all []Slot[message]
	for _, a := range m.held {
		all = append(all, a.m.slot)
		a.out, a.queued = false, !a.handled && !a.ch.removed
	}
	m.held = nil
	m.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	m.in.PutBack(all)
}

// ack settles what somebody has or had.
func (m *inboxModel) ack() {
	m.did = "ack"
	for range 1 + m.IntN(4) {
		var seen []*arrival
		for _, a := range m.arrived {
			if a.m != nil && (a.out || a == m.current || a == m.offered || slices.Contains(m.held, a) || a.m.slot.isLocked(waiting) && slices.Contains(m.in.back, a.m.slot)) {
				seen = append(seen, a)
			}
		}
		if len(seen) == 0 {
			return
		}
		a := seen[m.IntN(len(seen))]
		a.m.slot.Ack()
		if !a.ch.removed {
			a.handled, a.queued, a.out = true, false, false
		}
		m.held = slices.DeleteFunc(m.held, func(h *arrival) bool { return h == a && m.IntN(2) == 0 })
	}
}

// nack gives back one that was handed out, or nothing.
func (m *inboxModel) nack() {
	m.did = "nack"
	for _, a := range m.arrived {
		if a.m == nil || !a.out && m.IntN(8) > 0 || slices.Contains(m.held, a) || a == m.offered {
			continue
		}
		a.m.slot.Nack()
		if a.out && !a.ch.removed {
			a.out, a.queued = false, true
		}
		return
	}
}

func (m *inboxModel) unsubscribe(c *modelChannel) {
	m.did = "unsubscribe"
	c.ch.Remove()
	if n := c.ch.Take(); n != 0 {
		m.Fatalf("%d are asked for after Unsubscribe", n)
	}
	for _, a := range m.arrived {
		if a.ch == c.ch {
			a.queued, a.out = false, false
		}
	}
	if err := m.in.Flush(m.Context(), time.Second); err != nil {
		m.Error(err)
	}
	m.checkSaved()
	if m.current != nil && m.current.ch == c.ch {
		m.current = nil
	}
	*c = *m.subscribe(c.ch.Name)
}

// open begins a session where there is room.
func (m *inboxModel) open(c *modelChannel) {
	if c.live = c.ch.Room(0); !c.live {
		return
	}
	if n := c.ch.First(); n < 1 || n > m.in.cfg.MaxCredit || c.ch.oneAtATime && n > 1 {
		m.Fatalf("%s: a session asks for %d", m.did, n)
	}
}

func (m *inboxModel) ask(c *modelChannel) {
	before := c.ch.outstanding
	n := c.ch.Take()
	if n < 0 || before+n > m.in.cfg.MaxCredit || c.ch.outstanding != before+n || n > 0 && (c.ch.oneAtATime || c.ch.outstanding > c.ch.roomLocked()) {
		m.Fatalf("%s: asks for %d more than %d, with room for %d", m.did, n, before, c.ch.roomLocked())
	}
}

// checkDemand looks whether the link knows what to do, and lets it.
func (m *inboxModel) checkDemand(c *modelChannel) {
	queued, taken := 0, 0
	for _, a := range m.arrived {
		switch {
		case a.ch != c.ch:
		case a.out:
			taken++
		case a.queued, !a.handled && a.m != nil && a != m.current:
			queued++
		}
	}
	s := c.ch
	if s.queued != queued || s.unacked != taken {
		m.Fatalf("%s: %d wait and %d are out, want %d and %d", m.did, s.queued, s.unacked, queued, taken)
	}
	want, room := s.wantLocked(), s.roomLocked()
	due := !s.oneAtATime && (want >= s.stepLocked() || want > 0 && s.outstanding == 0)
	switch {
	case c.live && due && len(s.due) == 0:
		m.Fatalf("%s: %d are wanted, %d asked for, and nobody was woken", m.did, want, s.outstanding)
	case !c.live && room > 0 && len(c.changed) == 0:
		m.Fatalf("%s: there is room for %d, and the link sleeps", m.did, room)
	case c.live && s.outstanding == 0 && !s.oneAtATime && room > 0 && len(s.due) == 0:
		m.Fatalf("%s: nothing is asked for though there is room for %d", m.did, room)
	}
	if len(s.due) > 0 && c.live {
		<-s.due
		m.ask(c)
	}
	if len(c.changed) > 0 {
		<-c.changed
		if !c.live {
			m.open(c)
		}
	}
}

// reached is up to where a channel is handled: the last id, and the last of a message.
func (m *inboxModel) reached(ch *Channel[message]) (all []string, last, message string) {
	for _, a := range m.arrived {
		if a.ch != ch {
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

func (m *inboxModel) checkWatermarks() {
	for _, c := range m.channel {
		status := c.ch.Status()
		if _, want, _ := m.reached(c.ch); string(status.ReplayID) != want {
			m.Fatalf("%s: the watermark of %s is at %q, want %q", m.did, c.ch.Name, status.ReplayID, want)
		}
		var out *arrival
		for _, a := range m.arrived {
			if a.ch == c.ch && a.out && !a.handled {
				out = a
				break
			}
		}
		if (out == nil) != (status.OldestUnacked == nil) || out != nil && status.OldestUnacked != out.m {
			m.Fatalf("%s: the oldest unacked one is another", m.did)
		}
	}
}

// checkStep asks for the step over some of the unhandled messages of a channel: it is that over the
// next ones, and over no others.
func (m *inboxModel) checkStep(c *modelChannel) {
	var unhandled []*arrival
	for _, a := range m.arrived {
		if a.ch == c.ch && !a.handled {
			unhandled = append(unhandled, a)
		}
	}
	if len(unhandled) == 0 {
		return
	}
	from := m.IntN(min(2, len(unhandled)))
	over := unhandled[from : from+1+m.IntN(min(3, len(unhandled)-from))]
	legal := from == 0
	var slots []Slot[message]
	for _, a := range over {
		slots = append(slots, a.m.slot)
		legal = legal && a.id != ""
	}
	before, after, err := Step(slots)
	if (err == nil) != legal {
		m.Fatalf("%s: a step over %d messages from the unhandled one %d on: %v", m.did, len(over), from, err)
	}
	if _, at, _ := m.reached(c.ch); legal && (string(before.ReplayID) != at || string(after.ReplayID) != over[len(over)-1].id) {
		m.Fatalf("%s: the step is from %q to %q, want from %q to %q", m.did, before.ReplayID, after.ReplayID, at, over[len(over)-1].id)
	}
}

// checkSaved looks at the store when what is handled must be in it: a message is, and nothing
// beyond it but keepalives.
func (m *inboxModel) checkSaved() {
	for _, c := range m.channel {
		all, _, message := m.reached(c.ch)
		marker, err := m.store.Load(m.Context(), c.ch.Key)
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
