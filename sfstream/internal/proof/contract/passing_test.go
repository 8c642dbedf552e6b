package contract

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/scripted"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// failingOrg answers connects with a failure from a moment on, for as long as it is told to: a
// reply without its braces, such as `"error":"500::x"`.
func failingOrg(failure func(since time.Duration) string) *scripted.Org {
	s := &scripted.Org{}
	var began time.Time
	s.Answer = func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
		if kind != "connect" || n == 1 {
			return nil, nil
		}
		if began.IsZero() {
			began = time.Now()
		}
		if said := failure(time.Since(began)); said != "" {
			return scripted.Body(200, fmt.Sprintf(`[{"channel":"/meta/connect","id":%q,"successful":false,%s"advice":{"reconnect":"none","interval":0}}]`, msgs[0].ID, said)), nil
		}
		return scripted.Hold(r)
	}
	return s
}

// passingRules are errors that pass by themselves. Salesforce says "none" beside them over the
// Streaming API: nobody is given up for it.
func passingRules() []rule {
	rules := each(rule{number: 10, words: "errors that pass are retried for ever, %s", only: sfstream.PubSub}, []string{
		"UNAVAILABLE", "INTERNAL", "UNKNOWN", "DEADLINE_EXCEEDED", "ABORTED", "service.unavailable", "subscription.internal.error", "topic.api.unavailable",
	}, passingStatus)
	for words, text := range map[string]string{
		"500": "500::Internal error", "502 without words": "502::", "504": "504::Gateway Timeout", "408": "408::", "409": "409::Conflict", "no error": "",
	} {
		r := rule{number: 10, words: "errors that pass are retried for ever, " + words + " to a %s", only: sfstream.CometD}
		rules = append(rules, each(r, []string{"handshake", "subscribe", "connect"}, func(t *testing.T, kind string) { passingReply(t, kind, text) })...)
	}
	slices.SortFunc(rules, func(a, b rule) int { return strings.Compare(a.words, b.words) })
	return append(rules,
		rule{number: 10, words: "an error that is empty is retried for ever", run: emptyError, only: sfstream.CometD},
		rule{number: 10, words: "errors that pass are the answer to Subscribe within 30 seconds", run: passingSubscribe},
	)
}

func passingStatus(t *testing.T, code string) {
	passingErrors(t, lab.Orders, func(l *lab.Lab) int { return len(l.Subscribes(lab.Orders)) }, func(l *lab.Lab) {
		l.Reject(lab.Orders, -1, code)
		l.EndStreams(lab.Orders, code)
	})
}

func passingReply(t *testing.T, kind, text string) {
	passingErrors(t, cmp.Or(text, `no reason given in {`), func(l *lab.Lab) int { return len(l.Times(kind)) }, func(l *lab.Lab) {
		l.PassingError(kind, -1, text)
		if kind != "connect" { // of a session that lives
			l.DropConnections()
		}
	})
}

// passingErrors lets an org answer nothing else for three hours.
func passingErrors(t *testing.T, said string, attempts func(l *lab.Lab) int, fail func(l *lab.Lab)) {
	l := lab.New(t, sfstreamtest.WithSessionTimeout(1000*time.Hour))
	l.Follow()
	l.PublishOrders(1)
	l.Expect(1)
	l.Pass(time.Minute)
	before := attempts(l)
	fail(l)
	l.PublishOrders(2)
	l.Pass(3 * time.Hour)
	if n := attempts(l) - before; n < 3*60/2 || n > 3*60*4 {
		t.Errorf("%d attempts in 3 hours", n)
	}
	l.Must(l.Client.Err())
	ch := l.Client.Status().Channels[0]
	server := lab.ExpectError[*sfstream.ServerError](t, ch.LastError)
	lab.Contains(t, server.Reason+server.Error(), said)
	l.PublishOrders(3)
	l.ClearFaults()
	l.Expect(2, 3)
	expectLogins(l, 1)
	l.ExpectPossibleGaps(0)
}

// emptyError is a failure whose error is there, and empty.
func emptyError(t *testing.T) {
	s := failingOrg(func(since time.Duration) string {
		if since > 24*time.Hour {
			return ""
		}
		return `"error":"",`
	})
	c := s.Client(t)
	lab.Must(t, c.Subscribe(t.Context(), "/topic/Lab"))
	<-time.After(12 * time.Hour)
	if n := s.Count("handshake"); n < 12*60/2 || n > 12*60*4 || s.Logins != 1 {
		t.Errorf("%d sessions in 12 hours, %d logins", n, s.Logins)
	}
	<-time.After(13 * time.Hour)
	if ch := c.Status().Channels[0]; c.Err() != nil || ch.State != sfstream.StateLive {
		t.Errorf("%v, %+v", c.Err(), ch)
	}
}

func passingSubscribe(t *testing.T) {
	fails := map[string]func(l *lab.Lab){
		"UNAVAILABLE":           func(l *lab.Lab) { l.FailGetTopic(-1, "UNAVAILABLE") },
		"topic.api.unavailable": func(l *lab.Lab) { l.FailGetTopic(-1, "topic.api.unavailable") },
	}
	if lab.TransportOf(t) == sfstream.CometD {
		clear(fails)
		for _, text := range []string{"500::Internal error", "502::", "408::", "409::Conflict", ""} {
			for _, kind := range []string{"handshake", "subscribe"} {
				fails[kind+" "+text] = func(l *lab.Lab) { l.PassingError(kind, -1, text) }
			}
		}
	}
	for name, fail := range fails {
		t.Log(name)
		l := lab.New(t)
		l.Start()
		l.PublishOrders(1)
		fail(l)
		lab.Within(t, 31*time.Second, func() {
			if e := lab.ExpectError[*sfstream.ServerError](t, l.Client.Subscribe(t.Context(), lab.Orders)); e.Code != sfstream.Unavailable {
				t.Errorf("%+v", e)
			}
		})
		l.Must(l.Client.Err())
		l.ClearFaults()
		l.Subscribe(lab.Orders)
		l.ExpectStillWorks(lab.Orders)
		l.Stop()
	}
}

// unknownRules are answers that nobody knows, which are believed when they have been the only ones
// for ten minutes.
func unknownRules() []rule {
	rules := []rule{{number: 6, words: "a stale id in words that nobody knows is the policy's in the end", run: staleInOtherWords, only: sfstream.PubSub}}
	for _, test := range []struct {
		name  string
		words func(since time.Duration) string
		final bool
	}{
		{"that pass within ten minutes end nothing", func(since time.Duration) string {
			if since > 9*time.Minute {
				return ""
			}
			return "999::made up"
		}, false},
		{"that stay end the client after ten minutes", func(time.Duration) string { return "999::made up" }, true},
		{"of a bad request end the client after ten minutes too", func(time.Duration) string { return "400::made up" }, true},
		{"that change end nothing", func(since time.Duration) string { return fmt.Sprint("999::made up ", int(since.Minutes()/4)) }, false},
	} {
		rules = append(rules, rule{number: 10, words: "unknown words " + test.name, run: func(t *testing.T) { unknownWords(t, test.words, test.final) }})
	}
	return rules
}

func unknownWords(t *testing.T, words func(since time.Duration) string, final bool) {
	if lab.TransportOf(t) == sfstream.CometD {
		s := failingOrg(func(since time.Duration) string {
			if said := words(since); said != "" {
				return fmt.Sprintf(`"error":%q,`, said)
			}
			return ""
		})
		c := s.Client(t)
		lab.Must(t, c.Subscribe(t.Context(), "/topic/Lab"))
		judgeUnknown(t, c, final, func() int { return s.Count("handshake") })
		return
	}
	began := time.Now()
	script := &scripted.Streams{Answer: func(int, *eventbus.FetchRequest, int) (*eventbus.FetchResponse, error) {
		if said := words(time.Since(began)); said != "" {
			return nil, status.Error(codes.InvalidArgument, said)
		}
		return nil, nil
	}}
	c := lab.New(t).StartFromOldest(script.Option())
	lab.Must(t, c.Subscribe(t.Context(), lab.Orders))
	judgeUnknown(t, c, final, script.Count)
}

func judgeUnknown(t *testing.T, c *sfstream.Client, final bool, attempts func() int) {
	t.Helper()
	<-time.After(9*time.Minute + 50*time.Second)
	if n := attempts(); c.Err() != nil || n < 5 || n > 60 {
		t.Errorf("%d attempts, %v", n, c.Err())
	}
	<-time.After(time.Hour)
	var server *sfstream.ServerError
	if err := c.Err(); errors.As(err, &server) != final {
		t.Errorf("the end is %v", err)
	}
}

// staleInOtherWords is the refusal of a stale id whose code is lost on the way, and whose text is
// another one than today's.
func staleInOtherWords(t *testing.T) {
	gaps := 0
	script := &scripted.Streams{Answer: func(_ int, req *eventbus.FetchRequest, sent int) (*eventbus.FetchResponse, error) {
		switch {
		case req.ReplayPreset == eventbus.ReplayPreset_CUSTOM:
			return nil, status.Error(codes.InvalidArgument, "Replay position unknown")
		case sent == 0:
			return scripted.Keepalive(9), nil
		}
		return nil, nil
	}}
	c := lab.New(t).StartFromOldest(script.Option(), sfstream.WithReplayFallback(sfstream.FallbackAll),
		sfstream.WithHooks(sfstream.Hooks{OnGap: func(sfstream.Gap) { gaps++ }}))
	lab.Must(t, c.Subscribe(t.Context(), lab.Orders, sfstream.From(sfstream.ReplayAfter([]byte{0, 0, 0, 0, 0, 0, 0, 1, 0, 0}))))
	<-time.After(time.Hour)
	if ch := c.Status().Channels[0]; c.Err() != nil || gaps != 1 || ch.State != sfstream.StateLive {
		t.Errorf("%v, %d gaps, %+v", c.Err(), gaps, ch)
	}
}

// refusedRules are the answers of the Streaming API that mean something else than they seem to:
// those of the org's REST API, which answers for it where nothing may be asked, and a handshake
// that may not create a session.
func refusedRules() []rule {
	rules := []rule{{number: 10, words: "create_denied on a handshake is a dead token", run: createDenied, only: sfstream.CometD}}
	for _, test := range []struct {
		kind, code, message string
		final               bool
		limits              int // at least
	}{
		{"connect", "API_DISABLED_FOR_ORG", "The REST API is not enabled for this Organization.", true, 0},
		{"connect", "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", false, 1},
		{"subscribe", "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", false, 1},
		{"handshake", "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", false, 1},
	} {
		rules = append(rules, rule{number: 10, words: test.code + " of the REST API in answer to a " + test.kind + " keeps its message", only: sfstream.CometD, run: func(t *testing.T) {
			restError(t, test.kind, test.code, test.message, test.final, test.limits)
		}})
	}
	return rules
}

func restError(t *testing.T, kind, code, message string, final bool, least int) {
	s, limits := &scripted.Org{}, 0
	s.Answer = func(r *http.Request, k string, n int, msgs []scripted.Message) (*http.Response, error) {
		switch {
		case k == kind && n > 1:
			return scripted.Body(403, fmt.Sprintf(`[{"message":%q,"errorCode":%q}]`, message, code)), nil
		case k == "connect" && s.Count("handshake") == 1 && n == 2:
			return scripted.Failure(msgs[0], "403::Unknown client"), nil
		case k == "connect":
			return scripted.Hold(r)
		}
		return nil, nil
	}
	c := s.Client(t, sfstream.WithHooks(sfstream.Hooks{OnLimit: func(e *sfstream.ServerError) { limits++ }}))
	lab.Must(t, c.Subscribe(t.Context(), "/topic/Lab"))
	<-time.After(time.Hour)
	synctest.Wait() // for the hook
	if err := c.Err(); (err != nil) != final {
		t.Errorf("the end is %v", err)
	}
	if limits < least || limits > 7 || s.Logins != 1 {
		t.Errorf("%d limits in an hour, %d logins", limits, s.Logins)
	}
	lab.Contains(t, fmt.Sprint(c.Status().Channels[0].LastError), code+": "+message)
}

// createDenied: tokens die one after the other, sooner than a channel that is denied may have
// another one.
func createDenied(t *testing.T) {
	l := lab.New(t, sfstreamtest.WithCreateDenied())
	l.Follow()
	for n := range 5 {
		l.Pass(15 * time.Second) // a session that has lasted
		l.ExpireToken()
		l.DropConnections()
		l.PublishOrders(n)
		lab.Within(t, 5*time.Second, func() { l.Expect(n) })
		l.ExpectCounts(2*(n+1)+1, n+2)
	}
	l.Pass(time.Minute)
	l.Must(l.Client.Err())
}
