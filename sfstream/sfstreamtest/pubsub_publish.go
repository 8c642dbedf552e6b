package sfstreamtest

import (
	"context"
	"slices"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

// Publish publishes events of one channel.
func (p *pubsub) Publish(ctx context.Context, req *eventbus.PublishRequest) (*eventbus.PublishResponse, error) {
	s, rpcID := (*Server)(p), p.dice.calls.uuid()
	resp, err := s.publishCall(ctx, req)
	if err != nil {
		return nil, s.send(err, rpcID, unaryTrailer(ctx))
	}
	resp.RpcId = rpcID
	return resp, nil
}

func (s *Server) publishCall(ctx context.Context, req *eventbus.PublishRequest) (*eventbus.PublishResponse, error) {
	if err := s.judge(ctx, req); err != nil {
		return nil, err
	}
	t, err := s.publishTopic(req.TopicName)
	if err != nil {
		return nil, err
	}
	return s.publishRequest(t, req, false)
}

// publishTopic returns the channel that a client names to publish on it.
func (s *Server) publishTopic(name string) (*topic, error) {
	if name == "" {
		return nil, s.newFailure("publish.topic.validation.empty", name)
	}
	t, err := s.resolve(name)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.canPublishLocked() {
		return nil, s.newFailure("publish.topic.cannot.publish", name)
	}
	return t, nil
}

// publishRequest publishes the events of a request, in their order.
func (s *Server) publishRequest(t *topic, req *eventbus.PublishRequest, stream bool) (*eventbus.PublishResponse, error) {
	t.mu.Lock()
	t.publishes = append(t.publishes, PublishCall{Stream: stream, Events: len(req.Events), At: time.Now()})
	t.mu.Unlock()
	if len(req.Events) == 0 {
		return nil, s.newFailure("publish.event.count.invalid", t.name)
	}
	checked := make([]sentEvent, len(req.Events))
	for i, e := range req.Events {
		checked[i] = s.checkEvent(t, e)
	}
	resp := &eventbus.PublishResponse{Results: make([]*eventbus.PublishResult, len(checked))}
	for i, e := range checked {
		resp.Results[i] = s.publishEvent(t, req.Events[i].Id, e)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.schema != nil {
		resp.SchemaId = t.schema.id
	}
	return resp, nil
}

// sentEvent is an event that a client has sent: what it becomes on the bus, or why it is refused.
type sentEvent struct {
	schema  *schema
	values  []any // its fields, in the order of the schema
	payload []byte
	refused string
}

const maxEventID = 36 // characters

// checkEvent looks at what a client has sent as an event of a channel.
func (s *Server) checkEvent(t *topic, e *eventbus.ProducerEvent) sentEvent {
	refuse := func(text string) sentEvent { return sentEvent{refused: text} }
	switch {
	case len(e.Id) > maxEventID:
		return refuse("The event ID can have at most 36 characters.")
	case len(e.Payload) > s.config.eventBytes:
		return refuse("The event exceeds the maximum event size.")
	case e.SchemaId == "":
		return refuse("Schema validation failed. The schema ID can't be blank.")
	}
	t.mu.Lock()
	i := slices.IndexFunc(t.schemas, func(sc *schema) bool { return sc.id == e.SchemaId })
	var sc *schema
	if i >= 0 {
		sc = t.schemas[i]
	}
	t.mu.Unlock()
	if sc == nil {
		return refuse("The schema ID " + e.SchemaId + " isn't a schema of topic " + t.name + ".")
	}
	values, ok := sc.decode(e.Payload)
	if !ok {
		return refuse("The payload can't be decoded with schema ID " + e.SchemaId + ".")
	}
	if missing := sc.missingSystemField(values); missing != "" {
		return refuse("The required field " + missing + " is missing.")
	}
	return sentEvent{schema: sc, values: values, payload: e.Payload}
}

// publishEvent puts an event that was checked on its channel and returns its result.
func (s *Server) publishEvent(t *topic, id string, e sentEvent) *eventbus.PublishResult {
	refuse := func(text string) *eventbus.PublishResult {
		return &eventbus.PublishResult{
			Error: &eventbus.Error{Code: eventbus.ErrorCode_PUBLISH, Msg: text}, CorrelationKey: id,
		}
	}
	if e.refused != "" {
		return refuse(e.refused)
	}
	r := record{at: s.clock.date().UnixNano(), id: id, schema: e.schema.id, payload: e.payload}
	if r.id == "" {
		r.id = s.dice.events.uuid()
	}
	ev, err := s.post(t, r, func(m *member) ([]record, error) {
		if m != nil && !m.passes(namedFields(e.schema.avro, e.values), nil) {
			return nil, nil
		}
		return []record{r}, nil
	})
	if err != nil {
		return refuse(err.Error())
	}
	return &eventbus.PublishResult{ReplayId: ev.ReplayID, CorrelationKey: ev.ID}
}
