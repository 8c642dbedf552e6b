package sfstreamtest

import (
	"errors"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"time"
)

// SkipEmptyUpdates(true) makes updates by REST that change nothing leave no trace. By default
// Salesforce modifies the record all the same: its change event names LastModifiedDate alone.
func (s *Server) SkipEmptyUpdates(on bool) { s.faults.toggle("SkipEmptyUpdates", atEmptyUpdate, on) }

// write is what a request does to one record, or the event that it publishes.
type write struct {
	kind   string // CREATE, UPDATE, DELETE, or UPSERT
	object string
	id     string         // of an UPSERT the value of its field
	field  string         // that finds the record of an UPSERT
	body   map[string]any // as its JSON has it
}

// written is the result of a write.
type written struct {
	ID      string        `json:"id,omitempty"`
	Success bool          `json:"success"`
	Errors  []restWarning `json:"errors"`
	Created *bool         `json:"created,omitempty"` // of an UPSERT

	event bool  // it was to be published
	err   error // why it has failed; then nothing else is set
}

// restWarning is an error of a write. It comes with success too: it is Salesforce's way to return
// an event's UUID.
type restWarning struct {
	StatusCode string   `json:"statusCode"`
	Message    string   `json:"message"`
	Fields     []string `json:"fields"`
}

// transaction has what the changes of one request have in common.
type transaction struct {
	server       *Server
	user, origin string
	at           time.Time
	ids          map[string]bool // the records that it updates or deletes
	changes      []Change
}

// carryOut makes the writes of a request, in one transaction, and returns the result of each.
// allOrNone is of no matter to events, which are published at once.
func (s *Server) carryOut(r *http.Request, writes []write, allOrNone bool) []written {
	ses, _ := s.bearer(r)
	s.records.turn.Lock()
	defer s.records.turn.Unlock()
	tx := &transaction{server: s, user: ses.user, origin: changeOrigin(r), ids: make(map[string]bool)}
	done := make([]written, len(writes))
	failed := false
	for i, w := range writes {
		t, o, event := s.eventObject(w.object)
		event = event && w.kind == "CREATE"
		err := s.recordFault(w.object)
		switch {
		case err != nil:
		case event:
			done[i], err = s.publishRecord(t, o, w.body, ses.user)
		default:
			done[i], err = tx.write(w)
		}
		if err != nil {
			done[i] = written{err: err}
		}
		done[i].event = event
		failed = failed || err != nil && !event
	}
	var err error
	switch {
	case failed && allOrNone:
		err = &restError{http.StatusBadRequest, "Record rolled back because not all records were valid and the request was using " +
			"AllOrNone header", "ALL_OR_NONE_OPERATION_ROLLED_BACK", nil}
	default:
		err = tx.commit()
	}
	for i := range done {
		if err != nil && done[i].err == nil && !done[i].event {
			done[i] = written{err: err}
		}
	}
	return done
}

// write plans one write and notes the change that it is.
func (tx *transaction) write(w write) (written, error) {
	if tx.at.IsZero() {
		tx.at = tx.server.clock.date()
	}
	c, err := tx.plan(w)
	if err != nil {
		return written{}, err
	}
	tx.add(c)
	done := written{ID: c.RecordIDs[0], Success: true, Errors: []restWarning{}}
	if w.kind == "UPSERT" {
		done.Created = new(c.Type == "CREATE")
	}
	return done, nil
}

// changeOrigin returns where the changes of a request come from, as change events tell it.
func changeOrigin(r *http.Request) string {
	origin := "com/salesforce/api/rest/" + strings.TrimPrefix(r.PathValue("version"), "v")
	for option := range strings.SplitSeq(r.Header.Get("Sforce-Call-Options"), ",") {
		if name, value, _ := strings.Cut(strings.TrimSpace(option), "="); strings.EqualFold(name, "client") {
			origin += ";client=" + strings.TrimSpace(value)
		}
	}
	return origin
}

// plan returns the change that a write is. Nothing has happened yet.
func (tx *transaction) plan(w write) (Change, error) {
	s := tx.server
	o, ok := s.writable(w.object)
	if !ok {
		return Change{}, notFound()
	}
	if w.kind == "UPSERT" {
		if err := w.settle(o); err != nil {
			return Change{}, err
		}
	}
	c := Change{Object: o.name, Type: w.kind}
	values, nested, err := o.values(w.body)
	if err == nil {
		err = s.checkRecordType(o.name, nested)
	}
	if err == nil && w.kind != "DELETE" {
		err = missing(s.required(o.name), values, w.kind == "CREATE")
	}
	if err != nil {
		return c, err
	}
	if w.kind == "CREATE" {
		c.RecordIDs = []string{s.records.newID(o.name, s.journal.restored())}
		c.Set = nested
		maps.DeleteFunc(c.Set, func(_ string, v any) bool { return v == nil })
		tx.stamp(o, c.Set)
		tx.derive(o, c.Set, nil)
		return c, nil
	}
	id, rec, err := s.records.find(o.name, w.id)
	switch {
	case err != nil:
		return c, err
	case tx.ids[id]:
		return c, &restError{http.StatusBadRequest, "Duplicate id in list: " + id, "DUPLICATE_VALUE", []string{}}
	}
	tx.ids[id] = true
	c.RecordIDs = []string{id}
	if w.kind == "UPDATE" {
		c.Set = differing(nested, rec)
		tx.derive(o, c.Set, rec)
		if by := rec["LastModifiedById"]; by != nil && by != tx.user && o.captures("LastModifiedById") {
			c.Set["LastModifiedById"] = tx.user
		}
	}
	return c, nil
}

// settle makes an UPSERT the CREATE or the UPDATE that it is.
func (w *write) settle(o *sobject) error {
	f, ok := o.field(w.field)
	if !ok {
		return &restError{http.StatusNotFound, "Provided external ID field does not exist or is not accessible: " + w.field, "NOT_FOUND", nil}
	}
	want, err := f.fromJSON(w.id)
	if err != nil {
		return err
	}
	var ids []string
	for _, row := range o.rows() {
		if id, _ := row["Id"].(string); same(row[f.name], want) && row["IsDeleted"] != true {
			ids = append(ids, id)
		}
	}
	switch len(ids) {
	case 0:
		w.kind, w.body = "CREATE", maps.Clone(w.body)
		if w.body == nil {
			w.body = make(map[string]any)
		}
		w.body[f.name] = want
	case 1:
		w.kind, w.id = "UPDATE", ids[0]
	default:
		return &restError{http.StatusMultipleChoices, "more than one record found for external id field: " + strings.Join(ids, ", "), "DUPLICATE_EXTERNAL_ID", nil}
	}
	return nil
}

// stamp gives a record that is created what Salesforce knows of its creation.
func (tx *transaction) stamp(o *sobject, set map[string]any) {
	for _, name := range []string{"CreatedDate", "LastModifiedDate", "CreatedById", "LastModifiedById", "OwnerId"} {
		if _, given := set[name]; given || !o.captures(name) {
			continue
		}
		set[name] = tx.user
		if strings.HasSuffix(name, "Date") {
			set[name] = tx.at
		}
	}
}

// differing returns those of the values that a record does not have yet.
func differing(values, rec map[string]any) map[string]any {
	changed := make(map[string]any)
	for name, v := range values {
		members, compound := v.(map[string]any)
		if !compound {
			if !same(v, rec[name]) {
				changed[name] = v
			}
			continue
		}
		have, _ := rec[name].(map[string]any)
		if members = differing(members, have); len(members) > 0 {
			changed[name] = members
		}
	}
	return changed
}

// add notes a change. The same change of several records of an object becomes one.
func (tx *transaction) add(c Change) {
	if c.Type == "UPDATE" && len(c.Set) == 0 && tx.server.faults.active(atEmptyUpdate, "") {
		return
	}
	for i := range tx.changes {
		had := &tx.changes[i]
		if had.Object == c.Object && had.Type == c.Type && reflect.DeepEqual(had.Set, c.Set) {
			had.RecordIDs = append(had.RecordIDs, c.RecordIDs...)
			return
		}
	}
	tx.changes = append(tx.changes, c)
}

// commit makes the changes. It fails only if the org cannot keep its log.
func (tx *transaction) commit() error {
	key := ""
	for i, c := range tx.changes {
		if i == 0 {
			key = tx.server.dice.events.uuid()
		}
		c.Origin, c.TransactionKey, c.SequenceNumber = tx.origin, key, i+1
		c.CommitTime, c.CommitUser = tx.at, tx.user
		_, err := tx.server.change(c, tx.at)
		switch {
		case errors.Is(err, errUndefined): // nobody follows the object
			tx.server.apply(c, tx.at)
			err = nil
		case errors.Is(err, errTooLarge):
			tx.server.apply(c, tx.at)
			c.Type, c.Set = "GAP_"+c.Type, nil
			_, err = tx.server.change(c, tx.at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
