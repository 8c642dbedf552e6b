package sfstream_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// pubsubLogins are about tokens that are refused and logins that fail.
func pubsubLogins() []scenario {
	return []scenario{
		{name: "01_bad_token_at_first_recv", run: badTokenAtFirstRecv},
		{name: "02_token_revoked_on_20_streams", run: tokenRevokedOn20Streams},
		{name: "03_reauth_keeps_failing", run: reauthKeepsFailing},
		{name: "04_malformed_headers", run: malformedHeaders},
		{name: "50_login_flows_and_errors", run: loginFlowsAndErrors},
		{name: "51_rotated_refresh_token_reused", run: rotatedTokenReused},
		{name: "54_instance_moved", run: instanceMovedStream},
	}
}

// badTokenAtFirstRecv: the call is accepted, and only what is received first says
// that the token is bad. By then Subscribe has returned.
func badTokenAtFirstRecv(t *testing.T) {
	l := newLab(t)
	l.publish(0)
	l.pass(2 * time.Hour)
	l.Reject(labOrders, 1, "service.auth.error")
	l.follow() // with what is new from now on, however often it takes
	first := l.publish(1, 2)
	l.expect(1, 2)
	l.expectCalls(2, 2)

	l.Reject(labOrders, 1, "service.auth.error")
	l.EndStreams(labOrders, "UNAVAILABLE")
	l.publish(3)
	l.expect(3)
	l.expectCalls(4, 3)
	again := after(first[1].ReplayID)
	l.expectPositions(labOrders, latest, earliest, again, again)
	l.finishStream(labOrders)

	// A token that is bad before anything was asked for.
	l.start()
	l.ExpireToken()
	l.subscribe(labOrders)
	l.publish(4)
	l.expect(4)
	l.expectCalls(5, 5)
	l.finishStream(labOrders)
}

func tokenRevokedOn20Streams(t *testing.T) {
	l := newLab(t)
	l.start()
	var channels []string
	for i := range 20 {
		name := fmt.Sprintf("Lab%d__e", i)
		channels = append(channels, "/event/"+name)
		l.must(l.DefineEvent(channels[i], labSchema(name)))
		l.subscribe(channels[i])
	}
	for round := range 3 {
		want := make(map[string][]int)
		for _, channel := range channels {
			l.publishOn(channel, 10*round)
		}
		l.ExpireToken()
		l.EndStreams("", "service.auth.error")
		for _, channel := range channels {
			l.publishOn(channel, 10*round+1, 10*round+2)
			want[channel] = []int{10 * round, 10*round + 1, 10*round + 2}
		}
		l.expectEach(want)
		if n := l.Logins(); n != round+2 {
			t.Errorf("%d logins after %d tokens", n, round+1)
		}
		for _, channel := range channels {
			if n := len(l.Subscribes(channel)); n != round+2 {
				t.Errorf("%s: %d Subscribe calls after %d tokens", channel, n, round+1)
			}
		}
	}
	l.finishStream(channels[19])
}

func reauthKeepsFailing(t *testing.T) {
	l := newLab(t)
	l.follow()
	l.publish(1)
	l.expect(1)
	l.LockUser()
	l.ExpireToken()
	l.EndStreams("", "service.auth.error")
	l.publish(2)
	e := expectEnd[*sfstream.AuthError](l)
	if a := expectError[*authenticator.Error](t, e); a.Code != "invalid_grant" {
		t.Errorf("%+v", a)
	}
	l.pass(time.Hour)
	l.expectCalls(1, 2) // a login that was judged is not repeated: that locks users out
	l.closeStreams()

	// The program is started again once the administrator has helped.
	l.ClearFaults()
	l.follow()
	l.expect(2)

	// Each login succeeds, and no token is any good.
	subscribes, logins := len(l.Subscribes(labOrders)), l.Logins()
	l.Reject(labOrders, -1, "service.auth.error")
	l.EndStreams("", "service.auth.error")
	expectEnd[*sfstream.AuthError](l)
	l.pass(time.Hour)
	if n := l.Logins() - logins; n > 5 {
		t.Errorf("%d logins", n)
	}
	if n := len(l.Subscribes(labOrders)) - subscribes; n > 6 {
		t.Errorf("%d Subscribe calls", n)
	}
	l.closeStreams()
	l.ClearFaults()
	l.follow()
	l.finishStream(labOrders)
}

// malformedHeaders: credentials that are another org's are a token that is refused
// and again refused; malformed ones are no token's fault.
func malformedHeaders(t *testing.T) {
	for _, test := range []struct {
		what   string
		change func(*authenticator.Credentials)
		code   sfstream.Code
		logins int // at most
	}{
		{"another org", func(c *authenticator.Credentials) { c.OrgID = "00D000000000002EAA" }, sfstream.Unauthenticated, 6},
		{"another instance", func(c *authenticator.Credentials) { c.InstanceURL = "https://other.my.salesforce.com" }, sfstream.Unauthenticated, 6},
		{"no org id", func(c *authenticator.Credentials) { c.OrgID = "acme" }, sfstream.Invalid, 1},
		{"instance URL with a path", func(c *authenticator.Credentials) { c.InstanceURL += "/services" }, sfstream.Invalid, 1},
	} {
		l := newLab(t)
		c, err := sfstream.New(credentialsOf(l.Authenticator(), test.change), sfstream.WithOrg(l), sfstream.WithReplayStore(l.store))
		l.must(err)
		l.must(c.Open(t.Context()))
		err = c.Subscribe(t.Context(), labOrders)
		if e := expectError[*sfstream.ServerError](t, err); e.Code != test.code || !strings.HasPrefix(e.Reason, "sfdc.platform.eventbus.grpc.service.auth.") {
			t.Errorf("%s: %+v", test.what, e)
		}
		l.pass(time.Hour)
		if n := l.Logins(); n > test.logins {
			t.Errorf("%s: %d logins", test.what, n)
		}
		if n := len(l.Subscribes(labOrders)); n != 0 {
			t.Errorf("%s: %d Subscribe calls", test.what, n)
		}
		l.must(c.Err()) // it ends nothing
		l.must(c.Close())
	}

	// A header that gets lost on the way.
	l := newLab(t)
	lose := ""
	l.follow(grpcWire{open: func(ctx context.Context) context.Context {
		md, _ := metadata.FromOutgoingContext(ctx)
		md.Delete(lose)
		return metadata.NewOutgoingContext(ctx, md)
	}}.option())
	l.publish(1)
	l.expect(1)
	lose = "tenantid"
	l.EndStreams("", "UNAVAILABLE")
	l.publish(2)
	if e := expectEnd[*sfstream.ServerError](l); e.Code != sfstream.Invalid {
		t.Errorf("%+v", e)
	}
	l.pass(time.Hour)
	l.expectCalls(1, 1)
	l.closeStreams()
	l.follow()
	l.expect(2)
	l.finishStream(labOrders)
}

// loginFlowsAndErrors: what ends a client and what is only retried, for a client that
// needs a new token while it follows a channel.
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
			l := newLab(t, sfstreamtest.WithRefreshRotation())
			c, err := sfstream.New(auth(l.Account()), sfstream.WithOrg(l), sfstream.WithReplayStore(l.store))
			l.must(err)
			l.client = c
			l.must(c.Open(t.Context()))
			l.subscribe(labOrders)
			l.publish(1)
			l.expect(1)
			l.FailLogin(2, kind)
			l.ExpireToken()
			l.EndStreams("", "service.auth.error")
			l.publish(2, 3)
			if slices.Contains(temporary, kind) {
				within(t, 2*time.Minute, func() { l.expect(2, 3) })
				l.expectCalls(2, 4)
				l.finishStream(labOrders)
				continue
			}
			expectEnd[*sfstream.AuthError](l)
			l.pass(time.Hour)
			l.expectCalls(1, 2)
			l.closeStreams()
		}
	}
}

// rotatedTokenReused: somebody uses a refresh token that was rotated away. Salesforce
// takes it for a theft and revokes all there is.
func rotatedTokenReused(t *testing.T) {
	l := newLab(t, sfstreamtest.WithRefreshRotation())
	a := l.Account()
	refresh := func(token string) *authenticator.RefreshToken {
		return &authenticator.RefreshToken{ConsumerKey: a.ConsumerKey, ConsumerSecret: a.ConsumerSecret, RefreshToken: token}
	}
	c, err := sfstream.New(refresh(a.RefreshToken), sfstream.WithOrg(l), sfstream.WithReplayStore(l.store))
	l.must(err)
	l.client = c
	l.must(c.Open(t.Context()))
	l.subscribe(labOrders)
	for n := range 3 { // each login uses the token of the one before
		l.ExpireToken()
		l.EndStreams("", "service.auth.error")
		l.publish(n)
		l.expect(n)
		l.expectCalls(n+2, n+2)
	}
	if _, err := refresh(a.RefreshToken).Authenticate(t.Context(), authenticator.Login{URL: l.LoginURL(), HTTPClient: l.HTTPClient()}); err == nil {
		t.Fatal("a refresh token that was rotated away is taken")
	}
	l.EndStreams("", "UNAVAILABLE")
	l.publish(3)
	e := expectEnd[*sfstream.AuthError](l)
	if a := expectError[*authenticator.Error](t, e); a.Code != "invalid_grant" {
		t.Errorf("%+v", a)
	}
	l.pass(time.Hour)
	l.expectCalls(4, 6)
	l.closeStreams()
	l.follow() // with a password
	l.expect(3)
	l.finishStream(labOrders)
}

// instanceMovedStream: the org is elsewhere after a login. An address that was kept
// would have the new token refused.
func instanceMovedStream(t *testing.T) {
	l := newLab(t)
	var mu sync.Mutex
	var instances []string
	l.follow(grpcWire{open: func(ctx context.Context) context.Context {
		md, _ := metadata.FromOutgoingContext(ctx)
		mu.Lock()
		defer mu.Unlock()
		instances = append(instances, md.Get("instanceurl")...)
		return ctx
	}}.option())
	last := l.publish(1)[0]
	l.expect(1)
	for moves := range 2 {
		l.MoveInstance()
		l.EndStreams("", "service.auth.error")
		next := l.publish(2, 3)
		l.expect(2, 3)
		l.expectSubscribe(labOrders, "CUSTOM", last.ReplayID)
		l.expectCalls(moves+2, moves+2)
		last = next[1]
	}
	home, away := l.LoginURL(), strings.Replace(l.LoginURL(), "127.0.0.1", "localhost", 1)
	mu.Lock()
	if want := []string{home, away, home}; !slices.Equal(instances, want) {
		t.Errorf("the streams named the instances %q, want %q", instances, want)
	}
	mu.Unlock()
	l.finishStream(labOrders)
}
