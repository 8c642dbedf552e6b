package avro

import (
	"errors"
	"reflect"
	"time"
)

// errNoPlan means that Bind cannot decode the payload into this struct, but Decode and Assign may.
var errNoPlan = errors.New("not by a plan")

// Bind decodes payload into dst, a struct or a pointer to one, without a map in between. It reads
// the fields that the struct wants and steps over the rest, of which it checks nothing but the
// lengths. Texts that are near each other in the payload share memory.
//
// dst gets the same values that Decode and b.Assign would give it. An error does not say what is
// wrong: it means that the caller must use Decode and Assign, either because they can tell which
// value does not fit, or because Bind has no plan, as for a record that goes into a map. Bind may
// have written a part of dst by then; that does no harm, because Assign after it leaves dst as if
// Bind had not run.
func (s *Schema) Bind(b *Binder, payload []byte, dst reflect.Value) error {
	dst = b.reach(dst, Set)
	if !isRecord(dst) {
		return errNoPlan
	}
	d := binding{cursor: cursor{buf: payload}, schema: s, binder: b, as: Set}
	if !d.plan(s.root, dst.Type()).wants && dst.NumField() > 0 {
		return errNoPlan // Assign returns the error that says why
	}
	if err := d.record(s.root, dst, 0); err != nil {
		return err
	}
	if d.rest() > 0 {
		return errTrailing
	}
	return nil
}

// binding is the state of one call of Bind.
type binding struct {
	cursor
	schema *Schema
	binder *Binder
	text   string // a copy of buf from offset from on, of which cut takes its strings
	from   int
	lists  []string // the elements of all lists decoded so far; append may move it
	nulled []uint64 // the fields that nulledFields names, nil until first needed: one bit per field, see record's place
	names  int      // how many names markNulled has got

	changed changed // valid once split is true
	split   bool    // changed has been read
	as      Mark    // the mark of a record of a record, whose fields no list of names can name
}

// plan says, for each field of a record, which fields of a Go struct it goes into. The record's
// node keeps the plan, so that it lives as long as the schema. The plan of a nested record is made
// when its record is first met, because a type that contains itself would never end.
type plan struct {
	steps []step
	wants bool // whether any step has a wanted field
}

type step struct {
	wanted []target
	// idle is how many fields, from this one on, the struct does not want and take one byte, 0, if
	// they are null. Most fields of a change event are.
	idle int
}

// target is a field of the struct.
type target struct {
	index  []int
	direct bool // reach has nothing to do: it is neither a pointer nor an Optional
}

func (d *binding) plan(n *node, t reflect.Type) *plan {
	if known, ok := n.plans.Load(t); ok {
		return known.(*plan)
	}
	p := make([]step, len(n.fields))
	wants := false
	for _, g := range d.binder.fields(t) {
		if i := n.indexOf(g.nameIn(n.has)); i >= 0 && !g.behind {
			p[i].wanted = append(p[i].wanted, target{g.index, d.binder.isDirect(t.FieldByIndex(g.index).Type)})
			wants = true
		}
	}
	idle := 0
	for i := len(p) - 1; i >= 0; i-- {
		if idle++; p[i].wanted != nil || !n.fields[i].node.nullFirst() {
			idle = 0
		}
		p[i].idle = idle
	}
	known := &plan{p, wants}
	n.plans.Store(t, known)
	return known
}

// noPlace is the place of a record whose fields no list of names can name.
const noPlace = -1

// record decodes a record into a struct. Lists of names number the fields that they can name: first
// those of the event, then those of the records in them. place is the number of this record's first
// field: 0 for the event, field.place for the record of one of its fields, noPlace for deeper ones.
func (d *binding) record(n *node, dst reflect.Value, place int) error {
	if err := d.enter(); err != nil {
		return err
	}
	p := d.plan(n, dst.Type()).steps
	for i := 0; i < len(p); i++ {
		if nulls := d.nulls(p[i].idle); nulls > 0 {
			i += nulls - 1
			continue
		}
		if p[i].wanted == nil {
			if err := d.skip(n.fields[i].node); err != nil {
				return err
			}
			continue
		}
		from := d.pos
		for _, t := range p[i].wanted {
			d.pos = from
			if err := d.field(n, i, t, dst.FieldByIndex(t.index), place); err != nil {
				return err
			}
		}
	}
	d.depth--
	return nil
}

// field decodes field i of record n.
func (d *binding) field(n *node, i int, t target, dst reflect.Value, place int) error {
	f := &n.fields[i]
	n = f.node
	if n.kind == kindUnion {
		branch, err := d.index(len(n.branches), errUnion)
		if err != nil {
			return err
		}
		n = n.branches[branch]
	}
	if n.kind == kindNull {
		return d.null(f, i, dst, place)
	}
	if !t.direct {
		dst = d.binder.reach(dst, d.mark(f, i, place))
	}
	switch n.kind {
	case kindString:
		at, err := d.span()
		if err != nil {
			return err
		}
		return d.binder.text(dst, d.cut(at))
	case kindLong:
		v, err := d.long()
		if err != nil {
			return err
		}
		if f.timeForm != "" {
			return d.time(dst, v, f.timeForm)
		}
		return number(dst, v)
	case kindInt:
		v, err := d.int()
		if err != nil {
			return err
		}
		return number(dst, v)
	case kindDouble:
		v, err := d.double()
		if err != nil {
			return err
		}
		return double(dst, v)
	case kindFloat:
		v, err := d.float()
		if err != nil {
			return err
		}
		return double(dst, v)
	case kindBoolean:
		v, err := d.boolean()
		if err != nil {
			return err
		}
		return boolean(dst, v)
	case kindEnum:
		symbol, err := d.index(len(n.symbols), errEnum)
		if err != nil {
			return err
		}
		return d.binder.text(dst, n.symbols[symbol].(string))
	case kindRecord:
		return d.nested(f, i, n, dst, place)
	case kindArray:
		return d.list(f, n, dst)
	}
	return errNoPlan
}

// textChunk is how many bytes of the payload cut copies at once: most structs want few fields,
// whose texts are in one or two such chunks. A text that the program keeps keeps no more than its
// chunk alive.
const textChunk = 512

// cut returns the text from offset at to the cursor as a string.
func (d *binding) cut(at int) string {
	if at < d.from || d.pos > d.from+len(d.text) {
		end := min(max(at+textChunk, d.pos), len(d.buf))
		d.from, d.text = at, string(d.buf[at:end])
	}
	return d.text[at-d.from : d.pos-d.from]
}

// time puts a time into dst, with the same result as if the value that Decode gives for it were put
// there: its text in form, or the number if it has none.
func (d *binding) time(dst reflect.Value, ms int64, form string) error {
	if !writable(ms) {
		return number(dst, ms)
	}
	t := time.UnixMilli(ms).UTC()
	const day = 24 * time.Hour
	switch form {
	case time.DateOnly:
		t = t.Truncate(day)
	case timeOfDay:
		t = time.Unix(0, 0).UTC().Add(t.Sub(t.Truncate(day)))
	}
	if moment(dst, t) {
		return nil
	}
	return d.binder.text(dst, t.Format(form))
}

// mark returns the mark for a value of field i of a record. In a change event a field that the
// header's lists name is Set, and one that only came along is Enriched.
func (d *binding) mark(f *field, i, place int) Mark {
	if d.schema.header == nil || place == noPlace {
		return d.as
	}
	if !d.split {
		d.schema.readChanged(d.buf, &d.changed)
		d.split = true
	}
	if place == 0 && d.changed.within(f, i) || place > 0 && d.changed.has(place+i) {
		return Set
	}
	return Enriched
}

func (d *binding) nested(f *field, i int, n *node, dst reflect.Value, place int) error {
	switch {
	case !isRecord(dst):
		return errNoPlan
	case n != f.record: // n is another branch of the union than f.record, whose fields the lists number
		return errNoPlan
	case place != 0:
		before := d.as
		d.as = d.mark(f, i, place)
		err := d.record(n, dst, noPlace)
		d.as = before
		return err
	default:
		return d.record(n, dst, f.place)
	}
}

// list decodes an array of strings. In nulledFields, diffFields and changedFields each string is a
// bitmap, and the list gets the names that it stands for.
func (d *binding) list(f *field, n *node, dst reflect.Value) error {
	if n.items.kind != kindString || dst.Kind() != reflect.Slice || dst.Type().Elem().Kind() != reflect.String {
		return errNoPlan
	}
	if d.lists == nil {
		d.lists = make([]string, 0, 8) // most events have fewer elements in all their lists
	}
	from := len(d.lists)
	add := func(at int) { d.lists = append(d.lists, d.cut(at)) }
	if f.part >= partNulledFields {
		most := from + d.schema.paths
		add = func(at int) { d.lists = d.schema.appendNames(d.lists, d.buf[at:d.pos], most) }
	}
	if err := d.texts(add); err != nil {
		return err
	}
	setTexts(dst, d.lists[from:len(d.lists):len(d.lists)])
	return nil
}
