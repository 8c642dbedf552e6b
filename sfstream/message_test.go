package sfstream

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/avro"
)

// Over the Streaming API only what Salesforce writes for a DateTime is one.
func TestATextThatLooksLikeADateStaysAsItCame(t *testing.T) {
	texts := map[string]string{
		"2021-02-09T11:11:12Z":          "2021-02-09T11:11:12.000Z",
		"2021-02-09T11:11:12.345Z":      "2021-02-09T11:11:12.345Z",
		"2021-02-09T11:11:12.345+0000":  "2021-02-09T11:11:12.345Z",
		"2021-02-09T11:11:12.000+0000":  "2021-02-09T11:11:12.000Z",
		"2021-02-09T11:11:12.345+01:00": "", "2021-02-09T11:11:12.345678Z": "", "2021-02-09T11:11:12.3Z": "", "2021-02-09T11:11:12-0500": "",
		"2021-02-09T11:11:12+0000": "", "2021-02-09T11:11:12.345-0000": "", "2021-02-09T11:11:12.345+00:00": "", "2021-02-09T11:11:12,345Z": "",
		"2021-02-09T11:11:12": "", "2021-02-09T11:11:12z": "", "2021-02-09t11:11:12Z": "", "2021-02-09 11:11:12Z": "", "2021-13-09T11:11:12Z": "",
		"2021-02-30T11:11:12Z": "", "2021-02-09T24:11:12Z": "", "2021-02-09T1:11:12.Z": "", "2021-02-09": "", "11:11:12.345Z": "", " 2021-02-09T11:11:12Z": "", "": "",
	}
	for text, want := range texts {
		if want == "" {
			want = text
		}
		for kind, format := range map[string]string{
			"platform event": `{"payload":{"Text__c":%q},"event":{"replayId":1}}`,
			"change event":   `{"payload":{"ChangeEventHeader":{"changeType":"UPDATE","changedFields":["Text__c"]},"Text__c":%q},"event":{"replayId":1}}`,
			"PushTopic":      `{"sobject":{"Text__c":%q},"event":{"replayId":1,"type":"created"}}`,
			"generic":        `{"payload":%q,"event":{"replayId":1}}`,
		} {
			m := new(Message)
			m.readEvent(new(codec), "/x", fmt.Appendf(nil, format, text))
			fields, err := m.Fields()
			field := "Text__c"
			if kind == "generic" {
				field = "payload"
			}
			if err != nil || fields[field] != want {
				t.Errorf("%s: %q is %q, want %q (%v)", kind, text, fields[field], want, err)
			}
			if kind == "generic" {
				if got, err := Decode[string](m); err != nil || got != want {
					t.Errorf("%s: the string of %q is %q (%v)", kind, text, got, err)
				}
				continue
			}
			if got, err := Decode[struct{ Text__c string }](m); err != nil || got.Text__c != want {
				t.Errorf("%s: the string of %q is %q (%v)", kind, text, got.Text__c, err)
			}
			if json, err := m.MarshalJSON(); err != nil || !strings.Contains(string(json), fmt.Sprintf(`"Text__c":%q`, want)) {
				t.Errorf("%s: %q is in %s (%v)", kind, text, json, err)
			}
		}
	}
}

// Who asks for a time gets one of what is one.
func TestATimeOfAnotherZoneGoesIntoATime(t *testing.T) {
	m := new(Message)
	m.readEvent(new(codec), "/event/A__e", []byte(`{"payload":{"When":"2021-02-09T11:11:12.345678+01:00","Then":"2021-02-09T11:11:12-0500"},"event":{"replayId":1}}`))
	got, err := Decode[struct{ When, Then time.Time }](m)
	if err != nil {
		t.Fatal(err)
	}
	want := []time.Time{time.Date(2021, 2, 9, 10, 11, 12, 345678000, time.UTC), time.Date(2021, 2, 9, 16, 11, 12, 0, time.UTC)}
	if !reflect.DeepEqual([]time.Time{got.When, got.Then}, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestTheCreatedDateOfAnEventStaysAsItCame(t *testing.T) {
	m := new(Message)
	m.readEvent(new(codec), "/u/a", []byte(`{"payload":"","event":{"replayId":1,"createdDate":"2021-02-09T11:11:12.345678Z"}}`))
	if text, err := m.MarshalJSON(); err != nil || !strings.Contains(string(text), `"createdDate":"2021-02-09T11:11:12.345678Z"`) {
		t.Errorf("%s, %v", text, err)
	}
	if !m.Date().Equal(time.Date(2021, 2, 9, 11, 11, 12, 345678000, time.UTC)) {
		t.Errorf("date %v", m.Date())
	}
}

// JSON has no such numbers, and one of them is no reason to lose an event.
func TestMarshalJSONHasNamesForNumbersThatAreNotFinite(t *testing.T) {
	m := avroEvent(t, `{"type":"record","name":"A__e","fields":[{"name":"N","type":"double"},{"name":"P","type":"double"},{"name":"M","type":"float"},{"name":"F","type":"double"},
		{"name":"In","type":{"type":"record","name":"B","fields":[{"name":"N","type":"double"}]}},{"name":"L","type":{"type":"array","items":"double"}}]}`,
		map[string]any{"N": math.NaN(), "P": math.Inf(1), "M": float32(math.Inf(-1)), "F": 1.5, "In": map[string]any{"N": math.NaN()}, "L": []float64{1, math.Inf(1)}})
	text, err := json.Marshal(m)
	if want := `"payload":{"F":1.5,"In":{"N":"NaN"},"L":[1,"Infinity"],"M":"-Infinity","N":"NaN","P":"Infinity"}`; err != nil || !strings.Contains(string(text), want) {
		t.Errorf("%s, %v", text, err)
	}
	if fields, err := m.Fields(); err != nil || !math.IsInf(fields["P"].(float64), 1) {
		t.Errorf("%v, %v", fields, err)
	}
}

// What an event says is to be found by grep. HTML is what json.Marshal is careful of, by itself.
func TestMarshalJSONEscapesForHTMLOnlyWhereAsked(t *testing.T) {
	m := avroEvent(t, `{"type":"record","name":"A__e","fields":[{"name":"Name__c","type":"string"}]}`, map[string]any{"Name__c": "<Byron> & Sons"})
	streamed := new(Message)
	streamed.readEvent(new(codec), "/topic/A?B='c&d'", []byte(`{"sobject":{"Name__c":"<Byron> & Sons"},"event":{"replayId":1,"type":"created"}}`))
	for _, m := range []*Message{m, streamed} {
		text, err := m.MarshalJSON()
		if err != nil || !strings.Contains(string(text), `"Name__c":"<Byron> & Sons"`) || strings.Contains(string(text), `\u0026`) {
			t.Errorf("%s, %v", text, err)
		}
		var line strings.Builder
		encoder := json.NewEncoder(&line)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(m); err != nil || line.String() != string(text)+"\n" {
			t.Errorf("an Encoder writes %s, %v", &line, err)
		}
		if text, err := json.Marshal(m); err != nil || !strings.Contains(string(text), `"\u003cByron\u003e \u0026 Sons"`) {
			t.Errorf("json.Marshal gives %s, %v", text, err)
		}
	}
}

func TestAckOfNoMessageDoesNothing(t *testing.T) {
	(*Message)(nil).Ack()
	new(Message).Ack()
}

func TestEventNameOverTheStreamingAPI(t *testing.T) {
	for _, tt := range []struct{ channel, data, want string }{
		{"/event/Sales__chn", `{"payload":{},"event":{"replayId":1,"EventApiName":"Order__e"}}`, "Order__e"},
		{"/event/Sales__chn", `{"payload":{},"event":{"replayId":1}}`, ""},
		{"/event/Sales__chn", `{"payload":{},"event":{"replayId":1,"EventApiName":""}}`, ""},
		{"/event/Sales__chn", `{"payload":{},"event":{"replayId":1,"EventApiName":null}}`, ""},
		{"/event/Order__e", `{"payload":{},"event":{"replayId":1}}`, "Order__e"},
		{"/event/LoginEventStream", `{"payload":{},"event":{"replayId":1}}`, "LoginEventStream"},
		{"/data/ChangeEvents", `{"payload":{"ChangeEventHeader":{"entityName":"Account"}},"event":{}}`, "AccountChangeEvent"},
		{"/data/Staff__chn", `{"schema":"x","payload":{"Name":{"a":1},"ChangeEventHeader":{"recordIds":[],"entityName":"ns__Employee__c"}}}`, "ns__Employee__ChangeEvent"},
		{"/data/ChangeEvents", `{"payload":{"ChangeEventHeader":{"entityName":"Account"}},"event":{"EventApiName":"LeadChangeEvent"}}`, "LeadChangeEvent"},
		{"/data/ChangeEvents", `{"payload":{"ChangeEventHeader":{"entityName":null}},"event":{}}`, ""},
		{"/data/ChangeEvents", `{"payload":{}}`, ""},
		{"/data/ChangeEvents", `nonsense`, ""},
		{"/data/AccountChangeEvent", `{"payload":{}}`, "AccountChangeEvent"},
		{"/topic/Accounts", `{"sobject":{"Id":"1"},"event":{"type":"created"}}`, ""},
		{"/u/notices", `{"payload":"text","event":{}}`, ""},
	} {
		m := new(Message)
		m.readEvent(new(codec), tt.channel, []byte(tt.data))
		if got := m.EventName(); got != tt.want {
			t.Errorf("%s %s: %q, want %q", tt.channel, tt.data, got, tt.want)
		}
	}
}

func TestEventNameOverThePubSubAPIIsTheSchemas(t *testing.T) {
	for _, channel := range []string{"/data/ChangeEvents", "/data/Sales__chn", "/data/OtherChangeEvent"} {
		m := vector(t, "account", "p1")
		if m.Channel = channel; m.EventName() != "AccountChangeEvent" {
			t.Errorf("%s: %q", channel, m.EventName())
		}
	}
	for channel, want := range map[string]string{"/event/Order__e": "Order__e", "/event/Sales__chn": "", "": ""} {
		m := &Message{Channel: channel, codec: &codec{schema: avro.Unusable(errNoChange)}}
		if m.EventName() != want || (&Message{Channel: channel}).EventName() != want {
			t.Errorf("%s without a schema: %q", channel, m.EventName())
		}
	}
}
