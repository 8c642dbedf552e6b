package sfstreamtest_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hamba/avro/v2"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const sales = "/data/Sales__chn"

// withMembers defines Account, and a custom channel that carries it enriched.
func withMembers(t *testing.T, r *rig, members ...sfstreamtest.Member) {
	t.Helper()
	check(t, r.DefineObject("Account", fieldList("Name Text, Industry DynamicEnum, Fax Fax, BillingAddress Address, "+
		"External_Account_ID__c Text, LastModifiedDate DateTime")...))
	if len(members) == 0 {
		members = []sfstreamtest.Member{{
			Channel: "/data/AccountChangeEvent", Enriched: []string{"BillingAddress", "Industry", "External_Account_ID__c"},
		}}
	}
	check(t, r.DefineMembers(sales, members...))
}

func account(kind string, set map[string]any, ids ...string) sfstreamtest.Change {
	return sfstreamtest.Change{Object: "Account", Type: kind, RecordIDs: ids, Set: set}
}

func changed(t *testing.T, r *rig, c sfstreamtest.Change) sfstreamtest.Event {
	t.Helper()
	ev, err := r.Change(c)
	check(t, err)
	return ev
}

// decoded is a change event of the Pub/Sub API as another decoder reads it.
func decoded(t *testing.T, r *rig, e *eventbus.ConsumerEvent) map[string]any {
	t.Helper()
	info, err := r.client.GetSchema(r.ctx(), &eventbus.SchemaRequest{SchemaId: e.Event.SchemaId})
	check(t, err)
	schema, err := avro.ParseWithCache(info.SchemaJson, "", &avro.SchemaCache{})
	check(t, err)
	var body map[string]any
	check(t, avro.Unmarshal(schema, e.Event.Payload, &body))
	return body
}

func recordIDs(body map[string]any) string {
	header, _ := body["ChangeEventHeader"].(map[string]any)
	return fmt.Sprint(header["recordIds"])
}

// TestEnrichedFieldsComeAlong is the example of Salesforce's guide (eventbus/PROTOCOL.md, "Enriched
// and filtered channels"): Fax has changed, and BillingAddress, Industry and External_Account_ID__c
// come along.
func TestEnrichedFieldsComeAlong(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		withMembers(t, r)
		b := r.shaken()
		b.follow(sales, -1)
		stream := r.follow(sales, 100)
		changed(t, r, account("CREATE", map[string]any{
			"Name": "Acme", "Industry": "Biotechnology", "BillingAddress": map[string]any{"City": "Lyon", "State": "ARA"},
		}, "001A"))
		changed(t, r, account("UPDATE", map[string]any{"Fax": "1"}, "001A"))
		changed(t, r, account("UPDATE", map[string]any{"BillingAddress": map[string]any{"City": "Paris"}}, "001A"))
		changed(t, r, account("DELETE", nil, "001A"))

		var events []*eventbus.ConsumerEvent
		for len(events) < 4 {
			events = append(events, recv(t, stream).Events...)
		}
		created, fax, city, deleted := decoded(t, r, events[0]), decoded(t, r, events[1]), decoded(t, r, events[2]), decoded(t, r, events[3])
		header, _ := fax["ChangeEventHeader"].(map[string]any)
		if got := fmt.Sprint(header["changedFields"], header["nulledFields"]); got != "[0x48] []" {
			t.Errorf("changed and nulled are %s", got) // Fax 3, LastModifiedDate 6
		}
		for name, body := range map[string]map[string]any{"update": fax, "delete": deleted} {
			address := fmt.Sprint(body["BillingAddress"])
			wantCity := "City:Lyon"
			if name == "delete" {
				wantCity = "City:Paris"
			}
			if body["Industry"] != "Biotechnology" || !strings.Contains(address, wantCity) || !strings.Contains(address, "State:ARA") {
				t.Errorf("%s has not what is enriched: %v", name, body)
			}
			if body["External_Account_ID__c"] != nil || body["Name"] != nil {
				t.Errorf("%s has what is empty, or is not enriched: %v", name, body)
			}
		}
		if deleted["Fax"] != nil || created["Fax"] != nil {
			t.Errorf("Fax of the delete %v, of the create %v", deleted["Fax"], created["Fax"])
		}
		header, _ = city["ChangeEventHeader"].(map[string]any)
		if got := fmt.Sprint(header["changedFields"]); got != "[0x40 4-0x02]" || !strings.Contains(fmt.Sprint(city["BillingAddress"]), "State:ARA") {
			t.Errorf("changed %s, address %v", got, city["BillingAddress"])
		}

		got, _ := b.connect()
		for i, want := range []string{
			`"changedFields":[]},"Name":"Acme","Industry":"Biotechnology","BillingAddress":{"City":"Lyon","State":"ARA"}}`,
			`"changedFields":["Fax","LastModifiedDate"]},"Industry":"Biotechnology","Fax":"1","BillingAddress":{"City":"Lyon","State":"ARA"},"LastModifiedDate":`,
			`"changedFields":["LastModifiedDate","BillingAddress.City"]},"Industry":"Biotechnology","BillingAddress":{"City":"Paris","State":"ARA"},"LastModifiedDate":`,
			`"changedFields":[]},"Industry":"Biotechnology","BillingAddress":{"City":"Paris","State":"ARA"}}`,
		} {
			if !strings.Contains(string(got[i].Data), want) || strings.Contains(string(got[i].Data), "EventUuid") {
				t.Errorf("%d over CometD: %s", i, got[i].Data)
			}
		}
		if plain := dataOfAll(t, r, "/data/AccountChangeEvent"); strings.Contains(plain[1], "Biotechnology") {
			t.Errorf("the object's own channel is enriched: %s", plain[1])
		}
	})
}

// dataOfAll returns the data of all events of a channel over CometD.
func dataOfAll(t *testing.T, r *rig, channel string) []string {
	t.Helper()
	var all []string
	for _, m := range r.shaken().follow(channel, -2) {
		all = append(all, string(m.Data))
	}
	return all
}

func TestAReplayHasTheValuesOfNow(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		withMembers(t, r)
		changed(t, r, account("CREATE", map[string]any{"Industry": "Energy"}, "001A"))
		live := r.follow(sales, 100)
		b := r.shaken()
		b.follow(sales, -1)
		changed(t, r, account("UPDATE", map[string]any{"Fax": "1"}, "001A"))
		changed(t, r, account("UPDATE", map[string]any{"Industry": "Banking"}, "001A"))
		changed(t, r, account("UPDATE", map[string]any{"Industry": "Media"}, "001A"))
		changed(t, r, account("DELETE", nil, "001A"))

		industries := func(events []*eventbus.ConsumerEvent) string {
			var got []string
			for _, e := range events {
				got = append(got, fmt.Sprint(decoded(t, r, e)["Industry"]))
			}
			return strings.Join(got, " ")
		}
		texts := func(all []string) string {
			var got []string
			for _, text := range all {
				var data struct{ Payload struct{ Industry string } }
				check(t, json.Unmarshal([]byte(text), &data))
				got = append(got, data.Payload.Industry)
			}
			return strings.Join(got, " ")
		}
		var came []*eventbus.ConsumerEvent
		for len(came) < 4 {
			came = append(came, recv(t, live).Events...)
		}
		if got := industries(came); got != "Energy Banking Media Media" {
			t.Errorf("live: %s", got)
		}
		events, _ := b.connect()
		var data []string
		for _, m := range events {
			data = append(data, string(m.Data))
		}
		if got := texts(data); got != "Energy Banking Media Media" {
			t.Errorf("live over CometD: %s", got)
		}
		// A field that an event changed keeps the event's value.
		if got := industries(recv(t, r.open(earliest(sales, 100))).Events); got != "Energy Media Banking Media Media" {
			t.Errorf("replayed: %s", got)
		}
		if got := texts(dataOfAll(t, r, sales)); got != "Energy Media Banking Media Media" {
			t.Errorf("replayed over CometD: %s", got)
		}
	})
}

func TestFiltersEnrichAndGroup(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		withMembers(t, r, sfstreamtest.Member{Channel: "/data/AccountChangeEvent", Filter: "Industry = 'Energy' AND BillingAddress.City != null"})
		city := map[string]any{"City": "Lyon"}
		changed(t, r, account("CREATE", map[string]any{"Industry": "Energy", "BillingAddress": city}, "001A", "001B"))
		changed(t, r, account("CREATE", map[string]any{"Industry": "Media", "BillingAddress": city}, "001C"))
		changed(t, r, account("CREATE", map[string]any{"Industry": "Energy"}, "001D"))
		changed(t, r, account("UPDATE", map[string]any{"Fax": "1"}, "001A", "001B", "001C", "001D"))
		changed(t, r, account("GAP_UPDATE", nil, "001C"))

		var got []string
		for _, e := range recv(t, r.open(earliest(sales, 100))).Events {
			body := decoded(t, r, e)
			got = append(got, recordIDs(body)+fmt.Sprint(body["Industry"]))
		}
		want := []string{"[001A]Energy", "[001B]Energy", "[001A]Energy", "[001B]Energy", "[001C]<nil>"}
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}

		check(t, r.DefineMembers("/event/Big__chn", sfstreamtest.Member{Channel: orders, Filter: "Amount__c >= 2"}))
		events := r.publish(4)
		if ids := recvIDs(t, r.open(earliest("/event/Big__chn", 100)), 2); !slices.Equal(ids, idsOf(events[2:])) {
			t.Errorf("got %v, want %v", ids, idsOf(events[2:]))
		}
	})
}

func TestMembersThatAreNone(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		withMembers(t, r)
		for text, m := range map[string]sfstreamtest.Member{
			"there is no field Nope":              {Channel: "/data/AccountChangeEvent", Enriched: []string{"Nope"}},
			"there is no field Nope__c":           {Channel: "/data/AccountChangeEvent", Filter: "Nope__c = 1"},
			"there is no field ChangeEventHeader": {Channel: "/data/AccountChangeEvent", Enriched: []string{"ChangeEventHeader"}},
			"filter":                              {Channel: "/data/AccountChangeEvent", Filter: "Industry"},
			"only change events can be enriched":  {Channel: orders, Enriched: []string{"Amount__c"}},
			"is not defined":                      {Channel: "/data/NoneChangeEvent"},
		} {
			if err := r.DefineMembers(sales, m); err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%+v: %v, want %q", m, err, text)
			}
		}
	})
}
