package sfstreamtest

import (
	"net/http"
	"strings"
	"time"
)

// object returns the object that the path of a request names, and its records.
func (s *Server) object(r *http.Request) (*sobject, error) {
	o, ok := s.sobject(r.PathValue("object"))
	if !ok {
		return nil, notFound()
	}
	return o, nil
}

// getRecord answers with the fields of a record: all, or those that the parameter fields names.
func (s *Server) getRecord(r *http.Request) (int, any, error) {
	o, err := s.object(r)
	if err != nil || o.event {
		return 0, nil, notFound()
	}
	var fields []string
	if r.URL.Query().Has("fields") {
		for name := range strings.SplitSeq(r.URL.Query().Get("fields"), ",") {
			f, ok := o.field(strings.TrimSpace(name))
			if !ok {
				return 0, nil, noColumn(name, o.name)
			}
			fields = append(fields, f.name)
		}
	} else {
		for _, f := range o.fields {
			fields = append(fields, f.name)
		}
	}
	id := r.PathValue("id")
	for _, row := range o.rows() {
		own, _ := row["Id"].(string)
		if own != id && own != longID(id) {
			continue
		}
		if deleted, _ := row["IsDeleted"].(bool); deleted {
			return 0, nil, &restError{http.StatusNotFound, "entity is deleted", "ENTITY_IS_DELETED", []string{}}
		}
		return http.StatusOK, o.shown(r, row, fields), nil
	}
	return 0, nil, notFound()
}

// span returns the start and the end that a request for deleted or updated records names.
func (s *Server) span(r *http.Request) (start, end time.Time, err error) {
	bad := func(text string) (time.Time, time.Time, error) {
		return start, end, &restError{http.StatusBadRequest, text, "INVALID_REPLICATION_DATE", nil}
	}
	for name, into := range map[string]*time.Time{"start": &start, "end": &end} {
		text := r.URL.Query().Get(name)
		at, ok := parseTime(text)
		if !ok {
			return start, end, &restError{http.StatusBadRequest, name + " is not a date in the format yyyy-MM-ddTHH:mm:ss+HH:mm: " + text, "INVALID_REPLICATION_DATE", nil}
		}
		*into = at
	}
	const kept = 30 * 24 * time.Hour
	switch {
	case end.Sub(start) <= time.Minute:
		return bad("startDate: must be more than one minute before endDate")
	case s.now().Sub(start) > kept:
		return bad("startDate cannot be more than 30 days ago")
	}
	return start, end, nil
}

// deletedRecords answers with the records that were deleted in a span of time, and when.
func (s *Server) deletedRecords(r *http.Request) (int, any, error) {
	type deletion struct {
		ID          string `json:"id"`
		DeletedDate string `json:"deletedDate"`
	}
	gone := []deletion{}
	end, err := s.modified(r, true, func(id string, at time.Time) { gone = append(gone, deletion{id, restTime(at)}) })
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, map[string]any{
		"deletedRecords": gone, "earliestDateAvailable": restTime(s.now().AddDate(0, 0, -30)), "latestDateCovered": restTime(end),
	}, nil
}

// updatedRecords answers with the ids of records that were created or changed in a span of time.
func (s *Server) updatedRecords(r *http.Request) (int, any, error) {
	ids := []string{}
	end, err := s.modified(r, false, func(id string, _ time.Time) { ids = append(ids, id) })
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, map[string]any{"ids": ids, "latestDateCovered": restTime(end)}, nil
}

// modified calls give with each record that was last modified in the span of time that a request
// names, and is deleted or not. It returns the end of the span.
func (s *Server) modified(r *http.Request, deleted bool, give func(id string, at time.Time)) (end time.Time, err error) {
	start, end, err := s.span(r)
	if err != nil {
		return end, err
	}
	o, err := s.object(r)
	if err != nil {
		return end, err
	}
	for _, row := range o.rows() {
		id, _ := row["Id"].(string)
		at, _ := row["SystemModstamp"].(time.Time)
		if gone, _ := row["IsDeleted"].(bool); gone == deleted && !at.Before(start) && at.Before(end) {
			give(id, at)
		}
	}
	return end, nil
}

// described is a field as describe shows it.
type described struct {
	Name       string `json:"name"`
	Label      string `json:"label"`
	Type       string `json:"type"`
	Custom     bool   `json:"custom"`
	Nillable   bool   `json:"nillable"`
	Filterable bool   `json:"filterable"`
	NameField  bool   `json:"nameField"`

	CompoundFieldName *string `json:"compoundFieldName"`
}

// describeObject answers with what an object is, as far as clients of events need it.
func (s *Server) describeObject(r *http.Request) (int, any, error) {
	o, err := s.object(r)
	if err != nil {
		return 0, nil, err
	}
	system := s.systemObject(o.name) != nil
	_, channel := channelKindOf(o.name)
	return http.StatusOK, map[string]any{
		"name": o.name, "label": o.name, "custom": strings.HasSuffix(o.name, "__c") || strings.HasSuffix(o.name, "__e"),
		"queryable": !o.event, "retrieveable": !o.event, "replicateable": !o.event && !system,
		"createable": !system || channel,
		"updateable": !o.event && (!system || channel),
		"fields":     o.describe(), "recordTypeInfos": s.describeRecordTypes(o.name, r.PathValue("version")),
	}, nil
}

// objectInfo answers with what an object is, without its fields, and with no records that the user
// has viewed.
func (s *Server) objectInfo(r *http.Request) (int, any, error) {
	status, reply, err := s.describeObject(r)
	if err != nil {
		return 0, nil, err
	}
	about, _ := reply.(map[string]any)
	delete(about, "fields")
	delete(about, "recordTypeInfos")
	return status, map[string]any{"objectDescribe": about, "recentItems": []any{}}, nil
}

// describe returns the fields of an object as describe shows them.
func (o *sobject) describe() []described {
	fields := []described{}
	for _, f := range o.fields {
		d := described{
			Name: f.name, Label: f.name, Type: f.typ, Custom: strings.HasSuffix(f.name, "__c"), Nillable: f.typ != "id" && f.typ != "boolean",
			Filterable: f.check(&compare{}, "") == nil, NameField: f.name == nameField(o.name),
		}
		if f.compound != "" {
			d.CompoundFieldName = &f.compound
		}
		fields = append(fields, d)
	}
	return fields
}
