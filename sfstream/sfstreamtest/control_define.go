package sfstreamtest

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hamba/avro/v2"
)

// controlRequests returns the table of requests.
func controlRequests() []controlRequest {
	return []controlRequest{
		request("POST", "define", "Defines a channel: one of an event with its schema, one of an object's changes with the object's fields, or a custom channel with its members. What exists gets another schema, or more members.",
			`{"channel": "/event/Order__e", "schema": {"type": "record", "name": "Order__e", "fields": [{"name": "Number__c", "type": ["null", "string"], "default": null}]}}`,
			(*Server).controlDefine),
		request("POST", "recordType", "Makes a record type of an object, or changes one: its id stays whatever it is called.",
			`{"object": "Contact", "developerName": "Student", "renameTo": "Learner"}`, (*Server).controlRecordType),
		request("POST", "definePushTopic", "Defines /topic/Name.", `{"Name": "Accounts", "Query": "SELECT Id, Name FROM Account"}`, (*Server).controlPushTopic),
		request("POST", "defineGenericChannel", "Defines a channel of generic streaming.", `{"channel": "/u/notices"}`, (*Server).controlGeneric),
		request("POST", "defineManaged", "Defines a managed subscription, or changes one. STOP ends its stream and deletes what is committed.",
			`{"developerName": "Orders", "topicName": "/event/Order__e", "defaultReplay": "EARLIEST"}`, (*Server).controlManaged),
		request("POST", "removeManaged", "Deletes a managed subscription and ends its stream.", `{"developerName": "Orders"}`, (*Server).controlRemoveManaged),
		request("POST", "publish", "Publishes an event, or a change of records. The reply has the replay ids in hex, their numbers as the Streaming API has them, and the events' own ids.",
			`{"channel": "/event/Order__e", "payload": {"Number__c": "A-1"}, "count": 3}`, (*Server).controlPublish),
		request("POST", "topic", "Publishes an event on /topic/Name, whatever its query says.", `{"name": "Accounts", "type": "updated", "sobject": {"Id": "001000000000001AAA", "Name": "Acme"}}`, (*Server).controlTopic),
		request("POST", "push", "Pushes a text to a generic channel. The reply has also what the REST API tells of the last push.", `{"channel": "/u/notices", "payload": "hello"}`, (*Server).controlPush),
		{"POST", "/control/fault", "Makes something go wrong, or right again: see the faults below, each of which takes some of the parameters.",
			`{"fault": "Reject", "channel": "/event/Order__e", "n": 2, "code": "UNAVAILABLE"}`, parametersOf[faultRequest](), nil,
			func(s *Server, _ context.Context, m members) (any, error) { return none{}, s.controlFault(m) }},
		request("GET", "faults", "Lists the faults that are still to happen or that last, each as the request that would ask for it.", "", (*Server).controlFaultsInForce),
		request("GET", "health", "Answers when the org does, with what it tells of where it is.", "", (*Server).controlHealth),
		request("GET", "channels", "Lists the channels: schema, members, retained events, streams.", "", (*Server).controlChannels),
		request("GET", "managed", "Lists the managed subscriptions, with what is committed, in base64.", "", (*Server).controlManagedList),
		request("GET", "streams", "Lists the streams of the Pub/Sub API and the sessions of the Streaming API that are open.", "", (*Server).controlStreams),
		request("GET", "counters", "Counts what came in since the start: logins, calls, requests.", "", (*Server).controlCounters),
		request("GET", "events", "Lists what was published on a channel and is retained, oldest first.", "?channel=/event/Order__e&limit=10", (*Server).controlEvents),
	}
}

type defineRequest struct {
	Channel  string          `json:"channel" about:"such as /event/Order__e, or /event/Orders__chn with members"`
	Schema   json.RawMessage `json:"schema" about:"the Avro schema of the event, as an object or as text"`
	Members  []Member        `json:"members" about:"the channels whose events a custom channel carries, each as a name or with enriched fields and a filter"`
	Object   string          `json:"object" about:"such as Account or Order__c, in place of channel"`
	Fields   []Field         `json:"fields" about:"of the object: the type is Text, Phone, Email, Url, Boolean, Integer, Double, Currency, Percent, DateTime, DateOnly, DynamicEnum, EntityId, Address, PersonName …; Account, Case, Contact and Opportunity have fields without any"`
	Types    []string        `json:"recordTypes" about:"of the object: the developer names of record types, which records name in RecordTypeId"`
	Required []string        `json:"required" about:"the fields without which the REST API creates no record or event"`
}

type defineReply struct {
	Channel  string `json:"channel"`
	SchemaID string `json:"schemaId"`
}

func (s *Server) controlDefine(_ context.Context, req defineRequest) (defineReply, error) {
	var err error
	switch {
	case req.Types != nil && req.Object == "":
		return defineReply{}, errors.New("recordTypes are of an object")
	case req.Object != "" && (req.Channel != "" || req.Schema != nil || req.Members != nil), req.Fields != nil && req.Object == "",
		req.Members != nil && req.Schema != nil:
		return defineReply{}, errors.New("it is channel with schema, channel with members, or object with fields")
	case req.Object != "":
		req.Channel = changeChannel(req.Object)
		err = s.DefineObject(req.Object, req.Fields...)
		for _, name := range req.Types {
			if err == nil {
				_, err = s.DefineRecordType(req.Object, name)
			}
		}
	case req.Members != nil:
		for _, m := range req.Members {
			if err := s.checkChannel(m.Channel); err != nil {
				return defineReply{}, err
			}
		}
		err = s.DefineMembers(req.Channel, req.Members...)
	case req.Channel == "" || req.Schema == nil:
		return defineReply{}, unknown("it needs channel with schema or members, or object with fields", namesOf(parametersOf[defineRequest]()))
	default:
		text := string(req.Schema)
		if strings.HasPrefix(text, `"`) {
			if err := json.Unmarshal(req.Schema, &text); err != nil {
				return defineReply{}, err
			}
		}
		err = s.DefineEvent(req.Channel, text)
	}
	if err != nil {
		return defineReply{}, err
	}
	if req.Required != nil {
		object := req.Object
		if object == "" {
			object = strings.TrimPrefix(req.Channel, "/event/")
		}
		if err := s.RequireFields(object, req.Required...); err != nil {
			return defineReply{}, err
		}
	}
	reply := defineReply{Channel: req.Channel}
	if _, sc, err := s.publishable(req.Channel); err == nil {
		reply.SchemaID = sc.id
	}
	return reply, nil
}

type pushTopicRequest struct {
	Name                       string  `json:"Name" about:"!at most 25 characters"`
	Query                      string  `json:"Query" about:"!SELECT Id, … FROM Object WHERE …"`
	Description                string  `json:"Description" about:"at most 400 characters"`
	APIVersion                 float64 `json:"ApiVersion" about:"with which the query is executed; default: the newest"`
	IsActive                   *bool   `json:"IsActive" about:"false stops the events; default true"`
	NotifyForFields            string  `json:"NotifyForFields" about:"which changes are events: All, Referenced (the default), Select or Where"`
	NotifyForOperationCreate   *bool   `json:"NotifyForOperationCreate" about:"default true"`
	NotifyForOperationUpdate   *bool   `json:"NotifyForOperationUpdate" about:"default true"`
	NotifyForOperationDelete   *bool   `json:"NotifyForOperationDelete" about:"default true"`
	NotifyForOperationUndelete *bool   `json:"NotifyForOperationUndelete" about:"default true"`
}

func (s *Server) controlPushTopic(_ context.Context, req pushTopicRequest) (defineReply, error) {
	return defineReply{Channel: "/topic/" + req.Name}, s.DefinePushTopic(PushTopic(req))
}

type genericRequest struct {
	Channel string `json:"channel" about:"!such as /u/notices"`
}

func (s *Server) controlGeneric(_ context.Context, req genericRequest) (defineReply, error) {
	return defineReply{Channel: req.Channel}, s.DefineGenericChannel(req.Channel)
}

// checkChannel fails unless a channel is defined.
func (s *Server) checkChannel(channel string) error {
	if _, ok := s.find(channel); ok {
		return nil
	}
	return unknown(fmt.Sprintf("there is no channel %q", channel), s.channels())
}

// channels returns the names of all channels that exist.
func (s *Server) channels() []string {
	var names []string
	for _, t := range s.matching("") {
		t.mu.Lock()
		if t.existsLocked() {
			names = append(names, t.name)
		}
		t.mu.Unlock()
	}
	slices.Sort(names)
	return names
}

type publishRequest struct {
	Channel string         `json:"channel" about:"where; a change needs none"`
	Payload map[string]any `json:"payload" about:"a value or null for each field; those that are left out have their default"`
	Change  *Change        `json:"change" about:"a change of records, in place of payload: object, type (CREATE, UPDATE, DELETE, UNDELETE, GAP_…), recordIds and what it sets"`
	Count   *int           `json:"count" about:"how often, 1 to 10000; default 1"`
}

type publishReply struct {
	IDs      []string `json:"ids"` // replay ids in lower-case hex
	EventIDs []string `json:"eventIds"`
	Numbers  []uint64 `json:"numbers"` // replay ids as CometD has them
}

const (
	maxCount  = 10_000   // how often one request publishes
	maxVolume = 64 << 20 // and how much, in bytes of JSON
)

// publishTimes publishes what is the same each time, until ctx ends.
func publishTimes(ctx context.Context, count *int, what any, publish func() (Event, error)) (publishReply, error) {
	reply := publishReply{IDs: []string{}, EventIDs: []string{}, Numbers: []uint64{}}
	times := 1
	if count != nil {
		times = *count
	}
	if times < 1 || times > maxCount {
		return reply, fmt.Errorf("count is %d: a request publishes 1 to %d events", times, maxCount)
	}
	if text, err := json.Marshal(what); err == nil && times*len(text) > maxVolume {
		return reply, fmt.Errorf("count is %d: a request publishes at most %d bytes, %d events of this size", times, maxVolume, max(1, maxVolume/len(text)))
	}
	for n := range times {
		if err := ctx.Err(); err != nil {
			return reply, err
		}
		ev, err := publish()
		if err != nil {
			if n > 0 {
				err = fmt.Errorf("after %d events: %w", n, err)
			}
			return reply, err
		}
		reply.IDs = append(reply.IDs, hex.EncodeToString(ev.ReplayID))
		reply.EventIDs = append(reply.EventIDs, ev.ID)
		reply.Numbers = append(reply.Numbers, ev.Number)
	}
	return reply, nil
}

func (s *Server) controlPublish(ctx context.Context, req publishRequest) (publishReply, error) {
	if req.Change != nil {
		return s.controlChange(ctx, req)
	}
	if err := s.checkChannel(req.Channel); err != nil {
		return publishReply{}, err
	}
	_, sc, err := s.publishable(req.Channel)
	if err != nil {
		return publishReply{}, err
	}
	if err := hasFields(sc.avro, req.Channel, slices.Collect(maps.Keys(req.Payload))); err != nil {
		return publishReply{}, err
	}
	return publishTimes(ctx, req.Count, req.Payload, func() (Event, error) { return s.Publish(req.Channel, req.Payload) })
}

// hasFields fails unless a schema has all of the fields.
func hasFields(rec *avro.RecordSchema, channel string, names []string) error {
	var known []string
	for _, f := range rec.Fields() {
		known = append(known, f.Name())
	}
	for _, name := range names {
		if parent, _, _ := strings.Cut(name, "."); !slices.Contains(known, parent) {
			return unknown(fmt.Sprintf("an event of %s has no field %q", channel, name), known)
		}
	}
	return nil
}

var changeTypes = []string{
	"CREATE", "UPDATE", "DELETE", "UNDELETE",
	"GAP_CREATE", "GAP_UPDATE", "GAP_DELETE", "GAP_UNDELETE", "GAP_OVERFLOW", "SNAPSHOT",
}

func (s *Server) controlChange(ctx context.Context, req publishRequest) (publishReply, error) {
	c := *req.Change
	if req.Payload != nil {
		return publishReply{}, errors.New("it is payload or change")
	}
	if err := oneOf("change.type", c.Type, changeTypes...); err != nil {
		return publishReply{}, err
	}
	if c.Object == "" && req.Channel == "" {
		return publishReply{}, errors.New("change.object is missing")
	}
	if c.Object == "" {
		c.Object = changedObject(req.Channel)
	}
	channel := changeChannel(c.Object)
	if req.Channel != "" && req.Channel != channel {
		return publishReply{}, fmt.Errorf("changes of %s are on %s, not on %s", c.Object, channel, req.Channel)
	}
	switch _, sc, err := s.publishable(channel); {
	case err != nil && len(s.followed(c.Object)) == 0: // it is on /topic only
		return publishReply{}, s.checkChannel(channel)
	case err == nil:
		names := slices.Concat(slices.Collect(maps.Keys(c.Set)), c.Null, c.Diff)
		if len(s.recordTypesOf(c.Object)) > 0 {
			names = slices.DeleteFunc(names, func(name string) bool { return name == recordTypeField })
		}
		if err := hasFields(sc.avro, channel, names); err != nil {
			return publishReply{}, err
		}
	}
	return publishTimes(ctx, req.Count, c, func() (Event, error) { return s.Change(c) })
}

// changedObject returns the object of a channel; it is the inverse of changeChannel.
func changedObject(channel string) string {
	name := strings.TrimPrefix(channel, "/data/")
	if custom, ok := strings.CutSuffix(name, "__ChangeEvent"); ok {
		return custom + "__c"
	}
	return strings.TrimSuffix(name, "ChangeEvent")
}

type topicRequest struct {
	Name    string         `json:"name" about:"!of the PushTopic"`
	Type    string         `json:"type" about:"created (the default), updated, deleted or undeleted"`
	Sobject map[string]any `json:"sobject" about:"the fields of the record"`
	Count   *int           `json:"count" about:"how often, 1 to 10000; default 1"`
}

func (s *Server) controlTopic(ctx context.Context, req topicRequest) (publishReply, error) {
	if err := s.checkChannel("/topic/" + req.Name); err != nil {
		return publishReply{}, err
	}
	kind := or(req.Type, "created")
	if err := oneOf("type", kind, "created", "updated", "deleted", "undeleted"); err != nil {
		return publishReply{}, err
	}
	return publishTimes(ctx, req.Count, req.Sobject, func() (Event, error) { return s.PublishTopic(req.Name, kind, req.Sobject) })
}

type pushRequest struct {
	Channel string   `json:"channel" about:"!such as /u/notices"`
	Payload string   `json:"payload" about:"at most 3,000 characters"`
	UserIDs []string `json:"userIds" about:"the users that it is for; default all"`
	Count   *int     `json:"count" about:"how often, 1 to 10000; default 1"`
}

// pushReply has, for the last push, what the REST API returns for each push.
type pushReply struct {
	publishReply
	FanoutCount      int             `json:"fanoutCount"`
	UserOnlineStatus map[string]bool `json:"userOnlineStatus"`
}

func (s *Server) controlPush(ctx context.Context, req pushRequest) (reply pushReply, err error) {
	if err := s.checkChannel(req.Channel); err != nil {
		return reply, err
	}
	reply.publishReply, err = publishTimes(ctx, req.Count, req.Payload, func() (Event, error) {
		result, err := s.Push(req.Channel, req.Payload, req.UserIDs...)
		reply.FanoutCount, reply.UserOnlineStatus = result.FanoutCount, result.UserOnline
		return result.Event, err
	})
	return reply, err
}
