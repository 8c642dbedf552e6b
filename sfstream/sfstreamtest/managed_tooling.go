package sfstreamtest

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
