package lab

import (
	"bytes"
	"slices"
	"strings"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// StaleReplayID is the error code of a replay id that is too old.
const StaleReplayID = "subscription.fetch.replayid.corrupted"

const toldOfGap = "stored position refused" // what the log says of each gap

// OnGap notes a gap; it is the hook of the lab's programs.
func (l *Lab) OnGap(g sfstream.Gap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gaps = append(l.gaps, g)
}

// Gaps are those that the hook heard of.
func (l *Lab) Gaps() []sfstream.Gap {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.gaps)
}

// GapCount is how many gaps the hook heard of; the log must agree.
func (l *Lab) GapCount() int {
	l.T.Helper()
	n := len(l.Gaps())
	if logged := l.Log.Count(toldOfGap); logged != n {
		l.T.Errorf("the hook heard of %d gaps, the log of %d", n, logged)
	}
	return n
}

// ExpectPossibleGaps expects no gap over the Pub/Sub API, where a keepalive proves that a quiet
// channel has missed nothing. Over the Streaming API nothing proves it of a channel of platform
// events, and so many possible gaps are told.
func (l *Lab) ExpectPossibleGaps(streaming int) {
	l.T.Helper()
	want := 0
	if TransportOf(l.T) == sfstream.CometD {
		want = streaming
	}
	if n := l.GapCount(); n != want {
		l.T.Errorf("%d gaps, want %d", n, want)
	}
	for _, g := range l.Gaps() {
		if !g.Possible {
			l.T.Errorf("a gap that is more than possible: %+v", g)
		}
	}
}

// ExpectGap expects one gap of a channel, after an event.
func (l *Lab) ExpectGap(channel string, after sfstreamtest.Event) {
	l.T.Helper()
	if n := l.GapCount(); n != 1 {
		l.T.Fatalf("%d gaps", n)
	}
	g := l.Gaps()[0]
	if g.Channel != channel || !bytes.Equal(g.After.ReplayID, after.ReplayID) {
		l.T.Errorf("gap %+v", g)
	}
	if e := ExpectError[*sfstream.ServerError](l.T, g.Reason); e.Code != sfstream.ReplayInvalid {
		l.T.Errorf("gap because of %v", e)
	}
	for line := range strings.Lines(l.Log.String()) {
		if strings.Contains(line, toldOfGap) {
			Contains(l.T, line, "level=WARN", channel)
		}
	}
}

// StaleMarker leaves a program's marker behind orders 1 to 3, which nobody has any more: a busy
// channel, so that nothing was heard of it since.
func (l *Lab) StaleMarker() []sfstreamtest.Event {
	l.T.Helper()
	events := l.PublishOrders(1, 2, 3)
	l.Follow(sfstream.WithReplay(sfstream.ReplayAll))
	l.Expect(1, 2, 3)
	l.Stop()
	l.Must(l.TruncateReplay(Orders))
	return events
}
