package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func FuzzStructs(f *testing.F) {
	files, err := filepath.Glob("../../internal/avro/testdata/*.json")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, name := range files {
		schema, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(schema))
	}
	f.Fuzz(func(t *testing.T, schema string) {
		source, err := structs("p", []channelSchema{{[]string{"/event/X__e"}, "abc", schema}, {[]string{"/event/Order__e"}, "def", orderSchema}})
		if err != nil {
			return
		}
		if err := compiles(source); err != nil {
			t.Errorf("%v in\n%s", err, source)
		}
	})
}

func TestStructsOfDrawnSchemasCompile(t *testing.T) {
	made := 0
	for seed := range uint64(500) {
		d := &drawer{Rand: rand.New(rand.NewPCG(seed, 0))}
		first, second := d.record("X__e", 0), d.record("XEvent", 0)
		source, err := structs("p", []channelSchema{{[]string{"/event/X__e"}, "abc", first}, {[]string{"/event/XEvent"}, "def", second}})
		if err != nil {
			continue // a type is missing, or a record contains itself, or a union a union
		}
		made++
		if err := compiles(source); err != nil {
			t.Fatalf("seed %d: %v in\n%s", seed, err, source)
		}
	}
	if made < 100 {
		t.Errorf("of 500 pairs of schemas %d make structs", made)
	}
}

// drawer draws schemas whose names are close to each other.
type drawer struct {
	*rand.Rand
	named []string
}

func oneOf[T any](d *drawer, from ...T) T { return from[d.IntN(len(from))] }

func (d *drawer) record(name string, depth int) string {
	if depth == 0 {
		d.named = nil
	}
	var fields []string
	for _, name := range []string{"ChangeEventHeader", "Type", "Type__c", "type", "TypeC", "Type2", "_1", "ns__Type__c"} {
		if d.IntN(2) == 0 {
			fields = append(fields, ofType(name, d.typ(depth+1), oneOf(d, "", "Data:DateTime", "Data:MultiEnum", "Data:Address")))
		}
	}
	d.named = append(d.named, name)
	return event(name, fields...)
}

func (d *drawer) typ(depth int) string {
	switch kind := d.IntN(12); {
	case kind < 2 && len(d.named) > 0:
		return fmt.Sprintf("%q", oneOf(d, d.named...))
	case kind < 4 && depth < 4:
		name := oneOf(d, "Address", "XEventAddress", "YEvent", "address_")
		if !slices.Contains(d.named, name) {
			return d.record(name, depth)
		}
	case kind < 6 && depth < 4:
		return oneOf(d, `["null", `, `["string", `, `["null", "int", `) + d.typ(depth+1) + "]"
	case kind == 6 && depth < 4:
		return oneOf(d, `{"type": "array", "items": `, `{"type": "map", "values": `) + d.typ(depth+1) + "}"
	}
	return oneOf(d, `"boolean"`, `"long"`, `"double"`, `"bytes"`)
}
