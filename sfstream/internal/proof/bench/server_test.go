package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/scripted"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// serveBench is a process that serves the same event of each benchShape again and again, as fast as
// it is asked for them, and on liveChannel one at a time. It prints its address and ends with
// stdin.
//
// The events are made by an sfstreamtest; it does not serve them because its CPU per event would be
// more than the client's.
func serveBench() error {
	org, err := sfstreamtest.Start()
	if err != nil {
		return err
	}
	defer org.Close()
	server := &benchServer{events: make(map[string]*preparedEvent), schemas: make(map[string]string)}
	for _, shape := range benchShapes {
		if err := server.prepare(org, shape); err != nil {
			return fmt.Errorf("%s: %w", shape.name, err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	g := grpc.NewServer(grpc.ForceServerCodecV2(scripted.PreparedCodec{CodecV2: encoding.GetCodecV2("proto")}))
	eventbus.Register(g, server)
	go func() { // ends with stdin, as the process does
		_, _ = io.Copy(io.Discard, os.Stdin)
		g.Stop()
	}()
	fmt.Println(listener.Addr())
	return g.Serve(listener)
}

// benchShape is a kind of event.
type benchShape struct {
	name    string
	channel string // with %d for one of several
	bytes   int    // of the payload
	publish func(*sfstreamtest.Server) (channel string, err error)
}

func (s benchShape) channels(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf(s.channel, i)
	}
	return names
}

var benchShapes = []benchShape{
	{"update", "/data/Update%d__ChangeEvent", 337, publishUpdate},
	{"create", "/data/Create%d__ChangeEvent", 979, func(org *sfstreamtest.Server) (string, error) {
		set := map[string]any{
			"Name": "Acme", "Type": "Customer", "Phone": "+33 4 72 00 00 00", "Website": "https://www.acme.example",
			"Industry": "Manufacturing", "NumberOfEmployees": 1200, "AnnualRevenue": 12.5e6, "Description": strings.Repeat("text ", 20),
			"BillingAddress": map[string]any{
				"Street": "12 Rue de la République", "City": "Lyon", "PostalCode": "69002", "Country": "France",
			},
			"OwnerId": "005000000000001AAA", "CreatedById": "005000000000001AAA", "LastModifiedById": "005000000000001AAA",
			"CreatedDate": time.Now(), "LastModifiedDate": time.Now(),
		}
		for i := range 26 {
			set[fmt.Sprintf("Text%d__c", i)] = "some text of a field"[:12+i%8]
		}
		return publishAccount(org, "CREATE", set)
	}},
	{"grouped", "/data/Grouped%d__chn", 337, publishUpdate}, // several events can share a replay id
	{"platform", "/event/Platform%d__e", 60, func(org *sfstreamtest.Server) (string, error) {
		const channel = "/event/Order__e"
		err := org.DefineEvent(channel, `{"type": "record", "name": "Order__e", "namespace": "com.sforce.eventbus", "fields": [
			{"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
			{"name": "CreatedById", "type": "string", "doc": "CreatedBy:EntityId"},
			{"name": "Number__c", "type": ["null", "string"], "default": null},
			{"name": "City__c", "type": ["null", "string"], "default": null},
			{"name": "Amount__c", "type": ["null", "double"], "default": null},
			{"name": "Paid__c", "type": ["null", "boolean"], "default": null}]}`)
		if err != nil {
			return "", err
		}
		_, err = org.Publish(channel, map[string]any{
			"Number__c": "A-000001234", "City__c": "Lyon-03", "Amount__c": 1250.5, "Paid__c": true,
		})
		return channel, err
	}},
}

func publishUpdate(org *sfstreamtest.Server) (channel string, err error) {
	return publishAccount(org, "UPDATE", map[string]any{
		"Phone": "+33 4 72 00 00 00", "Website": "https://www.acme.example", "Industry": "Manufacturing",
		"NumberOfEmployees": 1200, "Description": strings.Repeat("text ", 8),
	})
}

// publishAccount publishes a change of an Account, which has 61 fields.
func publishAccount(org *sfstreamtest.Server, kind string, set map[string]any) (channel string, err error) {
	fields := []sfstreamtest.Field{{Name: "Name", Type: "Switchable_PersonName"}}
	add := func(typ string, names ...string) {
		for _, name := range names {
			fields = append(fields, sfstreamtest.Field{Name: name, Type: typ})
		}
	}
	add("DynamicEnum", "Type", "Industry", "Ownership", "Rating")
	add("EntityId", "ParentId", "OwnerId", "CreatedById", "LastModifiedById")
	add("Address", "BillingAddress", "ShippingAddress")
	add("Phone", "Phone", "Fax")
	add("Text", "AccountNumber", "Sic", "Site", "TickerSymbol", "Website")
	add("Currency", "AnnualRevenue")
	add("Integer", "NumberOfEmployees")
	add("StringPlusClob", "Description")
	add("DateTime", "CreatedDate", "LastModifiedDate")
	add("Boolean", "Active__c")
	for i := range 36 {
		add("Text", fmt.Sprintf("Text%d__c", i))
	}
	if err := org.DefineObject("Account", fields...); err != nil {
		return "", err
	}
	_, err = org.Change(sfstreamtest.Change{
		Object: "Account", Type: kind, RecordIDs: []string{"001000000000001AAA"}, Set: set,
		Origin: "com/salesforce/api/soap/62.0;client=SfdcInternalAPI/",
	})
	return "/data/AccountChangeEvent", err
}

type benchServer struct {
	eventbus.Server                           // the methods that no benchmark calls
	events          map[string]*preparedEvent // by the channel's format
	schemas         map[string]string         // by id
}

// preparedEvent is an event as it stands in a FetchResponse, with the place of its replay id.
type preparedEvent struct {
	schemaID string
	encoded  []byte
	replayID int
}

// prepare lets org make an event and takes it from its stream.
func (s *benchServer) prepare(org *sfstreamtest.Server, shape benchShape) error {
	channel, err := shape.publish(org)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	creds, err := org.Authenticator().Authenticate(ctx, authenticator.Login{URL: org.LoginURL(), HTTPClient: org.HTTPClient()})
	if err != nil {
		return err
	}
	conn, err := dialBench(strings.TrimPrefix(org.PubSubEndpoint(), "http://"), org.DialOptions()...)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx = metadata.AppendToOutgoingContext(ctx, "accesstoken", creds.AccessToken, "instanceurl", creds.InstanceURL, "tenantid", creds.OrgID)
	client := eventbus.Client{Conn: conn}
	stream, err := client.Subscribe(ctx)
	if err != nil {
		return err
	}
	err = stream.Send(&eventbus.FetchRequest{TopicName: channel, ReplayPreset: eventbus.ReplayPreset_EARLIEST, NumRequested: 100})
	if err != nil {
		return err
	}
	got, err := stream.Recv()
	if err != nil {
		return err
	}
	event := got.Events[len(got.Events)-1]
	if size := len(event.Event.Payload); size < shape.bytes*9/10 || size > shape.bytes*11/10 {
		return fmt.Errorf("the payload has %d bytes, not %d", size, shape.bytes)
	}
	info, err := client.GetSchema(ctx, &eventbus.SchemaRequest{SchemaId: event.Event.SchemaId})
	if err != nil {
		return err
	}
	encoded, err := proto.Marshal(&eventbus.FetchResponse{Events: []*eventbus.ConsumerEvent{event}})
	if err != nil {
		return err
	}
	s.schemas[info.SchemaId] = info.SchemaJson
	s.events[shape.channel] = &preparedEvent{
		schemaID: info.SchemaId, encoded: encoded, replayID: bytes.LastIndex(encoded, event.ReplayId),
	}
	return nil
}

func (s *benchServer) event(channel string) *preparedEvent {
	var i int
	if channel == liveChannel {
		channel = "/event/Platform0__e" // it has its schema
	}
	for format, event := range s.events {
		if n, _ := fmt.Sscanf(channel, format, &i); n == 1 {
			return event
		}
	}
	return nil
}

func (s *benchServer) GetTopic(_ context.Context, req *eventbus.TopicRequest) (*eventbus.TopicInfo, error) {
	event := s.event(req.TopicName)
	if event == nil {
		return nil, errors.New("no such channel")
	}
	return &eventbus.TopicInfo{TopicName: req.TopicName, CanSubscribe: true, CanPublish: true, SchemaId: event.schemaID}, nil
}

func (s *benchServer) GetSchema(_ context.Context, req *eventbus.SchemaRequest) (*eventbus.SchemaInfo, error) {
	return &eventbus.SchemaInfo{SchemaId: req.SchemaId, SchemaJson: s.schemas[req.SchemaId]}, nil
}

// Subscribe answers each request with as many events as it asks for.
func (s *benchServer) Subscribe(stream grpc.BidiStreamingServer[eventbus.FetchRequest, eventbus.FetchResponse]) error {
	var event *preparedEvent
	for replayID := uint64(1_000_000); ; {
		req, err := stream.Recv()
		if err != nil {
			return nil // the client has gone
		}
		if event == nil {
			event = s.event(req.TopicName)
		}
		if req.TopicName == liveChannel {
			if err := sendLive(stream, event, req.NumRequested); err != nil {
				return nil // the client has gone
			}
			continue
		}
		// grpc still holds the last response: each has a slice of its own.
		n := int(req.NumRequested)
		response := make(scripted.PreparedResponse, 0, n*len(event.encoded)+32)
		for range n {
			at := len(response) + event.replayID
			response = append(response, event.encoded...)
			replayID += 3
			binary.BigEndian.PutUint64(response[at:], replayID)
		}
		last := binary.BigEndian.AppendUint64(nil, replayID)
		end, err := proto.Marshal(&eventbus.FetchResponse{LatestReplayId: append(last, 0, 0)})
		if err != nil {
			return err
		}
		if err := stream.SendMsg(append(response, end...)); err != nil {
			return err
		}
	}
}

// liveChannel has events that come one by one, with a pause of up to 2 ms between them. What they
// carry is the time at which they were sent.
const liveChannel = "/event/Live__e"

func sendLive(stream grpc.ServerStream, like *preparedEvent, n int32) error {
	for range n {
		<-time.After(500*time.Microsecond + rand.N(1500*time.Microsecond))
		now := binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixNano()))
		err := stream.SendMsg(&eventbus.FetchResponse{Events: []*eventbus.ConsumerEvent{{
			ReplayId: now, Event: &eventbus.ProducerEvent{SchemaId: like.schemaID, Payload: now},
		}}})
		if err != nil {
			return err
		}
	}
	return nil
}
