package contract

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// endRules prove what ends what.
func endRules() []rule {
	return []rule{
		{number: 10, words: "a ctx ends its own loop, and a later loop goes on", run: ctxEndsOwnLoop},
		{number: 10, words: "the ctx of Open and Subscribe bounds the call only", run: ctxBoundsCallOnly},
		{number: 10, words: "a ctx that ends yields no error, also from MessagesErr", run: endedCtxIsNoError},
		{number: 10, words: "transient trouble shows in the status and the log and ends nothing", run: transientTrouble},
		{number: 10, words: "OnSubscriptionError may drop just that channel", run: hookDropsChannel},
		{number: 10, words: "OnSubscriptionError that returns false changes nothing", run: hookKeepsChannel},
		{number: 10, words: "OnSubscriptionError hears nothing of transient trouble, nor of a refused Subscribe", run: hookHearsNothing},
		{number: 10, words: "before Open the loop ends at once with ErrNotOpen", run: notOpen},
		{number: 10, words: "Open makes one attempt, and can be repeated", run: openRepeated},
		{number: 10, words: "messages queued before a terminal error are handed out, then MessagesErr yields it once", run: queuedBeforeEnd},
		{number: 10, words: "Err is nil after Close", run: errAfterClose},
	}
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
	l.ExpectStillWorks(lab.Orders)
}

func ctxBoundsCallOnly(t *testing.T) {
	l := lab.New(t)
	c := l.NewClient()
	ctx, cancel := context.WithCancel(t.Context())
	l.Must(c.Open(ctx))
	l.Must(c.Subscribe(ctx, lab.Orders))
	cancel()
	l.Pass(time.Hour)
	l.ExpectStillWorks(lab.Orders)
}

func endedCtxIsNoError(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for m, err := range l.Client.MessagesErr(ctx) {
		t.Errorf("%v, %v", m, err)
	}
	l.ExpectStillWorks(lab.Orders)
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
	lab.Contains(t, l.Log.String(), "action=retry", lab.Orders)
	l.Pass(time.Hour)
	if s := l.Client.Status().Channels[0]; s.Reconnects < 1 || s.State != sfstream.StateLive {
		t.Errorf("status %+v", s)
	}
	l.ExpectStillWorks(lab.Orders)
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
	if got := l.Client.Subscriptions(); !slices.Equal(got, []string{lab.Orders}) {
		t.Errorf("subscriptions %q", got)
	}
	if err := l.Client.Unsubscribe(t.Context(), lab.Accounts); !errors.Is(err, sfstream.ErrNotSubscribed) {
		t.Error(err)
	}
	l.ExpectStillWorks(lab.Orders)
	l.Grant(lab.Accounts)
	l.ChangeAccount(3)
	l.Subscribe(lab.Accounts) // it may come again, and resumes
	l.Expect(3)
}

func hookKeepsChannel(t *testing.T) {
	l := lab.New(t)
	l.Follow(sfstream.WithHooks(sfstream.Hooks{OnSubscriptionError: func(string, error) bool { return false }}))
	l.Revoke(lab.Orders)
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
	l.Reconnect(lab.Orders)
	l.ExpectStillWorks(lab.Orders)
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
	if err := c.Subscribe(t.Context(), lab.Orders); !errors.Is(err, sfstream.ErrNotOpen) {
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
	l.Subscribe(lab.Orders)
	l.ExpectStillWorks(lab.Orders)
}

func openRepeated(t *testing.T) {
	l := lab.New(t)
	l.FailLogin(1, "503")
	c := l.NewClient()
	lab.ExpectError[*sfstream.AuthError](t, c.Open(t.Context()))
	expectLogins(l, 1)
	l.Must(c.Open(t.Context()))
	l.Must(c.Open(t.Context()))
	expectLogins(l, 2)
	l.Subscribe(lab.Orders)
	l.ExpectStillWorks(lab.Orders)
}

func queuedBeforeEnd(t *testing.T) {
	l := lab.New(t)
	l.Follow()
	l.PublishOrders(1, 2, 3)
	synctest.Wait()
	if lab.TransportOf(t) == sfstream.CometD {
		l.Reject(lab.Orders, 1, "400::Query fields {Gone__c} do not exist on the topic entity")
	} else {
		l.Reject(lab.Orders, 1, "subscription.fetch.topic.mismatch")
	}
	l.EndStreams(lab.Orders, "UNAVAILABLE")
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
	l.ExpectStillWorks(lab.Orders) // 1 to 3 were handled
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
