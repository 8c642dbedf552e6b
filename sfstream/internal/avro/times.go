package avro

import (
	"strings"
	"time"
)

const (
	dateTime  = "2006-01-02T15:04:05.000Z"
	timeOfDay = "15:04:05.000Z"
)

// timeForms maps the types that a long's doc may name to the layout of their text, which is the one
// of the Streaming API. All count milliseconds, since 1970 or since midnight.
var timeForms = map[string]string{
	"DateTime": dateTime,
	"DateOnly": time.DateOnly,
	"Birthday": time.DateOnly,
	"TimeOnly": timeOfDay,
}

// timeForm returns the layout for a field by its doc, the only place that tells a time from another
// long: "Data:DateTime", "CreatedDate:DateTime", or with the field's id
// "Data:DateTime:00N000000000012". It is empty if the field is not a time.
func timeForm(doc string) string {
	_, rest, _ := strings.Cut(doc, ":")
	typ, _, _ := strings.Cut(rest, ":")
	return timeForms[typ]
}

// writable reports whether a time can be written as text. A time outside the years 0 to 9999 cannot
// be written in RFC 3339 nor marshalled as a time.Time, and stays a number. The event's publisher
// writes CreatedDate, and may have taken microseconds for milliseconds.
func writable(ms int64) bool { return -62167219200000 <= ms && ms <= 253402300799999 }

// appendTime does what time.Time's AppendFormat does, for a writable time and at a fraction of the
// cost.
func appendTime(b []byte, ms int64, form string) []byte {
	t := time.UnixMilli(ms).UTC()
	if form != timeOfDay {
		year, month, day := t.Date()
		b = appendTwo(b, year/100)
		b = append(appendTwo(b, year%100), '-')
		b = append(appendTwo(b, int(month)), '-')
		b = appendTwo(b, day)
	}
	if form == time.DateOnly {
		return b
	}
	if form == dateTime {
		b = append(b, 'T')
	}
	hour, minute, second := t.Clock()
	b = append(appendTwo(b, hour), ':')
	b = append(appendTwo(b, minute), ':')
	b = append(appendTwo(b, second), '.')
	thousandth := t.Nanosecond() / 1e6
	return append(appendTwo(b, thousandth/10), byte('0'+thousandth%10), 'Z')
}

func appendTwo(b []byte, n int) []byte { return append(b, byte('0'+n/10), byte('0'+n%10)) }
