package avro

import (
	"bytes"
	"iter"
	"math/bits"
	"strconv"
)

// appendNames appends the names of the fields that one element of changedFields, nulledFields or
// diffFields stands for, in the order of the schema: "0x0402" are fields 1 and 10 of the event,
// "4-0x06" are fields 1 and 2 of the record in field 4. A nested field is always named
// Parent.Child, even if the element names all fields of the parent. See
// internal/eventbus/PROTOCOL.md, "Bitmaps".
//
// It stops when names has most elements. Only elements that repeat each other name so many fields;
// Salesforce sends no such elements, and repetitions only take memory.
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

// marked yields the fields that one element stands for, as indices into a record: that of parent if
// the element is a compound one, else the event itself, with parent nil.
//
// It ignores a bit beyond the schema (the event was encoded with a newer one), and an element that
// is malformed or whose parent is not a record.
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

// fieldName returns the name of a field of parent, or of the event if parent is nil. It is in an
// interface, which most names are already.
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

// nibbles has the value of each hexadecimal digit, and -1 for all other bytes.
var nibbles = func() (n [256]int8) {
	for c := range n {
		n[c] = -1
		if v, err := strconv.ParseUint(string(rune(c)), 16, 4); err == nil {
			n[c] = int8(v)
		}
	}
	return n
}()

// parent returns the field whose record has the field that an item of kindName names; nil if the
// event itself has it.
func (s *Schema) parent(it *item) *field {
	if it.field < 0 {
		return nil
	}
	return s.fields[it.field]
}

// null sets a nulled field to nil in the event's map m, unless the body has a value for it.
func (s *Schema) null(m map[string]any, parent *field, i int) {
	fields := s.root.fields
	if parent != nil {
		fields = parent.record.fields
		if _, ok := m[parent.name]; !ok {
			m[parent.name] = map[string]any{}
		}
		if m, _ = m[parent.name].(map[string]any); m == nil {
			return // the parent is not a record (its union has another branch, as Account.Name has), or was nulled itself
		}
	}
	if _, ok := m[fields[i].name]; !ok {
		m[fields[i].name] = nil
	}
}
