package contract

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"google.golang.org/grpc"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// endRules prove what ends what.
func endRules() []rule {
	rules := []rule{
		{number: 10, words: "a ctx ends its own loop, and a later loop goes on", run: ctxEndsOwnLoop},
		{number: 10, words: "the ctx of Open and Subscribe bounds the call only", run: ctxBoundsCallOnly},
		{number: 10, words: "a ctx that ends yields no error, also from MessagesErr", run: endedCtxIsNoError},
		{number: 10, words: "transient trouble shows in the status and the log and ends nothing", run: transientTrouble},
		{number: 10, words: "WithReconnectTimeout ends with a TimeoutError", run: reconnectTimeout},
		{number: 10, words: "outages shorter than WithReconnectTimeout end nothing, however many", run: shortOutages},
		{number: 10, words: "an outage of one channel ends the client after WithReconnectTimeout", run: outageOfOneChannel},
		{number: 10, words: "backoff.Stop ends with a TimeoutError", run: backOffStops},
		// Pub/Sub API only: a CometD session has one backoff.
		{number: 10, words: "a custom backoff is used, one per channel, and reset by progress", run: customBackOff, only: sfstream.PubSub},
		{number: 10, words: "the default backoff grows to a minute and no further", run: defaultBackOff},
		{number: 10, words: "a server that ends every stream at once is not stormed", run: everyStreamEnded},
		{number: 10, words: "what the server says about when to come back is heeded", run: limitHeeded},
		{number: 10, words: "a wrong password on reconnect ends with an AuthError, after one login", run: wrongPassword},
		{number: 10, words: "tokens that are refused one after the other end with an AuthError, after few logins", run: tokensRefused},
		{number: 10, words: "a stream that delivers and then refuses the token costs few logins", run: refusedAfterDelivery},
		{number: 10, words: "permissions that go and come back cost no budget of refused tokens", run: permissionsComeBack},
		// Pub/Sub API only: CometD has no such error.
		{number: 10, words: "a malformed header ends at once: no token cures it", run: malformedHeader, only: sfstream.PubSub},
		{number: 10, words: "OnSubscriptionError may drop just that channel", run: hookDropsChannel},
		{number: 10, words: "OnSubscriptionError that returns false changes nothing", run: hookKeepsChannel},
		{number: 10, words: "OnSubscriptionError hears nothing of transient trouble, nor of a refused Subscribe", run: hookHearsNothing},
		{number: 10, words: "a failed Subscribe leaves nothing, ends nothing and can be repeated", run: subscribeFails},
		{number: 10, words: "a failed Subscribe with From leaves the marker alone", run: subscribeFromFails},
		{number: 10, words: "Subscribe retries what passes for 30 seconds", run: subscribeRetries},
		{number: 10, words: "Subscribe ends with its ctx", run: subscribeEndsInRetries},
		{number: 10, words: "Subscribe retries a login that fails for a moment", run: subscribeRetriesLogin},
		{number: 10, words: "Subscribe with a token that expired logs in once", run: subscribeExpiredToken},
		{number: 10, words: "Subscribe whose new token is refused too fails, after one login", run: subscribeRefusedToken},
		{number: 10, words: "a Subscribe whose ctx ends as it is accepted works or leaves nothing", run: subscribeEndsAccepted},
		// Pub/Sub API only: CometD has one answer, to the subscribe.
		{number: 10, words: "what the stream rejects after GetTopic's yes is a matter of the link", run: rejectedAfterGetTopic, only: sfstream.PubSub},
		{number: 10, words: "before Open the loop ends at once with ErrNotOpen", run: notOpen},
		{number: 10, words: "Open makes one attempt, and can be repeated", run: openRepeated},
		{number: 10, words: "messages queued before a terminal error are handed out, then MessagesErr yields it once", run: queuedBeforeEnd},
		{number: 10, words: "Err is nil after Close", run: errAfterClose},
		{number: 10, words: "time in which other trouble kept it from asking does not make a denial final", run: timeWithoutAnswer},
	}
	denied := rule{number: 10, words: "an accepted channel that is answered %s is tried for ten minutes, with one login"}
	rules = append(rules, each(denied, []string{
		"subscription.topic.cannot.subscribe", "topic.not.found", "topic.meta.permission", "service.tenant.license",
	}, deniedForTenMinutes)...)
	denied.only = sfstream.PubSub // gRPC statuses
	return append(rules, each(denied, []string{"UNIMPLEMENTED", "PERMISSION_DENIED", "NOT_FOUND"}, deniedForTenMinutes)...)
}

func ctxEndsOwnLoop(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.PublishOrders(1, 2, 3)
	for n := 1; n <= 3; n++ {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for m := range l.Client.Messages(ctx) {
			if l.Number(m) != n {
				t.Errorf("number %d, want %d", l.Number(m), n)
			}
			m.Ack()
			cancel()
		}
		l.Must(l.Client.Err())
	}
	l.ExpectStillWorks(lab.LabOrders)
}

func ctxBoundsCallOnly(t *testing.T) {
	l := lab.New(t)
	c := l.NewClient()
	ctx, cancel := context.WithCancel(t.Context())
	l.Must(c.Open(ctx))
	l.Must(c.Subscribe(ctx, lab.LabOrders))
	cancel()
	l.Pass(time.Hour)
	l.ExpectStillWorks(lab.LabOrders)
}

func endedCtxIsNoError(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for m, err := range l.Client.MessagesErr(ctx) {
		t.Errorf("%v, %v", m, err)
	}
	l.ExpectStillWorks(lab.LabOrders)
}

func transientTrouble(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.EndStreams("", "service.unavailable")
	l.Reject("", 3, "service.unavailable")
	l.Pass(10 * time.Second)
	s := l.Client.Status().Channels[0]
	if e := lab.ExpectError[*sfstream.ServerError](t, s.LastError); e.Code != sfstream.Unavailable || s.LastErrorAt.IsZero() {
		t.Errorf("status %+v", s)
	}
	lab.Contains(t, l.Log.String(), "action=retry", lab.LabOrders)
	l.Pass(time.Hour)
	if s := l.Client.Status().Channels[0]; s.Reconnects < 1 || s.State != sfstream.StateLive {
		t.Errorf("status %+v", s)
	}
	l.ExpectStillWorks(lab.LabOrders)
}

func reconnectTimeout(t *testing.T) {
	l := lab.New(t)
	l.Follow(sfstream.WithReconnectTimeout(5 * time.Minute))
	l.PublishOrders(1)
	l.Pass(time.Hour) // connected: no outage
	l.Expect(1)
	l.Refuse(true)
	l.DropConnections()
	began := time.Now()
	e := lab.ExpectEnd[*sfstream.TimeoutError](l)
	if took := time.Since(began); took != 5*time.Minute || e.Down != took || e.Channel != lab.LabOrders || !e.Timeout() {
		t.Errorf("after %v: %+v", took, e)
	}
	lab.ExpectError[*sfstream.ServerError](t, e)
}

func shortOutages(t *testing.T) {
	l := lab.New(t)
	l.Follow(sfstream.WithReconnectTimeout(5 * time.Minute))
	for n := range 10 {
		l.Outage(3*time.Minute, func() { l.PublishOrders(n) })
		l.Expect(n)
	}
	l.ExpectStillWorks(lab.LabOrders)
}

func outageOfOneChannel(t *testing.T) {
	l := lab.New(t)
	l.Follow(sfstream.WithReconnectTimeout(5 * time.Minute))
	l.Subscribe(lab.Accounts)
	l.Reject(lab.Accounts, -1, "UNAVAILABLE")
	l.EndStreams(lab.Accounts, "UNAVAILABLE")
	if e := lab.ExpectEnd[*sfstream.TimeoutError](l); e.Channel != lab.Accounts {
		t.Errorf("%+v", e)
	}
}

func backOffStops(t *testing.T) {
	l := lab.New(t)
	l.Follow(sfstream.WithBackOff(func() backoff.BackOff {
		return backoff.WithMaxRetries(backoff.NewConstantBackOff(time.Minute), 3)
	}))
	l.Refuse(true)
	l.DropConnections()
	began := time.Now()
	lab.ExpectEnd[*sfstream.TimeoutError](l)
	if took := time.Since(began).Round(time.Second); took != 3*time.Minute {
		t.Errorf("it took %v", took)
	}
}

func customBackOff(t *testing.T) {
	l := lab.New(t)
	var policies atomic.Int64
	l.Follow(sfstream.WithBackOff(func() backoff.BackOff {
		policies.Add(1)
		return backoff.WithMaxRetries(backoff.NewConstantBackOff(10*time.Second), 3)
	}))
	l.Subscribe(lab.Accounts)
	if n := policies.Load(); n != 2 {
		t.Errorf("%d policies for 2 channels", n)
	}
	for n := range 5 { // 15 retries in all, 3 in a row
		l.Reject(lab.LabOrders, 2, "UNAVAILABLE")
		l.EndStreams(lab.LabOrders, "UNAVAILABLE")
		l.PublishOrders(n)
		before := time.Now()
		l.Expect(n)
		if took := time.Since(before).Round(time.Second); took != 30*time.Second {
			t.Errorf("it took %v", took)
		}
	}
	l.ExpectStillWorks(lab.LabOrders)
}

func defaultBackOff(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.Reject(lab.LabOrders, -1, "UNAVAILABLE")
	l.EndStreams(lab.LabOrders, "UNAVAILABLE")
	l.Pass(12 * time.Hour)
	calls := l.Subscribes(lab.LabOrders)
	for i := range calls[1:] {
		if wait := calls[i+1].At.Sub(calls[i].At); wait > 61*time.Second {
			t.Errorf("a wait of %v", wait)
		}
	}
	if n := len(calls); n < 800 || n > 3000 { // 30 s on average
		t.Errorf("%d attempts in 12 hours", n)
	}
	l.ClearFaults()
	l.ExpectStillWorks(lab.LabOrders)
}

func everyStreamEnded(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.Reject(lab.LabOrders, -1, "OK")
	l.EndStreams(lab.LabOrders, "OK")
	l.Pass(time.Hour)
	if n := len(l.Subscribes(lab.LabOrders)); n > 300 {
		t.Errorf("%d attempts in an hour", n)
	}
	l.ClearFaults()
	l.ExpectStillWorks(lab.LabOrders)
}

func limitHeeded(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.Reject(lab.LabOrders, 3, "subscription.limit.exceeded")
	l.EndStreams(lab.LabOrders, "subscription.limit.exceeded")
	l.PublishOrders(1)
	l.Expect(1)
	calls := l.Subscribes(lab.LabOrders)
	if len(calls) != 5 {
		t.Fatalf("%d Subscribes", len(calls))
	}
	for i := range calls[1:] {
		if wait := calls[i+1].At.Sub(calls[i].At); wait < 10*time.Minute {
			t.Errorf("it came again after %v", wait)
		}
	}
	l.ExpectStillWorks(lab.LabOrders)
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
	lab.Contains(t, e.Error(), lab.LabOrders, l.LoginURL(), "check username, password")
	if n := l.Logins(); n != 2 {
		t.Errorf("%d logins", n)
	}
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
	l.Reject(lab.LabOrders, 1, "service.auth.headers.invalid")
	l.EndStreams("", "UNAVAILABLE")
	if e := lab.ExpectEnd[*sfstream.ServerError](l); e.Code != sfstream.Invalid {
		t.Errorf("%+v", e)
	}
}

func hookDropsChannel(t *testing.T) {
	l := lab.New(t)
	var dropped []string
	var reason error
	l.Follow(sfstream.WithHooks(sfstream.Hooks{OnSubscriptionError: func(channel string, err error) bool {
		dropped, reason = append(dropped, channel), err
		return true
	}}))
	l.Subscribe(lab.Accounts)
	l.ChangeAccount(1, 2)
	l.Expect(1, 2)
	l.Revoke(lab.Accounts)
	l.Pass(15 * time.Minute)
	if !slices.Equal(dropped, []string{lab.Accounts}) {
		t.Errorf("dropped %q", dropped)
	}
	if e := lab.ExpectError[*sfstream.ServerError](t, reason); e.Code != sfstream.PermissionDenied {
		t.Errorf("%+v", e)
	}
	if got := l.Client.Subscriptions(); !slices.Equal(got, []string{lab.LabOrders}) {
		t.Errorf("subscriptions %q", got)
	}
	if err := l.Client.Unsubscribe(t.Context(), lab.Accounts); !errors.Is(err, sfstream.ErrNotSubscribed) {
		t.Error(err)
	}
	l.ExpectStillWorks(lab.LabOrders)
	l.Grant(lab.Accounts)
	l.ChangeAccount(3)
	l.Subscribe(lab.Accounts) // it may come again, and resumes
	l.Expect(3)
}

func hookKeepsChannel(t *testing.T) {
	l := lab.New(t)
	l.Follow(sfstream.WithHooks(sfstream.Hooks{OnSubscriptionError: func(string, error) bool { return false }}))
	l.Revoke(lab.LabOrders)
	lab.ExpectEnd[*sfstream.ServerError](l)
}

func hookHearsNothing(t *testing.T) {
	l := lab.New(t)
	l.Follow(sfstream.WithHooks(sfstream.Hooks{OnSubscriptionError: func(channel string, err error) bool {
		t.Errorf("%s: %v", channel, err)
		return false
	}}))
	if err := l.Client.Subscribe(t.Context(), "/event/Nowhere__e"); err == nil {
		t.Error("accepted")
	}
	l.Reconnect(lab.LabOrders)
	l.ExpectStillWorks(lab.LabOrders)
}

func subscribeFails(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	const late = "/event/Late__e"
	for range 3 {
		e := lab.ExpectError[*sfstream.ServerError](t, l.Client.Subscribe(t.Context(), late))
		if e.Code != sfstream.NotFound {
			t.Errorf("%+v", e)
		}
	}
	if got := l.Client.Subscriptions(); !slices.Equal(got, []string{lab.LabOrders}) {
		t.Errorf("subscriptions %q", got)
	}
	if n := len(l.Client.Status().Channels); n != 1 {
		t.Errorf("status has %d channels", n)
	}
	if m := l.Marker(late); !m.Live.IsZero() {
		t.Errorf("marker %+v", m)
	}
	l.Must(l.DefineEvent(late, lab.Schema("Late__e")))
	l.Subscribe(late)
	l.ExpectStillWorks(late)
	l.ExpectStillWorks(lab.LabOrders)
	if n := l.Logins(); n != 1 {
		t.Errorf("%d logins", n)
	}
}

func subscribeFromFails(t *testing.T) {
	l := lab.New(t)
	l.PublishOrders(1, 2)
	l.Follow(sfstream.WithReplay(sfstream.ReplayAll))
	l.Expect(1, 2)
	l.Stop()
	want := l.Marker(lab.LabOrders)
	l.Start()
	l.Revoke(lab.LabOrders)
	if err := l.Client.Subscribe(t.Context(), lab.LabOrders, sfstream.From(sfstream.ReplayAll)); err == nil {
		t.Error("accepted")
	}
	l.Stop()
	if got := l.Marker(lab.LabOrders); string(got.ReplayID) != string(want.ReplayID) {
		t.Errorf("marker %+v, want %+v", got, want)
	}
}

func subscribeRetries(t *testing.T) {
	l := lab.New(t)
	l.Start()
	failSubscribe(t, l.Server, -1, "UNAVAILABLE")
	began := time.Now()
	err := l.Client.Subscribe(t.Context(), lab.LabOrders)
	if took := time.Since(began); took != 30*time.Second {
		t.Errorf("it took %v", took)
	}
	if e := lab.ExpectError[*sfstream.ServerError](t, err); e.Code != sfstream.Unavailable || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	lab.Contains(t, err.Error(), lab.LabOrders)
	l.ClearFaults()
	failSubscribe(t, l.Server, 3, "UNAVAILABLE")
	l.Subscribe(lab.LabOrders)
	l.ExpectStillWorks(lab.LabOrders)
}

func subscribeEndsInRetries(t *testing.T) {
	l := lab.New(t)
	l.Start()
	failSubscribe(t, l.Server, -1, "UNAVAILABLE")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	began := time.Now()
	if err := l.Client.Subscribe(ctx, lab.LabOrders); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 3*time.Second {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
	l.ClearFaults()
	l.Subscribe(lab.LabOrders)
	l.ExpectStillWorks(lab.LabOrders)
}

func subscribeRetriesLogin(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.ExpireToken()
	l.FailLogin(4, "503")
	l.EndStreams("", "service.auth.error")
	synctest.Wait() // the token is dropped now, and the first login has failed
	l.Must(l.Client.Subscribe(t.Context(), lab.Accounts))
	synctest.Wait()
	l.ChangeAccount(1)
	l.Expect(1)
}

func subscribeExpiredToken(t *testing.T) {
	l := lab.New(t)
	l.Start()
	l.ExpireToken()
	l.Subscribe(lab.LabOrders)
	if n := l.Logins(); n != 2 {
		t.Errorf("%d logins", n)
	}
	l.ExpectStillWorks(lab.LabOrders)
}

func subscribeRefusedToken(t *testing.T) {
	l := lab.New(t)
	l.Start()
	failSubscribe(t, l.Server, -1, "service.auth.error")
	e := lab.ExpectError[*sfstream.ServerError](t, l.Client.Subscribe(t.Context(), lab.LabOrders))
	if e.Code != sfstream.Unauthenticated {
		t.Errorf("%+v", e)
	}
	if n := l.Logins(); n != 2 {
		t.Errorf("%d logins", n)
	}
	l.ClearFaults()
	l.Subscribe(lab.LabOrders)
	l.ExpectStillWorks(lab.LabOrders)
}

func subscribeEndsAccepted(t *testing.T) {
	l := lab.New(t)
	var cancel atomic.Pointer[context.CancelFunc]
	l.Start(sfstream.WithPubSubDialOptions(grpc.WithStreamInterceptor(
		func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, stream grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			s, err := stream(ctx, desc, cc, method, opts...)
			if stop := cancel.Load(); stop != nil {
				(*stop)() // the request is about to be sent
			}
			return s, err
		})))
	for range 50 {
		ctx, stop := context.WithCancel(t.Context())
		cancel.Store(&stop)
		err := l.Client.Subscribe(ctx, lab.LabOrders)
		cancel.Store(nil)
		if err != nil {
			if !errors.Is(err, context.Canceled) || len(l.Client.Subscriptions()) > 0 {
				t.Fatalf("%v; subscriptions %q", err, l.Client.Subscriptions())
			}
			l.Subscribe(lab.LabOrders)
		}
		synctest.Wait()
		l.ExpectStillWorks(lab.LabOrders)
		l.Must(l.Client.Unsubscribe(t.Context(), lab.LabOrders))
	}
}

func rejectedAfterGetTopic(t *testing.T) {
	l := lab.New(t)
	l.Start()
	l.Reject(lab.LabOrders, 1, "subscription.topic.cannot.subscribe")
	l.Subscribe(lab.LabOrders) // accepted: GetTopic says so
	l.PublishOrders(1)
	l.Expect(1) // and the first No may pass
	l.ExpectStillWorks(lab.LabOrders)
}

func notOpen(t *testing.T) {
	l := lab.New(t)
	c := l.NewClient()
	for m := range c.Messages(t.Context()) {
		t.Errorf("%v", m)
	}
	if err := c.Err(); !errors.Is(err, sfstream.ErrNotOpen) {
		t.Error(err)
	}
	if err := c.Subscribe(t.Context(), lab.LabOrders); !errors.Is(err, sfstream.ErrNotOpen) {
		t.Error(err)
	}
	if _, err := c.Receive(t.Context()); !errors.Is(err, sfstream.ErrNotOpen) {
		t.Error(err)
	}
	var errs []error
	for m, err := range c.MessagesErr(t.Context()) {
		if m != nil {
			t.Errorf("%v", m)
		}
		errs = append(errs, err)
	}
	if len(errs) != 1 || !errors.Is(errs[0], sfstream.ErrNotOpen) {
		t.Errorf("%v", errs)
	}
	l.Must(c.Open(t.Context()))
	l.Subscribe(lab.LabOrders)
	l.ExpectStillWorks(lab.LabOrders)
}

func openRepeated(t *testing.T) {
	l := lab.New(t)
	l.FailLogin(1, "503")
	c := l.NewClient()
	lab.ExpectError[*sfstream.AuthError](t, c.Open(t.Context()))
	if n := l.Logins(); n != 1 {
		t.Errorf("%d logins", n)
	}
	l.Must(c.Open(t.Context()))
	l.Must(c.Open(t.Context()))
	if n := l.Logins(); n != 2 {
		t.Errorf("%d logins", n)
	}
	l.Subscribe(lab.LabOrders)
	l.ExpectStillWorks(lab.LabOrders)
}

func queuedBeforeEnd(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.PublishOrders(1, 2, 3)
	synctest.Wait()
	if lab.TransportOf(t) == sfstream.CometD {
		l.Reject(lab.LabOrders, 1, "400::Query fields {Gone__c} do not exist on the topic entity")
	} else {
		l.Reject(lab.LabOrders, 1, "subscription.fetch.topic.mismatch")
	}
	l.EndStreams(lab.LabOrders, "UNAVAILABLE")
	l.Pass(time.Minute)
	if l.Client.Err() == nil {
		t.Fatal("the client has not ended")
	}
	var got []int
	var errs []error
	for m, err := range l.Client.MessagesErr(t.Context()) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		got = append(got, l.Number(m))
	}
	if !slices.Equal(got, []int{1, 2, 3}) || len(errs) != 1 {
		t.Errorf("got %v and %v", got, errs)
	}
	lab.ExpectError[*sfstream.ServerError](t, errs[0])
	if err := l.Client.Close(); !errors.Is(err, errs[0]) {
		t.Errorf("Close returned %v", err)
	}
	l.Follow()
	l.ExpectStillWorks(lab.LabOrders) // 1 to 3 were handled
}

func errAfterClose(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.Stop()
	l.Must(l.Client.Err())
	if _, err := l.Client.Receive(t.Context()); !errors.Is(err, sfstream.ErrClosed) {
		t.Error(err)
	}
	if err := l.Client.Subscribe(t.Context(), lab.Accounts); !errors.Is(err, sfstream.ErrClosed) {
		t.Error(err)
	}
	for m, err := range l.Client.MessagesErr(t.Context()) {
		t.Errorf("%v, %v", m, err)
	}
}

func timeWithoutAnswer(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.PublishOrders(1)
	l.Expect(1)
	l.Reject(lab.LabOrders, 2, "topic.meta.permission")
	l.EndStreams(lab.LabOrders, "UNAVAILABLE")
	l.Pass(10 * time.Second) // denied, also after a new login
	l.Reject(lab.LabOrders, 1, "subscription.limit.exceeded")
	l.Pass(5 * time.Minute)
	l.Reject(lab.LabOrders, 1, "topic.meta.permission") // the first answer after the limit
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
	l.Reject(lab.LabOrders, -1, code)
	l.EndStreams(lab.LabOrders, "UNAVAILABLE")
	l.PublishOrders(2)
	l.Pass(9 * time.Minute)
	l.Must(l.Client.Err())
	l.ClearFaults()
	l.Expect(2) // it came back

	began, logins := time.Now(), l.Logins()
	l.Reject(lab.LabOrders, -1, code)
	l.EndStreams(lab.LabOrders, code)
	e := lab.ExpectEnd[*sfstream.ServerError](l)
	if e.Code != sfstream.PermissionDenied && e.Code != sfstream.NotFound || e.Channel != lab.LabOrders {
		t.Errorf("%+v", e)
	}
	if took := time.Since(began); took < 10*time.Minute || took > 11*time.Minute {
		t.Errorf("it took %v", took)
	}
	if n := l.Logins() - logins; n != 1 {
		t.Errorf("%d logins", n)
	}
}
