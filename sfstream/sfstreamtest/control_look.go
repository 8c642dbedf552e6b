package sfstreamtest

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// none is a request that has no parameters, or a reply that says no more than that it was done.
type none struct{}

type healthReply struct {
	Status      string `json:"status"` // ok
	LoginURL    string `json:"loginUrl"`
	InstanceURL string `json:"instanceUrl"`
	PubSub      string `json:"pubsub"`
}

func (s *Server) controlHealth(context.Context, none) (healthReply, error) {
	return healthReply{"ok", s.LoginURL(), s.instanceURL(), s.PubSubEndpoint()}, nil
}

// channelReply is a channel as /control/channels shows it.
type channelReply struct {
	Channel  string   `json:"channel"`
	SchemaID string   `json:"schemaId,omitempty"`
	Fields   []string `json:"fields,omitempty"`
	Query    string   `json:"query,omitempty"`    // of a PushTopic
	Carriers []string `json:"carriers,omitempty"` // the channels that also carry its events
	Events   int      `json:"events"`             // that are retained
	Last     uint64   `json:"lastNumber"`         // the newest replay id that was given
	Streams  int      `json:"streams"`
	Revoked  bool     `json:"revoked,omitempty"`
}

type channelsReply struct {
	Channels []channelReply `json:"channels"`
}

func (s *Server) controlChannels(context.Context, none) (channelsReply, error) {
	reply := channelsReply{Channels: []channelReply{}}
	for _, name := range s.channels() {
		events := len(s.Retained(name))
		s.observe(name, func(t *topic) {
			c := channelReply{Channel: t.name, Events: events, Last: t.log.last, Streams: t.openLocked(), Revoked: t.revoked}
			if t.schema != nil {
				c.SchemaID = t.schema.id
				for _, f := range t.schema.avro.Fields() {
					c.Fields = append(c.Fields, f.Name())
				}
			}
			if t.push != nil {
				c.Query = t.push.Query
			}
			for _, feed := range t.feeds {
				c.Carriers = append(c.Carriers, feed.topic.name)
			}
			reply.Channels = append(reply.Channels, c)
		})
	}
	return reply, nil
}

// streamReply is a stream of the Pub/Sub API.
type streamReply struct {
	Channel     string `json:"channel"`
	Outstanding int    `json:"outstanding"` // events that were asked for and not sent
}

// sessionReply is a session of the Streaming API.
type sessionReply struct {
	ClientID  string   `json:"clientId"`
	Channels  []string `json:"channels"`
	Connected bool     `json:"connected"` // its connect is held, and its client is there
}

type streamsReply struct {
	PubSub   []streamReply  `json:"pubsub"`
	Sessions []sessionReply `json:"sessions"`
}

func (s *Server) controlStreams(context.Context, none) (streamsReply, error) {
	reply := streamsReply{PubSub: []streamReply{}, Sessions: []sessionReply{}}
	for _, name := range s.channels() {
		s.observe(name, func(t *topic) {
			for st := range t.streams {
				reply.PubSub = append(reply.PubSub, streamReply{t.name, st.outstanding})
			}
		})
	}
	for _, ses := range s.bayeux.all() {
		ses.mu.Lock()
		shown := sessionReply{ses.id, []string{}, ses.poll != nil && !ses.deserted.Load()}
		for _, sub := range ses.subs {
			shown.Channels = append(shown.Channels, sub.topic.name)
		}
		ses.mu.Unlock()
		reply.Sessions = append(reply.Sessions, shown)
	}
	slices.SortFunc(reply.Sessions, func(a, b sessionReply) int { return strings.Compare(a.ClientID, b.ClientID) })
	return reply, nil
}

type countersReply struct {
	Logins            int `json:"logins"` // with or without success
	GetTopicCalls     int `json:"getTopicCalls"`
	GetSchemaCalls    int `json:"getSchemaCalls"`
	Subscribes        int `json:"subscribes"`     // of both APIs
	PublishCalls      int `json:"publishCalls"`   // requests that publish over the Pub/Sub API
	PublishStreams    int `json:"publishStreams"` // now
	Handshakes        int `json:"handshakes"`
	Connects          int `json:"connects"`
	OpenConnects      int `json:"openConnects"` // held now
	DuplicateConnects int `json:"duplicateConnects"`
	Disconnects       int `json:"disconnects"`
	Sessions          int `json:"sessions"`     // now
	Streams           int `json:"streams"`      // now, with subscriptions of the Streaming API
	HTTPRequests      int `json:"httpRequests"` // to the host of the logins, of any kind
}

func (s *Server) controlCounters(context.Context, none) (countersReply, error) {
	return countersReply{
		Logins: s.Logins(), GetTopicCalls: s.GetTopicCalls(), GetSchemaCalls: s.GetSchemaCalls(), Subscribes: len(s.Subscribes("")),
		PublishCalls: len(s.PublishCalls("")), PublishStreams: s.PublishStreams(""),
		Handshakes: s.Handshakes(), Connects: s.Connects(), OpenConnects: s.OpenConnects(), DuplicateConnects: s.DuplicateConnects(),
		Disconnects: s.Disconnects(), Sessions: s.Sessions(), Streams: s.Streams(""), HTTPRequests: int(s.httpRequests.Load()),
	}, nil
}

type eventsRequest struct {
	Channel string `json:"channel" about:"!of which channel"`
	After   uint64 `json:"after" about:"only those behind this number; default all"`
	Limit   *int   `json:"limit" about:"how many, 1 to 1000; default 100"`
}

// eventReply is an event as /control/events shows it.
type eventReply struct {
	Number  uint64          `json:"number"` // the replay id as CometD has it
	ID      string          `json:"id"`     // the replay id in lower-case hex
	EventID string          `json:"eventId,omitempty"`
	Date    time.Time       `json:"date"`
	Data    json.RawMessage `json:"data"` // as the Streaming API has it
}

type eventsReply struct {
	Events []eventReply `json:"events"`
	More   bool         `json:"more"` // there are further ones behind the last
}

func (s *Server) controlEvents(_ context.Context, req eventsRequest) (eventsReply, error) {
	limit := 100
	if req.Limit != nil {
		limit = *req.Limit
	}
	if limit < 1 || limit > 1000 {
		return eventsReply{}, fmt.Errorf("limit is %d: it is 1 to 1000", limit)
	}
	if err := s.checkChannel(req.Channel); err != nil {
		return eventsReply{}, err
	}
	t := s.topic(req.Channel)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.log.expire(s.now(), s.retention(t))
	reply := eventsReply{Events: []eventReply{}}
	for i := t.log.first; i < t.log.next; i++ {
		r := t.log.at(i)
		if r.kind == mark || req.After > 0 && r.replay <= req.After {
			continue
		}
		if len(reply.Events) == limit {
			reply.More = true
			break
		}
		e := r.event()
		shown := eventReply{e.Number, hex.EncodeToString(e.ReplayID), e.ID, e.Date, s.dataLocked(t, r)}
		reply.Events = append(reply.Events, shown)
	}
	return reply, nil
}

// dataLocked returns the data of an event as the Streaming API has it, null if it has none.
func (s *Server) dataLocked(t *topic, r *record) json.RawMessage {
	shown := *r
	if !t.streaming && shown.json == nil {
		shown.json = s.eventJSON(r)
	}
	var message struct{ Data json.RawMessage }
	if err := json.Unmarshal(t.appendEvent(nil, &shown, []byte(`""`), ""), &message); err != nil {
		return json.RawMessage("null")
	}
	return message.Data
}
