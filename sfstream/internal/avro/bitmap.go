package avro

import (
	"bytes"
	"iter"
	"math/bits"
	"strconv"
)

// appendNames appends the names that one element of a changedFields, nulledFields or diffFields stands for, in their
// order: "0x0402" are fields 1 and 10 of the event, "4-0x06" fields 1 and 2 of the record that is field 4. A nested
// field is always Parent.Child, also when all fields of the parent are named.
//
// With most names it stops: elements repeat themselves then, which Salesforce's do not, and take only memory.
func (s *Schema) appendNames(names []string, element []byte, most int) []string {
	for parent, i := range s.marked(element) {
		if len(names) == most {
			break
		}
		name, _ := s.fieldName(parent, i).(string)
		names = append(names, name)
	}
	return names
}

// marked yields the fields of one element as indices into the record that they are of: that of parent if the element
// is a compound one, else the event.
//
// A bit beyond the schema (the event was encoded with a newer one) is ignored, and so is an element that is malformed
// or whose parent is not a record.
func (s *Schema) marked(element []byte) iter.Seq2[*field, int] {
	return func(yield func(parent *field, i int) bool) { s.mark(element, yield) }
}

func (s *Schema) mark(element []byte, yield func(parent *field, i int) bool) {
	var parent *field
	count := len(s.root.fields)
	if at := bytes.IndexByte(element, '-'); at >= 0 {
		i, err := strconv.ParseUint(string(element[:at]), 10, 31)
		if err != nil || i >= uint64(count) || s.root.fields[i].record == nil {
			return
		}
		parent, element = &s.root.fields[i], element[at+1:]
		count = len(parent.record.fields)
	}
	if len(element) < 2 || element[0] != '0' || element[1]|0x20 != 'x' {
		return
	}
	digits := element[2:]
	for _, digit := range digits {
		if nibbles[digit] < 0 {
			return
		}
	}
	// The text is a big-endian number of any length: bit 0 is in its last digit.
	for first := 0; first < count && len(digits) > 0; first += 4 {
		last := len(digits) - 1
		for set := uint(nibbles[digits[last]]); set != 0; set &= set - 1 {
			if i := first + bits.TrailingZeros(set); i >= count || !yield(parent, i) {
				return
			}
		}
		digits = digits[:last]
	}
}

// fieldName is the name of a field of parent, or of the event where that is nil, in an interface.
func (s *Schema) fieldName(parent *field, i int) any {
	switch {
	case parent == nil:
		return s.root.fields[i].label
	case parent.members != nil:
		return parent.members[i]
	default:
		return parent.name + "." + parent.record.fields[i].name
	}
}

// nibbles are the values of hexadecimal digits, -1 for anything else.
var nibbles = func() (n [256]int8) {
	for c := range n {
		n[c] = -1
		if v, err := strconv.ParseUint(string(rune(c)), 16, 4); err == nil {
			n[c] = int8(v)
		}
	}
	return n
}()

// parent is the field that has what an item names, nil where that is the event.
func (s *Schema) parent(it *item) *field {
	if it.field < 0 {
		return nil
	}
	return s.fields[it.field]
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
