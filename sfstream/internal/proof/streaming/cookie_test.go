package streaming

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
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
	l := lab.NewStreaming(t)
	l.FollowTopic()
	l.PublishNumbers(lab.Topic, 1)
	l.Expect(1)
	l.ExpectCounts(1, 1)
	finish(l, lab.Topic)

	jar, err := cookiejar.New(nil)
	l.Must(err)
	shared := &http.Client{Transport: l.HTTPClient().Transport, Jar: jar}
	first := l.NewClient(sfstream.WithHTTPClient(shared))
	l.Must(first.Open(t.Context()))
	l.Must(first.Subscribe(t.Context(), lab.Topic))
	l.FollowTopic(sfstream.WithHTTPClient(shared))
	l.PublishNumbers(lab.Topic, 2)
	for _, c := range []*sfstream.Client{first, l.Client} {
		m, err := c.Receive(t.Context())
		l.Must(err)
		m.Ack()
	}
	l.ExpectCounts(3, 3)
	address, err := url.Parse(l.LoginURL() + "/cometd/60.0")
	l.Must(err)
	if cookies := jar.Cookies(address); len(cookies) > 0 {
		t.Errorf("the user's jar has %v", cookies)
	}
	l.Must(first.Close())
	finish(l, lab.Topic)
	cookieLost(t)
}

// cookieLost: something on the way eats the cookies of a handshake, or of all.
func cookieLost(t *testing.T) {
	l := lab.NewStreaming(t)
	l.FailCometD(sfstreamtest.CometDFault{Kind: "handshake", NoCookies: true})
	l.FollowTopic()
	l.PublishNumbers(lab.Topic, 1)
	l.Expect(1)
	l.ExpectCounts(2, 1)

	l.FailCometD(sfstreamtest.CometDFault{Kind: "handshake", NoCookies: true, Times: -1})
	l.DropConnections()
	l.PublishNumbers(lab.Topic, 2)
	l.Pass(10 * time.Minute)
	expectMost(l, 40, 1)
	l.ClearFaults()
	l.Expect(2)
	awaitForgotten(l)
	finish(l, lab.Topic)
}

func cookieRotation(t *testing.T) {
	l := lab.NewStreaming(t)
	l.FollowTopic()
	for i := range 5 {
		l.RotateLBCookie()
		l.PublishNumbers(lab.Topic, 3*i)
		l.Pass(time.Minute)
		l.PublishNumbers(lab.Topic, 3*i+1, 3*i+2)
		l.Expect(3*i, 3*i+1, 3*i+2)
	}
	l.Subscribe(lab.Orders)
	l.Pass(10 * time.Minute)
	l.ExpectCounts(1, 1)
	finish(l, lab.Orders)
}

func cookieExpiry(t *testing.T) {
	const life = 10 * time.Minute
	l := lab.NewStreaming(t, sfstreamtest.WithLBCookieLife(life))
	l.FollowTopic()
	began := time.Now()
	var sent []int
	for i := range 60 {
		l.Pass(time.Minute - time.Second)
		l.PublishNumbers(lab.Topic, i)
		sent = append(sent, i)
		l.Pass(time.Second)
	}
	l.Expect(sent...)
	expectMost(l, 1+int(time.Since(began)/life), 1)
	if n := l.Handshakes(); n < 5 {
		t.Errorf("%d handshakes in an hour", n)
	}
	finish(l, lab.Topic)
}

// lbCookieIdle: a channel is quiet for hours, and the load balancer's cookie runs out. That is
// normal.
func lbCookieIdle(t *testing.T) {
	l := lab.NewStreaming(t)
	l.FollowTopic()
	l.PublishNumbers(lab.Topic, 1)
	l.Expect(1)
	l.Pass(10 * time.Hour)
	l.ExpectCounts(4, 1)
	if waits := waits(l, "handshake", 0); slices.ContainsFunc(waits, func(d time.Duration) bool {
		return d < 3*time.Hour || d > 3*time.Hour+3*time.Minute
	}) {
		t.Errorf("handshakes after %v", waits)
	}
	l.ExpectUnworried()
	l.PublishNumbers(lab.Topic, 2)
	l.Expect(2)
	finish(l, lab.Topic)
}
