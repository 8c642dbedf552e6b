package sfstream_test

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// streamingCookies are about the cookies that tie a session to its node.
func streamingCookies() []scenario {
	return []scenario{
		{name: "cookie_required", run: cookieRequired},
		{name: "cookie_rotation", run: cookieRotation},
		{name: "cookie_expiry", run: cookieExpiry},
		{name: "lb_cookie_idle", run: lbCookieIdle},
	}
}

// cookieRequired: the user's HTTP client has no jar, or one that two clients share.
func cookieRequired(t *testing.T) {
	l := newStreaming(t)
	l.followTopic()
	l.put(labTopic, 1)
	l.expect(1)
	l.expectCounts(1, 1)
	l.finish(labTopic)

	jar, err := cookiejar.New(nil)
	l.must(err)
	shared := &http.Client{Transport: l.HTTPClient().Transport, Jar: jar}
	first := l.new(sfstream.WithHTTPClient(shared))
	l.must(first.Open(t.Context()))
	l.must(first.Subscribe(t.Context(), labTopic))
	l.followTopic(sfstream.WithHTTPClient(shared))
	l.put(labTopic, 2)
	for _, c := range []*sfstream.Client{first, l.client} {
		m, err := c.Receive(t.Context())
		l.must(err)
		m.Ack()
	}
	l.expectCounts(3, 3)
	address, err := url.Parse(l.LoginURL() + "/cometd/60.0")
	l.must(err)
	if cookies := jar.Cookies(address); len(cookies) > 0 {
		t.Errorf("the user's jar has %v", cookies)
	}
	l.must(first.Close())
	l.finish(labTopic)
	cookieLost(t)
}

// cookieLost: something on the way eats the cookies of a handshake, or of all.
func cookieLost(t *testing.T) {
	l := newStreaming(t)
	l.FailCometD(sfstreamtest.CometDFault{Kind: "handshake", NoCookies: true})
	l.followTopic()
	l.put(labTopic, 1)
	l.expect(1)
	l.expectCounts(2, 1)

	l.FailCometD(sfstreamtest.CometDFault{Kind: "handshake", NoCookies: true, Times: -1})
	l.DropConnections()
	l.put(labTopic, 2)
	l.pass(10 * time.Minute)
	l.expectMost(40, 1)
	l.ClearFaults()
	l.expect(2)
	l.awaitForgotten()
	l.finish(labTopic)
}

func cookieRotation(t *testing.T) {
	l := newStreaming(t)
	l.followTopic()
	for i := range 5 {
		l.RotateLBCookie()
		l.put(labTopic, 3*i)
		l.pass(time.Minute)
		l.put(labTopic, 3*i+1, 3*i+2)
		l.expect(3*i, 3*i+1, 3*i+2)
	}
	l.subscribe(labOrders)
	l.pass(10 * time.Minute)
	l.expectCounts(1, 1)
	l.finish(labOrders)
}

func cookieExpiry(t *testing.T) {
	const life = 10 * time.Minute
	l := newStreaming(t, sfstreamtest.WithLBCookieLife(life))
	l.followTopic()
	began := time.Now()
	var sent []int
	for i := range 60 {
		l.pass(time.Minute - time.Second)
		l.put(labTopic, i)
		sent = append(sent, i)
		l.pass(time.Second)
	}
	l.expect(sent...)
	l.expectMost(1+int(time.Since(began)/life), 1)
	if n := l.Handshakes(); n < 5 {
		t.Errorf("%d handshakes in an hour", n)
	}
	l.finish(labTopic)
}

// lbCookieIdle: a channel is quiet for hours, and the load balancer's cookie runs
// out. That is normal.
func lbCookieIdle(t *testing.T) {
	l := newStreaming(t)
	l.followTopic()
	l.put(labTopic, 1)
	l.expect(1)
	l.pass(10 * time.Hour)
	l.expectCounts(4, 1)
	if waits := l.waits("handshake", 0); slices.ContainsFunc(waits, func(d time.Duration) bool {
		return d < 3*time.Hour || d > 3*time.Hour+3*time.Minute
	}) {
		t.Errorf("handshakes after %v", waits)
	}
	l.expectUnworried()
	l.put(labTopic, 2)
	l.expect(2)
	l.finish(labTopic)
}
