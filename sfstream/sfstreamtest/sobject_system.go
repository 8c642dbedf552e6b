package sfstreamtest

import "strings"

// WithSandbox makes the org a sandbox: Organization.IsSandbox is true.
func WithSandbox() Option { return func(c *config) { c.sandbox = true } }

// systemObjects are the objects that every org has, with the types of their fields.
var systemObjects = map[string][]sobjectField{
	"Organization": {
		{name: "Id", typ: "id"}, {name: "Name", typ: "string"}, {name: "IsSandbox", typ: "boolean"},
		{name: "InstanceName", typ: "string"}, {name: "OrganizationType", typ: "picklist"},
		{name: "NamespacePrefix", typ: "string"}, {name: "TrialExpirationDate", typ: "datetime"},
	},
	"User": {
		{name: "Id", typ: "id"}, {name: "Username", typ: "string"}, {name: "Name", typ: "string"},
		{name: "Email", typ: "email"}, {name: "IsActive", typ: "boolean"},
	},
	"PushTopic": append(standardFields(),
		sobjectField{name: "Name", typ: "string"}, sobjectField{name: "Query", typ: "string"},
		sobjectField{name: "ApiVersion", typ: "double"}, sobjectField{name: "IsActive", typ: "boolean"},
		sobjectField{name: "NotifyForFields", typ: "picklist"}, sobjectField{name: "NotifyForOperations", typ: "picklist"},
		sobjectField{name: "Description", typ: "string"},
		sobjectField{name: "NotifyForOperationCreate", typ: "boolean"}, sobjectField{name: "NotifyForOperationUpdate", typ: "boolean"},
		sobjectField{name: "NotifyForOperationDelete", typ: "boolean"}, sobjectField{name: "NotifyForOperationUndelete", typ: "boolean"}),
	"RecordType": {
		{name: "Id", typ: "id"}, {name: "Name", typ: "string"}, {name: "DeveloperName", typ: "string"},
		{name: "NamespacePrefix", typ: "string"}, {name: "Description", typ: "string"}, {name: "SobjectType", typ: "picklist"},
		{name: "IsActive", typ: "boolean"},
	},
	"StreamingChannel": append(standardFields(),
		sobjectField{name: "Name", typ: "string"}, sobjectField{name: "Description", typ: "string"},
		sobjectField{name: "IsDynamic", typ: "boolean"}, sobjectField{name: "OwnerId", typ: "reference"},
		sobjectField{name: "LastViewedDate", typ: "datetime"}, sobjectField{name: "LastReferencedDate", typ: "datetime"}),
}

// systemObject returns an object that every org has, nil if there is none with the name.
func (s *Server) systemObject(name string) *sobject {
	for object, fields := range systemObjects {
		if strings.EqualFold(object, name) {
			return &sobject{name: object, fields: fields, rows: func() []map[string]any { return s.systemRows(object) }}
		}
	}
	return nil
}

func (s *Server) systemRows(object string) []map[string]any {
	var rows []map[string]any
	switch object {
	case "Organization":
		kind := "Developer Edition"
		if s.config.sandbox {
			kind = "Enterprise Edition"
		}
		rows = append(rows, map[string]any{
			"Id": s.account.OrgID, "Name": "sfstreamtest", "IsSandbox": s.config.sandbox,
			"InstanceName": "SIM1", "OrganizationType": kind,
		})
	case "User":
		user := func(id, name string) map[string]any {
			return map[string]any{"Id": id, "Username": name, "Name": "Integration User", "Email": name, "IsActive": true}
		}
		rows = append(rows, user(s.account.UserID, s.account.Username))
		for name, id := range s.config.cometd.users {
			rows = append(rows, user(id, name))
		}
	case "RecordType":
		rows = s.recordTypeRows()
	default:
		kind, _ := channelKindOf(object)
		for _, t := range s.channelsOf(kind) {
			rows = append(rows, t.asRecord(s))
		}
	}
	return rows
}
