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
	sobject

	// nil: the object cannot be written. create returns the id of the new record.
	create func(fullName string, metadata json.RawMessage) (id string, err error)
	update func(id string, metadata json.RawMessage) error
	remove func(id string) error
}

// toolingObject returns an object of the Tooling API by its name, in any case: one of those that
// clients of events need.
func (s *Server) toolingObject(name string) (toolingObject, bool) {
	for _, o := range []toolingObject{
		{sobject: sobject{name: managedObject, fields: managedFields, rows: s.managedRows}},
		{
			sobject: sobject{name: channelObject, fields: channelFields, rows: s.customChannelRows},
			create:  s.createCustomChannel, update: s.updateCustomChannel, remove: s.deleteCustomChannel,
		},
		{
			sobject: sobject{name: memberObject, fields: memberFields, rows: s.memberRows},
			create:  s.createMember, update: s.updateMember, remove: s.deleteMember,
		},
	} {
		if strings.EqualFold(o.name, name) {
			return o, true
		}
	}
	return toolingObject{}, false
}

// toolingFields begin the fields of an object of the Tooling API.
var toolingFields = []sobjectField{
	{name: "Id", typ: "id"}, {name: "DeveloperName", typ: "string"}, {name: "FullName", typ: "string"},
	{name: "Language", typ: "picklist"}, {name: "MasterLabel", typ: "string"}, {name: "NamespacePrefix", typ: "string"},
	{name: "ManageableState", typ: "picklist"}, {name: "Metadata", typ: "complexvalue"},
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
	o, ok := s.toolingObject(q.object)
	if !ok {
		return 0, nil, soqlError(text, q.object, "INVALID_TYPE", "sObject type '"+q.object+"' is not supported.")
	}
	if err := o.bind(&q, text); err != nil {
		return 0, nil, err
	}
	found := q.run(o.rows(), false)
	whole := slices.Contains(q.fields, "Metadata") || slices.Contains(q.fields, "FullName")
	if whole && len(found) > 1 {
		return 0, nil, &restError{http.StatusBadRequest, fmt.Sprintf("When retrieving results with Metadata or FullName fields, "+
			"the query qualifications must specify no more than one row for retrieval. Result size: %d", len(found)), "MALFORMED_QUERY", nil}
	}
	reply := queryReply{Done: true, TotalSize: len(found), Records: []map[string]any{}}
	for _, row := range found {
		if !q.count {
			reply.Records = append(reply.Records, o.shown(r, row, q.fields))
		}
	}
	return http.StatusOK, reply, nil
}

// shown does what that of an sobject does, with the URL that the record has in the Tooling API.
func (o *toolingObject) shown(r *http.Request, row map[string]any, fields []string) map[string]any {
	shown := o.sobject.shown(r, row, fields)
	shown["attributes"] = map[string]any{
		"type": o.name, "url": fmt.Sprintf("/services/data/%s/tooling/sobjects/%s/%s", r.PathValue("version"), o.name, row["Id"]),
	}
	return shown
}

// toolingRecord returns the object that the path of a request names, and the record.
func (s *Server) toolingRecord(r *http.Request) (o toolingObject, row map[string]any, err error) {
	o, ok := s.toolingObject(r.PathValue("object"))
	if !ok {
		return o, nil, notFound()
	}
	id := r.PathValue("id")
	if err := checkID(o.name, id); err != nil {
		return o, nil, err
	}
	for _, row := range o.rows() {
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
	return http.StatusOK, o.shown(r, row, fields), nil
}

func (s *Server) describeTooling(r *http.Request) (int, any, error) {
	o, ok := s.toolingObject(r.PathValue("object"))
	if !ok {
		return 0, nil, notFound()
	}
	return http.StatusOK, map[string]any{
		"name": o.name, "label": o.name, "custom": false, "queryable": true, "retrieveable": true,
		"createable": o.create != nil, "updateable": o.update != nil, "deletable": o.remove != nil,
		"fields": o.describe(),
	}, nil
}

// toolingBody is the body of a request that writes a record.
type toolingBody struct {
	FullName string
	Metadata json.RawMessage
}

func (s *Server) createTooling(r *http.Request) (int, any, error) {
	o, ok := s.toolingObject(r.PathValue("object"))
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
	id, err := o.create(body.FullName, body.Metadata)
	return http.StatusCreated, toolingWritten{written{ID: id, Success: true, Errors: []restWarning{}}, []string{}, []string{}}, err
}

// writableTooling does what toolingRecord does, for a request that changes or deletes the record.
func (s *Server) writableTooling(r *http.Request, method string) (o toolingObject, row map[string]any, err error) {
	o, row, err = s.toolingRecord(r)
	switch {
	case err != nil:
		return o, nil, err
	case o.create == nil:
		return o, nil, notAllowed(method, "GET,HEAD")
	}
	return o, row, s.recordFault(o.name)
}

func (s *Server) updateTooling(r *http.Request) (int, any, error) {
	var body toolingBody
	if err := readStrictly(r, r.PathValue("object"), &body); err != nil {
		return 0, nil, err
	}
	s.setup.Lock()
	defer s.setup.Unlock()
	o, row, err := s.writableTooling(r, http.MethodPatch)
	switch {
	case err != nil:
	case body.FullName != "" && body.FullName != row["FullName"]:
		err = notWritable("FullName")
	case len(body.Metadata) > 0:
		err = o.update(longID(r.PathValue("id")), body.Metadata)
	}
	return http.StatusNoContent, nil, err
}

func (s *Server) deleteTooling(r *http.Request) (int, any, error) {
	s.setup.Lock()
	defer s.setup.Unlock()
	o, _, err := s.writableTooling(r, http.MethodDelete)
	if err == nil {
		err = o.remove(longID(r.PathValue("id")))
	}
	return http.StatusNoContent, nil, err
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
