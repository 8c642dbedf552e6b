package avro

import (
	"math"
	"reflect"
	"strings"
)

// shared is the size of a payload, in bytes, up to which all its texts share one copy of it. In a
// larger payload each text has memory of its own, because a text that the program keeps would keep
// all of it alive.
const shared = 4 << 10

// builder makes the values from the items.
type builder struct {
	schema *Schema
	text   strings.Builder // a copy of the payload and the texts of times, from which strings are cut: one allocation for all
	large  *locator        // set in place of text if each text is to have its own memory
	list   []any           // the memory of all arrays, from which each gets its part

	at int // index of the item to be made next

	strings, longs, doubles, arrays shelf
}

// build makes the event's map from the items that were found. m has what changed, enriched what
// came along.
func (l *locator) build() (m, enriched map[string]any) {
	b := builder{schema: l.schema, list: make([]any, l.elements)}
	if len(l.buf) > shared {
		b.large = l
	} else {
		b.text.Grow(len(l.buf) + len(l.times))
		b.text.Write(l.buf)
		b.text.Write(l.times)
	}
	nulled := l.items[l.nulled.from:l.nulled.to]
	var c changed
	l.schema.readChanged(l.buf, &c)
	if c.some {
		m, enriched = b.split(l.items, len(nulled), &c)
	} else {
		m = b.record(l.items, len(nulled))
	}
	if c.none {
		return m, enriched
	}
	for i := range nulled {
		l.schema.null(m, l.schema.parent(&nulled[i]), int(nulled[i].at))
	}
	return m, enriched
}

// split makes the event's map m of what changed, with room for more fields, and puts what did not
// change into enriched.
func (b *builder) split(items []item, more int, c *changed) (m, enriched map[string]any) {
	it := &items[b.at]
	b.at++
	m = make(map[string]any, it.count+more)
	first := b.schema.root.fields[0].id
	for range it.count {
		i := int(items[b.at].field - first)
		f := &b.schema.root.fields[i]
		switch {
		case !c.within(f, i):
			enriched = with(enriched, f.name, b.value(items))
		case !c.has(i) && f.isRecord(items[b.at:]):
			part, rest := b.splitRecord(items, f, c)
			if m[f.name] = part; rest != nil {
				enriched = with(enriched, f.name, rest)
			}
		default:
			m[f.name] = b.value(items)
		}
	}
	return m, enriched
}

// isRecord reports whether the first of items is f.record, the record whose fields lists can name,
// and not another branch of the union.
func (f *field) isRecord(items []item) bool {
	if items[0].kind != kindRecord || f.record == nil || len(f.record.fields) == 0 {
		return false
	}
	if items[0].count == 0 {
		return true
	}
	i := int(items[1].field - f.record.fields[0].id)
	return i >= 0 && i < len(f.record.fields)
}

// splitRecord does what split does for the record in field f of the event, of which a part changed.
func (b *builder) splitRecord(items []item, f *field, c *changed) (m, enriched map[string]any) {
	it := &items[b.at]
	b.at++
	m = make(map[string]any, it.count)
	first := f.record.fields[0].id
	for range it.count {
		i := int(items[b.at].field - first)
		name := f.record.fields[i].name
		if value := b.value(items); c.has(f.place + i) {
			m[name] = value
		} else {
			enriched = with(enriched, name, value)
		}
	}
	return m, enriched
}

func with(m map[string]any, name string, value any) map[string]any {
	if m == nil {
		m = make(map[string]any)
	}
	m[name] = value
	return m
}

// record makes the record at b.at, with room for more fields.
func (b *builder) record(items []item, more int) map[string]any {
	it := &items[b.at]
	b.at++
	m := make(map[string]any, it.count+more)
	for range it.count {
		name := b.schema.fields[items[b.at].field].name
		m[name] = b.value(items)
	}
	return m
}

// value makes the value at b.at.
func (b *builder) value(items []item) any {
	it := &items[b.at]
	switch it.kind {
	case kindRecord:
		return b.record(items, 0)
	case kindArray:
		return b.array(items)
	case kindString:
		if b.large != nil { // strings of one shelf keep each other alive
			b.at++
			return b.cut(it.at, it.count)
		}
		if b.strings.empty() {
			b.strings = shelve(items[b.at:], kindString, b.cut)
		}
		b.at++
		return b.strings.next()
	case kindLong:
		if b.longs.empty() {
			b.longs = shelve(items[b.at:], kindLong, func(at int64, _ int) int64 { return at })
		}
		b.at++
		return b.longs.next()
	case kindDouble:
		if b.doubles.empty() {
			b.doubles = shelve(items[b.at:], kindDouble, func(at int64, _ int) float64 { return math.Float64frombits(uint64(at)) })
		}
		b.at++
		return b.doubles.next()
	}
	b.at++
	switch it.kind {
	case kindMap:
		m := make(map[string]any, it.count)
		for range it.count {
			key := &items[b.at]
			b.at++
			m[b.cut(key.at, key.count)] = b.value(items)
		}
		return m
	case kindNoItems:
		return noItems
	case kindName:
		return b.schema.fieldName(b.schema.parent(it), int(it.at))
	case kindEnum:
		return b.schema.symbols[it.at]
	case kindBoolean:
		return it.at == 1
	case kindBytes, kindFixed:
		return []byte(b.cut(it.at, it.count))
	}
	return nil // kindNull
}

// noItems is the value of every empty array. It can be shared, because a slice without capacity
// cannot be changed.
var noItems any = []any{}

func (b *builder) array(items []item) any {
	if b.arrays.empty() {
		b.arrays = shelve(items[b.at:], kindArray, func(_ int64, count int) []any {
			list := b.list[:count:count]
			b.list = b.list[count:]
			return list
		})
	}
	b.at++
	v := b.arrays.next()
	list, _ := v.([]any)
	for i := range list {
		list[i] = b.value(items)
	}
	return v
}

func (b *builder) cut(at int64, count int) string {
	switch l := b.large; {
	case l == nil:
		return b.text.String()[at:][:count]
	case at >= int64(len(l.buf)):
		return string(l.times[at-int64(len(l.buf)):][:count])
	default:
		return string(l.buf[at:][:count])
	}
}

// shelf has values of one type, for one allocation, and hands them out as interfaces. They are the
// elements of an array in an interface: nobody can change that array, so reflect.Value.Interface
// points to its elements and does not copy them.
type shelf struct {
	array        reflect.Value
	first, count int
}

func (s *shelf) empty() bool { return s.first == s.count }

func (s *shelf) next() any {
	s.first++
	return s.array.Index(s.first - 1).Interface()
}

// shelve makes the values of the first items of kind k, at most 16.
func shelve[T any](items []item, k kind, value func(at int64, count int) T) shelf {
	var values [16]T
	count := 0
	for i := range items {
		if items[i].kind == k {
			values[count] = value(items[i].at, items[i].count)
			if count++; count == len(values) {
				break
			}
		}
	}
	var array any
	switch {
	case count == 1:
		array = [1]T(values[:])
	case count == 2:
		array = [2]T(values[:])
	case count <= 4:
		array = [4]T(values[:])
	case count <= 8:
		array = [8]T(values[:])
	case count <= 12:
		array = [12]T(values[:])
	default:
		array = values
	}
	return shelf{array: reflect.ValueOf(array), count: count}
}
