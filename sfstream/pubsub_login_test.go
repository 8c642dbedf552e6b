package sfstream_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
)

// pubsubLogins is about tokens that are refused, and other headers.
func pubsubLogins() []scenario {
	return []scenario{
		{name: "01_bad_token_at_first_recv", run: badTokenAtFirstRecv},
		{name: "02_token_revoked_on_20_streams", run: tokenRevokedOn20Streams},
		{name: "03_reauth_keeps_failing", run: reauthKeepsFailing},
		{name: "04_malformed_headers", run: malformedHeaders},
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
	l.endStreams(labOrders, "UNAVAILABLE")
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
		synctest.Wait()
		l.ExpireToken()
		l.EndStreams("", "service.auth.error")
		for _, channel := range channels { // while the streams end
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
	l.endStreams("", "service.auth.error")
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
	l.endStreams("", "service.auth.error")
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
// and again refused. Malformed ones are refused at Open.
func malformedHeaders(t *testing.T) {
	for _, test := range []struct {
		what   string
		change func(*authenticator.Credentials)
		code   sfstream.Code
		logins int // at most
	}{
		{"another org", func(c *authenticator.Credentials) { c.OrgID = "00D000000000002EAA" }, sfstream.Unauthenticated, 6},
		{"another instance", func(c *authenticator.Credentials) { c.InstanceURL = "https://other.my.salesforce.com" }, sfstream.Unauthenticated, 6},
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
	l.endStreams("", "UNAVAILABLE")
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
