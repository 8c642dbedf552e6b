package sfstream

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/hamba/avro/v2"
)

const changeHeader = "ChangeEventHeader"

// enrichedUpdate is what a channel that is enriched with six fields carries when three others
// change: Fax, the city, and the description, which is emptied.
func enrichedUpdate(tb testing.TB) (pubsub, cometd *Message) {
	return enrichedChange(tb, "UPDATE", []string{"0x410080", "4-0x02"}, []string{"0x010000"},
		[]string{"Fax", "Description", "LastModifiedDate", "BillingAddress.City"},
		map[string]any{"Fax": "1", "Description": nil, "Phone": "2", "Industry": "Energy", "AnnualRevenue": 3.5, "Active__c": true,
			"BillingAddress": map[string]any{"Street": "Quai 1", "City": "Lyon"}, "ShippingAddress": map[string]any{"City": "Graz"},
			"Name": "Acme", "LastModifiedDate": int64(1735689600000)})
}

// enrichedChange is a change of an account over the two APIs: bitmaps and names say the same.
func enrichedChange(tb testing.TB, kind string, changed, nulled, names []string, body map[string]any) (pubsub, cometd *Message) {
	tb.Helper()
	schema, err := os.ReadFile("sfstreamtest/testdata/account.avsc")
	if err != nil {
		tb.Fatal(err)
	}
	if nulled == nil {
		nulled = []string{}
	}
	header := identityHeader(map[string]any{"changeType": kind, "changedFields": changed, "nulledFields": nulled})
	event := map[string]any{changeHeader: header}
	text := map[string]any{}
	tree := avro.MustParse(string(schema)).(*avro.RecordSchema)
	for _, f := range tree.Fields()[1:] {
		value, has := body[f.Name()]
		event[f.Name()] = nil
		if has {
			text[f.Name()] = value
		}
		switch v := value.(type) {
		case map[string]any:
			record := map[string]any{}
			for _, name := range []string{"Street", "City", "State", "PostalCode", "Country", "StateCode", "CountryCode", "Latitude", "Longitude", "GeocodeAccuracy"} {
				record[name] = v[name]
			}
			event[f.Name()] = map[string]any{"com.sforce.eventbus.Address": record}
		case nil:
		default:
			event[f.Name()] = v
		}
	}
	if _, dated := text["LastModifiedDate"]; dated {
		text["LastModifiedDate"] = "2025-01-01T00:00:00Z"
	}
	pubsub = avroEvent(tb, string(schema), event)
	names = append([]string{}, names...)
	text[changeHeader] = map[string]any{"entityName": "Account", "changeType": kind, "recordIds": header["recordIds"], "changedFields": names}
	payload, err := json.Marshal(text)
	if err != nil {
		tb.Fatal(err)
	}
	return pubsub, streamedChange(string(payload))
}

func TestEnrichedFieldsAreApartFromWhatChanged(t *testing.T) {
	address := map[string]any{"Street": "Quai 1", "City": "Lyon"}
	body := map[string]any{"Fax": "1", "Phone": "2", "BillingAddress": address, "LastModifiedDate": int64(1735689600000)}
	const date = "2025-01-01T00:00:00.000Z"
	for _, tt := range []struct {
		name            string
		kind            string
		changed, nulled []string
		names           []string
		body            map[string]any
		fields          map[string]any
		enriched        map[string]any
	}{
		{name: "all changed", kind: "UPDATE", changed: []string{"0x4000C0", "4-0x03"}, names: []string{"Phone", "Fax", "LastModifiedDate", "BillingAddress.Street", "BillingAddress.City"}, body: body,
			fields: map[string]any{"Fax": "1", "Phone": "2", "BillingAddress": address, "LastModifiedDate": date}},
		{name: "one changed", kind: "UPDATE", changed: []string{"0x400080"}, names: []string{"Fax", "LastModifiedDate"}, body: body,
			fields: map[string]any{"Fax": "1", "LastModifiedDate": date}, enriched: map[string]any{"Phone": "2", "BillingAddress": address}},
		{name: "a part of a compound", kind: "UPDATE", changed: []string{"0x400000", "4-0x02"}, names: []string{"LastModifiedDate", "BillingAddress.City"}, body: body,
			fields:   map[string]any{"LastModifiedDate": date, "BillingAddress": map[string]any{"City": "Lyon"}},
			enriched: map[string]any{"Fax": "1", "Phone": "2", "BillingAddress": map[string]any{"Street": "Quai 1"}}},
		{name: "the compound as a whole", kind: "UPDATE", changed: []string{"0x400010"}, names: []string{"LastModifiedDate", "BillingAddress"}, body: body,
			fields: map[string]any{"LastModifiedDate": date, "BillingAddress": address}, enriched: map[string]any{"Fax": "1", "Phone": "2"}},
		{name: "nulled beside", kind: "UPDATE", changed: []string{"0x010080", "4-0x04"}, nulled: []string{"0x010000", "4-0x04"}, names: []string{"Fax", "Description", "BillingAddress.State"},
			body:     map[string]any{"Fax": "1", "Description": nil, "Phone": "2", "Industry": nil, "BillingAddress": map[string]any{"City": "Lyon", "State": nil}},
			fields:   map[string]any{"Fax": "1", "Description": nil, "BillingAddress": map[string]any{"State": nil}},
			enriched: map[string]any{"Phone": "2", "BillingAddress": map[string]any{"City": "Lyon"}}},
		{name: "nothing changed", kind: "UPDATE", changed: []string{}, body: map[string]any{"Phone": "2"}, fields: map[string]any{}, enriched: map[string]any{"Phone": "2"}},
		{name: "nothing changed nor came", kind: "UPDATE", changed: []string{}, fields: map[string]any{}},
		{name: "DELETE", kind: "DELETE", changed: []string{}, body: body,
			fields: map[string]any{}, enriched: map[string]any{"Fax": "1", "Phone": "2", "BillingAddress": address, "LastModifiedDate": date}},
		{name: "plain DELETE", kind: "DELETE", changed: []string{}, fields: map[string]any{}},
		{name: "CREATE", kind: "CREATE", changed: []string{}, body: body, fields: map[string]any{"Fax": "1", "Phone": "2", "BillingAddress": address, "LastModifiedDate": date}},
		{name: "UNDELETE", kind: "UNDELETE", changed: []string{}, body: map[string]any{"Phone": "2"}, fields: map[string]any{"Phone": "2"}},
		{name: "a gap", kind: "GAP_UPDATE", changed: []string{}, fields: map[string]any{}},
		{name: "an overflow", kind: "GAP_OVERFLOW", changed: []string{}, fields: map[string]any{}},
	} {
		pubsub, cometd := enrichedChange(t, tt.kind, tt.changed, tt.nulled, tt.names, tt.body)
		for api, m := range map[string]*Message{"Pub/Sub": pubsub, "CometD": cometd} {
			fields, err := m.Fields()
			if err != nil {
				t.Fatal(tt.name, err)
			}
			delete(fields, changeHeader)
			if !reflect.DeepEqual(fields, tt.fields) {
				t.Errorf("%s, %s: fields %v, want %v", tt.name, api, fields, tt.fields)
			}
			enriched, err := m.Enriched()
			if err != nil || !reflect.DeepEqual(enriched, tt.enriched) {
				t.Errorf("%s, %s: enriched %v, want %v (%v)", tt.name, api, enriched, tt.enriched, err)
			}
			text, err := json.Marshal(m)
			along, _ := json.Marshal(tt.enriched)
			if has := strings.Contains(string(text), `},"enriched":`+string(along)+`,"event":`); err != nil || has != (tt.enriched != nil) {
				t.Errorf("%s, %s: %s (%v)", tt.name, api, text, err)
			}
			if fields, err := Decode[map[string]any](m); err != nil || len(fields) != len(tt.fields)+1 {
				t.Errorf("%s, %s: a map gets %v (%v)", tt.name, api, fields, err)
			}
			change, err := m.Change()
			if err != nil || len(tt.nulled) == 0 != (change.NulledFields == nil) {
				t.Errorf("%s, %s: nulled %v (%v)", tt.name, api, change.NulledFields, err)
			}
		}
	}
}

func TestAnOptionalTellsWhatOnlyCameAlong(t *testing.T) {
	type address struct {
		Street Optional[string] `json:",omitzero"`
		City   Optional[string] `json:",omitzero"`
	}
	type account struct {
		Fax             Optional[string]  `json:",omitzero"`
		Phone           Optional[string]  `json:",omitzero"`
		Description     Optional[string]  `json:",omitzero"`
		Website         Optional[string]  `json:",omitzero"`
		AnnualRevenue   Optional[float64] `json:",omitzero"`
		Active          Optional[*bool]   `sf:"Active__c" json:",omitzero"`
		BillingAddress  Optional[address] `json:",omitzero"`
		ShippingAddress Optional[address] `json:",omitzero"`
	}
	pubsub, cometd := enrichedUpdate(t)
	for api, m := range map[string]*Message{"Pub/Sub": pubsub, "CometD": cometd} {
		got, err := Decode[account](m)
		if err != nil {
			t.Fatal(api, err)
		}
		if fax, set := got.Fax.Get(); fax != "1" || !set || !got.Description.IsNull() || !got.Website.IsZero() {
			t.Errorf("%s: %+v", api, got)
		}
		if value, set := got.Phone.Get(); value != "" || set || got.Phone.IsSet() || got.Phone.IsNull() || !got.Phone.IsZero() || got.Phone.String() != "unchanged" {
			t.Errorf("%s: the phone is changed: %v", api, got.Phone)
		}
		for name, ok := range map[string]bool{
			"Phone":         holds(got.Phone, "2"),
			"AnnualRevenue": holds(got.AnnualRevenue, 3.5),
		} {
			if !ok {
				t.Errorf("%s: %s: %+v", api, name, got)
			}
		}
		if active, ok := got.Active.Enriched(); !ok || !*active {
			t.Errorf("%s: active %v", api, active)
		}
		for name, o := range map[string]Optional[string]{"Fax": got.Fax, "Description": got.Description, "Website": got.Website} {
			if value, ok := o.Enriched(); ok || value != "" {
				t.Errorf("%s: %s came along: %q", api, name, value)
			}
		}
		billing, set := got.BillingAddress.Get()
		if city, _ := billing.City.Get(); !set || city != "Lyon" || !holds(billing.Street, "Quai 1") {
			t.Errorf("%s: %+v", api, got.BillingAddress)
		}
		shipping, ok := got.ShippingAddress.Enriched()
		if !ok || got.ShippingAddress.IsSet() || !holds(shipping.City, "Graz") {
			t.Errorf("%s: %+v", api, got.ShippingAddress)
		}
		text, err := json.Marshal(got)
		if want := `{"Fax":"1","Description":null,"BillingAddress":{"City":"Lyon"}}`; err != nil || string(text) != want {
			t.Errorf("%s: the body of a PATCH is %s, %v", api, text, err)
		}
		if _, err := json.Marshal(got.Phone); err == nil {
			t.Errorf("%s: there is JSON of what came along", api)
		}
		other := got.Phone
		got.Phone.Set("3")
		other.SetNull()
		_, set = got.Phone.Enriched()
		if _, null := other.Enriched(); set || null || !got.Phone.IsSet() || !other.IsNull() {
			t.Errorf("%s: Set and SetNull leave %v, %v", api, set, null)
		}
	}
}

func holds[T comparable](o Optional[T], want T) bool {
	value, ok := o.Enriched()
	return ok && value == want
}

func TestPlainFieldsAndPointersGetWhatCameAlong(t *testing.T) {
	type account struct {
		Fax, Phone, Description string
		Industry                *string
		Revenue                 float64 `sf:"AnnualRevenue"`
		Website                 *string
		BillingAddress          struct {
			Street string
			City   *string
			State  Optional[string]
		}
		Billing         map[string]any `sf:"BillingAddress"`
		Any             any            `sf:"BillingAddress"`
		ShippingAddress *struct{ City Optional[string] }
		Optional        Optional[map[string]any] `sf:"ShippingAddress"`
		Deep            **Optional[string]       `sf:"Phone"`
	}
	pubsub, cometd := enrichedUpdate(t)
	var all []account
	for api, m := range map[string]*Message{"Pub/Sub": pubsub, "CometD": cometd} {
		got, err := Decode[account](m)
		if err != nil {
			t.Fatal(api, err)
		}
		all = append(all, got)
		address := map[string]any{"Street": "Quai 1", "City": "Lyon"}
		if got.Fax != "1" || got.Phone != "2" || *got.Industry != "Energy" || got.Revenue != 3.5 || got.Website != nil || got.BillingAddress.Street != "Quai 1" ||
			*got.BillingAddress.City != "Lyon" || !got.BillingAddress.State.IsZero() || !holds(got.ShippingAddress.City, "Graz") ||
			!reflect.DeepEqual(got.Billing, address) || !reflect.DeepEqual(got.Any, any(address)) || !holds(**got.Deep, "2") {
			t.Errorf("%s: %+v", api, got)
		}
		if shipping, ok := got.Optional.Enriched(); !ok || shipping["City"] != "Graz" {
			t.Errorf("%s: %+v", api, got.Optional)
		}
	}
	if !reflect.DeepEqual(all[0], all[1]) {
		t.Errorf("the APIs differ:\n%+v\n%+v", all[0], all[1])
	}
	// A variable that is used again holds nothing of the event before.
	var again struct{ Phone Optional[string] }
	again.Phone.Set("before")
	if err := pubsub.Decode(&again); err != nil || !holds(again.Phone, "2") || again.Phone.IsSet() {
		t.Errorf("%+v, %v", again, err)
	}
}

// The Streaming API says since version 47.0 what changed: without that all of it did.
func TestAnOldAPIVersionEnrichesNothing(t *testing.T) {
	for _, header := range []string{`{"changeType":"UPDATE"}`, `{"changeType":"UPDATE","changedFields":null}`} {
		m := streamedChange(`{"ChangeEventHeader":` + header + `,"Phone":"1","Fax":null}`)
		fields, err := m.Fields()
		enriched, bad := m.Enriched()
		change, worse := m.Change()
		if err != nil || bad != nil || worse != nil || fields["Phone"] != "1" || enriched != nil || !reflect.DeepEqual(change.NulledFields, []string{"Fax"}) {
			t.Errorf("%v, %v, %+v", fields, enriched, change)
		}
	}
}

func TestOtherEventsHaveNothingEnriched(t *testing.T) {
	for _, data := range []string{
		`{"payload":{"N__c":1},"event":{"replayId":1}}`, `{"payload":"text","event":{"replayId":1}}`, `{"sobject":{"Id":"1"},"event":{"type":"updated"}}`,
	} {
		m := new(Message)
		m.readEvent(new(codec), "/x", []byte(data))
		if enriched, err := m.Enriched(); err != nil || enriched != nil {
			t.Errorf("%s: %v, %v", data, enriched, err)
		}
	}
	if _, err := new(Message).Enriched(); err == nil {
		t.Error("of no message there is something")
	}
}

// Whatever a payload says, what an Optional tells agrees with Fields and Enriched.
func FuzzEnriched(f *testing.F) {
	_, cometd := enrichedUpdate(f)
	f.Add(string(cometd.payload))
	for _, payload := range []string{
		`{"ChangeEventHeader":{"changeType":"UPDATE","changedFields":["A.B","A","C.D"]},"A":{"B":1,"C":null},"C":"text","Phone":"1"}`,
		`{"ChangeEventHeader":{"changeType":"DELETE"},"A":{"B":{"C":null}},"Phone":null}`,
		`{"ChangeEventHeader":{"changeType":"UPDATE","changedFields":[1,null,".",""]},"":{"":1},"Phone":["1"]}`,
	} {
		f.Add(`{"payload":` + payload + `}`)
	}
	f.Fuzz(func(t *testing.T, data string) {
		m := new(Message)
		m.readEvent(new(codec), "/data/ChangeEvents", []byte(data))
		value, enriched, err := m.value()
		if err != nil {
			return
		}
		fields, isMap := value.(map[string]any)
		if !isMap {
			return
		}
		got, err := Decode[struct{ Phone Optional[any] }](m)
		if err != nil {
			t.Fatal(err)
		}
		_, is := fields["Phone"]
		along, came := enriched["Phone"]
		if value, ok := got.Phone.Enriched(); (ok != came || !reflect.DeepEqual(value, along)) && !is {
			t.Errorf("the phone is %+v, of %v", got.Phone, along)
		}
		if got.Phone.IsZero() == is {
			t.Errorf("the phone is %v, of %v", got.Phone, fields["Phone"])
		}
	})
}
