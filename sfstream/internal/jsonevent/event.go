// Package jsonevent reads the events of the Streaming API. It is the twin of package avro, which
// reads those of the Pub/Sub API: Decode, Date, Header, Identity and Name mean the same in both.
//
//	event.go     the envelope: ids, kinds, and whose the event is
//	decode.go    Decode: the payload as Go values
//	enriched.go  which of them only came along with a change
//	header.go    Header: the header of a change event
//	identity.go  Identity: what of the header tells a change from others
//	time.go      dates, as text and as numbers
//
// Nothing but Decode decodes all of an event, and nothing else allocates, but for the texts of a
// header.
package jsonevent

import (
	"bytes"
	"strings"

	"github.com/sfstream/sfstream-go/sfstream/internal/jsonscan"
	"github.com/sfstream/sfstream-go/sfstream/internal/replayid"
)

// An Event is the data of an event as it came:
//
//	{"schema":"…","payload":{…},"event":{"replayId":1,"EventUuid":"…"}}        platform and change events
//	{"sobject":{…},"event":{"replayId":1,"type":"created","createdDate":"…"}}  PushTopic
//	{"payload":"…","event":{"replayId":1,"createdDate":"…"}}                   generic
type Event []byte

// An Envelope is what Salesforce says about an event. What it does not say is empty.
type Envelope struct {
	SchemaID string
	ID       string
	ReplayID []byte // its digits
	Type     string // of a PushTopic's event
}

// Envelope reads the envelope alone.
func (e Event) Envelope() (env Envelope) {
	for f := jsonscan.NewFields(e); f.Next(); {
		switch string(f.Key) {
		case "schema":
			env.SchemaID = jsonscan.Text(f.Value)
		case "event":
			for f := jsonscan.NewFields(f.Value); f.Next(); {
				switch string(f.Key) {
				case "replayId":
					env.ReplayID = decimal(f.Value)
				case "EventUuid":
					env.ID = jsonscan.Text(f.Value)
				case "type":
					env.Type = eventType(f.Value)
				}
			}
		}
	}
	return env
}

// decimal is a replay id as its digits: a number, or the same as text. Of anything else there is
// none.
func decimal(value []byte) []byte {
	value = bytes.Trim(value, `"`)
	if !replayid.IsDecimal(value) {
		return nil
	}
	for len(value) > 1 && value[0] == '0' {
		value = value[1:] // no JSON number begins with zeros
	}
	return value[:len(value):len(value)]
}

func eventType(value []byte) string {
	switch string(value) {
	case `"created"`:
		return "created"
	case `"updated"`:
		return "updated"
	case `"deleted"`:
		return "deleted"
	case `"undeleted"`:
		return "undeleted"
	}
	return jsonscan.Text(value)
}

// split finds what the publisher gave and what Salesforce added.
func (e Event) split() (payload, event []byte) {
	for f := jsonscan.NewFields(e); f.Next(); {
		switch string(f.Key) {
		case "payload", "sobject":
			payload = f.Value
		case "event":
			event = f.Value
		}
	}
	return payload, event
}

func member(object []byte, name string) []byte {
	for f := jsonscan.NewFields(object); f.Next(); {
		if string(f.Key) == name {
			return f.Value
		}
	}
	return nil
}

// Name is the event's EventApiName, which newer API versions send, or is made of the entity in a
// change event's header. It is empty where neither is there.
func (e Event) Name() string {
	_, event := e.split()
	if name := member(event, "EventApiName"); len(name) > 2 && name[0] == '"' {
		return jsonscan.Text(name)
	}
	for f := e.header(); f.Next(); {
		if string(f.Key) == "entityName" && len(f.Value) > 2 && f.Value[0] == '"' {
			return changeEventName(jsonscan.Text(f.Value))
		}
	}
	return ""
}

// changeEventName is the name of an entity's change events: Account has AccountChangeEvent,
// Employee__c has Employee__ChangeEvent.
func changeEventName(entity string) string {
	if name, custom := strings.CutSuffix(entity, "__c"); custom {
		return name + "__ChangeEvent"
	}
	return entity + "ChangeEvent"
}

// IsChangeEvent reports whether the event has the header of a change event.
func (e Event) IsChangeEvent() bool {
	header := e.header()
	return header.Next()
}

// header walks the header of a change event, without looking for the end of what it is in.
func (e Event) header() jsonscan.Fields {
	return jsonscan.Inside(e, "payload").Inside(headerName)
}
