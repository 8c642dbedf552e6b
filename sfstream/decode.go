package sfstream

import (
	"fmt"
	"reflect"
)

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
