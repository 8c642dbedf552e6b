package sfstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"path"
	"reflect"
	"strings"

	"github.com/sfstream/sfstream-go/sfstream/internal/jsonevent"
	"github.com/sfstream/sfstream-go/sfstream/internal/jsonscan"
)

// A Record is a record of the org as REST gives it: from [Client.Query] or [Client.Refetch].
type Record struct {
	Object string // Account, Order__c; AggregateResult where the query has COUNT() and the like
	ID     string // 18 characters; empty where the query does not give it
	// Deleted says that Refetch has not found the record: it is deleted, or the user may not see
	// it, which REST does not tell apart. There are no fields then.
	Deleted bool

	raw   []byte // JSON; nil where Deleted
	prefs *preferences
}

var (
	errDeleted = errors.New("the record is deleted, or the user may not see it")
	errNoQuery = errors.New("the record did not come from a client")
)

// Fields returns the fields that the query selects, as a map of the caller's own. Numbers are int64
// or float64, DateTime values RFC 3339 text in UTC with milliseconds, dates and times of day text,
// compound fields and records of a relationship (Owner) maps, those of a subquery a map with
// "totalSize", "done" and "records", and null is nil. The error is a *[DecodeError].
func (r *Record) Fields() (map[string]any, error) { return r.value() }

// Decode stores the fields in v: a pointer to a struct, to a map[string]any or to an any, or such a
// map itself. It goes by the tags and rules of [Message.Decode], so that one struct takes a change
// event and the record: there is no Optional that is unchanged but where the query does not select
// the field. A record of a relationship goes into a struct of its own, those of a subquery into
//
//	Contacts struct {
//		Records []Contact `sf:"records"`
//	}
//
// The error is a *[DecodeError] that names the field.
func (r *Record) Decode(v any) error {
	dst := reflect.ValueOf(v)
	switch {
	case dst.Kind() == reflect.Pointer && !dst.IsNil():
		dst = dst.Elem()
	case dst.Kind() != reflect.Map || dst.IsNil():
		return r.decodeError(fmt.Errorf("cannot decode into %T: want a non-nil pointer", v))
	}
	value, err := r.value()
	if err != nil {
		return err
	}
	if err := r.prefs.binder.Assign(dst, value, nil, nil); err != nil {
		return r.decodeError(err)
	}
	return nil
}

// Raw returns the record as it came, with its subqueries complete, in JSON; nil where it is
// Deleted. It must not be changed.
func (r *Record) Raw() []byte { return r.raw }

func (r *Record) value() (map[string]any, error) {
	switch {
	case r.Deleted:
		return nil, r.decodeError(errDeleted)
	case r.prefs == nil:
		return nil, r.decodeError(errNoQuery)
	}
	value, err := jsonevent.Value(r.raw, r.prefs.unmarshal)
	if err != nil {
		return nil, r.decodeError(err)
	}
	fields, ok := value.(map[string]any)
	if !ok {
		return nil, r.decodeError(errors.New("it is no JSON object"))
	}
	delete(fields, "attributes") // they are Object and ID
	return fields, nil
}

func (r *Record) decodeError(err error) error {
	field, cause := decodeErrorOf(err)
	return &DecodeError{Field: field, record: strings.TrimSpace("record " + r.Object + " " + r.ID), err: cause}
}

// newRecord reads of a record what it is.
func newRecord(raw []byte, prefs *preferences) *Record {
	r := &Record{raw: raw, prefs: prefs}
	at := ""
	for f := jsonscan.NewFields(raw); f.Next(); {
		switch string(f.Key) {
		case "attributes":
			for f := jsonscan.NewFields(f.Value); f.Next(); {
				switch string(f.Key) {
				case "type":
					r.Object = jsonscan.Text(f.Value)
				case "url":
					at = jsonscan.Text(f.Value)
				}
			}
		case "Id":
			r.ID = jsonscan.Text(f.Value)
		}
	}
	if r.ID == "" && strings.Contains(at, "/sobjects/") {
		r.ID = path.Base(at)
	}
	return r
}

// Query returns the records of a SOQL query, and asks for the next page (of up to 2,000 records)
// when the loop has come so far. Only one page is in memory. A record of whose subquery Salesforce
// gives a part (it has many Contacts) is completed first, by requests of its own.
//
//	for account, err := range client.Query(ctx, "SELECT Id, Name, Owner.Name FROM Account") {
//		if err != nil {
//			return err
//		}
//		…
//	}
//
// An error is the last thing in the sequence, with a nil record. It is one of [Client.Do]: a
// mistake in the query is a *[ServerError] with Reason MALFORMED_QUERY, INVALID_FIELD or
// INVALID_TYPE. Each page is a request that Do would repeat.
//
// SELECT COUNT() gives a number beside the records and no record, so that the loop sees nothing:
// SELECT COUNT(Id) n gives one record with a field n. Values in a query are the program's to quote.
// Salesforce takes a query of about 16,000 bytes when it is escaped, and answers HTTP 414 or 431 to
// a longer one. The composite resource takes those, by Do.
func (c *Client) Query(ctx context.Context, soql string) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		for raw, err := range c.rows(ctx, soql) {
			if err == nil {
				raw, err = c.whole(ctx, raw)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(newRecord(raw, &c.cfg.prefs), nil) {
				return
			}
		}
	}
}

// rows are the records of a query, in JSON.
func (s *services) rows(ctx context.Context, soql string) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		at := &url.URL{Path: "query", RawQuery: url.Values{"q": {soql}}.Encode()}
		var page queryPage
		if err := s.getJSON(ctx, at, &page); err != nil {
			yield(nil, err)
			return
		}
		s.pages(ctx, page)(yield)
	}
}

// pages are the records of a page and of those after it.
func (s *services) pages(ctx context.Context, page queryPage) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		seen := make(map[string]bool) // pages that have been asked for
		for {
			for _, raw := range page.Records {
				if !yield(raw, nil) {
					return
				}
			}
			next, err := page.next(seen)
			if next == nil && err == nil {
				return
			}
			if page = (queryPage{}); err == nil {
				err = s.getJSON(ctx, next, &page)
			}
			if err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// A queryPage is an answer to a query.
type queryPage struct {
	Records []json.RawMessage `json:"records"`
	Done    *bool             `json:"done"`
	Next    string            `json:"nextRecordsUrl"`
}

// IsAnswer tells a page without records from an answer that is none, as {} from a proxy: to take
// that for a page would lose records in silence, and make deletions of them in Refetch.
func (p *queryPage) IsAnswer() bool { return p.Records != nil }

// next is where the page after this one is, nil after the last one. It is added to those that were
// seen: no page comes twice.
func (p *queryPage) next(seen map[string]bool) (next *url.URL, err error) {
	switch next, err = nextPage(p.Next); {
	case err != nil:
	case next != nil && seen[p.Next]:
		err = errors.New("it leads to a page that was read")
	case next == nil && p.Done != nil && !*p.Done:
		err = errors.New("there is none, but the page is not the last one")
	}
	seen[p.Next] = true
	if err != nil {
		return nil, fmt.Errorf("sfstream: query: nextRecordsUrl %.200q: %w", p.Next, err)
	}
	return next, nil
}

// nextPage reads a nextRecordsUrl: a path on the instance, to which alone the token goes. It is nil
// after the last page.
func nextPage(text string) (*url.URL, error) {
	if text == "" {
		return nil, nil
	}
	next, err := url.Parse(text)
	if err != nil || next.Scheme != "" || next.Host != "" || !strings.HasPrefix(next.Path, "/services/data/") {
		return nil, errors.New("it is no path of the REST API")
	}
	return next, nil
}

// whole returns a record with all records of its subqueries. Of many Salesforce gives the first
// ones, and a nextRecordsUrl in the record itself: a program that decodes what came would miss the
// others in silence.
func (s *services) whole(ctx context.Context, record json.RawMessage) (json.RawMessage, error) {
	if !isPart(record) {
		return record, nil
	}
	text := []byte{'{'}
	for f := jsonscan.NewFields(record); f.Next(); {
		value, err := s.children(ctx, f.Value)
		if err != nil {
			return nil, err
		}
		if len(text) > 1 {
			text = append(text, ',')
		}
		text = append(append(append(text, '"'), f.Key...), `":`...)
		text = append(text, value...)
	}
	return append(text, '}'), nil
}

// children returns the value of a field, with all records where it is that of a subquery.
func (s *services) children(ctx context.Context, value json.RawMessage) (json.RawMessage, error) {
	var first struct {
		queryPage
		Size json.RawMessage `json:"totalSize"`
	}
	if !isPart(value) || json.Unmarshal(value, &first) != nil || !first.IsAnswer() {
		return value, nil
	}
	text := []byte(`{"done":true,`)
	if first.Size != nil {
		text = append(append(append(text, `"totalSize":`...), first.Size...), ',')
	}
	text = append(text, `"records":[`...)
	n := 0
	for child, err := range s.pages(ctx, first.queryPage) {
		if err == nil {
			child, err = s.whole(ctx, child) // it may have a subquery, too
		}
		if err != nil {
			return nil, err
		}
		if n++; n > 1 {
			text = append(text, ',')
		}
		text = append(text, child...)
	}
	return append(text, "]}"...), nil
}

// isPart reports whether an object may have more records elsewhere.
func isPart(object []byte) bool {
	return len(object) > 0 && object[0] == '{' && bytes.Contains(object, []byte(`"nextRecordsUrl"`))
}
