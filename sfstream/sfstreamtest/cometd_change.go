package sfstreamtest

import (
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/hamba/avro/v2"
)

// changeHeader is the header of a change event on its way to JSON.
type changeHeader struct {
	field   *avro.Field
	schema  *avro.RecordSchema
	values  []any
	kind    string // the changeType
	changed bitmap
	diff    bitmap // the fields whose text is a unified diff
}

func newChangeHeader(f *avro.Field, v any) (changeHeader, bool) {
	h := changeHeader{field: f}
	h.schema, _ = compound(f.Type())
	var ok bool
	if h.values, ok = v.([]any); !ok || h.schema == nil {
		return h, false
	}
	h.kind, _ = h.get("changeType").(string)
	changed, _ := h.get("changedFields").(avroArrayItems)
	if h.changed, ok = parseBitmap(changed); !ok {
		return h, false
	}
	diff, _ := h.get("diffFields").(avroArrayItems)
	h.diff, ok = parseBitmap(diff)
	return h, ok
}

func (h *changeHeader) get(name string) any {
	if _, i := field(h.schema, name); i >= 0 {
		return h.values[i]
	}
	return nil
}

// parseBitmap is the inverse of bitmap.texts.
func parseBitmap(items avroArrayItems) (bitmap, bool) {
	b := newBitmap()
	for _, item := range items {
		text, _ := item.(string)
		parent := top
		if head, rest, nested := strings.Cut(text, "-"); nested {
			n, err := strconv.Atoi(head)
			if err != nil || n < 0 {
				return nil, false
			}
			parent, text = n, rest
		}
		digits, ok := strings.CutPrefix(text, "0x")
		if len(digits)%2 == 1 {
			digits = "0" + digits
		}
		bits, err := hex.DecodeString(digits)
		if !ok || err != nil {
			return nil, false
		}
		for i := range bits {
			for bit := range 8 {
				if at := len(bits) - 1 - i; bits[at]&(1<<bit) != 0 {
					b.set(parent, i*8+bit)
				}
			}
		}
	}
	return b, true
}

func (b bitmap) has(parent, bit int) bool {
	bits := b[parent]
	return bit/8 < len(bits) && bits[bit/8]&(1<<(bit%8)) != 0
}

// names returns the fields of the set in the order of a bitmap's texts: the fields of the event,
// then those of its compounds.
func (b bitmap) names(rec *avro.RecordSchema) []string {
	names := []string{}
	for i, f := range rec.Fields() {
		if b.has(top, i) {
			names = append(names, f.Name())
		}
	}
	for i, f := range rec.Fields() {
		if members, _ := compound(f.Type()); members != nil {
			for j, m := range members.Fields() {
				if b.has(i, j) {
					names = append(names, f.Name()+"."+m.Name())
				}
			}
		}
	}
	return names
}

// appendChange writes the payload of a change event: the header, then the fields that the event
// changed and those that have a value.
func (h *changeHeader) appendChange(b []byte, rec *avro.RecordSchema, values []any) []byte {
	b = append(b, `{"ChangeEventHeader":`...)
	b = h.append(b, rec)
	for i, f := range rec.Fields() {
		if f == h.field {
			continue
		}
		b = h.appendField(b, f, i, values[i])
	}
	return append(b, '}')
}

// append writes the header. CometD has no nulledFields and diffFields (a diff is an object), and
// has names in changedFields.
func (h *changeHeader) append(b []byte, rec *avro.RecordSchema) []byte {
	b = append(b, '{')
	for i, f := range h.schema.Fields() {
		name := f.Name()
		if name == "nulledFields" || name == "diffFields" {
			continue
		}
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = append(appendJSONString(b, name), ':')
		if name != "changedFields" {
			b = appendField(b, f, h.values[i], true)
			continue
		}
		b = append(b, '[')
		for i, name := range h.changed.names(rec) {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSONString(b, name)
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

// appendField writes a field of the body, if this event has it. A field that an UPDATE or a DELETE
// did not change is written if it has a value, because then it is an enriched field.
func (h *changeHeader) appendField(b []byte, f *avro.Field, i int, v any) []byte {
	members, _ := compound(f.Type())
	values, _ := v.([]any)
	switch h.kind {
	case "UPDATE", "DELETE":
		if h.changed.has(top, i) {
			b = append(appendJSONString(append(b, ','), f.Name()), ':')
			if !h.diff.has(top, i) {
				return appendField(b, f, v, true)
			}
			b = append(b, `{"diff":`...)
			return append(appendField(b, f, v, true), '}')
		}
		if v == nil && (members == nil || len(h.changed[i]) == 0) {
			return b
		}
		b = append(appendJSONString(append(b, ','), f.Name()), ':')
		if members == nil || v != nil && values == nil {
			return appendField(b, f, v, true)
		}
		return appendMembers(b, members, values, func(j int) bool {
			return h.changed.has(i, j) || values != nil && values[j] != nil
		})
	case "CREATE", "UNDELETE":
		if v == nil {
			return b
		}
		b = append(appendJSONString(append(b, ','), f.Name()), ':')
		if values != nil && members != nil {
			return appendMembers(b, members, values, func(j int) bool { return values[j] != nil })
		}
		return appendField(b, f, v, true)
	}
	return b
}

// appendMembers writes some members of a compound. values is nil if all are null.
func appendMembers(b []byte, members *avro.RecordSchema, values []any, has func(int) bool) []byte {
	b = append(b, '{')
	for j, m := range members.Fields() {
		if !has(j) {
			continue
		}
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		var v any
		if values != nil {
			v = values[j]
		}
		b = append(appendJSONString(b, m.Name()), ':')
		b = appendField(b, m, v, true)
	}
	return append(b, '}')
}
