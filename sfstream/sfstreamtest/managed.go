package sfstreamtest

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

// ManagedSubscribe serves a stream of a managed subscription.
func (p *pubsub) ManagedSubscribe(grpc.BidiStreamingServer[eventbus.ManagedFetchRequest, eventbus.ManagedFetchResponse]) error {
	return status.Error(codes.Unimplemented, "ManagedSubscribe")
}
