package sfstream_test

import (
	"errors"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

// A policy of the user's own that does not wait storms nobody.
func TestAPolicyWithoutWaitsStormsNobody(t *testing.T) {
	for _, wait := range []time.Duration{0, -2, -time.Hour, time.Nanosecond} {
		t.Run(wait.String(), func(t *testing.T) {
			againstStreams(t, 10*60*20+10, func(int, *eventbus.FetchRequest, int) (*eventbus.FetchResponse, error) {
				return nil, status.Error(codes.Unavailable, "down")
			}, sfstream.WithBackOff(func() backoff.BackOff { return backoff.NewConstantBackOff(wait) }))
		})
	}
}

func TestAPolicyThatIsNilIsRefused(t *testing.T) {
	for _, policy := range []func() backoff.BackOff{nil, func() backoff.BackOff { return nil }} {
		if _, err := sfstream.New(authenticator.Static{}, sfstream.WithBackOff(policy)); !errors.Is(err, sfstream.ErrInvalidOption) {
			t.Errorf("%v", err)
		}
	}
}
