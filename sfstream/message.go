package sfstream

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream/internal/inbox"
	"github.com/sfstream/sfstream-go/sfstream/internal/jsonevent"
)

// A Message is one event. Its methods may be called from any goroutine, also after the next message
// was taken; payloads are decoded when asked for. A kept message keeps the batch it came in, up to
// 100 messages with their payloads (mostly some 60 KB over the Pub/Sub API), and a kept
// [Message.ReplayID], ID or Raw a part of it. [Message.Clone] makes one that does not, and may be
// changed: the client reads the fields of its own.
type Message struct {
	Channel string // as subscribed
	// ID is the event's UUID where there is one. Publishers may set it, up to 36 characters;
	// several change events may share one, and over the Streaming API they have none. Key is what
	// to deduplicate on.
	ID       string
	ReplayID []byte // opaque; empty where Salesforce gave none
	SchemaID string // of the Avro schema that the payload was written with; empty for /topic and /u
	Type     string // PushTopic: created, updated, deleted or undeleted; else empty

	// Kept small: what a message takes is what the collector has to do.
	payload []byte // Avro; over the Streaming API the JSON of the event's data
	codec   *codec // reads the payload; nil: the message did not come from a client
	slot    slot   // its place in the inbox of its client
}

// readEvent fills a message from the data of an event of the Streaming API, of which it reads the
// envelope alone.
func (m *Message) readEvent(c *codec, channel string, data []byte) {
	env := jsonevent.Event(data).Envelope()
	m.Channel, m.payload, m.codec = channel, data, c
	m.SchemaID, m.ID, m.ReplayID, m.Type = env.SchemaID, env.ID, env.ReplayID, env.Type
}

// EventName is the type of the event: Order__e, AccountChangeEvent. A channel of several types is
// told apart by it:
//
//	switch msg.EventName() {
//	case "Order__e":
//		order, err := sfstream.Decode[Order](msg)
//	case "AccountChangeEvent":
//		account, err := sfstream.Decode[Account](msg)
//	}
//
// Over the Pub/Sub API it is the name of the schema. Over the Streaming API it is the event's
// EventApiName, which newer API versions send, or is made of the entity in a change event's header;
// or it is what the channel is named after. It is empty where nobody says it: for PushTopics, for
// generic events, and for platform events of a custom channel (/event/Sales__chn) without an
// EventApiName.
func (m *Message) EventName() string {
	if name := m.codec.name(m.payload); name != "" {
		return name
	}
	return channelEvent(m.Channel)
}

// channelEvent is the name of the one type of event that a channel has, empty where it may have
// several.
func channelEvent(channel string) string {
	name, ok := strings.CutPrefix(channel, "/event/")
	if !ok {
		if name, ok = strings.CutPrefix(channel, "/data/"); !ok || name == "ChangeEvents" {
			return ""
		}
	}
	if name = strings.TrimSuffix(name, "/"); strings.HasSuffix(name, "__chn") {
		return ""
	}
	return name
}

// Date is when the event happened by its own account: the createdDate of a PushTopic's and a
// generic event, the commit time of a change event, the CreatedDate of a platform event (which its
// publisher writes). Zero where the event carries none.
func (m *Message) Date() time.Time {
	return m.codec.date(m.payload)
}

// Fields returns the payload as a map: of a PushTopic's event the record, of a generic event its
// text under "payload". Numbers are int64 or float64, DateTime values RFC 3339 text in UTC with
// milliseconds, dates and times of day text (2006-01-02, 15:04:05.000Z), records maps, and null is
// nil.
//
// Of a change event it holds what changed: the header with field names for
// bitmaps, the fields that are set, and as nil those that the change nulled. What only
// came along is in Enriched.
// The map is the caller's own. Over the Pub/Sub API a text that is kept of it keeps
// a copy of the payload, or of one of more than 4 KB its own bytes. The error is a
// *[DecodeError].
//
// Over the Streaming API there is no schema: a text counts as a DateTime where it has one of the
// three forms that Salesforce writes (2021-02-09T11:11:12Z, …12.345Z, …12.345+0000); any other
// stays as it came.
func (m *Message) Fields() (map[string]any, error) {
	value, _, err := m.value()
	if err != nil {
		return nil, err
	}
	if fields, ok := value.(map[string]any); ok {
		return fields, nil
	}
	return map[string]any{"payload": value}, nil
}

// Enriched returns the fields that a change event carries although they did not change: those with
// which the channel is enriched, and those that its filter names. Their values are in the form of
// Fields. At the time of the change they are what the record had; an event that is replayed has
// what the record has then, so the same event can come with other values.
//
// Of an UPDATE these are the fields that changedFields does not name, and of a compound field the
// parts. Of a DELETE it is all that comes. Other changes, and other events, have none: the map is
// nil. A field that is empty does not come. Over the Streaming API before version 47.0 nothing says
// what changed, and all of an UPDATE counts as changed. The map is the caller's own. The error is a
// *[DecodeError].
func (m *Message) Enriched() (map[string]any, error) {
	_, enriched, err := m.value()
	return enriched, err
}

// value is the decoded payload, a map but for most generic events, and what came along with a
// change.
func (m *Message) value() (value any, enriched map[string]any, err error) {
	if value, enriched, err = m.codec.decode(m.payload); err != nil {
		return nil, nil, m.payloadError(err)
	}
	return value, enriched, nil
}

// payloadError makes a *DecodeError of an error of the codec.
func (m *Message) payloadError(err error) error {
	field, cause := decodeErrorOf(err)
	return m.decodeError(field, cause)
}

func (m *Message) decodeError(field string, err error) error {
	return &DecodeError{Channel: m.Channel, SchemaID: m.SchemaID, ReplayID: m.ReplayID, Field: field, err: err}
}

// Raw returns the payload as it came: Avro binary in the schema of SchemaID, or over the Streaming
// API the JSON of the event's data. It must not be changed.
func (m *Message) Raw() []byte { return m.payload }

// MarshalJSON gives a message the shape that Salesforce's Streaming API gives it, on both APIs:
//
//	{"channel":"/event/Order__e","data":{"schema":"…","payload":{…},"event":{"EventUuid":"…","replayId":1}}}
//
// The payload is what Fields returns; that of a PushTopic's event is called sobject, and that of a
// generic event is its text. Where Enriched returns any, they are beside the payload as "enriched".
// The replay id is a number over the Streaming API, and lower-case hex over the Pub/Sub API.
// Numbers that JSON does not have are the texts "NaN", "Infinity" and "-Infinity". The text escapes
// <, > and & only where json.Marshal is asked for it: a json.Encoder with SetEscapeHTML(false)
// writes them as they are. The error is a *[DecodeError].
func (m *Message) MarshalJSON() ([]byte, error) {
	value, enriched, err := m.value()
	if err != nil {
		return nil, err
	}
	marshal := m.codec.preferences().marshal
	payload, err := marshalNumbers(marshal, value)
	if err != nil {
		return nil, m.decodeError("", err)
	}
	var along json.RawMessage
	if len(enriched) > 0 {
		if along, err = marshalNumbers(marshal, enriched); err != nil {
			return nil, m.decodeError("", err)
		}
	}
	type event struct {
		CreatedDate string          `json:"createdDate,omitempty"`
		EventUUID   string          `json:"EventUuid,omitempty"`
		ReplayID    json.RawMessage `json:"replayId,omitempty"`
		Type        string          `json:"type,omitempty"`
	}
	type data struct {
		Schema   string          `json:"schema,omitempty"`
		Payload  json.RawMessage `json:"payload,omitempty"`
		Enriched json.RawMessage `json:"enriched,omitempty"`
		SObject  json.RawMessage `json:"sobject,omitempty"`
		Event    event           `json:"event"`
	}
	d := data{Event: event{EventUUID: m.ID, Type: m.Type}, Payload: payload, Enriched: along, Schema: m.SchemaID}
	d.Event.ReplayID, d.Event.CreatedDate = m.codec.replayID(m.ReplayID), m.codec.createdDate(m.payload)
	if m.Type != "" {
		d.Payload, d.SObject = nil, payload
	}
	return marshalPlain(struct {
		Channel string `json:"channel"`
		Data    data   `json:"data"`
	}{m.Channel, d})
}

// marshalNumbers marshals a value that may hold numbers that are none in JSON. There are next to
// never any, so they are looked for only where marshalling fails.
func marshalNumbers(marshal func(any) ([]byte, error), value any) ([]byte, error) {
	text, err := marshal(value)
	if err != nil && nameNumbers(value) {
		return marshal(value)
	}
	return text, err
}

// nameNumbers puts texts in the place of what JSON has no numbers for. It reports whether there was
// one.
func nameNumbers(value any) (found bool) {
	switch v := value.(type) {
	case map[string]any:
		for name, element := range v {
			if f, ok := element.(float64); ok && !isFinite(f) {
				v[name], found = numberName(f), true
			} else if nameNumbers(element) {
				found = true
			}
		}
	case []any:
		for i, element := range v {
			if f, ok := element.(float64); ok && !isFinite(f) {
				v[i], found = numberName(f), true
			} else if nameNumbers(element) {
				found = true
			}
		}
	}
	return found
}

func isFinite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

// numberName is the name of a number that is not finite: XML's and protobuf's.
func numberName(f float64) string {
	switch {
	case f > 0:
		return "Infinity"
	case f < 0:
		return "-Infinity"
	}
	return "NaN"
}

// Ack marks the message as handled, so that it is not handed out again and its channel's marker can
// pass it. It never blocks, may be called more than once, and does nothing after [Client.Close] or
// [Client.Unsubscribe]. Under [AckAuto] it settles a message before the loop is left. Of a nil
// message it does nothing.
func (m *Message) Ack() {
	if m != nil {
		m.slot.Ack()
	}
}

// Nack gives back a message that a loop, Receive or C has handed out under [AckManual] and that is
// not acked: it is handed out again, before those that came after it. Otherwise it does nothing.
// Only who has taken the message may call it, once, and no handler of a [Client.Run].
func (m *Message) Nack() {
	if m != nil {
		m.slot.Nack()
	}
}

// Advance returns the step of the channel's marker over this message, and over those of following,
// for a transaction that has the program's own rows, too: see [replaystore.Advance], and package
// sqlstore, which makes it. Call it right before the transaction's end. The messages count as
// handled as ever (see [AckPolicy]) once the program knows that the transaction is committed.
//
// They must be the next ones of one channel, in order: all before them are handled, and none of them
// is. So it is not for [AckOnReceive], and under [Client.Run] only for handlers that get one message
// of the channel at a time, as with Workers(1) or [OrderBy] the channel. The client's store must be
// a [replaystore.Advancer]. Else the error is [ErrInvalidOption], with the reason. A *[StoreError]
// is the store's; one that is [replaystore.ErrConflict] ends the client, also where Next of the
// Advance returns it.
func (m *Message) Advance(ctx context.Context, following ...*Message) (replaystore.Advance, error) {
	slots := []slot{m.slot}
	for _, next := range following {
		slots = append(slots, next.slot)
	}
	if slices.ContainsFunc(slots, slot.IsZero) {
		return replaystore.Advance{}, fmt.Errorf("%w: Advance: a message that did not come from a client", ErrInvalidOption)
	}
	before, after, err := inbox.Step(slots)
	if err != nil {
		return replaystore.Advance{}, fmt.Errorf("%w: Advance: %s: %v", ErrInvalidOption, m.Channel, err)
	}
	return m.slot.Channel().Advance(ctx, before, after)
}

// Clone returns a copy that shares no memory with the batch that the message came in, once that is
// handled. Its [Message.Ack] is the message's.
func (m *Message) Clone() *Message {
	clone := *m
	clone.ID = strings.Clone(m.ID)
	clone.ReplayID = slices.Clone(m.ReplayID)
	clone.payload = slices.Clone(m.payload)
	return &clone
}

// Decode returns the payload as a T; see [Message.Decode].
func Decode[T any](m *Message) (T, error) {
	var v T
	err := m.Decode(&v)
	return v, err
}

// Decode stores the payload in v: a pointer to a struct, to a map[string]any or to an any, or such
// a map itself. A generic event is its text, for a string or an any.
//
// A struct's fields are matched by the tag `sf:"Name"`, else by the name in the tag json where the
// event's schema (over the Streaming API: the payload) has such a field, else by their own name;
// those of an embedded struct without a tag sf as if they were its own. `sf:"-"`, unexported ones
// and those behind an embedded pointer are left alone. So are fields that the event does not carry:
// of a change event, those that did not change. null sets the zero value. A pointer is nil for
// unchanged and null alike; an [Optional] tells them apart. Pointers and maps that v has already
// are written into.
//
// The fields of a struct get what came along with a change, too (see Enriched), as
// [Optional.Enriched] or as if it had changed; a map or an any in the place of v gets what Fields
// returns.
//
//   - Numbers go into any type of number that holds them exactly, a double also into
//     a float32.
//   - A DateTime, a date and a time of day (of 1970-01-01) go into a time.Time in UTC,
//     a string as in Fields, or an int64 (milliseconds).
//   - A multi-picklist goes into a []string. As only the Pub/Sub API says what is one,
//     any text does: it is split at semicolons, and none is the empty slice.
//   - A compound field goes into a struct of its own or a map. The Name of an Account
//     or a Contact may be a text or a compound one: an any takes both.
//   - A long text may come as what differs from the one before: a string then has the
//     diff, for Message.ApplyDiff. ChangeEvent.DiffFields names such fields.
//   - The ChangeEventHeader goes into a struct with the header's names: recordIds,
//     changedFields. Message.Change has it ready.
//
// Over the Pub/Sub API structs are decoded without a map between, and what they do not want is
// stepped over. Texts of one event may share memory: up to 512 bytes, or as those of Fields, where
// v takes a record as a map or an any.
//
// The error is a *[DecodeError] that names the field: a value that does not fit or would lose
// something, or a broken payload. v may hold a part of the event then. Over the Pub/Sub API a
// struct none of whose fields is in the event's schema is an error too: it is made for another
// event (see [Message.EventName]), or its fields lack tags. Decode does no I/O.
func (m *Message) Decode(v any) error {
	dst := reflect.ValueOf(v)
	switch {
	case dst.Kind() == reflect.Pointer && !dst.IsNil():
		dst = dst.Elem()
	case dst.Kind() != reflect.Map || dst.IsNil():
		return m.decodeError("", fmt.Errorf("cannot decode into %T: want a non-nil pointer", v))
	}
	b := m.codec.preferences().binder
	if m.codec.bind(b, m.payload, dst) {
		return nil
	}
	value, enriched, err := m.value()
	if err != nil {
		return err
	}
	if err := b.Assign(dst, value, enriched, m.codec.schema); err != nil {
		return m.payloadError(err)
	}
	return nil
}
