package eventbus_test

import (
	"context"
	"net"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

// Nothing on the wire tells that this codec is used: the content type and the requests are those of
// the standard codec, which also handles all other messages.
func TestNothingTellsTheCodecOnTheWire(t *testing.T) {
	listener := bufconn.Listen(1 << 16)
	server := grpc.NewServer()
	answers := make(chan []string, 2)
	eventbus.Register(server, subscribeServer{answers: answers})
	go func() { _ = server.Serve(listener) }() // it ends with Stop
	defer server.Stop()
	conn, err := grpc.NewClient("passthrough:bus", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := eventbus.Client{Conn: conn}
	standard, err := client.Subscribe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ours, err := client.SubscribeResponses(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	req := &eventbus.FetchRequest{TopicName: "/event/Order__e", NumRequested: 7}
	if err := standard.Send(req); err != nil {
		t.Fatal(err)
	}
	if _, err := standard.Recv(); err != nil {
		t.Fatal(err)
	}
	if err := ours.Send(req); err != nil {
		t.Fatal(err)
	}
	var r eventbus.Response
	if err := ours.Recv(&r); err != nil || len(r.Events) != 1 || r.IDs() != "/event/Order__e" || r.Pending != 7 {
		t.Fatalf("%v, %+v", err, r)
	}
	if want, got := <-answers, <-answers; !slices.Equal(got, want) {
		t.Errorf("the content type is %q, the standard codec's %q", got, want)
	}
	if err := ours.Send(req); err != nil {
		t.Fatal(err)
	}
	var generated eventbus.FetchResponse
	if err := ours.RecvMsg(&generated); err != nil || len(generated.Events) != 1 {
		t.Fatalf("%v, %v", err, &generated)
	}
}

// subscribeServer answers each request with an event whose id is the name of the topic.
type subscribeServer struct {
	eventbus.Server
	answers chan []string
}

func (s subscribeServer) Subscribe(stream grpc.BidiStreamingServer[eventbus.FetchRequest, eventbus.FetchResponse]) error {
	md, _ := metadata.FromIncomingContext(stream.Context())
	s.answers <- md.Get("content-type")
	for {
		req, err := stream.Recv()
		if err != nil {
			return nil
		}
		if err := stream.Send(&eventbus.FetchResponse{
			Events:              []*eventbus.ConsumerEvent{{Event: &eventbus.ProducerEvent{Id: req.TopicName}}},
			PendingNumRequested: req.NumRequested,
		}); err != nil {
			return nil
		}
	}
}
