package avro

import (
	"slices"
	"testing"
)

func TestRecordIDsAreReadFromTheHeader(t *testing.T) {
	for i, want := range []string{"001000000000001AAA", "006000000000001AAA", "", "001000000000001AAA", "001000000000001AAA"} {
		s, payload := load(t, vectors[i].schema), unhex(t, vectors[i].payload)
		got, ok := s.RecordIDs(nil, payload)
		if want == "" {
			if ok {
				t.Errorf("%s: %v of an event that is no change", vectors[i].name, got)
			}
			continue
		}
		if !ok || !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %q, %v, want %s", vectors[i].name, got, ok, want)
		}
		ids := make([]string, 0, 1)
		if n := testing.AllocsPerRun(100, func() { s.RecordIDs(ids, payload) }); n > 1 { // the id
			t.Errorf("%s: %v allocations", vectors[i].name, n)
		}
	}
}

func TestRecordIDsOfSeveralBlocks(t *testing.T) {
	s := mustParse(t, `{"type":"record","name":"R","fields":[{"name":"ChangeEventHeader","type":
		{"type":"record","name":"H","fields":[{"name":"entityName","type":"string"},{"name":"recordIds","type":{"type":"array","items":"string"}}]}}]}`)
	payload := []byte{2, 'A', 4, 2, '1', 2, '2', 1, 4, 2, '3', 0}
	got, ok := s.RecordIDs([]string{"0"}, payload)
	if !ok || !slices.Equal(got, []string{"0", "1", "2", "3"}) {
		t.Errorf("got %q, %v", got, ok)
	}
	for n := range payload {
		if got, ok := s.RecordIDs(nil, payload[:n]); ok {
			t.Errorf("cut at %d: %q", n, got)
		}
	}
	for name, header := range map[string]string{
		"no recordIds": `{"name":"A","type":"string"}`,
		"no array":     `{"name":"recordIds","type":"string"}`,
		"no strings":   `{"name":"recordIds","type":{"type":"array","items":"int"}}`,
	} {
		s := mustParse(t, `{"type":"record","name":"R","fields":[{"name":"ChangeEventHeader","type":{"type":"record","name":"H","fields":[`+header+`]}}]}`)
		if got, ok := s.RecordIDs(nil, payload); ok {
			t.Errorf("%s: %q", name, got)
		}
	}
}
