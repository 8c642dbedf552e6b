package sfstreamtest_test

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// A stage, an amount and a date change together: the bitmap is the one of Salesforce's own guide.
func TestRESTDerivesWhatAnOpportunityFollows(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		check(t, r.DefineObject("Opportunity"))
		id := r.made("/sobjects/Opportunity", order)
		stream := r.open(earliest(opportunities, 10))
		created := r.decoded(stream, 1)[0]
		if h := headerOf(created); h["changeType"] != "CREATE" || len(h["changedFields"].([]any)) != 0 {
			t.Errorf("%v", h)
		}
		for name, want := range (object{"Name": "Big", "Probability": 10.0, "OwnerId": r.Account().UserID, "CreatedById": r.Account().UserID}) {
			if created[name] != want {
				t.Errorf("%s is %v, want %v", name, created[name], want)
			}
		}
		r.want(http.StatusNoContent, "PATCH", "/sobjects/Opportunity/"+id, `{"StageName":"Closed Won","Amount":1250.5,"CloseDate":"2025-12-31"}`)
		e := r.decoded(stream, 1)[0]
		if h := headerOf(e); !reflect.DeepEqual(h["changedFields"], []any{"0x650004E0"}) {
			t.Errorf("%v", h["changedFields"])
		}
		if e["Probability"] != 100.0 || e["CloseDate"] != time.Date(2025, 12, 31, 0, 0, 0, 0, time.UTC).UnixMilli() || e["Name"] != nil {
			t.Errorf("%v", e)
		}
	})
}

// One request is one transaction: equal changes are one event of several records, others are
// counted.
func TestRESTCollectionIsATransaction(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		check(t, r.DefineObject("Opportunity"))
		check(t, r.DefineObject("Account"))
		rec := func(kind, fields string) string { return `{"attributes":{"type":"` + kind + `"},` + fields + `}` }
		ids, _ := r.results("POST", "", `{"records":[`+strings.Join([]string{
			rec("Opportunity", order[1:len(order)-1]), rec("Opportunity", order[1:len(order)-1]), rec("Account", `"Name":"Acme","BillingCity":"Lyon"`),
		}, ",")+`]}`)
		all := r.open(earliest("/data/ChangeEvents", 10))
		made := r.decoded(all, 2)
		if h := headerOf(made[0]); !reflect.DeepEqual(h["recordIds"], []any{ids[0], ids[1]}) {
			t.Errorf("equal records: %v", h)
		}
		one, two := headerOf(made[0]), headerOf(made[1])
		if one["transactionKey"] != two["transactionKey"] || one["commitNumber"] != two["commitNumber"] || one["sequenceNumber"] != 1 || two["sequenceNumber"] != 2 {
			t.Errorf("%v, %v", one, two)
		}
		if city := made[1]["BillingAddress"].(object)["com.sforce.eventbus.Address"].(object)["City"]; city != "Lyon" {
			t.Errorf("%v", made[1]["BillingAddress"])
		}
		changed, _ := r.results("PATCH", "", fmt.Sprintf(`{"records":[%s,%s,%s]}`,
			rec("Opportunity", `"id":"`+ids[0]+`","NextStep":"call"`), rec("Account", `"Id":"`+ids[2]+`","BillingCity":null,"BillingState":"ARA"`),
			rec("Opportunity", `"Id":"`+ids[1][:15]+`","NextStep":"call"`)))
		if !slices.Equal(changed, []string{ids[0], ids[2], ids[1]}) {
			t.Errorf("%v", changed)
		}
		events := r.decoded(all, 2)
		if h := headerOf(events[0]); !reflect.DeepEqual(h["recordIds"], []any{ids[0], ids[1]}) || !reflect.DeepEqual(h["changedFields"], []any{"0x01001000"}) {
			t.Errorf("%v", h)
		}
		if h := headerOf(events[1]); !reflect.DeepEqual(h["changedFields"], []any{"0x400000", "4-0x06"}) || !reflect.DeepEqual(h["nulledFields"], []any{"4-0x02"}) {
			t.Errorf("%v", h)
		}
		gone, _ := r.results("DELETE", "?ids="+strings.Join(ids, ","), "")
		if !slices.Equal(gone, ids) {
			t.Errorf("%v", gone)
		}
		if h := headerOf(r.decoded(all, 2)[0]); h["changeType"] != "DELETE" || !reflect.DeepEqual(h["recordIds"], []any{ids[0], ids[1]}) {
			t.Errorf("%v", h)
		}
	})
}

func TestRESTAllOrNone(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		const good, bad = `{"attributes":{"type":"Account"},"Name":"Acme"}`, `{"attributes":{"type":"Account"},"Phone":"1"}`
		for _, all := range []bool{true, false} {
			body := fmt.Sprintf(`{"allOrNone":%v,"records":[%s,%s]}`, all, good, bad)
			codes, _ := r.results("POST", "", body)
			found := r.want(http.StatusOK, "GET", "/query?q=SELECT+COUNT()+FROM+Account", "").(object)["totalSize"]
			if all && (codes[0] != "ALL_OR_NONE_OPERATION_ROLLED_BACK" || found != 0.0) || !all && found != 1.0 || codes[1] != "REQUIRED_FIELD_MISSING" {
				t.Errorf("allOrNone %v: %v, %v records", all, codes, found)
			}
		}
	})
}

// Each mistake has the status and the code that Salesforce answers, and changes nothing.
func TestRESTRefusesWrites(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		check(t, r.DefineObject("Account"))
		id := r.made("/sobjects/Account/", `{"Name":"Acme"}`)
		gone := r.made("/sobjects/Account/", `{"Name":"Gone"}`)
		r.want(http.StatusNoContent, "DELETE", "/sobjects/Account/"+gone, "")
		for _, c := range []struct {
			method, path, body string
			status             int
			code               string
		}{
			{"PATCH", "Account/" + id, `{"Nonsense":1}`, 400, "INVALID_FIELD"},
			{"PATCH", "Account/" + id, `{"Name":1}`, 400, "JSON_PARSER_ERROR"},
			{"PATCH", "Account/" + id, `{"AnnualRevenue":"much"}`, 400, "JSON_PARSER_ERROR"},
			{"PATCH", "Account/" + id, `{"NumberOfEmployees":1.5}`, 400, "JSON_PARSER_ERROR"},
			{"PATCH", "Account/" + id, `{"NumberOfEmployees":3000000000}`, 400, "JSON_PARSER_ERROR"},
			{"PATCH", "Account/" + id, `{"Contract_Start__c":"yesterday"}`, 400, "JSON_PARSER_ERROR"},
			{"PATCH", "Account/" + id, `{"Active__c":1}`, 400, "JSON_PARSER_ERROR"},
			{"PATCH", "Account/" + id, `{"Description":{}}`, 400, "JSON_PARSER_ERROR"},
			{"PATCH", "Account/" + id, `{"LastModifiedDate":"2026-01-01T00:00:00Z"}`, 400, "INVALID_FIELD_FOR_INSERT_UPDATE"},
			{"PATCH", "Account/" + id, `{"BillingAddress":{"city":"Lyon"}}`, 400, "INVALID_FIELD_FOR_INSERT_UPDATE"},
			{"PATCH", "Account/" + id, `{"Name":null}`, 400, "REQUIRED_FIELD_MISSING"},
			{"PATCH", "Account/" + id, `{"Name":""}`, 400, "REQUIRED_FIELD_MISSING"},
			{"POST", "Account", `{"Name":""}`, 400, "REQUIRED_FIELD_MISSING"},
			{"PATCH", "Account/" + id, `[]`, 400, "JSON_PARSER_ERROR"},
			{"PATCH", "Account/x", `{}`, 400, "MALFORMED_ID"},
			{"PATCH", "Account/001000000000009AAA", `{}`, 404, "NOT_FOUND"},
			{"PATCH", "Account/" + gone, `{}`, 404, "ENTITY_IS_DELETED"},
			{"DELETE", "Account/" + gone, ``, 404, "ENTITY_IS_DELETED"},
			{"POST", "Account/" + id, `{}`, 405, "METHOD_NOT_ALLOWED"},
			{"PUT", "Account/" + id, `{}`, 405, "METHOD_NOT_ALLOWED"},
			{"PATCH", "Account/", `{}`, 405, "METHOD_NOT_ALLOWED"},
			{"DELETE", "Account", ``, 405, "METHOD_NOT_ALLOWED"},
			{"POST", "Nonsense", `{}`, 404, "NOT_FOUND"},
			{"POST", "User", `{}`, 404, "NOT_FOUND"},
			{"PATCH", "Order_Event__e/" + id, `{}`, 404, "NOT_FOUND"},
			{"PATCH", "Account/Nonsense/x", `{}`, 404, "NOT_FOUND"},
		} {
			reply := r.want(c.status, c.method, "/sobjects/"+c.path, c.body).([]any)[0].(object)
			if reply["errorCode"] != c.code || reply["message"] == "" {
				t.Errorf("%s %s %s: %v, want %s", c.method, c.path, c.body, reply, c.code)
			}
		}
		many := strings.Repeat(`{"attributes":{"type":"Account"},"Name":"Acme"},`, 201)
		mixed := strings.Repeat(`{"attributes":{"type":"Account"},"Name":"Acme"},{"attributes":{"type":"Order_Event__e"}},`, 6)
		for body, code := range map[string]string{many: "EXCEEDED_ID_LIMIT", mixed: "INVALID_OPERATION"} {
			reply := r.want(http.StatusBadRequest, "POST", "/composite/sobjects", `{"records":[`+strings.TrimSuffix(body, ",")+`]}`).([]any)[0].(object)
			if reply["errorCode"] != code {
				t.Errorf("%v", reply)
			}
		}
		twice, _ := r.results("PATCH", "", strings.ReplaceAll(`{"records":[{"attributes":{"type":"Account"},"id":"ID","Phone":"1"},
			{"attributes":{"type":"Account"},"id":"ID","Phone":"2"},{"attributes":{"type":"Account"},"id":"001000000000009AAA"}]}`, "ID", id))
		if !slices.Equal(twice, []string{id, "DUPLICATE_VALUE", "INVALID_CROSS_REFERENCE_KEY"}) {
			t.Errorf("%v", twice)
		}
		created := r.decoded(r.open(earliest("/data/AccountChangeEvent", 100)), 4)
		if len(created) != 4 { // two created, one deleted, one changed
			t.Errorf("%d events", len(created))
		}
	})
}

// What is written in REST's forms is read in them, and events have it as the fields' types say.
func TestRESTValues(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		contacts(t, r)
		check(t, r.DefineObject("Shift__c", sfstreamtest.Field{Name: "Begins__c", Type: "TimeOnly"}, sfstreamtest.Field{Name: "Count__c", Type: "Integer"}))
		id := r.made("/sobjects/contact", `{"LastName":"Byron","FirstName":"Ada","Birthdate":"1815-12-10","Seen__c":"2026-01-02T03:04:05.678+0100",
			"Score__c":"2.5","Active__c":true,"MailingCity":"London","Site__Latitude__s":51.5,"Description":"a\nb"}`)
		got := r.want(http.StatusOK, "GET", "/sobjects/Contact/"+id, "").(object)
		for name, want := range map[string]any{
			"Name": "Ada Byron", "LastName": "Byron", "Birthdate": "1815-12-10", "Seen__c": "2026-01-02T02:04:05.678+0000", "Score__c": 2.5,
			"Active__c": true, "MailingCity": "London", "Site__Latitude__s": 51.5, "Description": "a\nb", "Phone": nil,
		} {
			if got[name] != want {
				t.Errorf("%s is %v, want %v", name, got[name], want)
			}
		}
		e := r.decoded(r.open(earliest("/data/ContactChangeEvent", 1)), 1)[0]
		if e["Birthdate"] != time.Date(1815, 12, 10, 0, 0, 0, 0, time.UTC).UnixMilli() || e["Seen__c"] != time.Date(2026, 1, 2, 2, 4, 5, 678e6, time.UTC).UnixMilli() {
			t.Errorf("%v", e)
		}
		shift := r.made("/sobjects/Shift__c", `{"Begins__c":"22:30:00.500Z","Count__c":7}`)
		if got := r.want(http.StatusOK, "GET", "/sobjects/Shift__c/"+shift, "").(object); got["Begins__c"] != "22:30:00.500Z" || got["Count__c"] != 7.0 {
			t.Errorf("%v", got)
		}
		if e := r.decoded(r.open(earliest("/data/Shift__ChangeEvent", 1)), 1)[0]; e["Begins__c"] != int64(81000500) || e["Count__c"] != 7 {
			t.Errorf("%v", e)
		}
	})
}

// An update that changes nothing modifies the record all the same, or leaves no trace.
func TestRESTUpdateThatChangesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		check(t, r.DefineObject("Account"))
		id := r.made("/sobjects/Account", `{"Name":"Acme","AnnualRevenue":5}`)
		stream := r.follow("/data/AccountChangeEvent", 10)
		const same = `{"Name":"Acme","AnnualRevenue":5.0,"Phone":null}`
		r.SkipEmptyUpdates(true)
		r.want(http.StatusNoContent, "PATCH", "/sobjects/Account/"+id, same)
		r.SkipEmptyUpdates(false)
		r.want(http.StatusNoContent, "PATCH", "/sobjects/Account/"+id, same)
		r.want(http.StatusNoContent, "PATCH", "/sobjects/Account/"+id, `{"Phone":"1"}`)
		events := r.decoded(stream, 2)
		if one, two := headerOf(events[0]), headerOf(events[1]); !reflect.DeepEqual(one["changedFields"], []any{"0x400000"}) ||
			!reflect.DeepEqual(two["changedFields"], []any{"0x400040"}) {
			t.Errorf("%v, %v", one, two)
		}
	})
}

// Objects whose changes nobody captures have records too, and PushTopics follow them.
func TestRESTWritesWithoutCapture(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		check(t, r.DefinePushTopic(sfstreamtest.PushTopic{Name: "Won", Query: "SELECT Id, Amount FROM Opportunity WHERE StageName = 'Closed Won'"}))
		id := r.made("/sobjects/Opportunity", order)
		b := r.shaken()
		b.follow("/topic/Won", -1)
		r.want(http.StatusNoContent, "PATCH", "/sobjects/Opportunity/"+id, `{"StageName":"Closed Won"}`)
		if events, _ := b.connect(); len(events) != 1 || !containsText(events[0].Data, id) || !containsText(events[0].Data, `"Amount":10.0`) {
			t.Errorf("%v", events)
		}
		r.want(http.StatusNoContent, "POST", "/sobjects/Opportunity/"+id+"?_HttpMethod=DELETE", "")
		r.want(http.StatusNotFound, "GET", "/sobjects/Opportunity/"+id, "")
	})
}

func TestRESTUpsert(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		made := r.want(http.StatusCreated, "PATCH", "/sobjects/Account/AccountNumber/A-1", `{"Name":"Acme"}`).(object)
		again := r.want(http.StatusOK, "PATCH", "/sobjects/Account/AccountNumber/A-1", `{"Phone":"1"}`).(object)
		if made["created"] != true || again["created"] != false || again["id"] != made["id"] {
			t.Errorf("%v, %v", made, again)
		}
		r.made("/sobjects/Account", `{"Name":"Other","AccountNumber":"A-1"}`)
		r.want(http.StatusMultipleChoices, "PATCH", "/sobjects/Account/AccountNumber/A-1", `{"Phone":"2"}`)
	})
}

// A change that is too large for an event is told by a gap event, and REST has its values.
func TestRESTChangeTooLargeForAnEvent(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		check(t, r.DefineObject("Account"))
		id := r.made("/sobjects/Account", `{"Name":"Acme"}`)
		stream := r.follow("/data/AccountChangeEvent", 10)
		text := strings.Repeat("x", 1000)
		r.want(http.StatusNoContent, "PATCH", "/sobjects/Account/"+id, `{"Description":"`+text+`"}`)
		if h := headerOf(r.decoded(stream, 1)[0]); h["changeType"] != "GAP_UPDATE" || !reflect.DeepEqual(h["recordIds"], []any{id}) {
			t.Errorf("%v", h)
		}
		if got := r.want(http.StatusOK, "GET", "/sobjects/Account/"+id, "").(object); got["Description"] != text {
			t.Errorf("%v", got)
		}
	}, sfstreamtest.WithEventBytes(600))
}

// What is required is so after a restart.
func TestRequiredFieldsAreKept(t *testing.T) {
	path := t.TempDir() + "/org.log"
	r := newRig(t, sfstreamtest.WithLog(path))
	check(t, r.RequireFields("Order_Event__e", "City__c"))
	check(t, r.Close())
	r = newRig(t, sfstreamtest.WithLog(path))
	r.want(http.StatusBadRequest, "POST", "/sobjects/Order_Event__e", `{}`)
	r.want(http.StatusCreated, "POST", "/sobjects/Order_Event__e", `{"City__c":"Lyon"}`)
}

// Requests that write one record at once take turns, from reading what it has to its event: each
// event of a phone that has two numbers by turns has the other one than the event before.
func TestRESTWritesOfARecordTakeTurns(t *testing.T) {
	r := newRig(t)
	check(t, r.DefineObject("Account"))
	r.SkipEmptyUpdates(true)
	id := r.made("/sobjects/Account", `{"Name":"Acme"}`)
	const writers, each = 4, 24
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for n := range each {
				if status, reply := r.rest("PATCH", "/sobjects/Account/"+id, fmt.Sprintf(`{"Phone":"%d"}`, n%2)); status != http.StatusNoContent {
					t.Errorf("%d %v", status, reply)
				}
			}
		})
	}
	group.Wait()
	r.want(http.StatusNoContent, "PATCH", "/sobjects/Account/"+id, `{"Rating":"end"}`)
	stream := r.open(earliest("/data/AccountChangeEvent", 100))
	var events []map[string]any
	for len(events) == 0 || events[len(events)-1]["Rating"] != "end" {
		events = append(events, r.decoded(stream, 1)...)
	}
	events = events[1 : len(events)-1] // without the first and the last, which are about others
	for n, e := range events {
		if n > 0 && e["Phone"] == events[n-1]["Phone"] {
			t.Errorf("event %d: %v again", n, e["Phone"])
		}
	}
	if len(events) < each {
		t.Errorf("%d events", len(events))
	}
}
