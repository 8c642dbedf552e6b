package sfstreamtest

import (
	"context"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

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
	resp, due, err := s.publishRequest(ctx, t, req, false)
	if err != nil {
		return nil, err
	}
	return resp, waitUntil(ctx, due)
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

// waitUntil returns at a time, or when the call has ended.
func waitUntil(ctx context.Context, due time.Time) error {
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

// publishRequest publishes the events of a request, in their order. The answer is due at a time
// that DelayPublish has put off.
func (s *Server) publishRequest(ctx context.Context, t *topic, req *eventbus.PublishRequest, stream bool) (resp *eventbus.PublishResponse, due time.Time, err error) {
	t.mu.Lock()
	t.publishes = append(t.publishes, PublishCall{Stream: stream, Events: len(req.Events), At: time.Now()})
	t.mu.Unlock()
	if f, ok := s.faults.take(atPublishRequest, t.name); ok {
		if err := s.newFailure(f.code, t.name); err != nil {
			return nil, due, err
		}
	}
	if len(req.Events) == 0 {
		return nil, due, s.newFailure("publish.event.count.invalid", t.name)
	}
	checked := make([]sentEvent, len(req.Events))
	for i, e := range req.Events {
		checked[i] = s.checkEvent(t, e)
		if missing := checked[i].missing; missing != "" && s.config.missingFailsCall {
			return nil, due, s.newFailure("INVALID_ARGUMENT: "+checked[i].refused, t.name)
		}
	}
	resp = &eventbus.PublishResponse{Results: make([]*eventbus.PublishResult, len(checked))}
	for i, e := range checked {
		resp.Results[i] = s.publishEvent(t, req.Events[i].Id, e)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.schema != nil {
		resp.SchemaId = t.schema.id
	}
	if _, ok := s.faults.take(atPublishAnswer, t.name); ok {
		cutPeer(ctx)
		return nil, due, status.Error(codes.Unavailable, "the answer is lost")
	}
	if f, ok := s.faults.take(atPublishDelay, t.name); ok {
		due = time.Now().Add(f.wait)
	}
	return resp, due, nil
}

// sentEvent is an event that a client has sent: what it becomes on the bus, or why it is refused.
type sentEvent struct {
	schema  *schema
	values  []any // its fields, in the order of the schema
	payload []byte
	refused string
	missing string // the required field for whose absence it is refused
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
	if i < 0 {
		t.mu.Unlock()
		return refuse("The schema ID " + e.SchemaId + " isn't a schema of topic " + t.name + ".")
	}
	sc := t.schemas[i]
	old := sc != t.schema
	t.mu.Unlock()
	if old && s.config.currentSchemaOnly {
		return refuse("The schema ID " + e.SchemaId + " isn't the current schema of topic " + t.name + ".")
	}
	values, ok := sc.decode(e.Payload)
	if !ok {
		return refuse("The payload can't be decoded with schema ID " + e.SchemaId + ".")
	}
	if missing := sc.missingSystemField(values); missing != "" {
		return sentEvent{refused: "The required field " + missing + " is missing.", missing: missing}
	}
	if text := s.eventRules.judge(t.name, e.Id, e.Payload); text != "" {
		return refuse(text)
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
	if !s.usage.take(hourlyPublished, s.now()) {
		return refuse("LIMIT_EXCEEDED: The hourly limit of published platform events is exceeded.")
	}
	r := record{at: s.clock.date().UnixNano(), id: id, schema: e.schema.id, payload: e.payload}
	if r.id == "" {
		r.id = s.dice.events.uuid()
	}
	ev, err := s.put(t, r, func(m *member) ([]record, error) {
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
