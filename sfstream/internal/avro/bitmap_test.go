package avro

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// FieldNames returns the names that bitmaps stand for.
func (s *Schema) FieldNames(bitmaps []string) []string {
	names := []string{}
	for _, bitmap := range bitmaps {
		names = s.appendNames(names, []byte(bitmap), s.paths)
	}
	return names
}

func TestBitmapsBecomeNames(t *testing.T) {
	for _, tt := range []struct {
		schema  string
		bitmaps []string
		want    []string
	}{
		{"account", nil, []string{}},
		{"account", []string{"0x400000"}, []string{"LastModifiedDate"}},
		{"account", []string{"0x410000"}, []string{"Description", "LastModifiedDate"}},
		{"account", []string{"0x2080"}, []string{"Fax", "NumberOfEmployees"}},
		{"opportunity", []string{"0x650004E0"}, []string{"StageName", "Amount", "Probability", "CloseDate",
			"LastModifiedDate", "LastStageChangeDate", "LastAmountChangedHistoryId", "LastCloseDateChangedHistoryId"}},
		{"opportunity", []string{"0xA0060140"}, // bit 31 is beyond this org's schema
			[]string{"Amount", "ExpectedRevenue", "ForecastCategoryName", "CampaignId", "LastAmountChangedHistoryId"}},
		{"opportunity", []string{"0x01000010"}, []string{"Description", "LastModifiedDate"}},
		{"account", []string{"4-0x01"}, []string{"BillingAddress.Street"}},
		{"account", []string{"4-0x06"}, []string{"BillingAddress.City", "BillingAddress.State"}},
		{"account", []string{"4-0x96"},
			[]string{"BillingAddress.City", "BillingAddress.State", "BillingAddress.Country", "BillingAddress.Latitude"}},
		{"account", []string{"1-0x06"}, []string{"Name.FirstName", "Name.LastName"}},
		{"account", []string{"0x400000", "4-0x01"}, []string{"LastModifiedDate", "BillingAddress.Street"}},
		// If all nested fields of a compound field changed, each is still named.
		{"account", []string{"26-0x03"}, []string{"Site_Location__c.Latitude", "Site_Location__c.Longitude"}},

		{"account", []string{"0X41aBc0"}, []string{"Phone", "Fax", "AccountNumber", "Website", "Industry", "NumberOfEmployees", "TickerSymbol", "Description", "LastModifiedDate"}},
		{"account", []string{"0x2"}, []string{"Name"}},
		{"account", []string{"0x10000"}, []string{"Description"}},
		{"account", []string{"4-0x1"}, []string{"BillingAddress.Street"}},
		{"account", []string{"0x0000000000000000000000000000000000000002"}, []string{"Name"}},
		{"account", []string{"0xF0000002", "4-0xFC00"}, []string{"Name"}}, // beyond the event, beyond the record

		{"account", []string{"2-0x01", "27-0x01", "4294967300-0x01", "99999999999999999999999-0x01"}, []string{}},
		{"account", []string{"", "0", "0x", "x02", "02", "Name", "0x0G", "0x-2", "0x 2", " 0x02", "0x02 ", "0x02\n",
			"-0x02", "--0x02", "4-", "4-0x", "4-02", "+4-0x01", "-4-0x01", "4--0x01", "4-4-0x01", "0x4-0x01", "4_0-0x01", "\xff-0x01"}, []string{}},
		{"account", []string{"junk", "0x02", "2-0x01", "4-0x02"}, []string{"Name", "BillingAddress.City"}},
	} {
		t.Run(fmt.Sprintf("%s%.50q", tt.schema, tt.bitmaps), func(t *testing.T) {
			if got := load(t, tt.schema).FieldNames(tt.bitmaps); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestBitmapOfManyFields(t *testing.T) {
	var fields []string
	for i := range 900 {
		fields = append(fields, fmt.Sprintf(`{"name":"F%d","type":["null","string"]}`, i))
	}
	s := mustParse(t, `{"type":"record","name":"Big__ChangeEvent","fields":[`+strings.Join(fields, ",")+`]}`)
	for bitmap, want := range map[string]string{
		"0x80000000": "F31", "0x0100000000": "F32", "0x8000000000000000": "F63", "0x010000000000000000": "F64",
		"0x8" + strings.Repeat("0", 224): "F899",
	} {
		if got := s.FieldNames([]string{bitmap}); len(got) != 1 || got[0] != want {
			t.Errorf("%.20s: %q, want %s", bitmap, got, want)
		}
	}
}

func TestCompoundBitCountsInTheRecordWhereverItIs(t *testing.T) {
	p := `{"type":"record","name":"P","fields":[{"name":"A","type":"int"},{"name":"B","type":"int"}]}`
	for _, typ := range []string{p, `["null",` + p + `]`, `[` + p + `,"null"]`, `["string",` + p + `]`, `["null","string",` + p + `]`} {
		s := mustParse(t, `{"type":"record","name":"R","fields":[{"name":"N","type":`+typ+`}]}`)
		if got := s.FieldNames([]string{"0-0x02"}); !slices.Equal(got, []string{"N.B"}) {
			t.Errorf("%s: %q", typ, got)
		}
	}
}

func TestRepeatedBitmapsAreBounded(t *testing.T) {
	s := load(t, "account")
	elements := slices.Repeat([]string{"0x07FFFFFF", "4-0x03FF", "0x" + strings.Repeat("F", 1<<16)}, 50)
	if got := s.FieldNames(elements); len(got) != s.paths {
		t.Errorf("%d names, the schema has %d fields", len(got), s.paths)
	}
}

func FuzzBitmap(f *testing.F) {
	s := load(f, "account")
	for _, bitmap := range []string{"0x410000", "4-0x96", "4-", "0X1", "99999999999999999999-0x1", "0xFFFFFFFFFFFFFFFFFF"} {
		f.Add(bitmap, "1-0x06")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		names := s.FieldNames([]string{a, b})
		if len(names) > s.paths {
			t.Errorf("%d names", len(names))
		}
		for _, name := range names {
			top, nested, compound := strings.Cut(name, ".")
			i := s.root.indexOf(top)
			if i < 0 || compound && s.root.fields[i].record.indexOf(nested) < 0 {
				t.Errorf("%q is not of the schema", name)
			}
		}
	})
}
