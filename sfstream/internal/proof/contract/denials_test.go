package contract

import (
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// denialRules are what is refused: tokens, which a new login may cure, and channels, which it may
// not.
func denialRules() []rule {
	rules := []rule{
		{number: 10, words: "a wrong password on reconnect ends with an AuthError, after one login", run: wrongPassword},
		{number: 10, words: "tokens that are refused one after the other end with an AuthError, after few logins", run: tokensRefused},
		{number: 10, words: "a stream that delivers and then refuses the token costs few logins", run: refusedAfterDelivery},
		{number: 10, words: "permissions that go and come back cost no budget of refused tokens", run: permissionsComeBack},
		// Pub/Sub API only: CometD has no such error.
		{number: 10, words: "a malformed header ends at once: no token cures it", run: malformedHeader, only: sfstream.PubSub},
		{number: 10, words: "time in which other trouble kept it from asking does not make a denial final", run: timeWithoutAnswer},
	}
	denied := rule{number: 10, words: "an accepted channel that is answered %s is tried for ten minutes, with one login"}
	rules = append(rules, each(denied, []string{
		"subscription.topic.cannot.subscribe", "topic.not.found", "topic.meta.permission", "service.tenant.license",
	}, deniedForTenMinutes)...)
	denied.only = sfstream.PubSub // gRPC statuses
	return append(rules, each(denied, []string{"UNIMPLEMENTED", "PERMISSION_DENIED", "NOT_FOUND"}, deniedForTenMinutes)...)
}

func wrongPassword(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.PublishOrders(1)
	l.Expect(1)
	l.FailLogin(-1, "invalid_grant")
	l.ExpireToken()
	l.EndStreams("", "service.auth.error")
	e := lab.ExpectEnd[*sfstream.AuthError](l)
	lab.Contains(t, e.Error(), lab.Orders, l.LoginURL(), "check username, password")
	expectLogins(l, 2)
}

func tokensRefused(t *testing.T) {
	l := lab.New(t)
	l.Start()
	subscribeMany(l, 20)
	l.Reject("", -1, "service.auth.error")
	l.EndStreams("", "service.auth.error")
	lab.ExpectEnd[*sfstream.AuthError](l)
	if n := l.Logins(); n > 7 {
		t.Errorf("%d logins", n)
	}
}

func refusedAfterDelivery(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	for n := range 60 {
		l.PublishOrders(n)
		l.Pass(10 * time.Second)
		l.EndStreams("", "service.auth.error")
		l.Pass(10 * time.Second)
	}
	if n := l.Logins(); n > 15 {
		t.Errorf("%d logins in 20 minutes", n)
	}
	if err := l.Client.Err(); err != nil {
		lab.ExpectError[*sfstream.AuthError](t, err)
	}
}

func permissionsComeBack(t *testing.T) {
	l := lab.New(t)
	l.Start()
	channels := subscribeMany(l, 8)
	for _, channel := range channels {
		l.Revoke(channel)
		l.Pass(31 * time.Second)
		l.Grant(channel)
		l.DropConnections() // from now on all use the newest token
		l.Pass(10 * time.Second)
	}
	l.ExpireToken()
	l.EndStreams("", "service.auth.error")
	for _, channel := range channels {
		l.ExpectStillWorks(channel)
	}
}

func malformedHeader(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.Reject(lab.Orders, 1, "service.auth.headers.invalid")
	l.EndStreams("", "UNAVAILABLE")
	if e := lab.ExpectEnd[*sfstream.ServerError](l); e.Code != sfstream.Invalid {
		t.Errorf("%+v", e)
	}
}

func timeWithoutAnswer(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.PublishOrders(1)
	l.Expect(1)
	l.Reject(lab.Orders, 2, "topic.meta.permission")
	l.EndStreams(lab.Orders, "UNAVAILABLE")
	l.Pass(10 * time.Second) // denied, also after a new login
	l.Reject(lab.Orders, 1, "subscription.limit.exceeded")
	l.Pass(5 * time.Minute)
	l.Reject(lab.Orders, 1, "topic.meta.permission") // the first answer after the limit
	l.PublishOrders(2)
	l.Pass(10 * time.Minute)
	l.Must(l.Client.Err())
	l.Expect(2)
}

func deniedForTenMinutes(t *testing.T, code string) {
	l := lab.New(t)
	l.Follow()
	l.PublishOrders(1)
	l.Expect(1)
	l.Reject(lab.Orders, -1, code)
	l.EndStreams(lab.Orders, "UNAVAILABLE")
	l.PublishOrders(2)
	l.Pass(9 * time.Minute)
	l.Must(l.Client.Err())
	l.ClearFaults()
	l.Expect(2) // it came back

	began, logins := time.Now(), l.Logins()
	l.Reject(lab.Orders, -1, code)
	l.EndStreams(lab.Orders, code)
	e := lab.ExpectEnd[*sfstream.ServerError](l)
	if e.Code != sfstream.PermissionDenied && e.Code != sfstream.NotFound || e.Channel != lab.Orders {
		t.Errorf("%+v", e)
	}
	if took := time.Since(began); took < 10*time.Minute || took > 11*time.Minute {
		t.Errorf("it took %v", took)
	}
	if n := l.Logins() - logins; n != 1 {
		t.Errorf("%d logins", n)
	}
}
