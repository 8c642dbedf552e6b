package jsonevent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
)

// An Error says why an event cannot be read.
type Error struct {
	Field string // dotted path of the field; empty: the event as a whole
	Err   error
}

// Error names the field, if one is at fault.
func (e *Error) Error() string {
	if e.Field == "" {
		return "jsonevent: " + e.Err.Error()
	}
	return "jsonevent: field " + e.Field + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

var errNoPayload = errors.New("the event has no payload")

// Decode gives the payload in the Go types of avro.Schema.Decode: a map but for most generic
// events, and what came along with a change. unmarshal is what the program wants in place of
// encoding/json; nil: encoding/json, with exact numbers. The error is an *Error.
//
// There is no schema: a text is a DateTime where it has one of the forms that Salesforce writes.
func (e Event) Decode(unmarshal func([]byte, any) error) (value any, enriched map[string]any, err error) {
	if value, err = e.decode(unmarshal); err != nil {
		return nil, nil, &Error{Err: err}
	}
	return value, splitEnriched(value), nil
}

func (e Event) decode(unmarshal func([]byte, any) error) (any, error) {
	payload, _ := e.split()
	if payload == nil {
		return nil, errNoPayload
	}
	return Value(payload, unmarshal)
}

// Value gives a JSON value, such as a record of the REST API, in the Go types of Decode.
func Value(payload []byte, unmarshal func([]byte, any) error) (value any, err error) {
	if unmarshal != nil {
		err = unmarshal(payload, &value)
	} else {
		d := json.NewDecoder(bytes.NewReader(payload))
		d.UseNumber()
		if err = d.Decode(&value); err == nil && d.More() {
			err = errors.New("more than one JSON value")
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
