package avro

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

const msPerDay = 24 * 60 * 60 * 1000

// timeOf returns the time.Time that v is, without allocating.
func timeOf(v reflect.Value) time.Time {
	if v.CanAddr() {
		return *v.Addr().Interface().(*time.Time)
	}
	return v.Interface().(time.Time) // v is not addressable: its memory is shared, not copied
}

// time encodes a long that is a time. form is its layout.
func (e *encoding) time(dst []byte, form string, v reflect.Value) ([]byte, error) {
	switch {
	case v.Kind() == reflect.Struct && v.Type() == timeType:
		t := timeOf(v)
		if year := t.UTC().Year(); year < 0 || year > 9999 {
			return dst, fmt.Errorf("the year %d is not one of four digits", year)
		}
		return appendLong(dst, milliseconds(t, form)), nil
	case v.Kind() == reflect.String && v.Type() != numberType:
		ms, err := e.timeText(v.String(), form)
		return appendLong(dst, ms), err
	case v.Type() == durationType:
		return dst, fmt.Errorf("a time.Duration counts nanoseconds, and %s is milliseconds", formName(form))
	case v.Kind() == reflect.Bool, v.Kind() > reflect.Float64 && v.Kind() != reflect.String:
		return dst, misfit(v, formName(form))
	}
	ms, err := integer(v, 64)
	if err != nil {
		return dst, err
	}
	switch {
	case !writable(ms): // Decode gives such a number as it is, too
	case form == time.DateOnly && ms%msPerDay != 0:
		return dst, fmt.Errorf("%d is a moment within a day: a date in milliseconds is its midnight in UTC", ms)
	case form == timeOfDay && (ms < 0 || ms >= msPerDay):
		return dst, fmt.Errorf("%d is not a time of day: that is at most %d milliseconds", ms, msPerDay-1)
	}
	return appendLong(dst, ms), nil
}

// milliseconds returns what of a time a field of that form has. A date is that of the time's own
// zone, because who writes 2025-06-01 in Sydney means that date.
func milliseconds(t time.Time, form string) int64 {
	switch form {
	case time.DateOnly:
		year, month, day := t.Date()
		return time.Date(year, month, day, 0, 0, 0, 0, time.UTC).UnixMilli()
	case timeOfDay:
		hour, minute, second := t.Clock()
		return int64(hour*60*60+minute*60+second)*1000 + int64(t.Nanosecond()/1e6)
	}
	return t.UnixMilli()
}

// timeText returns the milliseconds of a text in form. A text that says more or less than that is
// an error.
func (e *encoding) timeText(text, form string) (int64, error) {
	t, ok := e.binder.Time(text)
	switch {
	case !ok:
	case form == dateTime && strings.Contains(text, "T"), form == timeOfDay && strings.IndexByte(text, ':') == 2:
		return milliseconds(t, form), nil
	case form == time.DateOnly && !strings.Contains(text, ":"):
		return milliseconds(t, form), nil
	}
	return 0, fmt.Errorf("%.40q is not %s", text, formName(form))
}

// formName is how an error calls a time, with an example of its text.
func formName(form string) string {
	switch form {
	case time.DateOnly:
		return "a date like 2025-01-31"
	case timeOfDay:
		return "a time of day like 10:30:00.000Z"
	}
	return "a DateTime like 2025-01-31T10:30:00.000Z"
}
