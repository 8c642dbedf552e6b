package avro

// Error says that a payload, or a value that is to become one, does not fit its schema.
type Error struct {
	Field string // dotted path of the field, as BillingAddress.City; empty if the error concerns the record as a whole
	Err   error
}

// Error names the field, if one is at fault.
func (e *Error) Error() string {
	if e.Field == "" {
		return "avro: payload: " + e.Err.Error()
	}
	return "avro: payload: field " + e.Field + ": " + e.Err.Error()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// within prepends a field to the path of the error.
func within(name string, err error) error {
	if e, ok := err.(*Error); ok {
		e.Field = name + "." + e.Field
		return e
	}
	return &Error{Field: name, Err: err}
}

// Decode returns the payload as a map. The error is an *Error.
//
// A union is its value: nil, or the value of its branch. int and long are both int64, so that there
// is one integer type; float and double are float64, an enum is its symbol, bytes and fixed are a
// []byte with memory of its own, an array is []any, a map or a record is map[string]any. A DateTime
// is RFC 3339 text in UTC with milliseconds (2025-01-01T00:00:00.000Z), a DateOnly is 2025-01-01, a
// TimeOnly 10:30:00.000Z.
//
// The map of a platform event has every field, with nil for null. That of a change event has its
// header, where changedFields, nulledFields and diffFields are names (Name, BillingAddress.City) in
// place of bitmaps, and beside it what changed: the fields that are not null, in nested records
// too, and the nulled ones as nil. A nulled nested field is nil in its parent's map. If the payload
// contradicts itself, a value wins over nulledFields. enriched has the fields that came along
// unchanged, in maps of the same shape; it is nil if there are none.
func (s *Schema) Decode(payload []byte) (fields, enriched map[string]any, err error) {
	l := s.locator(payload)
	defer s.free(l)
	err = l.record(s.root, -1)
	if err == nil && l.rest() > 0 {
		err = errTrailing
	}
	if err != nil {
		if e, ok := err.(*Error); ok {
			return nil, nil, e
		}
		return nil, nil, &Error{Err: err}
	}
	fields, enriched = l.build()
	return fields, enriched, nil
}
