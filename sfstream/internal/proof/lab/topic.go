package lab

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// Topic is a PushTopic, Generic a channel of generic events.
const (
	Topic   = "/topic/LabTopic"
	Generic = "/u/lab"
)

// NewStreaming is a lab whose org has a PushTopic and a generic channel too.
func NewStreaming(t *testing.T, opts ...sfstreamtest.Option) *Lab {
	t.Helper()
	l := New(t, opts...)
	l.Must(l.DefinePushTopic(sfstreamtest.PushTopic{Name: "LabTopic", Query: "SELECT Id, Name, City__c, N__c FROM Lab__c"}))
	l.Must(l.DefineGenericChannel(Generic))
	return l
}

// FollowTopic starts a program that follows the PushTopic, and waits until its
// connect is held.
func (l *Lab) FollowTopic(opts ...sfstream.Option) {
	l.T.Helper()
	l.Start(opts...)
	l.Subscribe(Topic)
}

// Put publishes numbers on a channel of any kind.
func (l *Lab) Put(channel string, numbers ...int) (events []sfstreamtest.Event) {
	l.T.Helper()
	for _, n := range numbers {
		name, isTopic := strings.CutPrefix(channel, "/topic/")
		switch {
		case isTopic:
			e, err := l.PublishTopic(name, "updated", map[string]any{"Id": "a00000000000001AAA", "N__c": n})
			l.Must(err)
			events = append(events, SeenBy(l.T, e))
		case strings.HasPrefix(channel, "/u/"):
			r, err := l.Push(channel, strconv.Itoa(n))
			l.Must(err)
			events = append(events, SeenBy(l.T, r.Event))
		default:
			events = append(events, l.PublishNumbers(channel, n)...)
		}
	}
	return events
}

// ExpectEach takes exactly these messages, each channel's in this order, and
// handles them.
func (l *Lab) ExpectEach(want map[string][]int) {
	l.T.Helper()
	got, n := make(map[string][]int), 0
	for _, numbers := range want {
		n += len(numbers)
	}
	for range n {
		m := l.Receive()
		got[m.Channel] = append(got[m.Channel], l.NumberIn(m))
		m.Ack()
	}
	for channel, numbers := range want {
		if !slices.Equal(got[channel], numbers) {
			l.T.Fatalf("%s: got %v, want %v", channel, got[channel], numbers)
		}
	}
	synctest.Wait()
	if n := l.Client.Pending(); n > 0 {
		m := l.Receive()
		l.T.Fatalf("%d messages too many, the first of them is number %d of %s", n, l.NumberIn(m), m.Channel)
	}
}

// NumberIn is number for any kind of channel.
func (l *Lab) NumberIn(m *sfstream.Message) int {
	l.T.Helper()
	fields, err := m.Fields()
	l.Must(err)
	text, ok := fields["payload"].(string)
	if !ok {
		return l.Number(m)
	}
	n, err := strconv.Atoi(text)
	l.Must(err)
	return n
}

// ExpectCounts expects how often the clients have shaken hands and logged in so far.
func (l *Lab) ExpectCounts(handshakes, logins int) {
	l.T.Helper()
	synctest.Wait()
	if h, n := l.Handshakes(), l.Logins(); h != handshakes || n != logins {
		l.T.Errorf("%d handshakes and %d logins, want %d and %d", h, n, handshakes, logins)
	}
}

// ExpectUnworried expects that nothing above Info was logged.
func (l *Lab) ExpectUnworried() {
	l.T.Helper()
	for line := range strings.Lines(l.Log.String()) {
		if strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR") {
			l.T.Errorf("logged: %s", line)
		}
	}
}

// Times are when messages of a kind came in.
func (l *Lab) Times(kind string) (at []time.Time) {
	for _, r := range l.CometDRequests() {
		if r.Kind == kind {
			at = append(at, r.At)
		}
	}
	return at
}

// Doubling is a backoff without chance: 1 s, 2 s, 4 s, … 64 s.
func Doubling() sfstream.Option {
	return sfstream.WithBackOff(func() backoff.BackOff {
		return backoff.NewExponentialBackOff(backoff.WithInitialInterval(time.Second), backoff.WithMultiplier(2),
			backoff.WithRandomizationFactor(0), backoff.WithMaxInterval(64*time.Second), backoff.WithMaxElapsedTime(0))
	})
}
