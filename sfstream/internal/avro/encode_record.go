package avro

import (
	"fmt"
	"reflect"

	"github.com/sfstream/sfstream-go/sfstream/internal/near"
)

// record encodes a struct or a map as a record.
func (e *encoding) record(dst []byte, n *node, v reflect.Value) ([]byte, error) {
	if err := e.enter(); err != nil {
		return dst, err
	}
	var err error
	switch {
	case isRecord(v):
		dst, err = e.fromStruct(dst, n, e.outline(n, v.Type()), v)
	case isMap(v):
		dst, err = e.fromMap(dst, n, v)
	default:
		err = misfit(v, "a record")
	}
	e.depth--
	return dst, err
}

var anyMapType = reflect.TypeFor[map[string]any]()

func (e *encoding) fromMap(dst []byte, n *node, v reflect.Value) ([]byte, error) {
	var plain map[string]any
	if v.Type() == anyMapType {
		if v.CanAddr() {
			plain = *v.Addr().Interface().(*map[string]any) // v.Interface() would allocate
		} else {
			plain = v.Interface().(map[string]any)
		}
	}
	known := 0
	for i := range n.fields {
		f := &n.fields[i]
		var from reflect.Value
		var there bool
		if plain != nil {
			var value any
			value, there = plain[f.name]
			from = reflect.ValueOf(value)
		} else {
			from = v.MapIndex(reflect.ValueOf(f.name).Convert(v.Type().Key()))
			there = from.IsValid()
		}
		is := absent
		if there {
			known++
			from, is = e.reach(from)
		}
		var err error
		if dst, err = e.field(dst, f, from, is); err != nil {
			if strange := strangeKey(v, n); strange != "" { // the value that is missing may have this name
				return dst, within(strange, unknown(strange, n))
			}
			return dst, err
		}
	}
	if known < v.Len() {
		strange := strangeKey(v, n)
		return dst, within(strange, unknown(strange, n))
	}
	return dst, nil
}

// strangeKey returns a key of a map that names no field of a record; empty if there is none.
func strangeKey(v reflect.Value, n *node) string {
	var strange string // the first one by name: the error shall not depend on the map's order
	for keys := v.MapRange(); keys.Next(); {
		if key := keys.Key().String(); !n.has(key) && (strange == "" || key < strange) {
			strange = key
		}
	}
	return strange
}

// unknown says that a record has no field of that name, and which one may be meant.
func unknown(name string, n *node) error {
	names := make([]string, len(n.fields))
	for i := range n.fields {
		names[i] = n.fields[i].name
	}
	if meant := near.Word(name, names, 2); meant != "" {
		return fmt.Errorf("%w; is it %s?", errUnknown, meant)
	}
	return errUnknown
}
