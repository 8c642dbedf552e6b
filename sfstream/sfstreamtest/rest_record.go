package sfstreamtest

import "net/http"

func attributes(r *http.Request, object, id string) map[string]any {
	return map[string]any{"type": object, "url": "/services/data/" + r.PathValue("version") + "/sobjects/" + object + "/" + id}
}

func (s *Server) deleteRecord(r *http.Request) (int, any, error) {
	object := r.PathValue("object")
	if kind, ok := channelKindOf(object); ok {
		return s.deleteChannelRecord(r, kind)
	}
	return s.writeRecord(r, write{kind: "DELETE", object: object, id: r.PathValue("id")}, http.StatusNoContent)
}

// createRecord creates a PushTopic, a StreamingChannel or a record, or publishes a platform event.
func (s *Server) createRecord(r *http.Request) (int, any, error) {
	object := r.PathValue("object")
	if kind, ok := channelKindOf(object); ok {
		return s.createChannelRecord(r, kind)
	}
	w := write{kind: "CREATE", object: object}
	if err := readBody(r, &w.body); err != nil {
		return 0, nil, err
	}
	return s.writeRecord(r, w, http.StatusCreated)
}

// updateRecord changes those fields of a record that the request has.
func (s *Server) updateRecord(r *http.Request) (int, any, error) {
	if kind, ok := channelKindOf(r.PathValue("object")); ok {
		return s.updateChannelRecord(r, kind)
	}
	w := write{kind: "UPDATE", object: r.PathValue("object"), id: r.PathValue("id")}
	if err := readBody(r, &w.body); err != nil {
		return 0, nil, err
	}
	return s.writeRecord(r, w, http.StatusNoContent)
}

// upsertRecord changes the record of which a field has the value that the path names, or creates
// it.
func (s *Server) upsertRecord(r *http.Request) (int, any, error) {
	w := write{kind: "UPSERT", object: r.PathValue("object"), field: r.PathValue("field"), id: r.PathValue("value")}
	if err := readBody(r, &w.body); err != nil {
		return 0, nil, err
	}
	done := s.carryOut(r, []write{w}, false)[0]
	status := http.StatusOK
	if done.Created != nil && *done.Created {
		status = http.StatusCreated
	}
	return status, done, done.err
}

// overriddenMethod does what a method does that a POST names because its client, or a proxy on the
// way, does not know it.
func (s *Server) overriddenMethod(r *http.Request) (int, any, error) {
	switch r.URL.Query().Get("_HttpMethod") {
	case http.MethodPatch:
		return s.updateRecord(r)
	case http.MethodDelete:
		return s.deleteRecord(r)
	}
	return 0, nil, notAllowed("POST", "DELETE,GET,HEAD,PATCH")
}

// writeRecord answers a request that writes one record with the status, if it succeeds.
func (s *Server) writeRecord(r *http.Request, w write, status int) (int, any, error) {
	done := s.carryOut(r, []write{w}, false)[0]
	if status == http.StatusNoContent {
		return status, nil, done.err
	}
	return status, done, done.err
}
