package avro

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
)

// Plain gives the fields of v, an event as Append takes it, as values for JSON, where there is no
// schema to go by. The same fields of v go the same way. What v does not say is left out, a nil is
// a null; times are RFC 3339 texts in UTC with milliseconds, lists of strings are joined with
// semicolons, and what has a JSON of its own keeps it. The error is an *Error.
func (b *Binder) Plain(v any) (map[string]any, error) {
	e := encoding{binder: b}
	src, is := e.reach(reflect.ValueOf(v))
	if is != given || !isRecord(src) && !isMap(src) {
		return nil, &Error{Err: fmt.Errorf("%w, not %s", errNoEvent, describe(reflect.ValueOf(v)))}
	}
	fields, err := e.plainRecord(src)
	if err != nil {
		at, ok := err.(*Error)
		if !ok {
			at = &Error{Err: err}
		}
		return nil, at
	}
	return fields, nil
}

func (e *encoding) plainRecord(v reflect.Value) (fields map[string]any, err error) {
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer func() { e.depth-- }()
	fields = make(map[string]any)
	if isMap(v) {
		for entries := v.MapRange(); entries.Next(); {
			if err := e.plainField(fields, entries.Key().String(), entries.Value()); err != nil {
				return nil, err
			}
		}
		return fields, nil
	}
	if !v.CanAddr() { // an optional is asked by its address
		copied := reflect.New(v.Type()).Elem()
		copied.Set(v)
		v = copied
	}
	for _, g := range e.binder.fields(v.Type()) {
		from, is := promoted(v, g.index)
		if is != given || g.unnamed || g.omit.leavesOut(from) {
			continue
		}
		name := cmp.Or(g.json, g.name)
		if _, twice := fields[name]; twice {
			return nil, within(name, fmt.Errorf("two fields of the Go struct %s are for it", v.Type()))
		}
		if err := e.plainField(fields, name, from); err != nil {
			return nil, err
		}
	}
	return fields, nil
}

// plainField adds a field, if v says anything of it.
func (e *encoding) plainField(fields map[string]any, name string, v reflect.Value) error {
	v, is := e.reach(v)
	switch is {
	case absent:
		return nil
	case null:
		fields[name] = nil
		return nil
	}
	value, err := e.plain(v)
	if err != nil {
		return within(name, err)
	}
	fields[name] = value
	return nil
}

func (e *encoding) plain(v reflect.Value) (any, error) {
	if _, own := v.Interface().(json.Marshaler); own && v.Type() != timeType {
		return v.Interface(), nil
	}
	switch kind := v.Kind(); {
	case isRecord(v), isMap(v):
		return e.plainRecord(v)
	case v.CanFloat():
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("%v: %w", f, errNoNumber)
		}
	case kind == reflect.Struct, (kind == reflect.Slice || kind == reflect.Array) && v.Type().Elem().Kind() != reflect.Uint8:
		text, err := appendTexts(nil, v)
		if err != nil {
			return nil, err
		}
		_, length := binary.Varint(text)
		return string(text[length:]), nil
	case kind == reflect.String, kind == reflect.Bool, v.CanInt(), v.CanUint(), kind == reflect.Slice, kind == reflect.Array:
	default:
		return nil, misfit(v, "a value of an event")
	}
	return v.Interface(), nil
}
