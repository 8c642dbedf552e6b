package sfstream

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream/internal/avro"
)

// What a program may spend on an event of 61 fields of which it changed 6, as BenchmarkReceive has it.
func TestReadingAnUpdateCostsFewAllocations(t *testing.T) {
	text, err := os.ReadFile("internal/avro/testdata/wide.json")
	if err != nil {
		t.Fatal(err)
	}
	payload, err := os.ReadFile("internal/avro/testdata/wide_update.hex")
	if err != nil {
		t.Fatal(err)
	}
	m := new(Message)
	m.codec = new(codec)
	if m.codec.schema, err = avro.Parse(string(text)); err != nil {
		t.Fatal(err)
	}
	if m.payload, err = hex.DecodeString(strings.TrimSpace(string(payload))); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		most float64
		read func() error
	}{
		"Fields": {13, func() error { _, err := m.Fields(); return err }},
		"Change": {2, func() error { _, err := m.Change(); return err }},
	} {
		if n := testing.AllocsPerRun(200, func() {
			if err := tt.read(); err != nil {
				t.Fatal(err)
			}
		}); n > tt.most {
			t.Errorf("%s: %v allocations, at most %v", name, n, tt.most)
		}
	}
}
