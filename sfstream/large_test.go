package sfstream

import (
	"runtime"
	"strings"
	"testing"
)

const largeSchema = `{"type":"record","name":"Large__e","fields":[{"name":"CreatedDate","type":"long","doc":"CreatedDate:DateTime"},{"name":"Name","type":["null","string"]},
	{"name":"Long","type":["null","string"]},{"name":"Tags","type":{"type":"array","items":"string"}},{"name":"Map","type":{"type":"map","values":"string"}},
	{"name":"In","type":["null",{"type":"record","name":"In","fields":[{"name":"Name","type":["null","string"]}]}]}]}`

// A program that keeps the name of each large event must not keep the events.
func TestATextKeepsItsOwnBytesWhereTheEventIsLarge(t *testing.T) {
	long := strings.Repeat("x", 300<<10)
	m := avroEvent(t, largeSchema, map[string]any{"CreatedDate": int64(1735689600000), "Name": "Acme", "Long": long, "Tags": []string{"a", "b"},
		"Map": map[string]string{"key": "value"}, "In": map[string]any{"In": map[string]any{"Name": "Ada"}}})
	want := map[string]string{"Name": "Acme", "CreatedDate": "2025-01-01T00:00:00.000Z"}
	for name, keep := range map[string]func(fields map[string]any) any{
		"a field": func(f map[string]any) any { return f["Name"] },
		"a time":  func(f map[string]any) any { return f["CreatedDate"] },
		"a tag":   func(f map[string]any) any { return f["Tags"] },
		"a map":   func(f map[string]any) any { return f["Map"] },
		"a nest":  func(f map[string]any) any { return f["In"] },
	} {
		kept := make([]any, 100)
		before := inUse()
		for i := range kept {
			fields, err := m.Fields()
			if err != nil || fields["Long"] != long {
				t.Fatal(err)
			}
			for name, text := range want {
				if fields[name] != text {
					t.Fatalf("%s is %v", name, fields[name])
				}
			}
			kept[i] = keep(fields)
		}
		if grown := int(inUse()) - int(before); grown > 5<<20 { // of 30 MB
			t.Errorf("%s: 100 kept ones keep %d bytes", name, grown)
		}
		runtime.KeepAlive(kept)
	}
}

func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}
