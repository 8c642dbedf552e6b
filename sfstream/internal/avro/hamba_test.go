package avro

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	hamba "github.com/hamba/avro/v2"
)

// hamba is the oracle of these tests: it encodes random values of random schemas, and both hamba
// and Decode read them.

// schemaMaker makes schemas of the kinds that Salesforce uses, and of a few that it might use.
type schemaMaker struct {
	*rand.Rand
	named   int
	records []string // the names of those defined so far, to which a field can refer
}

func (r *schemaMaker) record(depth int) m {
	r.named++
	name := fmt.Sprintf("R%d", r.named)
	fields := []any{}
	for range r.IntN(10) {
		fields = append(fields, r.field(fmt.Sprintf("F%d", len(fields)), r.typ(depth)))
		if r.IntN(4) == 0 { // most fields of an object are such a union
			for range r.IntN(20) {
				fields = append(fields, r.field(fmt.Sprintf("F%d", len(fields)), []any{"null", r.primitive()}))
			}
		}
	}
	r.records = append(r.records, name) // only now, because a record that contains itself would have no random value that ends
	return m{"type": "record", "name": name, "namespace": "com.sforce.eventbus", "fields": fields}
}

func (r *schemaMaker) field(name string, typ any) m {
	docs := []string{"Data:Text", "Data:DateTime", "Data:DateOnly", "Data:TimeOnly:00N000000000012"}
	return m{"name": name, "type": typ, "doc": docs[r.IntN(len(docs))]}
}

func (r *schemaMaker) primitive() any {
	return []any{"string", "string", "boolean", "int", "long", "double", "float", "bytes"}[r.IntN(8)]
}

func (r *schemaMaker) typ(depth int) any {
	p := r.primitive()
	if r.named > 40 { // enough
		depth = 0
	}
	switch n := r.IntN(14); {
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
		return []any{"null", m{"type": "enum", "name": fmt.Sprintf("E%d", r.named), "symbols": []any{"A", "B", "C"}}}
	case n == 9:
		r.named++
		return m{"type": "fixed", "name": fmt.Sprintf("X%d", r.named), "size": 1 + r.IntN(20)}
	case n == 10:
		return []any{"null", "string", r.record(depth - 1)}
	case n == 11 && len(r.records) > 0:
		return []any{"null", r.records[r.IntN(len(r.records))]}
	case n == 12:
		return []any{p, "null"}
	default:
		return []any{"null", r.record(depth - 1)}
	}
}

// changeHeader returns the type of a change event's header.
var changeHeader = m{"type": "record", "name": headerName, "fields": []any{
	m{"name": "entityName", "type": "string"}, m{"name": "recordIds", "type": texted},
	m{"name": "changeType", "type": m{"type": "enum", "name": "ChangeType", "symbols": []any{"CREATE", "UPDATE", "DELETE"}}},
	m{"name": "changeOrigin", "type": "string"}, m{"name": "transactionKey", "type": "string"}, m{"name": "sequenceNumber", "type": "int"},
	m{"name": "commitTimestamp", "type": "long"}, m{"name": "commitNumber", "type": "long"}, m{"name": "commitUser", "type": "string"},
	m{"name": "nulledFields", "type": texted}, m{"name": "diffFields", "type": texted}, m{"name": "changedFields", "type": texted},
}}

var texted = m{"type": "array", "items": "string"}

// bitmaps returns random elements for a record, and the names that they stand for.
func bitmaps(r *rand.Rand, record *hamba.RecordSchema) (elements, names []any) {
	elements, names = []any{}, []any{}
	for range r.IntN(3) {
		element, prefix, fields := "", "", record.Fields()
		if i := r.IntN(len(fields)); r.IntN(2) == 0 {
			element, prefix = fmt.Sprintf("%d-", i), fields[i].Name()+"."
			fields = membersOf(fields[i].Type())
		}
		digits := make([]byte, r.IntN(24))
		number := new(big.Int)
		for i := range digits {
			digits[i] = "00000123456789aAbBcCdDeEfF"[r.IntN(26)]
		}
		number.SetString(string(digits), 16)
		for i, f := range fields {
			if number.Bit(i) == 1 {
				names = append(names, prefix+f.Name())
			}
		}
		elements = append(elements, element+"0x"+string(digits))
	}
	return elements, names
}

// membersOf returns the fields of the record that a field is or has among its branches.
func membersOf(schema hamba.Schema) []*hamba.Field {
	switch s := schema.(type) {
	case *hamba.RefSchema:
		return membersOf(s.Schema())
	case *hamba.RecordSchema:
		return s.Fields()
	case *hamba.UnionSchema:
		for _, t := range s.Types() {
			if fields := membersOf(t); fields != nil {
				return fields
			}
		}
	}
	return nil
}

// valueMaker makes random values of a schema.
type valueMaker struct {
	*rand.Rand
	made int
}

// value returns a random value in the form that hamba encodes: in a union a record or an enum is a
// map with its name as the only key.
func (r *valueMaker) value(schema hamba.Schema) any {
	r.made++
	enough := r.made > 2000 // the value is large already: a record can refer to one that refers to one…
	switch s := schema.(type) {
	case *hamba.RefSchema:
		return r.value(s.Schema())
	case *hamba.RecordSchema:
		out := m{}
		for _, f := range s.Fields() {
			out[f.Name()] = r.value(f.Type())
		}
		return out
	case *hamba.EnumSchema:
		return s.Symbols()[r.IntN(len(s.Symbols()))]
	case *hamba.FixedSchema:
		array := reflect.New(reflect.ArrayOf(s.Size(), reflect.TypeFor[byte]())).Elem()
		for i := range s.Size() {
			array.Index(i).SetUint(uint64(r.IntN(256)))
		}
		return array.Interface()
	case *hamba.ArraySchema:
		out := []any{}
		for i := r.IntN(4); i > 0 && !enough; i-- {
			out = append(out, r.value(s.Items()))
		}
		return out
	case *hamba.MapSchema:
		out := m{}
		for i := r.IntN(4); i > 0 && !enough; i-- {
			out[fmt.Sprint(i)] = r.value(s.Values())
		}
		return out
	case *hamba.UnionSchema:
		branch := s.Types()[r.IntN(len(s.Types()))]
		if enough {
			branch = s.Types()[0]
		}
		v := r.value(branch)
		if ref, ok := branch.(*hamba.RefSchema); ok {
			branch = ref.Schema()
		}
		if named, ok := branch.(hamba.NamedSchema); ok {
			return m{named.FullName(): v}
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
		return float64(int32(r.Uint32())) / 8
	case hamba.Float:
		return float32(int16(r.Uint32())) / 8
	case hamba.Bytes:
		return bytes.Repeat([]byte{7}, r.IntN(70))
	case hamba.String:
		return string(bytes.Repeat([]byte("é"), r.IntN(70)))
	}
	return nil
}

func value(r *rand.Rand, schema hamba.Schema) any { return (&valueMaker{Rand: r}).value(schema) }

// flat brings a value that hamba decoded into the form of Decode. With changed it leaves out nulls,
// as Decode does in the body of a change event.
func flat(schema hamba.Schema, v any, changed bool) any {
	switch s := schema.(type) {
	case *hamba.RefSchema:
		return flat(s.Schema(), v, changed)
	case *hamba.RecordSchema:
		out := m{}
		for _, f := range s.Fields() {
			field := v.(m)[f.Name()]
			if ms, ok := field.(int64); ok {
				field = timed(f.Doc(), ms)
			}
			if v := flat(f.Type(), field, changed); v != nil || !changed {
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
				branch, _ := s.Types().Get(name)
				return flat(branch, v, changed)
			}
		}
	}
	if fixed := reflect.ValueOf(v); fixed.Kind() == reflect.Array {
		out := make([]byte, fixed.Len())
		reflect.Copy(reflect.ValueOf(out), fixed)
		return out
	}
	switch v := v.(type) {
	case int:
		return int64(v)
	case float32:
		return float64(v)
	}
	return v
}

// timed returns a long as Decode does for a field with that doc.
func timed(doc string, ms int64) any {
	at := time.UnixMilli(ms).UTC()
	if at.Year() < 0 || at.Year() > 9999 {
		return ms
	}
	switch {
	case strings.Contains(doc, "DateTime"):
		return at.Format("2006-01-02T15:04:05.000Z")
	case strings.Contains(doc, "DateOnly"):
		return at.Format("2006-01-02")
	case strings.Contains(doc, "TimeOnly"):
		return at.Format("15:04:05.000Z")
	}
	return ms
}

// agree makes a schema and a value out of r, and compares what hamba and this package decode from
// its encoding.
func agree(t *testing.T, r *rand.Rand) {
	t.Helper()
	definition := (&schemaMaker{Rand: r}).record(3)
	change := r.IntN(2) == 0
	if change {
		definition["fields"] = append([]any{m{"name": headerName, "type": changeHeader}}, definition["fields"].([]any)...)
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
		t.Errorf("id %s, hamba's %s", s.ID(), want)
	}

	v := value(r, oracle).(m)
	names := map[string][]any{}
	if change {
		for _, list := range []string{"changedFields", "diffFields", "nulledFields"} {
			v[headerName].(m)[list], names[list] = bitmaps(r, oracle.(*hamba.RecordSchema))
		}
	}
	// hamba keeps its global codecs by a hash of the schema's text. In the text of ["null","R2"]
	// there is only the name of R2, so that hamba would take the codec for another schema's R2.
	api := hamba.Config{}.Freeze()
	payload, err := api.Marshal(oracle, v)
	if err != nil {
		t.Fatalf("hamba cannot encode: %v\n%s\n%v", err, text, v)
	}
	if got, err := s.decoded(payload); err != nil {
		t.Fatalf("%v\n%s\n%x", err, text, payload)
	} else if change {
		for list, want := range names {
			want = want[:min(len(want), s.paths)] // further names are repetitions, which Decode leaves out
			if header := got[headerName].(m); !reflect.DeepEqual(header[list], want) {
				t.Errorf("%s: %v, want %v of %v", list, header[list], want, v[headerName].(m)[list])
			}
		}
	}
	compare(t, s, api, oracle, payload)
	for range 8 {
		broken := bytes.Clone(payload)
		for i := r.IntN(3); i >= 0 && len(broken) > 0; i-- {
			at := r.IntN(len(broken))
			switch r.IntN(3) {
			case 0:
				broken = broken[:at]
			case 1:
				broken[at] = byte(r.IntN(256))
			case 2:
				broken = slices.Delete(broken, at, at+1)
			}
		}
		compare(t, s, api, oracle, broken)
	}
}

// compare fails if this package accepts a payload that hamba refuses, if the two decode it
// differently, or if Decode, Header, Date and skip contradict each other.
func compare(t *testing.T, s *Schema, api hamba.API, oracle hamba.Schema, payload []byte) {
	t.Helper()
	checkDecode(t, s, payload)
	got, enriched, err := s.Decode(payload)
	if err != nil {
		return
	}
	var theirs m
	if err := api.Unmarshal(oracle, payload, &theirs); err != nil {
		t.Fatalf("hamba refuses it: %v\n%s\n%x\n%v", err, oracle, payload, got)
	}
	want := flat(oracle, theirs, s.IsChangeEvent()).(m)
	if s.IsChangeEvent() {
		header := want[headerName].(m)
		if came, sure := unnamed(s, want, got[headerName].(m)); sure && fmt.Sprint(came) != fmt.Sprint(enriched) {
			t.Errorf("%s\nenriched %v\nwant     %v", oracle, enriched, came)
		} else if !sure {
			return
		}
		for _, name := range texts(got[headerName].(m)["nulledFields"]) {
			if header["changeType"] == "DELETE" {
				break
			}
			nullAt(want, strings.Split(name, "."))
		}
		for _, list := range []string{"changedFields", "diffFields", "nulledFields"} {
			header[list] = got[headerName].(m)[list]
		}
		h, err := s.Header(payload, nil)
		if err != nil || !reflect.DeepEqual(h.asMap(), header) {
			t.Errorf("the header is %v, %v\nwant %v", h.asMap(), err, header)
		}
		if date := s.Date(payload); date.UnixMilli() != header["commitTimestamp"] {
			t.Errorf("Date %v, %v", date, header)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) || !reflect.DeepEqual(got, want) && !strings.Contains(fmt.Sprint(got), "NaN") {
		t.Errorf("%s\n got %#v\nwant %#v\nof %x", oracle, got, want, payload)
	}
	c := cursor{buf: payload}
	if err := c.skip(s.root); err != nil || c.rest() != 0 {
		t.Errorf("skip: %v, and %d bytes are left", err, c.rest())
	}
}

// unnamed takes out of an event the fields that no list of its header names. sure is false if a
// list was cut short.
func unnamed(s *Schema, event, header m) (came m, sure bool) {
	names := map[string]bool{headerName: true}
	parents := map[string]bool{}
	for _, list := range []string{"changedFields", "nulledFields", "diffFields"} {
		for _, name := range texts(header[list]) {
			names[name] = true
			parent, _, nested := strings.Cut(name, ".")
			parents[parent] = parents[parent] || nested
		}
		if len(header[list].([]any)) == s.paths {
			return nil, false
		}
	}
	switch header["changeType"] {
	case "DELETE":
		names, parents = map[string]bool{headerName: true}, nil
	case "UPDATE":
	default:
		return nil, true
	}
	came = m{}
	for name, v := range event {
		record, isMap := v.(map[string]any)
		switch f := s.root.fields[s.root.indexOf(name)]; {
		case names[name]:
		case !parents[name]:
			came[name] = v
			delete(event, name)
		case isMap && f.record != nil:
			rest := m{}
			for nested, v := range record {
				if !names[name+"."+nested] {
					rest[nested] = v
					delete(record, nested)
				}
			}
			if len(rest) > 0 {
				came[name] = map[string]any(rest)
			}
		}
	}
	return came, true
}

// nullAt sets a nulled field of a change event to nil.
func nullAt(m m, path []string) {
	v, there := m[path[0]]
	switch nested, isMap := v.(map[string]any); {
	case there && isMap && len(path) > 1:
		nullAt(nested, path[1:])
	case !there && len(path) > 1:
		m[path[0]] = map[string]any{path[1]: nil}
	case !there:
		m[path[0]] = nil
	}
}

func TestDecodeAgreesWithHamba(t *testing.T) {
	for seed := range uint64(250) {
		agree(t, rand.New(rand.NewPCG(seed, 0)))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// choices is a source of randomness that a fuzzer can vary: each two bytes make a number. Past the
// end of the bytes another source goes on.
type choices struct {
	rand.PCG
	bytes []byte
}

func (c *choices) Uint64() uint64 {
	if len(c.bytes) < 2 {
		return c.PCG.Uint64()
	}
	n := binary.LittleEndian.Uint16(c.bytes)
	c.bytes = c.bytes[2:]
	return uint64(n) * 0x1000100010001
}

func FuzzDecodeAgreesWithHamba(f *testing.F) {
	for seed := range byte(10) {
		random := make([]byte, 2000)
		_, _ = rand.NewChaCha8([32]byte{seed}).Read(random)
		f.Add(random)
	}
	f.Fuzz(func(t *testing.T, random []byte) {
		agree(t, rand.New(&choices{bytes: random}))
	})
}
