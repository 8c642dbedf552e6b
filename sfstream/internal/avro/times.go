package avro

import (
	"strings"
	"time"
)

// Times says how Decode gives a DateTime.
type Times int

const (
	// TimesAsText is RFC 3339 text in UTC with milliseconds: 2025-01-01T00:00:00.000Z.
	TimesAsText Times = iota
	// TimesAsTime is time.Time in UTC.
	TimesAsTime
)

// of is a DateTime of that many milliseconds since 1970. One outside the years 0 to 9999 stays its number: RFC 3339
// cannot write it and time.Time cannot be marshalled with it. CreatedDate is written by the event's publisher, who may
// have taken microseconds.
func (t Times) of(ms int64) any {
	at := time.UnixMilli(ms).UTC()
	if y := at.Year(); y < 0 || y > 9999 {
		return ms
	}
	if t == TimesAsTime {
		return at
	}
	return at.Format("2006-01-02T15:04:05.000Z")
}

// isDateTime reads a field's doc, the only place that tells a DateTime from another long. It is "Data:DateTime",
// "CreatedDate:DateTime", or with the field's id "Data:DateTime:00N000000000012".
func isDateTime(doc string) bool {
	_, rest, _ := strings.Cut(doc, ":")
	typ, _, _ := strings.Cut(rest, ":")
	return typ == "DateTime"
}
