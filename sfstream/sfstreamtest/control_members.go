package sfstreamtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
)

// parameter is a member of a control request, or of its reply.
type parameter struct {
	Name     string   `json:"name"`
	Type     string   `json:"type"`              // string, number, boolean, array or object
	Members  []string `json:"members,omitempty"` // of the object, or of each object of the array
	Required bool     `json:"required,omitempty"`
	About    string   `json:"about,omitempty"`
}

// parametersOf returns the parameters that the fields of Req are: their names are in the tag json,
// the text in the tag about. A text that begins with "!" is that of a required one.
func parametersOf[Req any]() []parameter {
	var list []parameter
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Req]()) {
		if f.Anonymous {
			continue // its fields are visible too
		}
		kind, members := jsonKind(f.Type)
		about, required := strings.CutPrefix(f.Tag.Get("about"), "!")
		list = append(list, parameter{jsonName(f), kind, members, required, about})
	}
	return list
}

func namesOf(list []parameter) []string {
	var names []string
	for _, p := range list {
		names = append(names, p.Name)
	}
	return names
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// jsonKind returns what a value of a type is in JSON, and the members that it has.
func jsonKind(t reflect.Type) (kind string, members []string) {
	switch t.Kind() {
	case reflect.Pointer:
		return jsonKind(t.Elem())
	case reflect.Bool:
		return "boolean", nil
	case reflect.String:
		return "string", nil
	case reflect.Slice:
		if t == reflect.TypeFor[json.RawMessage]() {
			return "object", nil
		}
		_, members = jsonKind(t.Elem())
		return "array", members
	case reflect.Struct:
		for _, f := range reflect.VisibleFields(t) {
			members = append(members, jsonName(f))
		}
		return "object", members
	case reflect.Map:
		return "object", nil
	}
	return "number", nil
}

// members are those of a request, each as JSON.
type members map[string]json.RawMessage

// bodyMembers reads a body, which is one JSON object.
func bodyMembers(body []byte, takes []parameter) (members, error) {
	known := namesOf(takes)
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, unknown("the request has no body: it is a JSON object", known)
	}
	var m members
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(&m); err != nil {
		return nil, unknown("the body is not a JSON object: "+err.Error(), known)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, unknown("there is something behind the JSON object", known)
	}
	maps.DeleteFunc(m, func(_ string, value json.RawMessage) bool { return string(value) == "null" }) // as if they were not there
	return m, nil
}

// queryMembers reads the query of a URL.
func queryMembers(query string, takes []parameter) (members, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, err
	}
	m := make(members)
	for name, list := range values {
		if len(list) > 1 {
			return nil, fmt.Errorf("%s is there %d times", name, len(list))
		}
		text, err := json.Marshal(list[0])
		if err != nil {
			return nil, err
		}
		if i := slices.Index(namesOf(takes), name); i >= 0 && takes[i].Type == "number" {
			if text = []byte(list[0]); !json.Valid(text) { // else it might begin with a number
				return nil, fmt.Errorf("%s is a number, and cannot be %q", name, list[0])
			}
		}
		m[name] = text
	}
	return m, nil
}

// check fails if a member is none of the parameters of what, or a required one is missing.
func (m members) check(what string, takes []parameter) error {
	known := namesOf(takes)
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(known, name) {
			return unknown(fmt.Sprintf("%s does not take %q", what, name), known)
		}
	}
	for _, p := range takes {
		if _, given := m[p.Name]; p.Required && !given {
			return unknown(fmt.Sprintf("%s needs %q", what, p.Name), known)
		}
	}
	return nil
}

// into sets the fields that have the names of the members.
func (m members) into(req any) error {
	v := reflect.ValueOf(req).Elem()
	for _, f := range reflect.VisibleFields(v.Type()) {
		text, given := m[jsonName(f)]
		if !given {
			continue
		}
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.UseNumber() // int64 stays exact
		dec.DisallowUnknownFields()
		err := dec.Decode(v.FieldByIndex(f.Index).Addr().Interface())
		if err == nil {
			continue
		}
		kind, members := jsonKind(f.Type)
		wrong := new(json.UnmarshalTypeError)
		switch _, field, isUnknown := strings.Cut(err.Error(), "unknown field "); {
		case isUnknown:
			return unknown(fmt.Sprintf("%s has no member %s", jsonName(f), field), members)
		case errors.As(err, &wrong) && wrong.Field != "":
			return fmt.Errorf("%s.%s cannot be a JSON %s", jsonName(f), wrong.Field, wrong.Value)
		case errors.As(err, &wrong):
			return fmt.Errorf("%s is a %s, and cannot be a JSON %s", jsonName(f), kind, wrong.Value)
		}
		return fmt.Errorf("%s: %w", jsonName(f), err)
	}
	return nil
}
