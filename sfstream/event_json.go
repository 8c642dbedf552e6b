package sfstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/jsonscan"
	"github.com/sfstream/sfstream-go/sfstream/internal/replayid"
)

// readEvent fills a message from the data of an event of the Streaming API. Only
// the envelope is read:
//
//	{"schema":"…","payload":{…},"event":{"replayId":1,"EventUuid":"…"}}        platform and change events
//	{"sobject":{…},"event":{"replayId":1,"type":"created","createdDate":"…"}}  PushTopic
//	{"payload":"…","event":{"replayId":1,"createdDate":"…"}}                   generic
func readEvent(m *Message, channel string, data []byte) {
	m.Channel, m.payload, m.json = channel, data, true
	for f := jsonscan.NewFields(data); f.Next(); {
		switch string(f.Key) {
		case "schema":
			m.SchemaID = jsonscan.Text(f.Value)
		case "event":
			for e := jsonscan.NewFields(f.Value); e.Next(); {
				switch string(e.Key) {
				case "replayId":
					m.ReplayID = decimal(e.Value)
				case "EventUuid":
					m.ID = jsonscan.Text(e.Value)
				case "type":
					m.Type = eventType(e.Value)
				}
			}
		}
	}
}

// decimal is a replay id as its digits: a number, or the same as text. Of
// anything else there is none.
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

// inOrder sorts events that came on two connections by their replay ids. Those
// without one stay behind the event that they came after.
func inOrder(messages []Message) []Message {
	type run struct{ first, end int }
	var runs []run
	for i := range messages {
		if len(messages[i].ReplayID) > 0 || len(runs) == 0 {
			runs = append(runs, run{i, i})
		}
		runs[len(runs)-1].end = i + 1
	}
	sorted := true
	for i := 1; i < len(runs) && sorted; i++ {
		sorted = replayid.Compare(messages[runs[i-1].first].ReplayID, messages[runs[i].first].ReplayID) <= 0
	}
	if sorted {
		return messages
	}
	slices.SortStableFunc(runs, func(a, b run) int { return replayid.Compare(messages[a.first].ReplayID, messages[b.first].ReplayID) })
	ordered := make([]Message, 0, len(messages))
	for _, r := range runs {
		ordered = append(ordered, messages[r.first:r.end]...)
	}
	return ordered
}

// splitData finds what the publisher gave and what Salesforce added.
func splitData(data []byte) (payload, event []byte) {
	for f := jsonscan.NewFields(data); f.Next(); {
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

// jsonDate is Date of an event of the Streaming API.
func jsonDate(data []byte) time.Time {
	payload, event := splitData(data)
	if date := jsonTime(member(event, "createdDate")); !date.IsZero() {
		return date
	}
	if header := member(payload, "ChangeEventHeader"); header != nil {
		return jsonTime(member(header, "commitTimestamp"))
	}
	return jsonTime(member(payload, "CreatedDate"))
}

// jsonTime reads a date as text or as milliseconds; zero where it is neither.
func jsonTime(value []byte) time.Time {
	if replayid.IsDecimal(value) && len(value) < 18 {
		ms := int64(0)
		for _, digit := range value {
			ms = ms*10 + int64(digit-'0')
		}
		return time.UnixMilli(ms).UTC()
	}
	t, _ := parseDateTime(jsonscan.Text(value))
	return t
}

// dateTime reads a DateTime in one of the three forms that Salesforce writes. A text
// with another zone, or another number of digits, is some program's text, and
// stays as it is.
//
//	2021-02-09T11:11:12Z
//	2021-02-09T11:11:12.345Z
//	2021-02-09T11:11:12.345+0000
func dateTime(s string) (time.Time, bool) {
	const whole = len("2006-01-02T15:04:05")
	const full = whole + len(".000")
	switch {
	case len(s) == whole+1 && s[whole] == 'Z':
		s = s[:whole]
	case (len(s) == full+1 && s[full] == 'Z' || len(s) == full+5 && s[full:] == "+0000") && s[whole] == '.':
		s = s[:full]
	default:
		return time.Time{}, false
	}
	t, err := time.Parse("2006-01-02T15:04:05", s) // which takes a fraction
	return t, err == nil
}

// parseDateTime reads a DateTime in more forms than Salesforce writes, where it is
// known to be one.
func parseDateTime(s string) (time.Time, bool) {
	if t, ok := dateTime(s); ok {
		return t, true
	}
	if len(s) < len("2006-01-02T15:04:05Z") || len(s) > 35 || s[4] != '-' || s[10] != 'T' {
		return time.Time{}, false
	}
	for _, form := range [...]string{"2006-01-02T15:04:05-0700", time.RFC3339} {
		if t, err := time.Parse(form, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// jsonCreatedDate is the createdDate of an event that has one, as a DateTime.
func jsonCreatedDate(data []byte) string {
	_, event := splitData(data)
	date := jsonscan.Text(member(event, "createdDate"))
	if t, ok := dateTime(date); ok {
		return t.Format(dateTimeForm)
	}
	return date
}

// datedBySalesforce reports whether Salesforce, and not the publisher, has
// written the event's date.
func (m *Message) datedBySalesforce() bool {
	if !m.json {
		return m.schema.IsChangeEvent()
	}
	payload, event := splitData(m.payload)
	return member(event, "createdDate") != nil || member(payload, "ChangeEventHeader") != nil
}

const dateTimeForm = "2006-01-02T15:04:05.000Z"

var errNoPayload = errors.New("the event has no payload")

// jsonPayload decodes the payload of an event of the Streaming API.
func (m *Message) jsonPayload() (any, error) {
	payload, _ := splitData(m.payload)
	if payload == nil {
		return nil, m.decodeError("", errNoPayload)
	}
	value, err := m.decodeJSON(payload)
	if err != nil {
		return nil, m.decodeError("", err)
	}
	return value, nil
}

func (m *Message) decodeJSON(text []byte) (value any, err error) {
	if c := m.client(); c != nil && c.cfg.unmarshal != nil {
		err = c.cfg.unmarshal(text, &value)
	} else {
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if err = d.Decode(&value); err == nil && d.More() {
			err = fmt.Errorf("more than one JSON value")
		}
	}
	if err != nil {
		return nil, err
	}
	return plain(value)
}

// plain gives decoded JSON the Go types that the Pub/Sub API's values have.
func plain(value any) (any, error) {
	var err error
	switch v := value.(type) {
	case json.Number:
		return number(string(v))
	case string:
		if t, ok := dateTime(v); ok {
			return t.Format(dateTimeForm), nil
		}
	case map[string]any:
		for name, element := range v {
			if v[name], err = plain(element); err != nil {
				return nil, err
			}
		}
	case []any:
		for i, element := range v {
			if v[i], err = plain(element); err != nil {
				return nil, err
			}
		}
	}
	return value, nil
}

// number is an int64, exact, where the text has no fraction, else a float64.
func number(text string) (any, error) {
	n := json.Number(text)
	if !strings.ContainsAny(text, ".eE") {
		if i, err := n.Int64(); err == nil {
			return i, nil
		}
	}
	f, err := n.Float64()
	if err != nil || math.IsInf(f, 0) {
		return nil, fmt.Errorf("number %s does not fit", text)
	}
	return f, nil
}
