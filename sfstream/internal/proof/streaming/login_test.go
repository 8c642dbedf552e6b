package streaming

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// streamingLogins are about tokens: those that are refused, and those that are not, whatever the
// server says.
func streamingLogins() []scenario {
	return []scenario{
		{name: "auth_revoked_connect", run: authRevokedConnect},
		{name: "auth_nested_handshake", run: authNestedHandshake},
		{name: "reauth_rejected_then_ok", run: reauthRejectedThenOK},
		{name: "missing_auth_header", run: missingAuthHeader},
		{name: "busy_503_disguised", run: busy503Disguised},
		{name: "instance_moved", run: instanceMoved},
	}
}

// eitherStatus runs a scenario of an error that comes with HTTP status 200 or with its own.
func eitherStatus(t *testing.T, run func(l *lab.Lab)) {
	for _, opts := range [][]sfstreamtest.Option{nil, {sfstreamtest.WithCometDHTTPStatus()}} {
		run(lab.NewStreaming(t, opts...))
	}
}

func authRevokedConnect(t *testing.T) {
	eitherStatus(t, func(l *lab.Lab) {
		l.FollowTopic()
		last := l.PublishNumbers(lab.Topic, 1)
		l.Expect(1)
		l.ExpireToken()
		lab.Within(t, 0, func() {
			l.PublishNumbers(lab.Topic, 2, 3) // they wake the connect
			l.Expect(2, 3)
		})
		l.ExpectSubscribe(lab.Topic, "CUSTOM", last[0].ReplayID)
		l.ExpectCounts(2, 2)
		l.ExpireToken()
		l.Pass(3 * time.Minute) // the connect ends by itself
		l.ExpectCounts(3, 3)

		// In other words, and of other messages.
		for i, fault := range []sfstreamtest.CometDFault{
			{Kind: "connect", Error: "401::Request requires authentication"},
			{Kind: "connect", Error: "400::Authenticated user id does not match the session's user id"},
			{Kind: "connect", Status: http.StatusUnauthorized, Body: `[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]`},
			{Kind: "connect", Status: http.StatusForbidden, Body: `[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]`, ContentType: "application/json"},
		} {
			l.FailCometD(fault)
			l.PublishNumbers(lab.Topic, 10*i)
			l.Expect(10 * i)
			l.PublishNumbers(lab.Topic, 10*i+1)
			l.Expect(10*i + 1)
			l.Pass(3 * time.Minute)
			l.ExpectCounts(4+i, 4+i)
		}
		l.FailCometD(sfstreamtest.CometDFault{Kind: "subscribe", Error: "401::Authentication invalid"})
		l.Subscribe(lab.Orders)
		l.ExpectCounts(8, 8)
		l.PublishNumbers(lab.Orders, 1)
		l.Expect(1)
		awaitForgotten(l)
		finish(l, lab.Topic)
	})
}

func authNestedHandshake(t *testing.T) {
	eitherStatus(t, func(l *lab.Lab) {
		l.FollowTopic()
		l.PublishNumbers(lab.Topic, 1)
		l.Expect(1)
		l.ExpireToken()
		l.DropConnections()
		l.PublishNumbers(lab.Topic, 2)
		l.Expect(2)
		l.ExpectCounts(3, 2)

		l.FailCometD(sfstreamtest.CometDFault{
			Kind: "handshake", Times: -1, Error: "403::Handshake denied", FailureReason: "401::Authentication invalid",
		})
		l.DropConnections()
		l.PublishNumbers(lab.Topic, 3)
		lab.ExpectEnd[*sfstream.AuthError](l)
		expectMost(l, 3+8, 2+6)
		handshakes, logins := l.Handshakes(), l.Logins()
		l.Pass(time.Hour)
		l.ExpectCounts(handshakes, logins)
		awaitForgotten(l)
		leave(l)
	})
}

func reauthRejectedThenOK(t *testing.T) {
	l := lab.NewStreaming(t)
	l.FollowTopic()
	l.PublishNumbers(lab.Topic, 1)
	l.Expect(1)
	l.FailLogin(2, "unknown_error/retry your request")
	l.ExpireToken()
	l.PublishNumbers(lab.Topic, 2)
	began := time.Now()
	l.Expect(2)
	if took := time.Since(began); took == 0 || took > time.Minute {
		t.Errorf("logged in again after %v, want some back-off", took)
	}
	l.ExpectCounts(2, 4)
	finish(l, lab.Topic)

	// A login that was judged is not repeated: that locks users out.
	l.FollowTopic()
	logins := l.Logins()
	l.FailLogin(-1, "invalid_grant/user is locked")
	l.ExpireToken()
	l.PublishNumbers(lab.Topic, 3)
	lab.ExpectEnd[*sfstream.AuthError](l)
	l.Pass(time.Hour)
	if n := l.Logins() - logins; n != 1 {
		t.Errorf("%d logins more", n)
	}
	leave(l)
}

func missingAuthHeader(t *testing.T) {
	l := lab.NewStreaming(t)
	var strip atomic.Int32
	var naked atomic.Int32
	w := &wire{request: func(r *http.Request) {
		if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
			naked.Add(1)
		}
		if strip.Add(-1) == 0 {
			r.Header.Del("Authorization")
		}
	}}
	strip.Store(1) // the handshake
	l.FollowTopic(through(l, w))
	l.PublishNumbers(lab.Topic, 1)
	l.Expect(1)
	l.ExpectCounts(2, 2)
	strip.Store(1) // the connect after the next event
	l.PublishNumbers(lab.Topic, 2)
	l.Expect(2)
	l.PublishNumbers(lab.Topic, 3)
	l.Expect(3)
	l.ExpectCounts(3, 3)
	if n := naked.Load(); n > 0 {
		t.Errorf("%d requests without a token", n)
	}
	finish(l, lab.Topic)
}

func busy503Disguised(t *testing.T) {
	l := lab.NewStreaming(t)
	l.FollowTopic(lab.Doubling())
	l.Busy503As401(3)
	l.PublishNumbers(lab.Topic, 1)
	l.Expect(1)
	l.Pass(time.Minute)
	l.ExpectCounts(4, 1)
	if waits := waits(l, "handshake", 1); !slices.Equal(waits, []time.Duration{2 * time.Second, 4 * time.Second}) {
		t.Errorf("handshakes after %v", waits)
	}
	l.FailCometD(sfstreamtest.CometDFault{
		Kind: "handshake", Times: 2, Error: "403::Handshake denied", FailureReason: "503::Server is too busy. Please try your request again later.",
	})
	l.DropConnections()
	l.PublishNumbers(lab.Topic, 2)
	l.Expect(2)
	l.ExpectCounts(7, 1)
	awaitForgotten(l)
	finish(l, lab.Topic)
}

func instanceMoved(t *testing.T) {
	l := lab.NewStreaming(t)
	var mu sync.Mutex
	var hosts []string
	cookies := make(map[string]string) // by host: those of the first request
	w := &wire{request: func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if host := r.URL.Hostname(); !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
			cookies[host] = r.Header.Get("Cookie")
		}
	}}
	l.FollowTopic(through(l, w))
	l.PublishNumbers(lab.Topic, 1)
	l.Expect(1)
	l.MoveInstance()
	l.PublishNumbers(lab.Topic, 2, 3)
	l.Expect(2, 3)
	l.ExpectCounts(2, 2)
	mu.Lock()
	if len(hosts) != 2 {
		t.Errorf("requests went to %v", hosts)
	}
	for host, sent := range cookies {
		if sent != "" {
			t.Errorf("the first request to %s has the cookies %s", host, sent)
		}
	}
	mu.Unlock()
	finish(l, lab.Topic)
}
