package sfstream

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream/internal/avro"
	"github.com/sfstream/sfstream-go/sfstream/internal/bayeux"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

const (
	// maxResponse is far above the 3 MB at which Salesforce splits responses, because a response
	// that the client refuses for its size would come again forever: internal/eventbus/PROTOCOL.md,
	// "Connections".
	maxResponse = 16 << 20

	// The flow-control windows are large because credit already bounds what the server sends:
	// HTTP/2 is not to bound it too, nor to measure the bandwidth all the time. A response of 100
	// change events mostly fits into the read buffer.
	streamWindow = 4 << 20
	connWindow   = 16 << 20
	readBuffer   = 64 << 10

	// groupCreditEvery is less than the minute after which Salesforce ends a stream without demand:
	// internal/eventbus/PROTOCOL.md, "Idle streams".
	groupCreditEvery = 45 * time.Second

	// openTimeout bounds the opening of a stream. Opening waits for the connection, but not for an
	// answer of the server.
	openTimeout = 20 * time.Second
)

// pubsub is the transport over the Pub/Sub API. Its streams share a connection.
type pubsub struct {
	conns   *connections
	silence time.Duration // WithKeepaliveTimeout
	raw     func(channel string, response []byte)
	schemas avro.Registry
	topics  topics
	prefs   *preferences
}

func newPubsub(cfg *config) *pubsub {
	creds := credentials.NewTLS(nil)
	if cfg.plaintext {
		creds = insecure.NewCredentials()
	}
	dial := append([]grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxResponse)),
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connWindow),
		grpc.WithReadBufferSize(readBuffer),
	}, cfg.dial...)
	return &pubsub{
		conns:   newConnections(cfg.endpoint, dial, cfg.log),
		silence: cfg.keepaliveTimeout,
		raw:     cfg.hooks.OnRaw,
		prefs:   &cfg.prefs,
	}
}

// close closes the connections. The caller has ended all sessions.
func (t *pubsub) close() { t.conns.close() }

// outgoing adds the metadata that every RPC carries: the credentials and an id for support. See
// internal/eventbus/PROTOCOL.md, "Metadata".
func outgoing(ctx context.Context, creds *authenticator.Credentials) context.Context {
	var id [16]byte
	rand.Read(id[:])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // UUID version 4
	return metadata.AppendToOutgoingContext(ctx,
		"accesstoken", creds.AccessToken,
		"instanceurl", creds.InstanceURL,
		"tenantid", creds.OrgID,
		// Errors of Salesforce's infrastructure carry no rpc id: support finds the call by this
		// one.
		"x-client-trace-id", fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:]),
	)
}

func (t *pubsub) open(ctx context.Context, creds *authenticator.Credentials, reqs []request) (session, error) {
	req := reqs[0] // a stream follows one channel
	conn, err := t.conns.acquire()
	if err != nil {
		return nil, err
	}
	s := &pubsubSession{
		transport: t, conn: conn, creds: creds, sub: req.sub,
		creditDone: make(chan struct{}), sending: make(chan struct{}, 1),
	}
	s.channel = req.sub.Name
	if req.managed != nil {
		s.channel = req.managed.channel()
	}
	s.inbound.codecs = codecs{channel: s.channel, schemas: &t.schemas, prefs: t.prefs, fetch: s.fetchSchema}
	s.ctx, s.cancel = context.WithCancel(ctx)
	if err := s.start(req); err != nil {
		s.cancel()
		s.leave()
		return nil, err
	}
	// sendCredit ends when close cancels its context; close waits for that.
	go s.sendCredit()
	return s, nil
}

// start opens the stream and asks for the first events.
func (s *pubsubSession) start(req request) (err error) {
	if req.verify && req.managed == nil {
		if err := s.verify(); err != nil {
			return err
		}
		if s.conn, err = s.transport.conns.exchange(s.conn); err != nil {
			return err
		}
	}
	// A connection that takes no more streams makes a new one wait, and nothing says so.
	s.watchdog = time.AfterFunc(openTimeout, s.giveUp)
	err = s.openStream(req.managed)
	if !s.watchdog.Stop() {
		if s.conn.GetState() == connectivity.Ready {
			s.transport.conns.crowded(s.conn)
		}
		return s.silentError(openTimeout)
	}
	if err != nil {
		return s.translate(err, nil)
	}
	s.counted = true
	s.transport.conns.counted(s.conn, 1)
	// Send fails with io.EOF where the server has already ended the stream; recv then returns the
	// server's reason.
	if err := s.askFirst(req.position); err != nil && !errors.Is(err, io.EOF) {
		return s.translate(err, nil)
	}
	return nil
}

// openStream opens the stream, of a managed subscription unless m is nil.
func (s *pubsubSession) openStream(m *managed) (err error) {
	client := eventbus.Client{Conn: s.conn}
	if m == nil {
		s.stream, err = client.SubscribeResponses(outgoing(s.ctx, s.creds))
		return err
	}
	s.stream, err = client.ManagedResponses(outgoing(s.ctx, s.creds))
	s.managed = &managedStream{
		managed: m, ctx: s.ctx, stream: s.stream, sending: s.sending, response: &s.inbound.response, sent: time.Now(),
		refusal: func(text string) error {
			return &ServerError{API: apiPubSub, Channel: s.sub.Name, Code: Internal, Message: clip(bayeux.Hide(text, s.creds.AccessToken))}
		},
	}
	return err
}

// askFirst sends the first request, which says where the stream begins.
func (s *pubsubSession) askFirst(at position) error {
	n := s.sub.First()
	if s.managed != nil {
		return s.managed.demand(n)
	}
	first := &eventbus.FetchRequest{TopicName: s.sub.Name, NumRequested: int32(n)}
	switch {
	case len(at.id) > 0:
		first.ReplayPreset, first.ReplayId = eventbus.ReplayPreset_CUSTOM, at.id
	case at.latest:
		first.ReplayPreset = eventbus.ReplayPreset_LATEST
	default:
		first.ReplayPreset = eventbus.ReplayPreset_EARLIEST
	}
	return s.stream.Send(first)
}

// verify asks whether the channel exists and this user may subscribe to it. A stream would say so
// later, or never: for some mistakes the server just sends no events. See
// internal/eventbus/PROTOCOL.md, "Opening a stream".
func (s *pubsubSession) verify() error {
	var info *eventbus.TopicInfo
	trailer, err := s.transport.conns.call(s.ctx, s.conn, unaryTimeout, func(ctx context.Context, client eventbus.Client, opts ...grpc.CallOption) (err error) {
		info, err = client.GetTopic(outgoing(ctx, s.creds), &eventbus.TopicRequest{TopicName: s.sub.Name}, opts...)
		return err
	})
	if err != nil {
		return s.translate(err, trailer)
	}
	if !info.CanSubscribe {
		return &ServerError{
			API: apiPubSub, Channel: s.sub.Name, Code: PermissionDenied, RPCID: clip(bayeux.Hide(info.RpcId, s.creds.AccessToken)),
			Message: "this user cannot subscribe to the channel",
		}
	}
	return nil
}

// fetchSchema asks the server for a schema.
func (s *pubsubSession) fetchSchema(ctx context.Context, id string) (schema string, err error) {
	var info *eventbus.SchemaInfo
	trailer, err := s.transport.conns.call(ctx, s.conn, unaryTimeout, func(ctx context.Context, client eventbus.Client, opts ...grpc.CallOption) (err error) {
		info, err = client.GetSchema(outgoing(ctx, s.creds), &eventbus.SchemaRequest{SchemaId: id}, opts...)
		return err
	})
	if err != nil {
		return "", s.translate(err, trailer)
	}
	return info.SchemaJson, nil
}

// pubsubSession is one stream of one channel.
type pubsubSession struct {
	transport *pubsub
	conn      *connection
	counted   bool // conn.streams includes this stream
	creds     *authenticator.Credentials
	sub       *subscription
	channel   string         // of the messages
	managed   *managedStream // nil: the channel is no managed subscription

	ctx    context.Context // of the stream; cancelled by close and giveUp
	cancel context.CancelFunc
	stream eventbus.ResponseStream

	sending    chan struct{} // a lock: whoever sends on the stream has put something in (capacity 1)
	creditDone chan struct{} // closed when sendCredit has ended

	watchdog *time.Timer // runs giveUp while recv or the opening waits
	silent   atomic.Bool // giveUp has ended the stream

	inbound inbound // only recv uses it
}

// inbound is what recv knows of the responses of a stream.
type inbound struct {
	response eventbus.Response // the last one
	begun    bool              // recv has reported that the channel is accepted
	failed   error             // what recv returns next: a schema could not be fetched
	codecs   codecs
}

// topicOf returns a channel's topic, for publishing. Salesforce is asked for it once; stale is one
// that is not to be believed any more, nil where there is none.
func (t *pubsub) topicOf(ctx context.Context, creds *authenticator.Credentials, channel string, stale *topic) (*topic, error) {
	return t.topics.get(ctx, channel, stale, func() (*topic, error) { return t.askTopic(ctx, creds, channel) })
}

// askTopic asks Salesforce for a channel's topic.
func (t *pubsub) askTopic(ctx context.Context, creds *authenticator.Credentials, channel string) (*topic, error) {
	var info *eventbus.TopicInfo
	_, err := t.call(ctx, creds, channel, unaryTimeout, func(ctx context.Context, client eventbus.Client, opts ...grpc.CallOption) (err error) {
		info, err = client.GetTopic(outgoing(ctx, creds), &eventbus.TopicRequest{TopicName: channel}, opts...)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case !info.CanPublish:
		return nil, &ServerError{API: apiPubSub, Channel: channel, Code: PermissionDenied, RPCID: clip(info.RpcId),
			Message: "this user cannot publish on the channel", request: publishRequest}
	case info.SchemaId == "":
		return nil, fmt.Errorf("%w: channel %q carries events of several kinds: publish on the channel of the event's own kind", ErrInvalidOption, channel)
	}
	schemas := codecs{channel: channel, schemas: &t.schemas, prefs: t.prefs, fetch: func(ctx context.Context, id string) (string, error) {
		var schema *eventbus.SchemaInfo
		_, err := t.call(ctx, creds, channel, unaryTimeout, func(ctx context.Context, client eventbus.Client, opts ...grpc.CallOption) (err error) {
			schema, err = client.GetSchema(outgoing(ctx, creds), &eventbus.SchemaRequest{SchemaId: id}, opts...)
			return err
		})
		return schema.GetSchemaJson(), err
	}}
	schema, err := schemas.schema(ctx, info.SchemaId)
	if err != nil {
		return nil, err
	}
	return &topic{channel, info.SchemaId, schema}, nil
}

// call makes a unary call for publishing, which has no session. sent says that the request may have left. The error is a
// *ServerError.
func (t *pubsub) call(ctx context.Context, creds *authenticator.Credentials, channel string, limit time.Duration, do unaryCall) (sent bool, err error) {
	conn, err := t.conns.acquire()
	if err != nil {
		return false, err
	}
	defer t.conns.release(conn)
	var to peer.Peer // set as soon as the call has a stream
	trailer, err := t.conns.call(ctx, conn, limit, func(ctx context.Context, client eventbus.Client, opts ...grpc.CallOption) error {
		to = peer.Peer{}
		return do(ctx, client, append(opts, grpc.Peer(&to))...)
	})
	if err == nil {
		return true, nil
	}
	failed := t.translate(conn, creds, channel, err, trailer)
	failed.request = publishRequest
	return to.Addr != nil, failed
}

// sendCredit asks the server for more events as the program takes them, also while recv blocks.
func (s *pubsubSession) sendCredit() {
	defer close(s.creditDone)
	alive := time.NewTicker(groupCreditEvery)
	defer alive.Stop()
	for {
		credit := s.sub.Take
		select {
		case <-s.ctx.Done():
			return
		case <-s.sub.Due():
		case <-alive.C:
			credit = s.sub.TakeInGroup
		}
		select {
		case <-s.ctx.Done():
			return
		case s.sending <- struct{}{}:
			s.ask(credit)
		}
	}
}

// askNow asks the server for more events before recv waits for the next response. Asking here saves
// waking sendCredit for each response; where sendCredit is sending at the moment, it is told to
// look again.
func (s *pubsubSession) askNow() {
	select {
	case s.sending <- struct{}{}:
		s.ask(s.sub.Take)
	default:
		s.sub.Remind()
	}
}

// ask sends a request for as many events as credit grants, if any. The caller holds sending; ask
// releases it. A failure is not reported here: the stream has ended, and recv returns the reason.
func (s *pubsubSession) ask(credit func() int) {
	if n := credit(); n > 0 {
		if s.managed != nil {
			_ = s.managed.demand(n)
		} else {
			_ = s.stream.Send(&eventbus.FetchRequest{TopicName: s.sub.Name, NumRequested: int32(n)})
		}
	}
	<-s.sending
}

// giveUp ends a stream of which nothing has come for too long: Salesforce or the network may have
// forgotten it.
func (s *pubsubSession) giveUp() {
	s.silent.Store(true)
	s.cancel()
}

// translate makes a *ServerError of a failed RPC.
func (s *pubsubSession) translate(err error, trailer metadata.MD) *ServerError {
	return s.transport.translate(s.conn, s.creds, s.sub.Name, err, trailer)
}

// translate makes a *ServerError of a failed RPC. It removes the token, which some servers repeat
// in their error texts.
func (t *pubsub) translate(conn *connection, creds *authenticator.Credentials, channel string, err error, trailer metadata.MD) *ServerError {
	hide := func(text string) string { return bayeux.Hide(text, creds.AccessToken) }
	if strings.Contains(err.Error(), "too_many_pings") { // of a GOAWAY grpc-go keeps the text only
		t.conns.punished(conn)
	}
	if text := err.Error(); hide(text) != text {
		st := status.Convert(err)
		err = status.Error(st.Code(), hide(st.Message()))
	}
	e := translate(channel, err, trailer)
	e.RPCID, e.Reason = clip(hide(e.RPCID)), clip(hide(e.Reason))
	return e
}

// silentError is the error of a stream that giveUp has ended.
func (s *pubsubSession) silentError(after time.Duration) error {
	s.transport.conns.retire(s.conn) // so that no other stream waits as long on this connection
	return &ServerError{API: apiPubSub, Channel: s.sub.Name, Code: Unavailable, err: errSilent,
		Message: fmt.Sprintf("nothing came for %s, not even a keepalive", after)}
}

func (s *pubsubSession) close() {
	s.watchdog.Stop()
	s.cancel()
	<-s.creditDone
	if s.managed != nil {
		s.managed.close()
	}
	s.leave()
}

// leave gives the session's place on the connection back.
func (s *pubsubSession) leave() {
	if s.counted {
		s.transport.conns.counted(s.conn, -1)
	}
	s.transport.conns.release(s.conn)
}

// update has nothing to do: a stream follows one channel, and ends with it.
func (s *pubsubSession) update([]request, []*subscription) {}

func (s *pubsubSession) recv(<-chan struct{}) (batch, error) {
	in := &s.inbound
	if !in.begun {
		in.begun = true // the server itself would say so only with its first event
		if s.managed == nil || !s.managed.isRefused() {
			return batch{kind: batchAccepted, sub: s.sub}, nil
		}
	}
	if in.failed != nil {
		return batch{}, in.failed
	}
	s.watchdog.Reset(s.transport.silence)
	s.askNow()
	defer in.response.Free()
	err := s.receive()
	s.watchdog.Stop()
	switch {
	case err == nil:
	case errors.Is(err, io.EOF), s.managed != nil && isWithoutCommits(err):
		return batch{}, io.EOF
	case s.silent.Load() && s.sub.Outstanding() == 0:
		return batch{}, io.EOF // where no event was asked for, silence means nothing
	case s.silent.Load():
		return batch{}, s.silentError(s.transport.silence)
	default:
		failed := s.translate(err, s.stream.Trailer())
		if failed.oversize {
			s.sub.OneAtATime() // a response of one event is smaller
		}
		return batch{}, failed
	}
	if s.transport.raw != nil {
		s.transport.raw(s.channel, in.response.Frame)
	}
	if s.managed != nil {
		if alone, err := s.managed.takeAnswer(); alone || err != nil {
			return batch{kind: batchAnswered, sub: s.sub}, err
		}
	}
	if len(in.response.Events) == 0 {
		// Only with demand left does a keepalive mean that nothing more is to come: without it the
		// server may be inside a group, and not allowed to send the rest. See
		// internal/eventbus/PROTOCOL.md, "Keepalives".
		latest := bytes.Clone(in.response.Bytes(in.response.LatestReplayID))
		return batch{kind: batchQuiet, sub: s.sub, latest: latest, whole: in.response.Pending > 0}, nil
	}
	if s.sub.Overrun() {
		return batch{}, &ServerError{API: apiPubSub, Channel: s.sub.Name, Code: Internal, Message: "the server sends what was not asked for"}
	}
	return s.messages(&in.response), nil
}

// receive receives the next response.
func (s *pubsubSession) receive() error {
	if s.managed != nil {
		return s.managed.receive()
	}
	return s.stream.Recv(&s.inbound.response)
}

// messages makes one slab of messages of a response. What the messages refer to is copied in few
// allocations, because the response's frame is used again.
func (s *pubsubSession) messages(r *eventbus.Response) batch {
	in := &s.inbound
	messages := make([]Message, len(r.Events))
	ids, copier := r.IDs(), r.Copier()
	for i := range r.Events {
		event, m := &r.Events[i], &messages[i]
		m.Channel = s.channel
		m.ReplayID = copier.Copy(event.ReplayID)
		m.payload = copier.Copy(event.Payload)
		m.ID, ids = ids[:event.ID.Len()], ids[event.ID.Len():]
		var err error
		if m.SchemaID, m.codec, err = in.codecs.get(s.ctx, r.Bytes(event.SchemaID)); err != nil {
			// The batch is not lost: the next session begins after the last event that was queued.
			in.failed = err
			return batch{kind: batchUndeliverable, sub: s.sub, latest: messages[0].ReplayID}
		}
	}
	return batch{kind: batchMessages, sub: s.sub, messages: messages, proves: true}
}
