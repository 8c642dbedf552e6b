package sfstreamtest

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// readOnly reports whether requests cannot write the field: Salesforce keeps it, or it is a
// compound, whose members they write.
func (f sobjectField) readOnly() bool {
	switch f.name {
	case "Id", "IsDeleted", "CreatedDate", "CreatedById", "LastModifiedDate", "LastModifiedById", "SystemModstamp", "CaseNumber",
		"NotifyForOperations", "IsDynamic", "LastViewedDate", "LastReferencedDate":
		return true
	}
	return f.composed || f.typ == "address" || f.typ == "location"
}

// fromJSON returns a value of a request in the form in which events and records have it. Texts that
// stand for a number or a truth are taken as such.
func (f sobjectField) fromJSON(v any) (any, error) {
	number, isNumber := v.(json.Number)
	text, isText := v.(string)
	truth, isTruth := v.(bool)
	if isNumber {
		text = number.String()
	}
	ok := false
	var value any
	switch f.typ {
	case "boolean":
		value, ok = truth, isTruth
		if isText {
			value, ok = strings.EqualFold(text, "true"), strings.EqualFold(text, "true") || strings.EqualFold(text, "false")
		}
	case "int", "long":
		n, exact := integer(json.Number(text))
		value, ok = n, (isNumber || isText) && exact && (f.typ == "long" || n >= math.MinInt32 && n <= math.MaxInt32)
	case "double", "currency", "percent":
		n, err := strconv.ParseFloat(text, 64)
		value, ok = n, (isNumber || isText) && err == nil && !math.IsNaN(n) && !math.IsInf(n, 0)
	case "date", "datetime", "time":
		value, ok = f.moment(text)
		ok = ok && isText
	case "anyType":
		value, ok = v, isText || isTruth
		if isNumber {
			value, ok = float(number)
		}
	default:
		value, ok = text, isText
	}
	switch {
	case v == nil:
		return nil, nil
	case !ok:
		return nil, f.mistyped(v)
	}
	return value, nil
}

// moment reads the text of a date, a date with a time, or a time.
func (f sobjectField) moment(text string) (time.Time, bool) {
	if f.typ == "time" {
		for _, layout := range []string{"15:04:05.999Z", "15:04:05.999", "15:04"} {
			if at, err := time.Parse(layout, text); err == nil {
				return at.AddDate(1970, 0, 0), true // Parse's year is 0
			}
		}
		return time.Time{}, false
	}
	at, ok := parseTime(text)
	if f.typ == "date" {
		at = at.UTC().Truncate(24 * time.Hour)
	}
	return at, ok
}

// mistyped is the error about a value that the field cannot have.
func (f sobjectField) mistyped(v any) error {
	want := f.typ
	switch f.typ {
	case "int", "long", "double", "boolean", "date", "datetime", "time":
	case "currency", "percent":
		want = "double"
	default:
		want = "string"
	}
	token := "START_OBJECT"
	switch v := v.(type) {
	case string:
		token = "VALUE_STRING value " + v
	case bool:
		token = "VALUE_" + strings.ToUpper(strconv.FormatBool(v)) + " value " + strconv.FormatBool(v)
	case json.Number:
		token = "VALUE_NUMBER_INT value " + v.String()
		if strings.ContainsAny(v.String(), ".eE") {
			token = "VALUE_NUMBER_FLOAT value " + v.String()
		}
	case []any:
		token = "START_ARRAY"
	}
	return &restError{http.StatusBadRequest, fmt.Sprintf(
		"Cannot deserialize instance of %s from %s or request may be missing a required field at [line:1, column:2]", want, token), "JSON_PARSER_ERROR", nil}
}

// values returns what a request gives to the fields of an object, by their names; in nested that of
// a member of a compound is in a map below the compound's name, as records and events have it.
func (o *sobject) values(body map[string]any) (values, nested map[string]any, err error) {
	values, nested = make(map[string]any, len(body)), make(map[string]any, len(body))
	for name, v := range body {
		if name == "attributes" {
			continue
		}
		f, ok := o.field(name)
		system := o.event && (strings.EqualFold(name, "EventUuid") || strings.EqualFold(name, "ReplayId"))
		switch {
		case system || ok && f.readOnly():
			return nil, nil, notWritable(name)
		case !ok:
			return nil, nil, noColumn(name, o.name)
		}
		if v, err = f.fromJSON(v); err != nil {
			return nil, nil, err
		}
		if v == "" && !o.event {
			v = nil // a record has no empty texts
		}
		values[f.name] = v
		if f.compound == "" {
			nested[f.name] = v
			continue
		}
		members, _ := nested[f.compound].(map[string]any)
		if members == nil {
			members = make(map[string]any)
			nested[f.compound] = members
		}
		members[f.member] = v
	}
	return values, nested, nil
}

// same reports whether two values of a field are equal.
func same(a, b any) bool {
	if x, ok := a.(time.Time); ok {
		y, ok := b.(time.Time)
		return ok && x.Equal(y)
	}
	if x, ok := float(a); ok {
		y, ok := float(b)
		return ok && x == y
	}
	return a == b
}
