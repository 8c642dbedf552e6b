package sfstreamtest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hamba/avro/v2"
)

// checkFilter refuses a filter expression of a member that Salesforce refuses: it names a field
// that the event does not have, an array of the header or a whole compound, or it compares as the
// field's type cannot. data is whether the events are change events.
func checkFilter(sc *schema, where expr, data bool) error {
	_, err := mapComparisons(where, func(c compare) (compare, error) {
		parent, member, dotted := strings.Cut(c.field, ".")
		f, _ := field(sc.avro, parent)
		if f == nil || parent == "ChangeEventHeader" && !data {
			return c, fmt.Errorf("%s: field is invalid: there is no field %s", c.field, parent)
		}
		members, only := compound(f.Type())
		switch {
		case dotted && members == nil:
			return c, fmt.Errorf("%s: field is invalid", c.field)
		case dotted:
			m, _ := field(members, member)
			if m == nil || m.Type().Type() == avro.Array {
				return c, fmt.Errorf("%s: field is invalid", c.field)
			}
			return c, nil
		case members != nil && only:
			return c, fmt.Errorf("%s: field has to be used with a component field", c.field)
		}
		equality := slices.Contains([]string{"=", "!=", "IN"}, c.op)
		typ := or(describeTypes[fieldType(f)], plainType(f.Type()))
		if !equality && (typ == "boolean" || typ == "datetime" && data) {
			return c, fmt.Errorf("%s: Only equality operators are supported for this field type or value", c.field)
		}
		for i, v := range append(slices.Clone(c.list), c.value) {
			if v != nil && !comparesWith(typ, v) {
				return c, fmt.Errorf("%s: %s is no value of type %s", c.field, c.texts[min(i, len(c.texts)-1)], typ)
			}
		}
		return c, nil
	})
	return err
}

// comparesWith reports whether a filter can compare a field of a type with a value: texts are in
// quotes, and numbers, truths and dates are not.
func comparesWith(typ string, v any) bool {
	_, isText := v.(string)
	_, isNumber := v.(float64)
	_, isBool := v.(bool)
	_, isTime := v.(time.Time)
	switch typ {
	case "boolean":
		return isBool
	case "int", "double", "currency", "percent":
		return isNumber
	case "long": // a plain one can be a date
		return isNumber || isTime
	case "date", "datetime", "time":
		return isTime
	}
	return isText
}

// compoundOf returns the compound that a field is a part of, as BillingAddress of BillingCity, and
// the field itself if it is none.
func compoundOf(sc *schema, name string) string {
	if f, _ := field(sc.avro, name); f != nil {
		return name
	}
	for _, f := range fieldsOf(sc.avro) {
		if f.name == name && f.compound != "" {
			return f.compound
		}
	}
	return name
}
