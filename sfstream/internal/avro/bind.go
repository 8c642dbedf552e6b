package avro

import (
	"errors"
	"reflect"
	"time"
)

// errNoPlan is of what Bind leaves to Decode and Assign.
var errNoPlan = errors.New("not by a plan")

// Bind decodes payload into dst, a struct or a pointer to one. There is no map between: what the struct wants is read,
// the rest is stepped over, and texts that are near each other share memory.
//
// dst gets what Decode and b.Assign would give it. An error only says that these must do it: because they can tell what
// does not fit and where, or because there is no plan for it, as for a record that goes into a map. dst may hold a part
// then, of which they leave nothing different. What is stepped over is looked at for its length only.
func (s *Schema) Bind(b *Binder, payload []byte, dst reflect.Value) error {
	dst = b.reach(dst, Set)
	if !isRecord(dst) {
		return errNoPlan
	}
	d := binding{cursor: cursor{buf: payload}, schema: s, binder: b, as: Set}
	if !d.plan(s.root, dst.Type()).wants && dst.NumField() > 0 {
		return errNoPlan // Assign says why
	}
	if err := d.record(s.root, dst, 0); err != nil {
		return err
	}
	if d.rest() > 0 {
		return errTrailing
	}
	return nil
}

// binding is one Bind.
type binding struct {
	cursor
	schema *Schema
	binder *Binder
	text   string // a part of the payload again, from there on: texts are cut from it
	from   int
	lists  []string // the elements of all lists; it may move while it grows
	nulled []uint64 // what nulledFields names, once that was wanted: bits by field.place, or by the number of an event's field
	names  int      // in nulledFields, so far

	changed changed // once mark was wanted
	split   bool    // it is known
	as      Mark    // what the values of a record are whose fields no list of names can name
}

// plan says of each field of a record where in a Go struct it goes. Plans are kept at the record's node, so they end
// with the schema; those of nested records are made when one is met, so a type that contains itself has an end.
type plan struct {
	steps []step
	wants bool // any
}

type step struct {
	wanted []target
	// idle is how many fields from here on are not wanted and take one byte, 0, where they are null: those of a change
	// event mostly are.
	idle int
}

// target is a field of the struct.
type target struct {
	index  []int
	direct bool // neither a pointer nor an optional
}

func (d *binding) plan(n *node, t reflect.Type) *plan {
	if known, ok := n.plans.Load(t); ok {
		return known.(*plan)
	}
	p := make([]step, len(n.fields))
	wants := false
	for _, g := range d.binder.fields(t) {
		if i := n.indexOf(g.in(n.has)); i >= 0 {
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

// noPlace is the place of records whose fields no list of names can name.
const noPlace = -1

// record decodes a record into a struct. place is where its fields begin among those that can be named: 0 for the event,
// field.place for the record of one of its fields.
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

// textChunk is how much of the payload is copied at once, in bytes: the texts that most structs want of an event are in
// one or two of these. A kept text keeps no more than its chunk.
const textChunk = 512

// cut is the text from at to where the cursor is.
func (d *binding) cut(at int) string {
	if at < d.from || d.pos > d.from+len(d.text) {
		end := min(max(at+textChunk, d.pos), len(d.buf))
		d.from, d.text = at, string(d.buf[at:end])
	}
	return d.text[at-d.from : d.pos-d.from]
}

// time puts a time as its text would be put.
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

// mark is what a value of field i of a record is: of a change event, what its lists name or what came along.
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
	case n != f.record: // another one of the union than the one that lists count in
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

// list decodes an array of strings, in the lists of the header the names that they stand for.
func (d *binding) list(f *field, n *node, dst reflect.Value) error {
	if n.items.kind != kindString || dst.Kind() != reflect.Slice || dst.Type().Elem().Kind() != reflect.String {
		return errNoPlan
	}
	if d.lists == nil {
		d.lists = make([]string, 0, 8) // what the lists of most events take together
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
