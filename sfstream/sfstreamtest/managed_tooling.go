package sfstreamtest

import (
	"net/http"
	"strings"
)

// managedObject is the object of the Tooling API that managed subscriptions are.
const managedObject = "ManagedEventSubscription"

var managedFields = []sobjectField{
	{name: "Id", typ: "id"}, {name: "DeveloperName", typ: "string"}, {name: "MasterLabel", typ: "string"},
	{name: "Metadata", typ: "complexvalue"},
}

// managedRows returns the managed subscriptions as records of the Tooling API.
func (s *Server) managedRows() []map[string]any {
	var rows []map[string]any
	for _, m := range s.ManagedSubscriptions() {
		rows = append(rows, map[string]any{
			"Id": m.ID, "DeveloperName": m.DeveloperName, "MasterLabel": m.DeveloperName,
			"Metadata": map[string]any{
				"label": m.DeveloperName, "topicName": m.TopicName, "defaultReplay": m.DefaultReplay,
				"errorRecoveryReplay": m.ErrorRecoveryReplay, "state": m.State, "version": 60.0,
			},
		})
	}
	return rows
}

// toolingQuery answers a SOQL query of the Tooling API.
func (s *Server) toolingQuery(r *http.Request) (int, any, error) {
	text := r.URL.Query().Get("q")
	q, err := parseQuery(text)
	if err != nil {
		return 0, nil, &restError{http.StatusBadRequest, err.Error(), "MALFORMED_QUERY", nil}
	}
	if !strings.EqualFold(q.object, managedObject) {
		return 0, nil, soqlError(text, q.object, "INVALID_TYPE", "sObject type '"+q.object+"' is not supported.")
	}
	o := &sobject{name: managedObject, fields: managedFields}
	if err := o.bind(&q, text); err != nil {
		return 0, nil, err
	}
	reply := queryReply{Done: true, Records: []map[string]any{}}
	for _, row := range q.run(s.managedRows(), false) {
		reply.Records = append(reply.Records, o.shown(r, row, q.fields))
	}
	if reply.TotalSize = len(reply.Records); reply.TotalSize > 1 && reply.Records[0]["Metadata"] != nil {
		return 0, nil, &restError{http.StatusBadRequest, "A query of Metadata must find no more than one row", "MALFORMED_QUERY", nil}
	}
	return http.StatusOK, reply, nil
}
