package avro

import "encoding/binary"

// Identity is the part of a header that tells its change from all others of the org. The slices are
// parts of the payload. Fields that the header does not have are zero.
type Identity struct {
	EntityName, TransactionKey []byte
	ChangeType                 string
	SequenceNumber             int64
	RecordIDs                  []byte // each id preceded by its length as a uvarint
}

// Identity reads the identity of a change event. ok is false if this is no change event, or the
// header cannot be read up to the last of these fields; the rest of the payload is not looked at.
// RecordIDs are appended to ids, and nothing else is allocated.
func (s *Schema) Identity(payload, ids []byte) (id Identity, ok bool) {
	if s.header == nil {
		return id, false
	}
	r := identityReader{cursor: cursor{buf: payload}} // the header is field 0: it begins where the payload does
	for i, left := 0, s.identifying; left > 0; i++ {
		f := &s.header.fields[i]
		if !f.part.identifies() {
			if r.skip(f.node) != nil {
				return id, false
			}
			continue
		}
		left--
		n, err := r.branch(f.node)
		if err == nil && f.part == partRecordIDs && n.kind != kindNull {
			ids, err = r.appendTexts(ids, n)
		} else if err == nil && n.kind != kindNull {
			err = r.read(n, f.part)
		}
		if err != nil {
			return id, false
		}
	}
	return Identity{
		EntityName: r.cut(r.entity), TransactionKey: r.cut(r.transaction), ChangeType: r.change + string(r.cut(r.changeText)),
		SequenceNumber: r.sequence, RecordIDs: ids,
	}, true
}

func (p part) identifies() bool {
	switch p {
	case partEntityName, partChangeType, partTransactionKey, partSequenceNumber, partRecordIDs:
		return true
	}
	return false
}

// identityReader notes where in the payload the parts are. The caller's ids are no field of it: a
// slice that went through a pointer to the reader would be moved to the heap.
type identityReader struct {
	cursor
	entity, transaction, changeText stretch // ranges of buf
	change                          string
	sequence                        int64
}

func (r *identityReader) cut(s stretch) []byte { return r.buf[s.from:s.to] }

// branch returns the type of the value that comes next: of a union it reads which branch that is.
func (c *cursor) branch(n *node) (*node, error) {
	if n.kind != kindUnion {
		return n, nil
	}
	i, err := c.index(len(n.branches), errUnion)
	if err != nil {
		return nil, err
	}
	return n.branches[i], nil
}

// read reads the text, enum or number of one part.
func (r *identityReader) read(n *node, p part) error {
	switch n.kind {
	case kindString:
		at, err := r.span()
		text := stretch{at, r.pos}
		switch p {
		case partEntityName:
			r.entity = text
		case partTransactionKey:
			r.transaction = text
		case partChangeType:
			r.changeText = text
		default:
			return errHeaderType
		}
		return err
	case kindEnum:
		if p != partChangeType {
			return errHeaderType
		}
		i, err := r.index(len(n.symbols), errEnum)
		if err == nil {
			r.change, _ = n.symbols[i].(string)
		}
		return err
	case kindInt, kindLong:
		if p != partSequenceNumber {
			return errHeaderType
		}
		var err error
		r.sequence, err = r.long()
		return err
	}
	return errHeaderType
}

// appendTexts appends the texts of a list, each preceded by its length. It leaves out empty ones.
func (c *cursor) appendTexts(b []byte, n *node) ([]byte, error) {
	if n.kind != kindArray || n.items.kind != kindString {
		return nil, errHeaderType
	}
	for {
		items, end, err := c.block()
		if err != nil || items == 0 {
			return b, err
		}
		for ; items > 0; items-- {
			at, err := c.span()
			if err != nil {
				return nil, err
			}
			if at < c.pos {
				b = binary.AppendUvarint(b, uint64(c.pos-at))
				b = append(b, c.buf[at:c.pos]...)
			}
		}
		if end >= 0 && c.pos != end {
			return nil, errBlock
		}
	}
}
