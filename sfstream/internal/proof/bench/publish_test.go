package bench

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"reflect"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/avro"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/internal/outbox"
)

// BenchmarkPublish compares a program that publishes structs, with Publish in batches of 200 and
// with a Publisher, with grpc-go alone that sends payloads which are encoded already.
func BenchmarkPublish(b *testing.B) {
	addr := startBenchServer(b)
	for _, how := range []string{"batches", "publisher"} {
		b.Run(how, func(b *testing.B) {
			args := publishArgs{Addr: addr, How: how, Events: *benchEvents}
			var last cost
			floor := func() cost { last = measure(b, "bench publish bare", args); return last }
			compare(b, "bare", floor, func() cost { return measure(b, "bench publish", args) })
			b.ReportMetric(last.eventsPerS(), "bare-events/s")
			b.ReportMetric(measure(b, "bench encode", args).cpuPerEvent(), "encode-µs/event")
		})
	}
}

type publishArgs struct {
	Addr, How string
	Events    int
}

const (
	publishChannel = "/event/Platform0__e"
	publishBatch   = 200
	publishWindow  = 16 // requests under way on a stream
)

type publishedOrder struct {
	CreatedByID string  `sf:"CreatedById"`
	Number      string  `sf:"Number__c"`
	City        string  `sf:"City__c"`
	Amount      float64 `sf:"Amount__c"`
	Paid        bool    `sf:"Paid__c"`
}

var anOrder = publishedOrder{"005000000000001AAA", "A-000001234", "Lyon-03", 1250.5, true}

// publishOurs publishes, and prints what that costs.
func publishOurs(args publishArgs) error {
	client, err := sfstream.New(
		authenticator.Static{AccessToken: "token", InstanceURL: "https://bench.my.salesforce.com", OrgID: "00D000000000062EAA"},
		sfstream.WithPubSubEndpoint("http://"+args.Addr))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx := context.Background()
	if err := client.Open(ctx); err != nil {
		return err
	}
	publish := publishBatches
	if args.How == "publisher" {
		publish = publishStream
	}
	if err := publish(ctx, client, benchWarmup); err != nil {
		return err
	}
	started := startMeter()
	if err := publish(ctx, client, args.Events); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(started.read(args.Events))
}

func publishBatches(ctx context.Context, client *sfstream.Client, n int) error {
	events := make([]any, publishBatch)
	for ; n > 0; n -= publishBatch {
		for i := range events {
			events[i] = &anOrder
		}
		if _, err := client.Publish(ctx, publishChannel, events...); err != nil {
			return err
		}
	}
	return nil
}

func publishStream(ctx context.Context, client *sfstream.Client, n int) error {
	p, err := client.Publisher(publishChannel)
	if err != nil {
		return err
	}
	for range n {
		if _, err := p.Publish(ctx, &anOrder); err != nil {
			return err
		}
	}
	return p.Close(ctx)
}

// encodeOnly encodes what publishOurs publishes, and sends nothing.
func encodeOnly(args publishArgs) error {
	conn, err := dialBench(args.Addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, client := context.Background(), eventbus.Client{Conn: conn}
	info, err := client.GetTopic(ctx, &eventbus.TopicRequest{TopicName: publishChannel})
	if err != nil {
		return err
	}
	schema, err := new(avro.Registry).Get(ctx, info.SchemaId, func(ctx context.Context, id string) (string, error) {
		schema, err := client.GetSchema(ctx, &eventbus.SchemaRequest{SchemaId: id})
		return schema.GetSchemaJson(), err
	})
	if err != nil {
		return err
	}
	var payload []byte
	binder, started := &avro.Binder{Value: func(v reflect.Value) (reflect.Value, avro.Mark, bool) { return v, avro.Set, false }}, startMeter()
	for range args.Events {
		if payload, err = binder.Append(payload[:0], schema, &anOrder, avro.System{CreatedDate: time.Now()}); err != nil {
			return err
		}
	}
	return json.NewEncoder(os.Stdout).Encode(started.read(args.Events))
}

// publishBare is the floor: grpc-go with its standard codec, which sends prepared payloads.
func publishBare(args publishArgs) error {
	conn, err := dialBench(args.Addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, client := context.Background(), eventbus.Client{Conn: conn}
	payload := make([]byte, 60)
	send := func(n int) error { return bareBatches(ctx, client, payload, n) }
	if args.How == "publisher" {
		send = func(n int) error { return bareStream(ctx, client, payload, n) }
	}
	if err := send(benchWarmup); err != nil {
		return err
	}
	started := startMeter()
	if err := send(args.Events); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(started.read(args.Events))
}

// bareRequest is a request of prepared events with new ids.
func bareRequest(payload []byte) *eventbus.PublishRequest {
	req := &eventbus.PublishRequest{TopicName: publishChannel}
	for _, id := range outbox.IDs(publishBatch) {
		req.Events = append(req.Events, &eventbus.ProducerEvent{Id: id, SchemaId: "JvH0MLMRe6ZBVjW0yHR2aA", Payload: payload})
	}
	return req
}

func bareBatches(ctx context.Context, client eventbus.Client, payload []byte, n int) error {
	for ; n > 0; n -= publishBatch {
		resp, err := client.Publish(ctx, bareRequest(payload))
		if err != nil {
			return err
		}
		if len(resp.Results) != publishBatch {
			return errors.New("results are missing")
		}
	}
	return nil
}

func bareStream(ctx context.Context, client eventbus.Client, payload []byte, n int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := client.PublishStream(ctx)
	if err != nil {
		return err
	}
	window, failed := make(chan struct{}, publishWindow), make(chan error, 1)
	go func() { // ends with the stream
		for left := n; left > 0; {
			resp, err := stream.Recv()
			if err != nil {
				failed <- err
				return
			}
			left -= len(resp.Results)
			<-window
		}
		failed <- nil
	}()
	for ; n > 0; n -= publishBatch {
		window <- struct{}{}
		if err := stream.Send(bareRequest(payload)); err != nil {
			return err
		}
	}
	return <-failed
}

// Publish publishes nothing, and says that it has.
func (s *benchServer) Publish(_ context.Context, req *eventbus.PublishRequest) (*eventbus.PublishResponse, error) {
	results, refs := make([]eventbus.PublishResult, len(req.Events)), make([]*eventbus.PublishResult, len(req.Events))
	now := uint64(time.Now().UnixNano())
	for i, event := range req.Events {
		refs[i] = &results[i]
		refs[i].CorrelationKey, refs[i].ReplayId = event.Id, binary.BigEndian.AppendUint64(make([]byte, 0, 10), now+uint64(i))[:10]
	}
	return &eventbus.PublishResponse{Results: refs}, nil
}

// PublishStream does what Publish does.
func (s *benchServer) PublishStream(stream grpc.BidiStreamingServer[eventbus.PublishRequest, eventbus.PublishResponse]) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		resp, _ := s.Publish(stream.Context(), req)
		if err := stream.Send(resp); err != nil {
			return err
		}
	}
}
