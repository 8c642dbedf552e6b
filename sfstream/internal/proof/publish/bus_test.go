package publish

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hamba/avro/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

const (
	channel = "/event/Order__e"
	user    = "005000000000001AAA"
)

// orderSchema is the schema of an order, with more fields at its end.
func orderSchema(more ...string) string {
	fields := []string{
		`{"name":"CreatedDate","type":"long","doc":"CreatedDate:DateTime"}`, `{"name":"CreatedById","type":"string","doc":"CreatedBy:EntityId"}`,
		`{"name":"Number__c","type":["null","double"],"doc":"Data:Double:00N000000000013","default":null}`,
		`{"name":"Note__c","type":["null","string"],"doc":"Data:Text:00N000000000014","default":null}`,
	}
	return `{"type":"record","name":"Order__e","namespace":"com.sforce.eventbus","fields":[` + strings.Join(append(fields, more...), ",") + `]}`
}

// order is an order as programs publish it.
type order struct {
	Number float64 `sf:"Number__c"`
	Note   string  `sf:"Note__c"`
}

// orders are n orders, numbered from 0 on.
func orders(n int) []any {
	events := make([]any, n)
	for i := range events {
		events[i] = order{Number: float64(i)}
	}
	return events
}

// bus is a scripted server of the Pub/Sub API. Where the script says nothing it publishes.
type bus struct {
	eventbus.Server
	t      *testing.T
	listen *bufconn.Listener

	mu       sync.Mutex
	conns    []net.Conn
	schemas  map[string]string // by id
	topic    *eventbus.TopicInfo
	asked    int // GetTopic calls
	logins   int
	requests []*eventbus.PublishRequest
	there    []*eventbus.ProducerEvent // on the channel
	ctx      context.Context           // of the last request

	script   func(n int, req *eventbus.PublishRequest) (*eventbus.PublishResponse, error)
	getTopic func(n int) error
}

func newBus(t *testing.T) *bus {
	b := &bus{
		t: t, listen: bufconn.Listen(1 << 20), schemas: map[string]string{"schema1": orderSchema()},
		topic: &eventbus.TopicInfo{TopicName: channel, CanPublish: true, CanSubscribe: true, SchemaId: "schema1"},
	}
	server := grpc.NewServer(grpc.WaitForHandlers(true))
	eventbus.Register(server, b)
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(b) }()
	t.Cleanup(func() { server.Stop(); <-served })
	return b
}

func (b *bus) Accept() (net.Conn, error) {
	c, err := b.listen.Accept()
	if err == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.conns = append(b.conns, c)
	}
	return c, err
}

func (b *bus) Close() error   { return b.listen.Close() }
func (b *bus) Addr() net.Addr { return b.listen.Addr() }

// cut ends all connections.
func (b *bus) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.conns {
		_ = c.Close()
	}
	b.conns = nil
}

// client is a program that has logged in.
func (b *bus) client(opts ...sfstream.Option) *sfstream.Client {
	b.t.Helper()
	auth := authenticator.Func(func(context.Context, authenticator.Login) (*authenticator.Credentials, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.logins++
		return &authenticator.Credentials{AccessToken: fmt.Sprintf("SECRET-%d", b.logins), InstanceURL: "https://acme.my.salesforce.com", OrgID: "00D000000000001AAA", UserID: user}, nil
	})
	return b.clientOf(auth, opts...)
}

func (b *bus) clientOf(auth authenticator.Authenticator, opts ...sfstream.Option) *sfstream.Client {
	b.t.Helper()
	c, err := sfstream.New(auth, append([]sfstream.Option{
		sfstream.WithPubSubEndpoint("http://127.0.0.1:1"), sfstream.WithLogger(slog.New(slog.DiscardHandler)),
		sfstream.WithPubSubDialOptions(grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return b.listen.DialContext(ctx) })),
		sfstream.WithHTTPClient(&http.Client{Transport: lab.RoundTrip(func(r *http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("nothing is asked of %s", r.URL)
		})}),
	}, opts...)...)
	lab.Must(b.t, err)
	b.t.Cleanup(func() { _ = c.Close() })
	lab.Must(b.t, c.Open(b.t.Context()))
	return c
}

// last is the context of the last request.
func (b *bus) last() context.Context {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ctx
}

func (b *bus) GetTopic(ctx context.Context, req *eventbus.TopicRequest) (*eventbus.TopicInfo, error) {
	b.mu.Lock()
	b.asked++
	n, info, script := b.asked, b.topic, b.getTopic
	b.mu.Unlock()
	if script != nil {
		if err := script(n); err != nil {
			return nil, err
		}
	}
	return info, nil
}

func (b *bus) GetSchema(_ context.Context, req *eventbus.SchemaRequest) (*eventbus.SchemaInfo, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &eventbus.SchemaInfo{SchemaId: req.SchemaId, SchemaJson: b.schemas[req.SchemaId]}, nil
}

func (b *bus) Publish(ctx context.Context, req *eventbus.PublishRequest) (*eventbus.PublishResponse, error) {
	b.mu.Lock()
	b.requests, b.ctx = append(b.requests, req), ctx
	n, script := len(b.requests), b.script
	b.mu.Unlock()
	if script != nil {
		if resp, err := script(n, req); resp != nil || err != nil {
			return resp, err
		}
	}
	return b.publish(req), nil
}

// publish publishes the events of a request.
func (b *bus) publish(req *eventbus.PublishRequest) *eventbus.PublishResponse {
	b.mu.Lock()
	defer b.mu.Unlock()
	resp := &eventbus.PublishResponse{SchemaId: b.topic.SchemaId, RpcId: "rpc"}
	for _, e := range req.Events {
		b.there = append(b.there, e)
		id := binary.BigEndian.AppendUint64(nil, uint64(len(b.there)))
		resp.Results = append(resp.Results, &eventbus.PublishResult{ReplayId: append(id, 0, 0), CorrelationKey: e.Id})
	}
	return resp
}

// refuse is the result of an event that is not published.
func refuse(e *eventbus.ProducerEvent, text string) *eventbus.PublishResult {
	return &eventbus.PublishResult{CorrelationKey: e.Id, Error: &eventbus.Error{Code: eventbus.ErrorCode_PUBLISH, Msg: text}}
}

// failure is an error with Salesforce's own code in the trailer.
func failure(ctx context.Context, code codes.Code, reason, text string) error {
	if reason != "" {
		_ = grpc.SetTrailer(ctx, metadata.Pairs("error-code", "sfdc.platform.eventbus.grpc."+reason, "rpc-id", "rpc-1"))
	}
	return status.Error(code, text+" rpcId: rpc-1")
}

// batches are the sizes of the requests so far.
func (b *bus) batches() (sizes []int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, req := range b.requests {
		sizes = append(sizes, len(req.Events))
	}
	return sizes
}

// numbers are those of the orders on the channel, in their order there.
func (b *bus) numbers() (numbers []int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.there {
		numbers = append(numbers, int(b.decode(e)["Number__c"].(float64)))
	}
	return numbers
}

// decode reads an event with the codec of the simulator, which is not the client's.
func (b *bus) decode(e *eventbus.ProducerEvent) map[string]any {
	b.t.Helper()
	schema, err := avro.ParseWithCache(b.schemas[e.SchemaId], "", &avro.SchemaCache{})
	lab.Must(b.t, err)
	fields := map[string]any{}
	lab.Must(b.t, avro.Config{}.Freeze().Unmarshal(schema, e.Payload, &fields))
	return fields
}

// expectTrue compares what results say with what is on the channel, by ids.
func (b *bus) expectTrue(results []sfstream.PublishResult) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, r := range results {
		n := 0
		for _, e := range b.there {
			if e.Id == r.ID {
				n++
			}
		}
		if r.Outcome == sfstream.Published && n == 0 || r.Outcome != sfstream.Published && r.Outcome != sfstream.InDoubt && n > 0 {
			b.t.Errorf("event %d is %v (%v), and is there %d times", i, r.Outcome, r.Err, n)
		}
		if (r.Err == nil) != (r.Outcome == sfstream.Published) || (len(r.ReplayID) > 0) != (r.Outcome == sfstream.Published) {
			b.t.Errorf("event %d: %+v", i, r)
		}
	}
}

// expectOutcomes expects the outcomes of all events, and that the error tells of those that are not
// published.
func expectOutcomes(t *testing.T, results []sfstream.PublishResult, err error, want ...sfstream.Outcome) {
	t.Helper()
	var got []sfstream.Outcome
	var failed []int
	for i, r := range results {
		if got = append(got, r.Outcome); r.Outcome != sfstream.Published {
			failed = append(failed, i)
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("the outcomes are %v, want %v: %v", got, want, err)
	}
	if len(failed) == 0 {
		lab.Must(t, err)
		return
	}
	e := lab.ExpectError[*sfstream.PublishError](t, err)
	if e.Channel != channel || !slices.Equal(e.Failed, failed) {
		t.Errorf("the error is of %q and events %v, want %v", e.Channel, e.Failed, failed)
	}
	if text := err.Error(); strings.Contains(text, "\n") || strings.Contains(text, "SECRET") {
		t.Errorf("the error is %q", text)
	}
	t.Logf("the error is %v", err)
}

// expectStillWorks publishes once more with the same client.
func (b *bus) expectStillWorks(c *sfstream.Client) {
	b.t.Helper()
	b.mu.Lock()
	b.script, b.getTopic = nil, nil
	b.mu.Unlock()
	results, err := c.Publish(b.t.Context(), channel, order{Number: 4711})
	expectOutcomes(b.t, results, err, sfstream.Published)
	if numbers := b.numbers(); numbers[len(numbers)-1] != 4711 {
		b.t.Errorf("the channel has %v", numbers)
	}
}
