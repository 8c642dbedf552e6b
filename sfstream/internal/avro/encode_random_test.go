package avro

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	hamba "github.com/hamba/avro/v2"
)

// This file encodes random values of random schemas, from maps and from structs, and compares with
// hamba and with what Decode and Assign make of the encoding.

// encodeCase is an event of a random schema: its encoding by hamba, and its map as Decode gives it.
type encodeCase struct {
	schema  *Schema
	text    string
	payload []byte
	fields  m
	value   any // as hamba takes it
}

func newEncodeCase(t *testing.T, r *rand.Rand) encodeCase {
	t.Helper()
	definition := (&schemaMaker{Rand: r}).record(3)
	text, err := json.Marshal(definition)
	if err != nil {
		t.Fatal(err)
	}
	oracle, err := hamba.ParseBytesWithCache(text, "", &hamba.SchemaCache{})
	if err != nil {
		t.Fatal(err)
	}
	v := value(r, oracle)
	punctual(oracle, v)
	payload, err := hamba.Config{DisableBlockSizeHeader: true}.Freeze().Marshal(oracle, v)
	if err != nil {
		t.Fatalf("hamba cannot encode: %v\n%s\n%v", err, text, v)
	}
	return encodeCase{mustParse(t, string(text)), string(text), payload, flat(oracle, v, false).(m), v}
}

// punctual makes the dates and times of day of a value whole: Decode rounds others.
func punctual(schema hamba.Schema, v any) {
	switch s := schema.(type) {
	case *hamba.RefSchema:
		punctual(s.Schema(), v)
	case *hamba.RecordSchema:
		for _, f := range s.Fields() {
			fields := v.(m)
			ms, ok := fields[f.Name()].(int64)
			if !ok || !writable(ms) {
				punctual(f.Type(), fields[f.Name()])
				continue
			}
			rest := (ms%msPerDay + msPerDay) % msPerDay
			switch timeForm(f.Doc()) {
			case timeForms["DateOnly"]:
				fields[f.Name()] = max(ms-rest, -62167219200000)
			case timeForms["TimeOnly"]:
				fields[f.Name()] = rest
			}
		}
	case *hamba.ArraySchema:
		for _, item := range v.([]any) {
			punctual(s.Items(), item)
		}
	case *hamba.MapSchema:
		for _, item := range v.(m) {
			punctual(s.Values(), item)
		}
	case *hamba.UnionSchema:
		if branch, ok := v.(m); ok {
			for name, v := range branch {
				branch, _ := s.Types().Get(name)
				punctual(branch, v)
			}
		}
	}
}

// encodesAs fails if v has another encoding than the event. The entries of a map have no order.
func (c encodeCase) encodesAs(t *testing.T, v any) (got []byte) {
	t.Helper()
	got, err := newBinder().Append(nil, c.schema, v, System{})
	switch {
	case err != nil:
		t.Errorf("%s\n%v: %v", c.text, v, err)
	case strings.Contains(c.text, `"map"`) && len(got) == len(c.payload):
		if fields, err := c.schema.decoded(got); err != nil || !reflect.DeepEqual(fields, c.fields) {
			t.Errorf("%s\n%v: %v\n%v", c.text, v, fields, err)
		}
	case !bytes.Equal(got, c.payload):
		t.Errorf("%s\n%v\n got %x\nwant %x", c.text, v, got, c.payload)
	}
	return got
}

// structLike makes a struct type with one field for each of a record, in which all of its values
// have room.
func structLike(r *rand.Rand, n *node, depth int) reflect.Type {
	var fields []reflect.StructField
	for i, f := range n.fields {
		fields = append(fields, reflect.StructField{
			Name: fmt.Sprintf("X%d", i), Type: roomFor(r, &f, depth), Tag: reflect.StructTag(`sf:"` + f.name + `"`),
		})
	}
	r.Shuffle(len(fields), reflect.Swapper(fields))
	return reflect.StructOf(fields)
}

func roomFor(r *rand.Rand, f *field, depth int) reflect.Type {
	n := f.node
	if n.only != nil {
		n = n.only
	}
	t := map[kind]reflect.Type{
		kindString: reflect.TypeFor[string](), kindEnum: reflect.TypeFor[word](), kindLong: reflect.TypeFor[int64](), kindInt: reflect.TypeFor[int32](),
		kindDouble: reflect.TypeFor[float64](), kindFloat: reflect.TypeFor[float32](), kindBoolean: reflect.TypeFor[bool](),
		kindBytes: reflect.TypeFor[[]byte](), kindFixed: reflect.TypeFor[[]byte](), kindMap: reflect.TypeFor[map[string]any](),
	}[n.kind]
	if t == nil {
		t = reflect.TypeFor[any]()
	}
	if n.kind == kindRecord && depth > 0 {
		t = structLike(r, n, depth-1)
	}
	if n.kind == kindLong && f.timeForm != "" && r.IntN(2) == 0 {
		t = timeType
	}
	if f.node.kind == kindUnion {
		optional := map[reflect.Type]reflect.Type{
			reflect.TypeFor[string](): reflect.TypeFor[maybe[string]](), timeType: reflect.TypeFor[maybe[timeOrNot]](),
			reflect.TypeFor[float64](): reflect.TypeFor[maybe[*float64]](), reflect.TypeFor[bool](): reflect.TypeFor[maybe[maybe[bool]]](),
		}[t]
		switch {
		case optional != nil && r.IntN(3) == 0:
			t = optional
		case r.IntN(5) == 0:
			t = reflect.TypeFor[any]()
		default:
			t = reflect.PointerTo(t)
		}
	}
	return t
}

type timeOrNot = any

// checkEncode encodes an event from its map and from a struct that it fits into.
func checkEncode(t *testing.T, r *rand.Rand) encodeCase {
	t.Helper()
	c := newEncodeCase(t, r)
	c.encodesAs(t, c.fields)
	b := newBinder()
	event := reflect.New(structLike(r, c.schema.root, 1))
	if event.Elem().NumField() == 0 {
		return c
	}
	if err := b.Assign(event.Elem(), c.fields, nil, c.schema); err != nil {
		if strings.Contains(err.Error(), "time.Time") {
			return c // the time is too far away to be one, and is a number
		}
		t.Fatalf("%s\n%v does not fit into %s: %v", c.text, c.fields, event.Type(), err)
	}
	c.encodesAs(t, event.Interface())
	c.encodesAs(t, event.Elem().Interface())
	return c
}

func TestAppendAgreesWithHamba(t *testing.T) {
	for seed := range uint64(150) {
		checkEncode(t, rand.New(rand.NewPCG(seed, 3)))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func FuzzAppendAgreesWithHamba(f *testing.F) {
	for seed := range byte(4) {
		random := make([]byte, 2000)
		_, _ = rand.NewChaCha8([32]byte{seed}).Read(random)
		f.Add(random)
	}
	f.Fuzz(func(t *testing.T, random []byte) { checkEncode(t, rand.New(&choices{bytes: random})) })
}

// A struct of any types that an event fits into is the same after its encoding.
func roundTrips(t *testing.T, seed uint64) bool {
	t.Helper()
	c := newBindCase(t, seed|1) // of an odd seed: no change event, whose header has names in place of bitmaps
	if c.schema.root.has("Two") {
		return false // of two records in a union nobody can tell which one a map is
	}
	b := newBinder()
	fields, err := c.schema.decoded(c.payload(t))
	if err != nil {
		t.Fatal(err)
	}
	before, after := reflect.New(c.typ), reflect.New(c.typ)
	if b.Assign(before.Elem(), fields, nil, c.schema) != nil {
		return false
	}
	payload, err := b.Append(nil, c.schema, before.Interface(), System{})
	if err != nil {
		if strings.Contains(err.Error(), "both for") || errors.Is(err, errRequired) || isNull(fields, err) {
			return false // the random struct has two fields for one, none for one that may not be null, or one of another kind, which was null
		}
		t.Errorf("seed %d: %s: %v", seed, show(before), err)
		return false
	}
	fields, err = c.schema.decoded(payload)
	if err == nil {
		err = b.Assign(after.Elem(), fields, nil, c.schema)
	}
	// An optional in the zero struct that null became says nothing, and is encoded as null.
	nulled := func(v reflect.Value) string { return strings.ReplaceAll(show(v), `, ""}`, `, "null"}`) }
	if err != nil || nulled(after) != nulled(before) {
		t.Errorf("seed %d: %v\n got %s\nwant %s", seed, err, show(after), show(before))
	}
	return true
}

// isNull reports whether the field that an error is about has no value in fields.
func isNull(fields any, err error) bool {
	e, _ := errors.AsType[*Error](err)
	for name := range strings.SplitSeq(e.Field, ".") {
		record, _ := fields.(m)
		fields = record[name]
	}
	return fields == nil
}

func TestWhatIsEncodedIsDecodedAgain(t *testing.T) {
	done := 0
	const seeds = 200
	for seed := range uint64(seeds) {
		if roundTrips(t, 2*seed) {
			done++
		}
	}
	if done < seeds/10 {
		t.Errorf("%d of %d only", done, seeds)
	}
}

func FuzzEncode(f *testing.F) {
	f.Add(uint64(1 << 40))
	f.Fuzz(func(t *testing.T, seed uint64) { roundTrips(t, seed) })
}

// FuzzAppendTakesAnyJSON encodes what a program may have read from a file.
func FuzzAppendTakesAnyJSON(f *testing.F) {
	f.Add([]byte(`{"CreatedDate":1735689660000,"CreatedById":"005","Weight__c":58.2,"EstimatedDeliveryDate__c":"2025-01-06T00:01:00.000Z"}`))
	f.Add([]byte(`{"CreatedDate":1e3,"CreatedById":"","Weight__c":9007199254740993,"OpptyRecordId__c":["a","b"]}`))
	s, account := load(f, "neworder"), load(f, "account")
	account.header.fields[9].part, account.header.fields[10].part, account.header.fields[11].part = partOther, partOther, partOther // bitmaps as they are
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, exact := range []bool{false, true} {
			d := json.NewDecoder(bytes.NewReader(text))
			if exact {
				d.UseNumber()
			}
			var v map[string]any
			if d.Decode(&v) != nil || v == nil {
				return
			}
			for _, s := range []*Schema{s, account} {
				if s == account {
					v[headerName] = vectorHeader("", "", "CREATE", "")
				}
				payload, err := newBinder().Append(nil, s, v, System{CreatedByID: "005"})
				if err != nil {
					continue
				}
				fields, err := s.decoded(payload)
				if err != nil {
					t.Fatalf("%s: %x: %v", text, payload, err)
				}
				again, err := newBinder().Append(nil, s, fields, System{})
				if err != nil || !bytes.Equal(payload, again) {
					t.Errorf("%s: %x, again %x, %v", text, payload, again, err)
				}
			}
		}
	})
}

var casesFile = flag.String("encode.cases", "", "the file that TestCasesForOthers writes, for an encoder that is not in this module")

// otherCase is a line of the file of TestCasesForOthers.
type otherCase struct {
	Schema  string
	Value   any    // in Avro's JSON, with no names of branches
	Payload string // in hex
}

var docs = regexp.MustCompile(`"doc":"[^"]*",`)

// other returns the case for another encoder, which does not know what a doc says of a long.
func (c encodeCase) other(t *testing.T) otherCase {
	t.Helper()
	bare, err := hamba.ParseWithCache(docs.ReplaceAllString(c.text, ""), "", &hamba.SchemaCache{})
	if err != nil {
		t.Fatal(err)
	}
	return otherCase{c.text, withTexts(flat(bare, c.value, false)), hex.EncodeToString(c.payload)}
}

// withTexts replaces bytes by the text that Avro's JSON has for them.
func withTexts(v any) any {
	switch v := v.(type) {
	case []byte:
		text := make([]rune, len(v))
		for i, b := range v {
			text[i] = rune(b)
		}
		return string(text)
	case []any:
		for i := range v {
			v[i] = withTexts(v[i])
		}
	case m:
		for name := range v {
			v[name] = withTexts(v[name])
		}
	}
	return v
}

func TestCasesForOthers(t *testing.T) {
	if *casesFile == "" {
		t.Skip("nobody wants them")
	}
	file, err := os.Create(*casesFile)
	if err != nil {
		t.Fatal(err)
	}
	lines := json.NewEncoder(file)
	for seed := range uint64(400) {
		c := checkEncode(t, rand.New(rand.NewPCG(seed, 4)))
		if err := lines.Encode(c.other(t)); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
}
