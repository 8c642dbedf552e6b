package sfstreamtest

import (
	"context"
	"net/url"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

// pubsub serves the Pub/Sub API of the org.
type pubsub Server

// GetTopic resolves a channel.
func (p *pubsub) GetTopic(ctx context.Context, req *eventbus.TopicRequest) (*eventbus.TopicInfo, error) {
	s, rpcID := (*Server)(p), p.dice.calls.uuid()
	info, err := s.topicInfo(ctx, req)
	if err != nil {
		return nil, s.send(err, rpcID, unaryTrailer(ctx))
	}
	info.RpcId = rpcID
	return info, nil
}

// unaryTrailer sets the trailers of a unary call.
func unaryTrailer(ctx context.Context) func(metadata.MD) {
	return func(md metadata.MD) { _ = grpc.SetTrailer(ctx, md) } // it fails only outside a call
}

func (s *Server) topicInfo(ctx context.Context, req *eventbus.TopicRequest) (*eventbus.TopicInfo, error) {
	s.topicCalls.Add(1)
	name := req.TopicName
	if err := s.judge(ctx, req); err != nil {
		return nil, err
	}
	if f, ok := s.faults.take(atGetTopic, name); ok {
		if err := s.newFailure(f.code, name); err != nil {
			return nil, err
		}
	}
	t, err := s.resolve(name)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	info := &eventbus.TopicInfo{TopicName: name, TenantGuid: s.tenant(), CanSubscribe: !t.revoked}
	if t.schema != nil {
		info.SchemaId = t.schema.id
		info.CanPublish = t.canPublishLocked()
	}
	return info, nil
}

// resolve returns the channel that a client named.
func (s *Server) resolve(name string) (*topic, error) {
	if name == "" {
		return nil, s.newFailure("topic.validation.empty", name)
	}
	t, ok := s.lookup(name)
	if !ok {
		return nil, s.newFailure("topic.not.found", name)
	}
	return t, nil
}

// GetSchema returns the schema with an id.
func (p *pubsub) GetSchema(ctx context.Context, req *eventbus.SchemaRequest) (*eventbus.SchemaInfo, error) {
	s, rpcID := (*Server)(p), p.dice.calls.uuid()
	info, err := s.schemaInfo(ctx, req)
	if err != nil {
		return nil, s.send(err, rpcID, unaryTrailer(ctx))
	}
	info.RpcId = rpcID
	return info, nil
}

func (s *Server) schemaInfo(ctx context.Context, req *eventbus.SchemaRequest) (*eventbus.SchemaInfo, error) {
	s.schemaCalls.Add(1)
	id := req.SchemaId
	if err := s.judge(ctx, req); err != nil {
		return nil, err
	}
	if f, ok := s.faults.take(atGetSchema, ""); ok {
		if err := s.newFailure(f.code, ""); err != nil {
			return nil, err
		}
	}
	if id == "" {
		return nil, s.newFailure("schema.validation.failed", "")
	}
	s.mu.Lock()
	sc := s.schemas[id]
	s.mu.Unlock()
	if sc == nil {
		return nil, s.newFailure("schema.not.found", "")
	}
	return &eventbus.SchemaInfo{SchemaId: id, SchemaJson: sc.json}, nil
}

// judge returns what is wrong with a unary call before its content is looked at.
func (s *Server) judge(ctx context.Context, req proto.Message) error {
	if err := s.checkSize(req); err != nil {
		return err
	}
	_, err := s.authenticate(ctx)
	return err
}

// checkSize refuses requests that the infrastructure before the bus would cut off.
func (s *Server) checkSize(req proto.Message) error {
	if proto.Size(req) > s.config.requestBytes {
		return s.newFailure(upstreamReset, "")
	}
	return nil
}

// authenticate checks the three headers of an RPC. Malformed headers are another error than headers
// that are merely wrong.
func (s *Server) authenticate(ctx context.Context) (*session, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	header := func(name string) string {
		if values := md.Get(name); len(values) == 1 {
			return values[0]
		}
		return ""
	}
	token, instance, tenant := header("accesstoken"), header("instanceurl"), header("tenantid")
	org := tenant
	if core, ok := strings.CutPrefix(tenant, "core/"); ok {
		_, org, _ = strings.Cut(core, "/")
	}
	u, err := url.Parse(instance)
	if token == "" || err != nil || u.Host == "" || instance != u.Scheme+"://"+u.Host || len(org) != 15 && len(org) != 18 {
		return nil, s.newFailure("service.auth.headers.invalid", "")
	}
	session, ok := s.sessions.useForEvents(token)
	if !ok || instance != session.instanceURL || org != s.account.OrgID[:len(org)] {
		return nil, s.newFailure("service.auth.error", "")
	}
	return session, nil
}
