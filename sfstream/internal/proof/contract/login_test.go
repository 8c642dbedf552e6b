package contract

import (
	"fmt"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// loginRules are the rules that keep accounts from being locked.
func loginRules() []rule {
	return []rule{
		{number: 10, words: "channels pause together while logins fail", run: loginPause},
		{number: 10, words: "logins that are refused for now stay within the budget, and end nothing", run: loginBudget},
		{number: 10, words: "WithLoginBudget sets how many tokens may be refused", run: tokenBudget},
		{number: 10, words: "Open and Subscribe spend the budget too", run: loginBudgetOfCalls},
		{number: 10, words: "old tokens of streams that live on are no failed logins", run: oldTokens, only: sfstream.PubSub},
		{number: 10, words: "a login of another org ends the client", run: otherOrg},
	}
}

func loginPause(t *testing.T) {
	l := lab.New(t)
	l.Start()
	channels := subscribeMany(l, 20)
	l.Pass(time.Minute)
	logins := l.Logins()
	l.FailLogin(-1, "503")
	l.ExpireToken()
	l.DropConnections()
	l.Pass(10 * time.Minute)
	// One policy of doubling waits up to a minute, whose waits are 30 s on average: not one for
	// each channel.
	if n := l.Logins() - logins; n < 5 || n > 60 {
		t.Errorf("%d logins", n)
	}
	l.ClearFaults()
	l.Pass(3 * time.Minute)
	for i, channel := range channels {
		l.PublishNumbers(channel, i)
		l.Expect(i)
	}
}

func loginBudget(t *testing.T) {
	l := lab.New(t)
	l.Follow(lab.Doubling(), sfstream.WithLoginBudget(3, 20*time.Minute))
	logins := l.Logins()
	l.FailLogin(-1, "unknown_error/retry your request")
	l.ExpireToken()
	l.DropConnections()
	l.PublishOrders(1)
	l.Pass(19 * time.Minute)
	if n := l.Logins() - logins; n != 3 {
		t.Errorf("%d logins in 19 minutes, want 3", n)
	}
	l.Pass(20 * time.Minute)
	if n := l.Logins() - logins; n != 6 {
		t.Errorf("%d logins in 39 minutes, want 6", n)
	}
	l.ClearFaults()
	lab.Within(t, 21*time.Minute, func() { l.Expect(1) })
	l.ExpectStillWorks(lab.Orders)
}

func tokenBudget(t *testing.T) {
	l := lab.New(t)
	l.Follow(sfstream.WithLoginBudget(2, time.Hour))
	logins := l.Logins()
	auth := "service.auth.error"
	l.Reject(lab.Orders, -1, auth)
	l.DropConnections()
	l.PublishOrders(1)
	e := lab.ExpectEnd[*sfstream.AuthError](l)
	lab.Contains(t, e.Error(), lab.Orders, "2 logins within 1h0m0s")
	if n := l.Logins() - logins; n < 2 || n > 3 {
		t.Errorf("%d logins", n)
	}
}

// loginBudgetOfCalls: a program that calls Open in a loop with a wrong password.
func loginBudgetOfCalls(t *testing.T) {
	l := lab.New(t)
	l.FailLogin(-1, "invalid_grant/authentication failure")
	c := l.NewClient()
	for range 50 {
		lab.ExpectError[*sfstream.AuthError](t, c.Open(t.Context()))
		l.Pass(time.Second)
	}
	expectLogins(l, 5)
	l.ClearFaults()
	l.Pass(10 * time.Minute)
	l.Must(c.Open(t.Context()))
	l.Must(c.Close())
}

// oldTokens: sessions end in the course of days, and streams live on until a release ends them all.
func oldTokens(t *testing.T) {
	s := lab.New(t)
	c := s.StartFromOldest()
	var channels []string
	for i := range 6 {
		channel := fmt.Sprintf("/event/Channel%d__e", i)
		s.Define(channel)
		lab.Must(t, c.Subscribe(t.Context(), channel))
		channels = append(channels, channel)
	}
	for _, channel := range channels[:len(channels)-1] {
		<-time.After(24 * time.Hour)
		s.ExpireToken()
		s.EndStreams(channel, "") // one of them is opened anew
	}
	<-time.After(24 * time.Hour)
	logins := s.Logins()
	s.ExpireToken()
	s.EndStreams("", "service.auth.error")
	<-time.After(time.Minute)
	lab.Must(t, c.Err())
	if n, streams := s.Logins()-logins, s.Streams(""); n != 1 || streams != len(channels) {
		t.Errorf("%d logins, %d streams", n, streams)
	}
	s.PublishNext(channels[0], 1)
	lab.ExpectID(t, c, "1")
}

func otherOrg(t *testing.T) {
	l := lab.New(t)
	logins := 0
	auth := lab.CredentialsOf(l.Authenticator(), func(c *authenticator.Credentials) {
		if logins++; logins > 1 {
			c.OrgID = fmt.Sprintf("00D%012dAAA", logins)
		}
	})
	c, err := sfstream.New(auth, sfstream.WithOrg(l), sfstream.WithTransport(lab.TransportOf(t)))
	l.Must(err)
	l.Client = c
	l.Must(c.Open(t.Context()))
	l.Subscribe(lab.Orders)
	l.ExpireToken()
	l.DropConnections()
	e := lab.ExpectEnd[*sfstream.AuthError](l)
	lab.Contains(t, e.Error(), "another org")
	_ = c.Close() // says the same
}
