package avro

// RecordIDs appends the recordIds of a change event's header to ids. It reports false for another event, and where the
// payload cannot be decoded that far. The rest of the payload is not looked at.
func (s *Schema) RecordIDs(ids []string, payload []byte) ([]string, bool) {
	if s.header == nil {
		return ids, false
	}
	at := s.header.indexOf("recordIds")
	if at < 0 {
		return ids, false
	}
	n := s.header.fields[at].node
	if n.kind != kindArray || n.items.kind != kindString {
		return ids, false
	}
	c := cursor{buf: payload} // the header is field 0: it begins where the payload does
	for i := range at {
		if c.skip(s.header.fields[i].node) != nil {
			return ids, false
		}
	}
	for {
		items, _, err := c.block()
		if err != nil || items == 0 {
			return ids, err == nil
		}
		for ; items > 0; items-- {
			begin, err := c.span()
			if err != nil {
				return ids, false
			}
			ids = append(ids, string(payload[begin:c.pos]))
		}
	}
}
