package avro

// changed says which values in the body of a change event changed. Channels with enriched fields or
// filters also send fields that did not change, so that the presence of a value says nothing.
type changed struct {
	some bool      // only a part changed; false: the whole body did
	none bool      // with some: nothing in the body changed
	bits [8]uint64 // one bit for each field that can be named, see field.place
	more []uint64  // in place of bits, if the schema has more fields than that holds

	schema *Schema
}

// readChanged reads from the header what changed in a payload, into the zero value. In an UPDATE it
// is what the header's lists name; in a DELETE nothing changed. In any other change, and if there
// is no changedFields or the header cannot be read, the whole body changed.
func (s *Schema) readChanged(payload []byte, into *changed) {
	if s.header == nil {
		return
	}
	c := cursor{buf: payload} // the header is field 0: it begins where the payload does
	update, listed := false, false
	for i := range s.header.fields {
		f := &s.header.fields[i]
		switch {
		case f.part == partChangeType && f.node.kind == kindEnum:
			i, err := c.index(len(f.node.symbols), errEnum)
			if err != nil {
				return
			}
			switch f.node.symbols[i] {
			case "DELETE":
				into.start(s)
				into.some, into.none = true, true
				return
			case "UPDATE":
				update = true
				into.start(s)
			default:
				return
			}
		case update && f.part >= partNulledFields && f.node.kind == kindArray && f.node.items.kind == kindString:
			if c.texts(func(at int) { s.mark(c.buf[at:c.pos], into.set) }) != nil {
				return
			}
			listed = listed || f.part == partChangedFields
		default:
			if c.skip(f.node) != nil {
				return
			}
		}
	}
	into.some = listed
}

// isDelete reports whether the change is a DELETE. What its nulledFields names means nothing,
// because the records are gone.
func (s *Schema) isDelete(payload []byte) bool {
	at := s.header.indexOf("changeType")
	if at < 0 || s.header.fields[at].node.kind != kindEnum {
		return false
	}
	symbols := s.header.fields[at].node.symbols
	c := cursor{buf: payload}
	if c.skipFields(s.header.fields[:at]) != nil {
		return false
	}
	i, err := c.index(len(symbols), errEnum)
	return err == nil && symbols[i] == "DELETE"
}

// start makes room for the bits. It marks the header, which is part of every change.
func (c *changed) start(s *Schema) {
	c.schema = s
	if s.paths > 64*len(c.bits) {
		c.more = make([]uint64, s.paths/64+1)
	}
	c.set(nil, 0)
}

// set marks field i as changed, in the record of parent, or in the event if parent is nil. With a
// compound field of the event it marks all fields of its record.
func (c *changed) set(parent *field, i int) bool {
	if parent != nil {
		c.setPlace(parent.place + i)
		return true
	}
	c.setPlace(i)
	if f := &c.schema.root.fields[i]; f.record != nil {
		for j := range f.record.fields {
			c.setPlace(f.place + j)
		}
	}
	return true
}

func (c *changed) setPlace(place int) {
	if c.more != nil {
		c.more[place/64] |= 1 << (place % 64)
	} else {
		c.bits[place/64] |= 1 << (place % 64)
	}
}

// has reports whether the field with this number (see field.place) changed.
func (c *changed) has(place int) bool {
	switch {
	case !c.some:
		return true
	case c.more != nil:
		return c.more[place/64]>>(place%64)&1 == 1
	}
	return c.bits[place/64]>>(place%64)&1 == 1
}

// within reports whether field i of the event, which is f, or any field of its record changed.
func (c *changed) within(f *field, i int) bool {
	if c.has(i) {
		return true
	}
	if f.record == nil {
		return false
	}
	for j := range f.record.fields {
		if c.has(f.place + j) {
			return true
		}
	}
	return false
}
