package avro

import (
	"fmt"
	"reflect"
	"strings"
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
	nearest, least := "", max(2, len(name)/3)+1
	for i := range n.fields {
		if d := distance(name, n.fields[i].name); d < least {
			nearest, least = n.fields[i].name, d
		}
	}
	if nearest == "" {
		return errUnknown
	}
	return fmt.Errorf("%w; is it %s?", errUnknown, nearest)
}

// distance counts the letters to insert, delete or replace that make a out of b. Case and the
// ending of custom fields, which people forget, do not count but a little.
func distance(a, b string) int {
	x, y := strings.TrimSuffix(strings.ToLower(a), "__c"), strings.TrimSuffix(strings.ToLower(b), "__c")
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(x) {
		before := row[0]
		row[0] = i + 1
		for j := range len(y) {
			replaced := before
			if x[i] != y[j] {
				replaced++
			}
			before = row[j+1]
			row[j+1] = min(replaced, before+1, row[j]+1)
		}
	}
	return row[len(y)]
}
