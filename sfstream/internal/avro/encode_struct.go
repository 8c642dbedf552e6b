package avro

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"sync"
	"time"
	"unsafe"
)

// outline says from which field of a Go struct each field of a record comes. The record's node
// keeps it, as the plans of Bind.
type outline struct {
	typ     reflect.Type
	sources []source  // one for each field of the record
	scratch sync.Pool // of pointers to zero values of typ

	field string // what err is about; empty if that is the struct as a whole
	err   error  // why no struct of this type can be encoded
}

// source is the field of a struct that a field of a record comes from.
type source struct {
	index  []int // nil: there is none
	direct bool  // reach has nothing to do
	omit   omission

	shortcut shortcut
	pointer  bool    // the struct has a pointer to the value
	drop     bool    // a zero value counts as none
	offset   uintptr // of the value, or of the pointer, in the struct
	branch   uint8   // what comes before a value, if the field is a union
	null     uint8   // the encoding of null
	union    bool
	nullable bool   // what is not there is null
	form     string // the layout of a time
}

// shortcut says how fromFields reads a value without reflect.
type shortcut uint8

const (
	shortcutNone shortcut = iota
	shortcutNull          // the struct has no such field
	shortcutText
	shortcutLong
	shortcutDouble
	shortcutBoolean
	shortcutTime
)

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
	for i := range o.sources {
		o.sources[i] = newSource(&n.fields[i])
	}
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
		o.sources[i].take(b, t, g, &n.fields[i])
	}
	if !matched && t.NumField() > 0 {
		o.field, o.err = "", fmt.Errorf("no field of the Go struct %s is in the schema: their tags `sf` or `json`, or their names, are to be those of the event's fields", t)
	}
	return o
}

// newSource returns the source of a field that the struct does not have.
func newSource(f *field) source {
	s := source{union: f.node.kind == kindUnion}
	if s.union && len(f.node.branches) > 64 {
		return s // the index of a branch takes more than one byte
	}
	s.branch, s.null = uint8(2*f.node.onlyAt), uint8(2*f.node.null)
	if s.nullable = s.union && f.node.null >= 0 && f.system == systemNone && f.fallback == nil; s.nullable {
		s.shortcut = shortcutNull
	}
	return s
}

// take makes g, a field of the struct type t, the source of f.
func (s *source) take(b *Binder, t reflect.Type, g goField, f *field) {
	of := t.FieldByIndex(g.index).Type
	s.index, s.direct, s.omit, s.shortcut = g.index, b.isGiven(of), g.omit, shortcutNone
	n := f.node
	if s.union {
		if n = f.node.only; n == nil || len(f.node.branches) > 64 {
			return
		}
	}
	if g.behind {
		return
	}
	s.drop = f.system != systemNone
	if of.Kind() == reflect.Pointer {
		of, s.pointer = of.Elem(), true
	} else if s.omit != omitNothing {
		s.drop = true
	}
	s.form = f.timeForm
	s.shortcut = shortcutOf(n, f.timeForm, of)
	s.pointer = s.pointer && s.shortcut != shortcutNone
	for at := t; len(g.index) > 0; g.index = g.index[1:] {
		step := at.Field(g.index[0])
		s.offset, at = s.offset+step.Offset, step.Type
	}
}

// shortcutOf returns how values of type t become values of n.
func shortcutOf(n *node, form string, t reflect.Type) shortcut {
	switch k := t.Kind(); {
	case n.kind == kindString && k == reflect.String && t != numberType:
		return shortcutText
	case n.kind == kindLong && k == reflect.Int64 && (form == "" || form == dateTime && t != durationType):
		return shortcutLong
	case n.kind == kindDouble && k == reflect.Float64:
		return shortcutDouble
	case n.kind == kindBoolean && k == reflect.Bool:
		return shortcutBoolean
	case n.kind == kindLong && form != "" && t == timeType:
		return shortcutTime
	}
	return shortcutNone
}

// isGiven reports whether reach returns each value of type t as it is.
func (b *Binder) isGiven(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Interface, reflect.Slice, reflect.Map:
		return false
	case reflect.Struct:
		return t != timeType && !b.isOptional(t)
	}
	return true
}

func (e *encoding) fromStruct(dst []byte, n *node, o *outline, v reflect.Value) ([]byte, error) {
	if o.err != nil {
		if o.field != "" {
			return dst, within(o.field, o.err)
		}
		return dst, o.err
	}
	if v.CanAddr() {
		return e.fromFields(dst, n, o, v)
	}
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

// fromFields encodes the fields of a record in their order. v is addressable.
//
// Values of the types that most fields have are read from the struct's memory: reflect would take
// longer for that than the encoding does. An outline has an offset for fields of its struct type
// only, of the types that the shortcuts are for, and nothing is written.
func (e *encoding) fromFields(dst []byte, n *node, o *outline, v reflect.Value) ([]byte, error) {
	base := unsafe.Pointer(v.UnsafeAddr())
	var err error
	for i := range o.sources {
		s := &o.sources[i]
		p := unsafe.Add(base, s.offset)
		if s.pointer {
			if p = *(*unsafe.Pointer)(p); p == nil {
				if s.nullable {
					dst = append(dst, s.null)
				} else if dst, err = e.fromField(dst, &n.fields[i], s, v); err != nil {
					return dst, err
				}
				continue
			}
		}
		before := len(dst)
		if s.union {
			dst = append(dst, s.branch)
		}
		switch s.shortcut { // a case that ends without continue leaves the value to reflect
		case shortcutNull:
			dst[before] = s.null
			continue
		case shortcutText:
			if text := *(*string)(p); (text != "" || !s.drop) && isUTF8(text) {
				dst = append(appendLong(dst, int64(len(text))), text...)
				continue
			}
		case shortcutLong:
			if i := *(*int64)(p); i != 0 || !s.drop {
				dst = appendLong(dst, i)
				continue
			}
		case shortcutDouble:
			if f := *(*float64)(p); f-f == 0 && (f != 0 || !s.drop) {
				dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(f))
				continue
			}
		case shortcutBoolean:
			if b := *(*bool)(p); b || !s.drop {
				dst = append(dst, *(*byte)(p))
				continue
			}
		case shortcutTime:
			t := (*time.Time)(p)
			if ms := milliseconds(*t, s.form); writable(ms) && !t.IsZero() {
				dst = appendLong(dst, ms)
				continue
			}
		}
		if dst, err = e.fromField(dst[:before], &n.fields[i], s, v); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// fromField encodes one field of a record. v is the struct.
func (e *encoding) fromField(dst []byte, f *field, s *source, v reflect.Value) ([]byte, error) {
	is := absent
	if s.index != nil {
		v, is = promoted(v, s.index)
	}
	if is == given && s.omit.leavesOut(v) {
		is = absent
	}
	if is == given && !s.direct {
		v, is = e.reach(v)
	}
	return e.field(dst, f, v, is)
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
	if o == omitNothing {
		return false
	}
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
