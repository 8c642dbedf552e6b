package avro

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

// encodeField encodes v as the field F of type typ, whose doc is Data:of, and decodes it.
func encodeField(t *testing.T, typ, of string, v any) (any, error) {
	t.Helper()
	return encodeEvent(t, typ, of, m{"F": v})
}

func encodeEvent(t *testing.T, typ, of string, v any) (any, error) {
	t.Helper()
	s := mustParse(t, `{"type":"record","name":"X__e","fields":[{"name":"F","type":`+typ+`,"doc":"Data:`+of+`"}]}`)
	payload, err := newBinder().Append(nil, s, v, System{})
	if err != nil {
		if e, ok := errors.AsType[*Error](err); !ok || e.Field != "F" && !strings.HasPrefix(e.Field, "F.") {
			t.Errorf("%v does not name the field", err)
		}
		return nil, err
	}
	fields, err := s.decoded(payload)
	if err != nil {
		t.Fatal(err)
	}
	return fields["F"], nil
}

type refused struct{}

func TestAppendTakesWhatFitsWithoutLoss(t *testing.T) {
	sydney := time.FixedZone("Sydney", 11*60*60)
	night := time.Date(2025, 6, 1, 1, 2, 3, 4_999_999, sydney)
	list := []struct {
		typ, of string
		v, want any
	}{
		{`"long"`, "", int8(-5), int64(-5)},
		{`"long"`, "", uint64(math.MaxInt64), int64(math.MaxInt64)},
		{`"long"`, "", uint64(math.MaxInt64 + 1), refused{}},
		{`"long"`, "", 2.0, int64(2)},
		{`"long"`, "", 1.5, refused{}},
		{`"long"`, "", math.Pow(2, 62), int64(1 << 62)},
		{`"long"`, "", math.Pow(2, 63), refused{}},
		{`"long"`, "", -math.Pow(2, 63), int64(math.MinInt64)},
		{`"long"`, "", math.NaN(), refused{}},
		{`"long"`, "", math.Inf(1), refused{}},
		{`"long"`, "", json.Number("1735689600123456789"), int64(1735689600123456789)},
		{`"long"`, "", json.Number("1e3"), int64(1000)},
		{`"long"`, "", json.Number("1.0"), int64(1)},
		{`"long"`, "", json.Number("1.5"), refused{}},
		{`"long"`, "", json.Number("12345678901234567.0"), refused{}},
		{`"long"`, "", json.Number("9223372036854775808"), refused{}},
		{`"long"`, "", json.Number("x"), refused{}},
		{`"long"`, "", "1", refused{}},
		{`"long"`, "", true, refused{}},
		{`"long"`, "", night, refused{}},
		{`"int"`, "", int64(math.MaxInt32), int64(math.MaxInt32)},
		{`"int"`, "", int64(math.MaxInt32 + 1), refused{}},
		{`"int"`, "", json.Number("-2147483649"), refused{}},
		{`"double"`, "", int64(1 << 53), float64(1 << 53)},
		{`"double"`, "", int64(1<<53 + 1), refused{}},
		{`"double"`, "", int64(math.MaxInt64), refused{}},
		{`"double"`, "", uint64(1 << 63), float64(1 << 63)},
		{`"double"`, "", uint64(math.MaxUint64), refused{}},
		{`"double"`, "", float32(0.1), float64(float32(0.1))},
		{`"double"`, "", math.NaN(), refused{}},
		{`"double"`, "", math.Inf(-1), refused{}},
		{`"double"`, "", json.Number("58.2"), 58.2},
		{`"double"`, "", json.Number("100.00000000000000000000"), 100.0},
		{`"double"`, "", json.Number("0.30000000000000004"), 0.30000000000000004},
		{`"double"`, "", json.Number("9007199254740993"), refused{}},
		{`"double"`, "", json.Number("1e999"), refused{}},
		{`"double"`, "", "58.2", refused{}},
		{`"float"`, "", 0.5, 0.5},
		{`"float"`, "", 0.1, refused{}},
		{`"boolean"`, "", true, true},
		{`"boolean"`, "", "true", refused{}},
		{`"boolean"`, "", 1, refused{}},
		{`"string"`, "Text", "é", "é"},
		{`"string"`, "Text", "é\xff", refused{}},
		{`"string"`, "Text", "abcdefgh\xc3", refused{}},
		{`"string"`, "Text", "abcd\xc3", refused{}},
		{`"string"`, "Text", "\xc3", refused{}},
		{`"string"`, "Text", json.Number("1"), refused{}},
		{`"string"`, "Text", 1, refused{}},
		{`"string"`, "Text", time.UnixMilli(0), "1970-01-01T00:00:00.000Z"},
		{`"string"`, "Text", []byte("x"), refused{}},
		{`"string"`, "MultiEnum", []string{"a", "b"}, "a;b"},
		{`"string"`, "MultiEnum", []any{"a", word("b")}, "a;b"},
		{`"string"`, "MultiEnum", []string{}, ""},
		{`"string"`, "MultiEnum", []string(nil), ""},
		{`"string"`, "MultiEnum", []string{"a;b"}, refused{}},
		{`"string"`, "MultiEnum", []any{"a", 1}, refused{}},
		{`["null","string"]`, "MultiEnum", []string(nil), nil},
		{`["null","string"]`, "Text", (*string)(nil), nil},
		{`["string","null"]`, "Text", nil, nil},
		{`["string","null"]`, "Text", "", ""},
		{`["null","long"]`, "DateTime", night, "2025-05-31T14:02:03.004Z"},
		{`["null","long"]`, "DateTime", time.Time{}, nil},
		{`["null","long"]`, "DateTime", "2025-05-31T14:02:03.004Z", "2025-05-31T14:02:03.004Z"},
		{`["null","long"]`, "DateTime", time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), refused{}},
		{`["null","long"]`, "DateTime", time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC), refused{}},
		{`["null","long"]`, "DateTime", time.Unix(1<<60, 0), refused{}},
		{`["null","long"]`, "DateTime", "2025-06-01", refused{}},
		{`["null","long"]`, "DateTime", "10:30:00.000Z", refused{}},
		{`["null","long"]`, "DateTime", json.Number("1000"), "1970-01-01T00:00:01.000Z"},
		{`["null","long"]`, "DateTime", int64(math.MaxInt64), int64(math.MaxInt64)},
		{`["null","long"]`, "DateTime", time.Second, refused{}},
		{`["null","long"]`, "DateTime", []string{}, refused{}},
		{`["null","long"]`, "DateOnly", night, "2025-06-01"},
		{`["null","long"]`, "DateOnly", "2025-06-01", "2025-06-01"},
		{`["null","long"]`, "DateOnly", "2025-06-01T00:00:00.000Z", refused{}},
		{`["null","long"]`, "Birthday", int64(-86400000), "1969-12-31"},
		{`["null","long"]`, "DateOnly", int64(86400001), refused{}},
		{`["null","long"]`, "TimeOnly", night, "01:02:03.004Z"},
		{`["null","long"]`, "TimeOnly", "10:30:00.000Z", "10:30:00.000Z"},
		{`["null","long"]`, "TimeOnly", "2025-06-01", refused{}},
		{`["null","long"]`, "TimeOnly", 86399999, "23:59:59.999Z"},
		{`["null","long"]`, "TimeOnly", 86400000, refused{}},
		{`["null","long"]`, "TimeOnly", -1, refused{}},
		{`["null",{"type":"enum","name":"E","symbols":["A","B"]}]`, "", word("B"), "B"},
		{`["null",{"type":"enum","name":"E","symbols":["A","B"]}]`, "", "C", refused{}},
		{`["null",{"type":"enum","name":"E","symbols":["A","B"]}]`, "", "", nil},
		{`{"type":"fixed","name":"X","size":2}`, "", [2]byte{1, 2}, []byte{1, 2}},
		{`{"type":"fixed","name":"X","size":2}`, "", []byte{1}, refused{}},
		{`"bytes"`, "", []byte{1}, []byte{1}},
		{`"bytes"`, "", "AQ==", refused{}},
		{`{"type":"array","items":["null","int"]}`, "", []any{1, nil, new(2)}, []any{int64(1), nil, int64(2)}},
		{`{"type":"array","items":"int"}`, "", []any{1, nil}, refused{}},
		{`{"type":"array","items":"int"}`, "", 1, refused{}},
		{`{"type":"map","values":"int"}`, "", map[word]int{"a": 1}, m{"a": int64(1)}},
		{`{"type":"map","values":"int"}`, "", map[int]int{1: 1}, refused{}},
		{`["null","string",{"type":"record","name":"N","fields":[{"name":"L","type":"string"}]}]`, "", "x", "x"},
		{`["null","string",{"type":"record","name":"N","fields":[{"name":"L","type":"string"}]}]`, "", m{"L": "x"}, m{"L": "x"}},
		{`["null","string",{"type":"record","name":"N","fields":[{"name":"L","type":"string"}]}]`, "", struct{ L string }{"x"}, m{"L": "x"}},
		{`["null","string",{"type":"record","name":"N","fields":[{"name":"L","type":"string"}]}]`, "", m{"L": 1}, refused{}},
		{`["null","string",{"type":"record","name":"N","fields":[{"name":"L","type":"string"}]}]`, "", map[string]string{"L": "x"}, m{"L": "x"}},
		{`["null","string",{"type":"record","name":"N","fields":[{"name":"L","type":"string"}]}]`, "", map[string]string{"M": "x"}, refused{}},
		{`["null","long","double"]`, "", 1.5, 1.5},
		{`["null"]`, "", 1, refused{}},
		{`"null"`, "", nil, nil},
		{`"null"`, "", 1, refused{}},
		{`"string"`, "Text", nil, refused{}},
		{`"string"`, "Text", make(chan int), refused{}},
		{`"string"`, "Text", loop(new(loop)), refused{}},
		{`["null","string"]`, "Text", maybe[*string]{new("x"), "set"}, "x"},
		{`["null","string"]`, "Text", maybe[string]{"x", "enriched"}, nil},
	}
	for _, l := range list {
		got, err := encodeField(t, l.typ, l.of, l.v)
		if l.v != nil { // a struct with the value, and one with a pointer to it
			for _, of := range []reflect.Type{reflect.TypeOf(l.v), reflect.PointerTo(reflect.TypeOf(l.v))} {
				event := reflect.New(reflect.StructOf([]reflect.StructField{{Name: "F", Type: of}}))
				if of.Kind() == reflect.Pointer && of.Elem() == reflect.TypeOf(l.v) {
					event.Elem().Field(0).Set(reflect.New(of.Elem()))
					event.Elem().Field(0).Elem().Set(reflect.ValueOf(l.v))
				} else {
					event.Elem().Field(0).Set(reflect.ValueOf(l.v))
				}
				same, bad := encodeEvent(t, l.typ, l.of, event.Interface())
				if (bad != nil) != (err != nil) || bad != nil && bad.Error() != err.Error() || !reflect.DeepEqual(same, got) {
					t.Errorf("%s %s in a struct as %s: %v %v, in a map %v %v", l.typ, l.of, of, same, bad, got, err)
				}
			}
		}
		if (err != nil) != (l.want == refused{}) || err == nil && !reflect.DeepEqual(got, l.want) {
			t.Errorf("%s %s of %T %v: %#v, %v", l.typ, l.of, l.v, l.v, got, err)
		}
	}
}

func TestAppendFillsInWhatTheEventDoesNotSay(t *testing.T) {
	s := mustParse(t, `{"type":"record","name":"X__e","fields":[
		{"name":"CreatedDate","type":"long","doc":"CreatedDate:DateTime"},
		{"name":"CreatedById","type":"string","doc":"CreatedBy:EntityId"},
		{"name":"Kind__c","type":"string","default":"none"},
		{"name":"Level__c","type":["long","null"],"default":3},
		{"name":"Note__c","type":["null","string"],"default":null}]}`)
	with := System{time.UnixMilli(1735689660000), "005"}
	filled := m{"CreatedDate": "2025-01-01T00:01:00.000Z", "CreatedById": "005", "Kind__c": "none", "Level__c": int64(3), "Note__c": nil}
	set := m{"CreatedDate": "1970-01-01T00:00:00.001Z", "CreatedById": "006", "Kind__c": "", "Level__c": int64(0), "Note__c": ""}
	type event struct {
		CreatedDate time.Time
		CreatedById string
		Kind__c     string  `json:",omitempty"`
		Level__c    *int64  `json:"Level__c,omitzero"`
		Note        *string `sf:"Note__c" json:"n,omitempty"`
		Ignored     string  `json:"-"`
		AlsoIgnored string  `sf:"-"`
		unexported  int
	}
	_ = event{}.unexported
	type base struct{ CreatedById, Kind__c string }
	for _, l := range []struct {
		v    any
		want m
	}{
		{m{}, filled},
		{map[string]string{"CreatedById": ""}, filled},
		{m{"CreatedDate": json.Number("0"), "CreatedById": ""}, filled},
		{m{"CreatedDate": nil, "CreatedById": (*string)(nil), "Kind__c": nil, "Note__c": nil}, filled},
		{event{Ignored: "x", AlsoIgnored: "x"}, filled},
		{&event{}, filled},
		{struct{}{}, filled},
		{&struct{ *base }{}, filled},
		{&struct {
			*base
			Level__c int
			Note__c  any
		}{&base{"006", ""}, 0, ""}, m{"CreatedDate": filled["CreatedDate"], "CreatedById": "006", "Kind__c": "", "Level__c": int64(0), "Note__c": ""}},
		{set, set},
		{event{CreatedDate: time.UnixMilli(1), CreatedById: "006", Kind__c: "x", Level__c: new(int64(0)), Note: new("")},
			m{"CreatedDate": set["CreatedDate"], "CreatedById": "006", "Kind__c": "x", "Level__c": int64(0), "Note__c": ""}},
	} {
		payload, err := newBinder().Append(nil, s, l.v, with)
		if err != nil {
			t.Errorf("%T %+v: %v", l.v, l.v, err)
			continue
		}
		if got, _ := s.decoded(payload); !reflect.DeepEqual(got, l.want) {
			t.Errorf("%T %+v:\n got %v\nwant %v", l.v, l.v, got, l.want)
		}
	}
	if m := (m{"CreatedById": nil, "Level__c": nil}); true {
		payload, err := newBinder().Append(nil, s, m, with)
		if got, _ := s.decoded(payload); err != nil || got["Level__c"] != nil {
			t.Errorf("null is what the event says: %v, %v", got, err)
		}
	}
	for field, with := range map[string]System{"CreatedDate": {CreatedByID: "005"}, "CreatedById": {CreatedDate: time.UnixMilli(1)}} {
		_, err := newBinder().Append(nil, s, event{}, with)
		if e, ok := errors.AsType[*Error](err); !ok || e.Field != field || !errors.Is(err, errRequired) {
			t.Errorf("%s: %v", field, err)
		}
	}
}
