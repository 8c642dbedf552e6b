package sfstream

import (
	"context"
	"errors"

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
