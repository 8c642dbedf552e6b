package avro

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
)

var (
	errNoHeader   = errors.New("the event is not one of Change Data Capture")
	errHeaderType = errors.New("the header's field has a type that is not known")
)

// Header is the header of a change event. Its bitmaps are translated to names, see appendNames.
// Fields that the schema does not have are zero.
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

// part says which field of the header a field is.
type part uint8

const (
	partOther part = iota

	partEntityName // texts
	partChangeType
	partChangeOrigin
	partTransactionKey
	partCommitUser

	partSequenceNumber // numbers
	partCommitTimestamp
	partCommitNumber

	partRecordIDs // lists

	partNulledFields // lists of bitmaps
	partDiffFields
	partChangedFields
	parts
)

var partNames = map[string]part{
	"entityName": partEntityName, "changeType": partChangeType, "changeOrigin": partChangeOrigin,
	"transactionKey": partTransactionKey, "commitUser": partCommitUser,
	"sequenceNumber": partSequenceNumber, "commitTimestamp": partCommitTimestamp, "commitNumber": partCommitNumber,
	"recordIds": partRecordIDs, "nulledFields": partNulledFields, "diffFields": partDiffFields, "changedFields": partChangedFields,
}

// Header reads the header of a change event and does not look at the rest of the payload. The
// header's lists are appended to list[:0], so that they use its memory as far as that reaches.
// Texts share memory with those of other headers, see copyChunk. The error is an *Error.
func (s *Schema) Header(payload []byte, list []string) (h Header, err error) {
	if s.header == nil {
		return h, &Error{Err: errNoHeader}
	}
	// The header is field 0: it begins where the payload does.
	r := headerReader{cursor: cursor{buf: payload}, schema: s, list: list[:0], copies: copiers.Get().(*copier)}
	defer copiers.Put(r.copies)
	for i := range s.header.fields {
		f := &s.header.fields[i]
		if err := r.read(&h, f); err != nil {
			return Header{}, within(headerName, within(f.name, err))
		}
	}
	h.RecordIDs, h.NulledFields = r.cut(partRecordIDs), r.cut(partNulledFields)
	h.DiffFields, h.ChangedFields = r.cut(partDiffFields), r.cut(partChangedFields)
	return h, nil
}

type headerReader struct {
	cursor
	schema *Schema
	copies *copier
	list   []string                       // the elements of all lists; append may move it
	lists  [parts - partRecordIDs]stretch // which part of list each list is
}

func (r *headerReader) cut(p part) []string {
	s := r.lists[p-partRecordIDs]
	if s.from == s.to {
		return nil
	}
	return r.list[s.from:s.to:s.to]
}

func (r *headerReader) read(h *Header, f *field) (err error) {
	if f.part == partOther {
		return r.skip(f.node)
	}
	n := f.node
	if n.kind == kindUnion {
		i, err := r.index(len(n.branches), errUnion)
		if err != nil {
			return err
		}
		n = n.branches[i]
	}
	if n.kind == kindNull {
		return nil
	}
	switch f.part {
	case partEntityName:
		h.EntityName, err = r.word(n, &r.schema.lastEntity)
	case partChangeType:
		h.ChangeType, err = r.word(n, nil)
	case partChangeOrigin:
		h.ChangeOrigin, err = r.word(n, &r.schema.lastOrigin)
	case partTransactionKey:
		h.TransactionKey, err = r.word(n, nil)
	case partCommitUser:
		h.CommitUser, err = r.word(n, &r.schema.lastUser)
	case partSequenceNumber:
		h.SequenceNumber, err = r.number(n)
	case partCommitTimestamp:
		h.CommitTimestamp, err = r.number(n)
	case partCommitNumber:
		h.CommitNumber, err = r.number(n)
	default:
		err = r.texts(n, f.part)
	}
	return err
}

// word reads a text or the symbol of an enum. last points to the text that an earlier event had in
// this field: entity, origin and user mostly repeat, and such an event shares it without an
// allocation. last is nil for fields that seldom repeat.
func (r *headerReader) word(n *node, last *atomic.Pointer[string]) (string, error) {
	switch n.kind {
	case kindString:
		at, err := r.span()
		if err != nil {
			return "", err
		}
		text := r.buf[at:r.pos]
		if last == nil || len(text) > copyChunk/8 { // last must not keep long texts alive
			return r.copies.copy(text), nil
		}
		if known := last.Load(); known != nil && *known == string(text) {
			return *known, nil
		}
		word := string(text)
		last.Store(&word)
		return word, nil
	case kindEnum:
		i, err := r.index(len(n.symbols), errEnum)
		if err != nil {
			return "", err
		}
		symbol, _ := n.symbols[i].(string)
		return symbol, nil
	}
	return "", errHeaderType
}

func (r *headerReader) number(n *node) (int64, error) {
	switch n.kind {
	case kindInt:
		return r.int()
	case kindLong:
		return r.long()
	}
	return 0, errHeaderType
}

// texts reads a list of texts. Bitmaps are replaced by the names that they stand for.
func (r *headerReader) texts(n *node, p part) error {
	if n.kind != kindArray || n.items.kind != kindString {
		return errHeaderType
	}
	from := len(r.list)
	add := func(at int) { r.list = append(r.list, r.copies.copy(r.buf[at:r.pos])) }
	if p >= partNulledFields {
		most := from + r.schema.paths
		add = func(at int) { r.list = r.schema.appendNames(r.list, r.buf[at:r.pos], most) }
	}
	err := r.cursor.texts(add)
	r.lists[p-partRecordIDs] = stretch{from, len(r.list)}
	return err
}

// copier copies texts into chunks that many texts share, to save allocations. Parts of a
// strings.Builder can be handed out while it is still written to, because it never changes the
// bytes that it has.
type copier struct{ chunk strings.Builder }

// copiers has the copiers that no goroutine uses now.
var copiers = sync.Pool{New: func() any { return new(copier) }}

// copyChunk is the size of a chunk in bytes. A text that the program keeps keeps no more than its
// chunk alive; a text longer than an eighth of a chunk gets memory of its own.
const copyChunk = 1 << 10

func (c *copier) copy(text []byte) string {
	if len(text) > copyChunk/8 {
		return string(text)
	}
	if c.chunk.Cap()-c.chunk.Len() < len(text) {
		c.chunk.Reset()
		c.chunk.Grow(copyChunk)
	}
	at := c.chunk.Len()
	c.chunk.Write(text)
	return c.chunk.String()[at:]
}
