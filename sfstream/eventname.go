package sfstream

import "strings"

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
	if name := m.codec.name(m.payload); name != "" {
		return name
	}
	return channelEvent(m.Channel)
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
