package sfstreamtest

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/hamba/avro/v2"
)

// schema is an Avro schema under Salesforce's id for it.
type schema struct {
	id   string
	json string
	avro *avro.RecordSchema
}

func parseSchema(text string) (*schema, error) {
	// Each schema has its own cache: in a shared one the second Address would be the first.
	parsed, err := avro.ParseWithCache(text, "", &avro.SchemaCache{})
	if err != nil {
		return nil, err
	}
	rec, ok := parsed.(*avro.RecordSchema)
	if !ok {
		return nil, fmt.Errorf("a %s is not a record", parsed.Type())
	}
	return &schema{id: schemaID(parsed), json: text, avro: rec}, nil
}

// schemaID returns the MD5 of the schema's parsing canonical form, which String returns, in
// unpadded base64url.
func schemaID(s avro.Schema) string {
	sum := md5.Sum([]byte(s.String()))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// field returns a field of the schema by name, and its position.
func field(rec *avro.RecordSchema, name string) (*avro.Field, int) {
	for i, f := range rec.Fields() {
		if f.Name() == name {
			return f, i
		}
	}
	return nil, -1
}

func (s *schema) encode(payload map[string]any) ([]byte, error) {
	w := avro.NewWriter(nil, 256)
	if err := encode(w, s.avro, payload); err != nil {
		return nil, fmt.Errorf("%s: %w", s.avro.Name(), err)
	}
	return bytes.Clone(w.Buffer()), nil
}

// encode writes plain Go values as the schema wants them. hamba's own encoder needs unions of
// records spelled out by full name, and puts sizes into arrays, which Salesforce does not; this one
// writes the bytes that Salesforce would.
func encode(w *avro.Writer, s avro.Schema, v any) error {
	switch s := s.(type) {
	case *avro.RefSchema:
		return encode(w, s.Schema(), v)
	case *avro.UnionSchema:
		for i, branch := range s.Types() {
			if fits(branch, v) {
				w.WriteLong(int64(i))
				return encode(w, branch, v)
			}
		}
		return fmt.Errorf("%T does not fit %s", v, s)
	case *avro.RecordSchema:
		return encodeRecord(w, s, v)
	case *avro.EnumSchema:
		text, _ := v.(string)
		i := slices.Index(s.Symbols(), text)
		if i < 0 {
			return fmt.Errorf("%v is not a symbol of %s", v, s.Name())
		}
		w.WriteInt(int32(i))
		return nil
	case *avro.ArraySchema:
		items, ok := list(v)
		if !ok {
			return mismatch(s, v)
		}
		if len(items) > 0 {
			w.WriteLong(int64(len(items)))
			for _, item := range items {
				if err := encode(w, s.Items(), item); err != nil {
					return err
				}
			}
		}
		w.WriteLong(0)
		return nil
	}
	return encodePrimitive(w, s, v)
}

func encodeRecord(w *avro.Writer, s *avro.RecordSchema, v any) error {
	values, ok := v.(map[string]any)
	if !ok {
		return mismatch(s, v)
	}
	found := 0
	for _, f := range s.Fields() {
		value, given := values[f.Name()]
		switch {
		case given:
			found++
		case f.HasDefault():
			value = f.Default()
		}
		if err := encode(w, f.Type(), value); err != nil {
			return fmt.Errorf("%s: %w", f.Name(), err)
		}
	}
	if found < len(values) {
		for _, name := range slices.Sorted(maps.Keys(values)) {
			if f, _ := field(s, name); f == nil {
				return fmt.Errorf("there is no field %s", name)
			}
		}
	}
	return nil
}

func encodePrimitive(w *avro.Writer, s avro.Schema, v any) error {
	switch s.Type() {
	case avro.Null:
		if v == nil {
			return nil
		}
	case avro.String:
		if text, ok := v.(string); ok {
			w.WriteString(text)
			return nil
		}
	case avro.Bytes:
		if b, ok := v.([]byte); ok {
			w.WriteBytes(b)
			return nil
		}
	case avro.Boolean:
		if b, ok := v.(bool); ok {
			w.WriteBool(b)
			return nil
		}
	case avro.Int:
		if n, ok := integer(v); ok && n >= math.MinInt32 && n <= math.MaxInt32 {
			w.WriteInt(int32(n))
			return nil
		}
	case avro.Long:
		if n, ok := integer(v); ok {
			w.WriteLong(n)
			return nil
		}
	case avro.Float:
		if f, ok := float(v); ok {
			w.WriteFloat(float32(f))
			return nil
		}
	case avro.Double:
		if f, ok := float(v); ok {
			w.WriteDouble(f)
			return nil
		}
	default:
		return errors.New("Salesforce has no " + string(s.Type()))
	}
	return mismatch(s, v)
}

func mismatch(s avro.Schema, v any) error {
	if v == nil {
		return fmt.Errorf("a value is required (%s)", s.Type())
	}
	return fmt.Errorf("%v (%T) is not a %s", v, v, s.Type())
}

// fits reports whether a branch of a union can carry the value.
func fits(s avro.Schema, v any) bool {
	if ref, ok := s.(*avro.RefSchema); ok {
		s = ref.Schema()
	}
	ok := false
	switch s.Type() {
	case avro.Null:
		return v == nil
	case avro.Record:
		_, ok = v.(map[string]any)
	case avro.String, avro.Enum:
		_, ok = v.(string)
	case avro.Bytes:
		_, ok = v.([]byte)
	case avro.Boolean:
		_, ok = v.(bool)
	case avro.Int, avro.Long:
		_, ok = integer(v)
	case avro.Float, avro.Double:
		_, ok = float(v)
	case avro.Array:
		_, ok = list(v)
	}
	return ok
}

// integer accepts whole numbers of every kind. A time counts as epoch milliseconds.
func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int:
		return int64(v), true
	case int32:
		return int64(v), true
	case int64:
		return v, true
	case uint32:
		return int64(v), true
	case float64:
		return int64(v), v == math.Trunc(v) && math.Abs(v) < 1<<53
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, true
		}
		f, err := v.Float64()
		if err != nil {
			return 0, false
		}
		return integer(f)
	case time.Time:
		return v.UnixMilli(), true
	}
	return 0, false
}

func float(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case float32:
		return float64(v), true
	case json.Number:
		f, err := v.Float64()
		return f, err == nil
	case time.Time:
		return 0, false
	}
	n, ok := integer(v)
	return float64(n), ok
}

func list(v any) ([]any, bool) {
	switch v := v.(type) {
	case []any:
		return v, true
	case []string:
		items := make([]any, len(v))
		for i, s := range v {
			items[i] = s
		}
		return items, true
	}
	return nil, false
}
