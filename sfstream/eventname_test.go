package sfstream

import (
	"testing"

	"github.com/sfstream/sfstream-go/sfstream/internal/avro"
)

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
