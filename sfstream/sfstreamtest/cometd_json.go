package sfstreamtest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// appendJSONString appends a string literal.
func appendJSONString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				b = append(b, s[start:i]...)
				b = append(b, `\ufffd`...)
				start = i + 1
			}
			i += n
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

// appendDouble appends a number that always has a decimal point, or an exponent.
func appendDouble(b []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(b, "null"...)
	}
	if abs := math.Abs(f); abs >= 1e21 || abs != 0 && abs < 1e-6 {
		return strconv.AppendFloat(b, f, 'e', -1, 64)
	}
	b = strconv.AppendFloat(b, f, 'f', -1, 64)
	if f == math.Trunc(f) {
		b = append(b, ".0"...)
	}
	return b
}

// The layouts of dates.
const (
	dateTime      = "2006-01-02T15:04:05.000Z"
	wholeDateTime = "2006-01-02T15:04:05Z"
	dateOnly      = "2006-01-02"
	timeOnly      = "15:04:05.000Z"
)

// appendDate appends the epoch milliseconds of a field of a date type as text; ok is false for
// fields of other types. short leaves out milliseconds that are zero.
func appendDate(b []byte, fieldType string, millis int64, short bool) (_ []byte, ok bool) {
	var layout string
	switch fieldType {
	case "DateTime":
		layout = dateTime
		if short && millis%1000 == 0 {
			layout = wholeDateTime
		}
	case "DateOnly", "Birthday":
		layout = dateOnly
	case "TimeOnly":
		layout = timeOnly
	default:
		return b, false
	}
	b = append(b, '"')
	b = time.UnixMilli(millis).UTC().AppendFormat(b, layout)
	return append(b, '"'), true
}

// appendValue appends a plain Go value as json.Marshal does, but doubles have a decimal point and
// times are written as Salesforce writes them. Raw JSON stays as it is.
func appendValue(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case json.RawMessage:
		return append(b, v...), nil
	case string:
		return appendJSONString(b, v), nil
	case json.Number:
		return append(b, v...), nil
	case float64:
		return appendDouble(b, v), nil
	case float32:
		return appendDouble(b, float64(v)), nil
	case []byte:
		return appendJSONString(b, base64.StdEncoding.EncodeToString(v)), nil
	case time.Time:
		b, _ = appendDate(b, "DateTime", v.UnixMilli(), false)
		return b, nil
	case map[string]any:
		return appendObject(b, slices.Sorted(maps.Keys(v)), v)
	}
	if n, ok := integer(v); ok {
		return strconv.AppendInt(b, n, 10), nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("sfstreamtest: %w", err)
	}
	return append(b, text...), nil
}

// appendObject appends an object with the fields named; those without a value are null.
func appendObject(b []byte, names []string, values map[string]any) (_ []byte, err error) {
	b = append(b, '{')
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendJSONString(b, name), ':')
		if b, err = appendValue(b, values[name]); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}
