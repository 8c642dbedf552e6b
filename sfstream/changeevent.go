package sfstream

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/unidiff"
)

// ChangeType is what happened to the records of a change event.
type ChangeType string

// The change types that Salesforce documents. Others are kept as they come.
const (
	ChangeCreate   ChangeType = "CREATE"
	ChangeUpdate   ChangeType = "UPDATE"
	ChangeDelete   ChangeType = "DELETE"
	ChangeUndelete ChangeType = "UNDELETE"

	// A gap event stands in for a change that Salesforce could not describe: one made beside its
	// application servers, an event of more than 1 MB, an error.
	ChangeGapCreate   ChangeType = "GAP_CREATE"
	ChangeGapUpdate   ChangeType = "GAP_UPDATE"
	ChangeGapDelete   ChangeType = "GAP_DELETE"
	ChangeGapUndelete ChangeType = "GAP_UNDELETE"
	ChangeGapOverflow ChangeType = "GAP_OVERFLOW" // more than 100,000 changes in one transaction
)

// A ChangeEvent is the header of an event of Change Data Capture: what happened to which records.
// The values are in [Message.Fields] and [Message.Decode].
type ChangeEvent struct {
	EntityName string // the object: Account, Employee__c
	// RecordIDs are the records that changed, with 18 characters: mostly one, and all of them where
	// a transaction did the same to several. A conversion of a field's type may name all records of
	// an object by their prefix (001*); an overflow names none (000000000000000AAA).
	RecordIDs []string
	Type      ChangeType
	// Origin is who made the change, where that was an API client or Lightning:
	// com/salesforce/api/rest/62.0;client=demo. See OriginClient.
	Origin string
	// TransactionKey is the same for all changes of a transaction, SequenceNumber counts them from
	// 1. See Client.Transactions.
	TransactionKey string
	SequenceNumber int
	CommitTime     time.Time // UTC, in milliseconds
	CommitNumber   int64     // of the database; it rises, and is not unique across an org's instances
	CommitUser     string    // an id of 18 characters

	// ChangedFields are the fields that an UPDATE changed, LastModifiedDate among them; there are
	// none for other types. A field of a compound one is BillingAddress.City, also where all of
	// them changed.
	ChangedFields []string
	// NulledFields are those that became null. The Streaming API has no such list: there it is what
	// of ChangedFields is null in the payload, in its order.
	NulledFields []string
	// DiffFields are those whose new text comes as a unified diff: see Message.ApplyDiff. Fields
	// has the diff, over the Streaming API as {"diff": text}.
	DiffFields []string
}

// Change returns the header of a change event, with field names for bitmaps: those of the schema
// that the event was written with. The rest of the payload is not decoded over the Pub/Sub API.
// Each call reads it anew; the result is the caller's own and keeps nothing of the message's batch.
// Its texts may share memory with those of other events: a kept one keeps 1 KB or its own length.
// The error is a *[DecodeError], also where the message is no change event.
func (m *Message) Change() (*ChangeEvent, error) {
	change, err := m.codec.header(m.payload)
	if err != nil {
		return nil, m.payloadError(err)
	}
	return change, nil
}

// IsGap reports whether the event says only that there was a change: its body is empty. The records
// are to be read again ([Client.Refetch]); what was received about them with an earlier CommitTime
// is then out of date. An overflow is a gap too: ask IsOverflow first.
func (c *ChangeEvent) IsGap() bool { return strings.HasPrefix(string(c.Type), "GAP_") }

// IsOverflow reports whether a transaction changed more than Salesforce describes one by one
// (100,000). There is one such event per object, without record ids: what of EntityName was changed
// since is to be read again ([Client.Refetch]).
func (c *ChangeEvent) IsOverflow() bool { return c.Type == ChangeGapOverflow }

// OriginClient is the client id in Origin, "" where there is none: what an API client has set as
// "Sforce-Call-Options: client=demo". A program that writes to Salesforce sets one of its own, and
// leaves out the changes that it reads with
//
//	change.OriginClient() == "demo"
//
// The comparison must be exact: demo2 is another client. The slash that Salesforce puts behind its
// own (SfdcInternalAPI/) is left out.
func (c *ChangeEvent) OriginClient() string {
	_, client, _ := strings.Cut(c.Origin, ";client=")
	return strings.TrimSuffix(client, "/")
}

// A DiffError says why a diff gives no value. Mostly the old value is not the one that Salesforce
// had, because an earlier change was missed. Then the program has to read the record
// ([Client.Refetch]).
type DiffError struct {
	Channel   string
	Field     string
	RecordIDs []string // the records to read
	err       error
}

// Error returns a text with the channel, the field, the records and the next step.
func (e *DiffError) Error() string {
	return fmt.Sprintf("sfstream: %s: the diff of %s (of %s) gives no value: %v: read the record with Refetch",
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
