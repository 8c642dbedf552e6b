package avro

import (
	"encoding/hex"
	"encoding/json"
	"errors"
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
	for field, v := range map[string]any{
		"AnnualRevenue":           m{headerName: h, "AnnualRevenue": "1"},
		"BillingAddress.Latitude": m{headerName: h, "BillingAddress": m{"Latitude": true}},
		"ChangeEventHeader":       m{},
		"Naem":                    m{headerName: h, "Naem": nil},
		"ChangeEventHeader.commitNumber": m{headerName: m{
			"entityName": "", "recordIds": []string(nil), "changeType": "CREATE", "changeOrigin": "", "transactionKey": "", "sequenceNumber": 1, "commitTimestamp": 1}},
		"": 1,
	} {
		dst := []byte("before")
		got, err := newBinder().Append(dst, s, v, System{})
		if e, ok := errors.AsType[*Error](err); !ok || e.Field != field || string(got) != "before" {
			t.Errorf("%q: %q, %v", field, got, err)
		}
	}
}
