package avro

// Error says that a payload does not fit its schema.
type Error struct {
	Field string // dotted path of the field, as BillingAddress.City; empty: the record as a whole
	Err   error
}

func (e *Error) Error() string {
	if e.Field == "" {
		return "avro: payload: " + e.Err.Error()
	}
	return "avro: payload: field " + e.Field + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// within prepends a field to the path of the error.
func within(name string, err error) error {
	if e, ok := err.(*Error); ok {
		e.Field = name + "." + e.Field
		return e
	}
	return &Error{Field: name, Err: err}
}

// Decode gives the payload as a map. The error is an *Error.
//
// A union is its value: nil, or what the branch holds. int and long are both int64, so that there is one integer type;
// float and double are float64, an enum is its symbol, bytes and fixed are a []byte of their own, an array is []any, a
// map or a record is map[string]any. A DateTime is RFC 3339 text in UTC with milliseconds (2025-01-01T00:00:00.000Z), a
// DateOnly is 2025-01-01, a TimeOnly 10:30:00.000Z.
//
// A platform event has every field, null ones as nil. A change event has its header, where changedFields, nulledFields
// and diffFields are names (Name, BillingAddress.City) in place of bitmaps, and beside it what changed: the fields that
// are not null, in nested records too, and the nulled ones as nil. A nulled nested field is nil in its parent's map.
// Where the payload contradicts itself, a value wins over nulledFields.
func (s *Schema) Decode(payload []byte) (map[string]any, error) {
	d := decoder{
		cursor: cursor{buf: payload},
		text:   string(payload),
		header: s.header,
	}
	m, err := d.record(s.root)
	if err == nil && d.rest() > 0 {
		err = errTrailing
	}
	if err != nil {
		if e, ok := err.(*Error); ok {
			return nil, e
		}
		return nil, &Error{Err: err}
	}
	if s.IsChangeEvent() {
		s.expand(m)
	}
	return m, nil
}

type decoder struct {
	cursor
	text   string // the payload again: strings are cut from it, one allocation for all
	header *node  // the schema's; where there is one, null fields are left out
}

func (d *decoder) record(n *node) (map[string]any, error) {
	if err := d.enter(); err != nil {
		return nil, err
	}
	size := len(n.fields)
	if size == 0 {
		if err := d.nothing(); err != nil {
			return nil, err
		}
	}
	if d.header != nil && n != d.header {
		size = 0 // few are set
	}
	m := make(map[string]any, min(size, d.rest()))
	for i := range n.fields {
		f := &n.fields[i]
		v, err := d.value(f.node, f.timeForm)
		if err != nil {
			return nil, within(f.name, err)
		}
		if v == nil && d.header != nil {
			continue
		}
		m[f.name] = v
	}
	d.depth--
	return m, nil
}

// value decodes one value; timeForm is the field's, for the long in its union.
func (d *decoder) value(n *node, timeForm string) (any, error) {
	switch n.kind {
	case kindUnion:
		i, err := d.index(len(n.branches), errUnion)
		if err != nil {
			return nil, err
		}
		if n.branches[i].kind == kindNull {
			return nil, nil
		}
		return d.value(n.branches[i], timeForm)
	case kindString:
		at, err := d.span()
		if err != nil {
			return nil, err
		}
		return d.text[at:d.pos], nil
	case kindRecord:
		return boxed(d.record(n))
	case kindLong:
		v, err := d.long()
		if err == nil && timeForm != "" {
			return timeText(v, timeForm), nil
		}
		return boxed(v, err)
	case kindInt:
		return boxed(d.int())
	case kindDouble:
		return boxed(d.double())
	case kindFloat:
		return boxed(d.float())
	case kindBoolean:
		return boxed(d.boolean())
	case kindEnum:
		i, err := d.index(len(n.symbols), errEnum)
		if err != nil {
			return nil, err
		}
		return n.symbols[i], nil
	case kindArray:
		return boxed(d.array(n.items))
	case kindMap:
		return boxed(d.mapOf(n.items))
	case kindBytes:
		at, err := d.span()
		return d.bytes(at, err)
	case kindFixed:
		if n.size == 0 {
			if err := d.nothing(); err != nil {
				return nil, err
			}
		}
		at, err := d.take(n.size)
		return d.bytes(at, err)
	case kindNull:
		return nil, d.nothing()
	default:
		return nil, errKind
	}
}

// boxed keeps a value that came with an error from becoming a non-nil interface.
func boxed[T any](v T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return v, nil
}

func (d *decoder) bytes(at int, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return []byte(d.text[at:d.pos]), nil
}

func (d *decoder) array(items *node) ([]any, error) {
	list := []any{}
	err := d.blocks(func(count int) error {
		if cap(list) == 0 && count > 0 {
			list = make([]any, 0, count)
		}
		v, err := d.value(items, "")
		list = append(list, v)
		return err
	})
	return list, err
}

func (d *decoder) mapOf(values *node) (map[string]any, error) {
	m := map[string]any{}
	err := d.blocks(func(int) error {
		at, err := d.span()
		if err != nil {
			return err
		}
		key := d.text[at:d.pos]
		m[key], err = d.value(values, "")
		return err
	})
	return m, err
}

// blocks calls item for each item of an array or a map. count is how many items the block can still have room for.
func (d *decoder) blocks(item func(count int) error) error {
	if err := d.enter(); err != nil {
		return err
	}
	defer func() { d.depth-- }()
	for {
		items, end, err := d.block()
		if err != nil || items == 0 {
			return err
		}
		for left := items; left > 0; left-- {
			if err := item(int(min(left, int64(d.rest())))); err != nil {
				return err
			}
		}
		if end >= 0 && d.pos != end {
			return errBlock
		}
	}
}
