package avro

// changed says which values in the body of a change event are what changed; the others came along with it, as channels
// with enriched fields and filters have them: an event's body is no longer what its change was.
type changed struct {
	some bool      // false: all are
	none bool      // some: nothing is
	bits [8]uint64 // by the numbers of the fields that can be named (field.place), as far as they reach
	more []uint64  // of all, where bits has no room for them

	schema *Schema
}

// readChanged reads it of a payload into the zero value. Of an UPDATE that is what the lists of the header name; of a
// DELETE nothing changed. Others, and those that do not say, are changes as a whole.
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

// isDelete reports whether an event tells of records that are gone: what it says is null means nothing.
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

// start makes room, and sets the header, which came with the change.
func (c *changed) start(s *Schema) {
	c.schema = s
	if s.paths > 64*len(c.bits) {
		c.more = make([]uint64, s.paths/64+1)
	}
	c.set(nil, 0)
}

// set sets field i of the record of a field, or of the event: who names a compound field names all of it.
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

// has reports whether what has this number changed.
func (c *changed) has(place int) bool {
	switch {
	case !c.some:
		return true
	case c.more != nil:
		return c.more[place/64]>>(place%64)&1 == 1
	}
	return c.bits[place/64]>>(place%64)&1 == 1
}

// within reports whether a field of the event, number i, or one in its record changed.
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
