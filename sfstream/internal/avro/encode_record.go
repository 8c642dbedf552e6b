package avro

import (
	"cmp"
	"fmt"
	"reflect"
	"strings"
	"sync"
)

// record encodes a struct or a map as a record.
func (e *encoding) record(dst []byte, n *node, v reflect.Value) ([]byte, error) {
	if err := e.enter(); err != nil {
		return dst, err
	}
	var err error
	switch {
	case isRecord(v):
		dst, err = e.fromStruct(dst, n, v)
	case isMap(v):
		dst, err = e.fromMap(dst, n, v)
	default:
		err = misfit(v, "a record")
	}
	e.depth--
	return dst, err
}

// outline says from which field of a Go struct each field of a record comes. The record's node
// keeps it, as the plans of Bind.
type outline struct {
	typ     reflect.Type
	sources []source  // one for each field of the record
	copies  bool      // the struct has optionals, so that it must be addressable
	scratch sync.Pool // of pointers to zero values of typ

	field string // what err is about; empty if that is the struct as a whole
	err   error  // why no struct of this type can be encoded
}

// source is the field of a struct that a field of a record comes from.
type source struct {
	index  []int // nil: there is none
	at     int   // the index in the struct itself, -1 if the field is promoted
	direct bool  // reach has nothing to do
	omit   omission
}

func (e *encoding) outline(n *node, t reflect.Type) *outline {
	if known := n.outline.Load(); known != nil && known.typ == t {
		return known
	}
	known, ok := n.outlines.Load(t)
	if !ok {
		known, _ = n.outlines.LoadOrStore(t, e.binder.newOutline(n, t))
	}
	n.outline.Store(known.(*outline))
	return known.(*outline)
}

func (b *Binder) newOutline(n *node, t reflect.Type) *outline {
	o := &outline{typ: t, sources: make([]source, len(n.fields))}
	matched := false
	for _, g := range b.fields(t) {
		i := n.indexOf(g.nameIn(n.has))
		switch {
		case i < 0:
			if o.err == nil && !g.unnamed {
				o.field = cmp.Or(g.json, g.name)
				o.err = fmt.Errorf("%w; a field of the Go struct %s that is not the event's wants the tag `sf:\"-\"`", unknown(o.field, n), t)
			}
			continue
		case o.sources[i].index != nil:
			o.field = n.fields[i].name
			o.err = fmt.Errorf("the fields %s and %s of the Go struct %s are both for it", t.FieldByIndex(o.sources[i].index).Name, t.FieldByIndex(g.index).Name, t)
			return o
		}
		matched = true
		of := t.FieldByIndex(g.index).Type
		s := source{index: g.index, at: -1, direct: b.isGiven(of), omit: g.omit}
		if len(g.index) == 1 {
			s.at = g.index[0]
		}
		o.sources[i] = s
		o.copies = o.copies || of.Kind() == reflect.Struct && !s.direct && of != timeType
	}
	if !matched && t.NumField() > 0 {
		o.field, o.err = "", fmt.Errorf("no field of the Go struct %s is in the schema: their tags `sf` or `json`, or their names, are to be those of the event's fields", t)
	}
	return o
}

// isGiven reports whether reach returns each value of type t as it is.
func (b *Binder) isGiven(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Interface, reflect.Slice, reflect.Map:
		return false
	case reflect.Struct:
		if t == timeType {
			return false
		}
		_, _, ok := b.Value(reflect.New(t).Elem())
		return !ok
	}
	return true
}

func (e *encoding) fromStruct(dst []byte, n *node, v reflect.Value) ([]byte, error) {
	o := e.outline(n, v.Type())
	if o.err != nil {
		if o.field != "" {
			return dst, within(o.field, o.err)
		}
		return dst, o.err
	}
	if o.copies && !v.CanAddr() {
		scratch := o.scratch.Get()
		if scratch == nil {
			scratch = reflect.New(o.typ).Interface()
		}
		copied := reflect.ValueOf(scratch).Elem()
		copied.Set(v)
		dst, err := e.fromFields(dst, n, o, copied)
		copied.SetZero()
		o.scratch.Put(scratch)
		return dst, err
	}
	return e.fromFields(dst, n, o, v)
}

func (e *encoding) fromFields(dst []byte, n *node, o *outline, v reflect.Value) ([]byte, error) {
	var err error
	for i := range o.sources {
		f, s := &n.fields[i], &o.sources[i]
		var from reflect.Value
		is := given
		switch {
		case s.index == nil:
			is = absent
		case s.at >= 0:
			from = v.Field(s.at)
		default:
			from, is = promoted(v, s.index)
		}
		if is == given && s.omit != omitNothing && s.omit.leavesOut(from) {
			is = absent
		}
		if is == given && !s.direct {
			from, is = e.reach(from)
		}
		if dst, err = e.field(dst, f, from, is); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// promoted returns a field that may lie behind an embedded pointer, which may be nil.
func promoted(v reflect.Value, index []int) (reflect.Value, presence) {
	for i, at := range index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return v, absent
			}
			v = v.Elem()
		}
		v = v.Field(at)
	}
	return v, given
}

// leavesOut reports whether encoding/json would leave out the value.
func (o omission) leavesOut(v reflect.Value) bool {
	if o == omitEmpty {
		switch v.Kind() {
		case reflect.Slice, reflect.Map, reflect.Array:
			return v.Len() == 0
		case reflect.Struct:
			return false
		}
	}
	return v.IsZero()
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
			return dst, err
		}
	}
	if known == v.Len() {
		return dst, nil
	}
	var strange string // the first one by name: the error shall not depend on the map's order
	for keys := v.MapRange(); keys.Next(); {
		if key := keys.Key().String(); !n.has(key) && (strange == "" || key < strange) {
			strange = key
		}
	}
	return dst, within(strange, unknown(strange, n))
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
