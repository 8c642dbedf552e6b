package sfstream

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/avro"
	"github.com/sfstream/sfstream-go/sfstream/internal/jsonevent"
)

// A codec reads the payloads of messages: those of the Pub/Sub API are Avro in a schema, those of
// the Streaming API are JSON. Everything that tells the two apart in a message is in this file.
// Messages share codecs, and nothing of one changes. A message that did not come from a client has
// none: nil.
type codec struct {
	schema *avro.Schema // nil: JSON
	prefs  *preferences // nil: those of a client without options
}

// preferences are how the program wants payloads to be read and written.
type preferences struct {
	marshal   func(any) ([]byte, error)
	unmarshal func([]byte, any) error // nil: encoding/json, with exact numbers
	binder    *avro.Binder            // knows the types of the program
}

func newPreferences() preferences {
	return preferences{marshal: marshalPlain, binder: &avro.Binder{Optional: optional, Value: optionalValue, Time: jsonevent.ParseField}}
}

// marshalPlain is json.Marshal without its escapes for <, > and &, which are for HTML. Who wants
// those has them of json.Marshal, which escapes also what a MarshalJSON returns.
func marshalPlain(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func (c *codec) preferences() *preferences {
	if c == nil || c.prefs == nil {
		prefs := newPreferences()
		return &prefs
	}
	return c.prefs
}

// isJSON reports whether the message came over the Streaming API.
func (c *codec) isJSON() bool { return c != nil && c.schema == nil }

// isAvro reports whether the message came over the Pub/Sub API, and its schema is one.
func (c *codec) isAvro() bool { return c != nil && c.schema != nil && c.schema.Err() == nil }

var (
	errNobodys  = errors.New("the message did not come from a client")
	errNoChange = errors.New("it is not an event of Change Data Capture")
)

// readable returns why no payload can be read, whatever is in it.
func (c *codec) readable() error {
	switch {
	case c == nil:
		return errNobodys
	case c.schema != nil:
		return c.schema.Err()
	}
	return nil
}

// decode gives a payload, a map but for most generic events, and what came along with a change.
func (c *codec) decode(payload []byte) (value any, enriched map[string]any, err error) {
	if err := c.readable(); err != nil {
		return nil, nil, err
	}
	if c.isJSON() {
		return jsonevent.Event(payload).Decode(c.preferences().unmarshal)
	}
	return c.schema.Decode(payload)
}

// bind decodes into dst without a map between. It reports false where that cannot be done: then
// decode and Binder.Assign tell why not, or do it.
func (c *codec) bind(b *avro.Binder, payload []byte, dst reflect.Value) bool {
	return c.isAvro() && dst.CanSet() && c.schema.Bind(b, payload, dst) == nil
}

// changeBlock is an event with room for what its lists hold in most events.
type changeBlock struct {
	ChangeEvent
	texts [8]string
}

// header reads the header of a change event.
func (c *codec) header(payload []byte) (*ChangeEvent, error) {
	if err := c.readable(); err != nil {
		return nil, err
	}
	if c.isJSON() {
		h, err := jsonevent.Event(payload).Header()
		if err != nil {
			return nil, err
		}
		return &ChangeEvent{
			EntityName: h.EntityName, RecordIDs: h.RecordIDs, Type: ChangeType(h.ChangeType), Origin: h.ChangeOrigin,
			TransactionKey: h.TransactionKey, SequenceNumber: int(h.SequenceNumber), CommitTime: h.CommitTime,
			CommitNumber: h.CommitNumber, CommitUser: h.CommitUser,
			ChangedFields: h.ChangedFields, NulledFields: h.NulledFields, DiffFields: h.DiffFields,
		}, nil
	}
	if !c.schema.IsChangeEvent() {
		return nil, errNoChange
	}
	block := new(changeBlock)
	h, err := c.schema.Header(payload, block.texts[:0])
	if err != nil {
		return nil, err
	}
	block.ChangeEvent = ChangeEvent{
		EntityName: h.EntityName, RecordIDs: h.RecordIDs, Type: ChangeType(h.ChangeType), Origin: h.ChangeOrigin,
		TransactionKey: h.TransactionKey, SequenceNumber: int(h.SequenceNumber),
		CommitNumber: h.CommitNumber, CommitUser: h.CommitUser,
		ChangedFields: h.ChangedFields, NulledFields: h.NulledFields, DiffFields: h.DiffFields,
	}
	if h.CommitTimestamp != 0 {
		block.CommitTime = time.UnixMilli(h.CommitTimestamp).UTC()
	}
	return &block.ChangeEvent, nil
}

// decodeErrorOf is the field that an error of decode, header or Binder.Assign is about, empty where
// it is the payload as a whole, and what is wrong with it.
func decodeErrorOf(err error) (field string, cause error) {
	if at, ok := errors.AsType[*avro.Error](err); ok {
		return at.Field, at.Err
	}
	if at, ok := errors.AsType[*jsonevent.Error](err); ok {
		return at.Field, at.Err
	}
	return "", err
}

// date is when an event happened by its own account.
func (c *codec) date(payload []byte) time.Time {
	switch {
	case c == nil:
		return time.Time{}
	case c.schema != nil:
		return c.schema.Date(payload)
	}
	return jsonevent.Event(payload).Date()
}

// datedBySalesforce reports whether Salesforce, and not the publisher, has written the event's
// date. See internal/bayeux/PROTOCOL.md, "Events".
func (c *codec) datedBySalesforce(payload []byte) bool {
	if c.isJSON() {
		return jsonevent.Event(payload).DatedBySalesforce()
	}
	return c != nil && c.schema.IsChangeEvent()
}

// createdDate is what Salesforce has written beside the payload, over the Streaming API alone.
func (c *codec) createdDate(payload []byte) string {
	if c.isJSON() {
		return jsonevent.Event(payload).CreatedDate()
	}
	return ""
}

// replayID is a replay id in JSON: a number over the Streaming API, else hex.
func (c *codec) replayID(id []byte) json.RawMessage {
	if c.isJSON() {
		return id
	}
	return fmt.Appendf(nil, "%q", hex.EncodeToString(id))
}

// name is the name of the event's type, empty where neither schema nor event says it.
func (c *codec) name(payload []byte) string {
	switch {
	case c == nil:
		return ""
	case c.schema != nil:
		return c.schema.Name()
	}
	return jsonevent.Event(payload).Name()
}

// isChange reports whether the event is a change event. It is sure where there is a schema that can
// be read, or a header.
func (c *codec) isChange(payload []byte) (is, sure bool) {
	switch {
	case c.isJSON():
		is = jsonevent.Event(payload).IsChangeEvent()
		return is, is
	case c.isAvro():
		return c.schema.IsChangeEvent(), true
	}
	return false, false
}

// appendIdentity appends the encoding of Message.identity. ok is false where the header cannot be
// read, or names no record.
func (c *codec) appendIdentity(b, payload []byte) (encoding []byte, ok bool) {
	switch {
	case c.isJSON():
		if id, ok := jsonevent.Event(payload).Identity(b); ok && len(id.RecordIDs) > 0 {
			return appendParts(id.RecordIDs, id.EntityName, id.ChangeType, id.TransactionKey, id.SequenceNumber), true
		}
	case c != nil:
		if id, ok := c.schema.Identity(payload, b); ok && len(id.RecordIDs) > 0 {
			return appendParts(id.RecordIDs, id.EntityName, id.ChangeType, id.TransactionKey, id.SequenceNumber), true
		}
	}
	return nil, false
}

// appendParts completes an encoding that has the record ids.
func appendParts[T string | []byte](b, entity []byte, change T, transaction []byte, sequence int64) []byte {
	b = appendText(b, "")
	b = appendText(b, entity)
	b = appendText(b, change)
	b = appendText(b, transaction)
	return binary.AppendVarint(b, sequence)
}

func appendText[T string | []byte](b []byte, text T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}
