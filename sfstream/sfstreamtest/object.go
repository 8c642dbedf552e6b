package sfstreamtest

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Field is a field of an object whose changes are captured.
type Field struct {
	Name string `json:"name"`
	// Type is Salesforce's name for the type, as schemas have it in their docs: Text, DynamicEnum,
	// StaticEnum, MultiEnum, Phone, Fax, Email, Url, Content, StringPlusClob, HtmlStringPlusClob,
	// EncryptedText, EntityId, ExternalId, Boolean, Integer, Double, Currency, Percent, DateTime,
	// DateOnly, TimeOnly, Birthday, Address, Location, PersonName, Switchable_PersonName.
	Type string `json:"type"`
	// Members are the fields of a compound. Default: those of most orgs.
	Members []string `json:"members,omitempty"`
}

// avroField is a field of a record schema. Its JSON keys are in the order that Salesforce has.
type avroField struct {
	Name    string          `json:"name"`
	Type    any             `json:"type"`
	Doc     string          `json:"doc,omitempty"`
	Default json.RawMessage `json:"default,omitempty"`
}

type avroRecord struct {
	Type      string      `json:"type"`
	Name      string      `json:"name"`
	Namespace string      `json:"namespace,omitempty"`
	Fields    []avroField `json:"fields"`
}

type avroArray struct {
	Type  string `json:"type"`
	Items string `json:"items"`
}

type avroEnum struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Symbols []string `json:"symbols"`
}

// DefineObject captures the changes of an object: Account on /data/AccountChangeEvent, Foo__c on
// /data/Foo__ChangeEvent, and both on /data/ChangeEvents. The schema has the fields given, in their
// order, with system fields only if they are among them. Without any, Account, Case, Contact and
// Opportunity, which the REST API knows without being defined, have those of a new org. Defining an
// object again is a schema change.
func (s *Server) DefineObject(name string, fields ...Field) error {
	if len(fields) == 0 {
		fields = standardObjects[name]
	}
	text, err := objectSchema(name, fields)
	if err != nil {
		return fmt.Errorf("sfstreamtest: object %s: %w", name, err)
	}
	return s.DefineEvent(changeChannel(name), text)
}

// objectSchema returns the schema of an object's change events.
func objectSchema(name string, fields []Field) (string, error) {
	rec := avroRecord{
		Type: "record", Name: strings.TrimPrefix(changeChannel(name), "/data/"), Namespace: "com.sforce.eventbus",
		Fields: []avroField{changeEventHeader()},
	}
	defined := make(map[string]bool)
	for i, f := range fields {
		built, err := f.avro(defined, i+1)
		if err != nil {
			return "", err
		}
		rec.Fields = append(rec.Fields, built)
	}
	text, err := json.Marshal(rec)
	return string(text), err
}

// changeChannel returns the channel of an object's changes.
func changeChannel(object string) string {
	if custom, ok := strings.CutSuffix(object, "__c"); ok {
		return "/data/" + custom + "__ChangeEvent"
	}
	return "/data/" + object + "ChangeEvent"
}

func changeEventHeader() avroField {
	texts := avroArray{Type: "array", Items: "string"}
	return avroField{Name: "ChangeEventHeader", Doc: "Data:ComplexValueType", Type: avroRecord{
		Type: "record", Name: "ChangeEventHeader", Fields: []avroField{
			{Name: "entityName", Type: "string"},
			{Name: "recordIds", Type: texts},
			{Name: "changeType", Type: avroEnum{Type: "enum", Name: "ChangeType", Symbols: []string{
				"CREATE", "UPDATE", "DELETE", "UNDELETE",
				"GAP_CREATE", "GAP_UPDATE", "GAP_DELETE", "GAP_UNDELETE", "GAP_OVERFLOW", "SNAPSHOT",
			}}},
			{Name: "changeOrigin", Type: "string"},
			{Name: "transactionKey", Type: "string"},
			{Name: "sequenceNumber", Type: "int"},
			{Name: "commitTimestamp", Type: "long"},
			{Name: "commitNumber", Type: "long"},
			{Name: "commitUser", Type: "string"},
			{Name: "nulledFields", Type: texts},
			{Name: "diffFields", Type: texts},
			{Name: "changedFields", Type: texts},
		},
	}}
}

// nullable returns a field that can be null, which is also its default.
func nullable(name, doc string, types ...any) avroField {
	return avroField{Name: name, Type: append([]any{"null"}, types...), Doc: doc, Default: json.RawMessage("null")}
}

// avro builds the field of a schema. A compound's record is spelled out at its first use and
// referred to by its name afterwards.
func (f Field) avro(defined map[string]bool, position int) (avroField, error) {
	doc := "Data:" + f.Type
	if strings.HasSuffix(f.Name, "__c") {
		doc += fmt.Sprintf(":00N%012d", position)
	}
	simple := ""
	switch f.Type {
	case "Text", "DynamicEnum", "StaticEnum", "MultiEnum", "Phone", "Fax", "Email", "Url", "Content",
		"StringPlusClob", "HtmlStringPlusClob", "EncryptedText":
		simple = "string"
	case "EntityId":
		simple, doc = "string", "ForeignKey:EntityId"
	case "ExternalId":
		simple, doc = "string", "ExternalForeignKey:ExternalId"
	case "Boolean":
		simple = "boolean"
	case "Integer":
		simple = "int"
	case "Double", "Currency", "Percent":
		simple = "double"
	case "DateTime", "DateOnly", "TimeOnly", "Birthday":
		simple = "long"
	}
	if f.Name == "CreatedDate" {
		doc = "CreatedDate:DateTime"
	}
	if simple != "" {
		return nullable(f.Name, doc, simple), nil
	}

	members := f.Members
	if members == nil {
		members = map[string][]string{
			"Address": {"Street", "City", "State", "PostalCode", "Country", "StateCode", "CountryCode",
				"Latitude", "Longitude", "GeocodeAccuracy"},
			"Location":              {"Latitude", "Longitude"},
			"PersonName":            {"Salutation", "FirstName", "LastName"},
			"Switchable_PersonName": {"Salutation", "FirstName", "LastName"},
		}[f.Type]
	}
	if members == nil {
		return avroField{}, fmt.Errorf("field %s: Salesforce has no type %q", f.Name, f.Type)
	}
	var rec any = f.Type
	if !defined[f.Type] {
		defined[f.Type] = true
		r := avroRecord{Type: "record", Name: f.Type}
		for _, m := range members {
			typ := "string"
			if m == "Latitude" || m == "Longitude" {
				typ = "double"
			}
			r.Fields = append(r.Fields, nullable(m, "", typ))
		}
		rec = r
	}
	if f.Type == "Switchable_PersonName" {
		return nullable(f.Name, doc, "string", rec), nil
	}
	return nullable(f.Name, doc, rec), nil
}
