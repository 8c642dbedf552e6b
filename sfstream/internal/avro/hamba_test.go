package avro

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	hamba "github.com/hamba/avro/v2"
)

// The oracle: hamba encodes random values of random schemas, and both hamba and Decode read them.

// schemaMaker makes schemas of the kinds that Salesforce uses, and a few that it might.
type schemaMaker struct {
	*rand.Rand
	named   int
	records []string // defined, to be referred to
}

func (r *schemaMaker) record(depth int) m {
	r.named++
	name := fmt.Sprintf("R%d", r.named)
	fields := []any{}
	for i := range r.IntN(8) {
		fields = append(fields, m{"name": fmt.Sprintf("F%d", i), "type": r.typ(depth), "doc": "Data:Text"})
	}
	r.records = append(r.records, name) // only now: a record that contains itself has no random value that ends
	return m{"type": "record", "name": name, "namespace": "com.sforce.eventbus", "fields": fields}
}

func (r *schemaMaker) typ(depth int) any {
	primitives := []any{"string", "boolean", "int", "long", "double", "float", "bytes"}
	p := primitives[r.IntN(len(primitives))]
	switch n := r.IntN(12); {
	case n == 0:
		return p
	case n < 6 || depth == 0:
		return []any{"null", p}
	case n == 6:
		return m{"type": "array", "items": r.typ(depth - 1)}
	case n == 7:
		return m{"type": "map", "values": r.typ(depth - 1)}
	case n == 8:
		r.named++
		return m{"type": "enum", "name": fmt.Sprintf("E%d", r.named), "symbols": []any{"A", "B", "C"}}
	case n == 9:
		return []any{"null", "string", r.record(depth - 1)}
	case n == 10 && len(r.records) > 0:
		return []any{"null", r.records[r.IntN(len(r.records))]}
	default:
		return []any{"string", r.record(depth - 1)}
	}
}

// value is a random value in hamba's form: a record in a union is a map of its name.
func value(r *rand.Rand, schema hamba.Schema) any {
	switch s := schema.(type) {
	case *hamba.RefSchema:
		return value(r, s.Schema())
	case *hamba.RecordSchema:
		out := m{}
		for _, f := range s.Fields() {
			out[f.Name()] = value(r, f.Type())
		}
		return out
	case *hamba.EnumSchema:
		return s.Symbols()[r.IntN(len(s.Symbols()))]
	case *hamba.ArraySchema:
		out := []any{}
		for range r.IntN(4) {
			out = append(out, value(r, s.Items()))
		}
		return out
	case *hamba.MapSchema:
		out := m{}
		for i := range r.IntN(4) {
			out[fmt.Sprint(i)] = value(r, s.Values())
		}
		return out
	case *hamba.UnionSchema:
		branch := s.Types()[r.IntN(len(s.Types()))]
		v := value(r, branch)
		if ref, ok := branch.(*hamba.RefSchema); ok {
			branch = ref.Schema()
		}
		if record, ok := branch.(*hamba.RecordSchema); ok {
			return m{record.FullName(): v}
		}
		return v
	}
	switch schema.Type() {
	case hamba.Boolean:
		return r.IntN(2) == 1
	case hamba.Int:
		return int(int32(r.Uint32()) >> r.IntN(32))
	case hamba.Long:
		return int64(r.Uint64()) >> r.IntN(64)
	case hamba.Double:
		return r.NormFloat64()
	case hamba.Float:
		return r.Float32()
	case hamba.Bytes:
		return bytes.Repeat([]byte{7}, r.IntN(70))
	case hamba.String:
		return string(bytes.Repeat([]byte("é"), r.IntN(70)))
	}
	return nil
}

// flat brings hamba's decoded form into ours. changed: without nulls, as the body of a change event.
func flat(schema hamba.Schema, v any, changed bool) any {
	switch s := schema.(type) {
	case *hamba.RefSchema:
		return flat(s.Schema(), v, changed)
	case *hamba.RecordSchema:
		out := m{}
		for _, f := range s.Fields() {
			if v := flat(f.Type(), v.(m)[f.Name()], changed); v != nil || !changed {
				out[f.Name()] = v
			}
		}
		return out
	case *hamba.ArraySchema:
		out := []any{}
		list, _ := v.([]any)
		for _, item := range list {
			out = append(out, flat(s.Items(), item, changed))
		}
		return out
	case *hamba.MapSchema:
		out := m{}
		for k, item := range v.(m) {
			out[k] = flat(s.Values(), item, changed)
		}
		return out
	case *hamba.UnionSchema:
		if branch, ok := v.(m); ok {
			for name, v := range branch {
				record, _ := s.Types().Get(name)
				return flat(record, v, changed)
			}
		}
	}
	switch v := v.(type) {
	case int:
		return int64(v)
	case float32:
		return float64(v)
	}
	return v
}

func agree(t *testing.T, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 0))
	definition := (&schemaMaker{Rand: r}).record(3)
	if seed%2 == 0 { // a change event; its lists of no bitmaps stay as they are
		header := m{"type": "record", "name": "ChangeEventHeader", "fields": []any{
			m{"name": "commitTimestamp", "type": "long"},
			m{"name": "changedFields", "type": m{"type": "array", "items": "string"}},
		}}
		definition["fields"] = append([]any{m{"name": headerName, "type": header}}, definition["fields"].([]any)...)
	}
	text, err := json.Marshal(definition)
	if err != nil {
		t.Fatal(err)
	}
	oracle, err := hamba.ParseBytesWithCache(text, "", &hamba.SchemaCache{})
	if err != nil {
		t.Fatal(err)
	}
	s := mustParse(t, string(text))
	sum, _ := oracle.FingerprintUsing(hamba.MD5)
	if want := base64.RawURLEncoding.EncodeToString(sum); s.ID() != want {
		t.Errorf("seed %d: id %s, hamba's %s", seed, s.ID(), want)
	}

	v := value(r, oracle).(m)
	var list []any
	if s.IsChangeEvent() {
		v[headerName].(m)["changedFields"] = []any{}
		list = []any{}
	}
	// hamba's global codecs are kept by a hash of the schema's text. That of ["null","R2"] has only the name of R2: the
	// codec of another schema's R2 would be taken.
	api := hamba.Config{}.Freeze()
	payload, err := api.Marshal(oracle, v)
	if err != nil {
		t.Fatalf("seed %d: hamba cannot encode: %v\n%s\n%v", seed, err, text, v)
	}
	var theirs m
	if err := api.Unmarshal(oracle, payload, &theirs); err != nil {
		t.Fatalf("seed %d: hamba cannot decode: %v", seed, err)
	}
	want := flat(oracle, theirs, s.IsChangeEvent()).(m)
	if list != nil {
		want[headerName].(m)["changedFields"] = list
	}
	got, err := s.Decode(payload)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("seed %d: %v\n%s\n got %#v\nwant %#v", seed, err, text, got, want)
	}
	if s.IsChangeEvent() && s.Date(payload).UnixMilli() != want[headerName].(m)["commitTimestamp"] {
		t.Errorf("seed %d: Date %v", seed, s.Date(payload))
	}
}

func TestDecodeAgreesWithHamba(t *testing.T) {
	for seed := range uint64(500) {
		agree(t, seed)
	}
}

func FuzzDecodeAgreesWithHamba(f *testing.F) {
	f.Add(uint64(1 << 40))
	f.Fuzz(agree)
}
