package sfstreamtest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hamba/avro/v2"
)

// Event is an event as the bus has published it.
type Event struct {
	ReplayID []byte // on the channel on which it was published
	Number   uint64 // the replay id as CometD has it
	ID       string // a UUID unless RawEvent says otherwise
	SchemaID string
	Date     time.Time
}

// RawEvent is an event as it stands, for what [Server.Publish] would not do.
type RawEvent struct {
	Payload  []byte // not copied: the caller must not change it afterwards
	SchemaID string // default: the channel's current one
	ID       string // default: a new UUID
	// NoReplayID delivers the event with an empty replay id.
	NoReplayID bool
}

// Publish puts an event on a channel. The payload has a value, or nil, per field: strings,
// booleans, numbers ([json.Number] too), a [time.Time] for epoch milliseconds, map[string]any for a
// compound. Fields that are left out have their default; CreatedDate and CreatedById are filled in.
func (s *Server) Publish(channel string, payload map[string]any) (Event, error) {
	return s.publishAs(s.account.UserID, channel, payload, false)
}

// publishAs does what Publish does, in the name of a user. limited: not if the org's limit is used
// up.
func (s *Server) publishAs(user, channel string, payload map[string]any, limited bool) (Event, error) {
	t, sc, err := s.publishable(channel)
	if err != nil {
		return Event{}, err
	}
	now := s.clock.date()
	payload = withSystemFields(sc.avro, payload, now, user)
	data, err := sc.encode(payload)
	if err != nil {
		return Event{}, fmt.Errorf("sfstreamtest: publishing on %s: %w", channel, err)
	}
	if len(data) > s.config.eventBytes {
		return Event{}, fmt.Errorf("sfstreamtest: publishing on %s: %w (%d bytes)", channel, errTooLarge, len(data))
	}
	r := record{at: now.UnixNano(), id: s.dice.events.uuid(), schema: sc.id, payload: data}
	if !limited {
		return s.post(t, r, one(r, payload))
	}
	if !s.usage.take(hourlyPublished, now) {
		return Event{}, errLimit
	}
	return s.put(t, r, one(r, payload))
}

// withSystemFields fills in the fields that Salesforce requires of publishers.
func withSystemFields(rec *avro.RecordSchema, payload map[string]any, now time.Time, user string) map[string]any {
	copied := false
	for name, value := range map[string]any{"CreatedDate": now, "CreatedById": user} {
		if _, given := payload[name]; given {
			continue
		}
		if f, _ := field(rec, name); f == nil || !fits(f.Type(), value) {
			continue
		}
		if !copied {
			payload = maps.Clone(payload)
			if payload == nil {
				payload = make(map[string]any)
			}
			copied = true
		}
		payload[name] = value
	}
	return payload
}

// PublishRaw puts any bytes on a channel, even some that cannot be decoded.
func (s *Server) PublishRaw(channel string, e RawEvent) (Event, error) {
	t, sc, err := s.publishable(channel)
	if err != nil {
		return Event{}, err
	}
	r := record{at: s.clock.date().UnixNano(), id: e.ID, schema: e.SchemaID, payload: e.Payload}
	if r.id == "" {
		r.id = s.dice.events.uuid()
	}
	if r.schema == "" {
		r.schema = sc.id
	}
	if e.NoReplayID {
		r.kind = anonymous
	}
	return s.add(t, r)
}

var (
	errUndefined = errors.New("is not defined")
	errLimit     = errors.New("the limit of published events is used up")
	errTooLarge  = errors.New("the event is too large")
)

// publishable returns a channel of one kind of event, and its schema.
func (s *Server) publishable(channel string) (*topic, *schema, error) {
	t, ok := s.lookup(channel)
	if !ok {
		return nil, nil, fmt.Errorf("sfstreamtest: %s %w", channel, errUndefined)
	}
	t.mu.Lock()
	sc := t.schema
	t.mu.Unlock()
	if sc == nil {
		return nil, nil, fmt.Errorf("sfstreamtest: %s carries several kinds of event: publish on one of its members", channel)
	}
	return t, sc, nil
}

// add puts a record on a channel and on those that also carry it, each of which has its own replay
// ids. Filters of members do not hold it back.
func (s *Server) add(t *topic, r record) (Event, error) {
	return s.post(t, r, func(*member) ([]record, error) { return []record{r}, nil })
}

// post does what add does for a record that may become several records, or none, on the channels
// that also carry it: split returns the records for a member, which get one replay id.
func (s *Server) post(t *topic, r record, split func(*member) ([]record, error)) (Event, error) {
	s.countPublished(t)
	return s.put(t, r, split)
}

// put does what post does for an event that is counted already.
func (s *Server) put(t *topic, r record, split func(*member) ([]record, error)) (Event, error) {
	t.mu.Lock()
	added, err := s.putLocked(t, []record{r})
	feeds := slices.Clip(t.feeds)
	t.mu.Unlock()
	if err != nil {
		return Event{}, err
	}
	for _, feed := range feeds {
		records, err := split(feed.member)
		if err == nil {
			feed.topic.mu.Lock()
			_, err = s.putLocked(feed.topic, records)
			feed.topic.mu.Unlock()
		}
		if err != nil {
			return Event{}, err
		}
	}
	return added.event(), nil
}

// putLocked puts records on a channel under one replay id and returns the first.
func (s *Server) putLocked(t *topic, records []record) (first record, err error) {
	t.log.expire(s.now(), s.retention(t))
	var id uint64
	if n := t.log.next; n > t.log.first && len(records) > 0 && t.log.at(n-1).kind == event && t.log.restart == 0 {
		if _, ok := s.faults.take(atPublish, t.name); ok {
			id = t.log.last
		}
	}
	for i, r := range records {
		r.replay = id
		if r, err = t.addLocked(r, s.journal); err != nil {
			return first, err
		}
		if id = r.replay; i == 0 {
			first = r
		}
	}
	return first, nil
}
