package avro

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"
)

func encode(tb testing.TB, s *Schema, v any, with System) string {
	tb.Helper()
	payload, err := newBinder().Append(nil, s, v, with)
	if err != nil {
		tb.Errorf("%+v: %v", v, err)
	}
	return hex.EncodeToString(payload)
}

// vectorHeader is the header of the change events among the vectors, but for a few fields.
func vectorHeader(entity, record, change, origin string, changed ...string) m {
	return m{
		"entityName": entity, "recordIds": []string{record}, "changeType": change, "changeOrigin": origin,
		"transactionKey": "0000f0a1-0b2c-3d4e-5f60-718293a4b5c6", "sequenceNumber": 1, "commitTimestamp": int64(1735689600000),
		"commitNumber": json.Number("1735689600123456789"), "commitUser": "005000000000001AAA",
		"nulledFields": []any{}, "diffFields": []string(nil), "changedFields": changed,
	}
}

func TestAppendWritesTheVectors(t *testing.T) {
	const soap = "com/salesforce/api/soap/62.0;client=SfdcInternalAPI/"
	now := time.UnixMilli(1735689600000)
	opportunity := m{
		headerName:  vectorHeader("Opportunity", "006000000000001AAA", "UPDATE", soap, "0x650004E0"),
		"StageName": "Closed Won", "Amount": 1250.5, "Probability": 100, "CloseDate": "2024-12-31",
		"LastModifiedDate": now, "LastStageChangeDate": "2025-01-01T00:00:00.000Z",
		"LastAmountChangedHistoryId": "008000000000001AAA", "LastCloseDateChangedHistoryId": "008000000000002AAA",
	}
	type name struct{ FirstName, LastName maybe[string] }
	account := struct {
		ChangeEventHeader m
		Name              any
		NumberOfEmployees int                                   `json:",omitempty"`
		Active            *bool                                 `sf:"Active__c"`
		Location          struct{ Latitude, Longitude float64 } `json:"Site_Location__c"`
	}{
		ChangeEventHeader: vectorHeader("Account", "001000000000001AAA", "CREATE", soap),
		Name:              name{maybe[string]{"Ada", "set"}, maybe[string]{"Byron", "set"}},
		NumberOfEmployees: -1, Active: new(true),
	}
	account.Location.Latitude, account.Location.Longitude = 48.85, 2.35
	type order struct {
		Oppty     string    `sf:"OpptyRecordId__c"`
		Delivery  time.Time `json:"EstimatedDeliveryDate__c,omitempty"`
		Weight__c float64
	}
	confirmation := order{"006000000000001AAA", time.UnixMilli(1736121660000), 58.2}
	with := System{time.UnixMilli(1735689660000), "005000000000001AAA"}

	for schema, event := range map[string]struct {
		v    any
		with System
		want string
	}{
		"opportunity": {opportunity, System{}, payload2},
		"account":     {account, System{}, payload4},
		"neworder":    {confirmation, with, payload3},
	} {
		if got := encode(t, load(t, schema), event.v, event.with); got != event.want {
			t.Errorf("%s:\n got %s\nwant %s", schema, got, event.want)
		}
	}
	if got := encode(t, load(t, "account"), &account, System{}); got != payload4 {
		t.Errorf("through a pointer: %s", got)
	}
}

func TestWhatDecodeGivesGoesBackIn(t *testing.T) {
	s := load(t, "neworder")
	fields, err := s.decoded(unhex(t, payload3))
	if err != nil {
		t.Fatal(err)
	}
	if got := encode(t, s, fields, System{}); got != payload3 {
		t.Errorf("%s", got)
	}
}

func TestAppendNamesTheFieldAtFault(t *testing.T) {
	s := load(t, "account")
	h := vectorHeader("", "", "CREATE", "")
	type address struct{ Latitude bool }
	type typo struct {
		ChangeEventHeader m
		Fon               string `json:"Fone"`
	}
	type twice struct {
		ChangeEventHeader m
		Phone             string
		Mobile            string `sf:"Phone"`
	}
	list := []struct {
		v    any
		want string
	}{
		{m{headerName: h, "AnnualRevenue": "1"}, `field AnnualRevenue: the text "1" is not a number`},
		{m{headerName: h, "BillingAddress": m{"Latitude": true}}, "field BillingAddress.Latitude: true is not a number"},
		{m{headerName: h, "BillingAddress": address{}}, "field BillingAddress.Latitude: false is not a number"},
		{m{headerName: h, "BillingAddress": &address{}}, "field BillingAddress.Latitude: false is not a number"},
		{m{headerName: h, "BillingAddress": "Lyon"}, `field BillingAddress: the text "Lyon" is not a record`},
		{m{headerName: h, "BillingAddress": m{"Ctiy": "Lyon"}}, "field BillingAddress.Ctiy: the schema has no such field; is it City?"},
		{m{headerName: h, "Name": struct{ Firstname string }{}}, "field Name: no field of the Go struct struct { Firstname string } is in the schema: their tags `sf` or `json`, or their names, are to be those of the event's fields"},
		{m{}, "field ChangeEventHeader: it has no value, and it may not be null"},
		{m{headerName: h, "Naem": nil}, "field Naem: the schema has no such field; is it Name?"},
		{m{headerName: h, "contractStart": 0, "active": nil}, "field active: the schema has no such field; is it Active__c?"},
		{m{headerName: h, "Something_Else__c": 1}, "field Something_Else__c: the schema has no such field"},
		{m{"ChangeHeader": h}, "field ChangeHeader: the schema has no such field"},
		{typo{ChangeEventHeader: h}, "field Fone: the schema has no such field; is it Phone?; a field of the Go struct avro.typo that is not the event's wants the tag `sf:\"-\"`"},
		{twice{ChangeEventHeader: h}, "field Phone: the fields Phone and Mobile of the Go struct avro.twice are both for it"},
		{struct{ x int }{1}, "no field of the Go struct struct { x int } is in the schema: their tags `sf` or `json`, or their names, are to be those of the event's fields"},
		{1, "an event is a struct or a map with string keys, or a pointer to one, not 1"},
		{nil, "an event is a struct or a map with string keys, or a pointer to one, not nil"},
		{[]any{m{}}, "an event is a struct or a map with string keys, or a pointer to one, not a Go []interface {}"},
		{(*typo)(nil), "an event is a struct or a map with string keys, or a pointer to one, not a Go *avro.typo"},
		{time.Time{}, "an event is a struct or a map with string keys, or a pointer to one, not a Go time.Time"},
	}
	for range 2 { // what is known of a struct then is the same error
		for _, l := range list {
			dst := []byte("before")
			got, err := newBinder().Append(dst, s, l.v, System{})
			if e, ok := errors.AsType[*Error](err); !ok || e.Error() != "avro: payload: "+l.want || string(got) != "before" {
				t.Errorf("%q: %v\nwant %s", got, err, l.want)
			}
		}
	}
	if _, err := newBinder().Append(nil, Unusable(errTrailing), m{}, System{}); !errors.Is(err, errTrailing) {
		t.Error(err)
	}
}

func TestAppendEndsInValuesThatContainThemselves(t *testing.T) {
	s := mustParse(t, `{"type":"record","name":"R","fields":[{"name":"N","type":"int"},{"name":"R","type":["null","R",{"type":"array","items":"R"}]}]}`)
	type r struct {
		N int
		R any
	}
	round := &r{N: 1}
	round.R = round
	circle := m{"N": 1}
	circle["R"] = []any{circle}
	for _, v := range []any{round, circle} {
		if _, err := newBinder().Append(nil, s, v, System{}); !errors.Is(err, errDepth) {
			t.Error(err)
		}
	}
	if got := encode(t, s, r{1, []r{{2, &r{3, nil}}, {4, nil}}}, System{}); got != "0204040402060008"+"0000" {
		t.Error(got)
	}
}

// Many goroutines publish events of the same types.
func TestAppendIsForManyGoroutines(t *testing.T) {
	s, b := mustParse(t, tenFields), newBinder()
	plain, timed, asMap := orders()
	want := encode(t, s, plain, System{})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				for _, v := range []any{plain, &plain, timed, &timed, asMap} {
					if got, err := b.Append(nil, s, v, System{}); err != nil || hex.EncodeToString(got) != want {
						t.Errorf("%T: %x, %v", v, got, err)
					}
				}
			}
		})
	}
	all.Wait()
}
