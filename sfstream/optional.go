package sfstream

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/sfstream/sfstream-go/sfstream/internal/avro"
)

// An Optional is a struct field for [Message.Decode] that tells the three things apart which a
// change event can say of a field: it did not change, it became null, or it has a new value. Its
// zero value is unchanged.
//
//	type Account struct {
//		Phone sfstream.Optional[string]
//	}
//
//	switch phone, set := account.Phone.Get(); {
//	case set:                    // phone is the new one
//	case account.Phone.IsNull(): // there is none any more
//	}
//
// The field of another event is null or set; it is unchanged where the event does not have it.
//
// Channels with enriched fields and filters send fields that did not change along with those that
// did. Such a field is unchanged, and Enriched gives its value.
//
// In JSON an Optional is its value or null. The tag `omitzero` leaves an unchanged one out, so that
// a struct of Optionals becomes the body of a REST PATCH:
//
//	Phone sfstream.Optional[string] `json:",omitzero"`
//
// REST takes a multi-picklist as one text and a date without a time of day: use an Optional[string]
// for both. It takes the parts of a compound field, never the whole.
type Optional[T any] struct {
	value T // the zero value unless set or enriched
	state optionalState
}

type optionalState uint8

const (
	optionalUnchanged optionalState = iota
	optionalNull
	optionalSet
	optionalEnriched // it did not change, and its value came along
)

// Get returns the value and whether there is one; without one it is the zero value.
func (o Optional[T]) Get() (value T, set bool) {
	if o.state != optionalSet {
		return value, false
	}
	return o.value, true
}

// Enriched returns the value of a field that did not change but came along with a change of others,
// and whether there is such a value; see [Message.Enriched]. [Optional.Set] and [Optional.SetNull]
// clear it. MarshalJSON leaves it out, because the JSON of an Optional says what is to be changed.
func (o Optional[T]) Enriched() (value T, ok bool) {
	if o.state != optionalEnriched {
		return value, false
	}
	return o.value, true
}

// IsSet reports whether there is a value.
func (o Optional[T]) IsSet() bool { return o.state == optionalSet }

// IsNull reports whether the field is null.
func (o Optional[T]) IsNull() bool { return o.state == optionalNull }

// IsZero reports whether the field is unchanged. For `json:",omitzero"`.
func (o Optional[T]) IsZero() bool {
	return o.state == optionalUnchanged || o.state == optionalEnriched
}

// Set sets the value.
func (o *Optional[T]) Set(value T) { *o = Optional[T]{value, optionalSet} }

// SetNull sets the field to null.
func (o *Optional[T]) SetNull() { *o = Optional[T]{state: optionalNull} }

// String is the value in fmt's default format, "null" or "unchanged".
func (o Optional[T]) String() string {
	switch o.state {
	case optionalSet:
		return fmt.Sprint(o.value)
	case optionalNull:
		return "null"
	}
	return "unchanged"
}

var errUnchanged = errors.New("sfstream: an Optional that is unchanged has no JSON: its field wants the tag `json:\",omitzero\"`")

// MarshalJSON gives the value or null. Unchanged is an error: null would say, and in a PATCH do,
// something else.
func (o Optional[T]) MarshalJSON() ([]byte, error) {
	if o.IsZero() {
		return nil, errUnchanged
	}
	if o.state == optionalNull {
		return []byte("null"), nil
	}
	return json.Marshal(o.value)
}

// UnmarshalJSON sets the value, or null. The error is [json.Unmarshal]'s.
func (o *Optional[T]) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		o.SetNull()
		return nil
	}
	var value T
	if err := json.Unmarshal(text, &value); err != nil {
		return err
	}
	o.Set(value)
	return nil
}

// mark sets the state that the decoder found and returns a pointer to the value, for the decoder to
// fill.
func (o *Optional[T]) mark(as avro.Mark) (value any) {
	switch as {
	case avro.Null:
		o.SetNull()
	case avro.Set:
		o.state = optionalSet
	case avro.Enriched:
		o.state = optionalEnriched
	}
	return &o.value
}

// itself returns the type of the Optional. A struct that embeds one has the method too, but another
// type.
func (*Optional[T]) itself() reflect.Type { return reflect.TypeFor[Optional[T]]() }

// optional is what avro.Binder calls for each field that may be an Optional.
func optional(dst reflect.Value, as avro.Mark) (reflect.Value, bool) {
	o, ok := dst.Addr().Interface().(interface {
		itself() reflect.Type
		mark(as avro.Mark) any
	})
	if !ok || o.itself() != dst.Type() {
		return reflect.Value{}, false
	}
	return reflect.ValueOf(o.mark(as)).Elem(), true
}

// give returns what the Optional says and a pointer to the value, for the encoder. What came along
// unchanged says nothing, as in JSON.
func (o *Optional[T]) give() (value any, as avro.Mark) {
	switch o.state {
	case optionalSet:
		return &o.value, avro.Set
	case optionalNull:
		return nil, avro.Null
	}
	return nil, avro.Unset
}

// optionalValue is what avro.Binder calls for each value that may be an Optional.
func optionalValue(src reflect.Value) (value reflect.Value, as avro.Mark, ok bool) {
	o, ok := src.Addr().Interface().(interface {
		itself() reflect.Type
		give() (any, avro.Mark)
	})
	if !ok || o.itself() != src.Type() {
		return reflect.Value{}, avro.Unset, false
	}
	pointer, as := o.give()
	if as == avro.Set {
		value = reflect.ValueOf(pointer).Elem()
	}
	return value, as, true
}
