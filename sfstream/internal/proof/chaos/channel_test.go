package chaos

import "time"

// channelModel is what the model knows of one channel. Events are numbered from 1; slices are
// indexed by number. The mutex of the model guards it.
type channelModel struct {
	name string

	numbers map[uint64]int // by replay id
	replays []uint64       // by number
	eras    map[uint64]int // how much was published when the ids of an era began

	mayMiss    []bool // may be lost: older than the start, aged out, or in a gap
	everGot    []bool
	handled    []bool // in any epoch
	handledIn  []int  // the epoch
	gotIn      []int  // the epoch of its last delivery
	deliveries int
	contiguous int // where handledUpTo has come to

	newUntil time.Time // what is published until then may be missed: "new" has not reached the server
	stale    int       // how often positions became stale, or were called so
	repeats  int       // how many events the server may send again before a position

	// An epoch is from a Subscribe to the end of that subscription.
	epoch       int
	subscribed  bool
	started     bool      // a Subscribe has succeeded before
	leaving     bool      // Unsubscribe is under way
	leftAt      time.Time // when it returned
	last        int       // delivered last in this epoch
	floor       int       // the loaded marker's number
	exact       bool      // all after the floor comes again, handled or not
	rewinds     int       // how often the order may go back: FallbackAll
	rewound     bool
	gapped      bool // a fallback has left the order
	since       int  // how many have come since
	newAfter    int  // the fallback began at new events: up to here what comes was received before it
	accepts     bool // the server takes replay ids that lie ahead of its own
	silent      bool // ids have begun anew, and nobody has noticed: what comes may be missed until then
	lied        bool // a good position was called stale, or may yet be: the order may go back
	loaded      loadedMarker
	savedUpTo   int
	committed   []byte // of a managed subscription: what the org was seen to have
	beginsAtNew bool   // of a managed subscription: its next stream misses what is published now
	anew        int    // the epoch in which the ids of a channel with groups began anew; 0: in none
}

type loadedMarker int

const (
	loadedNone   loadedMarker = iota // ErrNotFound
	loadedMoment                     // a marker without an id
	loadedID
)

// eraSize is how far apart the replay ids of an org and of the one that it was moved to are here,
// so that an id tells which it is of.
const eraSize = 1_000_000_000_000

func newChannelModel(name string) *channelModel {
	return &channelModel{
		name: name, numbers: make(map[uint64]int), eras: make(map[uint64]int),
		replays: make([]uint64, 1), mayMiss: []bool{true}, everGot: make([]bool, 1),
		handled: make([]bool, 1), handledIn: make([]int, 1), gotIn: make([]int, 1),
	}
}

func (ch *channelModel) published() int { return len(ch.replays) - 1 }

// publish gives an event the next number.
func (ch *channelModel) publish(replay uint64) {
	n := len(ch.replays)
	ch.numbers[replay] = n
	ch.replays = append(ch.replays, replay)
	ch.mayMiss = append(ch.mayMiss, ch.silent || ch.beginsAtNew || !time.Now().After(ch.newUntil))
	ch.everGot = append(ch.everGot, false)
	ch.handled = append(ch.handled, false)
	ch.handledIn = append(ch.handledIn, 0)
	ch.gotIn = append(ch.gotIn, 0)
}

// numberOf is the number of an event. Of a group the id has several: number says which, if it is
// not 0.
func (ch *channelModel) numberOf(replayID []byte, number int) (int, bool) {
	id := replayNumber(replayID)
	n, ok := ch.numbers[id]
	if !ok || ch.replays[n-1] != id {
		return n, ok
	}
	if number > 0 && number < len(ch.replays) {
		return number, ch.replays[number] == id
	}
	for n > 1 && ch.replays[n-1] == id && ch.gotIn[n-1] != ch.epoch {
		n-- // the first one that has not come
	}
	return n, true
}

// upTo is the number of the last event up to a replay id. That of a keepalive is of no event.
func (ch *channelModel) upTo(replayID []byte) int {
	id := replayNumber(replayID)
	if n, ok := ch.numbers[id]; ok {
		return n
	}
	n := ch.eras[id/eraSize]
	for n < ch.published() && ch.replays[n+1]/eraSize == id/eraSize && ch.replays[n+1] < id {
		n++
	}
	return n
}

// missable says that all events up to a number may be lost.
func (ch *channelModel) missable(upTo int) {
	for k := 1; k <= upTo; k++ {
		ch.mayMiss[k] = true
	}
}

func (ch *channelModel) handle(n int) {
	ch.handled[n], ch.handledIn[n] = true, ch.epoch
}

// handledUpTo is the end of what is handled without a hole. What may be missed and has come all the
// same is to be handled too, but where the server sends old events again: they do not hold up a
// marker that is behind them.
func (ch *channelModel) handledUpTo() int {
	for n := ch.contiguous + 1; n <= ch.published() && (ch.handled[n] || ch.mayMiss[n] && (ch.gotIn[n] != ch.epoch || ch.repeats > 0)); n++ {
		ch.contiguous = n
	}
	return ch.contiguous
}

func (ch *channelModel) got(n int) {
	ch.deliveries++
	if n > ch.newAfter {
		ch.since++
	}
	ch.everGot[n], ch.gotIn[n] = true, ch.epoch
	if !ch.handled[n] {
		ch.contiguous = min(ch.contiguous, n-1)
	}
}

// missing is the first event that must come and has not, or has and is not handled; 0 for none.
func (ch *channelModel) missing() int {
	for n := 1; n <= ch.published(); n++ {
		if !ch.everGot[n] && !ch.mayMiss[n] || ch.gotIn[n] == ch.epoch && ch.handledIn[n] != ch.epoch {
			return n
		}
	}
	return 0
}

// begin starts an epoch at what was loaded: up to floor all is handled, and the server is asked for
// what is behind number at.
func (ch *channelModel) begin(loaded loadedMarker, floor, at int, replayAll bool) {
	ch.epoch++
	ch.loaded, ch.floor = loaded, floor
	for n := 1; n <= floor; n++ {
		// Also what was handed out and saved, and killed before the consumer had it (AckOnReceive):
		// save has judged that it is one message at most.
		ch.handled[n] = ch.handled[n] || !ch.everGot[n]
		ch.mayMiss[n] = ch.mayMiss[n] || !ch.everGot[n]
	}
	ch.exact = loaded == loadedID || loaded == loadedNone && replayAll
	ch.last, ch.rewinds, ch.rewound, ch.gapped, ch.leaving, ch.newAfter = 0, 0, false, false, false, 0
	ch.savedUpTo = floor
	ch.subscribed = true
	newest := 0
	for _, before := range ch.eras {
		newest = max(newest, before)
	}
	if ch.accepts && loaded == loadedID && at <= newest {
		ch.silent = true // the marker is of an era before: nobody has noticed again
		ch.missable(ch.published())
	}
}

// end ends an epoch.
func (ch *channelModel) end() {
	ch.epoch++
	ch.subscribed, ch.leaving, ch.leftAt = false, false, time.Now()
}

// savable is up to where a polite end must have saved: all that this epoch has handled in order. It
// is 0 where the epoch says nothing about it. After ids have begun anew nothing shows that the last
// group before that was whole: a marker names this one, and no handled message of the next group.
func (ch *channelModel) savable() int {
	if !ch.subscribed || ch.anew == ch.epoch || ch.lied || ch.gapped || !ch.exact || ch.repeats > 0 {
		return 0
	}
	n := 0
	for k := ch.floor + 1; k <= ch.published(); k++ {
		switch {
		case ch.gotIn[k] == ch.epoch && ch.handledIn[k] == ch.epoch:
			n = k
		case ch.gotIn[k] == ch.epoch, !ch.mayMiss[k]:
			return n
		}
	}
	return n
}
