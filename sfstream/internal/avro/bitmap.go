package avro

import (
	"iter"
	"strconv"
	"strings"
)

// FieldNames gives the names that the bitmaps of a changedFields, nulledFields or diffFields stand for, in their
// order: "0x0402" are fields 1 and 10 of the event, "4-0x06" fields 1 and 2 of the record that is field 4. A nested
// field is always Parent.Child, also when all fields of the parent are named.
//
// A bit beyond the schema (the event was encoded with a newer one) is ignored, and so is an element that is malformed
// or whose parent is not a record.
func (s *Schema) FieldNames(bitmaps []string) []string {
	names := []string{}
	for _, bitmap := range bitmaps {
		names = s.appendNames(names, bitmap, s.paths)
	}
	return names
}

// appendNames appends the names of one element. With most names it stops: elements repeat themselves then, and what
// they would add is no news, only memory.
func (s *Schema) appendNames(names []string, bitmap string, most int) []string {
	for parent, i := range s.marked(bitmap) {
		if len(names) == most {
			break
		}
		switch {
		case parent == nil:
			names = append(names, s.root.fields[i].name)
		case parent.members != nil:
			names = append(names, parent.members[i])
		default:
			names = append(names, parent.name+"."+parent.record.fields[i].name)
		}
	}
	return names
}

// marked yields the fields of one element as indices into the record that they are of: that of parent if the element
// is a compound one, else the event.
func (s *Schema) marked(bitmap string) iter.Seq2[*field, int] {
	return func(yield func(parent *field, i int) bool) {
		var parent *field
		fields := s.root.fields
		if index, rest, compound := strings.Cut(bitmap, "-"); compound {
			i, err := strconv.ParseUint(index, 10, 31)
			if err != nil || i >= uint64(len(fields)) || fields[i].record == nil {
				return
			}
			parent, bitmap = &fields[i], rest
			fields = parent.record.fields
		}
		if len(bitmap) < 2 || bitmap[0] != '0' || bitmap[1]|0x20 != 'x' {
			return
		}
		digits := bitmap[2:]
		for i := range len(digits) {
			if nibble(digits[i]) < 0 {
				return
			}
		}
		// The text is a big-endian number of any length: bit 0 is in its last digit.
		for i := range fields {
			at := len(digits) - 1 - i/4
			if at < 0 {
				return
			}
			if nibble(digits[at])>>(i%4)&1 == 1 && !yield(parent, i) {
				return
			}
		}
	}
}

// nibble is the value of a hexadecimal digit, -1 for anything else.
func nibble(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// expand puts nulled fields into the body of a change event and names into its header.
func (s *Schema) expand(m map[string]any) {
	header, ok := m[headerName].(map[string]any)
	if !ok {
		return
	}
	for _, bitmap := range texts(header["nulledFields"]) {
		for parent, i := range s.marked(bitmap) {
			s.null(m, parent, i)
		}
	}
	for _, list := range [...]string{"changedFields", "nulledFields", "diffFields"} {
		bitmaps := texts(header[list])
		if len(bitmaps) == 0 {
			continue
		}
		names := s.FieldNames(bitmaps)
		expanded := make([]any, len(names))
		for i, name := range names {
			expanded[i] = name
		}
		header[list] = expanded
	}
}

// null sets a nulled field to nil, unless the body has a value in its place.
func (s *Schema) null(m map[string]any, parent *field, i int) {
	fields := s.root.fields
	if parent != nil {
		fields = parent.record.fields
		if _, ok := m[parent.name]; !ok {
			m[parent.name] = map[string]any{}
		}
		if m, _ = m[parent.name].(map[string]any); m == nil {
			return // the parent took another branch of its union, as Account.Name does, or was nulled itself
		}
	}
	if _, ok := m[fields[i].name]; !ok {
		m[fields[i].name] = nil
	}
}

// texts are the strings of a decoded array; there is none where the schema has another type in its place.
func texts(v any) []string {
	list, _ := v.([]any)
	if len(list) == 0 {
		return nil
	}
	out := make([]string, 0, len(list))
	for _, item := range list {
		if text, ok := item.(string); ok {
			out = append(out, text)
		}
	}
	return out
}
