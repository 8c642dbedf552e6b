package sfstream_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
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
	l := newStreaming(t)
	l.start()
	l.subscribe(labOrders)
	for text, code := range map[string]sfstream.Code{
		"400::Unsupported API version. Only API versions '37.0' and later are supported. URI format: '/cometd/66.0'": sfstream.Invalid,
		"400:a,b:Query fields {x::y} do not exist on the topic entity: see 403::Unknown":                             sfstream.Invalid,
		"403:denied_by_security_policy:create_denied: 503::no":                                                       sfstream.PermissionDenied,
		"404::Unknown channel: /u/x:y": sfstream.NotFound,
	} {
		kind := "subscribe"
		if strings.Contains(text, "API version") {
			kind = "handshake"
			l.must(l.client.Close())
			l.start()
		}
		l.FailCometD(sfstreamtest.CometDFault{Kind: kind, Error: text})
		err := l.client.Subscribe(t.Context(), labTopic)
		if e := expectError[*sfstream.ServerError](t, err); e.Code != code || e.Reason != text {
			t.Errorf("%q became %v with reason %q", text, e.Code, e.Reason)
		}
		contains(t, err.Error(), text)
		if len(l.client.Subscriptions()) == 0 {
			l.subscribe(labOrders)
		}
	}
	l.finish(labOrders)
}

// repliesWithout is a test of replies that a server writes otherwise.
func repliesWithout(part *regexp.Regexp, instead string) func(t *testing.T) {
	return func(t *testing.T) {
		l := newStreaming(t)
		w := &wire{response: func(body string) string { return part.ReplaceAllString(body, instead) }}
		l.followTopic(l.through(w))
		l.put(labTopic, 1, 2)
		l.expect(1, 2)
		l.subscribe(labOrders)
		l.Reject(labGeneric, 1, "403::No access on channel")
		err := l.client.Subscribe(t.Context(), labGeneric)
		if e := expectError[*sfstream.ServerError](t, err); e.Code != sfstream.PermissionDenied {
			t.Errorf("%v is %v", e, e.Code)
		}
		l.UnknownClient(1)
		l.put(labOrders, 1)
		l.expect(1)
		l.put(labOrders, 2)
		l.put(labTopic, 3)
		l.expectEach(map[string][]int{labOrders: {2}, labTopic: {3}})
		l.pass(3 * time.Minute)
		l.expectCounts(2, 1)
		l.finish(labTopic)
	}
}

// curlyQuotes: the words of errors are written differently from release to release.
func curlyQuotes(t *testing.T) {
	l := newStreaming(t)
	l.start(sfstream.WithReplayFallback(sfstream.FallbackAll))
	l.subscribe(labOrders)
	for text, code := range map[string]sfstream.Code{
		"400::The channel you requested to subscribe to doesn’t exist {/topic/LabTopic}":                                              sfstream.NotFound,
		"400::The channel you requested to subscribe to does not exist.":                                                              sfstream.NotFound,
		"400::The replayId for channel {/topic/LabTopic} wasn’t found using the provided replay ID map {{}}. Ensure that it’s valid.": sfstream.Invalid,
		"403::USER NOT ENABLED FOR STREAMING":                                                                                         sfstream.PermissionDenied,
		"403::User not allowed to subscribe CDC without “View All Data” permissions.":                                                 sfstream.PermissionDenied,
	} {
		l.Reject(labTopic, 1, text)
		err := l.client.Subscribe(t.Context(), labTopic)
		if e := expectError[*sfstream.ServerError](t, err); e.Code != code {
			t.Errorf("%q became %v", text, e.Code)
		}
	}
	if n := l.gapCount(); n != 0 {
		t.Errorf("%d gaps", n)
	}

	// One space or two, a trailing dot or none: it is a stale id.
	l.put(labTopic, 1)
	l.markStale(labTopic)
	l.Reject(labTopic, 1, "400::The replayId {987654321} you provided was Invalid. Please provide a valid ID")
	l.subscribe(labTopic)
	l.expect(1)
	if n := l.gapCount(); n != 1 {
		t.Errorf("%d gaps", n)
	}
	l.expectCounts(1, 1)
	l.finish(labTopic)
}
