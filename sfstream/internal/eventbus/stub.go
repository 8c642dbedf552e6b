// Package eventbus is the wire contract of Salesforce's Pub/Sub API: the generated messages and a
// hand-written stub with the literal method paths. What Salesforce does beyond the contract is in
// PROTOCOL.md.
package eventbus

import (
	"context"

	"google.golang.org/grpc"
)

//go:generate go run ./gen

// The method paths are Salesforce's, the names of the generated messages are our own (see the
// .proto). protoc-gen-go-grpc would use one name for both, so this file is written by hand.
const (
	service       = "eventbus.v1.PubSub"
	getTopicPath  = "/" + service + "/GetTopic"
	getSchemaPath = "/" + service + "/GetSchema"
	publishPath   = "/" + service + "/Publish"

	subscribeMethod        = "Subscribe"
	publishStreamMethod    = "PublishStream"
	managedSubscribeMethod = "ManagedSubscribe"
)

// SubscribeStream is the client's side of one Subscribe call. One goroutine may send while another
// receives.
type SubscribeStream = grpc.BidiStreamingClient[FetchRequest, FetchResponse]

// PublishStream is the client's side of one PublishStream call. One goroutine may send while
// another receives.
type PublishStream = grpc.BidiStreamingClient[PublishRequest, PublishResponse]

// ManagedStream is the client's side of one ManagedSubscribe call. One goroutine may send while
// another receives.
type ManagedStream = grpc.BidiStreamingClient[ManagedFetchRequest, ManagedFetchResponse]

// ResponseStream is a SubscribeStream, or a ManagedStream, whose receiver gets Responses.
type ResponseStream struct{ grpc.ClientStream }

// Send asks for events.
func (s ResponseStream) Send(req *FetchRequest) error { return s.SendMsg(req) }

// SendManaged asks for events of a managed subscription, or commits.
func (s ResponseStream) SendManaged(req *ManagedFetchRequest) error { return s.SendMsg(req) }

// Recv reads the next response into r. At the end of the stream the error is io.EOF.
func (s ResponseStream) Recv(r *Response) error { return s.RecvMsg(r) }

// Client calls the Pub/Sub API over a connection. It has no state.
type Client struct{ Conn grpc.ClientConnInterface }

// GetTopic returns whether a channel exists, what the caller may do with it, and its current schema
// id.
func (c Client) GetTopic(ctx context.Context, req *TopicRequest, opts ...grpc.CallOption) (*TopicInfo, error) {
	info := new(TopicInfo)
	if err := c.Conn.Invoke(ctx, getTopicPath, req, info, opts...); err != nil {
		return nil, err
	}
	return info, nil
}

// GetSchema returns the Avro schema with an id. An id always means the same schema.
func (c Client) GetSchema(ctx context.Context, req *SchemaRequest, opts ...grpc.CallOption) (*SchemaInfo, error) {
	info := new(SchemaInfo)
	if err := c.Conn.Invoke(ctx, getSchemaPath, req, info, opts...); err != nil {
		return nil, err
	}
	return info, nil
}

// Publish publishes events of one channel. Its results are those of the events, in their order: a
// call that succeeds may have published some of them only.
func (c Client) Publish(ctx context.Context, req *PublishRequest, opts ...grpc.CallOption) (*PublishResponse, error) {
	resp := new(PublishResponse)
	if err := c.Conn.Invoke(ctx, publishPath, req, resp, opts...); err != nil {
		return nil, err
	}
	return resp, nil
}

// PublishStream opens a stream for events of one channel. Each request is answered by one response,
// in their order; several may be under way. As with Subscribe, a refusal comes from the first Recv.
func (c Client) PublishStream(ctx context.Context, opts ...grpc.CallOption) (PublishStream, error) {
	stream, err := c.stream(ctx, publishStreamMethod, opts)
	if err != nil {
		return nil, err
	}
	return &grpc.GenericClientStream[PublishRequest, PublishResponse]{ClientStream: stream}, nil
}

// ManagedSubscribe opens a stream whose position the server keeps. As with Subscribe, a refusal
// comes from the first Recv.
func (c Client) ManagedSubscribe(ctx context.Context, opts ...grpc.CallOption) (ManagedStream, error) {
	stream, err := c.stream(ctx, managedSubscribeMethod, opts)
	if err != nil {
		return nil, err
	}
	return &grpc.GenericClientStream[ManagedFetchRequest, ManagedFetchResponse]{ClientStream: stream}, nil
}

// ManagedResponses does what ManagedSubscribe does, with a Codec.
func (c Client) ManagedResponses(ctx context.Context, opts ...grpc.CallOption) (ResponseStream, error) {
	stream, err := c.stream(ctx, managedSubscribeMethod, append(opts, grpc.ForceCodecV2(Codec{})))
	return ResponseStream{stream}, err
}

// Subscribe opens a stream. It returns before the server has checked anything: if the server
// refuses, the first Recv returns the error.
func (c Client) Subscribe(ctx context.Context, opts ...grpc.CallOption) (SubscribeStream, error) {
	stream, err := c.stream(ctx, subscribeMethod, opts)
	if err != nil {
		return nil, err
	}
	return &grpc.GenericClientStream[FetchRequest, FetchResponse]{ClientStream: stream}, nil
}

// SubscribeResponses does what Subscribe does, with a Codec: a response costs a few allocations,
// and not a few for each of its events.
func (c Client) SubscribeResponses(ctx context.Context, opts ...grpc.CallOption) (ResponseStream, error) {
	stream, err := c.stream(ctx, subscribeMethod, append(opts, grpc.ForceCodecV2(Codec{})))
	return ResponseStream{stream}, err
}

// stream opens a stream on which both sides send.
func (c Client) stream(ctx context.Context, method string, opts []grpc.CallOption) (grpc.ClientStream, error) {
	return c.Conn.NewStream(ctx, &grpc.StreamDesc{
		StreamName: method, ClientStreams: true, ServerStreams: true,
	}, "/"+service+"/"+method, opts...)
}

// Server is the server's side of the contract.
type Server interface {
	GetTopic(context.Context, *TopicRequest) (*TopicInfo, error)
	GetSchema(context.Context, *SchemaRequest) (*SchemaInfo, error)
	Publish(context.Context, *PublishRequest) (*PublishResponse, error)
	PublishStream(grpc.BidiStreamingServer[PublishRequest, PublishResponse]) error
	Subscribe(grpc.BidiStreamingServer[FetchRequest, FetchResponse]) error
	ManagedSubscribe(grpc.BidiStreamingServer[ManagedFetchRequest, ManagedFetchResponse]) error
}

// Register serves srv under Salesforce's service name.
func Register(r grpc.ServiceRegistrar, srv Server) {
	r.RegisterService(&grpc.ServiceDesc{
		ServiceName: service,
		HandlerType: (*Server)(nil),
		Methods: []grpc.MethodDesc{
			{MethodName: "GetTopic", Handler: unary(getTopicPath, Server.GetTopic)},
			{MethodName: "GetSchema", Handler: unary(getSchemaPath, Server.GetSchema)},
			{MethodName: "Publish", Handler: unary(publishPath, Server.Publish)},
		},
		Streams: []grpc.StreamDesc{
			bidi(publishStreamMethod, Server.PublishStream),
			bidi(subscribeMethod, Server.Subscribe),
			bidi(managedSubscribeMethod, Server.ManagedSubscribe),
		},
	}, srv)
}

// unary returns the handler that grpc wants for a method.
func unary[Req, Resp any](path string, call func(Server, context.Context, *Req) (*Resp, error)) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
		req := new(Req)
		if err := decode(req); err != nil {
			return nil, err
		}
		if intercept == nil {
			return call(srv.(Server), ctx, req)
		}
		info := &grpc.UnaryServerInfo{Server: srv, FullMethod: path}
		return intercept(ctx, req, info, func(ctx context.Context, req any) (any, error) {
			return call(srv.(Server), ctx, req.(*Req))
		})
	}
}

// bidi returns what grpc wants to know of a method on which both sides send.
func bidi[Req, Resp any](method string, call func(Server, grpc.BidiStreamingServer[Req, Resp]) error) grpc.StreamDesc {
	return grpc.StreamDesc{
		StreamName: method, ClientStreams: true, ServerStreams: true,
		Handler: func(srv any, stream grpc.ServerStream) error {
			return call(srv.(Server), &grpc.GenericServerStream[Req, Resp]{ServerStream: stream})
		},
	}
}
