package fuzz

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/scripted"
)

// The lanes of a hostile Pub/Sub API, after that of the client's options.
const (
	laneDial   = iota + 1
	laneTopic  // GetTopic
	laneSchema // GetSchema
	laneStream // Subscribe of orders
	laneSecond // Subscribe of another channel
	busLanes
)

// A server of the Pub/Sub API that says anything cannot make a client panic, hang, storm it, or
// tell its token.
func FuzzPubSubReplies(f *testing.F) {
	events := "\x01\x03\x00\x00\x00\x00\x00\x00"
	for _, seed := range [][]byte{
		nil,
		program("", "", "", "", events+"\x02\x00"),
		program("\x01\x01\x01\x01\x01\x01\x01", "", "", "", events+events, events+"\x02\x01"),
		program("", "\x00\x01\x02\x03", "\x00", "", "\x05\x00"),
		program("", "", "\x00\x01\x02\x03\x04", "\x01\x00\x01", events+"\x03\x05"),
		program("", "", "", "\x01\x02", events),
		program("", "", "", "\x01\x03\x00", events+"\x04\x10abcdefghijklmnop"),
		program("\x01\x00\x01\x00\x00\x00\x00", "", "\x00", "\x00\x02", "\x01\x02\x01\x01\x01\x01\x01\x01\x06\x04\x01", events),
		program("", "", "", "", "\x07\x02"+events+"\x08"),
		program("\x00\x00\x02\x00\x01", "", "", "", events+"\x06\x03\x00\x00\x05"),
		program("", "", "", "", "\x01\x04\x05\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x09\x0a\x0b\x0c"),
		program("\x00\x00\x00\x00\x00\x01\x00", "", "", "", events+"\x0a"), // brings something and ends, each time
		[]byte("\xff\xfe\xff\xfe\x01\x03\x00\xff\xba\x01\x03\xba\xba"),     // an rpc id that is the token but for one byte
		[]byte("\xff\xfe\xff\xfe\x01\x03\x00[g"),                           // one of 10,000 bytes
		program("\x00\x00\x01\x00\x00\x01\x00", "", "", "", "\x09\x08\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x0a"),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		inFuzzBubble(t, func(t *testing.T) {
			b := newHostileBus(t, input)
			options := b.lanes[laneOptions]
			v := newVictim(t, options, sfstream.WithPubSubEndpoint("http://127.0.0.1:7443"), sfstream.WithPubSubDialOptions(grpc.WithContextDialer(b.dial)))
			b.pace = v.pace
			again := options.pick(2) == 1
			for _, l := range b.lanes {
				l.again = again
			}
			channels := one(options, [][]string{{lab.Orders}, {lab.Orders, "/data/ChangeEvents"}})
			v.live(channels...)
		})
	})
}

// hostileBus is a Pub/Sub API that follows a program. Its messages may be any bytes.
type hostileBus struct {
	t     *testing.T
	lanes []*lane
	pace  *pace
	grpc  *grpc.Server
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	wg    sync.WaitGroup

	mu   sync.Mutex
	open []net.Conn
}

func newHostileBus(t *testing.T, input []byte) *hostileBus {
	b := &hostileBus{t: t, lanes: newLanes(input, busLanes), conns: make(chan net.Conn), done: make(chan struct{})}
	b.grpc = grpc.NewServer(grpc.ForceServerCodecV2(scripted.PreparedCodec{CodecV2: encoding.GetCodecV2("proto")}), grpc.UnknownServiceHandler(b.handle))
	b.wg.Go(func() { _ = b.grpc.Serve(b) }) // ends with Stop
	t.Cleanup(func() {
		b.cut()
		b.grpc.Stop()
		_ = b.Close()
		b.wg.Wait()
	})
	return b
}

// Accept, Close and Addr make it a net.Listener.
func (b *hostileBus) Accept() (net.Conn, error) {
	select {
	case c := <-b.conns:
		return c, nil
	case <-b.done:
		return nil, net.ErrClosed
	}
}

func (b *hostileBus) Close() error {
	b.once.Do(func() { close(b.done) })
	return nil
}

func (b *hostileBus) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7443} }

// cut ends all connections.
func (b *hostileBus) cut() {
	b.mu.Lock()
	open := b.open
	b.open = nil
	b.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
}

func (b *hostileBus) dial(ctx context.Context, _ string) (net.Conn, error) {
	l := b.lanes[laneDial]
	step := l.pick(8)
	waitFor(ctx, 100*time.Millisecond) // the handshakes of TCP and TLS
	if err := ctx.Err(); err != nil {
		return nil, err // the bus may have ended too, and wait for no more goroutines
	}
	if !b.pace.add("dial") {
		step = 2
	}
	switch step {
	case 1:
		return nil, errors.New("connection refused")
	case 2:
		<-ctx.Done()
		return nil, ctx.Err()
	}
	client, server := net.Pipe()
	b.mu.Lock()
	b.open = append(b.open, server)
	b.mu.Unlock()
	switch step {
	case 3: // not HTTP/2
		text := one(l, [][]byte{[]byte("HTTP/1.1 502 Bad Gateway\r\n\r\n" + fuzzedToken), l.raw(), []byte("\x00\x00\x04\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00"), nil})
		b.wg.Go(func() { _, _ = io.Copy(io.Discard, server) }) // ends with the connection
		b.wg.Go(func() {                                       // so does this
			_, _ = server.Write(text)
			l.wait(context.Background())
			_ = server.Close()
		})
	case 4: // a server's settings, and then any frames
		text := append([]byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00"), l.raw()...)
		b.wg.Go(func() { _, _ = io.Copy(io.Discard, server) })
		b.wg.Go(func() {
			_, _ = server.Write(text)
			waitFor(context.Background(), time.Minute)
			_ = server.Close()
		})
	default:
		select {
		case b.conns <- server:
		case <-b.done:
			_ = server.Close()
		case <-ctx.Done():
			_ = server.Close()
			return nil, ctx.Err()
		}
	}
	return client, nil
}

// handle is any call.
func (b *hostileBus) handle(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	kind := method[strings.LastIndexByte(method, '/')+1:]
	ctx := stream.Context()
	more := b.pace.add(kind)
	waitFor(ctx, time.Millisecond) // a fast network
	if !more {
		<-ctx.Done()
		return ctx.Err()
	}
	switch kind {
	case "GetTopic":
		req := new(eventbus.TopicRequest)
		if err := stream.RecvMsg(req); err != nil {
			return err
		}
		return b.unary(stream, b.lanes[laneTopic], func(l *lane) []byte { return b.topic(l, req) })
	case "GetSchema":
		req := new(eventbus.SchemaRequest)
		if err := stream.RecvMsg(req); err != nil {
			return err
		}
		return b.unary(stream, b.lanes[laneSchema], func(l *lane) []byte { return b.schema(l, req) })
	default:
		return b.subscribe(stream)
	}
}

// unary answers a call that has one answer.
func (b *hostileBus) unary(stream grpc.ServerStream, l *lane, answer func(*lane) []byte) error {
	switch l.pick(10) {
	case 0:
		return stream.SendMsg(scripted.PreparedResponse(answer(new(lane))))
	case 1, 2:
		return stream.SendMsg(scripted.PreparedResponse(answer(l)))
	case 3:
		return b.failure(stream, l)
	case 4:
		return stream.SendMsg(scripted.PreparedResponse(l.raw()))
	case 5:
		return nil // no answer, and no error
	case 6:
		l.wait(stream.Context())
		return stream.SendMsg(scripted.PreparedResponse(answer(new(lane))))
	case 7:
		<-stream.Context().Done()
		return nil
	case 8:
		_ = stream.SendMsg(scripted.PreparedResponse(answer(new(lane))))
		return stream.SendMsg(scripted.PreparedResponse(answer(l))) // two answers
	default:
		b.cut()
		return nil
	}
}

func (b *hostileBus) topic(l *lane, req *eventbus.TopicRequest) []byte {
	info := &eventbus.TopicInfo{TopicName: req.TopicName, CanSubscribe: true, SchemaId: "s1", RpcId: "rpc"}
	for range l.pick(4) {
		switch l.pick(4) {
		case 0:
			info.CanSubscribe = false
		case 1:
			info.TopicName = valid(l.text())
		case 2:
			info.SchemaId = valid(l.text())
		case 3:
			info.RpcId = valid(l.text())
		}
	}
	return encoded(l, info)
}

var oddSchemas = []string{
	`{"type":"record","name":"E","namespace":"com.sforce.eventbus","fields":[{"name":"CreatedDate","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"Number__c","type":["null","double"]},{"name":"Text","type":["null","string"]}]}`,
	`{"type":"record","name":"ChangeEvent","namespace":"com.sforce.eventbus","fields":[{"name":"ChangeEventHeader","type":{"type":"record","name":"ChangeEventHeader","fields":[{"name":"entityName","type":"string"},{"name":"recordIds","type":{"type":"array","items":"string"}},{"name":"commitTimestamp","type":"long"},{"name":"nulledFields","type":{"type":"array","items":"string"}},{"name":"diffFields","type":{"type":"array","items":"string"}},{"name":"changedFields","type":{"type":"array","items":"string"}}]}},{"name":"Name","type":["null","string",{"type":"record","name":"N","fields":[{"name":"First","type":["null","string"]}]}]}]}`,
	`{"type":"record","name":"R","fields":[{"name":"r","type":"R"}]}`,
	`{"type":"record","name":"R","fields":[{"name":"r","type":["null","R"]},{"name":"all","type":{"type":"array","items":"R"}}]}`,
	`{"type":"record","name":"E","fields":[{"name":"list","type":{"type":"array","items":"null"}}]}`,
	`{"type":"record","name":"E","fields":[{"name":"list","type":{"type":"array","items":{"type":"record","name":"Empty","fields":[]}}}]}`,
	`{"type":"record","name":"E","fields":[{"name":"m","type":{"type":"map","values":"bytes"}},{"name":"x","type":{"type":"fixed","name":"F","size":4000000000}}]}`,
	`{"type":"record","name":"E","fields":[{"name":"e","type":{"type":"enum","name":"S","symbols":["A"]}},{"name":"b","type":"boolean"},{"name":"f","type":"float"},{"name":"i","type":"int"}]}`,
	`{"type":"record","name":"E","fields":[{"name":"u","type":[]}]}`, `"string"`, `["null","string"]`, `{}`, ``, `null`, `{"type":"record"}`,
	`{"type":"record","name":"E","fields":[]}`, `{"type":"record","name":"E","fields":[{"name":"","type":"string"},{"name":"","type":"string"}]}`,
}

func (b *hostileBus) schema(l *lane, req *eventbus.SchemaRequest) []byte {
	info := &eventbus.SchemaInfo{SchemaId: req.SchemaId, SchemaJson: one(l, oddSchemas), RpcId: "rpc"}
	switch l.pick(8) {
	case 1:
		info.SchemaId = valid(l.text())
	case 2:
		info.SchemaJson = valid(string(l.raw()))
	case 3:
		info.SchemaJson = valid(l.value(4))
	case 4:
		info.SchemaJson = `{"type":"record","name":"E","fields":[{"name":` + quoted(l.text()) + `,"type":` + valid(l.value(3)) + `}]}`
	case 5:
		n := 40 * l.pick(256)
		info.SchemaJson = `{"type":"record","name":"E","fields":[{"name":"x","type":` + strings.Repeat(`{"type":"array","items":`, n) + `"int"` + strings.Repeat("}", n) + `}]}`
	}
	return encoded(l, info)
}

// encoded is a message's encoding, or nearly so.
func encoded(l *lane, m proto.Message) []byte {
	text, err := proto.Marshal(m)
	if err != nil {
		return []byte("\xff")
	}
	switch l.pick(8) {
	case 1:
		text = text[:l.pick(256)*len(text)/256]
	case 2:
		text = bytes.ReplaceAll(text, []byte(secretMark), []byte("no-token")) // with another byte it is none
		if len(text) > 0 {
			text[l.pick(256)*len(text)/256] ^= byte(1 + l.pick(255))
		}
	case 3:
		text = append(text, l.raw()...)
	}
	return text
}

func valid(s string) string { return strings.ToValidUTF8(s, "?") }

// failure is the end of a call with a status and odd trailers.
func (b *hostileBus) failure(stream grpc.ServerStream, l *lane) error {
	code := codes.Code(l.pick(18))
	message := valid(l.errorText(busSays))
	for range l.pick(3) {
		value := l.errorText([]string{"", "sfdc.platform.eventbus.grpc.topic.not.found", "sfdc.platform.eventbus.grpc.service.unavailable", "1"})
		value = strings.Map(func(r rune) rune { // what gRPC can send
			if r < ' ' || r > '~' {
				return '?'
			}
			return r
		}, value)
		stream.SetTrailer(metadata.Pairs(one(l, []string{"rpc-id", "error-code", "retry-after", "grpc-retry-pushback-ms"}), value))
	}
	if l.pick(2) == 1 {
		stream.SetTrailer(metadata.Pairs("error-code", "sfdc.platform.eventbus.grpc."+one(l, busReasons)))
	}
	if code == codes.OK {
		return nil
	}
	return status.Error(code, message)
}

var busSays = []string{"it failed", "it failed rpcId: 1234", "Replay ID validation failed", "", "upstream connect error", " rpcId:  rpcId: "}

var busReasons = []string{
	"service.unavailable", "service.auth.error", "service.auth.headers.invalid", "service.protection.triggered", "concurrent.client.limit.exceeded", "topic.not.found",
	"topic.meta.permission", "schema.api.unavailable", "schema.validation.failed", "subscription.fetch.replayid.corrupted", "subscription.fetch.replayid.validation.failed",
	"subscription.fetch.overflow", "subscription.fetch.request.invalid", "subscription.limit.exceeded", "subscription.internal.error", "subscription.topic.cannot.subscribe",
}

// subscribe is a stream.
func (b *hostileBus) subscribe(stream grpc.ServerStream) error {
	ctx := stream.Context()
	first := new(eventbus.FetchRequest)
	if err := stream.RecvMsg(first); err != nil {
		return err
	}
	l := b.lanes[laneStream]
	if first.TopicName != lab.Orders {
		l = b.lanes[laneSecond]
	}
	b.wg.Go(func() { b.requests(stream, first) }) // ends with the stream
	for {
		waitFor(ctx, time.Millisecond)
		if !b.pace.add("step") {
			<-ctx.Done()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var err error
		ended := false
		switch l.pick(16) {
		case 0, 14, 15: // nothing for a while
			waitFor(ctx, time.Minute)
			err = b.send(stream, &eventbus.FetchResponse{LatestReplayId: replayID(0)})
		case 1, 2, 3:
			err = stream.SendMsg(scripted.PreparedResponse(encoded(l, b.events(l))))
		case 4:
			err = stream.SendMsg(scripted.PreparedResponse(l.raw()))
		case 5:
			ended, err = true, b.failure(stream, l)
		case 6:
			l.wait(ctx)
		case 7: // more than was asked for
			text := encoded(l, b.events(l))
			for range 4 * l.pick(256) {
				if err == nil && b.pace.grant(len(text)+100) {
					err = stream.SendMsg(scripted.PreparedResponse(text))
				}
			}
		case 8:
			b.cut()
		case 9:
			err = b.send(stream, &eventbus.FetchResponse{LatestReplayId: l.raw(), PendingNumRequested: oddCount(l), RpcId: valid(l.text())})
		case 10:
			ended = true
		case 11:
			<-ctx.Done()
		case 12: // large, or too large
			if n := 1 << l.pick(25); b.pace.grant(n >> 4) {
				err = b.send(stream, &eventbus.FetchResponse{Events: []*eventbus.ConsumerEvent{{Event: &eventbus.ProducerEvent{SchemaId: "s1", Payload: make([]byte, n)}}}})
			}
		case 13:
			err = stream.SendHeader(metadata.Pairs("grpc-encoding", one(l, []string{"gzip", "identity", ""}), "x", strings.Repeat("y", 1<<l.pick(14))))
			if err != nil {
				err = nil // it was sent
				waitFor(ctx, time.Millisecond)
			}
		}
		if ended || err != nil {
			return err
		}
	}
}

// requests sees what a stream is asked for.
func (b *hostileBus) requests(stream grpc.ServerStream, req *eventbus.FetchRequest) {
	for first := true; ; first = false {
		if req.NumRequested < 1 || req.NumRequested > 100 || (req.TopicName != lab.Orders && req.TopicName != "/data/ChangeEvents") || !first && len(req.ReplayId) > 0 {
			b.t.Errorf("a request for %d events of %q after %x", req.NumRequested, req.TopicName, req.ReplayId)
		}
		req = new(eventbus.FetchRequest)
		if stream.RecvMsg(req) != nil {
			return
		}
	}
}

func (b *hostileBus) send(stream grpc.ServerStream, m proto.Message) error {
	text, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	return stream.SendMsg(scripted.PreparedResponse(text))
}

func oddCount(l *lane) int32 { return one(l, []int32{0, 1, -1, 100, 2147483647, -2147483648, 199}) }

func replayID(n int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

// events are some, by and large of the schema that they name.
func (b *hostileBus) events(l *lane) *eventbus.FetchResponse {
	response := &eventbus.FetchResponse{LatestReplayId: replayID(9), RpcId: "rpc", PendingNumRequested: oddCount(l)}
	for range 1 + l.pick(5) {
		n := l.pick(8)
		e := &eventbus.ConsumerEvent{ReplayId: replayID(n), Event: &eventbus.ProducerEvent{Id: "u" + string(rune('0'+n)), SchemaId: one(l, []string{"s1", "s2", "s3", ""})}}
		switch l.pick(4) {
		case 0: // of the first schema
			e.Event.Payload = append(binary.AppendVarint(nil, 946684800000+int64(n)), 0, 2, 2, 'x')
		case 1: // of the second
			e.Event.Payload = append([]byte{2, 'E', 2, 36}, "001000000000001AAA"...)
			e.Event.Payload = append(binary.AppendVarint(append(e.Event.Payload, 0), 946684800000), 0, 0, 0, 0)
		default:
			e.Event.Payload = l.raw()
		}
		switch l.pick(8) {
		case 1:
			e.ReplayId = nil
		case 2:
			e.ReplayId = l.raw()
		case 3:
			e.Event = nil
		case 4:
			e.Event.Id = valid(l.text())
		case 5:
			e.Event.SchemaId = valid(l.text())
		case 6:
			e.Event.Headers = []*eventbus.EventHeader{{Key: valid(l.text()), Value: l.raw()}}
		case 7:
			e.Event.Payload = bytes.Repeat(l.raw(), 1+l.pick(256))
		}
		response.Events = append(response.Events, e)
	}
	return response
}
