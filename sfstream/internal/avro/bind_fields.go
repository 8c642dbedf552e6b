package avro

import (
	"reflect"
	"slices"
	"strings"
)

// goField is a field of a Go struct that an event's field can go into.
type goField struct {
	name  string // of the event's field: from the tag sf, else the Go name
	json  string // the name in the tag json, preferred if the event has such a field; empty: none
	index []int

	behind  bool     // it lies behind an embedded pointer, which may be nil: Bind and Assign leave it alone
	unnamed bool     // its tag json is "-": an event without such a field does not lack one
	omit    omission // when Append leaves it out
}

// omission is what the tag json says of values that are to be left out.
type omission uint8

const (
	omitNothing omission = iota
	omitEmpty
	omitZero
)

// nameIn returns the name of the event's field that g is for. has reports whether the event has a
// field of a name.
func (g *goField) nameIn(has func(name string) bool) string {
	if g.json != "" && has(g.json) {
		return g.json
	}
	return g.name
}

// fields returns the fields of a struct type that an event's fields can go into. A field's tag sf
// names the event's field; without it the name in the tag json does, if the event has such a field,
// else the Go name. Those behind an embedded pointer are among them, for Append alone.
func (b *Binder) fields(t reflect.Type) []goField {
	if known, ok := b.structs.Load(t); ok {
		return known.([]goField)
	}
	var fields []goField
	var inside []int // index of the last embedded struct with a tag sf: it is one field, its own are not promoted
	for _, field := range reflect.VisibleFields(t) {
		if n := len(inside); n > 0 && len(field.Index) > n && slices.Equal(field.Index[:n], inside) {
			continue
		}
		name := field.Tag.Get("sf")
		inJSON, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		g := goField{index: field.Index, behind: throughPointer(t, field.Index), omit: omissionOf(options)}
		tagged := name != ""
		if !tagged {
			name = field.Name
			if g.unnamed = inJSON == "-"; !g.unnamed && inJSON != name {
				g.json = inJSON
			}
		} else if field.Anonymous {
			inside = field.Index
		}
		if g.name = name; field.IsExported() && (tagged || !field.Anonymous) && name != "-" {
			fields = append(fields, g)
		}
	}
	b.structs.Store(t, fields)
	return fields
}

// omissionOf returns what the options of a tag json say.
func omissionOf(options string) omission {
	for option := range strings.SplitSeq(options, ",") {
		switch option {
		case "omitempty":
			return omitEmpty
		case "omitzero":
			return omitZero
		}
	}
	return omitNothing
}

// throughPointer reports whether a promoted field lies behind an embedded pointer, which may be
// nil.
func throughPointer(t reflect.Type, index []int) bool {
	for _, i := range index[:len(index)-1] {
		if t = t.Field(i).Type; t.Kind() == reflect.Pointer {
			return true
		}
	}
	return false
}

// wants reports whether any field of a struct is for a field of record n.
func (b *Binder) wants(t reflect.Type, n *node) bool {
	return slices.ContainsFunc(b.fields(t), func(g goField) bool { return !g.behind && n.has(g.nameIn(n.has)) })
}

func (n *node) has(name string) bool { return n.indexOf(name) >= 0 }

// recordIn returns the record type in the field of that name, nil if there is none or n is nil,
// because the schema is not known.
func (n *node) recordIn(name string) *node {
	if n == nil {
		return nil
	}
	if i := n.indexOf(name); i >= 0 {
		return n.fields[i].record
	}
	return nil
}
