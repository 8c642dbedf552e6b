package avro

import (
	"errors"
	"strings"
	"testing"
)

func TestIDIsSalesforces(t *testing.T) {
	opportunity, order := schemaText(t, "opportunity"), schemaText(t, "neworder")
	for _, tt := range []struct{ name, text, want string }{
		{"S1", schemaText(t, "account"), "0z2rNmNvbmF9YlfRyCQrew"},
		{"S2", opportunity, "YwIgxO-1i8y-9SIvwTLV8g"},
		{"S2 without SNAPSHOT", withoutSnapshot(opportunity), "lKtKCeJF3IH14NA3BI3twA"},
		{"S2 with Carrier__c", withCarrier(opportunity), "aQLgvmnIzbMW_3XrGw3dlw"},
		{"S3", order, "P13JYfLSTLjytrF0tANZEA"},
		{"S3 with Carrier__c", withCarrier(order), "eBSRSXpn7-AZnmfPNZ5wcQ"},
		{"WSO2's log", schemaText(t, "wso2_order"), "_CADE3qaegX3ECEW0rlbYA"},
		{"the capture of 2022", schemaText(t, "capture"), "vjfSL_rX8hSnqyn0Yla8Zw"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := ID(tt.text); got != tt.want || err != nil {
				t.Errorf("ID = %q, %v, want %q", got, err, tt.want)
			}
			if got := mustParse(t, tt.text).ID(); got != tt.want {
				t.Errorf("Schema.ID = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestIDIgnoresWhatTheCanonicalFormDrops(t *testing.T) {
	plain := `{"type":"record","name":"E__e","namespace":"com.sforce.eventbus","fields":[
		{"name":"At","type":"long"},{"name":"To","type":["null","string"]},{"name":"Raw","type":{"type":"fixed","name":"F","size":2}},
		{"name":"Tags","type":{"type":"map","values":"bytes"}}]}`
	dressed := `{"doc":"x","fields":[
		{"name":"At","type":{"type":"long","logicalType":"timestamp-millis"},"doc":"Data:DateTime"},
		{"default":null,"aliases":["From"],"name":"To","type":["null",{"type":"string","avro.java.string":"String"}]},
		{"name":"Raw","type":{"name":"F","type":"fixed","size":2}},
		{"name":"Tags","type":{"type":"map","values":"bytes"}}],"name":"com.sforce.eventbus.E__e","type":"record"}`
	a, errA := ID(plain)
	b, errB := ID(dressed)
	if a != b || errA != nil || errB != nil {
		t.Errorf("%q (%v) and %q (%v) differ", a, errA, b, errB)
	}
}

func TestSchemasMayDefineTheSameNameDifferently(t *testing.T) {
	text := schemaText(t, "account")
	withXyz := strings.Replace(text, `{"name":"GeocodeAccuracy"`, `{"name":"Xyz","type":["null","string"]},{"name":"GeocodeAccuracy"`, 1)
	before, with, after := mustParse(t, text), mustParse(t, withXyz), mustParse(t, text)
	if before.ID() != after.ID() || with.ID() == before.ID() {
		t.Errorf("ids %q, %q, %q", before.ID(), with.ID(), after.ID())
	}
	bits := []string{"5-0x0200"} // ShippingAddress refers to the Address of its own schema
	if got := with.FieldNames(bits); len(got) != 1 || got[0] != "ShippingAddress.Xyz" {
		t.Errorf("with Xyz: %q", got)
	}
	if got := after.FieldNames(bits); len(got) != 1 || got[0] != "ShippingAddress.GeocodeAccuracy" {
		t.Errorf("without Xyz: %q", got)
	}
}

func TestSchemaKnowsItsKind(t *testing.T) {
	account, order := load(t, "account"), load(t, "neworder")
	if account.Name() != "AccountChangeEvent" || !account.IsChangeEvent() {
		t.Errorf("%q, change event %v", account.Name(), account.IsChangeEvent())
	}
	if order.Name() != "NewOrderConfirmation__e" || order.IsChangeEvent() {
		t.Errorf("%q, change event %v", order.Name(), order.IsChangeEvent())
	}
	// If the header is not the first field, or not a record, this is no change event.
	for _, fields := range []string{
		`{"name":"A","type":"int"},{"name":"ChangeEventHeader","type":{"type":"record","name":"H","fields":[]}}`,
		`{"name":"ChangeEventHeader","type":"string"}`, ``,
	} {
		if mustParse(t, `{"type":"record","name":"R","fields":[`+fields+`]}`).IsChangeEvent() {
			t.Errorf("%s makes a change event", fields)
		}
	}
}

func TestSchemaThatCannotBeUsedIsASchemaError(t *testing.T) {
	deep := strings.Repeat(`{"type":"array","items":`, 1000) + `"int"` + strings.Repeat(`}`, 1000)
	for name, text := range map[string]string{
		"nothing":         ``,
		"no JSON":         `record`,
		"two values":      `"int" "int"`,
		"null":            `null`,
		"number":          `7`,
		"no record":       `"string"`,
		"a union":         `["null","string"]`,
		"unknown type":    `{"type":"record","name":"R","fields":[{"name":"A","type":"Address"}]}`,
		"unnamed":         `{"type":"record","fields":[]}`,
		"no fields":       `{"type":"record","name":"R"}`,
		"duplicate field": `{"type":"record","name":"R","fields":[{"name":"A","type":"int"},{"name":"A","type":"int"}]}`,
		"too deep":        `{"type":"record","name":"R","fields":[{"name":"A","type":` + deep + `}]}`,
		"deeper still":    strings.Repeat(`[`, 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Parse(text)
			var bad *SchemaError
			if s != nil || !errors.As(err, &bad) || bad.Err == nil || !strings.HasPrefix(err.Error(), "avro: schema") {
				t.Errorf("Parse = %v, %v", s, err)
			}
		})
	}
	if _, err := ID(`{`); !errors.As(err, new(*SchemaError)) {
		t.Errorf("ID: %v", err)
	}
}

func TestDefaultsDoNotMatter(t *testing.T) {
	// hamba rejects the first, would allocate a terabyte for the second and panics at the third.
	for _, fields := range []string{
		`{"name":"Name","type":["string",{"type":"record","name":"P","fields":[]}],"default":null}`,
		`{"name":"F","type":{"type":"fixed","name":"F","size":1099511627776},"default":""}`,
		`{"name":"Self","type":"R","default":{}}`,
	} {
		if _, err := Parse(`{"type":"record","name":"R","fields":[` + fields + `]}`); err != nil {
			t.Errorf("%s: %v", fields, err)
		}
	}
}

// FuzzSchema parses hostile schemas, and decodes a payload with those that parse. Neither may
// panic.
func FuzzSchema(f *testing.F) {
	for _, name := range []string{"account", "opportunity", "neworder", "wso2_order", "capture"} {
		f.Add(schemaText(f, name), unhex(f, payload1))
	}
	for _, fields := range []string{
		`{"name":"Next","type":["null","R"]}`,
		`{"name":"Self","type":"R"}`,
		`{"name":"M","type":{"type":"map","values":{"type":"array","items":"null"}}}`,
		`{"name":"F","type":{"type":"fixed","name":"F","size":0},"default":"x"},{"name":"G","type":{"type":"array","items":"F"}}`,
		`{"name":"E","type":{"type":"enum","name":"E","symbols":["A"],"aliases":["B"]}},{"name":"B","type":"B"}`,
		`{"name":"ChangeEventHeader","type":{"type":"record","name":"H","fields":[{"name":"nulledFields","type":"int"}]}}`,
		`{"name":"D","type":{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}}`,
	} {
		f.Add(`{"type":"record","name":"R","fields":[`+fields+`]}`, []byte{2, 2, 2, 2, 0, 0})
	}
	f.Fuzz(func(t *testing.T, text string, payload []byte) {
		s, err := Parse(text)
		if err != nil {
			if !errors.As(err, new(*SchemaError)) {
				t.Errorf("not a SchemaError: %v", err)
			}
			return
		}
		if len(s.ID()) != 22 || s.Name() == "" {
			t.Errorf("id %q, name %q", s.ID(), s.Name())
		}
		checkDecode(t, s, payload)
	})
}
