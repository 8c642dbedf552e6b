package sfstream

import (
	"strings"

	"github.com/sfstream/sfstream-go/sfstream/internal/jsonscan"
)

// EventName is the type of the event: Order__e, AccountChangeEvent. A channel of
// several types is told apart by it:
//
//	switch msg.EventName() {
//	case "Order__e":
//		order, err := sfstream.Decode[Order](msg)
//	case "AccountChangeEvent":
//		account, err := sfstream.Decode[Account](msg)
//	}
//
// Over the Pub/Sub API it is the name of the schema. Over the Streaming API it is the
// event's EventApiName, which newer API versions send, or is made of the entity in a
// change event's header; or it is what the channel is named after. It is empty where
// nobody says it: for PushTopics, for generic events, and for platform events of a
// custom channel (/event/Sales__chn) without an EventApiName.
func (m *Message) EventName() string {
	if m.schema != nil && m.schema.Name() != "" {
		return m.schema.Name()
	}
	if m.json {
		_, event := splitData(m.payload)
		if name := member(event, "EventApiName"); len(name) > 2 && name[0] == '"' {
			return jsonscan.Text(name)
		}
		for f := jsonscan.Inside(m.payload, "payload").Inside(changeHeader); f.Next(); {
			if string(f.Key) == "entityName" && len(f.Value) > 2 && f.Value[0] == '"' {
				return changeEventName(jsonscan.Text(f.Value))
			}
		}
	}
	return channelEvent(m.Channel)
}

// changeEventName is the name of an entity's change events: Account has
// AccountChangeEvent, Employee__c has Employee__ChangeEvent.
func changeEventName(entity string) string {
	if name, custom := strings.CutSuffix(entity, "__c"); custom {
		return name + "__ChangeEvent"
	}
	return entity + "ChangeEvent"
}

// channelEvent is the name of the one type of event that a channel has, empty where
// it may have several.
func channelEvent(channel string) string {
	name, ok := strings.CutPrefix(channel, "/event/")
	if !ok {
		if name, ok = strings.CutPrefix(channel, "/data/"); !ok || name == "ChangeEvents" {
			return ""
		}
	}
	if name = strings.TrimSuffix(name, "/"); strings.HasSuffix(name, "__chn") {
		return ""
	}
	return name
}
