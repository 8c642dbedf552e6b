package sfstreamtest_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

const kinds = `{"type":"record","name":"Kinds__e","namespace":"com.sforce.eventbus","fields":[
{"name":"CreatedDate","type":"long","doc":"CreatedDate:DateTime"},
{"name":"CreatedById","type":"string","doc":"CreatedBy:EntityId"},
{"name":"At__c","type":["null","long"],"doc":"Data:DateTime:00N000000000001","default":null},
{"name":"Day__c","type":["null","long"],"doc":"Data:DateOnly:00N000000000002","default":null},
{"name":"Time__c","type":["null","long"],"doc":"Data:TimeOnly:00N000000000003","default":null},
{"name":"Qty__c","type":["null","double"],"doc":"Data:Double:00N000000000004","default":null},
{"name":"Count__c","type":["null","long"],"doc":"Data:Integer:00N000000000005","default":null},
{"name":"Flag__c","type":["null","boolean"],"doc":"Data:Boolean:00N000000000006","default":null},
{"name":"Text__c","type":["null","string"],"doc":"Data:Text:00N000000000007","default":null}]}`

// dataOf returns the data of the only event that a subscription at -2 gets.
func dataOf(t *testing.T, r *rig, channel string) string {
	t.Helper()
	b := r.shaken()
	return string(b.only(b.follow(channel, -2)).Data)
}

func TestPlatformEventJSON(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		const channel = "/event/Kinds__e"
		check(t, r.DefineEvent(channel, kinds))
		at := time.Date(2026, 1, 9, 10, 0, 3, 517e6, time.UTC)
		e, err := r.Publish(channel, map[string]any{
			"CreatedDate": at, "CreatedById": "005", "At__c": at.Truncate(time.Second), "Day__c": at.Truncate(24 * time.Hour),
			"Time__c": (10*time.Hour + 3*time.Second + 5*time.Millisecond).Milliseconds(), "Qty__c": 3, "Count__c": int64(1<<53 + 1),
			"Text__c": "a\"\\\n\u0001é\u2028<&>",
		})
		check(t, err)
		want := `{"schema":"` + e.SchemaID + `","payload":{"CreatedDate":"2026-01-09T10:00:03.517Z","CreatedById":"005",` +
			`"At__c":"2026-01-09T10:00:03.000Z","Day__c":"2026-01-09","Time__c":"10:00:03.005Z","Qty__c":3.0,` +
			`"Count__c":9007199254740993,"Flag__c":null,"Text__c":"a\"\\\n\u0001é` + "\u2028" + `<&>"},` +
			`"event":{"EventUuid":"` + e.ID + `","replayId":` + jsonOf(t, e.Number) + `}}`
		if got := dataOf(t, r, channel); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	check(t, err)
	return string(text)
}

func TestUndecodablePayloadsAreNull(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for _, e := range []sfstreamtest.RawEvent{
			{Payload: []byte{0xff}}, {}, {SchemaID: "nobody's", Payload: []byte{1, 2}}, {Payload: []byte{2, 0xfe, 0xff, 0xff, 0xff, 0x0f}},
		} {
			check(t, r.RestartReplay(orders, 5))
			ev, err := r.PublishRaw(orders, e)
			check(t, err)
			want := `{"schema":"` + ev.SchemaID + `","payload":null,"event":{"EventUuid":"` + ev.ID + `","replayId":5}}`
			if got := dataOf(t, r, orders); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		}
	})
}

func TestAnEventWithoutAReplayID(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		_, err := r.PublishRaw(orders, sfstreamtest.RawEvent{ID: "x", NoReplayID: true})
		check(t, err)
		if got := dataOf(t, r, orders); !strings.HasSuffix(got, `"event":{"EventUuid":"x"}}`) {
			t.Errorf("got %s", got)
		}
	})
}

func TestChangeEventJSON(t *testing.T) {
	const header = `"changeOrigin":"com/salesforce/api/soap/62.0;client=SfdcInternalAPI/","transactionKey":"0000f0a1-0b2c-3d4e-5f60-718293a4b5c6",` +
		`"sequenceNumber":1,"commitTimestamp":1735689600000,"commitNumber":1735689600123456789,"commitUser":"005000000000001AAA",`
	for name, want := range map[string]string{
		"p1": `{"ChangeEventHeader":{"entityName":"Account","recordIds":["001000000000001AAA"],"changeType":"UPDATE",` + header +
			`"changedFields":["Description","LastModifiedDate","BillingAddress.City","BillingAddress.State"]},` +
			`"BillingAddress":{"City":"Lyon","State":"ARA"},"Description":null,"LastModifiedDate":"2025-01-01T00:00:00Z"}`,
		"p2": `{"ChangeEventHeader":{"entityName":"Opportunity","recordIds":["006000000000001AAA"],"changeType":"UPDATE",` + header +
			`"changedFields":["StageName","Amount","Probability","CloseDate","LastModifiedDate","LastStageChangeDate","LastAmountChangedHistoryId","LastCloseDateChangedHistoryId"]},` +
			`"StageName":"Closed Won","Amount":1250.5,"Probability":100.0,"CloseDate":"2024-12-31","LastModifiedDate":"2025-01-01T00:00:00Z",` +
			`"LastStageChangeDate":"2025-01-01T00:00:00Z","LastAmountChangedHistoryId":"008000000000001AAA","LastCloseDateChangedHistoryId":"008000000000002AAA"}`,
		"p4": `{"ChangeEventHeader":{"entityName":"Account","recordIds":["001000000000001AAA"],"changeType":"CREATE",` + header +
			`"changedFields":[]},"Name":{"FirstName":"Ada","LastName":"Byron"},"NumberOfEmployees":-1,"Active__c":true,` +
			`"Site_Location__c":{"Latitude":48.85,"Longitude":2.35}}`,
		"p5": `{"ChangeEventHeader":{"entityName":"Account","recordIds":["001000000000001AAA"],"changeType":"GAP_UPDATE",` +
			strings.Replace(header, "com/salesforce/api/soap/62.0;client=SfdcInternalAPI/", "", 1) + `"changedFields":[]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				check(t, r.DefineObject("Account", accountFields()...))
				check(t, r.DefineObject("Opportunity", opportunityFields()...))
				c := vectors[name]
				e, err := r.Change(c)
				check(t, err)
				got := dataOf(t, r, "/data/"+c.Object+"ChangeEvent")
				want := `{"schema":"` + e.SchemaID + `","payload":` + want + `,"event":{"replayId":` + jsonOf(t, e.Number) + `}}`
				if got != want {
					t.Errorf("got  %s\nwant %s", got, want)
				}
				all := dataOf(t, r, "/data/ChangeEvents")
				if body, _, _ := strings.Cut(got, `,"event":`); !strings.HasPrefix(all, body) {
					t.Errorf("on /data/ChangeEvents %s", all)
				}
			})
		})
	}
}

func TestNulledCompounds(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		check(t, r.DefineObject("Account", accountFields()...))
		for null, want := range map[string]string{
			"BillingAddress.City": `"BillingAddress":{"City":null},`,
			"BillingAddress": `"BillingAddress":{"Street":null,"City":null,"State":null,"PostalCode":null,"Country":null,` +
				`"StateCode":null,"CountryCode":null,"Latitude":null,"Longitude":null,"GeocodeAccuracy":null},`,
			"Name":           `"Name":null,`,
			"Name.FirstName": `"Name":{"FirstName":null},`,
		} {
			check(t, r.TruncateReplay(""))
			_, err := r.Change(sfstreamtest.Change{Object: "Account", Type: "UPDATE", RecordIDs: []string{"001"}, Null: []string{null}})
			check(t, err)
			if got := dataOf(t, r, "/data/AccountChangeEvent"); !strings.Contains(got, "]},"+want) {
				t.Errorf("%s: %s", null, got)
			}
		}
	})
}

func TestGenericTargeted(t *testing.T) {
	const other = "005000000000002AAA"
	bubble(t, func(t *testing.T, r *rig) {
		withTopics(t, r)
		one := r.shaken()
		one.follow("/u/ops", -1)
		two := r.cometd()
		form := r.passwordForm()
		form.Set("username", "second@sfstream.example")
		_, reply := r.post(form)
		two.token = reply["access_token"]
		two.handshake()
		two.connect()
		two.follow("/u/ops", -1)

		all, err := r.Push("/u/ops", `hello "you"`)
		check(t, err)
		some, err := r.Push("/u/ops", "psst", other, "005000000000003AAA")
		check(t, err)
		if all.FanoutCount != -1 || some.FanoutCount != 1 || !some.UserOnline[other] || some.UserOnline["005000000000003AAA"] {
			t.Errorf("%+v %+v", all, some)
		}
		events, _ := one.connect()
		wantEvents(t, events, all.Event)
		date := all.Event.Date.Format("2006-01-02T15:04:05.000Z")
		if want := `{"event":{"createdDate":"` + date + `","replayId":` + jsonOf(t, all.Event.Number) + `},"payload":"hello \"you\""}`; string(events[0].Data) != want {
			t.Errorf("got %s, want %s", events[0].Data, want)
		}
		events, _ = two.connect()
		wantEvents(t, events, all.Event, some.Event)
		two.token = one.token
		_, m := two.connect()
		wantError(t, m, "400::Authenticated user id does not match the session's user id")
		if _, err := r.Push("/u/ops", strings.Repeat("x", 3001)); err == nil {
			t.Error("pushed too much")
		}
		if _, err := r.Push("/u/none", "x"); err == nil {
			t.Error("pushed to nowhere")
		}
	}, sfstreamtest.WithUser("second@sfstream.example", other))
	bubble(t, func(t *testing.T, r *rig) {
		bad := []string{"ops", "/u/", "/u/a b", "/topic/x", "/u/" + strings.Repeat("x", 78)}
		if i := slices.IndexFunc(bad, func(name string) bool { return r.DefineGenericChannel(name) == nil }); i >= 0 {
			t.Errorf("defined %q", bad[i])
		}
	})
}
