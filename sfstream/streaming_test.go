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

// scenario is something that servers of the Streaming API do. Its test proves what
// the client makes of it: which messages come, and how often it shakes hands and
// logs in meanwhile.
type scenario struct {
	name string
	run  func(t *testing.T)
}

// TestStreaming plays the scenarios, each in a bubble of its own.
func TestStreaming(t *testing.T) {
	// The transport is part of the name: see transportOf.
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
	labTopic   = "/topic/LabTopic"
	labGeneric = "/u/lab"
)

// newStreaming is a lab whose org has a PushTopic and a generic channel too.
func newStreaming(t *testing.T, opts ...sfstreamtest.Option) *lab {
	t.Helper()
	l := newLab(t, opts...)
	l.must(l.DefinePushTopic(sfstreamtest.PushTopic{Name: "LabTopic", Query: "SELECT Id, Name, City__c, N__c FROM Lab__c"}))
	l.must(l.DefineGenericChannel(labGeneric))
	return l
}

// followTopic starts a program that follows the PushTopic, and waits until its
// connect is held.
func (l *lab) followTopic(opts ...sfstream.Option) {
	l.t.Helper()
	l.start(opts...)
	l.subscribe(labTopic)
}

// put publishes numbers on a channel of any kind.
func (l *lab) put(channel string, numbers ...int) (events []sfstreamtest.Event) {
	l.t.Helper()
	for _, n := range numbers {
		name, isTopic := strings.CutPrefix(channel, "/topic/")
		switch {
		case isTopic:
			e, err := l.PublishTopic(name, "updated", map[string]any{"Id": "a00000000000001AAA", "N__c": n})
			l.must(err)
			events = append(events, seenBy(l.t, e))
		case strings.HasPrefix(channel, "/u/"):
			r, err := l.Push(channel, strconv.Itoa(n))
			l.must(err)
			events = append(events, seenBy(l.t, r.Event))
		default:
			events = append(events, l.publishOn(channel, n)...)
		}
	}
	return events
}

// putTogether publishes numbers that go into one response.
func (l *lab) putTogether(channel string, numbers ...int) {
	l.t.Helper()
	l.DailyLimit(time.Hour)
	l.put(channel, numbers...)
	l.DailyLimit(0)
	synctest.Wait()
}

// expectEach takes exactly these messages, each channel's in this order, and
// handles them.
func (l *lab) expectEach(want map[string][]int) {
	l.t.Helper()
	got, n := make(map[string][]int), 0
	for _, numbers := range want {
		n += len(numbers)
	}
	for range n {
		m := l.receive()
		got[m.Channel] = append(got[m.Channel], l.numberIn(m))
		m.Ack()
	}
	for channel, numbers := range want {
		if !slices.Equal(got[channel], numbers) {
			l.t.Fatalf("%s: got %v, want %v", channel, got[channel], numbers)
		}
	}
	synctest.Wait()
	if n := l.client.Pending(); n > 0 {
		m := l.receive()
		l.t.Fatalf("%d messages too many, the first of them is number %d of %s", n, l.numberIn(m), m.Channel)
	}
}

// numberIn is number for any kind of channel.
func (l *lab) numberIn(m *sfstream.Message) int {
	l.t.Helper()
	fields, err := m.Fields()
	l.must(err)
	text, ok := fields["payload"].(string)
	if !ok {
		return l.number(m)
	}
	n, err := strconv.Atoi(text)
	l.must(err)
	return n
}

// expectCounts expects how often the clients have shaken hands and logged in so far.
func (l *lab) expectCounts(handshakes, logins int) {
	l.t.Helper()
	synctest.Wait()
	if h, n := l.Handshakes(), l.Logins(); h != handshakes || n != logins {
		l.t.Errorf("%d handshakes and %d logins, want %d and %d", h, n, handshakes, logins)
	}
}

// expectMost expects no storm.
func (l *lab) expectMost(handshakes, logins int) {
	l.t.Helper()
	synctest.Wait()
	if h, n := l.Handshakes(), l.Logins(); h > handshakes || n > logins {
		l.t.Errorf("%d handshakes and %d logins, want %d and %d at most", h, n, handshakes, logins)
	}
}

// expectUnworried expects that nothing above Info was logged.
func (l *lab) expectUnworried() {
	l.t.Helper()
	for line := range strings.Lines(l.log.String()) {
		if strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR") {
			l.t.Errorf("logged: %s", line)
		}
	}
}

// finish uses the client once more after all that happened to it, and ends it.
func (l *lab) finish(channel string) {
	l.t.Helper()
	l.put(channel, 9999)
	l.expectEach(map[string][]int{channel: {9999}})
	l.must(l.client.Err())
	if n := l.Sessions(); n != 1 {
		l.t.Errorf("%d sessions, want one", n)
	}
	l.leave()
}

// awaitForgotten waits until the server has forgotten sessions whose connections
// were cut. The client's goodbye may have been cut with them.
func (l *lab) awaitForgotten() { l.pass(3 * time.Minute) }

// leave ends the client, which may have ended before. It takes no time, and
// nothing stays behind at the server.
func (l *lab) leave() {
	l.t.Helper()
	within(l.t, 300*time.Millisecond, func() { _ = l.client.Close() })
	synctest.Wait()
	if n := l.Sessions(); n != 0 {
		l.t.Errorf("%d sessions stay behind", n)
	}
	if n := l.DuplicateConnects(); n != 0 {
		l.t.Errorf("%d connects beside another one of the session", n)
	}
}

// times are when messages of a kind came in.
func (l *lab) times(kind string) (at []time.Time) {
	for _, r := range l.CometDRequests() {
		if r.Kind == kind {
			at = append(at, r.At)
		}
	}
	return at
}

// waits are the times between messages of a kind, without the first few.
func (l *lab) waits(kind string, skip int) (waits []time.Duration) {
	l.t.Helper()
	at := l.times(kind)
	if len(at) < skip+2 {
		l.t.Fatalf("%d messages of kind %s, want more than %d", len(at), kind, skip+1)
	}
	for i := skip + 1; i < len(at); i++ {
		waits = append(waits, at[i].Sub(at[i-1]))
	}
	return waits
}

// doubling is a backoff without chance: 1 s, 2 s, 4 s, … 64 s.
func doubling() sfstream.Option {
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
func (l *lab) through(w *wire) sfstream.Option {
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
