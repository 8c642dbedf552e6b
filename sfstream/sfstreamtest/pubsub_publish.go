package sfstreamtest

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

// Publish publishes events of one channel.
func (p *pubsub) Publish(context.Context, *eventbus.PublishRequest) (*eventbus.PublishResponse, error) {
	return nil, status.Error(codes.Unimplemented, "Publish")
}

// PublishStream publishes events of one channel until the client or silence ends it.
func (p *pubsub) PublishStream(grpc.BidiStreamingServer[eventbus.PublishRequest, eventbus.PublishResponse]) error {
	return status.Error(codes.Unimplemented, "PublishStream")
}
