package avro

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

type m = map[string]any

func names(list ...any) []any { return append([]any{}, list...) }

// header is the decoded ChangeEventHeader that the vectors have in common; with has the fields that
// differ.
func header(with m) m {
	h := m{
		"entityName": "Account", "recordIds": names("001000000000001AAA"), "changeType": "UPDATE",
		"changeOrigin":   "com/salesforce/api/soap/62.0;client=SfdcInternalAPI/",
		"transactionKey": "0000f0a1-0b2c-3d4e-5f60-718293a4b5c6", "sequenceNumber": int64(1),
		"commitTimestamp": int64(1735689600000), "commitNumber": int64(1735689600123456789),
		"commitUser": "005000000000001AAA", "nulledFields": names(), "diffFields": names(), "changedFields": names(),
	}
	for k, v := range with {
		h[k] = v
	}
	return h
}

var vectors = []struct {
	name, schema, payload string
	text, time            m
}{
	{
		name: "P1", schema: "account", payload: payload1,
		text: m{
			"ChangeEventHeader": header(m{
				"nulledFields":  names("Description"),
				"changedFields": names("Description", "LastModifiedDate", "BillingAddress.City", "BillingAddress.State"),
			}),
			"BillingAddress": m{"City": "Lyon", "State": "ARA"}, "Description": nil,
			"LastModifiedDate": "2025-01-01T00:00:00.000Z",
		},
	},
	{
		name: "P2", schema: "opportunity", payload: payload2,
		text: m{
			"ChangeEventHeader": header(m{
				"entityName": "Opportunity", "recordIds": names("006000000000001AAA"),
				"changedFields": names("StageName", "Amount", "Probability", "CloseDate", "LastModifiedDate",
					"LastStageChangeDate", "LastAmountChangedHistoryId", "LastCloseDateChangedHistoryId"),
			}),
			"StageName": "Closed Won", "Amount": 1250.5, "Probability": 100.0, "CloseDate": "2024-12-31",
			"LastModifiedDate": "2025-01-01T00:00:00.000Z", "LastStageChangeDate": "2025-01-01T00:00:00.000Z",
			"LastAmountChangedHistoryId": "008000000000001AAA", "LastCloseDateChangedHistoryId": "008000000000002AAA",
		},
	},
	{
		name: "P3", schema: "neworder", payload: payload3,
		text: m{
			"CreatedDate": "2025-01-01T00:01:00.000Z", "CreatedById": "005000000000001AAA",
			"OpptyRecordId__c":         "006000000000001AAA",
			"EstimatedDeliveryDate__c": "2025-01-06T00:01:00.000Z", "Weight__c": 58.2,
		},
	},
	{
		name: "P4", schema: "account", payload: payload4,
		text: m{
			"ChangeEventHeader": header(m{"changeType": "CREATE"}),
			"Name":              m{"FirstName": "Ada", "LastName": "Byron"}, "NumberOfEmployees": int64(-1), "Active__c": true,
			"Site_Location__c": m{"Latitude": 48.85, "Longitude": 2.35},
		},
	},
	{
		name: "P5", schema: "account", payload: payload5,
		text: m{"ChangeEventHeader": header(m{"changeType": "GAP_UPDATE", "changeOrigin": ""})},
	},
}

// decoded returns what Decode does, without the enriched fields.
func (s *Schema) decoded(payload []byte) (map[string]any, error) {
	fields, _, err := s.Decode(payload)
	return fields, err
}

func TestDecodeGivesTheEvents(t *testing.T) {
	for _, tt := range vectors {
		t.Run(tt.name, func(t *testing.T) {
			s := load(t, tt.schema)
			got, err := s.decoded(unhex(t, tt.payload))
			if err != nil || !reflect.DeepEqual(got, tt.text) {
				t.Errorf("%v\n got %#v\nwant %#v", err, got, tt.text)
			}
		})
	}
}

func TestDecodeReadsARealCapture(t *testing.T) {
	got, err := load(t, "capture").decoded([]byte(capture))
	want := m{
		"ChangeEventHeader": m{
			"entityName": "Account", "recordIds": names("0014H00002LbR7QQAV"), "changeType": "UPDATE",
			"changeOrigin":   "com/salesforce/api/soap/55.0;client=SfdcInternalAPI/",
			"transactionKey": "0000c8a0-6766-3414-949f-de10519bee7d", "sequenceNumber": int64(1),
			"commitTimestamp": int64(1659440165000), "commitNumber": int64(11334298542449),
			"commitUser": "00558000000yFyDAAU", "nulledFields": names(), "diffFields": names(),
			"changedFields": names("LastModifiedDate", "BillingAddress.Street"),
		},
		"BillingAddress":   m{"Street": "12 Main Street"},
		"LastModifiedDate": int64(1659440165000), // the canonical form has no docs to tell that it is a DateTime
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n got %#v\nwant %#v", err, got, want)
	}
}

func TestEachEventIsReadWithItsOwnSchema(t *testing.T) {
	before, after := load(t, "neworder"), mustParse(t, withCarrier(schemaText(t, "neworder")))
	old := unhex(t, payload3)
	withField := append(unhex(t, payload3), 2, 6, 'U', 'P', 'S')
	if got, err := after.decoded(withField); err != nil || got["Carrier__c"] != "UPS" {
		t.Errorf("new schema: %v, %v", got, err)
	}
	if _, err := after.decoded(old); !errors.Is(err, errTruncated) {
		t.Errorf("old event, new schema: %v", err)
	}
	if _, err := before.decoded(withField); !errors.Is(err, errTrailing) {
		t.Errorf("new event, old schema: %v", err)
	}
}

func TestPlatformEventKeepsItsNulls(t *testing.T) {
	payload := append(unhex(t, payload3)[:25], 0, 0, 0)
	got, err := load(t, "neworder").decoded(payload)
	want := m{
		"CreatedDate": "2025-01-01T00:01:00.000Z", "CreatedById": "005000000000001AAA",
		"OpptyRecordId__c": nil, "EstimatedDeliveryDate__c": nil, "Weight__c": nil,
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v, %v", got, err)
	}
}

func TestEveryCutOfAPayloadIsAnError(t *testing.T) {
	for _, tt := range vectors {
		s, payload := load(t, tt.schema), unhex(t, tt.payload)
		for n := range payload {
			got, err := s.decoded(payload[:n])
			var bad *Error
			if got != nil || !errors.As(err, &bad) || bad.Field == "" {
				t.Fatalf("%s[:%d] = %v, %v", tt.name, n, got, err)
			}
		}
		_, err := s.decoded(append(payload, 0))
		var bad *Error
		if !errors.As(err, &bad) || bad.Field != "" || !errors.Is(err, errTrailing) {
			t.Errorf("%s with a byte more: %v", tt.name, err)
		}
	}
}

func TestErrorNamesTheField(t *testing.T) {
	account := schemaText(t, "account")
	simple := func(typ string) string {
		return `{"type":"record","name":"R","fields":[{"name":"A","type":` + typ + `}]}`
	}
	list, linked := `{"type":"array","items":"string"}`, `{"type":"record","name":"R","fields":[{"name":"Next","type":["null","R"]}]}`
	varint := func(v int64) []byte { return binary.AppendVarint(nil, v) }
	badCity := unhex(t, payload1)
	badCity[strings.Index(string(badCity), "\bLyon")-1] = 4 // City's union has two branches
	badType := unhex(t, payload1)
	badType[29] = 20 // changeType; there are ten symbols
	for _, tt := range []struct {
		name, schema string
		payload      []byte
		field        string
		err          error
	}{
		{"union branch in a nested record", account, badCity, "BillingAddress.City", errUnion},
		{"negative branch", simple(`["null","int"]`), varint(-1), "A", errUnion},
		{"huge branch", simple(`["null","int"]`), varint(math.MaxInt64), "A", errUnion},
		{"enum ordinal beyond the symbols", account, badType, "ChangeEventHeader.changeType", errEnum},
		{"negative ordinal", simple(`{"type":"enum","name":"E","symbols":["X"]}`), varint(-1), "A", errEnum},
		{"negative length", simple(`"string"`), varint(-1), "A", errLength},
		{"length beyond the payload", simple(`"string"`), varint(1 << 40), "A", errTruncated},
		{"length of bytes", simple(`"bytes"`), varint(math.MaxInt64), "A", errTruncated},
		{"boolean", simple(`"boolean"`), []byte{2}, "A", errBoolean},
		{"long of 11 bytes", simple(`"long"`), []byte(strings.Repeat("\xff", 11)), "A", errVarint},
		{"int of 33 bits", simple(`"int"`), varint(1 << 31), "A", errInt},
		{"short double", simple(`"double"`), make([]byte, 7), "A", errTruncated},
		{"short float", simple(`"float"`), make([]byte, 3), "A", errTruncated},
		{"short fixed", simple(`{"type":"fixed","name":"F","size":4}`), make([]byte, 3), "A", errTruncated},
		{"array that claims much", simple(list), varint(1 << 60), "A", errTruncated},
		{"smallest block count", simple(list), varint(math.MinInt64), "A", errLength},
		{"negative block size", simple(list), []byte{1, 1, 0}, "A", errLength},
		{"block size beyond the payload", simple(list), []byte{1, 20, 0, 0}, "A", errTruncated},
		{"block size that is wrong", simple(list), []byte{1, 4, 0, 0, 0}, "A", errBlock},
		{"endless nulls", simple(`{"type":"array","items":"null"}`), append(varint(math.MaxInt64), 0), "A", errEmpty},
		{"endless empty records", simple(`{"type":"array","items":{"type":"record","name":"E","fields":[]}}`), varint(1 << 50), "A", errEmpty},
		{"endless fixed(0)", simple(`{"type":"array","items":{"type":"fixed","name":"E","size":0}}`), varint(1 << 50), "A", errEmpty},
		{"schema that contains itself, fed", linked, []byte(strings.Repeat("\x02", 1<<20)), strings.TrimSuffix(strings.Repeat("Next.", maxDepth), "."), errDepth},
		{"record that contains itself", `{"type":"record","name":"R","fields":[{"name":"R","type":"R"}]}`, nil, strings.TrimSuffix(strings.Repeat("R.", maxDepth), "."), errDepth},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := mustParse(t, tt.schema).decoded(tt.payload)
			var bad *Error
			if got != nil || !errors.As(err, &bad) || bad.Field != tt.field || !errors.Is(err, tt.err) {
				t.Errorf("got %v, %v; want field %q, %v", got, err, tt.field, tt.err)
			}
		})
	}
}

func TestEnumMayGrow(t *testing.T) {
	payload := unhex(t, payload1)
	decode := func(s *Schema, ordinal byte) (any, error) {
		payload[29] = ordinal << 1
		got, err := s.decoded(payload)
		if err != nil {
			return nil, err
		}
		return got[headerName].(m)["changeType"], nil
	}
	ten := load(t, "account")
	eleven := mustParse(t, strings.Replace(schemaText(t, "account"), `"SNAPSHOT"`, `"SNAPSHOT","MERGE"`, 1))
	nine := mustParse(t, withoutSnapshot(schemaText(t, "account")))
	if got, err := decode(ten, 9); got != "SNAPSHOT" || err != nil {
		t.Errorf("10th of ten: %v, %v", got, err)
	}
	if got, err := decode(eleven, 10); got != "MERGE" || err != nil {
		t.Errorf("11th of eleven: %v, %v", got, err)
	}
	if _, err := decode(nine, 9); !errors.Is(err, errEnum) {
		t.Errorf("10th of nine: %v", err)
	}
}

func TestCommitNumberIsExactInJSON(t *testing.T) {
	got, _ := load(t, "account").decoded(unhex(t, payload1))
	text, err := json.Marshal(got)
	if err != nil || !strings.Contains(string(text), `"commitNumber":1735689600123456789,`) {
		t.Errorf("%s, %v", text, err)
	}
}

// headerOf encodes a ChangeEventHeader with the fields that tests vary; the others are small.
func headerOf(ordinal byte, ids, nulled, diff, changed []string) []byte {
	b := text(nil, "Account")
	b = list(b, ids)
	b = append(b, ordinal<<1)
	b = text(text(b, ""), "key")
	b = append(b, 2, 0, 0)
	b = text(b, "user")
	return list(list(list(b, nulled), diff), changed)
}

func text(b []byte, s string) []byte { return append(binary.AppendVarint(b, int64(len(s))), s...) }

func list(b []byte, items []string) []byte {
	if len(items) > 0 {
		b = binary.AppendVarint(b, int64(len(items)))
		for _, s := range items {
			b = text(b, s)
		}
	}
	return append(b, 0)
}

// account decodes an event of the Account schema whose body has only Name (encoded, with its union
// branch) and Description.
func account(t *testing.T, header []byte, name []byte, description string) m {
	t.Helper()
	b := append(header, name...)
	b = append(b, make([]byte, 14)...)
	if description == "" {
		b = append(b, 0)
	} else {
		b = text(append(b, 2), description)
	}
	got, err := load(t, "account").decoded(append(b, make([]byte, 10)...))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestUnchangedAndNulledDiffer(t *testing.T) {
	got := account(t, headerOf(1, nil, []string{"0x010000", "1-0x05", "4-0x03"}, nil, []string{"0x010000", "1-0x07", "4-0x03"}), []byte{4, 0, 2, 2, 'A', 0}, "")
	delete(got, headerName)
	want := m{
		"Description": nil, // and Phone, Fax and the others are unchanged: absent
		"Name":        m{"Salutation": nil, "FirstName": "A", "LastName": nil},
		// The whole address is null in the payload: its nulled fields are in the map all the same.
		"BillingAddress": m{"Street": nil, "City": nil},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v", got)
	}
}

func TestValueWinsOverNulledFields(t *testing.T) {
	got := account(t, headerOf(1, nil, []string{"0x010003", "1-0x06", "0-0x01"}, nil, nil), text([]byte{2}, "Acme"), "text")
	if got["Name"] != "Acme" || got["Description"] != "text" || got[headerName].(m)["entityName"] != "Account" {
		t.Errorf("got %#v", got)
	}
	// Both the parent and a field of it are nulled: there is no map to put the field into.
	got = account(t, headerOf(1, nil, []string{"0x10", "4-0x01"}, nil, nil), []byte{0}, "")
	if v, ok := got["BillingAddress"]; v != nil || !ok {
		t.Errorf("got %#v", got)
	}
}

func TestGapsManyRecordsAndDiffs(t *testing.T) {
	for name, tt := range map[string]struct {
		ordinal byte
		ids     []string
		want    string
	}{
		"gap":      {5, []string{"001000000000001AAA"}, "GAP_UPDATE"},
		"overflow": {8, []string{"000000000000000AAA"}, "GAP_OVERFLOW"},
		"wildcard": {5, []string{"001*"}, "GAP_UPDATE"},
		"three":    {1, []string{"001A", "001B", "001C"}, "UPDATE"},
		"none":     {2, nil, "DELETE"},
	} {
		t.Run(name, func(t *testing.T) {
			got := account(t, headerOf(tt.ordinal, tt.ids, nil, nil, nil), []byte{0}, "")
			h := got[headerName].(m)
			ids := []any{}
			for _, id := range tt.ids {
				ids = append(ids, id)
			}
			if len(got) != 1 || h["changeType"] != tt.want || !reflect.DeepEqual(h["recordIds"], ids) {
				t.Errorf("got %#v", got)
			}
		})
	}
	diff := "--- \n+++ " + strings.Repeat("0a", 32) + "\n@@ -1,1 +1,1 @@\n-a\n+b\n"
	got := account(t, headerOf(1, nil, nil, []string{"0x010000"}, []string{"0x410000"}), []byte{0}, diff)
	if h := got[headerName].(m); got["Description"] != diff || !reflect.DeepEqual(h["diffFields"], names("Description")) {
		t.Errorf("diff: %#v", got)
	}
}

func TestNameIsTextOrRecord(t *testing.T) { // the address with Xyz is the capture's
	if got := account(t, headerOf(0, nil, nil, nil, nil), text([]byte{2}, "Acme"), ""); got["Name"] != "Acme" {
		t.Errorf("text: %#v", got)
	}
	got := account(t, headerOf(0, nil, nil, nil, nil), []byte{4, 0, 0, 0}, "")
	if !reflect.DeepEqual(got["Name"], m{}) {
		t.Errorf("record of nulls: %#v", got)
	}
}

func TestTextKeepsItsBytes(t *testing.T) {
	bad := "a\xff\xfeb"
	if got := account(t, headerOf(0, nil, nil, nil, nil), text([]byte{2}, bad), ""); got["Name"] != bad {
		t.Errorf("got %q", got["Name"])
	}
}

func TestDecodedValuesAreTheCallersOwn(t *testing.T) {
	s := mustParse(t, `{"type":"record","name":"R","fields":[{"name":"S","type":"string"},{"name":"B","type":"bytes"}]}`)
	payload := []byte{2, 'x', 2, 'y'}
	got, _ := s.decoded(payload)
	got["B"].([]byte)[0]++
	if copy(payload, "\x02-\x02-"); got["S"] != "x" || string(got["B"].([]byte)) != "z" {
		t.Errorf("got %#v", got)
	}
}

func TestDecodedEventsShareNothing(t *testing.T) {
	s, update := wideEvent(t, "update")
	_, create := wideEvent(t, "create")
	payloads := [][]byte{update, create}
	var want [2]m
	for i := range want {
		want[i], _ = s.decoded(payloads[i])
	}
	text := [2]string{fmt.Sprint(want[0]), fmt.Sprint(want[1])}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 200 {
				got, err := s.decoded(payloads[i%2])
				for _, v := range got[headerName].(m) {
					if list, ok := v.([]any); ok {
						_ = append(list, "mine")
					}
				}
				if err != nil || !reflect.DeepEqual(got, want[i%2]) {
					t.Errorf("%v\n got %v\nwant %v", err, got, want[i%2])
				}
			}
		})
	}
	wg.Wait()
	if fmt.Sprint(want[0]) != text[0] || fmt.Sprint(want[1]) != text[1] {
		t.Error("an event changed with others")
	}
}

func TestDecodeKeepsNoPayloadAndLittleRoom(t *testing.T) {
	s, payload := wideEvent(t, "update")
	l := s.locator(payload)
	if s.free(l); l.buf != nil {
		t.Error("the payload is kept")
	}
	large := s.locator(nil)
	large.items = make([]item, maxKept+1)
	if s.free(large); s.locator(nil) == large {
		t.Error("the room of a large event is kept")
	}
}

func TestArraysOfSeveralBlocks(t *testing.T) {
	s := mustParse(t, `{"type":"record","name":"R","fields":[{"name":"A","type":{"type":"array","items":"string"}},
		{"name":"M","type":{"type":"map","values":["null","int"]}},{"name":"Z","type":"null"}]}`)
	payload := []byte{2, 2, 'a', 1, 4, 2, 'b', 2, 2, 'c', 0, 4, 2, 'k', 2, 14, 2, 'l', 0, 0}
	got, err := s.decoded(payload)
	want := m{"A": names("a", "b", "c"), "M": m{"k": int64(7), "l": nil}, "Z": nil}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v, %v", got, err)
	}
}

// texts returns the strings of a decoded array.
func texts(v any) []string {
	list, _ := v.([]any)
	var out []string
	for _, item := range list {
		if text, ok := item.(string); ok {
			out = append(out, text)
		}
	}
	return out
}

// checkDecode decodes hostile bytes. Decode must return a map or an *Error, Header must agree with
// it, and Date must not panic.
func checkDecode(t *testing.T, s *Schema, payload []byte) {
	t.Helper()
	got, err := s.decoded(payload)
	if (got == nil) == (err == nil) {
		t.Fatalf("got %v, %v", got, err)
	}
	if err != nil && !errors.As(err, new(*Error)) {
		t.Fatalf("not an *Error: %v", err)
	}
	s.Date(payload)
	h, bad := s.Header(payload, nil)
	if bad != nil && !errors.As(bad, new(*Error)) {
		t.Fatalf("not an *Error: %v", bad)
	}
	if err != nil || !s.IsChangeEvent() || errors.Is(bad, errHeaderType) {
		return
	}
	header := got[headerName].(map[string]any)
	if bad != nil || !slices.Equal(h.RecordIDs, texts(header["recordIds"])) || !slices.Equal(h.ChangedFields, texts(header["changedFields"])) ||
		!slices.Equal(h.NulledFields, texts(header["nulledFields"])) || !slices.Equal(h.DiffFields, texts(header["diffFields"])) {
		t.Fatalf("the header is %+v (%v), want %v", h, bad, header)
	}
}

func FuzzDecode(f *testing.F) {
	var schemas []*Schema
	for i, name := range []string{"account", "opportunity", "neworder"} {
		schemas = append(schemas, load(f, name))
		for _, tt := range vectors {
			if tt.schema == name {
				f.Add(uint8(i), unhex(f, tt.payload))
			}
		}
	}
	f.Add(uint8(0), append(headerOf(1, nil, []string{"1-0xff", "0xffffffff", "4-0x-1"}, nil, nil), make([]byte, 26)...))
	f.Add(uint8(0), []byte("\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, i uint8, payload []byte) {
		checkDecode(t, schemas[int(i)%len(schemas)], payload)
	})
}

func TestHostilePayloadTakesLittleMemory(t *testing.T) {
	s := mustParse(t, `{"type":"record","name":"R","fields":[{"name":"A","type":{"type":"array","items":{"type":"array","items":"null"}}}]}`)
	// The payload is half a megabyte of arrays that each announce 2^40 items.
	payload := binary.AppendVarint(nil, 1<<19)
	for range 1 << 16 {
		payload = append(binary.AppendVarint(payload, 1<<40), 0)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := s.decoded(payload)
	runtime.ReadMemStats(&after)
	if took, limit := after.TotalAlloc-before.TotalAlloc, uint64(64*len(payload)); !errors.Is(err, errEmpty) || took > limit {
		t.Errorf("%d bytes for a payload of %d, %v", took, len(payload), err)
	}
}
