package sfstream

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/sfstream/internal/avro"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

// maxCodecs is far above the few schemas that a channel has.
const maxCodecs = 1000

// codec returns the codec of events in the schema with an id. Where the schema will never be
// available, it returns one with which decoding fails. The error is a failure that may pass.
func (s *pubsubSession) codec(id string) (*codec, error) {
	in := &s.inbound
	c := in.codecs[id]
	if c == nil {
		schema, err := s.fetchSchema(id)
		if permanentSchemaError(err) {
			// Only this session remembers it: the user may be given the permission again.
			schema, err = avro.Unusable(err), nil
		}
		if err != nil {
			return nil, err
		}
		if in.codecs == nil || len(in.codecs) == maxCodecs {
			in.codecs = make(map[string]*codec)
		}
		c = &codec{schema: schema, prefs: s.transport.prefs}
		in.codecs[id] = c
	}
	in.lastID, in.lastCodec = id, c
	return c, nil
}

// fetchSchema returns a schema that the transport knows, or asks the server for it.
func (s *pubsubSession) fetchSchema(id string) (*avro.Schema, error) {
	if id == "" {
		return nil, errNoSchemaID // Salesforce answers GetSchema without an id with an error
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
	if shared, ok := errors.AsType[*ServerError](err); ok && shared.Channel != s.sub.Name {
		own := *shared // sessions share the call, and its error names the channel that asked first
		own.Channel = s.sub.Name
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
