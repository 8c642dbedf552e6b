package chaos

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
)

// chaosModel knows what must come, what may and what must not. It hears of all that is published,
// handed out, handled and saved, and keeps the first thing that the delivery contract does not
// allow.
type chaosModel struct {
	trace  *chaosTrace
	failed chan struct{} // closed by the first deviation

	mu       sync.Mutex
	problem  string
	channels map[string]*channelModel
	life     int // the program that runs now; what others do does not count
	ack      sfstream.AckPolicy
	putBack  *taken // left by break: must come first
	perhaps  *taken // taken from C: handled when the next one is taken
	saves    int
	windows  map[string]int
	cause    string // of the present life
	changed  chan struct{}
}

// taken is one message that was handed out.
type taken struct {
	channel *channelModel
	number  int
	epoch   int
	before  bool // it was handled in an earlier epoch
}

func newModel(trace *chaosTrace) *chaosModel {
	return &chaosModel{
		trace: trace, failed: make(chan struct{}), channels: make(map[string]*channelModel),
		windows: make(map[string]int), changed: make(chan struct{}),
	}
}

// deviateLocked notes what is wrong. Only the first counts: the others follow.
func (m *chaosModel) deviateLocked(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if m.problem == "" {
		m.trace.add("DEVIATION  %s", text)
		m.problem = text + "\n" + m.trace.String()
		close(m.failed)
	}
}

func (m *chaosModel) deviate(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.deviateLocked(format, args...)
}

func (m *chaosModel) notifyLocked() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// deliver judges a message that a life was given, with the number in it, 0 where that cannot be
// read. It returns nil for what does not count.
func (m *chaosModel) deliver(life int, channel string, replayID []byte, number int) *taken {
	m.mu.Lock()
	defer m.mu.Unlock()
	if life != m.life {
		return nil
	}
	channel = topicOf(channel)
	ch := m.channels[channel]
	if ch == nil {
		m.deviateLocked("a message of channel %q, which is not followed", channel)
		return nil
	}
	n, ok := ch.numberOf(replayID, number)
	if !ok {
		m.deviateLocked("%s: a message with replay id %x, which was never published", channel, replayID)
		return nil
	}
	m.trace.add("life %d  got %s %d", life, channel, n)
	if !ch.subscribed && !ch.leftAt.Equal(time.Now()) {
		m.deviateLocked("%s: number %d comes after Unsubscribe has returned", channel, n)
	}
	m.confirmLocked()
	back := m.putBack
	m.putBack = nil
	if back != nil && back.epoch == back.channel.epoch && !back.channel.leaving {
		if back.channel != ch || back.number != n {
			m.deviateLocked("got %s %d, want %s %d first, which was put back", channel, n, back.channel.name, back.number)
		}
	} else {
		m.judgeLocked(ch, n)
	}
	ch.got(n)
	if m.ack == sfstream.AckOnReceive {
		ch.handle(n)
	}
	m.notifyLocked()
	return &taken{channel: ch, number: n, epoch: ch.epoch}
}

// judgeLocked judges the place of a message in its channel's order.
func (m *chaosModel) judgeLocked(ch *channelModel, n int) {
	switch {
	case ch.leaving || ch.lied:
		ch.last = n
		return
	case ch.last == 0: // the first one of this epoch
		m.judgeFirstLocked(ch, n)
	case n > ch.last:
		for k := ch.last + 1; k < n; k++ {
			if !ch.mayMiss[k] && !(ch.rewound && ch.gotIn[k] == ch.epoch) && !ch.unordered(k, n) && !(isGrouped(ch.name) && ch.handled[k]) {
				m.deviateLocked("%s: number %d comes after %d: %d is missing", ch.name, n, ch.last, k)
				break
			}
		}
	case ch.unordered(n, ch.last) && ch.gotIn[n] != ch.epoch:
		return
	case ch.repeats > 0 && ch.gotIn[n] != ch.epoch && (n <= ch.floor && n > ch.floor-ch.repeats || ch.mayMiss[n] || ch.handled[n]):
		return // the server sent again what an earlier life had; the order goes on where it was
	case isManaged(ch.name) && ch.mayMiss[n] && ch.gotIn[n] != ch.epoch:
		return // a stream that began at new events missed it, and an older commit has led to it since
	case ch.rewinds > 0:
		ch.rewinds--
		ch.rewound = true
	default:
		m.deviateLocked("%s: number %d comes after %d", ch.name, n, ch.last)
	}
	ch.last = n
}

func (m *chaosModel) judgeFirstLocked(ch *channelModel, n int) {
	if n <= ch.floor-ch.repeats && ch.rewinds == 0 && !ch.unordered(n, ch.floor) && ch.handled[n] {
		m.deviateLocked("%s: begins with number %d, but up to %d all was handled and saved", ch.name, n, ch.floor)
	}
	for k := ch.floor + 1; k < n; k++ {
		if !ch.mayMiss[k] && (ch.exact || !ch.handled[k]) && !ch.unordered(k, n) {
			m.deviateLocked("%s: begins with number %d after a marker at %d: %d is missing", ch.name, n, ch.floor, k)
			break
		}
	}
	again := 0
	for k := n; k < len(ch.everGot); k++ {
		if ch.everGot[k] {
			again++
		}
	}
	if ch.exact {
		m.windows["after "+m.cause] = max(m.windows["after "+m.cause], again)
	}
}

// handle notes that a message counts as handled from now on.
func (m *chaosModel) handle(tk *taken) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if tk != nil && tk.epoch == tk.channel.epoch {
		tk.channel.handle(tk.number)
		m.notifyLocked()
	}
}

// isOld reports whether a life that was killed has it, and another one goes on.
func (tk *taken) isOld() bool { return tk != nil && tk.epoch != tk.channel.epoch }

// mayHandle notes that a message is handled if another one comes.
func (m *chaosModel) mayHandle(tk *taken) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if tk.isOld() {
		return
	}
	if m.perhaps = tk; tk != nil {
		ch := tk.channel
		tk.before = ch.handled[tk.number]
		ch.handled[tk.number] = true // a save may come at once
	}
}

func (m *chaosModel) confirmLocked() {
	if tk := m.perhaps; tk != nil && tk.epoch == tk.channel.epoch {
		tk.channel.handle(tk.number)
	}
	m.perhaps = nil
}

// back notes that a message is left unhandled: it comes first next time.
func (m *chaosModel) back(life int, tk *taken) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if tk == nil || life != m.life || tk.epoch != tk.channel.epoch || tk.channel.leaving {
		return
	}
	m.trace.add("life %d  put back %s %d", life, tk.channel.name, tk.number)
	m.putBack = tk
}

// cannotHandle notes that no other one came.
func (m *chaosModel) cannotHandle(tk *taken) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if tk.isOld() {
		return
	}
	if m.perhaps = nil; tk != nil {
		tk.channel.handled[tk.number] = tk.before
		tk.channel.contiguous = 0
	}
}

// gap notes that a fallback has left a channel's order.
func (m *chaosModel) gap(life int, g sfstream.Gap, to sfstream.Fallback) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ch := m.channels[topicOf(g.Channel)]
	if life != m.life || ch == nil {
		return
	}
	m.trace.add("life %d  GAP %s after %x, at number %d", life, g.Channel, g.After.ReplayID, ch.published())
	if g.Possible {
		if strings.Contains(g.Reason.Error(), "is before the position") {
			return // a keepalive that lags, or the first sign that ids have begun anew: nothing moves
		}
		ch.silent = false
		ch.savedUpTo, ch.gapped, ch.since = 0, true, 0
		ch.rewinds++ // the oldest retained event, but for what is known
		return
	}
	if ch.stale == 0 {
		m.deviateLocked("%s: a gap is reported, and no position became stale: %v", g.Channel, g.Reason)
	}
	ch.savedUpTo, ch.gapped, ch.since, ch.silent = 0, true, 0, false
	if to == sfstream.FallbackAll {
		ch.rewinds++
		return
	}
	ch.missable(ch.published())
	ch.newAfter = ch.published()
	ch.newUntil = time.Now().Add(newAfterGap)
}

// newAfterGap is within how long after FallbackNew the server must have been asked for new events.
const newAfterGap = 3 * time.Second

// save judges a marker.
func (m *chaosModel) save(key replaystore.Key, marker replaystore.Marker) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ch := m.channels[key.Channel]
	if ch == nil {
		m.deviateLocked("a marker is saved of %q, which is not followed", key.Channel)
		return
	}
	m.saveLocked(ch, marker)
}

// saveLocked judges what is saved of a channel.
func (m *chaosModel) saveLocked(ch *channelModel, marker replaystore.Marker) {
	if len(marker.ReplayID) == 0 && len(marker.Group.ReplayID) == 0 {
		ch.savedUpTo = 0
		return
	}
	if _, known := ch.eras[replayNumber(marker.ReplayID)/eraSize]; !known && len(marker.ReplayID) > 0 {
		return // of a keepalive that lags behind all that there ever was
	}
	n := ch.upToMarker(marker)
	limit := ch.handledUpTo()
	if m.ack == sfstream.AckOnReceive { // handed out, and not here yet
		for limit++; limit < len(ch.mayMiss) && ch.mayMiss[limit]; limit++ {
		}
	}
	m.saves++
	if n > limit {
		m.deviateLocked("%s: the marker is saved at number %d, but %d is not handled", ch.name, n, limit+1)
	}
	void := ch.gapped && isGrouped(ch.name) && len(marker.Group.Handled) == 0 // what was handled of a group counts no more
	if n < ch.savedUpTo && !ch.lied && ch.repeats == 0 && !void {
		m.deviateLocked("%s: the marker goes back from number %d to %d", ch.name, ch.savedUpTo, n)
	}
	ch.savedUpTo = n
}

// replayNumber is a replay id of either API as a number.
func replayNumber(id []byte) uint64 {
	if n, err := strconv.ParseUint(string(id), 10, 64); err == nil {
		return n
	}
	if len(id) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(id)
}
