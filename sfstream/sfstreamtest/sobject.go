package sfstreamtest

import (
	"strings"
	"time"

	"github.com/hamba/avro/v2"
)

// sobject is an object as the REST API shows it: with the members of compounds as fields of their
// own, and with the fields that Salesforce keeps of every record.
type sobject struct {
	name   string
	event  bool // a platform event, which has no records
	fields []sobjectField
	types  *avro.RecordSchema      // of its change events; nil if none is known
	rows   func() []map[string]any // one value per field, by its name; deleted records too
}

type sobjectField struct {
	name string
	typ  string // as describe names it

	composed         bool   // a compound of which requests write only the members
	compound, member string // where a record keeps it, if it is a member of a compound
}

// describeTypes has describe's name for the types that schemas have in their docs.
var describeTypes = map[string]string{
	"Text": "string", "DynamicEnum": "picklist", "StaticEnum": "picklist", "MultiEnum": "multipicklist",
	"Phone": "phone", "Fax": "phone", "Email": "email", "Url": "url", "Content": "string",
	"StringPlusClob": "textarea", "HtmlStringPlusClob": "textarea", "EncryptedText": "encryptedstring",
	"EntityId": "reference", "ExternalId": "reference", "Boolean": "boolean", "Integer": "int",
	"Double": "double", "Currency": "currency", "Percent": "percent", "DateTime": "datetime",
	"DateOnly": "date", "Birthday": "date", "TimeOnly": "time", "Address": "address", "Location": "location",
	"PersonName": "string", "Switchable_PersonName": "string",
}

// standardFields are the fields that every record has.
func standardFields() []sobjectField {
	return []sobjectField{
		{name: "Id", typ: "id"}, {name: "IsDeleted", typ: "boolean"},
		{name: "CreatedDate", typ: "datetime"}, {name: "CreatedById", typ: "reference"},
		{name: "LastModifiedDate", typ: "datetime"}, {name: "LastModifiedById", typ: "reference"},
		{name: "SystemModstamp", typ: "datetime"},
	}
}

// sobject returns an object by its name, in any case. An object whose changes the user may not
// follow is hidden from REST too.
func (s *Server) sobject(name string) (*sobject, bool) {
	if o := s.systemObject(name); o != nil {
		return o, true
	}
	for _, t := range s.matching("") {
		event, isEvent := strings.CutPrefix(t.name, "/event/")
		object := event
		if !isEvent {
			object = changedObject(t.name)
		}
		if t.streaming || !strings.EqualFold(object, name) {
			continue
		}
		t.mu.Lock()
		sc, revoked := t.schema, t.revoked
		t.mu.Unlock()
		switch {
		case sc == nil:
			continue
		case revoked:
			return nil, false
		}
		o := &sobject{name: object, event: isEvent, fields: fieldsOf(sc.avro), types: sc.avro}
		o.rows = func() []map[string]any { return s.records.rows(o) }
		return s.withRecordType(o), true
	}
	return s.uncaptured(name)
}

// fieldsOf returns the fields of an object with this schema.
func fieldsOf(rec *avro.RecordSchema) []sobjectField {
	fields := standardFields()
	known := make(map[string]bool)
	for _, f := range fields {
		known[f.name] = true
	}
	for _, f := range rec.Fields() {
		if f.Name() == "ChangeEventHeader" || known[f.Name()] {
			continue
		}
		typ := or(describeTypes[fieldType(f)], plainType(f.Type()))
		members, only := compound(f.Type())
		fields = append(fields, sobjectField{name: f.Name(), typ: typ, composed: only})
		if members == nil {
			continue
		}
		for _, m := range members.Fields() {
			part := sobjectField{name: memberName(f.Name(), m.Name(), typ), typ: "string", compound: f.Name(), member: m.Name()}
			if m.Name() == "Latitude" || m.Name() == "Longitude" {
				part.typ = "double"
			}
			fields = append(fields, part)
		}
	}
	return fields
}

// plainType returns describe's name for the type of a field whose doc names none.
func plainType(s avro.Schema) string {
	union, _ := s.(*avro.UnionSchema)
	for _, typ := range []avro.Type{avro.Boolean, avro.Int, avro.Long, avro.Double} {
		if s.Type() == typ || union != nil && union.Contains(typ) {
			return string(typ)
		}
	}
	return "string"
}

// captures reports whether the change events of the object have a field.
func (o *sobject) captures(name string) bool {
	if o.types == nil {
		return false
	}
	f, _ := field(o.types, name)
	return f != nil
}

// memberName returns the name that a member of a compound has as a field: BillingStreet of
// BillingAddress, Site__Latitude__s of Site__c, FirstName of Name.
func memberName(field, member, typ string) string {
	if custom, ok := strings.CutSuffix(field, "__c"); ok {
		return custom + "__" + member + "__s"
	}
	if typ == "address" || typ == "location" {
		return strings.TrimSuffix(field, "Address") + member
	}
	return member
}

// field returns a field by its name, in any case.
func (o *sobject) field(name string) (sobjectField, bool) {
	for _, f := range o.fields {
		if strings.EqualFold(f.name, name) {
			return f, true
		}
	}
	return sobjectField{}, false
}

// value returns the value of the field of a record.
func (f sobjectField) value(rec map[string]any) any {
	switch members, compound := rec[f.name].(map[string]any); {
	case f.compound != "":
		members, _ := rec[f.compound].(map[string]any)
		return members[f.member]
	case f.typ == "address" || f.typ == "location":
		if !compound {
			return nil
		}
		return members
	case compound: // a name
		var parts []string
		for _, part := range []string{"FirstName", "LastName"} {
			if text, _ := members[part].(string); text != "" {
				parts = append(parts, text)
			}
		}
		return strings.Join(parts, " ")
	}
	if at, ok := rec[f.name].(time.Time); ok && f.typ == "date" {
		return at.UTC().Truncate(24 * time.Hour)
	}
	return rec[f.name]
}

// json returns a value of the field in the form that the REST API gives it.
func (f sobjectField) json(v any) any {
	switch v := v.(type) {
	case time.Time:
		switch f.typ {
		case "date":
			return v.UTC().Format(dateOnly)
		case "time":
			return v.UTC().Format(timeOnly)
		}
		return restTime(v)
	case map[string]any:
		members := make(map[string]any, len(v))
		for name, value := range v {
			members[strings.ToLower(name[:1])+name[1:]] = value
		}
		return members
	}
	return v
}

// restTime returns a time as the REST API writes it.
func restTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000-0700") }

// rows returns the values of all records of an object, in the order of their ids.
func (r *records) rows(o *sobject) []map[string]any {
	var rows []map[string]any
	for _, rec := range r.all(o.name) {
		row := make(map[string]any, len(o.fields))
		for _, f := range o.fields {
			row[f.name] = f.value(rec)
		}
		rows = append(rows, row)
	}
	return rows
}

// uncaptured returns an object whose changes are not captured: one that every org has, or one of
// which records are known, because PushTopics follow it. Beside the standard fields of such an
// object it has those that its records have.
func (s *Server) uncaptured(name string) (*sobject, bool) {
	o, r := &sobject{fields: standardFields()}, &s.records
	if standard, fields, ok := standardObject(name); ok {
		o.name, o.types = standard, fields
		o.fields = fieldsOf(fields)
	}
	r.mu.Lock()
	for object := range r.objects {
		if strings.EqualFold(object, name) {
			o.name = object
		}
	}
	r.mu.Unlock()
	if o.name == "" {
		return nil, false
	}
	for _, rec := range r.all(o.name) {
		for field := range rec {
			if _, known := o.field(field); !known {
				o.fields = append(o.fields, sobjectField{name: field, typ: "anyType"})
			}
		}
	}
	o.rows = func() []map[string]any { return r.rows(o) }
	return s.withRecordType(o), true
}
