package eventbus_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

// publishServer answers each request with an error for each of its events, and keeps what it got.
type publishServer struct {
	eventbus.Server
	got chan *eventbus.PublishRequest
	md  chan metadata.MD
}

func (s publishServer) PublishStream(stream grpc.BidiStreamingServer[eventbus.PublishRequest, eventbus.PublishResponse]) error {
	md, _ := metadata.FromIncomingContext(stream.Context())
	s.md <- md
	for {
		req, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		s.got <- req
		resp := &eventbus.PublishResponse{SchemaId: "new", RpcId: "rpc"}
		for _, event := range req.Events {
			resp.Results = append(resp.Results, &eventbus.PublishResult{CorrelationKey: event.Id, Error: &eventbus.Error{Code: eventbus.ErrorCode_PUBLISH, Msg: "no"}})
		}
		if err := stream.Send(resp); err != nil {
			return err
		}
	}
}

// serve returns a client of srv.
func serve(t *testing.T, srv eventbus.Server) eventbus.Client {
	t.Helper()
	listener, server := bufconn.Listen(1<<16), grpc.NewServer()
	eventbus.Register(server, srv)
	go func() { _ = server.Serve(listener) }() // it ends with Stop
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient("passthrough:bus", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return eventbus.Client{Conn: conn}
}

// What a server gets of a Request is what it gets of the standard codec's PublishRequest, also
// where the request is sent again.
func TestRequestsAreWhatTheStandardCodecSends(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	srv := publishServer{got: make(chan *eventbus.PublishRequest, 1), md: make(chan metadata.MD, 2)}
	client := serve(t, srv)
	stream, err := client.PublishRequests(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var results eventbus.Results
	// roundTrip sends a request and checks what the server gets and what its answer says.
	roundTrip := func(r *eventbus.Request, want *eventbus.PublishRequest) {
		t.Helper()
		if err := stream.Send(r); err != nil {
			t.Fatal(err)
		}
		if got := <-srv.got; !proto.Equal(got, want) {
			t.Fatalf("the server got %v, want %v", got, want)
		}
		if size := proto.Size(want); r.Size() != size {
			t.Fatalf("%d bytes, want %d", r.Size(), size)
		}
		if err := stream.Recv(&results); err != nil {
			t.Fatal(err)
		}
		for i, result := range results.Results {
			if key := string(results.Bytes(result.CorrelationKey)); key != want.Events[i].Id || !result.Failed {
				t.Errorf("result %d is of %q, failed: %v", i, key, result.Failed)
			}
		}
		if schema := string(results.Bytes(results.SchemaID)); schema != "new" || len(results.Results) != len(want.Events) {
			t.Errorf("schema %q, %d results", schema, len(results.Results))
		}
	}
	var r eventbus.Request
	for range 100 {
		want := &eventbus.PublishRequest{TopicName: fmt.Sprintf("/event/%0*d__e", random.IntN(200), 1)}
		r.Begin(want.TopicName, random.IntN(5000))
		for range 1 + random.IntN(20) {
			event := &eventbus.ProducerEvent{Id: fmt.Sprintf("%0*d", random.IntN(150), 1), SchemaId: "schema", Payload: bytes.Repeat([]byte{7}, 1+random.IntN(20_000)/(1+random.IntN(200)))}
			want.Events = append(want.Events, event)
			r.Append(event.Id, event.SchemaId, event.Payload)
		}
		roundTrip(&r, want)
		roundTrip(&r, want)
		r.Free()
	}
	results.Free()
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := stream.Recv(&results); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	standard, err := client.PublishStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = standard.CloseSend()
	if ours, theirs := <-srv.md, <-srv.md; fmt.Sprint(ours["content-type"], len(ours)) != fmt.Sprint(theirs["content-type"], len(theirs)) {
		t.Errorf("the metadata is %v, the standard codec's %v", ours, theirs)
	}
}

// A Request costs no allocation for each of its events.
func TestRequestsAllocateOncePerRequestOnly(t *testing.T) {
	id, payload := strings.Repeat("0", 36), make([]byte, 300)
	var r eventbus.Request
	n := testing.AllocsPerRun(100, func() {
		r.Begin("/event/Order__e", 200*400)
		for range 200 {
			r.Append(id, "JvH0MLMRe6ZBVjW0yHR2aA", payload)
		}
		r.Free()
	})
	if n > 3 { // it is 0; under the race detector a pool forgets at random
		t.Errorf("%v allocations", n)
	}
}
