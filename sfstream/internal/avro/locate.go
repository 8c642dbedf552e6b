package avro

import "math"

// item is a value that the locator found in a payload, for the builder to make. The items in a
// record, an array or a map follow it; those in a map are keys and values in turn. An item has no
// pointers, so that writing one needs no write barrier while the garbage collector runs.
type item struct {
	at    int64 // the offset of its bytes, the bits of a number, or the index of an enum's symbol in Schema.symbols
	count int   // how many items are in it, or how many bytes it has
	field int32 // id of the field that has the value; -1: it is in an array or a map
	kind  kind  // the node's kind, but an int is a long, a float a double, and a time a string
}

// Kinds that only items have.
const (
	kindKey     kind = kindRecord + 1 + iota // the key of a map's next value
	kindNoItems                              // an empty array
	kindName                                 // a field's name: number at in the record of field, or in the event if field is -1
)

// stretch is a range of a slice or a text, without to.
type stretch struct{ from, to int }

// locator walks over a payload once and notes all values in it. The builder then knows how much
// memory they need, and lets many values share one allocation.
type locator struct {
	cursor
	schema   *Schema
	items    []item
	times    []byte  // the texts of times; in items, offsets from len(buf) on point here
	elements int     // how many elements all arrays have together
	nulled   stretch // the range of items that are the names in nulledFields
}

// maxKept is the most items for which a locator keeps its memory when it goes back to the pool.
// They are pooled because their items would be half of the garbage of an event.
const maxKept = 1 << 10

// locator returns a locator for a payload from the pool. The caller gives it back with free.
func (s *Schema) locator(payload []byte) *locator {
	l, _ := s.locators.Get().(*locator)
	if l == nil {
		l = &locator{schema: s, items: make([]item, 0, 64)}
	}
	l.cursor = cursor{buf: payload}
	l.items, l.times, l.elements, l.nulled = l.items[:0], l.times[:0], 0, stretch{}
	return l
}

func (s *Schema) free(l *locator) {
	if cap(l.items) <= maxKept {
		l.buf = nil
		s.locators.Put(l)
	}
}

// record notes the fields of a record: all of them, or in a change event those that are not null.
// id is the id of the field that has the record, -1 if there is none.
func (l *locator) record(n *node, id int32) error {
	if err := l.enter(); err != nil {
		return err
	}
	if len(n.fields) == 0 {
		if err := l.nothing(); err != nil {
			return err
		}
	}
	self := len(l.items)
	l.items = append(l.items, item{kind: kindRecord, field: id})
	count := len(n.fields)
	for i := 0; i < len(n.fields); i++ {
		f := &n.fields[i]
		if nulls := l.nulls(f.nullable); nulls > 0 {
			i += nulls - 1
			if l.schema.header != nil {
				count -= nulls
				continue
			}
			for j := range nulls { // the ids of a record's fields are consecutive
				l.items = append(l.items, item{kind: kindNull, field: f.id + int32(j)})
			}
			continue
		}
		before := len(l.items)
		if err := l.value(f.node, f); err != nil {
			return within(f.name, err)
		}
		if len(l.items) == before {
			count--
		}
	}
	l.items[self].count = count
	l.depth--
	return nil
}

// value notes one value. f is the field that has it, nil in an array or a map.
func (l *locator) value(n *node, f *field) (err error) {
	if n.kind == kindUnion {
		i, err := l.index(len(n.branches), errUnion)
		if err != nil {
			return err
		}
		n = n.branches[i]
	} else if n.kind == kindNull {
		err = l.nothing()
	}
	it := item{kind: n.kind, field: -1}
	if f != nil {
		it.field = f.id
	}
	switch n.kind {
	case kindRecord:
		return l.record(n, it.field)
	case kindArray:
		if f != nil && f.part >= partNulledFields && n.items.kind == kindString {
			return l.names(it, f.part == partNulledFields)
		}
		return l.list(it, n.items)
	case kindMap:
		return l.list(it, n.items)
	case kindNull:
		if f != nil && l.schema.header != nil {
			return err
		}
	case kindString, kindBytes:
		var at int
		at, err = l.span()
		it.at, it.count = int64(at), l.pos-at
	case kindFixed:
		var at int
		if n.size == 0 {
			err = l.nothing()
		} else {
			at, err = l.take(n.size)
		}
		it.at, it.count = int64(at), n.size
	case kindLong:
		it.at, err = l.long()
		if f != nil && f.timeForm != "" && err == nil && writable(it.at) {
			from := len(l.times)
			l.times = appendTime(l.times, it.at, f.timeForm)
			it.kind, it.at, it.count = kindString, int64(len(l.buf)+from), len(l.times)-from
		}
	case kindInt:
		it.kind = kindLong
		it.at, err = l.int()
	case kindFloat, kindDouble:
		var v float64
		if n.kind == kindFloat {
			v, err = l.float()
		} else {
			v, err = l.double()
		}
		it.kind, it.at = kindDouble, int64(math.Float64bits(v))
	case kindBoolean:
		var v bool
		if v, err = l.boolean(); v {
			it.at = 1
		}
	case kindEnum:
		var i int
		i, err = l.index(len(n.symbols), errEnum)
		it.at = int64(n.first + i)
	default:
		err = errKind
	}
	l.items = append(l.items, it)
	return err
}

// list notes the elements of an array or a map.
func (l *locator) list(it item, items *node) error {
	if err := l.enter(); err != nil {
		return err
	}
	self := len(l.items)
	l.items = append(l.items, it)
	for {
		count, end, err := l.block()
		if err != nil {
			return err
		}
		if count == 0 {
			break
		}
		it.count += int(count)
		for ; count > 0; count-- {
			if it.kind == kindMap {
				at, err := l.span()
				if err != nil {
					return err
				}
				l.items = append(l.items, item{kind: kindKey, at: int64(at), count: l.pos - at})
			}
			if err := l.value(items, nil); err != nil {
				return err
			}
		}
		if end >= 0 && l.pos != end {
			return errBlock
		}
	}
	l.close(self, it.count)
	l.depth--
	return nil
}

// names notes the names that an array of bitmaps stands for.
func (l *locator) names(it item, nulled bool) error {
	self := len(l.items)
	l.items = append(l.items, it)
	err := l.texts(func(at int) {
		for parent, i := range l.schema.marked(l.buf[at:l.pos]) {
			if it.count == l.schema.paths {
				break // more names are repetitions, see appendNames
			}
			name := item{kind: kindName, field: -1, at: int64(i)}
			if parent != nil {
				name.field = parent.id
			}
			l.items = append(l.items, name)
			it.count++
		}
	})
	if nulled && l.nulled.to == 0 { // only the first: a nested record of that name could have the field, too
		l.nulled = stretch{self + 1, len(l.items)}
	}
	l.close(self, it.count)
	return err
}

// close sets the count of an array or a map once its end is reached.
func (l *locator) close(at, count int) {
	it := &l.items[at]
	it.count = count
	if it.kind == kindArray {
		l.elements += count
		if count == 0 {
			it.kind = kindNoItems
		}
	}
}
