package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"regexp"
	"strings"
	"testing"
)

// compiles returns what is wrong with a generated file, nil if it compiles.
func compiles(source []byte) error {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "gen.go", source, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	_, err = (&types.Config{Importer: imports{}}).Check("p", fset, []*ast.File{file}, nil)
	return err
}

// imports stands in for the packages that generated files import.
type imports struct{}

func (imports) Import(path string) (*types.Package, error) {
	source := map[string]string{
		"time": "package time; type Time struct{}",
		"github.com/sfstream/sfstream-go/sfstream": "package sfstream; type Optional[T any] struct{ value T }",
	}[path]
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "imported.go", source, 0)
	if err != nil {
		return nil, fmt.Errorf("import of %q: %w", path, err)
	}
	return new(types.Config).Check(path, fset, []*ast.File{file}, nil)
}

const (
	header = `{"name": "ChangeEventHeader", "type": {"type": "record", "name": "ChangeEventHeader", "fields": [
		{"name": "changeType", "type": "string"}]}}`
	place = `{"type": "record", "name": "Place", "fields": [{"name": "City", "type": ["null", "string"]}]}`
	house = `{"type": "record", "name": "Place", "fields": [{"name": "House", "type": ["null", "string"]}]}`
)

func event(name string, fields ...string) string {
	return fmt.Sprintf(`{"type": "record", "name": %q, "namespace": "com.sforce.eventbus", "fields": [%s]}`, name, strings.Join(fields, ","))
}

func ofType(name, typ, doc string) string {
	return fmt.Sprintf(`{"name": %q, "type": %s, "doc": %q, "default": null}`, name, typ, doc)
}

// jsonTag matches the tag json, which the tests leave out because it repeats the name in the tag
// sf; the test of examples/changes compares it.
var jsonTag = regexp.MustCompile(` json:"[^"]+"` + "`")

func TestStructsOfSchemas(t *testing.T) {
	for _, test := range []struct {
		name    string
		schemas []string
		want    string // the types, with one space for each run of space
	}{
		{"a platform event", []string{event("Order_Taken__e",
			ofType("CreatedDate", `"long"`, "CreatedDate:DateTime"),
			ofType("Number__c", `["null", "string"]`, "Data:Text:00NgL00000vXMFS"),
			ofType("Count__c", `["null", "int"]`, "Data:Integer"),
			ofType("Due__c", `["null", "long"]`, "Data:DateOnly"),
			ofType("At__c", `["long", "null"]`, "Data:TimeOnly"),
			ofType("Born__c", `["null", "long"]`, "Data:Birthday"),
			ofType("Rush__c", `["null", "boolean"]`, ""),
			ofType("Tags__c", `["null", "string"]`, "Data:MultiEnum"),
			ofType("Where__c", `["null", `+place+`]`, "Data:Place"),
			ofType("There__c", `"Place"`, "Data:Place"))},
			`type OrderTakenEvent struct {
				CreatedDate time.Time ‹sf:"CreatedDate"› // DateTime
				Number *string ‹sf:"Number__c"› // Text
				Count *int32 ‹sf:"Count__c"› // Integer
				Due *time.Time ‹sf:"Due__c"› // DateOnly
				At *time.Time ‹sf:"At__c"› // TimeOnly
				Born *time.Time ‹sf:"Born__c"› // Birthday
				Rush *bool ‹sf:"Rush__c"›
				Tags []string ‹sf:"Tags__c"› // MultiEnum
				Where *Place ‹sf:"Where__c"› // Place
				There Place ‹sf:"There__c"› // Place
			}
			type Place struct { City *string ‹sf:"City"› }`},
		{"a change event", []string{event("Foo__ChangeEvent", header,
			ofType("Name", `["null", "string", {"type": "record", "name": "Full", "fields": [{"name": "Last", "type": "string"}]}]`, "Data:Switchable_PersonName"),
			ofType("Amount__c", `["null", "double"]`, "Data:Currency"),
			ofType("Tags__c", `["null", "string"]`, "Data:MultiEnum"),
			ofType("LastModifiedDate", `["null", "long"]`, "Data:DateTime"),
			ofType("Where__c", `["null", `+place+`]`, "Data:Place"))},
			`type FooChangeEvent struct {
				Name sfstream.Optional[any] ‹sf:"Name"› // Switchable_PersonName: string or record
				Amount sfstream.Optional[float64] ‹sf:"Amount__c"› // Currency
				Tags sfstream.Optional[[]string] ‹sf:"Tags__c"› // MultiEnum
				LastModifiedDate sfstream.Optional[time.Time] ‹sf:"LastModifiedDate"› // DateTime
				Where sfstream.Optional[Place] ‹sf:"Where__c"› // Place
			}
			type Place struct { City sfstream.Optional[string] ‹sf:"City"› }`},
		{"what Salesforce has not yet", []string{event("X__e",
			ofType("A", `{"type": "array", "items": ["null", "long"]}`, "Data:DateTime"),
			ofType("B", `["null", {"type": "array", "items": "string"}]`, ""),
			ofType("C", `{"type": "map", "values": "float"}`, ""),
			ofType("D", `["null", "bytes"]`, ""),
			ofType("E", `{"type": "enum", "name": "Kind", "symbols": ["ONE"]}`, ""),
			ofType("F", `["null", "Kind"]`, ""),
			ofType("G", `{"type": "fixed", "name": "Four", "size": 4}`, ""),
			ofType("H", `"null"`, ""),
			ofType("I", `["null", "long", {"type": "array", "items": "int"}]`, "Data:DateTime"))},
			`type XEvent struct {
				A []*int64 ‹sf:"A"› // DateTime
				B []string ‹sf:"B"›
				C map[string]float64 ‹sf:"C"›
				D []byte ‹sf:"D"›
				E string ‹sf:"E"›
				F *string ‹sf:"F"›
				G []byte ‹sf:"G"›
				H any ‹sf:"H"›
				I any ‹sf:"I"› // DateTime: long or array
			}`},
		{"names", []string{event("ns__order__e",
			ofType("Type__c", `"int"`, ""), ofType("Type", `"int"`, ""), ofType("Type__pc", `"int"`, ""), ofType("TypeC", `"int"`, ""),
			ofType("type", `"int"`, ""), ofType("type_", `"int"`, ""), ofType("ns__Type__c", `"int"`, ""),
			ofType("_1st__c", `"int"`, ""), ofType("___", `"int"`, ""), ofType("func", `"int"`, ""))},
			`type NsOrderEvent struct {
				TypeC2 int32 ‹sf:"Type__c"›
				Type int32 ‹sf:"Type"›
				TypePc int32 ‹sf:"Type__pc"›
				TypeC int32 ‹sf:"TypeC"›
				Type2 int32 ‹sf:"type"›
				Type3 int32 ‹sf:"type_"›
				NsType int32 ‹sf:"ns__Type__c"›
				X1st int32 ‹sf:"_1st__c"›
				X int32 ‹sf:"___"›
				Func int32 ‹sf:"func"›
			}`},
		{"events of one name", []string{event("Order__e"), event("Order_Event__e"), event("OrderEvent")},
			`type OrderEvent struct { } type OrderEventE struct { } type OrderEvent2 struct { }`},
		{"compounds of several events", []string{
			event("AChangeEvent", header, ofType("P", place, "")), event("BChangeEvent", header, ofType("P", place, ""), ofType("Q", `"Place"`, "")),
			event("CChangeEvent", header, ofType("P", house, "")), event("D__e", ofType("P", place, "")), event("Place")},
			`type AChangeEvent struct { P sfstream.Optional[AChangeEventPlace] ‹sf:"P"› }
			type BChangeEvent struct { P sfstream.Optional[AChangeEventPlace] ‹sf:"P"› Q sfstream.Optional[AChangeEventPlace] ‹sf:"Q"› }
			type CChangeEvent struct { P sfstream.Optional[CChangeEventPlace] ‹sf:"P"› }
			type DEvent struct { P DEventPlace ‹sf:"P"› }
			type Place struct { }
			type AChangeEventPlace struct { City sfstream.Optional[string] ‹sf:"City"› }
			type CChangeEventPlace struct { House sfstream.Optional[string] ‹sf:"House"› }
			type DEventPlace struct { City *string ‹sf:"City"› }`},
		{"compounds of one shape", []string{event("X__e", ofType("A", place, ""), ofType("B", strings.Replace(place, "Place", "Town", 1), ""))},
			`type XEvent struct { A Place ‹sf:"A"› B Town ‹sf:"B"› }
			type Place struct { City *string ‹sf:"City"› }
			type Town struct { City *string ‹sf:"City"› }`},
		{"namespaces", []string{event("X__e",
			ofType("A", `{"type": "record", "name": "Place", "namespace": "geo", "fields": [
				{"name": "P", "type": {"type": "record", "name": "Point", "fields": []}}, {"name": "Q", "type": "Point"}]}`, ""),
			ofType("B", `{"type": "record", "name": "geo.sea.Point", "fields": [
				{"name": "P", "type": {"type": "record", "name": "Depth", "fields": []}}, {"name": "Q", "type": "geo.sea.Depth"}]}`, ""),
			ofType("C", house, ""), ofType("D", `"Place"`, ""), ofType("E", `"geo.Place"`, ""), ofType("F", `{"type": ["null", {"type": "geo.Point"}]}`, ""))},
			`type XEvent struct {
				A Place ‹sf:"A"›
				B XEventPoint ‹sf:"B"›
				C XEventPlace ‹sf:"C"›
				D XEventPlace ‹sf:"D"›
				E Place ‹sf:"E"›
				F *Point ‹sf:"F"›
			}
			type Point struct { }
			type Place struct { P Point ‹sf:"P"› Q Point ‹sf:"Q"› }
			type Depth struct { }
			type XEventPoint struct { P Depth ‹sf:"P"› Q Depth ‹sf:"Q"› }
			type XEventPlace struct { House *string ‹sf:"House"› }`},
		{"docs that are none", []string{event("X__e", ofType("A", `"int"`, "Data:a\nvar x int"), ofType("B", `"int"`, "*/"), ofType("C", `"int"`, "Data:É"))},
			`type XEvent struct { A int32 ‹sf:"A"› B int32 ‹sf:"B"› C int32 ‹sf:"C"› }`},
	} {
		t.Run(test.name, func(t *testing.T) {
			var schemas []channelSchema
			for i, text := range test.schemas {
				schemas = append(schemas, channelSchema{[]string{fmt.Sprintf("/event/E%d__e", i)}, "time.Time\nvar y sfstream.Optional[int]", text})
			}
			source, err := structs("p", schemas)
			if err != nil {
				t.Fatal(err)
			}
			if err := compiles(source); err != nil {
				t.Errorf("it does not compile: %v", err)
			}
			var got []string
			for line := range strings.Lines(jsonTag.ReplaceAllString(string(source), "`")) {
				if strings.HasPrefix(line, "type ") || len(got) > 0 && !strings.HasPrefix(line, "//") {
					got = append(got, strings.Fields(line)...)
				}
			}
			want := strings.Join(strings.Fields(strings.NewReplacer("‹", "`", "›", "`").Replace(test.want)), " ")
			if got := strings.ReplaceAll(strings.Join(got, " "), "{}", "{ }"); got != want {
				t.Errorf("got\n%s\nwant\n%s\nof\n%s", got, want, source)
			}
		})
	}
}

func TestSchemasThatMakeNoStructs(t *testing.T) {
	for _, test := range []struct{ name, schema, text string }{
		{"no JSON", `{`, "unexpected end"},
		{"no record", `"string"`, "an event is a record"},
		{"a name that is none", event("X__e", ofType("a b", `"int"`, "")), "a b"},
		{"a field without a name", event("X__e", `{"Name": "A", "type": "int"}`), "no name of a field"},
		{"a type without a name", event("X__e", ofType("A", `{"type": "record", "NAME": "A", "fields": []}`, "")), "no name of a type"},
		{"an unknown type", event("X__e", ofType("A", `"Place"`, "")), "Place"},
		{"too deep", event("X__e", ofType("A", strings.Repeat(`{"type":"array","items":`, 1000)+`"int"`+strings.Repeat("}", 1000), "")), "deep"},
		{"a record in itself", event("X__e", ofType("A", `{"type": "record", "name": "L", "fields": [{"name": "Next", "type": ["null", "L"]}]}`, "")), "A: Next: the record contains itself"},
		{"the event in itself", event("X__e", ofType("A", `["null", "X__e"]`, "")), "contains itself"},
	} {
		t.Run(test.name, func(t *testing.T) {
			source, err := structs("p", []channelSchema{{[]string{"/event/X__e"}, "abc", test.schema}})
			if err == nil || !strings.Contains(err.Error(), test.text) || !strings.Contains(err.Error(), "/event/X__e") {
				t.Errorf("error %v, want one about %q; source %s", err, test.text, source)
			}
		})
	}
}

func TestNamesAndSchemaIDsAreConstants(t *testing.T) {
	source, err := structs("p", []channelSchema{
		{[]string{"/event/Order__e"}, "abc", event("Order__e")},
		{[]string{"/data/AccountChangeEvent"}, "d-_", event("AccountChangeEvent")},
		{[]string{"/event/OrderEventName__e"}, "ghi", event("OrderEventName")}, // its struct has the name of the first event's constant
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := compiles(source); err != nil {
		t.Errorf("it does not compile: %v", err)
	}
	got := strings.Join(strings.Fields(string(source)), " ")
	want := `const ( OrderEventName2 = "Order__e" OrderEventSchemaID = "abc" AccountChangeEventName = "AccountChangeEvent" AccountChangeEventSchemaID = "d-_" ` +
		`OrderEventNameName = "OrderEventName" OrderEventNameSchemaID = "ghi" )`
	if !strings.Contains(got, want) {
		t.Errorf("got %s\nwant %s", source, want)
	}
}
