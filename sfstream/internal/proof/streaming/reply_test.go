package streaming

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// streamingReplies are about replies that servers write in different ways.
func streamingReplies() []scenario {
	return []scenario{
		{name: "error_with_colons", run: errorWithColons},
		{name: "numeric_id", run: repliesWithout(regexp.MustCompile(`"id":"(\d+)"`), `"id":$1`)},
		{name: "no_id", run: repliesWithout(regexp.MustCompile(`,"id":"\d+"`), "")},
		{name: "curly_quotes", run: curlyQuotes},
		{name: "missing_subscription_field", run: repliesWithout(regexp.MustCompile(`,"subscription":"[^"]*"`), "")},
	}
}

// errorWithColons: the text of an error may have some, and is kept whole.
func errorWithColons(t *testing.T) {
	l := lab.NewStreaming(t)
	l.Start()
	l.Subscribe(lab.Orders)
	for text, code := range map[string]sfstream.Code{
		"400::Unsupported API version. Only API versions '37.0' and later are supported. URI format: '/cometd/66.0'": sfstream.Invalid,
		"400:a,b:Query fields {x::y} do not exist on the topic entity: see 403::Unknown":                             sfstream.Invalid,
		"403:denied_by_security_policy:create_denied: 503::no":                                                       sfstream.PermissionDenied,
		"404::Unknown channel: /u/x:y": sfstream.NotFound,
	} {
		kind := "subscribe"
		if strings.Contains(text, "API version") {
			kind = "handshake"
			l.Must(l.Client.Close())
			l.Start()
		}
		l.FailCometD(sfstreamtest.CometDFault{Kind: kind, Error: text})
		err := l.Client.Subscribe(t.Context(), lab.Topic)
		if e := lab.ExpectError[*sfstream.ServerError](t, err); e.Code != code || e.Reason != text {
			t.Errorf("%q became %v with reason %q", text, e.Code, e.Reason)
		}
		lab.Contains(t, err.Error(), text)
		if len(l.Client.Subscriptions()) == 0 {
			l.Subscribe(lab.Orders)
		}
	}
	finish(l, lab.Orders)
}

// repliesWithout is a test of replies that a server writes otherwise.
func repliesWithout(part *regexp.Regexp, instead string) func(t *testing.T) {
	return func(t *testing.T) {
		l := lab.NewStreaming(t)
		w := &wire{response: func(body string) string { return part.ReplaceAllString(body, instead) }}
		l.FollowTopic(through(l, w))
		l.PublishNumbers(lab.Topic, 1, 2)
		l.Expect(1, 2)
		l.Subscribe(lab.Orders)
		l.Reject(lab.Generic, 1, "403::No access on channel")
		err := l.Client.Subscribe(t.Context(), lab.Generic)
		if e := lab.ExpectError[*sfstream.ServerError](t, err); e.Code != sfstream.PermissionDenied {
			t.Errorf("%v is %v", e, e.Code)
		}
		l.UnknownClient(1)
		l.PublishNumbers(lab.Orders, 1)
		l.Expect(1)
		l.PublishNumbers(lab.Orders, 2)
		l.PublishNumbers(lab.Topic, 3)
		l.ExpectEach(map[string][]int{lab.Orders: {2}, lab.Topic: {3}})
		l.Pass(3 * time.Minute)
		l.ExpectCounts(2, 1)
		finish(l, lab.Topic)
	}
}

// curlyQuotes: the words of errors are written differently from release to release.
func curlyQuotes(t *testing.T) {
	l := lab.NewStreaming(t)
	l.Start(sfstream.WithReplayFallback(sfstream.FallbackAll))
	l.Subscribe(lab.Orders)
	for text, code := range map[string]sfstream.Code{
		"400::The channel you requested to subscribe to doesn’t exist {/topic/LabTopic}":                                              sfstream.NotFound,
		"400::The channel you requested to subscribe to does not exist.":                                                              sfstream.NotFound,
		"400::The replayId for channel {/topic/LabTopic} wasn’t found using the provided replay ID map {{}}. Ensure that it’s valid.": sfstream.Invalid,
		"403::USER NOT ENABLED FOR STREAMING":                                                                                         sfstream.PermissionDenied,
		"403::User not allowed to subscribe CDC without “View All Data” permissions.":                                                 sfstream.PermissionDenied,
	} {
		l.Reject(lab.Topic, 1, text)
		err := l.Client.Subscribe(t.Context(), lab.Topic)
		if e := lab.ExpectError[*sfstream.ServerError](t, err); e.Code != code {
			t.Errorf("%q became %v", text, e.Code)
		}
	}
	if n := l.GapCount(); n != 0 {
		t.Errorf("%d gaps", n)
	}

	// One space or two, a trailing dot or none: it is a stale id.
	l.PublishNumbers(lab.Topic, 1)
	markStale(l, lab.Topic)
	l.Reject(lab.Topic, 1, "400::The replayId {987654321} you provided was Invalid. Please provide a valid ID")
	l.Subscribe(lab.Topic)
	l.Expect(1)
	if n := l.GapCount(); n != 1 {
		t.Errorf("%d gaps", n)
	}
	l.ExpectCounts(1, 1)
	finish(l, lab.Topic)
}
