package sfstreamtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hamba/avro/v2"
)

// bitmap is a set of fields as change event headers write it. The key is the position of the
// compound field that the bits belong to, or top.
type bitmap map[int][]byte

const top = -1

func newBitmap() bitmap { return make(bitmap) }

// add puts a field into the set: Name, Parent.Child, or the name of a compound for all its members.
// The bit of a compound itself is never set, unless its value can be a plain one too
// (Account.Name).
func (b bitmap) add(rec *avro.RecordSchema, path string) error {
	name, child, nested := strings.Cut(path, ".")
	f, i := field(rec, name)
	if f == nil {
		return fmt.Errorf("there is no field %s", name)
	}
	members, onlyCompound := compound(f.Type())
	switch {
	case nested:
		if members == nil {
			return fmt.Errorf("field %s has no members", name)
		}
		_, j := field(members, child)
		if j < 0 {
			return fmt.Errorf("there is no field %s", path)
		}
		b.set(i, j)
	case onlyCompound:
		for j := range members.Fields() {
			b.set(i, j)
		}
	default:
		b.set(top, i)
	}
	return nil
}

func (b bitmap) set(parent, bit int) {
	for len(b[parent]) <= bit/8 {
		b[parent] = append(b[parent], 0)
	}
	b[parent][bit/8] |= 1 << (bit % 8)
}

// texts returns the wire form: 0x and the bytes, most significant first, in upper-case hex; the top
// level first, then one text such as "4-0x06" per compound.
func (b bitmap) texts() []string {
	texts := []string{}
	for _, parent := range slices.Sorted(maps.Keys(b)) {
		bytes := slices.Clone(b[parent])
		slices.Reverse(bytes)
		text := fmt.Sprintf("0x%X", bytes)
		if parent != top {
			text = fmt.Sprintf("%d-%s", parent, text)
		}
		texts = append(texts, text)
	}
	return texts
}

// compound returns the record that a field's value can be, and whether it can be nothing else but
// null.
func compound(s avro.Schema) (rec *avro.RecordSchema, only bool) {
	branches := avro.Schemas{s}
	if union, ok := s.(*avro.UnionSchema); ok {
		branches = union.Types()
	}
	only = true
	for _, branch := range branches {
		if ref, ok := branch.(*avro.RefSchema); ok {
			branch = ref.Schema()
		}
		switch branch := branch.(type) {
		case *avro.RecordSchema:
			rec = branch
		case *avro.NullSchema:
		default:
			only = false
		}
	}
	return rec, only && rec != nil
}
