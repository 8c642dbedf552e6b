package avro

import (
	"reflect"
	"slices"
	"strings"
)

// goField is a field of a Go struct that has a field of an event for it.
type goField struct {
	name  string // of the event's
	json  string // which goes before it where the event has such a field; empty: none
	index []int
}

// in is the name of the field that g is for.
func (g *goField) in(has func(name string) bool) string {
	if g.json != "" && has(g.json) {
		return g.json
	}
	return g.name
}

// fields are those of a struct's type: by the tag sf, else by the name in the tag json where an event has it, else by
// their own name.
func (b *Binder) fields(t reflect.Type) []goField {
	if known, ok := b.structs.Load(t); ok {
		return known.([]goField)
	}
	var fields []goField
	var inside []int // an embedded struct that has a tag, which makes it a field: what is in it is not promoted
	for _, field := range reflect.VisibleFields(t) {
		if n := len(inside); n > 0 && len(field.Index) > n && slices.Equal(field.Index[:n], inside) {
			continue
		}
		name, inJSON := field.Tag.Get("sf"), ""
		tagged := name != ""
		if !tagged {
			name = field.Name
			if inJSON, _, _ = strings.Cut(field.Tag.Get("json"), ","); inJSON == "-" || inJSON == name {
				inJSON = ""
			}
		} else if field.Anonymous {
			inside = field.Index
		}
		if field.IsExported() && (tagged || !field.Anonymous) && name != "-" && !throughPointer(t, field.Index) {
			fields = append(fields, goField{name, inJSON, field.Index})
		}
	}
	b.structs.Store(t, fields)
	return fields
}

// throughPointer reports whether a promoted field lies behind an embedded pointer, which may be nil.
func throughPointer(t reflect.Type, index []int) bool {
	for _, i := range index[:len(index)-1] {
		if t = t.Field(i).Type; t.Kind() == reflect.Pointer {
			return true
		}
	}
	return false
}

// wants reports whether a struct has a field for one of a record's.
func (b *Binder) wants(t reflect.Type, n *node) bool {
	return slices.ContainsFunc(b.fields(t), func(g goField) bool { return n.has(g.in(n.has)) })
}

func (n *node) has(name string) bool { return n.indexOf(name) >= 0 }

// recordIn is the type of the records in a field, nil where there is none or n is not known.
func (n *node) recordIn(name string) *node {
	if n == nil {
		return nil
	}
	if i := n.indexOf(name); i >= 0 {
		return n.fields[i].record
	}
	return nil
}
