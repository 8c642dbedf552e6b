package sfstream

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/sfstream/internal/avro"
)

// maxCodecs is far above the few schemas that a channel has.
const maxCodecs = 1000

// codecs are the codecs of a session's events, by the ids of their schemas. Sessions share the
// schemas, and a schema is fetched once.
type codecs struct {
	channel string // for errors
	schemas *avro.Registry
	prefs   *preferences
	fetch   func(ctx context.Context, id string) (schema string, err error)

	lastID string // of the schema of the last event
	last   *codec
	byID   map[string]*codec // also of schemas that cannot be had in this session
}

// get returns the codec of an event whose schema has an id, and the id. Where the schema will never
// be available, it returns a codec with which decoding fails. The error is a failure that may pass.
func (c *codecs) get(ctx context.Context, schemaID []byte) (id string, found *codec, err error) {
	if string(schemaID) == c.lastID && c.last != nil {
		return c.lastID, c.last, nil
	}
	id = string(schemaID)
	found = c.byID[id]
	if found == nil {
		schema, err := c.schema(ctx, id)
		if permanentSchemaError(err) {
			// Only this session remembers it: the user may be given the permission again.
			schema, err = avro.Unusable(err), nil
		}
		if err != nil {
			return id, nil, err
		}
		if c.byID == nil || len(c.byID) == maxCodecs {
			c.byID = make(map[string]*codec)
		}
		found = &codec{schema: schema, prefs: c.prefs}
		c.byID[id] = found
	}
	c.lastID, c.last = id, found
	return id, found, nil
}

// schema returns a schema that a session has fetched before, or fetches it.
func (c *codecs) schema(ctx context.Context, id string) (*avro.Schema, error) {
	if id == "" {
		// Salesforce answers GetSchema without an id with an error: internal/eventbus/PROTOCOL.md,
		// "Opening a stream".
		return nil, errNoSchemaID
	}
	schema, err := c.schemas.Get(ctx, id, c.fetch)
	if shared, ok := errors.AsType[*ServerError](err); ok && shared.Channel != c.channel {
		own := *shared // sessions share the call, and its error names the channel that asked first
		own.Channel = c.channel
		err = &own
	}
	return schema, err
}

var errNoSchemaID = errors.New("the event names no schema")

// permanentSchemaError reports whether asking for the schema again cannot help.
func permanentSchemaError(err error) bool {
	var unusable *avro.SchemaError
	var server *ServerError
	switch {
	case errors.Is(err, errNoSchemaID), errors.As(err, &unusable):
		return true
	case errors.As(err, &server):
		// Unimplemented is not Salesforce's answer but that of a proxy before it.
		return (server.Code == NotFound && status.Code(server.err) != codes.Unimplemented) ||
			server.Code == PermissionDenied || server.Code == Invalid
	}
	return false
}

// A topic is a channel on which events can be published, and its present schema.
type topic struct {
	channel  string
	schemaID string
	schema   *avro.Schema
}

// topics are what is known for publishing: the topics of channels, the ids of generic channels, and
// who the user is. The zero value is empty. It is safe for concurrent use.
type topics struct {
	mu     sync.Mutex
	places map[string]*topicPlace // by channel
	ids    map[string]string      // of StreamingChannels, by channel
	user   string                 // the id of the user who has token
	token  token
}

// topicPlace is where a channel's topic is kept.
type topicPlace struct {
	asking chan struct{} // a lock: whoever asks Salesforce has put something in (capacity 1)
	known  atomic.Pointer[topic]
}

// get returns a channel's topic, and asks for it where it is not known, or known as stale. Of
// several calls at once one asks. A failure is not kept.
func (t *topics) get(ctx context.Context, channel string, stale *topic, ask func() (*topic, error)) (*topic, error) {
	place := t.place(channel)
	if found := place.known.Load(); found != nil && found != stale {
		return found, nil
	}
	select {
	case place.asking <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-place.asking }()
	if found := place.known.Load(); found != nil && found != stale {
		return found, nil // somebody else has asked meanwhile
	}
	found, err := ask()
	if err == nil {
		place.known.Store(found)
	}
	return found, err
}

func (t *topics) place(channel string) *topicPlace {
	t.mu.Lock()
	defer t.mu.Unlock()
	place := t.places[channel]
	if place == nil {
		if t.places == nil {
			t.places = make(map[string]*topicPlace)
		}
		place = &topicPlace{asking: make(chan struct{}, 1)}
		t.places[channel] = place
	}
	return place
}

// forget makes the next get of a topic ask: Salesforce says that it has changed.
func (t *topics) forget(old *topic) { t.place(old.channel).known.CompareAndSwap(old, nil) }

// userOf returns the id of the user who has a token, empty where it is not known.
func (t *topics) userOf(of token) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.token.same(of) {
		return ""
	}
	return t.user
}

func (t *topics) setUser(id string, of token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.user, t.token = id, of
}

// channelID returns the id of a generic channel's StreamingChannel, empty where it is not known.
func (t *topics) channelID(channel string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ids[channel]
}

func (t *topics) setChannelID(channel, id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ids == nil {
		t.ids = make(map[string]string)
	}
	t.ids[channel] = id
}
