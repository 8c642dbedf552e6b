package jsonevent

import (
	"time"

	"github.com/sfstream/sfstream-go/sfstream/internal/jsonscan"
)

// Date is when the event happened by its own account: the createdDate of a PushTopic's and a
// generic event, the commit time of a change event, the CreatedDate of a platform event. It is zero
// where the event carries none. Nothing is allocated.
func (e Event) Date() time.Time {
	payload, event := e.split()
	if date := anyTime(member(event, "createdDate")); !date.IsZero() {
		return date
	}
	if header := member(payload, headerName); header != nil {
		return anyTime(member(header, "commitTimestamp"))
	}
	return anyTime(member(payload, "CreatedDate"))
}

// DatedBySalesforce reports whether Salesforce, and not the publisher, has written the event's
// date.
func (e Event) DatedBySalesforce() bool {
	payload, event := e.split()
	return member(event, "createdDate") != nil || member(payload, headerName) != nil
}

// CreatedDate is the createdDate of an event that has one, as a DateTime.
func (e Event) CreatedDate() string {
	_, event := e.split()
	date := jsonscan.Text(member(event, "createdDate"))
	if t, ok := dateTime(date); ok {
		return t.Format(dateTimeForm)
	}
	return date
}

// dateTimeForm is how a DateTime is given: RFC 3339 in UTC with milliseconds.
const dateTimeForm = "2006-01-02T15:04:05.000Z"

// anyTime reads a date as text or as milliseconds; zero where it is neither.
func anyTime(value []byte) time.Time {
	if ms, ok := milliseconds(value); ok {
		return time.UnixMilli(ms).UTC()
	}
	t, _ := ParseTime(jsonscan.Text(value))
	return t
}

func milliseconds(value []byte) (ms int64, ok bool) {
	if len(value) == 0 || len(value) >= 18 {
		return 0, false
	}
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, false
		}
		ms = ms*10 + int64(c-'0')
	}
	return ms, true
}

// dateTime reads a DateTime in one of the three forms that Salesforce writes. A text with another
// zone, or another number of digits, is some program's text, and stays as it is. See
// internal/bayeux/PROTOCOL.md, "Events".
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

// ParseTime reads a DateTime in more forms than Salesforce writes, where it is known to be one.
func ParseTime(s string) (time.Time, bool) {
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

// ParseField reads a text that stands for a DateTime, a date or a time of day. A time of day is one
// of 1970-01-01.
func ParseField(s string) (time.Time, bool) {
	if t, ok := ParseTime(s); ok {
		return t, true
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t, true
	}
	if t, err := time.Parse("15:04:05.000Z", s); err == nil {
		return t.AddDate(1970, 0, 0), true
	}
	return time.Time{}, false
}
