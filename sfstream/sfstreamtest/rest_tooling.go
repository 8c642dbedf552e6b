package sfstreamtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// toolingObject is an object of the Tooling API. What its records are is said in Metadata, which
// the functions get as it is.
type toolingObject struct {
	name   string
	fields []sobjectField
	rows   func(*Server) []map[string]any

	// nil: the object cannot be written. create returns the id of the new record.
	create func(s *Server, fullName string, metadata json.RawMessage) (id string, err error)
	update func(s *Server, id string, metadata json.RawMessage) error
	remove func(s *Server, id string) error
}

// toolingObjects returns the objects of the Tooling API that clients of events need.
func toolingObjects() []toolingObject {
	return []toolingObject{
		{name: managedObject, fields: managedFields, rows: (*Server).managedRows},
		{
			name: channelObject, fields: channelFields, rows: (*Server).customChannelRows,
			create: (*Server).createCustomChannel, update: (*Server).updateCustomChannel, remove: (*Server).deleteCustomChannel,
		},
		{
			name: memberObject, fields: memberFields, rows: (*Server).memberRows,
			create: (*Server).createMember, update: (*Server).updateMember, remove: (*Server).deleteMember,
		},
	}
}

// toolingFields begin the fields of an object of the Tooling API.
var toolingFields = []sobjectField{
	{name: "Id", typ: "id"}, {name: "DeveloperName", typ: "string"}, {name: "FullName", typ: "string"},
	{name: "Language", typ: "picklist"}, {name: "MasterLabel", typ: "string"}, {name: "NamespacePrefix", typ: "string"},
	{name: "ManageableState", typ: "picklist"}, {name: "Metadata", typ: "complexvalue"},
}

func toolingNamed(name string) (toolingObject, bool) {
	for _, o := range toolingObjects() {
		if strings.EqualFold(o.name, name) {
			return o, true
		}
	}
	return toolingObject{}, false
}

// toolingWritten is the answer to a request that has created a record.
type toolingWritten struct {
	written
	Warnings []string `json:"warnings"`
	Infos    []string `json:"infos"`
}

// toolingQuery answers a SOQL query of the Tooling API.
func (s *Server) toolingQuery(r *http.Request) (int, any, error) {
	text := r.URL.Query().Get("q")
	q, err := parseQuery(text)
	if err != nil {
		return 0, nil, &restError{http.StatusBadRequest, err.Error(), "MALFORMED_QUERY", nil}
	}
	t, ok := toolingNamed(q.object)
	if !ok {
		return 0, nil, soqlError(text, q.object, "INVALID_TYPE", "sObject type '"+q.object+"' is not supported.")
	}
	o := &sobject{name: t.name, fields: t.fields}
	if err := o.bind(&q, text); err != nil {
		return 0, nil, err
	}
	found := q.run(t.rows(s), false)
	whole := slices.Contains(q.fields, "Metadata") || slices.Contains(q.fields, "FullName")
	if whole && len(found) > 1 {
		return 0, nil, &restError{http.StatusBadRequest, fmt.Sprintf("When retrieving results with Metadata or FullName fields, "+
			"the query qualifications must specify no more than one row for retrieval. Result size: %d", len(found)), "MALFORMED_QUERY", nil}
	}
	reply := queryReply{Done: true, TotalSize: len(found), Records: []map[string]any{}}
	for _, row := range found {
		if !q.count {
			reply.Records = append(reply.Records, o.shownTooling(r, row, q.fields))
		}
	}
	return http.StatusOK, reply, nil
}

// shownTooling does what shown does, with the URL that the record has in the Tooling API.
func (o *sobject) shownTooling(r *http.Request, row map[string]any, fields []string) map[string]any {
	shown := o.shown(r, row, fields)
	shown["attributes"] = map[string]any{
		"type": o.name, "url": fmt.Sprintf("/services/data/%s/tooling/sobjects/%s/%s", r.PathValue("version"), o.name, row["Id"]),
	}
	return shown
}

// toolingRecord returns the object that the path of a request names, and the record.
func (s *Server) toolingRecord(r *http.Request) (o toolingObject, row map[string]any, err error) {
	o, ok := toolingNamed(r.PathValue("object"))
	if !ok {
		return o, nil, notFound()
	}
	id := r.PathValue("id")
	if err := checkID(o.name, id); err != nil {
		return o, nil, err
	}
	for _, row := range o.rows(s) {
		if row["Id"] == longID(id) {
			return o, row, nil
		}
	}
	return o, nil, notFound()
}

func (s *Server) getTooling(r *http.Request) (int, any, error) {
	o, row, err := s.toolingRecord(r)
	if err != nil {
		return 0, nil, err
	}
	var fields []string
	for _, f := range o.fields {
		fields = append(fields, f.name)
	}
	return http.StatusOK, (&sobject{name: o.name, fields: o.fields}).shownTooling(r, row, fields), nil
}

func (s *Server) describeTooling(r *http.Request) (int, any, error) {
	o, ok := toolingNamed(r.PathValue("object"))
	if !ok {
		return 0, nil, notFound()
	}
	return http.StatusOK, map[string]any{
		"name": o.name, "label": o.name, "custom": false, "queryable": true, "retrieveable": true,
		"createable": o.create != nil, "updateable": o.update != nil, "deletable": o.remove != nil,
		"fields": (&sobject{name: o.name, fields: o.fields}).describe(),
	}, nil
}

// toolingBody is the body of a request that writes a record.
type toolingBody struct {
	FullName string
	Metadata json.RawMessage
}

func (s *Server) createTooling(r *http.Request) (int, any, error) {
	o, ok := toolingNamed(r.PathValue("object"))
	if !ok || o.create == nil {
		return 0, nil, notFound()
	}
	var body toolingBody
	if err := readStrictly(r, o.name, &body); err != nil {
		return 0, nil, err
	}
	if body.FullName == "" || len(body.Metadata) == 0 {
		return 0, nil, missing([]string{"FullName", "Metadata"}, map[string]any{
			"FullName": orNil(body.FullName), "Metadata": orNil(string(body.Metadata)),
		}, true)
	}
	s.setup.Lock()
	defer s.setup.Unlock()
	if err := s.recordFault(o.name); err != nil {
		return 0, nil, err
	}
	id, err := o.create(s, body.FullName, body.Metadata)
	return http.StatusCreated, toolingWritten{written{ID: id, Success: true, Errors: []restWarning{}}, []string{}, []string{}}, err
}

func (s *Server) updateTooling(r *http.Request) (int, any, error) {
	s.setup.Lock()
	defer s.setup.Unlock()
	o, row, err := s.toolingRecord(r)
	switch {
	case err != nil:
		return 0, nil, err
	case o.update == nil:
		return 0, nil, notAllowed("PATCH", "GET,HEAD")
	}
	var body toolingBody
	if err := readStrictly(r, o.name, &body); err != nil {
		return 0, nil, err
	}
	if err := s.recordFault(o.name); err != nil {
		return 0, nil, err
	}
	if body.FullName != "" && body.FullName != row["FullName"] {
		return 0, nil, notWritable("FullName")
	}
	if len(body.Metadata) == 0 {
		return http.StatusNoContent, nil, nil
	}
	id, _ := row["Id"].(string)
	return http.StatusNoContent, nil, o.update(s, id, body.Metadata)
}

func (s *Server) deleteTooling(r *http.Request) (int, any, error) {
	s.setup.Lock()
	defer s.setup.Unlock()
	o, row, err := s.toolingRecord(r)
	switch {
	case err != nil:
		return 0, nil, err
	case o.remove == nil:
		return 0, nil, notAllowed("DELETE", "GET,HEAD")
	}
	if err := s.recordFault(o.name); err != nil {
		return 0, nil, err
	}
	id, _ := row["Id"].(string)
	return http.StatusNoContent, nil, o.remove(s, id)
}

// overriddenTooling does what a method does that a POST names.
func (s *Server) overriddenTooling(r *http.Request) (int, any, error) {
	switch r.URL.Query().Get("_HttpMethod") {
	case http.MethodPatch:
		return s.updateTooling(r)
	case http.MethodDelete:
		return s.deleteTooling(r)
	}
	return 0, nil, notAllowed("POST", "DELETE,GET,HEAD,PATCH")
}
