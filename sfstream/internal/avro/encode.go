package avro

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"time"
)

// System has what Salesforce wants to be told of an event beside its fields. What is zero is not
// told.
type System struct {
	CreatedDate time.Time // when the event was published
	CreatedByID string    // the id of the user who publishes it
}

var (
	errNoEvent  = errors.New("an event is a struct or a map with string keys, or a pointer to one")
	errRequired = errors.New("it has no value, and it may not be null")
)

// Append appends the encoding of v with schema s to dst: the reverse of Bind and Decode, which give
// of it what v has. If dst has no memory, it gets as much as other events of s needed. The error is
// an *Error, and dst is as it was then. A pointer to a struct takes less time than a struct.
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
// An error is everything that would be lost: a key of a map, and an exported field of a struct,
// that the schema does not have, unless it has the tag `sf:"-"` or `json:"-"`; two fields of a
// struct for one of the event; a number that would be rounded.
func (b *Binder) Append(dst []byte, s *Schema, v any, with System) ([]byte, error) {
	if s.err != nil {
		return dst, &Error{Err: s.err}
	}
	e := encoding{binder: b, user: with.CreatedByID, dated: !with.CreatedDate.IsZero()}
	if e.dated {
		e.date = with.CreatedDate.UnixMilli()
	}
	if cap(dst) > 0 {
		return e.append(dst, s, v)
	}
	likely := s.size.Load()
	out, err := e.append(make([]byte, 0, likely), s, v)
	if err != nil {
		return dst, err
	}
	switch size := min(int64(len(out)), maxLikely); {
	case size > likely:
		s.size.Store(size)
	case size < likely-likely/4:
		s.size.Store(likely - 1) // few small events among large ones change little
	}
	return out, nil
}

// maxLikely bounds the memory that a payload gets at once because others had as much, in bytes.
const maxLikely = 4 << 10

// append appends the event v to dst.
func (e *encoding) append(dst []byte, s *Schema, v any) ([]byte, error) {
	src := reflect.ValueOf(v)
	if src.Kind() == reflect.Pointer && !src.IsNil() {
		src = src.Elem()
	}
	var out []byte
	var err error
	if o := s.root.outline.Load(); o != nil && src.IsValid() && o.typ == src.Type() {
		out, err = e.fromStruct(dst, s.root, o, src)
	} else {
		out, err = e.event(dst, s, src)
	}
	if err == nil {
		return out, nil
	}
	if err, ok := err.(*Error); ok {
		return dst, err
	}
	return dst, &Error{Err: err}
}

// event encodes an event of a type that is not that of the one before.
func (e *encoding) event(dst []byte, s *Schema, v reflect.Value) ([]byte, error) {
	src, is := e.reach(v)
	if is != given || !isRecord(src) && !isMap(src) {
		return dst, fmt.Errorf("%w, not %s", errNoEvent, describe(v))
	}
	return e.record(dst, s.root, src)
}

// encoding is the state of one call of Append.
type encoding struct {
	binder *Binder
	date   int64 // of System, in milliseconds, if dated
	dated  bool
	user   string // of System
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
			if !v.CanAddr() {
				if !e.binder.isOptional(v.Type()) {
					return v, given
				}
				copied := reflect.New(v.Type()).Elem()
				copied.Set(v)
				v = copied
			}
			value, as, ok := e.binder.Value(v)
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

// isOptional reports whether a type of structs is an optional one.
func (b *Binder) isOptional(t reflect.Type) bool {
	if known, ok := b.optionals.Load(t); ok {
		return known.(bool)
	}
	_, _, is := b.Value(reflect.New(t).Elem())
	b.optionals.Store(t, is)
	return is
}

func isMap(v reflect.Value) bool {
	return v.Kind() == reflect.Map && v.Type().Key().Kind() == reflect.String
}

// field encodes the field f of a record with what reach has found.
func (e *encoding) field(dst []byte, f *field, v reflect.Value, is presence) ([]byte, error) {
	n := f.node
	if n.only != nil && n.only.kind == kindEnum && is == given && v.Kind() == reflect.String && v.Len() == 0 {
		is = null // Bind gives null like that
	}
	switch {
	case is == given:
	case is == null && n.null < 0 && v.IsValid(): // a nil slice or map
	default:
		return e.nothing(dst, f, is)
	}
	out, err := e.value(dst, n, f.timeForm, v)
	if err != nil {
		return dst, within(f.name, err)
	}
	if f.system != systemNone && isZero(out[len(dst):], n) {
		return e.nothing(dst, f, absent)
	}
	return out, nil
}

// isZero reports whether an encoding is that of 0 or of the empty text.
func isZero(encoding []byte, n *node) bool {
	if n.kind == kindUnion {
		encoding = encoding[1:]
	}
	return len(encoding) == 1 && encoding[0] == 0
}

// nothing encodes a field without a value.
func (e *encoding) nothing(dst []byte, f *field, is presence) ([]byte, error) {
	if f.system != systemNone {
		if out, ok := e.told(dst, f); ok {
			return out, nil
		}
	}
	switch {
	case f.node.null >= 0 && (is == null || f.fallback == nil):
		return appendNull(dst, f.node), nil
	case f.fallback != nil:
		return append(dst, f.fallback...), nil
	}
	return dst, within(f.name, errRequired)
}

// told encodes what is told of the event, where it is to be told. There is no reflect.Value of it,
// which would need memory.
func (e *encoding) told(dst []byte, f *field) (out []byte, ok bool) {
	n := f.node
	if n.only != nil {
		dst, n = appendLong(dst, int64(n.onlyAt)), n.only
	}
	switch {
	case f.system == systemDate && n.kind == kindLong && e.dated:
		return appendLong(dst, e.date), true
	case f.system == systemUser && n.kind == kindString && e.user != "":
		out, err := appendString(dst, e.user)
		return out, err == nil
	}
	return nil, false
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
		// A branch that has found a fault within the value is the one for values of its kind.
		_, within := err.(*Error)
		if first == nil || within || branch.kind == kindRecord && (isRecord(v) || isMap(v)) {
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
