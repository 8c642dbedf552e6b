package sfstream

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sfstream/sfstream-go/sfstream/internal/unidiff"
)

// A DiffError says why a diff gives no value. Mostly the old value is not the one that Salesforce
// had, because an earlier change was missed. Then the program has to read the field by REST.
type DiffError struct {
	Channel   string
	Field     string
	RecordIDs []string // the records to read
	err       error
}

// Error returns a text with the channel, the field, the records and the next step.
func (e *DiffError) Error() string {
	return fmt.Sprintf("sfstream: %s: the diff of %s (of %s) gives no value: %v: read the field by REST",
		e.Channel, e.Field, strings.Join(e.RecordIDs, ", "), e.err)
}

// Unwrap returns the cause.
func (e *DiffError) Unwrap() error { return e.err }

// ApplyDiff returns the new value of one of the change event's DiffFields, made from the old one.
// Salesforce sends texts of 1,000 characters and more as a unified diff if that is shorter, with
// the SHA-256 of the new value, which ApplyDiff checks. Lines may end in \n or \r\n. If the old
// value is the new one already, as when an event comes again, ApplyDiff returns it as it is.
//
// A *[DiffError] means that the diff does not fit the old value, or that the result has another
// SHA-256 than Salesforce's; a *[DecodeError] means that the payload cannot be read, or has no diff
// of this field.
func (m *Message) ApplyDiff(field, old string) (string, error) {
	change, err := m.Change()
	if err != nil {
		return "", err
	}
	if !slices.Contains(change.DiffFields, field) {
		return "", m.decodeError(field, errNoDiff)
	}
	value, _, err := m.value()
	if err != nil {
		return "", err
	}
	text, ok := diffText(value, field)
	if !ok {
		return "", m.decodeError(field, errNoDiff)
	}
	result, err := unidiff.Apply(text, old)
	if err != nil {
		return "", &DiffError{Channel: m.Channel, Field: field, RecordIDs: change.RecordIDs, err: err}
	}
	return result, nil
}

var errNoDiff = errors.New("it holds no diff; ChangeEvent.DiffFields names those that do")

// diffText is the diff in a decoded payload. Over the Streaming API it is wrapped in an object.
func diffText(payload any, field string) (string, bool) {
	for name := range strings.SplitSeq(field, ".") {
		fields, _ := payload.(map[string]any)
		payload = fields[name]
	}
	if wrapped, ok := payload.(map[string]any); ok {
		payload = wrapped["diff"]
	}
	text, ok := payload.(string)
	return text, ok
}
