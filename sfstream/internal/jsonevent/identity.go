package jsonevent

import (
	"bytes"
	"encoding/binary"
	"strconv"
)

// Identity is what a header says that tells its change from the others of the org. The slices are
// parts of the event. What the header does not have is zero.
type Identity struct {
	EntityName, ChangeType, TransactionKey []byte
	SequenceNumber                         int64
	RecordIDs                              []byte // each behind its length as a uvarint
}

// Identity reads it of a change event; ok is false where the header cannot be read. RecordIDs are
// appended to ids, and nothing else is allocated.
func (e Event) Identity(ids []byte) (id Identity, ok bool) {
	id.RecordIDs = ids
	f := e.header()
	for f.Next() {
		if string(f.Value) == "null" {
			continue
		}
		ok := true
		switch string(f.Key) {
		case "entityName":
			id.EntityName, ok = quoted(f.Value)
		case "changeType":
			id.ChangeType, ok = quoted(f.Value)
		case "transactionKey":
			id.TransactionKey, ok = quoted(f.Value)
		case "sequenceNumber":
			var err error
			id.SequenceNumber, err = strconv.ParseInt(string(f.Value), 10, 64)
			ok = err == nil
		case "recordIds":
			id.RecordIDs, ok = appendQuoted(id.RecordIDs, f.Value)
		}
		if !ok {
			return Identity{}, false
		}
	}
	return id, f.Closed()
}

// quoted is what a JSON string holds. One with escapes is none: in a header there is nothing to
// escape.
func quoted(value []byte) (text []byte, ok bool) {
	if len(value) < 2 || value[0] != '"' || bytes.IndexByte(value, '\\') >= 0 {
		return nil, false
	}
	return value[1 : len(value)-1], true
}

// appendQuoted appends the strings of a JSON array, as avro.Identity has record ids.
func appendQuoted(ids, array []byte) (_ []byte, ok bool) {
	if array[0] != '[' {
		return nil, false
	}
	for i := 1; i < len(array); i++ {
		switch array[i] {
		case ' ', '\n', '\t', '\r', ',':
		case ']':
			return ids, i == len(array)-1
		case '"':
			n := bytes.IndexByte(array[i+1:], '"')
			if n < 0 {
				return nil, false
			}
			text, ok := quoted(array[i : i+n+2])
			if !ok {
				return nil, false
			}
			if len(text) > 0 {
				ids = append(binary.AppendUvarint(ids, uint64(len(text))), text...)
			}
			i += n + 1
		default:
			return nil, false
		}
	}
	return nil, false
}
