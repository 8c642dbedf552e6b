package sfstream

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"google.golang.org/grpc"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream/internal/avro"
	"github.com/sfstream/sfstream-go/sfstream/internal/bayeux"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/internal/outbox"
)

// publishTimeout bounds the wait for the answer to a request of up to 3 MB. HTTP/2 pings notice a
// dead network sooner.
const publishTimeout = 2 * time.Minute

// userinfo is the answer of the org about the user of a token.
type userinfo struct {
	UserID string `json:"user_id"`
}

// IsAnswer reports whether it is one.
func (u *userinfo) IsAnswer() bool { return u.UserID != "" }

// userID returns the id of the user who logged in, who is CreatedById of what is published: that of
// the login, else, as authenticator.Static has none, the org's answer, which it asks for once.
func (r *pubsubRoute) userID(ctx context.Context, creds *authenticator.Credentials) (string, error) {
	if creds.UserID != "" {
		return creds.UserID, nil
	}
	of := tokenOf(creds)
	if id := r.bus.topics.userOf(of); id != "" {
		return id, nil
	}
	var info userinfo
	if err := r.getJSON(ctx, &url.URL{Path: "/services/oauth2/userinfo"}, &info); err != nil {
		return "", err
	}
	r.bus.topics.setUser(info.UserID, of)
	return info.UserID, nil
}

// An encoding is what events of a topic are encoded with. It belongs to one goroutine.
type encoding struct {
	*topic
	binder *avro.Binder
	system avro.System
	user   func(context.Context) (id string, err error) // asks who CreatedById is, where an event needs it
	room   []byte                                       // for payloads, so that one allocation serves many
}

// roomOfPayloads is how much room is made at once for payloads.
const roomOfPayloads = 32 << 10

// encode returns the payload of an event. The error is an *EncodeError without Index.
func (e *encoding) encode(ctx context.Context, value any) ([]byte, error) {
	if cap(e.room) == 0 {
		e.room = make([]byte, 0, roomOfPayloads)
	}
	payload, err := e.binder.Append(e.room, e.schema, value, e.system)
	field, cause := decodeErrorOf(err)
	if field == "CreatedById" && e.system.CreatedByID == "" {
		if e.system.CreatedByID, cause = e.user(ctx); cause == nil {
			return e.encode(ctx, value)
		}
		err, cause = cause, fmt.Errorf("the login does not say who the user is, and the org does not either (%w): set the field, or UserID in the Credentials of an authenticator.Func", cause)
	}
	if err != nil {
		return nil, &EncodeError{Channel: e.channel, SchemaID: e.schemaID, Field: field, err: cause}
	}
	if cap(payload) == cap(e.room) {
		e.room = e.room[len(payload):len(payload)]
	}
	return payload[:len(payload):len(payload)], nil
}

// pubsubRoute publishes events of one call on one channel over the Pub/Sub API. It belongs to the
// goroutine of that.
type pubsubRoute struct {
	*services
	bus     *pubsub
	channel string
	values  []any // by outbox.Event.Of

	encoding  *encoding
	refreshed bool // the topic was asked for anew
	outdated  bool // Salesforce has named another schema in an answer
}

// encode encodes all events by the channel's schema.
func (r *pubsubRoute) encode(ctx context.Context, creds *authenticator.Credentials, events []outbox.Event[int]) error {
	topic, err := r.bus.topicOf(ctx, creds, r.channel, nil)
	if err != nil {
		return err
	}
	r.encoding = &encoding{
		topic: topic, binder: r.cfg.prefs.binder,
		system: avro.System{CreatedDate: time.Now(), CreatedByID: creds.UserID},
		user:   func(ctx context.Context) (string, error) { return r.userID(ctx, creds) },
	}
	for i := range events {
		events[i].Err = r.encodeOne(ctx, &events[i])
	}
	return ctx.Err()
}

func (r *pubsubRoute) encodeOne(ctx context.Context, e *outbox.Event[int]) (err error) {
	e.Schema = r.encoding.schemaID
	e.Payload, err = r.encoding.encode(ctx, r.values[e.Of])
	if refused, ok := errors.AsType[*EncodeError](err); ok {
		refused.Index = e.Of
	}
	return err
}

// again encodes an event anew if the channel has another schema now. It asks once.
func (r *pubsubRoute) again(ctx context.Context, creds *authenticator.Credentials, e *outbox.Event[int]) (changed bool, err error) {
	if !r.refreshed {
		topic, err := r.bus.topicOf(ctx, creds, r.channel, r.encoding.topic)
		if err != nil {
			return false, nil // the refusal says more
		}
		r.refreshed, r.encoding.topic = true, topic
	}
	if e.Schema == r.encoding.schemaID {
		return false, nil
	}
	return true, r.encodeOne(ctx, e)
}

// isOutdated reports whether Salesforce has said that the channel has another schema now.
func (r *pubsubRoute) isOutdated() bool { return r.outdated }

func (r *pubsubRoute) send(ctx context.Context, creds *authenticator.Credentials, request []*outbox.Event[int]) (results []outbox.Result, sent bool, err error) {
	var (
		req  eventbus.Request
		resp eventbus.Results
	)
	defer req.Free()
	defer resp.Free()
	req.Begin(r.channel, size(request))
	for _, e := range request {
		req.Append(e.ID, e.Schema, e.Payload)
	}
	sent, err = r.bus.call(ctx, creds, r.channel, publishTimeout, func(ctx context.Context, client eventbus.Client, opts ...grpc.CallOption) error {
		return client.PublishRequest(outgoing(ctx, creds), &req, &resp, opts...)
	})
	if err != nil {
		return nil, sent, err
	}
	if id := resp.Bytes(resp.SchemaID); len(id) > 0 && string(id) != r.encoding.schemaID {
		r.outdated = true
		r.bus.topics.forget(r.encoding.topic)
	}
	return r.results(creds, request, &resp), sent, nil
}

// results are the results of a response, with nothing of its memory.
func (r *pubsubRoute) results(creds *authenticator.Credentials, request []*outbox.Event[int], resp *eventbus.Results) []outbox.Result {
	results, ids := make([]outbox.Result, len(resp.Results)), resp.ReplayIDs()
	for i := range resp.Results {
		from, to := &resp.Results[i], &results[i]
		key := resp.Bytes(from.CorrelationKey)
		if i < len(request) && string(key) == request[i].ID {
			to.Key = request[i].ID
		} else {
			to.Key = string(key)
		}
		n := from.ReplayID.Len()
		to.ReplayID, ids = ids[:n:n], ids[n:]
		switch {
		case from.Failed:
			to.Err = eventRefused(creds, r.channel, string(resp.Bytes(from.Message)), string(resp.Bytes(resp.RPCID)))
		case n == 0:
			to.Err = errNoPlace
		}
	}
	return results
}

// roomOfEvent is what an event takes of the bound in bytes beside its payload.
const roomOfEvent = 100

// size is about how many bytes the events of a request have.
func size[T any](request []*outbox.Event[T]) (bytes int) {
	for _, e := range request {
		bytes += len(e.Payload) + roomOfEvent
	}
	return bytes
}

// errNoPlace stands for a result that has neither a place on the channel nor an error.
var errNoPlace = errors.New("the answer names neither a replay id nor an error")

// eventRefused is the error of an event that Salesforce has not published.
func eventRefused(creds *authenticator.Credentials, channel, text, rpcID string) *ServerError {
	code, _ := judgeEvent("", text)
	return &ServerError{
		API: apiPubSub, Channel: channel, Code: code, request: publishRequest,
		Message: clip(bayeux.Hide(text, creds.AccessToken)), RPCID: clip(bayeux.Hide(rpcID, creds.AccessToken)),
	}
}
