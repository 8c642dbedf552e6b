package sfstreamtest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hamba/avro/v2"
)

// Change is something that happened to records of an object. Only Object, Type and RecordIDs are
// needed.
type Change struct {
	Object    string   `json:"object"`
	Type      string   `json:"type"` // CREATE, UPDATE, DELETE, UNDELETE, GAP_CREATE … GAP_OVERFLOW
	RecordIDs []string `json:"recordIds"`
	// Set has the new values, with a map[string]any for the members of a compound: all fields of
	// the record for CREATE and UNDELETE, none for DELETE and the gaps.
	Set map[string]any `json:"set,omitempty"`
	// Null has the fields that an UPDATE emptied: Description, BillingAddress.City, or
	// BillingAddress for all its members. A nil in Set means the same.
	Null []string `json:"null,omitempty"`
	// Diff has the fields of Set whose text is a unified diff.
	Diff []string `json:"diff,omitempty"`

	Origin         string    `json:"origin,omitempty"`         // such as com/salesforce/api/rest/62.0;client=X
	TransactionKey string    `json:"transactionKey,omitempty"` // default: a new UUID
	SequenceNumber int       `json:"sequenceNumber,omitempty"` // default 1
	CommitTime     time.Time `json:"commitTime,omitzero"`      // default now
	CommitNumber   int64     `json:"commitNumber,omitempty"`   // default: rising, above 2^53
	CommitUser     string    `json:"commitUser,omitempty"`     // default: the account's user
}

// Change publishes a change on the object's channel and on /data/ChangeEvents. The bitmaps of the
// header follow from Set, Null and Diff; an UPDATE also changes LastModifiedDate if the object has
// it. The [Event] returned is that of the object's channel. On a channel for which
// [Server.DefineMembers] has enriched the object, the change is one event per record. The
// PushTopics on the object get it too; if there is one, the object need not be defined, and the
// Event is that of the first [PushTopic].
func (s *Server) Change(c Change) (Event, error) {
	s.records.turn.Lock()
	defer s.records.turn.Unlock()
	return s.change(c, s.clock.date())
}

// change does what Change does, for who holds the turn.
func (s *Server) change(c Change, now time.Time) (Event, error) {
	topics := s.followed(c.Object)
	e, err := s.capture(c, now)
	if errors.Is(err, errUndefined) && len(topics) > 0 {
		return s.notify(c, s.apply(c, now), topics, now)
	}
	if err != nil {
		return Event{}, err
	}
	changed := s.apply(c, now)
	ev, err := s.publishChange(e, changed)
	if err != nil {
		return Event{}, err
	}
	_, err = s.notify(c, changed, topics, now)
	return ev, err
}

// capture makes the event of a change, as Change Data Capture does.
func (s *Server) capture(c Change, now time.Time) (*changeEvent, error) {
	t, sc, err := s.publishable(changeChannel(c.Object))
	if err != nil {
		return nil, err
	}
	if f, _ := field(sc.avro, recordTypeField); f == nil {
		c = c.without(recordTypeField) // the record has it, and its events do not
	}
	c.TransactionKey = or(c.TransactionKey, s.dice.events.uuid())
	body, changed, err := c.payload(sc.avro, now, s.account.UserID)
	if err != nil {
		return nil, fmt.Errorf("sfstreamtest: %s of %s: %w", c.Type, c.Object, err)
	}
	data, err := sc.encode(body)
	if err != nil {
		return nil, fmt.Errorf("sfstreamtest: %s of %s: %w", c.Type, c.Object, err)
	}
	if len(data) > s.config.eventBytes {
		return nil, fmt.Errorf("sfstreamtest: %s of %s: %w (%d bytes): Salesforce sends a GAP event instead", c.Type, c.Object, errTooLarge, len(data))
	}
	return &changeEvent{
		change: c, topic: t, schema: sc, body: body, changed: changed,
		record: record{at: now.UnixNano(), id: s.dice.events.uuid(), schema: sc.id, payload: data},
	}, nil
}

// without returns the change without a field.
func (c Change) without(name string) Change {
	if _, set := c.Set[name]; set {
		c.Set = maps.Clone(c.Set)
		delete(c.Set, name)
	}
	if slices.Contains(c.Null, name) {
		c.Null = slices.DeleteFunc(slices.Clone(c.Null), func(n string) bool { return n == name })
	}
	return c
}

// payload returns the whole event as plain values, and the fields that it changed.
func (c Change) payload(rec *avro.RecordSchema, now time.Time, user string) (map[string]any, bitmap, error) {
	commit := c.CommitTime
	if commit.IsZero() {
		commit = now
	}
	ids := c.RecordIDs
	if len(ids) == 0 && c.Type == "GAP_OVERFLOW" {
		ids = []string{"000000000000000AAA"}
	}
	if len(ids) == 0 {
		return nil, nil, errors.New("RecordIDs is empty")
	}
	body, err := c.body(rec, commit)
	if err != nil {
		return nil, nil, err
	}
	bits, err := c.bits(rec, body)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range c.Null {
		if parent, _, nested := strings.Cut(name, "."); !nested {
			delete(body, parent)
		}
	}
	body["ChangeEventHeader"] = map[string]any{
		"entityName":      c.Object,
		"recordIds":       ids,
		"changeType":      c.Type,
		"changeOrigin":    c.Origin,
		"transactionKey":  c.TransactionKey,
		"sequenceNumber":  or(c.SequenceNumber, 1),
		"commitTimestamp": commit,
		"commitNumber":    or(c.CommitNumber, commit.UnixNano()),
		"commitUser":      or(c.CommitUser, user),
		"nulledFields":    bits.nulled.texts(),
		"diffFields":      bits.diff.texts(),
		"changedFields":   bits.changed.texts(),
	}
	return body, bits.changed, nil
}

// or returns v unless it is the zero value.
func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// isTrue returns a flag, which is true unless it is given.
func isTrue(flag *bool) bool { return flag == nil || *flag }

// orNil returns nil for an empty text.
func orNil(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func (c Change) body(rec *avro.RecordSchema, commit time.Time) (map[string]any, error) {
	body := maps.Clone(c.Set)
	if body == nil {
		body = make(map[string]any)
	}
	switch c.Type {
	case "CREATE", "UNDELETE":
		if len(c.Null) > 0 {
			return nil, errors.New("only an UPDATE empties fields")
		}
	case "UPDATE":
		if _, given := body["LastModifiedDate"]; !given {
			if f, _ := field(rec, "LastModifiedDate"); f != nil {
				body["LastModifiedDate"] = commit
			}
		}
	default:
		if len(c.Set)+len(c.Null) > 0 {
			return nil, errors.New("it carries no fields")
		}
	}
	return body, nil
}

// changeBits has the three bitmaps of a header.
type changeBits struct{ changed, nulled, diff bitmap }

func (c Change) bits(rec *avro.RecordSchema, body map[string]any) (changeBits, error) {
	bits := changeBits{newBitmap(), newBitmap(), newBitmap()}
	if c.Type == "UPDATE" {
		for name, value := range body {
			if err := bits.set(rec, name, value); err != nil {
				return bits, err
			}
		}
		for _, name := range c.Null {
			for _, bm := range []bitmap{bits.changed, bits.nulled} {
				if err := bm.add(rec, name); err != nil {
					return bits, err
				}
			}
		}
	}
	for _, name := range c.Diff {
		if err := bits.diff.add(rec, name); err != nil {
			return bits, err
		}
	}
	return bits, nil
}

// set notes a field to which an UPDATE gives a value, or nil.
func (b changeBits) set(rec *avro.RecordSchema, name string, value any) error {
	members, compound := value.(map[string]any)
	if !compound {
		members = map[string]any{"": value}
	}
	for member, value := range members {
		path := name
		if compound {
			path += "." + member
		}
		if err := b.changed.add(rec, path); err != nil {
			return err
		}
		if value == nil {
			if err := b.nulled.add(rec, path); err != nil {
				return err
			}
		}
	}
	return nil
}
