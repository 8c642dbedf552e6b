package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/sfstream/sfstream-go/sfstream/internal/avro"
)

// avroType is a type of a schema. Unlike package avro it keeps the docs.
type avroType struct {
	kind   string // record, union, array, map, enum, fixed, or a primitive's name
	name   string // the name of a record, without its namespace
	fields []avroField
	parts  []*avroType // the branches of a union, the items of an array or a map
}

type avroField struct {
	name string
	typ  *avroType
	of   string // Salesforce's type, as DynamicEnum; empty if it is not known
}

// parseSchema reads the schema of an event. It refuses schemas with which the client cannot decode,
// and so those that are nested too deep.
func parseSchema(text string) (event *avroType, isChange bool, err error) {
	checked, err := avro.Parse(text)
	if err != nil {
		return nil, false, err
	}
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return nil, false, err
	}
	event, err = schemaReader{}.read(v, "")
	return event, checked.IsChangeEvent(), err
}

// schemaReader has the named types by their full name.
type schemaReader map[string]*avroType

func (r schemaReader) read(v any, namespace string) (*avroType, error) {
	switch v := v.(type) {
	case string:
		if known := r[fullName(v, namespace)]; known != nil {
			return known, nil
		}
		return &avroType{kind: v}, nil
	case []any:
		return r.parts("union", v, namespace)
	case map[string]any:
		kind, simple := v["type"].(string)
		if !simple {
			return r.read(v["type"], namespace)
		}
		switch kind {
		case "array":
			return r.parts(kind, []any{v["items"]}, namespace)
		case "map":
			return r.parts(kind, []any{v["values"]}, namespace)
		case "record", "error", "enum", "fixed":
			return r.named(kind, v, namespace)
		}
		return r.read(kind, namespace)
	}
	return nil, errors.New("a type is missing")
}

func (r schemaReader) parts(kind string, of []any, namespace string) (*avroType, error) {
	t := &avroType{kind: kind}
	for _, v := range of {
		part, err := r.read(v, namespace)
		if err != nil {
			return nil, err
		}
		t.parts = append(t.parts, part)
	}
	return t, nil
}

func (r schemaReader) named(kind string, v map[string]any, namespace string) (*avroType, error) {
	name, _ := v["name"].(string)
	if own, ok := v["namespace"].(string); ok {
		namespace = own
	}
	name = fullName(name, namespace)
	t := &avroType{kind: kind, name: name}
	r[name] = t
	if dot := strings.LastIndexByte(name, '.'); dot >= 0 {
		namespace, t.name = name[:dot], name[dot+1:]
	}
	if !identifier.MatchString(t.name) {
		return nil, fmt.Errorf("%q is no name of a type", t.name)
	}
	if kind == "enum" || kind == "fixed" {
		return t, nil
	}
	t.kind = "record"
	fields, _ := v["fields"].([]any)
	for _, v := range fields {
		v, _ := v.(map[string]any)
		name, _ := v["name"].(string)
		doc, _ := v["doc"].(string)
		if !identifier.MatchString(name) {
			return nil, fmt.Errorf("%s: %q is no name of a field", t.name, name)
		}
		typ, err := r.read(v["type"], namespace)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", t.name, name, err)
		}
		t.fields = append(t.fields, avroField{name, typ, salesforceType(doc)})
	}
	return t, nil
}

func fullName(name, namespace string) string {
	if namespace == "" || strings.Contains(name, ".") {
		return name
	}
	return namespace + "." + name
}

// identifier matches the names that Salesforce and Avro allow. Such a name can stand in a comment
// and in a tag.
var identifier = regexp.MustCompile(`^\w+$`)

// salesforceType returns the type that a field's doc names, as in "Data:DynamicEnum" or, with the
// field's id, "Data:DateTime:00N000000000012".
func salesforceType(doc string) string {
	_, rest, _ := strings.Cut(doc, ":")
	typ, _, _ := strings.Cut(rest, ":")
	if !identifier.MatchString(typ) {
		return ""
	}
	return typ
}
