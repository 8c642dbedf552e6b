package sfstream

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream/internal/avro"
	"github.com/sfstream/sfstream-go/sfstream/internal/bayeux"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

const (
	// maxCredit is what Salesforce lets a stream have outstanding; it clamps more.
	maxCredit = 100

	// maxResponse is far above the 3 MB at which Salesforce splits responses: one
	// that is refused for its size would come again forever.
	maxResponse = 16 << 20

	// Credit bounds what a server sends; the windows are there so that HTTP/2 does
	// not, and does not measure the bandwidth all the time. A response of 100 change
	// events mostly fits into the read buffer.
	streamWindow = 4 << 20
	connWindow   = 16 << 20
	readBuffer   = 64 << 10

	// unaryTimeout bounds GetTopic and GetSchema. A cold GetTopic was seen to take 4 s.
	unaryTimeout = 20 * time.Second

	// groupCreditEvery is less than the minute that a stream without demand lives.
	groupCreditEvery = 45 * time.Second

	// openTimeout bounds the opening of a stream, which waits for the connection
	// but for no answer.
	openTimeout = 20 * time.Second
)

// pubsub is the transport over the Pub/Sub API. Its streams share a connection.
type pubsub struct {
	endpoint string
	dial     []grpc.DialOption
	silence  time.Duration // WithKeepaliveTimeout
	raw      func(channel string, response []byte)
	log      *slog.Logger
	schemas  avro.Registry

	mu        sync.Mutex
	conn      *connection // for new sessions; nil: to be made
	most      int         // sessions on a connection: fewer where it turned out to carry fewer streams
	calls     *connection // for calls, where streams may take all that one carries; nil: to be made, if apart
	apart     bool
	pingAfter time.Duration // of connections that are made
}

func newPubsub(cfg *config) *pubsub {
	creds := credentials.NewTLS(nil)
	if cfg.plaintext {
		creds = insecure.NewCredentials()
	}
	return &pubsub{
		endpoint: cfg.endpoint,
		silence:  cfg.keepaliveTimeout,
		most:     maxStreams,
		raw:      cfg.hooks.OnRaw,
		log:      cfg.log,

		pingAfter: pingAfter,
		dial: append([]grpc.DialOption{
			grpc.WithTransportCredentials(creds),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxResponse)),
			grpc.WithInitialWindowSize(streamWindow),
			grpc.WithInitialConnWindowSize(connWindow),
			grpc.WithReadBufferSize(readBuffer),
		}, cfg.dial...),
	}
}

// outgoing adds the metadata that every RPC carries.
func outgoing(ctx context.Context, creds *authenticator.Credentials) context.Context {
	var id [16]byte
	rand.Read(id[:])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // UUID version 4
	return metadata.AppendToOutgoingContext(ctx,
		"accesstoken", creds.AccessToken,
		"instanceurl", creds.InstanceURL,
		"tenantid", creds.OrgID,
		// Infrastructure errors carry no rpc id; support finds the call by this one.
		"x-client-trace-id", fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:]),
	)
}

func (t *pubsub) open(ctx context.Context, creds *authenticator.Credentials, reqs []request) (session, error) {
	req := reqs[0] // a stream has one channel
	conn, err := t.acquire()
	if err != nil {
		return nil, err
	}
	s := &pubsubSession{
		transport: t, conn: conn, client: eventbus.Client{Conn: conn}, creds: creds, sub: req.sub,
		creditDone: make(chan struct{}), sending: make(chan struct{}, 1),
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	if err := s.start(req); err != nil {
		s.cancel()
		s.leave()
		return nil, err
	}
	// Ends with ctx, which close cancels; close waits for it.
	go s.sendCredit()
	return s, nil
}

// start opens the stream and asks for the first events.
func (s *pubsubSession) start(req request) (err error) {
	if req.verify {
		if err := s.verify(); err != nil {
			return err
		}
		if s.conn, err = s.transport.exchange(s.conn); err != nil {
			return err
		}
		s.client = eventbus.Client{Conn: s.conn}
	}
	// A connection that takes no more streams makes new ones wait without a word.
	s.watchdog = time.AfterFunc(openTimeout, s.wake)
	s.stream, err = s.client.SubscribeResponses(outgoing(s.ctx, s.creds))
	if !s.watchdog.Stop() {
		if s.conn.GetState() == connectivity.Ready {
			s.transport.crowded(s.conn)
		}
		return s.forgotten(openTimeout)
	}
	if err != nil {
		return s.translate(err, nil)
	}
	s.counted = true
	s.transport.counted(s.conn, 1)
	first := &eventbus.FetchRequest{TopicName: s.sub.channel, NumRequested: int32(s.sub.firstCredit())}
	switch {
	case len(req.position.id) > 0:
		first.ReplayPreset, first.ReplayId = eventbus.ReplayPreset_CUSTOM, req.position.id
	case req.position.latest:
		first.ReplayPreset = eventbus.ReplayPreset_LATEST
	default:
		first.ReplayPreset = eventbus.ReplayPreset_EARLIEST
	}
	// The error of a Send is io.EOF where the server has already answered; recv
	// then tells what it said.
	if err := s.stream.Send(first); err != nil && !errors.Is(err, io.EOF) {
		return s.translate(err, nil)
	}
	return nil
}

// verify asks whether the channel exists and this user may subscribe to it: a
// stream would only tell later, and silently has no events for some mistakes.
func (s *pubsubSession) verify() error {
	var info *eventbus.TopicInfo
	trailer, err := s.transport.call(s.ctx, s.conn, func(ctx context.Context, client eventbus.Client, opts ...grpc.CallOption) (err error) {
		info, err = client.GetTopic(outgoing(ctx, s.creds), &eventbus.TopicRequest{TopicName: s.sub.channel}, opts...)
		return err
	})
	if err != nil {
		return s.translate(err, trailer)
	}
	if !info.CanSubscribe {
		return &ServerError{
			API: apiPubSub, Channel: s.sub.channel, Code: PermissionDenied, RPCID: said(s.hide(info.RpcId)),
			Message: "this user cannot subscribe to the channel",
		}
	}
	return nil
}

type pubsubSession struct {
	transport *pubsub
	conn      *connection
	client    eventbus.Client
	creds     *authenticator.Credentials
	sub       *subscription
	stream    eventbus.ResponseStream
	response  eventbus.Response // the last one; recv alone uses it
	begun     bool
	counted   bool  // its stream is, at its connection
	failed    error // what recv is to return next

	ctx        context.Context // of the stream; cancelled by close
	cancel     context.CancelFunc
	creditDone chan struct{}
	sending    chan struct{} // held by who sends a request (capacity 1)

	watchdog *time.Timer // runs wake while recv waits
	silent   atomic.Bool // it did

	// The schema of the last event and, for this session, those that there are not.
	// recv alone uses them.
	lastID     string
	lastSchema *avro.Schema
	missing    map[string]*avro.Schema
}

// sendCredit asks for more events as the loop takes them, also while recv
// blocks.
func (s *pubsubSession) sendCredit() {
	defer close(s.creditDone)
	alive := time.NewTicker(groupCreditEvery)
	defer alive.Stop()
	for {
		credit := s.sub.takeCredit
		select {
		case <-s.ctx.Done():
			return
		case <-s.sub.creditDue:
		case <-alive.C:
			credit = s.sub.groupCredit
		}
		select {
		case <-s.ctx.Done():
			return
		case s.sending <- struct{}{}:
			s.ask(credit)
		}
	}
}

// askNow asks for what is wanted after a response. It saves waking sendCredit for
// each, and leaves it to that where it is sending already.
func (s *pubsubSession) askNow() {
	select {
	case s.sending <- struct{}{}:
		s.ask(s.sub.takeCredit)
	default:
		notify(s.sub.creditDue)
	}
}

// ask asks for what is wanted, for who holds sending, and lets go of it. recv has
// the reason of what fails.
func (s *pubsubSession) ask(credit func() int) {
	if n := credit(); n > 0 {
		_ = s.stream.Send(&eventbus.FetchRequest{TopicName: s.sub.channel, NumRequested: int32(n)})
	}
	<-s.sending
}

// wake ends a stream that Salesforce or the network has forgotten.
func (s *pubsubSession) wake() {
	s.silent.Store(true)
	s.cancel()
}

// translate makes a *ServerError of a failed RPC, without the token, which some
// servers repeat.
func (s *pubsubSession) translate(err error, trailer metadata.MD) *ServerError {
	if strings.Contains(err.Error(), "too_many_pings") { // grpc tells of a GOAWAY in words only
		s.transport.punished(s.conn)
	}
	if text := err.Error(); s.hide(text) != text {
		st := status.Convert(err)
		err = status.Error(st.Code(), s.hide(st.Message()))
	}
	e := translate(s.sub.channel, err, trailer)
	e.RPCID, e.Reason = said(s.hide(e.RPCID)), said(s.hide(e.Reason))
	return e
}

func (s *pubsubSession) hide(text string) string {
	return bayeux.Hide(text, s.creds.AccessToken)
}

// forgotten is the error of a stream that was woken.
func (s *pubsubSession) forgotten(after time.Duration) error {
	s.transport.retire(s.conn) // no other stream is to wait as long on it
	return &ServerError{API: apiPubSub, Channel: s.sub.channel, Code: Unavailable, err: errSilent,
		Message: fmt.Sprintf("nothing came for %s, not even a keepalive", after)}
}

func (s *pubsubSession) close() {
	s.watchdog.Stop()
	s.cancel()
	<-s.creditDone
	s.leave()
}

// leave gives up the place at the connection.
func (s *pubsubSession) leave() {
	if s.counted {
		s.transport.counted(s.conn, -1)
	}
	s.transport.release(s.conn)
}

// update has nothing to do: a stream is of one channel, and ends with it.
func (s *pubsubSession) update([]request, []*subscription) {}

func (s *pubsubSession) recv(<-chan struct{}) (batch, error) {
	if !s.begun {
		s.begun = true // the stream itself would tell only with its first event
		return batch{kind: batchAccepted, sub: s.sub}, nil
	}
	if s.failed != nil {
		return batch{}, s.failed
	}
	s.watchdog.Reset(s.transport.silence)
	s.askNow()
	defer s.response.Free()
	err := s.stream.Recv(&s.response)
	s.watchdog.Stop()
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		return batch{}, io.EOF
	case s.silent.Load() && s.sub.nothingAsked():
		return batch{}, io.EOF // without demand there is nothing to hear
	case s.silent.Load():
		return batch{}, s.forgotten(s.transport.silence)
	default:
		failed := s.translate(err, s.stream.Trailer())
		if failed.oversize {
			s.sub.beCareful() // one event at a time is less
		}
		return batch{}, failed
	}
	if s.transport.raw != nil {
		s.transport.raw(s.sub.channel, s.response.Frame)
	}
	if len(s.response.Events) == 0 {
		// Without demand left the server may have more of a group, and no leave to send it.
		return batch{kind: batchQuiet, sub: s.sub, latest: bytes.Clone(s.response.Bytes(s.response.LatestReplayID)), whole: s.response.Pending > 0}, nil
	}
	if s.sub.overrun() {
		return batch{}, &ServerError{API: apiPubSub, Channel: s.sub.channel, Code: Internal, Message: "the server sends what was not asked for"}
	}
	return s.messages(&s.response), nil
}

// messages makes messages of a response: one slab of them, and few allocations
// for what they refer to.
func (s *pubsubSession) messages(r *eventbus.Response) batch {
	messages := make([]Message, len(r.Events))
	ids, copier := r.IDs(), r.Copier()
	for i := range r.Events {
		event, m := &r.Events[i], &messages[i]
		m.Channel = s.sub.channel
		m.ReplayID = copier.Copy(event.ReplayID)
		m.payload = copier.Copy(event.Payload)
		m.ID, ids = ids[:event.ID.Len()], ids[event.ID.Len():]
		id := r.Bytes(event.SchemaID)
		if string(id) == s.lastID && s.lastSchema != nil {
			m.SchemaID, m.schema = s.lastID, s.lastSchema
			continue
		}
		m.SchemaID = string(id)
		var err error
		if m.schema, err = s.schema(m.SchemaID); err != nil {
			// The batch is not lost: the link opens again from the last queued id.
			s.failed = err
			return batch{kind: batchUnread, sub: s.sub, latest: messages[0].ReplayID}
		}
	}
	return batch{kind: batchMessages, sub: s.sub, messages: messages}
}

// schema returns the schema of an id, an unusable one where there will never be
// another. The error is a failure that may pass.
func (s *pubsubSession) schema(id string) (*avro.Schema, error) {
	if missing := s.missing[id]; missing != nil {
		return missing, nil
	}
	schema, err := s.fetchSchema(id)
	switch {
	case err == nil:
		s.lastID, s.lastSchema = id, schema
	case permanentSchemaError(err):
		// Remembered for this session only: a permission may come back.
		if s.missing == nil {
			s.missing = make(map[string]*avro.Schema)
		}
		schema, err = avro.Unusable(err), nil
		s.missing[id] = schema
	}
	return schema, err
}

func (s *pubsubSession) fetchSchema(id string) (*avro.Schema, error) {
	if id == "" {
		return nil, errNoSchemaID // GetSchema of a blank id is an error at Salesforce
	}
	schema, err := s.transport.schemas.Get(s.ctx, id, func(ctx context.Context, id string) (string, error) {
		var info *eventbus.SchemaInfo
		trailer, err := s.transport.call(ctx, s.conn, func(ctx context.Context, client eventbus.Client, opts ...grpc.CallOption) (err error) {
			info, err = client.GetSchema(outgoing(ctx, s.creds), &eventbus.SchemaRequest{SchemaId: id}, opts...)
			return err
		})
		if err != nil {
			return "", s.translate(err, trailer)
		}
		return info.SchemaJson, nil
	})
	if shared, ok := errors.AsType[*ServerError](err); ok && shared.Channel != s.sub.channel {
		own := *shared // of the channel that asked first
		own.Channel = s.sub.channel
		err = &own
	}
	return schema, err
}

var errNoSchemaID = errors.New("the event names no schema")

// permanentSchemaError reports whether asking again for a schema is of no use.
func permanentSchemaError(err error) bool {
	var unusable *avro.SchemaError
	var server *ServerError
	switch {
	case errors.Is(err, errNoSchemaID), errors.As(err, &unusable):
		return true
	case errors.As(err, &server):
		// Unimplemented is not the bus that spoke but something before it.
		return (server.Code == NotFound && status.Code(server.err) != codes.Unimplemented) ||
			server.Code == PermissionDenied || server.Code == Invalid
	}
	return false
}
