package avro

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"sync"
	"time"
)

// System has what Salesforce wants to be told of an event beside its fields.
type System struct {
	CreatedDate time.Time // when the event was published
	CreatedByID string    // the id of the user who publishes it
}

var (
	errNoEvent  = errors.New("an event is a struct or a map with string keys, or a pointer to one")
	errRequired = errors.New("it has no value, and it may not be null")
)

// Append appends the encoding of v with schema s to dst: the reverse of Bind and Decode, which give
// of it what v has. If dst has no memory, what Append returns has just as much as it needs. The
// error is an *Error, and dst is as it was then.
//
// v is a struct, a map with string keys, or a pointer to one of them. A struct's fields are matched
// as in Assign, by the tags sf and json and by their names, and those behind an embedded pointer
// too. What v does not say is null: a field that is missing in the map, a nil, an optional that is
// not set, the zero time.Time, and what the tag json has omitempty or omitzero for. A field that
// may not be null gets its default then. Of CreatedDate and CreatedById, with takes the place of
// what v does not say, and of a zero value.
//
// A nil slice or map is null where the field may be null, and else empty.
//
//   - Numbers go into any number that holds them exactly: a whole float64 into a long, an int64
//     of 2^53 into a double. A json.Number is the number that it spells. NaN and infinities go
//     nowhere, because Salesforce has none.
//   - A DateTime is a time.Time, of which what is below a millisecond is cut off, RFC 3339 text,
//     or milliseconds. A date is the one that a time.Time has in its own zone, and a time of day
//     likewise. As numbers they are as Bind gives them, a date at midnight in UTC.
//   - A text is a string in UTF-8, a time.Time (RFC 3339), or a list of strings, which are joined
//     with semicolons as those of a multi-picklist.
//   - A record is a struct or a map, an enum one of its symbols, bytes are a []byte, an array is
//     a slice or an array. In a union the first branch counts that the value fits into.
//   - The lists of a change event's header are written as they are: they have bitmaps, not names.
//
// An error is everything that would be lost: a key of a map, and an exported field of a struct, that
// the schema does not have, unless it has the tag `sf:"-"` or `json:"-"`; two fields of a struct
// for one of the event; a number that would be rounded.
func (b *Binder) Append(dst []byte, s *Schema, v any, with System) ([]byte, error) {
	if s.err != nil {
		return dst, &Error{Err: s.err}
	}
	if cap(dst) > 0 {
		return b.append(dst, s, v, with)
	}
	buffer := buffers.Get().(*[]byte)
	out, err := b.append((*buffer)[:0], s, v, with)
	if err == nil {
		dst = append(dst, out...)
	}
	if cap(out) <= maxBuffer {
		*buffer = out
		buffers.Put(buffer)
	}
	return dst, err
}

// buffers has memory for payloads whose length is not known yet.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}

// maxBuffer is the most bytes that a buffer of the pool has: few events are larger.
const maxBuffer = 64 << 10

func (b *Binder) append(dst []byte, s *Schema, v any, with System) ([]byte, error) {
	e := encoding{binder: b, with: with}
	src, is := e.reach(reflect.ValueOf(v))
	if is != given || !isRecord(src) && !isMap(src) {
		return dst, &Error{Err: fmt.Errorf("%w, not %s", errNoEvent, describe(reflect.ValueOf(v)))}
	}
	out, err := e.record(dst, s.root, src)
	if err == nil {
		return out, nil
	}
	if err, ok := err.(*Error); ok {
		return dst, err
	}
	return dst, &Error{Err: err}
}

// encoding is the state of one call of Append.
type encoding struct {
	binder *Binder
	with   System
	depth  int
}

// presence says whether there is a value to encode.
type presence uint8

const (
	given  presence = iota
	null            // v says that there is none
	absent          // v does not say anything
)

// reach returns the value that v leads to through pointers, interfaces and optionals. With null a
// nil slice or map is returned, too; else what is returned has no use if there is no value.
func (e *encoding) reach(v reflect.Value) (reflect.Value, presence) {
	for range maxDepth { // type P *P has no end
		switch v.Kind() {
		case reflect.Invalid:
			return v, null
		case reflect.Pointer, reflect.Interface:
			if v.IsNil() {
				return reflect.Value{}, null
			}
			v = v.Elem()
		case reflect.Slice, reflect.Map:
			if v.IsNil() {
				return v, null
			}
			return v, given
		case reflect.Struct:
			if v.Type() == timeType {
				if timeOf(v).IsZero() {
					return reflect.Value{}, null
				}
				return v, given
			}
			value, as, ok := e.binder.Value(addressable(v))
			switch {
			case !ok:
				return v, given
			case as == Null:
				return reflect.Value{}, null
			case as != Set:
				return reflect.Value{}, absent
			}
			v = value
		default:
			return v, given
		}
	}
	return reflect.Value{}, null
}

// addressable returns v, or a copy of it that is addressable.
func addressable(v reflect.Value) reflect.Value {
	if v.CanAddr() {
		return v
	}
	copied := reflect.New(v.Type()).Elem()
	copied.Set(v)
	return copied
}

func isMap(v reflect.Value) bool {
	return v.Kind() == reflect.Map && v.Type().Key().Kind() == reflect.String
}

// field encodes the field f of a record with what reach has found.
func (e *encoding) field(dst []byte, f *field, v reflect.Value, is presence) ([]byte, error) {
	if f.system != systemNone && is == given && v.IsZero() {
		is = absent
	}
	n := f.node
	switch {
	case is == given:
	case is == null && n.null < 0 && v.IsValid(): // a nil slice or map
	default:
		return e.nothing(dst, f, is)
	}
	dst, err := e.value(dst, n, f.timeForm, v)
	if err != nil {
		return dst, within(f.name, err)
	}
	return dst, nil
}

// nothing encodes a field without a value.
func (e *encoding) nothing(dst []byte, f *field, is presence) ([]byte, error) {
	switch {
	case f.system == systemDate && !e.with.CreatedDate.IsZero():
		return e.field(dst, f, reflect.ValueOf(&e.with.CreatedDate).Elem(), given)
	case f.system == systemUser && e.with.CreatedByID != "":
		return e.field(dst, f, reflect.ValueOf(&e.with.CreatedByID).Elem(), given)
	case f.node.null >= 0 && (is == null || f.fallback == nil):
		return appendNull(dst, f.node), nil
	case f.fallback != nil:
		return append(dst, f.fallback...), nil
	}
	return dst, within(f.name, errRequired)
}

// appendNull encodes null, which n takes: its branch of a union, or nothing.
func appendNull(dst []byte, n *node) []byte {
	if n.kind == kindUnion {
		return appendLong(dst, int64(n.null))
	}
	return dst
}

// value encodes one value that reach has returned. form is the layout of a long that is a time.
func (e *encoding) value(dst []byte, n *node, form string, v reflect.Value) ([]byte, error) {
	switch n.kind {
	case kindUnion:
		return e.union(dst, n, form, v)
	case kindString:
		if v.Kind() == reflect.String && v.Type() != numberType {
			return appendString(dst, v.String())
		}
		return appendTexts(dst, v)
	case kindLong:
		if form != "" {
			return e.time(dst, form, v)
		}
		i, err := integer(v, 64)
		return appendLong(dst, i), err
	case kindInt:
		i, err := integer(v, 32)
		return appendLong(dst, i), err
	case kindDouble:
		return appendDouble(dst, v)
	case kindFloat:
		return appendFloat(dst, v)
	case kindBoolean:
		return appendBoolean(dst, v)
	case kindRecord:
		return e.record(dst, n, v)
	case kindEnum:
		return appendSymbol(dst, n, v)
	case kindBytes, kindFixed:
		return appendBytes(dst, n, v)
	case kindArray:
		return e.list(dst, n, v)
	case kindMap:
		return e.entries(dst, n, v)
	}
	return dst, misfit(v, "null")
}

// union encodes a value as the first branch that it fits into.
func (e *encoding) union(dst []byte, n *node, form string, v reflect.Value) ([]byte, error) {
	if n.only != nil {
		return e.value(appendLong(dst, int64(n.onlyAt)), n.only, form, v)
	}
	var first error
	depth := e.depth
	for i, branch := range n.branches {
		if branch.kind == kindNull {
			continue
		}
		e.depth = depth
		out, err := e.value(appendLong(dst, int64(i)), branch, form, v)
		if err == nil {
			return out, nil
		}
		// What is wrong with a record is told by the branch that is one.
		if first == nil || branch.kind == kindRecord && (isRecord(v) || isMap(v)) {
			first = err
		}
	}
	if first == nil {
		first = misfit(v, "null")
	}
	return dst, first
}

// element encodes an element of an array or a map.
func (e *encoding) element(dst []byte, n *node, v reflect.Value) ([]byte, error) {
	v, is := e.reach(v)
	if is != given && n.null >= 0 {
		return appendNull(dst, n), nil
	}
	if is == given || v.IsValid() {
		return e.value(dst, n, "", v)
	}
	return dst, errRequired
}

func (e *encoding) list(dst []byte, n *node, v reflect.Value) ([]byte, error) {
	if v.Kind() != reflect.Slice && v.Kind() != reflect.Array {
		return dst, misfit(v, "an array")
	}
	if err := e.enter(); err != nil {
		return dst, err
	}
	count := v.Len()
	if count > 0 {
		dst = appendLong(dst, int64(count))
	}
	var err error
	for i := range count {
		if dst, err = e.element(dst, n.items, v.Index(i)); err != nil {
			return dst, within(strconv.Itoa(i), err)
		}
	}
	e.depth--
	return append(dst, 0), nil
}

func (e *encoding) entries(dst []byte, n *node, v reflect.Value) ([]byte, error) {
	if !isMap(v) {
		return dst, misfit(v, "a map")
	}
	if err := e.enter(); err != nil {
		return dst, err
	}
	if count := v.Len(); count > 0 {
		dst = appendLong(dst, int64(count))
	}
	for entries := v.MapRange(); entries.Next(); {
		key := entries.Key().String()
		var err error
		if dst, err = appendString(dst, key); err == nil {
			dst, err = e.element(dst, n.items, entries.Value())
		}
		if err != nil {
			return dst, within(key, err)
		}
	}
	e.depth--
	return append(dst, 0), nil
}

// enter counts one more level of nesting against maxDepth: a value may contain itself. The caller
// leaves the level with e.depth--, but for an error.
func (e *encoding) enter() error {
	if e.depth++; e.depth > maxDepth {
		return errDepth
	}
	return nil
}
