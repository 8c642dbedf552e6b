package bayeux

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// server answers each request with what handle returns for its messages.
type server struct {
	*httptest.Server
	mu          sync.Mutex
	connections int
	requests    []*http.Request
}

func newServer(t *testing.T, handle func(w http.ResponseWriter, r *http.Request, messages []map[string]any)) *server {
	s := &server{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var messages []map[string]any
		if err := json.NewDecoder(r.Body).Decode(&messages); err != nil {
			t.Error(err)
		}
		s.mu.Lock()
		s.requests = append(s.requests, r)
		s.mu.Unlock()
		handle(w, r, messages)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.mu.Lock()
			s.connections++
			s.mu.Unlock()
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// fine returns the reply that says that a message has succeeded.
func fine(m map[string]any) string {
	return fmt.Sprintf(`{"channel":%q,"id":%q,"clientId":"c1","subscription":%q,"successful":true}`, m["channel"], m["id"], fmt.Sprint(m["subscription"]))
}

func allFine(w io.Writer, messages []map[string]any) {
	var replies []string
	for _, m := range messages {
		replies = append(replies, fine(m))
	}
	fmt.Fprintf(w, "[%s]", strings.Join(replies, ","))
}

func opened(t *testing.T, s *server) *Session {
	t.Helper()
	session := NewSession(s.Client(), s.URL+"/cometd/60.0", "secret token")
	if err := session.Handshake(t.Context()); err != nil {
		t.Fatal(err)
	}
	return session
}

func TestRequestsAreWhatServersWant(t *testing.T) {
	var seen []string
	s := newServer(t, func(w http.ResponseWriter, r *http.Request, messages []map[string]any) {
		for _, m := range messages {
			m := maps.Clone(m)
			delete(m, "id")
			text, _ := json.Marshal(m)
			seen = append(seen, string(text))
		}
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Authorization") != "Bearer secret token" {
			t.Errorf("%s %v", r.Method, r.Header)
		}
		http.SetCookie(w, &http.Cookie{Name: "BAYEUX_BROWSER", Value: "b1", Path: "/cometd/"})
		if cookie, err := r.Cookie("BAYEUX_BROWSER"); len(seen) > 1 && (err != nil || cookie.Value != "b1") {
			t.Errorf("cookie %v, %v", cookie, err)
		}
		allFine(w, messages)
	})
	session := opened(t, s)
	none := func([]Event) {}
	if err := session.Subscribe(t.Context(), []Subscription{{"/topic/A?B='1'", "/topic/A", "17"}, {"/u/x", "/u/x", "-1"}}, none, func(channel string, err error) {
		if err != nil {
			t.Errorf("%s: %v", channel, err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	for _, atOnce := range []bool{true, false} {
		if _, err := session.Connect(t.Context(), atOnce, none); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(session.Unsubscribe(t.Context(), []string{"/u/x"}, none), session.Disconnect(t.Context())); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`{"channel":"/meta/handshake","ext":{"replay":true},"minimumVersion":"1.0","supportedConnectionTypes":["long-polling"],"version":"1.0"}`,
		`{"channel":"/meta/subscribe","clientId":"c1","ext":{"replay":{"/topic/A":17}},"subscription":"/topic/A?B='1'"}`,
		`{"channel":"/meta/subscribe","clientId":"c1","ext":{"replay":{"/u/x":-1}},"subscription":"/u/x"}`,
		`{"advice":{"timeout":0},"channel":"/meta/connect","clientId":"c1","connectionType":"long-polling"}`,
		`{"channel":"/meta/connect","clientId":"c1","connectionType":"long-polling"}`,
		`{"channel":"/meta/unsubscribe","clientId":"c1","subscription":"/u/x"}`,
		`{"channel":"/meta/disconnect","clientId":"c1"}`,
	}
	for i := range want {
		seen[i] = strings.NewReplacer(`\u0026`, "&", `\u003d`, "=").Replace(seen[i])
	}
	if !slices.Equal(seen, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(seen, "\n"), strings.Join(want, "\n"))
	}
	if s.connections != 1 {
		t.Errorf("%d connections for one purpose: a body was not drained", s.connections)
	}
}

// A request that is too large, by our count or by the server's, is sent in parts.
func TestLargeRequestsAreSplit(t *testing.T) {
	for name, status := range map[string]int{"by our count": 0, "by an error": 200, "by a status": 413, "by an error with a status": -413} {
		t.Run(name, func(t *testing.T) {
			const limit = 5
			var largest, subscribed int
			s := newServer(t, func(w http.ResponseWriter, r *http.Request, messages []map[string]any) {
				if r.ContentLength > MaxRequest {
					t.Errorf("%d bytes", r.ContentLength)
				}
				if status != 0 && len(messages) > limit {
					if status > 0 {
						w.WriteHeader(status)
					} else {
						w.WriteHeader(-status)
					}
					if status != 413 {
						fmt.Fprintf(w, `[{"channel":"/meta/subscribe","successful":false,"error":"413::Maximum Request Size Exceeded"}]`)
					}
					return
				}
				largest, subscribed = max(largest, len(messages)), subscribed+len(messages)
				allFine(w, messages)
			})
			session := opened(t, s)
			largest, subscribed = 0, 0
			var subs []Subscription
			for i := range 100 {
				name := fmt.Sprintf("/topic/%0600d", i)
				subs = append(subs, Subscription{name, name, "-2"})
			}
			results := make(map[string]error)
			if err := session.Subscribe(t.Context(), subs, func([]Event) {}, func(channel string, err error) { results[channel] = err }); err != nil {
				t.Fatal(err)
			}
			for channel, err := range results {
				if err != nil {
					t.Errorf("%s: %v", channel, err)
				}
			}
			if len(results) != 100 || subscribed != 100 || status != 0 && largest > limit {
				t.Errorf("%d results, %d subscribed, %d at most at once", len(results), subscribed, largest)
			}
		})
	}
}

func TestATooLongNameIsItsOwnError(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, _ *http.Request, messages []map[string]any) { allFine(w, messages) })
	session := opened(t, s)
	long := "/topic/" + strings.Repeat("x", MaxRequest)
	results := make(map[string]error)
	err := session.Subscribe(t.Context(), []Subscription{{"/topic/A", "/topic/A", "-1"}, {long, long, "-1"}}, func([]Event) {}, func(channel string, err error) { results[channel] = err })
	if err != nil || results["/topic/A"] != nil || !errors.Is(results[long], ErrTooLarge) {
		t.Errorf("%v; %v, %v", err, results["/topic/A"], results[long])
	}
}

// A redirect is no Bayeux, and the session does not follow it: the token goes to no other host.
func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := newServer(t, func(http.ResponseWriter, *http.Request, []map[string]any) { t.Error("followed") })
	s := newServer(t, func(w http.ResponseWriter, r *http.Request, _ []map[string]any) {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	})
	var status *StatusError
	if err := NewSession(s.Client(), s.URL, "t").Handshake(t.Context()); !errors.As(err, &status) || status.Status != http.StatusTemporaryRedirect {
		t.Error(err)
	}
}

// roundTrip is an http.RoundTripper that calls a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A server may take the time of its advice and a margin to begin, and any time for the body, as
// long as more than a trickle comes.
func TestASilentServerIsGivenUp(t *testing.T) {
	for name, test := range map[string]struct {
		pauses []time.Duration // the first is before the headers, the others between the parts of the body
		gone   time.Duration   // when the session gives the server up; 0: never
	}{
		"an answer in time":        {[]time.Duration{129 * time.Second, 0}, 0},
		"no answer":                {[]time.Duration{time.Hour}, 130 * time.Second},
		"a slow body":              {[]time.Duration{129 * time.Second, 19 * time.Second, 19 * time.Second, 19 * time.Second}, 0},
		"a trickle":                {[]time.Duration{time.Second, time.Second, 9 * time.Second, 9 * time.Second, 9 * time.Second}, (1 + 1 + 20) * time.Second},
		"a body that never ends":   {[]time.Duration{time.Second, 19 * time.Second, time.Hour}, (1 + 19 + 20) * time.Second},
		"a body that never begins": {[]time.Duration{time.Second, time.Hour}, 21 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				parts := []string{"[" + strings.Repeat(" ", 1<<10), `{"channel":"/meta/connect",` + strings.Repeat(" ", 1<<10), `"successful":true}` + strings.Repeat(" ", 1<<10), "]"}
				if name == "a trickle" {
					parts = append(parts[:1], " ", " ", " ", " ")
				}
				session := NewSession(&http.Client{Timeout: time.Second, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					if err := wait(r.Context(), test.pauses[0]); err != nil {
						return nil, err
					}
					return &http.Response{StatusCode: 200, ContentLength: -1, Body: io.NopCloser(&paused{r.Context(), test.pauses[1:], parts})}, nil
				})}, "https://acme.example/cometd/60.0", "t")
				began := time.Now()
				_, err := session.Connect(t.Context(), false, func([]Event) {})
				if took := time.Since(began); test.gone == 0 && err != nil || test.gone > 0 && (!errors.Is(err, ErrSilent) || took != test.gone) {
					t.Errorf("after %v: %v", took, err)
				}
			})
		})
	}
}

// paused is a body whose parts come after pauses.
type paused struct {
	ctx    context.Context
	pauses []time.Duration
	parts  []string
}

func (p *paused) Read(buf []byte) (int, error) {
	if len(p.parts) == 0 {
		return 0, io.EOF
	}
	if len(p.pauses) > 0 {
		if err := wait(p.ctx, p.pauses[0]); err != nil {
			return 0, err
		}
		p.pauses = p.pauses[1:]
	}
	n := copy(buf, p.parts[0])
	p.parts = p.parts[1:]
	return n, nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestAdviceIsKept(t *testing.T) {
	session := NewSession(http.DefaultClient, "https://acme.example", "t")
	ms := func(n int) *time.Duration { d := time.Duration(n) * time.Millisecond; return &d }
	for _, step := range []struct {
		advice         Advice
		interval, hold time.Duration
	}{
		{Advice{}, 0, defaultHold},
		{Advice{Timeout: ms(30_000), Interval: ms(500)}, 500 * time.Millisecond, 30 * time.Second},
		{Advice{Reconnect: "handshake", Interval: ms(0)}, 0, 30 * time.Second}, // the advice of a failure lacks the timeout
		{Advice{Timeout: ms(60_000)}, 0, time.Minute},
	} {
		session.learn(step.advice)
		if session.Interval() != step.interval || session.hold() != step.hold {
			t.Errorf("after %+v: %v, %v", step.advice, session.Interval(), session.hold())
		}
	}
}

// Whatever a proxy writes in place of an answer is an error, and no success.
func TestWhatIsNoBayeuxIsAnError(t *testing.T) {
	for name, reply := range map[string]struct {
		status int
		body   string
	}{
		"an empty reply": {200, ""}, "an empty list": {200, "[]"}, "a page": {200, "<html>maintenance</html>"},
		"a failing page": {502, "<html>"}, "an empty failure": {503, ""}, "a REST error": {401, `[{"message":"Session expired","errorCode":"INVALID_SESSION_ID"}]`},
		"a REST error with 200": {200, `[{"message":"Session expired","errorCode":"INVALID_SESSION_ID"}]`}, "a torn list": {200, `[{"channel":"/meta/connect","successful":true}`},
	} {
		s := newServer(t, func(w http.ResponseWriter, _ *http.Request, _ []map[string]any) {
			w.WriteHeader(reply.status)
			_, _ = io.WriteString(w, reply.body)
		})
		session := NewSession(s.Client(), s.URL, "t")
		_, err := session.Connect(t.Context(), false, func([]Event) {})
		if err == nil || session.Handshake(t.Context()) == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		if strings.Contains(name, "REST") {
			var refused *ReplyError
			if !errors.As(err, &refused) || refused.Reply.Error != "INVALID_SESSION_ID" {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
