package sfstream_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
)

// contractLogin are the rules that keep accounts from being locked.
func contractLogin() []rule {
	return []rule{
		{number: 10, words: "channels pause together while logins fail", run: loginPause},
		{number: 10, words: "logins that are refused for now stay within the budget, and end nothing", run: loginBudget},
		{number: 10, words: "WithLoginBudget sets how many tokens may be refused", run: tokenBudget},
		{number: 10, words: "Open and Subscribe spend the budget too", run: loginBudgetOfCalls},
		{number: 10, words: "old tokens of streams that live on are no failed logins", run: oldTokens, pubsubOnly: true},
		{number: 10, words: "a login of another org ends the client", run: otherOrg},
	}
}

func loginPause(t *testing.T) {
	l := newLab(t)
	l.start()
	const channels = 20
	for i := range channels {
		l.must(l.DefineEvent(manyChannel(i), labSchema("Many__e")))
		l.must(l.client.Subscribe(t.Context(), manyChannel(i)))
	}
	l.pass(time.Minute)
	logins := l.Logins()
	l.FailLogin(-1, "503")
	l.ExpireToken()
	l.DropConnections()
	l.pass(10 * time.Minute)
	// One policy of doubling waits up to a minute, whose waits are 30 s on average:
	// not one for each channel.
	if n := l.Logins() - logins; n < 5 || n > 60 {
		t.Errorf("%d logins", n)
	}
	l.ClearFaults()
	l.pass(3 * time.Minute)
	for i := range channels {
		l.publishOn(manyChannel(i), i)
		l.expect(i)
	}
}

func loginBudget(t *testing.T) {
	l := newLab(t)
	l.follow(doubling(), sfstream.WithLoginBudget(3, 20*time.Minute))
	logins := l.Logins()
	l.FailLogin(-1, "unknown_error/retry your request")
	l.ExpireToken()
	l.DropConnections()
	l.publish(1)
	l.pass(19 * time.Minute)
	if n := l.Logins() - logins; n != 3 {
		t.Errorf("%d logins in 19 minutes, want 3", n)
	}
	l.pass(20 * time.Minute)
	if n := l.Logins() - logins; n != 6 {
		t.Errorf("%d logins in 39 minutes, want 6", n)
	}
	l.ClearFaults()
	within(t, 21*time.Minute, func() { l.expect(1) })
	l.expectStillWorks(labOrders)
}

func tokenBudget(t *testing.T) {
	l := newLab(t)
	l.follow(sfstream.WithLoginBudget(2, time.Hour))
	logins := l.Logins()
	auth := "service.auth.error"
	l.Reject(labOrders, -1, auth)
	l.DropConnections()
	l.publish(1)
	e := expectEnd[*sfstream.AuthError](l)
	contains(t, e.Error(), labOrders, "2 logins within 1h0m0s")
	if n := l.Logins() - logins; n < 2 || n > 3 {
		t.Errorf("%d logins", n)
	}
}

// loginBudgetOfCalls: a program that calls Open in a loop with a wrong password.
func loginBudgetOfCalls(t *testing.T) {
	l := newLab(t)
	l.FailLogin(-1, "invalid_grant/authentication failure")
	c := l.new()
	for range 50 {
		expectError[*sfstream.AuthError](t, c.Open(t.Context()))
		l.pass(time.Second)
	}
	if n := l.Logins(); n != 5 {
		t.Errorf("%d logins, want 5", n)
	}
	l.ClearFaults()
	l.pass(10 * time.Minute)
	l.must(c.Open(t.Context()))
	l.must(c.Close())
}

// oldTokens: sessions end in the course of days, and streams live on until a
// release ends them all.
func oldTokens(t *testing.T) {
	s := newScene(t)
	c := s.client()
	const channels = 6
	for i := range channels {
		s.define(manyChannel(i))
		must(t, c.Subscribe(t.Context(), manyChannel(i)))
	}
	for i := range channels - 1 {
		<-time.After(24 * time.Hour)
		s.ExpireToken()
		s.EndStreams(manyChannel(i), "") // one of them is opened anew
	}
	<-time.After(24 * time.Hour)
	logins := s.Logins()
	s.ExpireToken()
	s.EndStreams("", "service.auth.error")
	<-time.After(time.Minute)
	must(t, c.Err())
	if n, streams := s.Logins()-logins, s.Streams(""); n != 1 || streams != channels {
		t.Errorf("%d logins, %d streams", n, streams)
	}
	s.publish(manyChannel(0), 1)
	nextIs(t, c, "1")
}

func otherOrg(t *testing.T) {
	l := newLab(t)
	logins := 0
	auth := credentialsOf(l.Authenticator(), func(c *authenticator.Credentials) {
		if logins++; logins > 1 {
			c.OrgID = fmt.Sprintf("00D%012dAAA", logins)
		}
	})
	c, err := sfstream.New(auth, sfstream.WithOrg(l), sfstream.WithTransport(transportOf(t)))
	l.must(err)
	l.client = c
	l.must(c.Open(t.Context()))
	l.subscribe(labOrders)
	l.ExpireToken()
	l.DropConnections()
	e := expectEnd[*sfstream.AuthError](l)
	contains(t, e.Error(), "another org")
	_ = c.Close() // says the same
}
