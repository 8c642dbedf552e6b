package avro

import (
	"strings"
	"time"
)

const (
	dateTime  = "2006-01-02T15:04:05.000Z"
	timeOfDay = "15:04:05.000Z"
)

// timeForms are the docs of longs that are times, and how these are written: as
// Salesforce's other API has them. All are milliseconds since 1970, or since
// midnight.
var timeForms = map[string]string{
	"DateTime": dateTime,
	"DateOnly": time.DateOnly,
	"Birthday": time.DateOnly,
	"TimeOnly": timeOfDay,
}

// timeForm reads a field's doc, the only place that tells a time from another long: "Data:DateTime",
// "CreatedDate:DateTime", or with the field's id "Data:DateTime:00N000000000012". It is empty where the field is none.
func timeForm(doc string) string {
	_, rest, _ := strings.Cut(doc, ":")
	typ, _, _ := strings.Cut(rest, ":")
	return timeForms[typ]
}

// writable reports whether a time can be written. One outside the years 0 to 9999 stays its number: RFC 3339 cannot
// write it and time.Time cannot be marshalled with it. CreatedDate is written by the event's publisher, who may have
// taken microseconds.
func writable(ms int64) bool { return -62167219200000 <= ms && ms <= 253402300799999 }

// appendTime is AppendFormat for a writable time, at a fraction of its cost.
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
