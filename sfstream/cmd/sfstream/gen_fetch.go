package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/bayeux"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

// callTimeout bounds a call. The first GetTopic for a channel was seen to take 4 s.
const callTimeout = 20 * time.Second

// channelSchema is the schema that the events of channels have now.
type channelSchema struct {
	channels []string // mostly one
	id       string
	json     string
}

// fetchSchemas logs in and asks for the schemas of channels, in the order of the channels. It makes
// one attempt.
func fetchSchemas(ctx context.Context, account account, channels []string) ([]channelSchema, error) {
	bus, hangUp, err := account.schemas(ctx)
	if err != nil {
		return nil, err
	}
	defer hangUp()
	var schemas []channelSchema
	for _, channel := range channels {
		id, err := bus.schemaID(ctx, channel)
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(schemas, func(s channelSchema) bool { return s.id == id }); i >= 0 {
			schemas[i].channels = append(schemas[i].channels, channel)
			continue
		}
		text, err := bus.schema(ctx, channel, id)
		if err != nil {
			return nil, err
		}
		schemas = append(schemas, channelSchema{[]string{channel}, id, text})
	}
	return schemas, nil
}

// schemas logs in, and connects to the Pub/Sub API to ask about channels.
func (a account) schemas(ctx context.Context) (bus schemaClient, hangUp func() error, err error) {
	// The client checks the addresses and logs in; its login stays in the cache.
	cache := authenticator.NewCache(a.auth)
	client, err := sfstream.New(cache, a.options()...)
	if err != nil {
		return bus, nil, err
	}
	defer client.Close()
	if err := client.Open(ctx); err != nil {
		return bus, nil, err
	}
	creds, err := cache.Get(ctx, authenticator.Login{URL: a.loginURL})
	if err != nil {
		return bus, nil, err
	}
	conn, err := a.dial()
	if err != nil {
		return bus, nil, err
	}
	return schemaClient{eventbus.Client{Conn: conn}, creds}, conn.Close, nil
}

// dial returns a connection to the Pub/Sub API, for calls beside those of a client.
func (a account) dial(options ...grpc.DialOption) (*grpc.ClientConn, error) {
	target, security := a.pubsub()
	return grpc.NewClient(target, append([]grpc.DialOption{grpc.WithTransportCredentials(security)}, options...)...)
}

// schemaClient makes the unary calls of the Pub/Sub API.
type schemaClient struct {
	bus   eventbus.Client
	creds *authenticator.Credentials
}

func (c schemaClient) topic(ctx context.Context, channel string) (*eventbus.TopicInfo, error) {
	ctx, cancel := c.outgoing(ctx)
	defer cancel()
	info, err := c.bus.GetTopic(ctx, &eventbus.TopicRequest{TopicName: channel})
	if err != nil {
		return nil, c.translate(channel, err)
	}
	return info, nil
}

func (c schemaClient) schemaID(ctx context.Context, channel string) (string, error) {
	info, err := c.topic(ctx, channel)
	if err != nil {
		return "", err
	}
	if info.SchemaId == "" {
		return "", fmt.Errorf("%s carries events of several kinds and has no schema of its own: "+
			"name the channels of its events instead, such as /data/AccountChangeEvent", channel)
	}
	return info.SchemaId, nil
}

func (c schemaClient) schema(ctx context.Context, channel, id string) (string, error) {
	ctx, cancel := c.outgoing(ctx)
	defer cancel()
	info, err := c.bus.GetSchema(ctx, &eventbus.SchemaRequest{SchemaId: id})
	if err != nil {
		return "", c.translate(channel, err)
	}
	return info.SchemaJson, nil
}

func (c schemaClient) outgoing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(metadata.AppendToOutgoingContext(ctx,
		"accesstoken", c.creds.AccessToken, "instanceurl", c.creds.InstanceURL, "tenantid", c.creds.OrgID), callTimeout)
}

// translate turns the error of a call into a *sfstream.ServerError. It hides the token, which some
// servers repeat.
func (c schemaClient) translate(channel string, err error) error {
	st := status.Convert(err)
	code := sfstream.Internal
	switch st.Code() {
	case codes.Unauthenticated:
		code = sfstream.Unauthenticated
	case codes.PermissionDenied:
		code = sfstream.PermissionDenied
	case codes.NotFound, codes.Unimplemented:
		code = sfstream.NotFound
	case codes.InvalidArgument:
		code = sfstream.Invalid
	case codes.ResourceExhausted:
		code = sfstream.LimitExceeded
	case codes.Unavailable, codes.DeadlineExceeded, codes.Unknown:
		code = sfstream.Unavailable
	}
	message, rpcID, _ := strings.Cut(bayeux.Hide(st.Message(), c.creds.AccessToken), " rpcId: ")
	return &sfstream.ServerError{API: "pubsub", Channel: channel, Code: code, Message: message, RPCID: rpcID}
}
