package avro

import (
	"strings"
	"time"
)

// timeForms are the docs of longs that are times, and how these are written: as
// Salesforce's other API has them. All are milliseconds since 1970, or since
// midnight.
var timeForms = map[string]string{
	"DateTime": "2006-01-02T15:04:05.000Z",
	"DateOnly": "2006-01-02",
	"TimeOnly": "15:04:05.000Z",
}

// timeForm reads a field's doc, the only place that tells a time from another long: "Data:DateTime",
// "CreatedDate:DateTime", or with the field's id "Data:DateTime:00N000000000012". It is empty where the field is none.
func timeForm(doc string) string {
	_, rest, _ := strings.Cut(doc, ":")
	typ, _, _ := strings.Cut(rest, ":")
	return timeForms[typ]
}

// timeText writes a time. One outside the years 0 to 9999 stays its number: RFC 3339 cannot write it and time.Time
// cannot be marshalled with it. CreatedDate is written by the event's publisher, who may have taken microseconds.
func timeText(ms int64, form string) any {
	at := time.UnixMilli(ms).UTC()
	if y := at.Year(); y < 0 || y > 9999 {
		return ms
	}
	return at.Format(form)
}
