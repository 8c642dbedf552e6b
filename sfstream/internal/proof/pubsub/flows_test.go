package pubsub

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// pubsubFlows is about the logins themselves, of a client that follows a channel.
func pubsubFlows() []scenario {
	return []scenario{
		{name: "login_flows_and_errors", run: loginFlowsAndErrors},
		{name: "rotated_refresh_token_reused", run: rotatedTokenReused},
		{name: "instance_moved", run: instanceMovedStream},
	}
}

// loginFlowsAndErrors: what ends a client and what is only retried, for a client that needs a new
// token while it follows a channel.
func loginFlowsAndErrors(t *testing.T) {
	flows := map[string]func(a sfstreamtest.Account) authenticator.Authenticator{
		"password": func(a sfstreamtest.Account) authenticator.Authenticator {
			return authenticator.Password{
				ConsumerKey: a.ConsumerKey, ConsumerSecret: a.ConsumerSecret,
				Username: a.Username, Password: a.Password, SecurityToken: a.SecurityToken,
			}
		},
		"refresh": func(a sfstreamtest.Account) authenticator.Authenticator {
			return &authenticator.RefreshToken{ConsumerKey: a.ConsumerKey, ConsumerSecret: a.ConsumerSecret, RefreshToken: a.RefreshToken}
		},
	}
	temporary := []string{"503", "html", "empty", "timeout", "redirect", "rate_limit_exceeded", "unknown_error"}
	permanent := []string{
		"invalid_grant", "invalid_grant/expired access/refresh token", "invalid_grant/user hasn't approved this consumer",
		"invalid_grant/user is locked", "invalid_grant/ip restricted", "invalid_client", "invalid_client_id", "invalid_client_credentials",
		"unsupported_grant_type", "invalid_request", "invalid_scope", "invalid_app_access", "inactive_user", "inactive_org",
	}
	for flow, auth := range flows {
		for _, kind := range slices.Concat(temporary, permanent) {
			t.Logf("%s: %s", flow, kind) // says where a failure below was
			l := lab.New(t, sfstreamtest.WithRefreshRotation())
			c, err := sfstream.New(auth(l.Account()), sfstream.WithOrg(l), sfstream.WithReplayStore(l.Store))
			l.Must(err)
			l.Client = c
			l.Must(c.Open(t.Context()))
			l.Subscribe(lab.Orders)
			l.PublishOrders(1)
			l.Expect(1)
			l.FailLogin(2, kind)
			l.ExpireToken()
			endStreams(l, "", "service.auth.error")
			l.PublishOrders(2, 3)
			if slices.Contains(temporary, kind) {
				lab.Within(t, 3*time.Minute, func() { l.Expect(2, 3) }) // two logins of a minute each
				expectCalls(l, 2, 4)
				finishStream(l, lab.Orders)
				continue
			}
			lab.ExpectEnd[*sfstream.AuthError](l)
			l.Pass(time.Hour)
			expectCalls(l, 1, 2)
			closeStreams(l)
		}
	}
}

// rotatedTokenReused: somebody uses a refresh token that was rotated away. Salesforce takes it for
// a theft and revokes all there is.
func rotatedTokenReused(t *testing.T) {
	l := lab.New(t, sfstreamtest.WithRefreshRotation())
	a := l.Account()
	refresh := func(token string) *authenticator.RefreshToken {
		return &authenticator.RefreshToken{ConsumerKey: a.ConsumerKey, ConsumerSecret: a.ConsumerSecret, RefreshToken: token}
	}
	c, err := sfstream.New(refresh(a.RefreshToken), sfstream.WithOrg(l), sfstream.WithReplayStore(l.Store))
	l.Must(err)
	l.Client = c
	l.Must(c.Open(t.Context()))
	l.Subscribe(lab.Orders)
	for n := range 3 { // each login uses the token of the one before
		l.ExpireToken()
		endStreams(l, "", "service.auth.error")
		l.PublishOrders(n)
		l.Expect(n)
		expectCalls(l, n+2, n+2)
	}
	if _, err := refresh(a.RefreshToken).Authenticate(t.Context(), authenticator.Login{URL: l.LoginURL(), HTTPClient: l.HTTPClient()}); err == nil {
		t.Fatal("a refresh token that was rotated away is taken")
	}
	endStreams(l, "", "UNAVAILABLE")
	l.PublishOrders(3)
	e := lab.ExpectEnd[*sfstream.AuthError](l)
	if a := lab.ExpectError[*authenticator.Error](t, e); a.Code != "invalid_grant" {
		t.Errorf("%+v", a)
	}
	l.Pass(time.Hour)
	expectCalls(l, 4, 6)
	closeStreams(l)
	l.Follow() // with a password
	l.Expect(3)
	finishStream(l, lab.Orders)
}

// instanceMovedStream: the org is elsewhere after a login. An address that was kept would have the
// new token refused.
func instanceMovedStream(t *testing.T) {
	l := lab.New(t)
	var mu sync.Mutex
	var instances []string
	l.Follow(grpcWire{open: func(ctx context.Context) context.Context {
		md, _ := metadata.FromOutgoingContext(ctx)
		mu.Lock()
		defer mu.Unlock()
		instances = append(instances, md.Get("instanceurl")...)
		return ctx
	}}.option())
	last := l.PublishOrders(1)[0]
	l.Expect(1)
	for moves := range 2 {
		l.MoveInstance()
		endStreams(l, "", "service.auth.error")
		next := l.PublishOrders(2, 3)
		l.Expect(2, 3)
		l.ExpectSubscribe(lab.Orders, "CUSTOM", last.ReplayID)
		expectCalls(l, moves+2, moves+2)
		last = next[1]
	}
	home, away := l.LoginURL(), strings.Replace(l.LoginURL(), "127.0.0.1", "localhost", 1)
	mu.Lock()
	if want := []string{home, away, home}; !slices.Equal(instances, want) {
		t.Errorf("the streams named the instances %q, want %q", instances, want)
	}
	mu.Unlock()
	finishStream(l, lab.Orders)
}
