package avro

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	hamba "github.com/hamba/avro/v2"
)

// This file compares Bind with what it stands in for: Decode, and Assign of the map. Schemas,
// payloads and struct types are random.

// maybe tells null from a value, as sfstream.Optional does.
type maybe[T any] struct {
	value T
	state string
}

func (o *maybe[T]) mark(as Mark) any {
	if o.state = map[Mark]string{Set: "set", Enriched: "enriched"}[as]; as == Null {
		*o = maybe[T]{state: "null"}
	}
	return &o.value
}

func (o *maybe[T]) give() (any, Mark) {
	switch o.state {
	case "set":
		return &o.value, Set
	case "null":
		return nil, Null
	}
	return nil, Unset
}

func newBinder() *Binder {
	return &Binder{
		Value: func(src reflect.Value) (reflect.Value, Mark, bool) {
			o, ok := src.Addr().Interface().(interface{ give() (any, Mark) })
			if !ok {
				return reflect.Value{}, Unset, false
			}
			value, as := o.give()
			return reflect.ValueOf(value), as, true
		},
		Optional: func(dst reflect.Value, as Mark) (reflect.Value, bool) {
			o, ok := dst.Addr().Interface().(interface{ mark(as Mark) any })
			if !ok {
				return reflect.Value{}, false
			}
			return reflect.ValueOf(o.mark(as)).Elem(), true
		},
		Time: func(text string) (time.Time, bool) {
			for _, form := range timeForms {
				if t, err := time.Parse(form, text); err == nil {
					if form == timeOfDay {
						t = t.AddDate(1970, 0, 0)
					}
					return t, true
				}
			}
			return time.Time{}, false
		},
	}
}

type (
	word   string
	millis int64
	loop   *loop // no value fits into it
	texts_ []word
)

// anyTypes are the types that a struct's field gets without regard to the value.
var anyTypes = []reflect.Type{
	reflect.TypeFor[string](), reflect.TypeFor[word](), reflect.TypeFor[[]string](), reflect.TypeFor[texts_](),
	reflect.TypeFor[int](), reflect.TypeFor[int8](), reflect.TypeFor[int32](), reflect.TypeFor[millis](), reflect.TypeFor[uint16](), reflect.TypeFor[uint64](),
	reflect.TypeFor[float64](), reflect.TypeFor[float32](), reflect.TypeFor[bool](), reflect.TypeFor[time.Time](), reflect.TypeFor[time.Duration](),
	reflect.TypeFor[any](), reflect.TypeFor[fmt.Stringer](), reflect.TypeFor[[]byte](), reflect.TypeFor[[]any](), reflect.TypeFor[map[string]any](),
	reflect.TypeFor[map[int]any](), reflect.TypeFor[chan int](), reflect.TypeFor[func()](), reflect.TypeFor[loop](), reflect.TypeFor[[3]int](),
	reflect.TypeFor[maybe[string]](), reflect.TypeFor[maybe[int64]](), reflect.TypeFor[maybe[*float64]](), reflect.TypeFor[maybe[any]](),
	reflect.TypeFor[maybe[time.Time]](), reflect.TypeFor[maybe[maybe[bool]]](), reflect.TypeFor[[]maybe[string]](),
	reflect.TypeFor[maybe[struct {
		F0, F1 maybe[string]
		F2     *string
	}]](),
}

// fitting has, for each kind, types that most of its values fit into.
var fitting = map[kind][]reflect.Type{
	kindString: {reflect.TypeFor[string](), reflect.TypeFor[word](), reflect.TypeFor[[]string](), reflect.TypeFor[texts_](),
		reflect.TypeFor[any](), reflect.TypeFor[maybe[string]]()},
	kindLong: {reflect.TypeFor[int64](), reflect.TypeFor[millis](), reflect.TypeFor[any](), reflect.TypeFor[time.Time](),
		reflect.TypeFor[maybe[int64]](), reflect.TypeFor[maybe[time.Time]]()},
	kindInt:     {reflect.TypeFor[int](), reflect.TypeFor[int32](), reflect.TypeFor[float64](), reflect.TypeFor[maybe[int64]]()},
	kindDouble:  {reflect.TypeFor[float64](), reflect.TypeFor[float32](), reflect.TypeFor[maybe[*float64]](), reflect.TypeFor[maybe[any]]()},
	kindFloat:   {reflect.TypeFor[float64](), reflect.TypeFor[float32]()},
	kindBoolean: {reflect.TypeFor[bool](), reflect.TypeFor[maybe[maybe[bool]]]()},
	kindEnum:    {reflect.TypeFor[string](), reflect.TypeFor[word]()},
	kindBytes:   {reflect.TypeFor[[]byte](), reflect.TypeFor[any]()},
	kindArray:   {reflect.TypeFor[[]any](), reflect.TypeFor[any]()},
	kindMap:     {reflect.TypeFor[map[string]any](), reflect.TypeFor[any]()},
}

// structFor makes a struct type with a field for some fields of a record, and with two for a few of
// them.
func structFor(r *rand.Rand, n *node, depth int) reflect.Type {
	var fields []reflect.StructField
	for _, f := range n.fields {
		switch n := f.node.branch(); n.kind {
		case kindBytes, kindFixed, kindArray, kindMap: // Bind has no plan for most of them
			if r.IntN(8) > 0 {
				continue
			}
		}
		for range []int{0, 1, 1, 1, 1, 2}[r.IntN(6)] {
			fields = append(fields, reflect.StructField{
				Name: fmt.Sprintf("X%d", len(fields)), Type: typeFor(r, f.node, depth), Tag: reflect.StructTag(`sf:"` + f.name + `"`),
			})
		}
	}
	return reflect.StructOf(fields)
}

// branch returns the last branch of a union.
func (n *node) branch() *node {
	if n.kind == kindUnion {
		return n.branches[len(n.branches)-1]
	}
	return n
}

func typeFor(r *rand.Rand, n *node, depth int) reflect.Type {
	n = n.branch()
	types := fitting[n.kind]
	if types == nil || r.IntN(40) == 0 {
		types = anyTypes
	}
	t := types[r.IntN(len(types))]
	if n.kind == kindRecord && depth > 0 && r.IntN(10) > 0 {
		t = structFor(r, n, depth-1)
	}
	if n.kind == kindArray && len(n.items.branches) == 0 && n.items.kind == kindString {
		t = reflect.TypeFor[[]string]()
	}
	for r.IntN(4) == 0 {
		t = reflect.PointerTo(t)
	}
	return t
}

// bindCase is a schema, a struct type for it, and a source of payloads.
type bindCase struct {
	schema *Schema
	oracle hamba.Schema
	typ    reflect.Type
	r      *rand.Rand
}

func newBindCase(t *testing.T, seed uint64) bindCase {
	r := rand.New(rand.NewPCG(seed, 1))
	maker := &schemaMaker{Rand: r}
	definition := maker.record(3)
	fields := definition["fields"].([]any)
	if r.IntN(3) == 0 {
		fields = append(fields, m{"name": "Null", "type": "null"}, m{"name": "Two", "type": []any{maker.record(1), "null", maker.record(1)}})
	}
	for _, f := range fields {
		f.(m)["doc"] = []string{"Data:DateTime", "Data:DateOnly:00N", "Data:TimeOnly", "Data:Text"}[r.IntN(4)]
	}
	definition["fields"] = fields
	if seed%2 == 0 {
		list := m{"type": "array", "items": "string"}
		var strange any = "string"
		switch r.IntN(30) {
		case 0:
			strange = []any{"null", "string"}
		case 1:
			list = m{"type": "array", "items": "int"}
		}
		definition["fields"] = append([]any{m{"name": headerName, "type": m{"type": "record", "name": headerName, "fields": []any{
			m{"name": "entityName", "type": strange},
			m{"name": "recordIds", "type": m{"type": "array", "items": "string"}},
			m{"name": "changeType", "type": m{"type": "enum", "name": "ChangeType", "symbols": []any{"UPDATE", "CREATE", "DELETE"}}},
			m{"name": "commitTimestamp", "type": "long"},
			m{"name": "nulledFields", "type": list},
			m{"name": "diffFields", "type": m{"type": "array", "items": "string"}},
			m{"name": "changedFields", "type": m{"type": "array", "items": "string"}},
		}}}}, fields...)
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
	return bindCase{s, oracle, structFor(r, s.root, 3), r}
}

func (c bindCase) payload(t *testing.T) []byte {
	v := value(c.r, c.oracle).(m)
	if header, ok := v[headerName].(m); ok {
		for _, list := range []string{"nulledFields", "changedFields"} {
			var bitmaps []any
			for range c.r.IntN(4) {
				bitmap := fmt.Sprintf("0x%02X", c.r.IntN(1<<min(len(c.schema.root.fields), 30)))
				if c.r.IntN(2) == 0 {
					bitmap = fmt.Sprintf("%d-0x%02X", c.r.IntN(len(c.schema.root.fields)), c.r.IntN(1<<8))
				}
				bitmaps = append(bitmaps, bitmap)
			}
			if _, ok := header[list].([]any); ok && c.schema.header.fields[c.schema.header.indexOf(list)].node.items.kind == kindString {
				header[list] = bitmaps
			}
		}
	}
	payload, err := hamba.Config{}.Freeze().Marshal(c.oracle, v)
	if err != nil {
		t.Fatalf("hamba cannot encode: %v\n%v", err, v)
	}
	return payload
}

// compareBind fills two variables, which hold the values of before already, by Bind and by Decode
// and Assign, and compares them. It reports whether Bind had a plan.
func compareBind(t *testing.T, s *Schema, typ reflect.Type, before map[string]any, payload []byte) (planned bool) {
	t.Helper()
	b := newBinder()
	filled := func() reflect.Value {
		dst := reflect.New(typ).Elem()
		_ = b.Assign(dst, before, nil, nil) // an error stops it: before then holds less
		return dst
	}
	got, want, again := filled(), filled(), filled()
	bad := s.Bind(b, payload, got)
	fields, enriched, err := s.Decode(payload)
	if err != nil {
		return false // Bind does not notice errors in what it steps over
	}
	if err := b.Assign(want, fields, enriched, s); err != nil {
		if bad == nil {
			t.Errorf("%s\n%v: no error, but %v", typ, fields, err)
		}
		return false
	}
	if bad != nil && bad != errNoPlan {
		t.Errorf("%s\n%v: %v", typ, fields, bad)
		return false
	}
	if _ = b.Assign(again, fields, enriched, s); !reflect.DeepEqual(want.Interface(), again.Interface()) {
		return false // there is a NaN, which is not equal to itself
	}
	if bad != nil {
		if err := b.Assign(got, fields, enriched, s); err != nil {
			t.Errorf("%s\n%v: after half a Bind: %v", typ, fields, err)
		}
	}
	if !reflect.DeepEqual(got.Interface(), want.Interface()) {
		t.Errorf("%s\n%v\n got %s\nwant %s", typ, fields, show(got), show(want))
	}
	return bad == nil
}

// show formats a value with what its pointers point to.
func show(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return "nil"
		}
		return "&" + show(v.Elem())
	case reflect.Struct:
		var parts []string
		for i := range v.NumField() {
			parts = append(parts, string(v.Type().Field(i).Tag)+show(v.Field(i)))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return fmt.Sprintf("%#v", v)
}

func bindAgrees(t *testing.T, seed uint64) (planned bool) {
	t.Helper()
	c := newBindCase(t, seed)
	before, _ := c.schema.decoded(c.payload(t))
	planned = compareBind(t, c.schema, c.typ, before, c.payload(t))
	if t.Failed() {
		t.Fatalf("seed %d", seed)
	}
	return planned
}

func TestBindAgreesWithDecodeAndAssign(t *testing.T) {
	planned := 0
	const seeds = 500
	for seed := range uint64(seeds) {
		if bindAgrees(t, seed) {
			planned++
		}
	}
	if planned < seeds/5 {
		t.Errorf("there was a plan for %d of %d only", planned, seeds)
	}
}

func FuzzBindAgreesWithDecodeAndAssign(f *testing.F) {
	f.Add(uint64(1 << 40))
	f.Fuzz(func(t *testing.T, seed uint64) { bindAgrees(t, seed) })
}

func FuzzBindTakesAnyBytes(f *testing.F) {
	for i, payload := range []string{payload1, payload2, payload3, payload4, payload5} {
		f.Add(uint64(i), unhex(f, payload))
	}
	account := load(f, "account")
	f.Fuzz(func(t *testing.T, seed uint64, payload []byte) {
		r := rand.New(rand.NewPCG(seed%1000, 2))
		compareBind(t, account, structFor(r, account.root, 3), nil, payload)
		c := newBindCase(t, seed%1000) // reflect keeps the types that it makes for ever
		compareBind(t, c.schema, c.typ, nil, payload)
	})
}
