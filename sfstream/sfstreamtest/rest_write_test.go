package sfstreamtest_test

import (
	"net/http"
	"reflect"
	"slices"
	"testing"

	"github.com/hamba/avro/v2"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

const opportunities = "/data/OpportunityChangeEvent"

// decoded returns the next n events of a stream as plain values, records in them as maps.
func (r *rig) decoded(stream eventbus.SubscribeStream, n int) []map[string]any {
	r.tb.Helper()
	var events []map[string]any
	for len(events) < n {
		for _, e := range recv(r.tb, stream).Events {
			info, err := r.client.GetSchema(r.ctx(), &eventbus.SchemaRequest{SchemaId: e.Event.SchemaId})
			check(r.tb, err)
			parsed, err := avro.ParseWithCache(info.SchemaJson, "", &avro.SchemaCache{})
			check(r.tb, err)
			var body map[string]any
			check(r.tb, avro.Unmarshal(parsed, e.Event.Payload, &body))
			body["id"] = e.Event.Id
			events = append(events, body)
		}
	}
	return events
}

// made creates a record and returns its id.
func (r *rig) made(path, body string) string {
	r.tb.Helper()
	reply := r.want(http.StatusCreated, "POST", path, body).(object)
	if reply["success"] != true || len(reply["errors"].([]any)) != 0 {
		r.tb.Errorf("%v", reply)
	}
	return reply["id"].(string)
}

func headerOf(event map[string]any) object { return event["ChangeEventHeader"].(object) }

const order = `{"Name":"Big","StageName":"Prospecting","CloseDate":"2026-03-31","Amount":10}`

// The schemas that the wire facts name are those of the objects that an org has.
func TestStandardObjectsHaveTheSchemasOfAnOrg(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for object, id := range map[string]string{"Account": "0z2rNmNvbmF9YlfRyCQrew", "Opportunity": "YwIgxO-1i8y-9SIvwTLV8g"} {
			check(t, r.DefineObject(object))
			info, err := r.client.GetTopic(r.ctx(), &eventbus.TopicRequest{TopicName: "/data/" + object + "ChangeEvent"})
			check(t, err)
			if info.SchemaId != id {
				t.Errorf("%s: %s, want %s", object, info.SchemaId, id)
			}
		}
	})
}

// The loop of the Inventory App: an update by a client that names itself becomes a change event
// with exactly the header that Salesforce sends.
func TestRESTUpdateBecomesAChangeEvent(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		check(t, r.DefineObject("Opportunity"))
		id := r.made("/sobjects/Opportunity", order)
		stream := r.follow(opportunities, 10)
		all := r.follow("/data/ChangeEvents", 10)
		r.options = "client=SalesforceListener"
		r.want(http.StatusNoContent, "PATCH", "/sobjects/Opportunity/"+id, `{"Description":"Estimated Delivery Date: 2026-01-06"}`)
		e := r.decoded(stream, 1)[0]
		h := headerOf(e)
		want := object{
			"entityName": "Opportunity", "recordIds": []any{id}, "changeType": "UPDATE",
			"changeOrigin": "com/salesforce/api/rest/60.0;client=SalesforceListener", "sequenceNumber": 1,
			"commitUser": r.Account().UserID, "changedFields": []any{"0x01000010"}, "nulledFields": []any(nil), "diffFields": []any(nil),
		}
		for name, v := range want {
			if got := h[name]; !reflect.DeepEqual(got, v) && !(v == nil || reflect.ValueOf(v).Kind() == reflect.Slice && reflect.ValueOf(v).Len() == 0 && reflect.ValueOf(got).Len() == 0) {
				t.Errorf("%s is %v, want %v", name, got, v)
			}
		}
		if e["Description"] != "Estimated Delivery Date: 2026-01-06" || e["Name"] != nil || e["LastModifiedDate"] != h["commitTimestamp"] {
			t.Errorf("%v", e)
		}
		if other := r.decoded(all, 1)[0]; other["id"] != e["id"] {
			t.Errorf("on /data/ChangeEvents: %v", other)
		}
		r.options = ""
		r.want(http.StatusNoContent, "POST", "/sobjects/Opportunity/"+id[:15]+"?_HttpMethod=PATCH", `{"Description":null,"Amount":10}`)
		h = headerOf(r.decoded(stream, 1)[0])
		if h["changeOrigin"] != "com/salesforce/api/rest/60.0" || !reflect.DeepEqual(h["nulledFields"], []any{"0x10"}) ||
			!reflect.DeepEqual(h["changedFields"], []any{"0x01000010"}) {
			t.Errorf("%v", h)
		}
		r.want(http.StatusNoContent, "PATCH", "/sobjects/Opportunity/"+id, `{"Description":"x"}`)
		r.want(http.StatusNoContent, "PATCH", "/sobjects/Opportunity/"+id, `{"Description":""}`)
		if h = headerOf(r.decoded(stream, 2)[1]); !reflect.DeepEqual(h["nulledFields"], []any{"0x10"}) {
			t.Errorf("an empty text is no value: %v", h)
		}
		got := r.want(http.StatusOK, "GET", "/sobjects/Opportunity/"+id, "").(object)
		if got["Description"] != nil || got["Amount"] != 10.0 || got["CloseDate"] != "2026-03-31" || got["Name"] != "Big" {
			t.Errorf("%v", got)
		}
	})
}

// results returns the results of a request of composite/sobjects: an id, "enqueued" or the code of
// the error for each record.
func (r *rig) results(method, query, body string) (codes []string, uuids []string) {
	r.tb.Helper()
	for _, item := range r.want(http.StatusOK, method, "/composite/sobjects"+query, body).([]any) {
		result := item.(object)
		errs := result["errors"].([]any)
		switch {
		case len(errs) == 0:
			codes = append(codes, result["id"].(string))
			continue
		case errs[0].(object)["statusCode"] == "OPERATION_ENQUEUED":
			uuids = append(uuids, errs[0].(object)["message"].(string))
			codes = append(codes, "enqueued")
		default:
			codes = append(codes, errs[0].(object)["statusCode"].(string))
		}
		if result["success"] != (codes[len(codes)-1] == "enqueued") {
			r.tb.Errorf("%v", result)
		}
	}
	return codes, uuids
}

// Events of one request are published in its order, also beside some that are refused, and
// allOrNone does not hold them back. Their UUIDs are those that subscribers of both APIs get.
func TestRESTPublishesCollections(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		stream := r.follow(orders, 10)
		b := r.shaken()
		b.follow(orders, -1)
		codes, uuids := r.results("POST", "/", `{"allOrNone":true,"records":[
			{"attributes":{"type":"Order_Event__e"},"Amount__c":1},
			{"attributes":{"type":"Order_Event__e"},"Nonsense__c":2},
			{"attributes":{"type":"Order_Event__e"},"Amount__c":"three"},
			{"attributes":{"type":"None__e"},"Amount__c":4},
			{"attributes":{"type":"Order_Event__e"},"City__c":5},
			{"attributes":{"type":"Order_Event__e"},"CreatedDate":"2026-01-01T00:00:00Z"},
			{"attributes":{"type":"Order_Event__e"},"amount__C":7}]}`)
		want := []string{"enqueued", "INVALID_FIELD", "JSON_PARSER_ERROR", "INVALID_TYPE", "JSON_PARSER_ERROR", "INVALID_FIELD_FOR_INSERT_UPDATE", "enqueued"}
		if !slices.Equal(codes, want) {
			t.Errorf("%v, want %v", codes, want)
		}
		if ids := recvIDs(t, stream, 2); !slices.Equal(ids, uuids) {
			t.Errorf("received %v, told of %v", ids, uuids)
		}
		events, _ := b.connect()
		for len(events) < 2 {
			more, _ := b.connect()
			events = append(events, more...)
		}
		for i, uuid := range uuids {
			if !containsText(events[i].Data, uuid) {
				t.Errorf("%s has no %s", events[i].Data, uuid)
			}
		}
	})
}

// Knobs: replies without UUIDs, collections that fail as a whole, fields that are required.
func TestRESTPublishKnobs(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.HideEventUUIDs(true)
		r.made("/sobjects/Order_Event__e", `{"Amount__c":1}`)
		r.HideEventUUIDs(false)

		const one, bad = `{"attributes":{"type":"Order_Event__e"},"Amount__c":1}`, `{"attributes":{"type":"Order_Event__e"},"Amount__c":"x"}`
		r.RefuseCollections(true)
		refused := r.want(http.StatusBadRequest, "POST", "/composite/sobjects", `{"records":[`+one+`,`+bad+`]}`)
		if refused.([]any)[0].(object)["errorCode"] != "JSON_PARSER_ERROR" {
			t.Errorf("%v", refused)
		}
		if ids := recvIDs(t, r.open(earliest(orders, 10)), 1); len(ids) != 1 {
			t.Errorf("%d events: some of a refused request", len(ids))
		}
		r.RefuseCollections(false)

		check(t, r.RequireFields("Order_Event__e", "City__c", "Amount__c"))
		lacking := r.want(http.StatusBadRequest, "POST", "/sobjects/Order_Event__e", `{"Amount__c":1,"City__c":null}`).([]any)[0].(object)
		if lacking["errorCode"] != "REQUIRED_FIELD_MISSING" || lacking["message"] != "Required fields are missing: [City__c]" {
			t.Errorf("%v", lacking)
		}
		check(t, r.RequireFields("Order_Event__e"))
		r.FailRecords("Order_Event__e", 2, "LIMIT_EXCEEDED")
		r.FailRecords("Account", 1, "UNABLE_TO_LOCK_ROW: wait")
		codes, _ := r.results("POST", "", `{"allOrNone":true,"records":[`+one+`,{"attributes":{"type":"Account"},"Name":"Acme"},`+one+`,`+one+`]}`)
		if want := []string{"LIMIT_EXCEEDED", "UNABLE_TO_LOCK_ROW", "LIMIT_EXCEEDED", "enqueued"}; !slices.Equal(codes, want) {
			t.Errorf("%v, want %v", codes, want)
		}
		r.FailRecords("", 1, "PLATFORM_EVENT_PUBLISHING_UNAVAILABLE: later")
		later := r.want(http.StatusServiceUnavailable, "POST", "/sobjects/Order_Event__e", `{}`).([]any)[0].(object)
		if later["errorCode"] != "PLATFORM_EVENT_PUBLISHING_UNAVAILABLE" || later["message"] != "later" {
			t.Errorf("%v", later)
		}
		check(t, r.SetLimit("HourlyPublishedPlatformEvents", 10, 1))
		codes, _ = r.results("POST", "", `{"records":[`+one+`,`+one+`]}`)
		if want := []string{"enqueued", "LIMIT_EXCEEDED"}; !slices.Equal(codes, want) {
			t.Errorf("%v, want %v", codes, want)
		}
		r.RevokePublish(orders)
		r.want(http.StatusForbidden, "POST", "/sobjects/Order_Event__e", `{"Amount__c":1,"City__c":"Lyon"}`)
	})
}
