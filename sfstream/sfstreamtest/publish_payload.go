package sfstreamtest

import (
	"errors"
	"io"
	"time"

	"github.com/hamba/avro/v2"
)

// decode returns the fields of a payload, in the order of the schema. It fails unless the payload
// is one record of the schema and nothing more.
func (s *schema) decode(payload []byte) (values []any, ok bool) {
	r := avro.NewReader(nil, 0).Reset(payload)
	values, ok = decodeAvro(r, s.avro, len(payload)).([]any)
	if !ok || r.Error != nil {
		return nil, false
	}
	r.Peek()
	return values, errors.Is(r.Error, io.EOF)
}

// missingSystemField returns the field that Salesforce requires of publishers and that a payload
// does not have: Avro has no way to leave it out, so it is one without a value.
func (s *schema) missingSystemField(values []any) string {
	for i, f := range s.avro.Fields() {
		if name := f.Name(); name == "CreatedDate" || name == "CreatedById" {
			if v := values[i]; v == nil || v == int64(0) || v == "" {
				return name
			}
		}
	}
	return ""
}

// namedFields returns the fields of a record by their names, in the form that filters compare:
// compound fields are maps, and dates are times.
func namedFields(rec *avro.RecordSchema, values []any) map[string]any {
	named := make(map[string]any, len(values))
	for i, f := range rec.Fields() {
		v := values[i]
		switch value := v.(type) {
		case []any:
			if inner, _ := compound(f.Type()); inner != nil {
				v = namedFields(inner, value)
			}
		case int64:
			switch fieldType(f) {
			case "DateTime", "DateOnly", "Birthday":
				v = time.UnixMilli(value).UTC()
			}
		}
		named[f.Name()] = v
	}
	return named
}
