package avro

import "reflect"

// null handles a field whose value is null. In a change event that means that the field did not
// change, unless nulledFields names it. Schema.null does the same for a map.
func (d *binding) null(f *field, i int, dst reflect.Value, place int) error {
	if d.schema.header == nil {
		d.binder.null(dst)
		return nil
	}
	if place == noPlace {
		return nil
	}
	if d.nulled == nil {
		if err := d.readNulled(); err != nil {
			return err
		}
	}
	switch {
	case d.isNulled(place + i):
		d.binder.null(dst)
	case place == 0 && d.nulledIn(f):
		dst = d.binder.reach(dst, Set)
		if !isRecord(dst) {
			return errNoPlan
		}
		for j, s := range d.plan(f.record, dst.Type()).steps {
			for _, t := range s.wanted {
				if d.isNulled(f.place + j) {
					d.binder.null(dst.FieldByIndex(t.index))
				}
			}
		}
	}
	return nil
}

// readNulled reads nulledFields from the header into d.nulled. The cursor stays where it is.
func (d *binding) readNulled() error {
	d.nulled = []uint64{}
	header := d.schema.header
	at := header.indexOf("nulledFields")
	if at < 0 || d.schema.isDelete(d.buf) {
		return nil
	}
	if n := header.fields[at].node; n.kind != kindArray || n.items.kind != kindString {
		return errNoPlan
	}
	here := d.cursor
	d.cursor = cursor{buf: d.buf} // the header is field 0: it begins where the payload does
	if err := d.skipFields(header.fields[:at]); err != nil {
		return err
	}
	err := d.texts(func(at int) { d.schema.mark(d.buf[at:d.pos], d.markNulled) })
	d.cursor = here
	return err
}

func (d *binding) markNulled(parent *field, i int) bool {
	if len(d.nulled) == 0 {
		d.nulled = make([]uint64, d.schema.paths/64+1)
	}
	if d.names++; d.names > d.schema.paths {
		return false // more names are repetitions, see appendNames
	}
	if parent != nil {
		i += parent.place
	} else if d.nulledIn(&d.schema.root.fields[i]) {
		return true // names of fields in its record came first; Schema.null ignores the parent then, too
	}
	d.nulled[i/64] |= 1 << (i % 64)
	return true
}

func (d *binding) isNulled(place int) bool {
	return place/64 < len(d.nulled) && d.nulled[place/64]>>(place%64)&1 == 1
}

// nulledIn reports whether a field in the record of f, a field of the event, is nulled.
func (d *binding) nulledIn(f *field) bool {
	if len(d.nulled) == 0 || f.record == nil {
		return false
	}
	for i := range f.record.fields {
		if d.isNulled(f.place + i) {
			return true
		}
	}
	return false
}
