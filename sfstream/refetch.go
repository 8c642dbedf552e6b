package sfstream

import (
	"context"
	"fmt"
	"iter"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	// fieldsLimit is how many records a query of FIELDS(ALL) may give, since fieldsVersion: a query
	// without that LIMIT is refused, whatever its condition.
	fieldsLimit   = 200
	fieldsVersion = 51.0

	// refetchMargin is how much earlier than its commit a transaction may have stamped a record: a
	// transaction may take ten minutes. Our own clock plays no part.
	refetchMargin = 15 * time.Minute

	// noRecord is what an overflow has in the place of record ids.
	noRecord = "000000000000000AAA"
)

var (
	objectName  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,99}$`)
	recordID    = regexp.MustCompile(`^[A-Za-z0-9]{15}([A-Za-z0-9]{3})?$`)
	recordsOfID = regexp.MustCompile(`^[A-Za-z0-9]{3}\*$`) // all records of an object, by their prefix
)

// Refetch reads the records that a change is about by REST, as they are now, with all fields that
// the user may see. It is for a change that does not say enough: a gap event, an overflow, a diff
// that does not fit.
//
//	if change.IsGap() {
//		for record, err := range client.Refetch(ctx, change) {
//			switch {
//			case err != nil:
//				return err
//			case record.Deleted:
//				remove(record.ID)
//			default:
//				err = record.Decode(&account)
//				…
//			}
//		}
//	}
//
// It gives each of RecordIDs once, in their order: a record that is not found as Deleted. Where a
// conversion of a field's type names all records of an object (001*), it gives all of them. Of an
// overflow, which names none, it gives all records of EntityName that were modified since a quarter
// of an hour before the CommitTime, and then, as Deleted, those that were deleted since. Records
// come in requests of 200 each: a hundred thousand take five hundred requests of the org's
// allocation.
//
// What has changed since the event is in the records, too, and its events come yet: what an event
// with an earlier CommitTime than a record's SystemModstamp says is out of date. Salesforce keeps
// deletions for 15 days, and tells up to 600,000 of them; an object of which it keeps none gives an
// error after the records.
//
// An error is the last thing in the sequence, with a nil record. It is one of [Client.Do], or
// [ErrInvalidOption] for a change without an object, for names and ids that are none, or for a
// [WithAPIVersion] before 51.0.
func (c *Client) Refetch(ctx context.Context, change *ChangeEvent) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		r := refetch{services: c.services, ctx: ctx, yield: yield}
		err := r.check(change)
		switch {
		case err != nil:
		case change.IsOverflow():
			since := change.CommitTime.Add(-refetchMargin).UTC().Truncate(time.Minute)
			if err = r.all("SystemModstamp >= " + since.Format(time.RFC3339)); err == nil {
				err = r.deleted(since)
			}
		case r.whole:
			err = r.all("")
		default:
			err = r.named(r.ids)
		}
		if err != nil && !r.ended {
			yield(nil, err)
		}
	}
}

// A refetch is one call of Refetch.
type refetch struct {
	*services
	ctx   context.Context
	yield func(*Record, error) bool
	ended bool // the loop wants no more

	object string
	ids    []string
	whole  bool // all records of the object are named
}

// check reads what the change is about. What it lets pass can be written into a query.
func (r *refetch) check(change *ChangeEvent) error {
	bad := func(form string, args ...any) error {
		return fmt.Errorf("%w: Refetch: "+form, append([]any{ErrInvalidOption}, args...)...)
	}
	version, _ := strconv.ParseFloat(r.cfg.apiVersion, 64)
	switch {
	case change == nil:
		return bad("no change")
	case !objectName.MatchString(change.EntityName):
		return bad("%.100q is no name of an object", change.EntityName)
	case change.IsOverflow() && change.CommitTime.IsZero():
		return bad("an overflow without the time of its commit")
	case r.cfg.apiVersion != "" && version < fieldsVersion:
		return bad("WithAPIVersion(%q): FIELDS(ALL), which it selects, needs %.1f or later", r.cfg.apiVersion, fieldsVersion)
	}
	r.object = change.EntityName
	seen := make(map[string]bool)
	for _, id := range change.RecordIDs {
		switch {
		case recordsOfID.MatchString(id):
			r.whole = true
		case !recordID.MatchString(id):
			return bad("%.30q is no id of a record", id)
		case id == noRecord || seen[key(id)]:
		default:
			seen[key(id)] = true
			r.ids = append(r.ids, id)
		}
	}
	return nil
}

// key is an id in the form with 15 characters, which has upper and lower case: the other three only
// repeat that.
func key(id string) string { return id[:min(len(id), 15)] }

// give hands a record to the loop, and reports whether that wants more.
func (r *refetch) give(record *Record) bool {
	r.ended = r.ended || !r.yield(record, nil)
	return !r.ended
}

// named gives records by their ids.
func (r *refetch) named(ids []string) error {
	for len(ids) > 0 && !r.ended {
		batch := ids[:min(len(ids), fieldsLimit)]
		ids = ids[len(batch):]
		found := make(map[string]*Record, len(batch))
		if _, err := r.query("Id IN ('"+strings.Join(batch, "','")+"')", "", func(record *Record) { found[key(record.ID)] = record }); err != nil {
			return err
		}
		for _, id := range batch {
			record := found[key(id)]
			if record == nil {
				record = &Record{Object: r.object, ID: id, Deleted: true}
			}
			if !r.give(record) {
				break
			}
		}
	}
	return nil
}

// all gives the records of the object for which a condition holds, all of them where it is empty,
// in the order of their ids. A record that another change moves in or out meanwhile has an event of
// its own.
func (r *refetch) all(condition string) error {
	last := ""
	for !r.ended {
		where := condition
		if last != "" {
			where = strings.TrimPrefix(where+" AND Id > '"+last+"'", " AND ")
		}
		before := last
		n, err := r.query(where, " ORDER BY Id", func(record *Record) {
			last = record.ID
			r.give(record)
		})
		switch {
		case err != nil:
			return err
		case n < fieldsLimit:
			return nil
		case last == before || !recordID.MatchString(last):
			return fmt.Errorf("sfstream: Refetch: the org gives %d records of %s of which the last has the id %.30q", n, r.object, last)
		}
	}
	return nil
}

// query calls give with up to 200 records, and returns how many there were.
func (r *refetch) query(where, order string, give func(*Record)) (n int, err error) {
	if where != "" {
		where = " WHERE " + where
	}
	soql := "SELECT FIELDS(ALL) FROM " + r.object + where + order + " LIMIT " + strconv.Itoa(fieldsLimit)
	for raw, err := range r.rows(r.ctx, soql) {
		if err != nil {
			return n, err
		}
		n++
		if give(newRecord(raw, &r.cfg.prefs)); r.ended {
			break
		}
	}
	return n, nil
}

// deleted gives the records of the object that were deleted since a time. The resource leaves the
// seconds of its times out of account, so that it is asked for the minute that is not over yet.
func (r *refetch) deleted(since time.Time) error {
	if r.ended {
		return nil
	}
	until := r.clock.Now().UTC().Truncate(time.Minute).Add(time.Minute)
	if least := since.Add(2 * time.Minute); until.Before(least) {
		until = least // the clocks differ
	}
	const form = "2006-01-02T15:04:05+00:00"
	span := url.Values{"start": {since.Format(form)}, "end": {until.Format(form)}}
	var answer deletions
	if err := r.getJSON(r.ctx, &url.URL{Path: "sobjects/" + r.object + "/deleted/", RawQuery: span.Encode()}, &answer); err != nil {
		return err
	}
	for _, record := range answer.Records {
		if !r.give(&Record{Object: r.object, ID: record.ID, Deleted: true}) {
			break
		}
	}
	return nil
}

// deletions is an answer that tells deleted records.
type deletions struct {
	Records []struct {
		ID string `json:"id"`
	} `json:"deletedRecords"`
}

// IsAnswer tells an answer without deletions from one that is none.
func (d *deletions) IsAnswer() bool { return d.Records != nil }
