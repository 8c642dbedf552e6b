package sfstream_test

import (
	"io"
	"net/http"
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

// scenario is one sub-test.
type scenario struct {
	name string
	run  func(t *testing.T)
}

// TestStreaming plays what servers of the Streaming API do, each scenario in a bubble of
// its own. Its test proves what the client makes of it: which messages come, and how
// often it shakes hands and logs in meanwhile.
func TestStreaming(t *testing.T) {
	// The transport is part of the name: see TransportOf.
	t.Run("cometd", func(t *testing.T) {
		for _, s := range slices.Concat(
			streamingConnects(), streamingSessions(), streamingCookies(), streamingLogins(), streamingLimits(),
			streamingReplay(), streamingSubscribes(), streamingMessages(), streamingCalls(), streamingReplies(),
		) {
			t.Run(s.name, func(t *testing.T) { synctest.Test(t, s.run) })
		}
	})
}

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

// putTogether publishes numbers that go into one response.
func (l *Lab) putTogether(channel string, numbers ...int) {
	l.T.Helper()
	l.DailyLimit(time.Hour)
	l.Put(channel, numbers...)
	l.DailyLimit(0)
	synctest.Wait()
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

// expectMost expects no storm.
func (l *Lab) expectMost(handshakes, logins int) {
	l.T.Helper()
	synctest.Wait()
	if h, n := l.Handshakes(), l.Logins(); h > handshakes || n > logins {
		l.T.Errorf("%d handshakes and %d logins, want %d and %d at most", h, n, handshakes, logins)
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

// finish uses the client once more after all that happened to it, and ends it.
func (l *Lab) finish(channel string) {
	l.T.Helper()
	l.Put(channel, 9999)
	l.ExpectEach(map[string][]int{channel: {9999}})
	l.Must(l.Client.Err())
	if n := l.Sessions(); n != 1 {
		l.T.Errorf("%d sessions, want one", n)
	}
	l.leave()
}

// awaitForgotten waits until the server has forgotten sessions whose connections
// were cut. The client's goodbye may have been cut with them.
func (l *Lab) awaitForgotten() { l.Pass(3 * time.Minute) }

// leave ends the client, which may have ended before. It takes no time, and
// nothing stays behind at the server.
func (l *Lab) leave() {
	l.T.Helper()
	Within(l.T, 300*time.Millisecond, func() { _ = l.Client.Close() })
	synctest.Wait()
	if n := l.Sessions(); n != 0 {
		l.T.Errorf("%d sessions stay behind", n)
	}
	if n := l.DuplicateConnects(); n != 0 {
		l.T.Errorf("%d connects beside another one of the session", n)
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

// waits are the times between messages of a kind, without the first few.
func (l *Lab) waits(kind string, skip int) (waits []time.Duration) {
	l.T.Helper()
	at := l.Times(kind)
	if len(at) < skip+2 {
		l.T.Fatalf("%d messages of kind %s, want more than %d", len(at), kind, skip+1)
	}
	for i := skip + 1; i < len(at); i++ {
		waits = append(waits, at[i].Sub(at[i-1]))
	}
	return waits
}

// Doubling is a backoff without chance: 1 s, 2 s, 4 s, … 64 s.
func Doubling() sfstream.Option {
	return sfstream.WithBackOff(func() backoff.BackOff {
		return backoff.NewExponentialBackOff(backoff.WithInitialInterval(time.Second), backoff.WithMultiplier(2),
			backoff.WithRandomizationFactor(0), backoff.WithMaxInterval(64*time.Second), backoff.WithMaxElapsedTime(0))
	})
}

// wire is an HTTP transport to the org that shows what goes over it, and may
// change it.
type wire struct {
	*http.Transport
	request  func(r *http.Request)    // before it is sent
	response func(body string) string // of CometD
}

// through makes a client use a wire.
func (l *Lab) through(w *wire) sfstream.Option {
	w.Transport = l.HTTPClient().Transport.(*http.Transport)
	return sfstream.WithHTTPClient(&http.Client{Transport: w})
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	streaming := strings.HasPrefix(r.URL.Path, "/cometd")
	if w.request != nil && streaming {
		r = r.Clone(r.Context())
		w.request(r)
	}
	resp, err := w.Transport.RoundTrip(r)
	if err != nil || w.response == nil || !streaming {
		return resp, err
	}
	return rewritten(resp, w.response)
}

// rewritten changes the body of a response.
func rewritten(resp *http.Response, change func(body string) string) (*http.Response, error) {
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(strings.NewReader(change(string(body))))
	resp.ContentLength = -1
	resp.Header.Del("Content-Length")
	return resp, nil
}
