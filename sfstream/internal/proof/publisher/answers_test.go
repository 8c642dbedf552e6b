package publisher

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// splitter is a bus that answers a request of two events in two parts, and publishes nothing after
// them.
type splitter struct{ eventbus.Server }

func (splitter) GetTopic(context.Context, *eventbus.TopicRequest) (*eventbus.TopicInfo, error) {
	return &eventbus.TopicInfo{TopicName: "/event/A__e", CanPublish: true, SchemaId: "s"}, nil
}

func (splitter) GetSchema(context.Context, *eventbus.SchemaRequest) (*eventbus.SchemaInfo, error) {
	return &eventbus.SchemaInfo{SchemaId: "s", SchemaJson: `{"type":"record","name":"A__e","fields":[{"name":"CreatedDate","type":"long"},{"name":"CreatedById","type":"string"}]}`}, nil
}

func (splitter) PublishStream(stream grpc.BidiStreamingServer[eventbus.PublishRequest, eventbus.PublishResponse]) error {
	first, err := stream.Recv()
	if err != nil || len(first.Events) != 2 {
		<-stream.Context().Done()
		return err
	}
	for i, e := range first.Events {
		if i > 0 {
			if _, err := stream.Recv(); err != nil { // the next request, which is never answered
				return err
			}
		}
		result := &eventbus.PublishResult{ReplayId: []byte{byte(i + 1)}, CorrelationKey: e.Id}
		if err := stream.Send(&eventbus.PublishResponse{Results: []*eventbus.PublishResult{result}}); err != nil {
			return err
		}
	}
	<-stream.Context().Done()
	return io.EOF
}

// reporting is a client of a bus that sends nothing again that is in doubt.
func reporting(t *testing.T, bus eventbus.Server) *sfstream.Client {
	t.Helper()
	listen := bufconn.Listen(1 << 16)
	server := grpc.NewServer()
	eventbus.Register(server, bus)
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(listen) }()
	t.Cleanup(func() { server.Stop(); <-served })
	auth := authenticator.Func(func(context.Context, authenticator.Login) (*authenticator.Credentials, error) {
		return &authenticator.Credentials{AccessToken: "t", InstanceURL: "https://acme.my.salesforce.com", OrgID: "00D000000000001AAA", UserID: "005000000000001AAA"}, nil
	})
	c, err := sfstream.New(auth, sfstream.WithPubSubEndpoint("http://127.0.0.1:1"), sfstream.WithLogger(slog.New(slog.DiscardHandler)),
		sfstream.WithInDoubt(sfstream.Report),
		sfstream.WithPubSubDialOptions(grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listen.DialContext(ctx) })))
	lab.Must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	lab.Must(t, c.Open(t.Context()))
	return c
}

// A rest of an answer that comes late has the key of its own event, and is no answer to the next
// request.
func TestARestOfAnAnswerIsNotThatToTheNextRequest(t *testing.T) {
	c := reporting(t, splitter{})
	p, err := c.Publisher("/event/A__e", sfstream.WithBatchSize(2), sfstream.WithLinger(time.Minute))
	lab.Must(t, err)
	var receipts []*sfstream.Receipt
	for range 2 {
		r, err := p.Publish(t.Context(), map[string]any{})
		lab.Must(t, err)
		receipts = append(receipts, r)
	}
	<-receipts[0].Done()
	last, err := p.Publish(t.Context(), map[string]any{})
	lab.Must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
	defer cancel()
	_ = p.Close(ctx)
	if got := last.Result(); got.Outcome == sfstream.Published {
		t.Errorf("the event that was not answered is %+v", got)
	}
}

// forgetful is a bus that publishes the first event of a stream and the third, and leaves out the
// key of the latter.
type forgetful struct{ splitter }

func (forgetful) PublishStream(stream grpc.BidiStreamingServer[eventbus.PublishRequest, eventbus.PublishResponse]) error {
	for n := byte(1); n <= 3; n++ {
		req, err := stream.Recv()
		if err != nil {
			return err
		}
		result := &eventbus.PublishResult{ReplayId: []byte{n}}
		switch n {
		case 1:
			result.CorrelationKey = req.Events[0].Id
		case 2:
			continue
		}
		if err := stream.Send(&eventbus.PublishResponse{Results: []*eventbus.PublishResult{result}}); err != nil {
			return err
		}
	}
	<-stream.Context().Done()
	return io.EOF
}

// Where a server that echoes ids leaves them out once, its answer may be to any request.
func TestAnAnswerWithoutAKeyIsToNoneOfSeveralRequests(t *testing.T) {
	c := reporting(t, forgetful{})
	p, err := c.Publisher("/event/A__e", sfstream.WithBatchSize(1), sfstream.WithLinger(0))
	lab.Must(t, err)
	var receipts []*sfstream.Receipt
	for range 3 {
		r, err := p.Publish(t.Context(), map[string]any{})
		lab.Must(t, err)
		receipts = append(receipts, r)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_ = p.Close(ctx)
	for i, want := range []sfstream.Outcome{sfstream.Published, sfstream.InDoubt, sfstream.InDoubt} {
		if got := receipts[i].Result(); got.Outcome != want {
			t.Errorf("event %d is %+v, want %v", i, got, want)
		}
	}
}
