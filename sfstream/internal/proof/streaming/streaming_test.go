package streaming

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// scenario is one sub-test.
type scenario struct {
	name string
	run  func(t *testing.T)
}

// TestStreaming plays what servers of the Streaming API do, each scenario in a bubble of its own.
// Its test proves what the client makes of it: which messages come, and how often it shakes hands
// and logs in meanwhile.
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

// putTogether publishes numbers that go into one response.
func putTogether(l *lab.Lab, channel string, numbers ...int) {
	l.T.Helper()
	l.DailyLimit(time.Hour)
	l.PublishNumbers(channel, numbers...)
	l.DailyLimit(0)
	synctest.Wait()
}

// expectMost expects no storm.
func expectMost(l *lab.Lab, handshakes, logins int) {
	l.T.Helper()
	synctest.Wait()
	if h, n := l.Handshakes(), l.Logins(); h > handshakes || n > logins {
		l.T.Errorf("%d handshakes and %d logins, want %d and %d at most", h, n, handshakes, logins)
	}
}

// finish uses the client once more after all that happened to it, and ends it.
func finish(l *lab.Lab, channel string) {
	l.T.Helper()
	l.PublishNumbers(channel, 9999)
	l.ExpectEach(map[string][]int{channel: {9999}})
	l.Must(l.Client.Err())
	if n := l.Sessions(); n != 1 {
		l.T.Errorf("%d sessions, want one", n)
	}
	leave(l)
}

// awaitForgotten waits until the server has forgotten sessions whose connections were cut. The
// client's goodbye may have been cut with them.
func awaitForgotten(l *lab.Lab) { l.Pass(3 * time.Minute) }

// leave ends the client, which may have ended before. It takes no time, and nothing stays behind at
// the server.
func leave(l *lab.Lab) {
	l.T.Helper()
	lab.Within(l.T, 300*time.Millisecond, func() { _ = l.Client.Close() })
	synctest.Wait()
	if n := l.Sessions(); n != 0 {
		l.T.Errorf("%d sessions stay behind", n)
	}
	if n := l.DuplicateConnects(); n != 0 {
		l.T.Errorf("%d connects beside another one of the session", n)
	}
}

// waits are the times between messages of a kind, without the first few.
func waits(l *lab.Lab, kind string, skip int) (waits []time.Duration) {
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

// wire is an HTTP transport to the org that shows what goes over it, and may change it.
type wire struct {
	*http.Transport
	request  func(r *http.Request)    // before it is sent
	response func(body string) string // of CometD
}

// through makes a client use a wire.
func through(l *lab.Lab, w *wire) sfstream.Option {
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
