package avro

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestBindRefusesWhatIsNotWhole(t *testing.T) {
	s := load(t, "account")
	type account struct {
		ChangeEventHeader struct {
			RecordIDs []string `sf:"recordIds"`
		}
		Description, Phone maybe[string]
		Site_Location__c   *struct{ Latitude float64 }
	}
	payload := unhex(t, payload4)
	for end := range payload {
		if err := s.Bind(newBinder(), payload[:end], reflect.ValueOf(new(account)).Elem()); err == nil {
			t.Errorf("the first %d bytes are an account", end)
		}
	}
	if err := s.Bind(newBinder(), append(payload, 0), reflect.ValueOf(new(account)).Elem()); !errors.Is(err, errTrailing) {
		t.Error(err)
	}
}

func TestBindEndsInTypesThatContainThemselves(t *testing.T) {
	s := mustParse(t, `{"type":"record","name":"R","fields":[{"name":"N","type":"int"},{"name":"R","type":["null","R"]}]}`)
	type r struct {
		N int
		R *r
	}
	var got r
	if err := s.Bind(newBinder(), []byte{2, 2, 4, 2, 6, 0}, reflect.ValueOf(&got).Elem()); err != nil {
		t.Fatal(err)
	}
	if want := (r{1, &r{2, &r{3, nil}}}); !reflect.DeepEqual(got, want) {
		t.Errorf("%s", show(reflect.ValueOf(got)))
	}
	deep := append([]byte(strings.Repeat("\x02\x02", maxDepth)), 2, 0)
	if err := s.Bind(newBinder(), deep, reflect.ValueOf(&got).Elem()); !errors.Is(err, errDepth) {
		t.Error(err)
	}
}

// This test has nulledFields in all orders, with and without a value in the field. The schema is
// that of P1, with Description and Phone for texts and BillingAddress for a compound field.
func TestBindNullsWhatDecodeNulls(t *testing.T) {
	s := load(t, "account")
	type address struct {
		Street, City maybe[string]
		State        *string
		Latitude     float64
	}
	type account struct {
		Description    maybe[string]
		Phone          *string
		BillingAddress maybe[address]
		Name           *struct{ FirstName maybe[string] }
	}
	before := map[string]any{
		"Description": "old", "Phone": "old", "Name": map[string]any{"FirstName": "old"},
		"BillingAddress": map[string]any{"Street": "old", "City": "old", "State": "old", "Latitude": 1.5},
	}
	bitmaps := []string{"0x010000", "0x40", "0x10", "0x12", "4-0x03", "4-0x86", "1-0x06", "0-0x01", "0x01", "4-0xFFFF", "16-0x01", "", "junk"}
	for _, a := range bitmaps {
		for _, b := range bitmaps {
			for _, body := range []string{
				"\x00\x00\x00\x00\x00\x00\x00",
				"\x04\x00\x00\x00\x00\x00\x02\x00\x02\x06new\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x06new\x00",
			} {
				payload := "\x00\x00\x02\x00\x00\x02\x00\x00\x00" + // the header up to commitUser
					"\x04" + string(rune(2*len(a))) + a + string(rune(2*len(b))) + b + "\x00\x00\x00" + body
				payload += strings.Repeat("\x00", 27-1-7)
				if _, err := s.decoded([]byte(payload)); err != nil {
					t.Fatal(err)
				}
				if !compareBind(t, s, reflect.TypeFor[account](), before, []byte(payload)) {
					t.Errorf("%q, %q: no plan", a, b)
				}
			}
		}
	}
}

// This test has names that only look like those of the header, and records whose fields
// nulledFields cannot name.
func TestBindTellsPlacesApart(t *testing.T) {
	s := mustParse(t, `{"type":"record","name":"X","fields":[
		{"name":"ChangeEventHeader","type":{"type":"record","name":"H","fields":[
			{"name":"nulledFields","type":{"type":"array","items":"string"}},
			{"name":"changedFields","type":{"type":"array","items":"string"}},
			{"name":"Note","type":["null","string"]}]}},
		{"name":"Header","type":"H"},
		{"name":"Deep","type":{"type":"record","name":"D","fields":[
			{"name":"A","type":["null","string"]},
			{"name":"Deeper","type":{"type":"record","name":"E","fields":[{"name":"A","type":["null","string"]},{"name":"B","type":["null","string"]}]}}]}},
		{"name":"changedFields","type":{"type":"array","items":"string"}},
		{"name":"Two","type":["D","E","null"]}]}`)
	type list struct {
		Nulled  []string `sf:"nulledFields"`
		Changed []string `sf:"changedFields"`
		Note    maybe[string]
	}
	type deeper struct{ A, B maybe[string] }
	type deep struct {
		A      maybe[string]
		Deeper deeper
	}
	type event struct {
		ChangeEventHeader list
		Header            list
		Deep              deep
		Changed           []string `sf:"changedFields"`
		Two               deeper
	}
	lists := "\x04\x080x1F\x0c0-0x07\x00\x02\x080x06\x00\x00" // fields 0 to 4, the header's Note, and 1 and 2 have changed
	for _, nulled := range []string{"0x1F", "0x03", "2-0x03", "4-0x03", "4-0x01"} {
		lists := strings.Replace(lists, "\x080x1F", string(rune(2*len(nulled)))+nulled, 1)
		for two, planned := range map[string]bool{"\x00\x00\x00\x00": true, "\x02\x00\x00": false, "\x04": true} {
			payload := lists + "\x00\x02\x080x06\x00\x00" + "\x00\x00\x00" + "\x02\x080x06\x00" + two
			if got := compareBind(t, s, reflect.TypeFor[event](), nil, []byte(payload)); got != planned {
				t.Errorf("%s, %q: plan %v", nulled, two, got)
			}
		}
	}
}

// This test has more names than the schema has fields: Bind and Decode must stop at the same one.
func TestBindNullsWhatDecodeNullsOfNamesThatRepeatThemselves(t *testing.T) {
	s := mustParse(t, `{"type":"record","name":"X","fields":[
		{"name":"ChangeEventHeader","type":{"type":"record","name":"H","fields":[{"name":"nulledFields","type":{"type":"array","items":"string"}}]}},
		{"name":"A","type":["null","string"]}]}`)
	type event struct{ A maybe[string] }
	for repeats := range 5 { // 3 can be named
		payload := string(rune(2*(repeats+1))) + strings.Repeat("\x080x01", repeats) + "\x080x02\x00" + "\x00"
		if !compareBind(t, s, reflect.TypeFor[event](), nil, []byte(payload)) {
			t.Errorf("%d repeats: no plan", repeats)
		}
	}
}

func TestBindGoesWideWithoutGoingDeep(t *testing.T) {
	fields := `{"name":"A","type":{"type":"record","name":"E","fields":[]}}`
	var places []reflect.StructField
	for i := range 2 * maxDepth {
		name := fmt.Sprintf("A%d", i)
		fields += fmt.Sprintf(`,{"name":%q,"type":"E"}`, name)
		places = append(places, reflect.StructField{Name: name, Type: reflect.TypeFor[struct{}]()})
	}
	s := mustParse(t, `{"type":"record","name":"X","fields":[`+fields+`]}`)
	if err := s.Bind(newBinder(), nil, reflect.New(reflect.StructOf(places)).Elem()); err != nil {
		t.Error(err)
	}
}

func TestBindCutsTextsOfAnyLength(t *testing.T) {
	s := mustParse(t, `{"type":"record","name":"X","fields":[{"name":"A","type":"string"},{"name":"B","type":"string"},{"name":"C","type":"string"}]}`)
	type texts struct {
		A, C  string
		Again []string `sf:"A"`
	}
	for _, a := range []int{0, 1, textChunk - 2, textChunk, 2 * textChunk} {
		for _, b := range []int{0, textChunk - 1, textChunk + 1} {
			for _, c := range []int{0, 1, 3 * textChunk} {
				var payload []byte
				for i, n := range []int{a, b, c} {
					payload = binary.AppendVarint(payload, int64(n))
					payload = append(payload, bytes.Repeat([]byte{'a' + byte(i)}, n)...)
				}
				if !compareBind(t, s, reflect.TypeFor[texts](), nil, payload) {
					t.Error(a, b, c)
				}
			}
		}
	}
}

func TestBindGivesTimesAsDecodeDoes(t *testing.T) {
	type times struct {
		T    time.Time
		Ms   int64            `sf:"T"`
		Text string           `sf:"T"`
		Any  any              `sf:"T"`
		Ptr  *millis          `sf:"T"`
		Opt  maybe[time.Time] `sf:"T"`
	}
	for _, doc := range []string{"DateTime", "DateOnly", "TimeOnly", "Birthday"} {
		s := mustParse(t, `{"type":"record","name":"X","fields":[{"name":"T","type":["null","long"],"doc":"Data:`+doc+`"}]}`)
		for _, ms := range []int64{0, 1, -1, 1735689660123, -1735689660123, 86399999, 86400000, -62167219200000, 253402300799999, 253402300800000, -62167219200001} {
			payload := binary.AppendVarint([]byte{2}, ms)
			planned := compareBind(t, s, reflect.TypeFor[times](), nil, payload)
			if writable := -62167219200000 <= ms && ms <= 253402300799999; planned != writable {
				t.Errorf("%s %d: plan %v", doc, ms, planned)
			}
		}
	}
}

func TestAFloatTakesWholeNumbersThatItHolds(t *testing.T) {
	b := newBinder()
	for src, want := range map[int64][2]bool{ // float32, float64
		0: {true, true}, -1 << 24: {true, true}, 1<<24 + 1: {false, true}, -1<<24 - 2: {true, true},
		1<<53 + 1: {false, false}, -1<<53 - 1: {false, false}, 1e17: {false, true}, 1 << 62: {true, true},
		math.MinInt64: {true, true}, math.MaxInt64: {false, false}, math.MaxInt64 - 1: {false, false},
	} {
		var single float32
		var double float64
		got := [2]bool{b.Assign(reflect.ValueOf(&single).Elem(), src, nil, nil) == nil, b.Assign(reflect.ValueOf(&double).Elem(), src, nil, nil) == nil}
		if got != want || got[0] && int64(single) != src || got[1] && int64(double) != src || !got[0] && single != 0 || !got[1] && double != 0 {
			t.Errorf("%d: %v, want %v; %v %v", src, got, want, single, double)
		}
	}
}

type (
	Place struct{ City string }
	Tags  []string
	Note  struct{ Text string }
)

func TestAnEmbeddedStructWithATagIsAField(t *testing.T) {
	s := mustParse(t, `{"type":"record","name":"X","fields":[
		{"name":"Address","type":{"type":"record","name":"A","fields":[{"name":"City","type":"string"}]}},
		{"name":"City","type":"string"},{"name":"Text","type":"string"},{"name":"Tags__c","type":"string"},{"name":"Tags","type":"string"}]}`)
	type tagged struct {
		Place `sf:"Address"`
		Note  `sf:"-"`
		Tags  `sf:"Tags__c"`
	}
	type pointer struct {
		*Place `sf:"Address"`
		Note
	}
	payload := []byte("\x02a\x02b\x02c\x06d;e\x02f")
	for _, want := range []any{
		tagged{Place: Place{"a"}, Tags: Tags{"d", "e"}},
		pointer{Place: &Place{"a"}, Note: Note{"c"}},
	} {
		got := reflect.New(reflect.TypeOf(want)).Elem()
		if err := s.Bind(newBinder(), payload, got); err != nil || !reflect.DeepEqual(got.Interface(), want) {
			t.Errorf("got %s, %v; want %s", show(got), err, show(reflect.ValueOf(want)))
		}
		compareBind(t, s, reflect.TypeOf(want), nil, payload)
	}
}
