package avro

import "errors"

var (
	errNoHeader   = errors.New("the event is not one of Change Data Capture")
	errHeaderType = errors.New("the header's field has a type that is not known")
)

// Header is the header of a change event. Bitmaps are names, as in appendNames. What a schema does not have is zero.
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

// part is what a field of the header is.
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

// Header reads the header of a change event. The rest of the payload is not looked at. The header's lists go into
// list's memory as far as it reaches; beside what goes beyond, the one allocation is for all texts. The error is an
// *Error.
func (s *Schema) Header(payload []byte, list []string) (Header, error) {
	if s.header == nil {
		return Header{}, &Error{Err: errNoHeader}
	}
	// The header is field 0: it begins where the payload does.
	r := headerReader{schema: s, cursor: cursor{buf: payload}, list: list[:0]}
	for i := range s.header.fields {
		f := &s.header.fields[i]
		if err := r.read(f); err != nil {
			return Header{}, within(headerName, within(f.name, err))
		}
	}
	r.text = string(payload[:r.pos])
	r.ids()
	return Header{
		EntityName:      r.word(partEntityName),
		RecordIDs:       r.cut(partRecordIDs),
		ChangeType:      r.word(partChangeType),
		ChangeOrigin:    r.word(partChangeOrigin),
		TransactionKey:  r.word(partTransactionKey),
		SequenceNumber:  r.parts[partSequenceNumber].number,
		CommitTimestamp: r.parts[partCommitTimestamp].number,
		CommitNumber:    r.parts[partCommitNumber].number,
		CommitUser:      r.word(partCommitUser),
		NulledFields:    r.cut(partNulledFields),
		DiffFields:      r.cut(partDiffFields),
		ChangedFields:   r.cut(partChangedFields),
	}, nil
}

// headerReader reads numbers and names and finds texts. These are cut when it is known where the header ends.
type headerReader struct {
	cursor
	schema *Schema
	text   string   // the header again
	list   []string // the elements of all lists; it may move while it grows
	parts  [parts]struct {
		stretch        // of text; of a list of names, of list
		symbol  string // of an enum
		number  int64
	}
}

// stretch is a part of something.
type stretch struct{ from, to int }

func (r *headerReader) read(f *field) error {
	n := f.node
	if f.part == partOther {
		return r.skip(n)
	}
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
	var err error
	p := &r.parts[f.part]
	switch {
	case f.part >= partRecordIDs:
		if n.kind != kindArray || n.items.kind != kindString {
			return errHeaderType
		}
		if f.part == partRecordIDs {
			p.from = r.pos
			err = r.texts(func(int) {})
			p.to = r.pos
			return err
		}
		p.from = len(r.list)
		err = r.texts(func(at int) {
			r.list = r.schema.appendNames(r.list, r.buf[at:r.pos], p.from+r.schema.paths)
		})
		p.to = len(r.list)
	case n.kind == kindInt && f.part >= partSequenceNumber:
		p.number, err = r.int()
	case n.kind == kindLong && f.part >= partSequenceNumber:
		p.number, err = r.long()
	case n.kind == kindString && f.part < partSequenceNumber:
		p.from, err = r.span()
		p.to = r.pos
	case n.kind == kindEnum && f.part < partSequenceNumber:
		var i int
		if i, err = r.index(len(n.symbols), errEnum); err == nil {
			p.symbol, _ = n.symbols[i].(string)
		}
	default:
		err = errHeaderType
	}
	return err
}

func (r *headerReader) word(p part) string {
	if symbol := r.parts[p].symbol; symbol != "" {
		return symbol
	}
	return r.text[r.parts[p].from:r.parts[p].to]
}

// ids reads the recordIds again, now that there is a text to cut them from.
func (r *headerReader) ids() {
	p := &r.parts[partRecordIDs]
	if p.from == p.to {
		return
	}
	r.pos, p.from = p.from, len(r.list)
	_ = r.texts(func(at int) { r.list = append(r.list, r.text[at:r.pos]) }) // it was good before
	p.to = len(r.list)
}

func (r *headerReader) cut(p part) []string {
	s := r.parts[p].stretch
	if s.from == s.to {
		return nil
	}
	return r.list[s.from:s.to:s.to]
}
