package moving

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// What raised an exception is an error of the call, or the end of the client.
func TestErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, org := t.Context(), newOrg(t)
		client, err := sfstream.New(org.Authenticator(), sfstream.WithOrg(org))
		lab.Must(t, err)
		defer client.Close()
		if err := client.Subscribe(ctx, orders); !errors.Is(err, sfstream.ErrNotOpen) {
			t.Errorf("before Open: %v", err)
		}
		lab.Must(t, client.Open(ctx))
		lab.Must(t, client.Subscribe(ctx, orders))
		if err := client.Subscribe(ctx, orders); !errors.Is(err, sfstream.ErrAlreadySubscribed) {
			t.Errorf("twice: %v", err)
		}
		if err := client.Unsubscribe(ctx, news); !errors.Is(err, sfstream.ErrNotSubscribed) {
			t.Errorf("of another one: %v", err)
		}
		err = client.Subscribe(ctx, "/topic/Nobody")
		refused, ok := errors.AsType[*sfstream.ServerError](err)
		if !ok || refused.Code != sfstream.NotFound || refused.Reason == "" || refused.Message == "" || refused.Channel != "/topic/Nobody" {
			t.Errorf("an unknown channel: %#v", err)
		}
		lab.Must(t, client.Err())

		org.FailLogin(1, "invalid_grant")
		denied, err := sfstream.New(org.Authenticator(), sfstream.WithOrg(org))
		lab.Must(t, err)
		defer denied.Close()
		err = denied.Open(ctx)
		login, ok := errors.AsType[*sfstream.AuthError](err)
		if !ok || !authenticator.Permanent(login) {
			t.Errorf("a refused login: %v", err)
		}
		for _, err := range []error{new(sfstream.TimeoutError), new(sfstream.ReplayError)} { // as Err gives them
			_, timeout := errors.AsType[*sfstream.TimeoutError](err)
			_, refused := errors.AsType[*sfstream.ReplayError](err)
			expect(t, "one of the two", timeout != refused, true)
		}
	})
}

// How long and how often a client tries is an option.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		org := newOrg(t)
		policy := func() backoff.BackOff { return backoff.NewConstantBackOff(50 * time.Millisecond) }
		client := open(t, org,
			sfstream.WithReconnectTimeout(10*time.Second),
			sfstream.WithBackOff(policy),
			sfstream.WithKeepaliveTimeout(5*time.Minute),
			sfstream.WithLoginBudget(5, 10*time.Minute),
			sfstream.WithAPIVersion("62.0"),
			sfstream.WithTransport(sfstream.CometD),
		)
		lab.Must(t, client.Subscribe(t.Context(), orders))
		publish(t, org, 1)
		org.Refuse(true)
		org.DropConnections()
		synctest.Wait()
		expect(t, "state", client.Status().Channels[0].State, sfstream.StateWaiting)
		org.Refuse(false)
		expect(t, "order", next(t, client, 1), "A-1")
	})
}
