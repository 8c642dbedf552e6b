package avro

import "time"

// Date is the event's own time: commitTimestamp of a change event, CreatedDate of another. It is
// zero where the event has none or cannot be decoded that far. The rest of the payload is not
// looked at, and nothing is allocated.
func (s *Schema) Date(payload []byte) time.Time {
	if s.date < 0 {
		return time.Time{}
	}
	record := s.root
	if s.header != nil {
		record = s.header // field 0: it begins where the payload does
	}
	c := cursor{buf: payload}
	if c.skipFields(record.fields[:s.date]) != nil {
		return time.Time{}
	}
	n := record.fields[s.date].node
	if n.kind == kindUnion {
		i, err := c.index(len(n.branches), errUnion)
		if err != nil {
			return time.Time{}
		}
		n = n.branches[i]
	}
	if n.kind != kindLong {
		return time.Time{}
	}
	ms, err := c.long()
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
