package sfstream_test

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// failingOrg answers connects with a failure from a moment on, for as long as it is
// told to: a reply without its braces, such as `"error":"500::x"`.
func failingOrg(failure func(since time.Duration) string) *scriptedOrg {
	s := &scriptedOrg{}
	var began time.Time
	s.answer = func(r *http.Request, kind string, n int, msgs []scriptedMessage) (*http.Response, error) {
		if kind != "connect" || n == 1 {
			return nil, nil
		}
		if began.IsZero() {
			began = time.Now()
		}
		if said := failure(time.Since(began)); said != "" {
			return scriptedBody(200, fmt.Sprintf(`[{"channel":"/meta/connect","id":%q,"successful":false,%s"advice":{"reconnect":"none","interval":0}}]`, msgs[0].ID, said)), nil
		}
		return scriptedHold(r)
	}
	return s
}

// passingRules are errors that pass by themselves. Salesforce says "none" beside them over
// the Streaming API: nobody is given up for it.
func passingRules() []rule {
	var rules []rule
	for _, code := range []string{"UNAVAILABLE", "INTERNAL", "UNKNOWN", "DEADLINE_EXCEEDED", "ABORTED", "service.unavailable", "subscription.internal.error", "topic.api.unavailable"} {
		rules = append(rules, rule{number: 10, words: "errors that pass are retried for ever, " + code, pubsubOnly: true, run: func(t *testing.T) {
			passingErrors(t, labOrders, func(l *lab) int { return len(l.Subscribes(labOrders)) }, func(l *lab) {
				l.Reject(labOrders, -1, code)
				l.EndStreams(labOrders, code)
			})
		}})
	}
	for words, text := range map[string]string{
		"500": "500::Internal error", "502 without words": "502::", "504": "504::Gateway Timeout", "408": "408::", "409": "409::Conflict", "no error": "",
	} {
		for _, kind := range []string{"handshake", "subscribe", "connect"} {
			rules = append(rules, rule{number: 10, words: "errors that pass are retried for ever, " + words + " to a " + kind, cometdOnly: true, run: func(t *testing.T) {
				passingErrors(t, cmp.Or(text, `no reason given in {`), func(l *lab) int { return len(l.times(kind)) }, func(l *lab) {
					l.PassingError(kind, -1, text)
					if kind != "connect" { // of a session that lives
						l.DropConnections()
					}
				})
			}})
		}
	}
	slices.SortFunc(rules, func(a, b rule) int { return strings.Compare(a.words, b.words) })
	return append(rules,
		rule{number: 10, words: "an error that is empty is retried for ever", run: emptyError, cometdOnly: true},
		rule{number: 10, words: "errors that pass are the answer to Subscribe within 30 seconds", run: passingSubscribe},
	)
}

// passingErrors lets an org answer nothing else for three hours.
func passingErrors(t *testing.T, said string, attempts func(l *lab) int, fail func(l *lab)) {
	l := newLab(t, sfstreamtest.WithSessionTimeout(1000*time.Hour))
	l.follow()
	l.publish(1)
	l.expect(1)
	l.pass(time.Minute)
	before := attempts(l)
	fail(l)
	l.publish(2)
	l.pass(3 * time.Hour)
	if n := attempts(l) - before; n < 3*60/2 || n > 3*60*4 {
		t.Errorf("%d attempts in 3 hours", n)
	}
	l.must(l.client.Err())
	ch := l.client.Status().Channels[0]
	server := expectError[*sfstream.ServerError](t, ch.LastError)
	contains(t, server.Reason+server.Error(), said)
	l.publish(3)
	l.ClearFaults()
	l.expect(2, 3)
	if n := l.Logins(); n != 1 {
		t.Errorf("%d logins", n)
	}
	l.expectPossibleGaps(0)
}

// emptyError is a failure whose error is there, and empty.
func emptyError(t *testing.T) {
	s := failingOrg(func(since time.Duration) string {
		if since > 24*time.Hour {
			return ""
		}
		return `"error":"",`
	})
	c := s.client(t)
	must(t, c.Subscribe(t.Context(), "/topic/Lab"))
	<-time.After(12 * time.Hour)
	if n := s.count("handshake"); n < 12*60/2 || n > 12*60*4 || s.logins != 1 {
		t.Errorf("%d sessions in 12 hours, %d logins", n, s.logins)
	}
	<-time.After(13 * time.Hour)
	if ch := c.Status().Channels[0]; c.Err() != nil || ch.State != sfstream.StateLive {
		t.Errorf("%v, %+v", c.Err(), ch)
	}
}

func passingSubscribe(t *testing.T) {
	fails := map[string]func(l *lab){
		"UNAVAILABLE":           func(l *lab) { l.FailGetTopic(-1, "UNAVAILABLE") },
		"topic.api.unavailable": func(l *lab) { l.FailGetTopic(-1, "topic.api.unavailable") },
	}
	if transportOf(t) == sfstream.CometD {
		clear(fails)
		for _, text := range []string{"500::Internal error", "502::", "408::", "409::Conflict", ""} {
			for _, kind := range []string{"handshake", "subscribe"} {
				fails[kind+" "+text] = func(l *lab) { l.PassingError(kind, -1, text) }
			}
		}
	}
	for name, fail := range fails {
		t.Log(name)
		l := newLab(t)
		l.start()
		l.publish(1)
		fail(l)
		within(t, 31*time.Second, func() {
			if e := expectError[*sfstream.ServerError](t, l.client.Subscribe(t.Context(), labOrders)); e.Code != sfstream.Unavailable {
				t.Errorf("%+v", e)
			}
		})
		l.must(l.client.Err())
		l.ClearFaults()
		l.subscribe(labOrders)
		l.expectStillWorks(labOrders)
		l.stop()
	}
}

// unknownRules are answers that nobody knows, which are believed when they have been the
// only ones for ten minutes.
func unknownRules() []rule {
	rules := []rule{{number: 6, words: "a stale id in words that nobody knows is the policy's in the end", run: staleInOtherWords, pubsubOnly: true}}
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
	if transportOf(t) == sfstream.CometD {
		s := failingOrg(func(since time.Duration) string {
			if said := words(since); said != "" {
				return fmt.Sprintf(`"error":%q,`, said)
			}
			return ""
		})
		c := s.client(t)
		must(t, c.Subscribe(t.Context(), "/topic/Lab"))
		judgeUnknown(t, c, final, func() int { return s.count("handshake") })
		return
	}
	began := time.Now()
	script := &scriptedStreams{answer: func(int, *eventbus.FetchRequest, int) (*eventbus.FetchResponse, error) {
		if said := words(time.Since(began)); said != "" {
			return nil, status.Error(codes.InvalidArgument, said)
		}
		return nil, nil
	}}
	c := newScene(t).client(script.option())
	must(t, c.Subscribe(t.Context(), orders))
	judgeUnknown(t, c, final, script.count)
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

// A stale id whose code is lost on the way, and whose text is another one than
// today's.
func staleInOtherWords(t *testing.T) {
	gaps := 0
	script := &scriptedStreams{answer: func(_ int, req *eventbus.FetchRequest, sent int) (*eventbus.FetchResponse, error) {
		switch {
		case req.ReplayPreset == eventbus.ReplayPreset_CUSTOM:
			return nil, status.Error(codes.InvalidArgument, "Replay position unknown")
		case sent == 0:
			return keepalive(9), nil
		}
		return nil, nil
	}}
	c := newScene(t).client(script.option(), sfstream.WithReplayFallback(sfstream.FallbackAll),
		sfstream.WithHooks(sfstream.Hooks{OnGap: func(sfstream.Gap) { gaps++ }}))
	must(t, c.Subscribe(t.Context(), orders, sfstream.From(sfstream.ReplayAfter([]byte{0, 0, 0, 0, 0, 0, 0, 1, 0, 0}))))
	<-time.After(time.Hour)
	if ch := c.Status().Channels[0]; c.Err() != nil || gaps != 1 || ch.State != sfstream.StateLive {
		t.Errorf("%v, %d gaps, %+v", c.Err(), gaps, ch)
	}
}

// refusedRules are the answers of the Streaming API that mean something else than they
// seem to: those of the org's REST API, which answers for it where nothing may be asked,
// and a handshake that may not create a session.
func refusedRules() []rule {
	rules := []rule{{number: 10, words: "create_denied on a handshake is a dead token", run: createDenied, cometdOnly: true}}
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
		rules = append(rules, rule{number: 10, words: test.code + " of the REST API in answer to a " + test.kind + " keeps its message", cometdOnly: true, run: func(t *testing.T) {
			restError(t, test.kind, test.code, test.message, test.final, test.limits)
		}})
	}
	return rules
}

func restError(t *testing.T, kind, code, message string, final bool, least int) {
	s, limits := &scriptedOrg{}, 0
	s.answer = func(r *http.Request, k string, n int, msgs []scriptedMessage) (*http.Response, error) {
		switch {
		case k == kind && n > 1:
			return scriptedBody(403, fmt.Sprintf(`[{"message":%q,"errorCode":%q}]`, message, code)), nil
		case k == "connect" && s.count("handshake") == 1 && n == 2:
			return scriptedFailure(msgs[0], "403::Unknown client"), nil
		case k == "connect":
			return scriptedHold(r)
		}
		return nil, nil
	}
	c := s.client(t, sfstream.WithHooks(sfstream.Hooks{OnLimit: func(e *sfstream.ServerError) { limits++ }}))
	must(t, c.Subscribe(t.Context(), "/topic/Lab"))
	<-time.After(time.Hour)
	if err := c.Err(); (err != nil) != final {
		t.Errorf("the end is %v", err)
	}
	if limits < least || limits > 7 || s.logins != 1 {
		t.Errorf("%d limits in an hour, %d logins", limits, s.logins)
	}
	contains(t, fmt.Sprint(c.Status().Channels[0].LastError), code+": "+message)
}

// createDenied: tokens die one after the other, sooner than a channel that is denied may
// have another one.
func createDenied(t *testing.T) {
	l := newLab(t, sfstreamtest.WithCreateDenied())
	l.follow()
	for n := range 5 {
		l.pass(15 * time.Second) // a session that has lasted
		l.ExpireToken()
		l.DropConnections()
		l.publish(n)
		within(t, 5*time.Second, func() { l.expect(n) })
		l.expectCounts(2*(n+1)+1, n+2)
	}
	l.pass(time.Minute)
	l.must(l.client.Err())
}
