package avro

import "errors"

var (
	errNoHeader   = errors.New("the event is not one of Change Data Capture")
	errHeaderType = errors.New("the header's field has a type that is not known")
)

// Header is the header of a change event. Bitmaps are names, as in FieldNames. What a schema does not have is zero.
type Header struct {
	EntityName     string
	RecordIDs      []string
	ChangeType     string
	ChangeOrigin   string
	TransactionKey string
	SequenceNumber int64

	CommitTimestamp int64 // milliseconds
	CommitNumber    int64
	CommitUser      string

	NulledFields, DiffFields, ChangedFields []string
}

// Header reads the header of a change event. The rest of the payload is not looked at. The header's lists go into
// list's memory as far as it reaches; beside what goes beyond, the one allocation is for all texts. The error is an
// *Error.
func (s *Schema) Header(payload []byte, list []string) (h Header, err error) {
	if s.header == nil {
		return h, &Error{Err: errNoHeader}
	}
	c := cursor{buf: payload} // the header is field 0: it begins where the payload does
	for i := range s.header.fields {
		f := &s.header.fields[i]
		if err := c.skip(f.node); err != nil {
			return h, within(headerName, within(f.name, err))
		}
	}
	r := headerReader{schema: s, cursor: cursor{buf: payload[:c.pos]}, text: string(payload[:c.pos]), list: list[:0]}
	for i := range s.header.fields {
		f := &s.header.fields[i]
		if err := r.read(&h, f); err != nil {
			return Header{}, within(headerName, within(f.name, err))
		}
	}
	h.RecordIDs, h.NulledFields = r.cut(r.ids), r.cut(r.nulled)
	h.DiffFields, h.ChangedFields = r.cut(r.diff), r.cut(r.changed)
	return h, nil
}

type headerReader struct {
	cursor
	schema *Schema
	text   string   // the header again: strings are cut from it
	list   []string // the elements of all lists; it may move while it grows

	ids, nulled, diff, changed stretch
}

// stretch is a part of a list.
type stretch struct{ from, to int }

func (r *headerReader) cut(s stretch) []string {
	if s.from == s.to {
		return nil
	}
	return r.list[s.from:s.to:s.to]
}

func (r *headerReader) read(h *Header, f *field) (err error) {
	switch f.name {
	case "entityName":
		h.EntityName, err = r.word(f.node)
	case "recordIds":
		r.ids, err = r.texts(f.node, false)
	case "changeType":
		h.ChangeType, err = r.word(f.node)
	case "changeOrigin":
		h.ChangeOrigin, err = r.word(f.node)
	case "transactionKey":
		h.TransactionKey, err = r.word(f.node)
	case "sequenceNumber":
		h.SequenceNumber, err = r.number(f.node)
	case "commitTimestamp":
		h.CommitTimestamp, err = r.number(f.node)
	case "commitNumber":
		h.CommitNumber, err = r.number(f.node)
	case "commitUser":
		h.CommitUser, err = r.word(f.node)
	case "nulledFields":
		r.nulled, err = r.texts(f.node, true)
	case "diffFields":
		r.diff, err = r.texts(f.node, true)
	case "changedFields":
		r.changed, err = r.texts(f.node, true)
	default:
		err = r.skip(f.node)
	}
	return err
}

// branch is the type of the value that comes: of a union, the branch that it is of.
func (r *headerReader) branch(n *node) (*node, error) {
	if n.kind != kindUnion {
		return n, nil
	}
	i, err := r.index(len(n.branches), errUnion)
	if err != nil {
		return nil, err
	}
	return n.branches[i], nil
}

// word reads a text or the symbol of an enum; null is "".
func (r *headerReader) word(n *node) (string, error) {
	n, err := r.branch(n)
	if err != nil {
		return "", err
	}
	switch n.kind {
	case kindString:
		at, err := r.span()
		if err != nil {
			return "", err
		}
		return r.text[at:r.pos], nil
	case kindEnum:
		i, err := r.index(len(n.symbols), errEnum)
		if err != nil {
			return "", err
		}
		symbol, _ := n.symbols[i].(string)
		return symbol, nil
	case kindNull:
		return "", nil
	}
	return "", errHeaderType
}

// number reads an int or a long; null is 0.
func (r *headerReader) number(n *node) (int64, error) {
	n, err := r.branch(n)
	if err != nil {
		return 0, err
	}
	switch n.kind {
	case kindInt:
		return r.int()
	case kindLong:
		return r.long()
	case kindNull:
		return 0, nil
	}
	return 0, errHeaderType
}

// texts reads an array of strings: as they are, or the names that they stand for; null is none.
func (r *headerReader) texts(n *node, bitmaps bool) (stretch, error) {
	s := stretch{len(r.list), len(r.list)}
	n, err := r.branch(n)
	if err != nil || n.kind == kindNull {
		return s, err
	}
	if n.kind != kindArray || n.items.kind != kindString {
		return s, errHeaderType
	}
	for {
		items, end, err := r.block()
		if err != nil || items == 0 {
			s.to = len(r.list)
			return s, err
		}
		for ; items > 0; items-- {
			at, err := r.span()
			if err != nil {
				return s, err
			}
			if text := r.text[at:r.pos]; bitmaps {
				r.list = r.schema.appendNames(r.list, text, s.from+r.schema.paths)
			} else {
				r.list = append(r.list, text)
			}
		}
		if end >= 0 && r.pos != end {
			return s, errBlock
		}
	}
}
