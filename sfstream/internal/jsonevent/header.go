package jsonevent

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/jsonscan"
)

var (
	errNoHeader = errors.New("it is not an event of Change Data Capture")
	errNotJSON  = errors.New("it is not JSON")
	errNoText   = errors.New("it is not a text")
)

const (
	headerName = "ChangeEventHeader"
	update     = "UPDATE" // the changeType
)

// Header is the header of a change event. What the event does not have is zero.
type Header struct {
	EntityName     string
	RecordIDs      []string
	ChangeType     string
	ChangeOrigin   string
	TransactionKey string
	SequenceNumber int64

	CommitTime   time.Time
	CommitNumber int64
	CommitUser   string

	NulledFields, DiffFields, ChangedFields []string
}

// Header reads the header of a change event, which has names in place of bitmaps, and what of the
// payload the header does not say: nulls and diffs. The error is an *Error.
func (e Event) Header() (Header, error) {
	payload, _ := e.split()
	header := member(payload, headerName)
	if len(header) == 0 || header[0] != '{' {
		return Header{}, &Error{Err: errNoHeader}
	}
	if !json.Valid(payload) {
		return Header{}, &Error{Err: errNotJSON}
	}
	var h Header
	listed := false // versions of the API before 47.0 do not say what changed
	for f := jsonscan.NewFields(header); f.Next(); {
		if err := h.read(string(f.Key), f.Value); err != nil {
			return Header{}, &Error{Field: headerName + "." + string(f.Key), Err: err}
		}
		listed = listed || string(f.Key) == "changedFields" && string(f.Value) != "null"
	}
	h.readBody(payload)
	if listed {
		h.NulledFields = slices.DeleteFunc(h.NulledFields, func(name string) bool { return !names(h.ChangedFields, name) })
		if len(h.NulledFields) == 0 {
			h.NulledFields = nil
		}
	}
	return h, nil
}

// names reports whether a list of fields names this one, what it is in, or a part of it.
func names(list []string, field string) bool {
	parent, _, _ := strings.Cut(field, ".")
	return slices.ContainsFunc(list, func(name string) bool {
		return name == field || name == parent || strings.HasPrefix(name, field) && name[len(field)] == '.'
	})
}

// read reads a field of the header. There are more than these.
func (h *Header) read(name string, value []byte) (err error) {
	if string(value) == "null" {
		return nil
	}
	switch name {
	case "entityName":
		h.EntityName, err = text(value)
	case "recordIds":
		h.RecordIDs, err = texts(value)
	case "changeType":
		h.ChangeType, err = text(value)
	case "changeOrigin":
		h.ChangeOrigin, err = text(value)
	case "transactionKey":
		h.TransactionKey, err = text(value)
	case "sequenceNumber":
		h.SequenceNumber, err = strconv.ParseInt(string(value), 10, 32)
	case "commitTimestamp":
		h.CommitTime = anyTime(value)
	case "commitNumber":
		h.CommitNumber, err = strconv.ParseInt(string(value), 10, 64) // beyond what a float64 holds
	case "commitUser":
		h.CommitUser, err = text(value)
	case "changedFields":
		h.ChangedFields, err = texts(value)
	}
	return err
}

func text(value []byte) (string, error) {
	if value[0] != '"' {
		return "", errNoText
	}
	return jsonscan.Text(value), nil
}

// texts is a list of texts, nil where it is empty.
func texts(value []byte) (list []string, err error) {
	err = json.Unmarshal(value, &list)
	if len(list) == 0 {
		list = nil
	}
	return list, err
}

// readBody finds what the header of the Streaming API does not say: nulls and diffs. The fields of
// compound ones come last, as in bitmaps.
func (h *Header) readBody(payload []byte) {
	for f := jsonscan.NewFields(payload); f.Next(); {
		if string(f.Key) != headerName {
			h.readField("", f.Key, f.Value)
		}
	}
	for f := jsonscan.NewFields(payload); f.Next(); {
		if string(f.Key) == headerName || isDiff(f.Value) {
			continue
		}
		for nested := jsonscan.NewFields(f.Value); nested.Next(); {
			h.readField(string(f.Key)+".", nested.Key, nested.Value)
		}
	}
}

func (h *Header) readField(parent string, name, value []byte) {
	switch {
	case string(value) == "null" && h.ChangeType == update: // others have no nulls, or mean nothing by them
		h.NulledFields = append(h.NulledFields, parent+string(name))
	case isDiff(value):
		h.DiffFields = append(h.DiffFields, parent+string(name))
	}
}

// isDiff reports whether a value is a diff: {"diff": "--- …"}. No compound field has a member of
// that name.
func isDiff(value []byte) bool {
	f := jsonscan.NewFields(value)
	return f.Next() && string(f.Key) == "diff" && f.Value[0] == '"' && !f.Next()
}
