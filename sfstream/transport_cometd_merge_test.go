package sfstream

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream/internal/bayeux"
)

// mergeRig is a merger with one channel, /topic/A, and what it has told the link.
type mergeRig struct {
	m      merger
	sub    *subscription
	now    time.Time
	queue  []batch
	reopen bool
}

func newMergeRig() *mergeRig {
	const name = "/topic/A"
	return &mergeRig{
		m: newMerger(new(codec)), now: time.Unix(1e9, 0),
		sub: &subscription{Name: name, Key: replaystore.Key{API: apiCometD, Channel: name}},
	}
}

// Each of these is one input of the merger.
func (r *mergeRig) ask()          { r.m.ask(r.sub) }
func (r *mergeRig) accepted()     { r.queue = r.m.answered(r.queue, r.sub.Name, nil) }
func (r *mergeRig) refused()      { r.queue = r.m.answered(r.queue, r.sub.Name, &ServerError{}) }
func (r *mergeRig) drop()         { r.m.drop(r.sub) }
func (r *mergeRig) unsubscribed() { r.m.unsubscribed(r.sub) }
func (r *mergeRig) callBegan()    { r.m.callBegan() }
func (r *mergeRig) callEnded()    { r.queue, _ = r.m.callEnded(r.queue, r.now) }
func (r *mergeRig) connectBegan() { r.m.connectBegan(r.now) }
func (r *mergeRig) connectEnded() { r.queue, _ = r.m.connectEnded(r.queue, r.now) }
func (r *mergeRig) parted()       { r.queue = r.m.parted(r.queue) }
func (r *mergeRig) end()          { r.queue = r.m.end(r.queue) }

func (r *mergeRig) waitedLong() {
	r.now = r.now.Add(overtakeTime)
	r.queue, r.reopen = r.m.waitedLong(r.queue, r.now)
}

func byConnect(ids ...int) func(*mergeRig) { return func(r *mergeRig) { r.events(false, ids) } }
func byCall(ids ...int) func(*mergeRig)    { return func(r *mergeRig) { r.events(true, ids) } }

func (r *mergeRig) events(withCall bool, ids []int) {
	r.queue, _ = r.m.events(r.queue, r.sub.Name, eventsOf(r.sub.Name, ids...), withCall)
}

func eventsOf(channel string, ids ...int) []bayeux.Event {
	events := make([]bayeux.Event, len(ids))
	for i, id := range ids {
		events[i] = bayeux.Event{Channel: channel, Data: fmt.Appendf(nil, `{"event":{"replayId":%d}}`, id)}
	}
	return events
}

// told is what the link was told since the last time, without what was said of the session as a
// whole and of a channel that has nothing to send.
func (r *mergeRig) told() string {
	var told []string
	for _, b := range r.queue {
		if b.kind != batchAnswered && b.kind != batchQuiet && b.kind != batchFollowed {
			told = append(told, batchText(b))
		}
	}
	if r.reopen {
		told = append(told, "new session")
	}
	r.queue, r.reopen = nil, false
	return strings.Join(told, ", ")
}

func batchText(b batch) string {
	switch b.kind {
	case batchAccepted:
		return "accepted"
	case batchRefused:
		return "refused"
	case batchConfirmed:
		return "confirmed"
	case batchUndeliverable:
		return "undeliverable " + string(b.latest)
	case batchFollowed:
		return "followed"
	case batchAnswered:
		return fmt.Sprintf("answered %v", b.proves)
	case batchQuiet:
		return fmt.Sprintf("quiet %v", b.whole)
	case batchMessages:
		text := "events"
		if b.provisional {
			text = "provisional"
		}
		for i := range b.messages {
			text += " " + string(b.messages[i].ReplayID)
		}
		return text
	}
	return fmt.Sprintf("batch of kind %d", b.kind)
}

var phaseNames = map[phase]string{
	phaseAsked: "asked", phaseSubscribed: "subscribed", phaseFollowing: "following", phaseHeldNew: "held new",
	phaseHeld: "held", phaseProvisional: "provisional", phaseHeldAgain: "held again", phaseUnconfirmed: "unconfirmed",
	phaseUnsubscribing: "unsubscribing", phaseDraining: "draining",
}

func (r *mergeRig) phase() string {
	if c := r.m.channels[r.sub.Name]; c != nil {
		return phaseNames[c.phase]
	}
	return "none"
}

// mergeInputs are all inputs, each tried in every situation of TestMergerPhases in which it can
// come.
var mergeInputs = []struct {
	name          string
	call, connect bool // only while one is under way
	do            func(*mergeRig)
}{
	{name: "the connect brings 3", connect: true, do: byConnect(3)},
	{name: "the connect ends", connect: true, do: (*mergeRig).connectEnded},
	{name: "the server parts", connect: true, do: (*mergeRig).parted},
	{name: "a call begins", do: (*mergeRig).callBegan},
	{name: "the call brings 9", call: true, do: byCall(9)},
	{name: "the call ends", call: true, do: (*mergeRig).callEnded},
	{name: "5 s pass", do: (*mergeRig).waitedLong},
	{name: "accepted", do: (*mergeRig).accepted},
	{name: "refused", do: (*mergeRig).refused},
	{name: "dropped", do: (*mergeRig).drop},
	{name: "unsubscribed", do: (*mergeRig).unsubscribed},
	{name: "the session fails", do: (*mergeRig).end},
}

// TestMergerPhases has every phase of a channel, in each situation that makes a difference, and
// what every input does then: "phase: what the link is told". An input that is not named does
// nothing.
func TestMergerPhases(t *testing.T) {
	type steps = []func(*mergeRig)
	began, ended := (*mergeRig).connectBegan, (*mergeRig).connectEnded
	callBegan, callEnded := (*mergeRig).callBegan, (*mergeRig).callEnded
	long := (*mergeRig).waitedLong
	after := func(before steps, more ...func(*mergeRig)) steps {
		return append(before[:len(before):len(before)], more...)
	}

	asked := steps{began, (*mergeRig).ask, callBegan, byCall(5)}
	subscribed := after(asked, (*mergeRig).accepted)
	heldNew := after(subscribed, callEnded)
	following := after(heldNew, ended, began)
	besideCall := after(following, callBegan)
	held := after(besideCall, byCall(5), callEnded)
	provisional := after(heldNew, long)
	provisionalBesideCall := after(provisional, callBegan)
	heldAgain := after(provisionalBesideCall, byCall(9), callEnded)
	unconfirmed := after(provisionalBesideCall, byConnect(3), ended)
	unsubscribing := after(held, (*mergeRig).drop, callBegan)
	draining := after(unsubscribing, callEnded, (*mergeRig).unsubscribed)

	drops := map[string]string{"dropped": "unsubscribing: ", "unsubscribed": "draining: "}
	for _, row := range []struct {
		name  string
		steps steps
		phase string
		then  map[string]string
	}{
		{"asked", asked, "asked", map[string]string{
			"accepted": "subscribed: accepted", "refused": "none: refused",
			"the session fails": "asked: undeliverable 5",
		}},
		{"subscribed", subscribed, "subscribed", map[string]string{
			"a call begins": "following: ", "the call ends": "held new: ",
			"the session fails": "subscribed: undeliverable 5",
		}},
		{"subscribed, the connect has ended", after(subscribed, ended), "subscribed", map[string]string{
			"a call begins": "following: ", "the call ends": "following: events 5",
			"the session fails": "subscribed: undeliverable 5",
		}},
		{"subscribed, and a second call brings nothing", after(subscribed, callBegan), "following", map[string]string{
			"the session fails": "following: undeliverable 5",
		}},
		{"held new", heldNew, "held new", map[string]string{
			"the connect ends": "following: events 5", "the server parts": "following: events 5",
			"5 s pass": "provisional: provisional 5", "the session fails": "held new: undeliverable 5",
		}},
		{"held new, older events have come", after(heldNew, byConnect(3, 4)), "held new", map[string]string{
			"the connect ends": "following: events 3 4 5", "the server parts": "following: events 3 4 5",
			"5 s pass": "provisional: provisional 3 4 5", "the session fails": "held new: undeliverable 3",
		}},
		{"held new beside a call", after(heldNew, callBegan), "held new", map[string]string{
			"the connect ends": "following: ", "the server parts": "following: ",
			"5 s pass": "provisional: ", "the session fails": "held new: undeliverable 5",
		}},
		{"held new, and a second call has brought events", after(heldNew, callBegan, byCall(6)), "held new", map[string]string{
			"the connect ends": "following: ", "the server parts": "following: ", "the call ends": "held: ",
			"5 s pass": "provisional: ", "the session fails": "held new: undeliverable 5",
		}},
		{"following", following, "following", map[string]string{
			"the connect brings 3": "following: events 3",
		}},
		{"following beside a call", after(besideCall, byConnect(4)), "following", map[string]string{
			"the call ends": "following: events 4", "the session fails": "following: undeliverable 4",
		}},
		{"following, and a call has brought events", after(besideCall, byCall(5)), "following", map[string]string{
			"the call ends": "held: ", "the session fails": "following: undeliverable 5",
		}},
		{"following, a call has brought events, and the connect has ended", after(besideCall, byCall(5), ended), "following", map[string]string{
			"the call ends": "following: events 5", "the session fails": "following: undeliverable 5",
		}},
		{"following, a call has brought events, and the connect is the next one", after(besideCall, byCall(5), ended, began), "following", map[string]string{
			"the call ends": "held: ", "the session fails": "following: undeliverable 5",
		}},
		{"following beside two calls", after(besideCall, callBegan, byCall(5), callEnded), "following", map[string]string{
			"the call ends": "held: ", "the session fails": "following: undeliverable 5",
		}},
		{"held", held, "held", map[string]string{
			"the connect ends": "following: events 5", "the server parts": "following: events 5",
			"5 s pass": "held: new session", "the session fails": "held: undeliverable 5",
		}},
		{"held, older events have come", after(held, byConnect(3)), "held", map[string]string{
			"the connect ends": "following: events 3 5", "the server parts": "following: events 3 5",
			"5 s pass": "held: new session", "the session fails": "held: undeliverable 3",
		}},
		{"held beside a call", after(held, callBegan), "held", map[string]string{
			"the connect ends": "following: ", "the server parts": "following: ",
			"5 s pass": "held: new session", "the session fails": "held: undeliverable 5",
		}},
		{"provisional", provisional, "provisional", map[string]string{
			"the connect brings 3": "provisional: events 3",
			"the connect ends":     "following: confirmed", "the server parts": "following: confirmed",
		}},
		{"provisional beside a call", provisionalBesideCall, "provisional", map[string]string{
			"the connect ends": "following: confirmed", "the server parts": "following: confirmed",
		}},
		{"provisional beside a call, and the connect brings more", after(provisionalBesideCall, byConnect(4)), "provisional", map[string]string{
			"the connect ends": "unconfirmed: ", "the server parts": "unconfirmed: ",
			"the call ends": "provisional: provisional 4", "the session fails": "provisional: undeliverable 4",
		}},
		{"provisional, and a call brings more", after(provisionalBesideCall, byCall(8)), "provisional", map[string]string{
			"the connect ends": "unconfirmed: ", "the server parts": "unconfirmed: ", "the call ends": "held again: ",
			"the session fails": "provisional: undeliverable 8",
		}},
		{"held again", heldAgain, "held again", map[string]string{
			"the connect ends": "following: provisional 9, confirmed", "the server parts": "following: provisional 9, confirmed",
			"5 s pass": "held again: new session", "the session fails": "held again: undeliverable 9",
		}},
		{"held again beside a call", after(heldAgain, callBegan), "held again", map[string]string{
			"the connect ends": "unconfirmed: ", "the server parts": "unconfirmed: ",
			"5 s pass": "held again: new session", "the session fails": "held again: undeliverable 9",
		}},
		{"unconfirmed", unconfirmed, "unconfirmed", map[string]string{
			"the call ends": "following: provisional 3, confirmed", "the session fails": "unconfirmed: undeliverable 3",
		}},
		{"unconfirmed, the next connect is under way, and the call brings more", after(unconfirmed, began, byCall(8)), "unconfirmed", map[string]string{
			"the call ends": "held again: ", "the session fails": "unconfirmed: undeliverable 3",
		}},
		{"unsubscribing", unsubscribing, "unsubscribing", nil},
		{"draining", draining, "draining", nil},
		{"draining, after one empty connect", after(draining, ended, began), "draining", map[string]string{
			"the connect ends": "none: ",
		}},
		{"draining, and the second connect brings something", after(draining, ended, began, byConnect(7)), "draining", nil},
		{"draining, and the third connect brings nothing", after(draining, ended, began, byConnect(7), ended, began), "draining", map[string]string{
			"the connect ends": "none: ",
		}},
	} {
		for _, input := range mergeInputs {
			t.Run(row.name+"/"+input.name, func(t *testing.T) {
				r := newMergeRig()
				for _, step := range row.steps {
					step(r)
				}
				if r.told(); r.phase() != row.phase {
					t.Fatalf("the phase is %s, want %s", r.phase(), row.phase)
				}
				if input.call && r.m.calls == 0 || input.connect && !r.m.connecting {
					return
				}
				want, named := row.then[input.name]
				if !named {
					if want, named = drops[input.name]; !named {
						want = row.phase + ": "
					}
				}
				input.do(r)
				if got := r.phase() + ": " + r.told(); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
				if can, dropped := r.m.canAdd(r.sub.Name), strings.HasPrefix(want, "unsub") || strings.HasPrefix(want, "drain"); can == dropped {
					t.Errorf("it can be added: %v", can)
				}
				if c := r.m.channels[r.sub.Name]; c != nil && !r.m.ended && len(c.held) > 0 && !r.m.holds(c) {
					t.Errorf("%d events are held, and nothing holds them", len(c.held))
				}
			})
		}
	}
}

// After the session has failed the merger queues no events, and confirms none: what came since is
// ignored, and comes again.
func TestMergerAfterTheEnd(t *testing.T) {
	r := newMergeRig()
	for _, step := range []func(*mergeRig){
		(*mergeRig).connectBegan, (*mergeRig).ask, (*mergeRig).callBegan, byCall(5), (*mergeRig).accepted, (*mergeRig).callEnded,
		(*mergeRig).waitedLong, // 5 is provisional
	} {
		step(r)
	}
	if got := r.told(); got != "accepted, provisional 5" {
		t.Fatal(got)
	}
	r.end()
	r.queue = nil
	for _, step := range []func(*mergeRig){byConnect(3), (*mergeRig).connectEnded, (*mergeRig).connectBegan, byConnect(6), (*mergeRig).parted} {
		if step(r); len(r.queue) > 0 {
			t.Errorf("told %q", batchText(r.queue[0]))
		}
	}
}

// A channel that is dropped before its subscribe was sent is not subscribed to.
func TestMergerDroppedBeforeItsCall(t *testing.T) {
	r := newMergeRig()
	if r.drop(); r.m.ask(r.sub) {
		t.Error("a channel that was dropped is asked for")
	}
}

// Events of a channel that was never followed are nobody's. Those of one that was dropped are not.
func TestMergerKnowsWhoseEventsAre(t *testing.T) {
	r := newMergeRig()
	known := func() bool {
		_, known := r.m.events(nil, r.sub.Name, eventsOf(r.sub.Name, 1), false)
		return known
	}
	if known() {
		t.Error("a channel that was never followed is known")
	}
	r.ask()
	if !known() {
		t.Error("a channel that is asked for is not known")
	}
	r.drop()
	if !known() {
		t.Error("a channel that is dropped is not known")
	}
}

// TestMergerReports has what is said after connects that bring nothing new of the channel.
func TestMergerReports(t *testing.T) {
	r := newMergeRig()
	report := func(want string, held time.Duration, steps ...func(*mergeRig)) {
		t.Helper()
		r.connectBegan()
		for _, step := range steps {
			step(r)
		}
		r.now = r.now.Add(held)
		r.queue = nil
		r.connectEnded()
		var told []string
		for _, b := range r.queue {
			told = append(told, batchText(b))
		}
		if got := strings.Join(told, ", "); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	other := func(r *mergeRig) { // its events come with the connect
		r.m.channels["/topic/B"] = &mergedChannel{sub: r.sub, phase: phaseDraining, connectsLeft: 100}
		r.queue, _ = r.m.events(r.queue, "/topic/B", eventsOf("/topic/B", 1), false)
	}
	r.ask()
	r.callBegan()
	r.accepted()
	r.callEnded()
	report("answered false", 0)                                      // the first connect is not held
	report("answered true, followed", 0, byConnect(1))               // the second one proves the session
	report("", time.Second, other)                                   // not caught up yet: the server may be seeking
	report("quiet false", 0)                                         // empty, but not held
	report("quiet true", time.Second)                                // empty and held
	report("", time.Second, other)                                   // said lately
	report("followed, quiet false", settled, other)                  // though it is another one's turn
	report("followed", settled, byConnect(2))                        // it is its turn
	report("", 2*settled, (*mergeRig).callBegan)                     // the reply of a call may bring more
	report("", 2*settled)                                            // still under way
	report("followed, quiet true", 2*settled, (*mergeRig).callEnded) // it has ended
	report("events 3", time.Second, (*mergeRig).callBegan, byCall(3), (*mergeRig).callEnded)
}

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
