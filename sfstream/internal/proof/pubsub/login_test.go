package pubsub

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
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// pubsubLogins is about tokens that are refused, and other headers.
func pubsubLogins() []scenario {
	return []scenario{
		{name: "bad_token_at_first_recv", run: badTokenAtFirstRecv},
		{name: "token_revoked_on_20_streams", run: tokenRevokedOn20Streams},
		{name: "reauth_keeps_failing", run: reauthKeepsFailing},
		{name: "malformed_headers", run: malformedHeaders},
	}
}

// badTokenAtFirstRecv: the call is accepted, and only what is received first says that the token is
// bad. By then Subscribe has returned.
func badTokenAtFirstRecv(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(0)
	l.Pass(2 * time.Hour)
	l.Reject(lab.Orders, 1, "service.auth.error")
	l.Follow() // with what is new from now on, however often it takes
	first := l.PublishOrders(1, 2)
	l.Expect(1, 2)
	expectCalls(l, 2, 2)

	l.Reject(lab.Orders, 1, "service.auth.error")
	endStreams(l, lab.Orders, "UNAVAILABLE")
	l.PublishOrders(3)
	l.Expect(3)
	expectCalls(l, 4, 3)
	again := after(first[1].ReplayID)
	expectPositions(l, lab.Orders, latest, earliest, again, again)
	finishStream(l, lab.Orders)

	// A token that is bad before anything was asked for.
	l.Start()
	l.ExpireToken()
	l.Subscribe(lab.Orders)
	l.PublishOrders(4)
	l.Expect(4)
	expectCalls(l, 5, 5)
	finishStream(l, lab.Orders)
}

func tokenRevokedOn20Streams(t *testing.T) {
	l := lab.New(t)
	l.Start()
	var channels []string
	for i := range 20 {
		name := fmt.Sprintf("Lab%d__e", i)
		channels = append(channels, "/event/"+name)
		l.Must(l.DefineEvent(channels[i], lab.Schema(name)))
		l.Subscribe(channels[i])
	}
	for round := range 3 {
		want := make(map[string][]int)
		for _, channel := range channels {
			l.PublishNumbers(channel, 10*round)
		}
		synctest.Wait()
		l.ExpireToken()
		l.EndStreams("", "service.auth.error")
		for _, channel := range channels { // while the streams end
			l.PublishNumbers(channel, 10*round+1, 10*round+2)
			want[channel] = []int{10 * round, 10*round + 1, 10*round + 2}
		}
		l.ExpectEach(want)
		if n := l.Logins(); n != round+2 {
			t.Errorf("%d logins after %d tokens", n, round+1)
		}
		for _, channel := range channels {
			if n := len(l.Subscribes(channel)); n != round+2 {
				t.Errorf("%s: %d Subscribe calls after %d tokens", channel, n, round+1)
			}
		}
	}
	finishStream(l, channels[19])
}

func reauthKeepsFailing(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.PublishOrders(1)
	l.Expect(1)
	l.LockUser()
	l.ExpireToken()
	endStreams(l, "", "service.auth.error")
	l.PublishOrders(2)
	e := lab.ExpectEnd[*sfstream.AuthError](l)
	if a := lab.ExpectError[*authenticator.Error](t, e); a.Code != "invalid_grant" {
		t.Errorf("%+v", a)
	}
	l.Pass(time.Hour)
	expectCalls(l, 1, 2) // a login that was judged is not repeated: that locks users out
	closeStreams(l)

	// The program is started again once the administrator has helped.
	l.ClearFaults()
	l.Follow()
	l.Expect(2)

	// Each login succeeds, and no token is any good.
	subscribes, logins := len(l.Subscribes(lab.Orders)), l.Logins()
	l.Reject(lab.Orders, -1, "service.auth.error")
	endStreams(l, "", "service.auth.error")
	lab.ExpectEnd[*sfstream.AuthError](l)
	l.Pass(time.Hour)
	if n := l.Logins() - logins; n > 5 {
		t.Errorf("%d logins", n)
	}
	if n := len(l.Subscribes(lab.Orders)) - subscribes; n > 6 {
		t.Errorf("%d Subscribe calls", n)
	}
	closeStreams(l)
	l.ClearFaults()
	l.Follow()
	finishStream(l, lab.Orders)
}

// malformedHeaders: credentials that are another org's are a token that is refused and again
// refused. Malformed ones are refused at Open.
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
		l := lab.New(t)
		c, err := sfstream.New(lab.CredentialsOf(l.Authenticator(), test.change), sfstream.WithOrg(l), sfstream.WithReplayStore(l.Store))
		l.Must(err)
		l.Must(c.Open(t.Context()))
		err = c.Subscribe(t.Context(), lab.Orders)
		if e := lab.ExpectError[*sfstream.ServerError](t, err); e.Code != test.code || !strings.HasPrefix(e.Reason, "sfdc.platform.eventbus.grpc.service.auth.") {
			t.Errorf("%s: %+v", test.what, e)
		}
		l.Pass(time.Hour)
		if n := l.Logins(); n > test.logins {
			t.Errorf("%s: %d logins", test.what, n)
		}
		if n := len(l.Subscribes(lab.Orders)); n != 0 {
			t.Errorf("%s: %d Subscribe calls", test.what, n)
		}
		l.Must(c.Err()) // it ends nothing
		l.Must(c.Close())
	}

	// A header that gets lost on the way.
	l := lab.New(t)
	lose := ""
	l.Follow(grpcWire{open: func(ctx context.Context) context.Context {
		md, _ := metadata.FromOutgoingContext(ctx)
		md.Delete(lose)
		return metadata.NewOutgoingContext(ctx, md)
	}}.option())
	l.PublishOrders(1)
	l.Expect(1)
	lose = "tenantid"
	endStreams(l, "", "UNAVAILABLE")
	l.PublishOrders(2)
	if e := lab.ExpectEnd[*sfstream.ServerError](l); e.Code != sfstream.Invalid {
		t.Errorf("%+v", e)
	}
	l.Pass(time.Hour)
	expectCalls(l, 1, 1)
	closeStreams(l)
	l.Follow()
	l.Expect(2)
	finishStream(l, lab.Orders)
}
