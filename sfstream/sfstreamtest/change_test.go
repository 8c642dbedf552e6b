package sfstreamtest_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hamba/avro/v2"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// The values that the payload vectors P1, P2, P4 and P5 have in common.
var commit = time.UnixMilli(1735689600000)

func vectorChange(c sfstreamtest.Change) sfstreamtest.Change {
	c.TransactionKey = "0000f0a1-0b2c-3d4e-5f60-718293a4b5c6"
	c.CommitTime, c.CommitNumber = commit, 1735689600123456789
	if !strings.HasPrefix(c.Type, "GAP_") {
		c.Origin = "com/salesforce/api/soap/62.0;client=SfdcInternalAPI/"
	}
	return c
}

var vectors = map[string]sfstreamtest.Change{
	"p1": vectorChange(sfstreamtest.Change{
		Object: "Account", Type: "UPDATE", RecordIDs: []string{"001000000000001AAA"},
		Set:  map[string]any{"BillingAddress": map[string]any{"City": "Lyon", "State": "ARA"}},
		Null: []string{"Description"},
	}),
	"p2": vectorChange(sfstreamtest.Change{
		Object: "Opportunity", Type: "UPDATE", RecordIDs: []string{"006000000000001AAA"},
		Set: map[string]any{
			"StageName": "Closed Won", "Amount": 1250.5, "Probability": 100, "CloseDate": 1735603200000,
			"LastStageChangeDate":        commit,
			"LastAmountChangedHistoryId": "008000000000001AAA", "LastCloseDateChangedHistoryId": "008000000000002AAA",
		},
	}),
	"p4": vectorChange(sfstreamtest.Change{
		Object: "Account", Type: "CREATE", RecordIDs: []string{"001000000000001AAA"},
		Set: map[string]any{
			"Name":              map[string]any{"FirstName": "Ada", "LastName": "Byron"},
			"NumberOfEmployees": -1, "Active__c": true,
			"Site_Location__c": map[string]any{"Latitude": 48.85, "Longitude": 2.35},
		},
	}),
	"p5": vectorChange(sfstreamtest.Change{
		Object: "Account", Type: "GAP_UPDATE", RecordIDs: []string{"001000000000001AAA"},
	}),
}

func accountFields() []sfstreamtest.Field {
	return fieldList("Name Switchable_PersonName, Type DynamicEnum, ParentId EntityId, BillingAddress Address, " +
		"ShippingAddress Address, Phone Phone, Fax Fax, AccountNumber Text, Website Url, Sic Text, Industry DynamicEnum, " +
		"AnnualRevenue Currency, NumberOfEmployees Integer, Ownership DynamicEnum, TickerSymbol Content, " +
		"Description StringPlusClob, Rating DynamicEnum, Site Text, OwnerId EntityId, CreatedDate DateTime, " +
		"CreatedById EntityId, LastModifiedDate DateTime, LastModifiedById EntityId, Active__c Boolean, " +
		"Contract_Start__c DateOnly, Site_Location__c Location")
}

func opportunityFields() []sfstreamtest.Field {
	return fieldList("AccountId EntityId, IsPrivate Boolean, Name Text, Description StringPlusClob, StageName DynamicEnum, " +
		"Amount Currency, Probability Percent, ExpectedRevenue Currency, TotalOpportunityQuantity Double, CloseDate DateOnly, " +
		"Type DynamicEnum, NextStep Text, LeadSource DynamicEnum, IsClosed Boolean, IsWon Boolean, ForecastCategory StaticEnum, " +
		"ForecastCategoryName DynamicEnum, CampaignId EntityId, HasOpportunityLineItem Boolean, Pricebook2Id EntityId, " +
		"OwnerId EntityId, CreatedDate DateTime, CreatedById EntityId, LastModifiedDate DateTime, LastModifiedById EntityId, " +
		"LastStageChangeDate DateTime, ContactId EntityId, ContractId EntityId, LastAmountChangedHistoryId EntityId, " +
		"LastCloseDateChangedHistoryId EntityId")
}

func fieldList(text string) []sfstreamtest.Field {
	var fields []sfstreamtest.Field
	for f := range strings.SplitSeq(text, ", ") {
		name, typ, _ := strings.Cut(f, " ")
		fields = append(fields, sfstreamtest.Field{Name: name, Type: typ})
	}
	return fields
}

func vectorBytes(tb testing.TB, name string) []byte {
	tb.Helper()
	text, err := os.ReadFile("testdata/" + name + ".hex")
	check(tb, err)
	data, err := hex.DecodeString(strings.TrimSpace(string(text)))
	check(tb, err)
	return data
}

func TestChangesHaveTheBytesOfTheVectors(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		check(t, r.DefineObject("Account", accountFields()...))
		check(t, r.DefineEvent("/data/OpportunityChangeEvent", schemaFile(t, "opportunity")))
		for name, change := range vectors {
			ev, err := r.Change(change)
			check(t, err)
			channel := "/data/" + change.Object + "ChangeEvent"
			for _, channel := range []string{channel, "/data/ChangeEvents"} {
				stream := r.open(earliest(channel, 100))
				events := recv(t, stream).Events
				e := events[len(events)-1].Event
				if got, want := hex.EncodeToString(e.Payload), hex.EncodeToString(vectorBytes(t, name)); got != want {
					t.Errorf("%s on %s:\n got %s\nwant %s", name, channel, got, want)
				}
				if e.Id != ev.ID || e.SchemaId != ev.SchemaID {
					t.Errorf("%s on %s: event %s of schema %s, want %+v", name, channel, e.Id, e.SchemaId, ev)
				}
				check(t, stream.CloseSend())
				wantEnd(t, stream, 0, "")
			}
		}
	})
}

func TestPublishHasTheBytesOfP3(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		const channel = "/event/NewOrderConfirmation__e"
		check(t, r.DefineEvent(channel, schemaFile(t, "neworder")))
		_, err := r.Publish(channel, map[string]any{
			"CreatedDate": json.Number("1735689660000"), "CreatedById": "005000000000001AAA",
			"OpptyRecordId__c": "006000000000001AAA", "EstimatedDeliveryDate__c": time.UnixMilli(1736121660000), "Weight__c": 58.2,
		})
		check(t, err)
		got := recv(t, r.open(earliest(channel, 1))).Events[0].Event.Payload
		if want := vectorBytes(t, "p3"); string(got) != string(want) {
			t.Errorf("\n got %x\nwant %x", got, want)
		}
	})
}

func TestSchemaIDsAreThoseOfSalesforce(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		check(t, r.DefineObject("Account", accountFields()...))
		check(t, r.DefineObject("Opportunity", opportunityFields()...))
		check(t, r.DefineEvent("/event/NewOrderConfirmation__e", schemaFile(t, "neworder")))
		for channel, want := range map[string]string{
			"/data/AccountChangeEvent":       "0z2rNmNvbmF9YlfRyCQrew",
			"/data/OpportunityChangeEvent":   "YwIgxO-1i8y-9SIvwTLV8g",
			"/event/NewOrderConfirmation__e": "P13JYfLSTLjytrF0tANZEA",
			orders:                           "_CADE3qaegX3ECEW0rlbYA",
		} {
			info, err := r.client.GetTopic(r.ctx(), &eventbus.TopicRequest{TopicName: channel})
			check(t, err)
			if info.SchemaId != want {
				t.Errorf("%s has schema %s, want %s", channel, info.SchemaId, want)
			}
		}
		extended := append(opportunityFields(), sfstreamtest.Field{Name: "Carrier__c", Type: "Text"})
		check(t, r.DefineObject("Opportunity", extended...))
		info, err := r.client.GetTopic(r.ctx(), &eventbus.TopicRequest{TopicName: "/data/OpportunityChangeEvent"})
		check(t, err)
		if want := "aQLgvmnIzbMW_3XrGw3dlw"; info.SchemaId != want {
			t.Errorf("after a new field: schema %s, want %s", info.SchemaId, want)
		}
	})
}

// The docs have no influence on the schema's id, but clients read them.
func TestDefineObjectWritesTheSchemaOfARealOrg(t *testing.T) {
	for object, fields := range map[string][]sfstreamtest.Field{"account": accountFields(), "opportunity": opportunityFields()} {
		bubble(t, func(t *testing.T, r *rig) {
			name := strings.ToUpper(object[:1]) + object[1:]
			check(t, r.DefineObject(name, fields...))
			info, err := r.client.GetTopic(r.ctx(), &eventbus.TopicRequest{TopicName: "/data/" + name + "ChangeEvent"})
			check(t, err)
			got, err := r.client.GetSchema(r.ctx(), &eventbus.SchemaRequest{SchemaId: info.SchemaId})
			check(t, err)
			want := schemaFile(t, object)
			for i := range 3 { // the ids of custom fields are made up
				from := []string{"00N000000000001", "00N000000000002", "00N000000000003"}[i]
				to := []string{"00N000000000024", "00N000000000025", "00N000000000026"}[i]
				want = strings.ReplaceAll(want, from, to)
			}
			if got.SchemaJson != want {
				t.Errorf("\n got %s\nwant %s", got.SchemaJson, want)
			}
		})
	}
}

// header publishes a change and returns its header as another decoder reads it.
func header(t *testing.T, r *rig, c sfstreamtest.Change) map[string]any {
	t.Helper()
	_, err := r.Change(c)
	check(t, err)
	channel := "/data/" + strings.TrimSuffix(c.Object, "c") + "ChangeEvent"
	if !strings.HasSuffix(c.Object, "__c") {
		channel = "/data/" + c.Object + "ChangeEvent"
	}
	stream := r.open(earliest(channel, 100))
	events := recv(t, stream).Events
	e := events[len(events)-1].Event
	info, err := r.client.GetSchema(r.ctx(), &eventbus.SchemaRequest{SchemaId: e.SchemaId})
	check(t, err)
	parsed, err := avro.ParseWithCache(info.SchemaJson, "", &avro.SchemaCache{})
	check(t, err)
	var got map[string]any
	check(t, avro.Unmarshal(parsed, e.Payload, &got))
	check(t, stream.CloseSend())
	return got["ChangeEventHeader"].(map[string]any)
}

func TestBitmaps(t *testing.T) {
	wide := make([]sfstreamtest.Field, 80)
	for i := range wide {
		wide[i] = sfstreamtest.Field{Name: "F" + string(rune('A'+i/26)) + string(rune('A'+i%26)) + "__c", Type: "Text"}
	}
	update := func(object string, set map[string]any, null ...string) sfstreamtest.Change {
		return sfstreamtest.Change{Object: object, Type: "UPDATE", RecordIDs: []string{"001000000000001AAA"}, Set: set, Null: null}
	}
	for _, test := range []struct {
		name            string
		change          sfstreamtest.Change
		changed, nulled string
	}{
		{"LastModifiedDate alone", update("Account", nil), "0x400000", ""},
		{"one member", update("Account", map[string]any{"BillingAddress": map[string]any{"Street": "12 Main Street"}}), "0x400000 4-0x01", ""},
		{"members far apart", update("Account", map[string]any{"BillingAddress": map[string]any{
			"City": "a", "State": "b", "Country": "c", "Latitude": 1.5}}), "0x400000 4-0x96", ""},
		{"a name as a record", update("Account", map[string]any{"Name": map[string]any{"FirstName": "a", "LastName": "b"}}), "0x400000 1-0x06", ""},
		{"a name as text", update("Account", map[string]any{"Name": "Acme"}), "0x400002", ""},
		{"a nulled member", update("Account", nil, "BillingAddress.City"), "0x400000 4-0x02", "4-0x02"},
		{"a nil in Set", update("Account", map[string]any{"Description": nil}), "0x410000", "0x010000"},
		{"a whole compound", update("Account", nil, "Site_Location__c"), "0x400000 26-0x03", "26-0x03"},
		{"both compounds", update("Account", map[string]any{
			"ShippingAddress": map[string]any{"City": "a"}, "BillingAddress": map[string]any{"City": nil}}), "0x400000 4-0x02 5-0x02", "4-0x02"},
		{"the loop event", update("Opportunity", map[string]any{"Description": "x"}), "0x01000010", ""},
		{"more than 64 fields", update("Wide__c", map[string]any{wide[79].Name: "z", wide[30].Name: "y"}), "0x0100000000000080000000", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				check(t, r.DefineObject("Account", accountFields()...))
				check(t, r.DefineObject("Opportunity", opportunityFields()...))
				check(t, r.DefineObject("Wide__c", wide...))
				h := header(t, r, test.change)
				if got := join(h["changedFields"]); got != test.changed {
					t.Errorf("changedFields %s, want %s", got, test.changed)
				}
				if got := join(h["nulledFields"]); got != test.nulled {
					t.Errorf("nulledFields %s, want %s", got, test.nulled)
				}
			})
		})
	}
}

func join(list any) string {
	var texts []string
	for _, v := range list.([]any) {
		texts = append(texts, v.(string))
	}
	return strings.Join(texts, " ")
}

func TestGapsWildcardsAndDiffs(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		check(t, r.DefineObject("Account", accountFields()...))
		overflow := header(t, r, sfstreamtest.Change{Object: "Account", Type: "GAP_OVERFLOW"})
		if got := join(overflow["recordIds"]); got != "000000000000000AAA" {
			t.Errorf("record ids of an overflow: %s", got)
		}
		many := header(t, r, sfstreamtest.Change{Object: "Account", Type: "DELETE", RecordIDs: []string{"001*", "b", "c"}})
		if got := join(many["recordIds"]); got != "001* b c" {
			t.Errorf("record ids: %s", got)
		}
		diff := header(t, r, sfstreamtest.Change{
			Object: "Account", Type: "UPDATE", RecordIDs: []string{"a"},
			Set: map[string]any{"Description": "--- \n+++ 00\n@@ -1 +1 @@"}, Diff: []string{"Description"},
		})
		if got := join(diff["diffFields"]); got != "0x010000" {
			t.Errorf("diffFields: %s", got)
		}
		if n := diff["commitNumber"].(int64); n < 1<<53 {
			t.Errorf("commitNumber %d is below 2^53", n)
		}
	})
}

func TestChangesThatMakeNoSenseAreErrors(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		check(t, r.DefineObject("Account", accountFields()...))
		for name, change := range map[string]sfstreamtest.Change{
			"unknown object":   {Object: "Lead", Type: "CREATE", RecordIDs: []string{"a"}},
			"unknown type":     {Object: "Account", Type: "MERGE", RecordIDs: []string{"a"}},
			"no records":       {Object: "Account", Type: "CREATE"},
			"delete with body": {Object: "Account", Type: "DELETE", RecordIDs: []string{"a"}, Set: map[string]any{"Phone": "1"}},
			"unknown field":    {Object: "Account", Type: "UPDATE", RecordIDs: []string{"a"}, Set: map[string]any{"Colour": "red"}},
			"unknown member":   {Object: "Account", Type: "UPDATE", RecordIDs: []string{"a"}, Null: []string{"BillingAddress.Planet"}},
			"wrong kind":       {Object: "Account", Type: "CREATE", RecordIDs: []string{"a"}, Set: map[string]any{"Phone": 1}},
		} {
			if _, err := r.Change(change); err == nil {
				t.Errorf("%s: accepted", name)
			}
		}
	})
}
