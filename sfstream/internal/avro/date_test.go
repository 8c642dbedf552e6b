package avro

import (
	"encoding/binary"
	"math"
	"testing"
	"time"
)

func TestDateIsTheEventsOwnTime(t *testing.T) {
	for i, want := range []int64{1735689600000, 1735689600000, 1735689660000, 1735689600000, 1735689600000} {
		s, payload := load(t, vectors[i].schema), unhex(t, vectors[i].payload)
		got := s.Date(payload)
		if got.UnixMilli() != want || got.Location() != time.UTC {
			t.Errorf("%s: %v", vectors[i].name, got)
		}
		if n := testing.AllocsPerRun(100, func() { s.Date(payload) }); n != 0 {
			t.Errorf("%s: %v allocations", vectors[i].name, n)
		}
		if n := testing.AllocsPerRun(100, func() { s.Date(payload[:8]) }); n != 0 {
			t.Errorf("%s cut: %v allocations", vectors[i].name, n)
		}
	}
	if got := load(t, "capture").Date([]byte(capture)); got.UnixMilli() != 1659440165000 {
		t.Errorf("capture: %v", got)
	}
}

func TestDateSkipsEveryType(t *testing.T) {
	s := mustParse(t, `{"type":"record","name":"R","fields":[
		{"name":"A","type":"null"},{"name":"B","type":"boolean"},{"name":"C","type":"int"},{"name":"D","type":"long"},
		{"name":"E","type":"float"},{"name":"F","type":"double"},{"name":"G","type":"string"},{"name":"H","type":"bytes"},
		{"name":"I","type":{"type":"fixed","name":"X","size":2}},{"name":"I0","type":{"type":"fixed","name":"X0","size":0}},
		{"name":"J","type":{"type":"enum","name":"Y","symbols":["P","Q"]}},
		{"name":"K","type":{"type":"array","items":"string"}},{"name":"L","type":{"type":"map","values":"int"}},
		{"name":"M","type":["null",{"type":"record","name":"Z","fields":[{"name":"A","type":["null","int"]}]}]},
		{"name":"N","type":{"type":"record","name":"Z0","fields":[]}},
		{"name":"CreatedDate","type":["null","string","long"]}]}`)
	payload := []byte{1, 2, 2}
	payload = append(payload, make([]byte, 12)...)
	payload = append(payload, 2, 's', 2, 'b', 1, 2, 2)
	payload = append(payload, 2, 2, 'a', 3, 4, 0, 0, 0)         // field K: a block without a size, and one with it
	payload = append(payload, 2, 2, 'k', 2, 1, 6, 2, 'l', 4, 0) // field L: the same
	payload = append(payload, 2, 0, 4)                          // field M has a value, A in it is null; CreatedDate is a long
	payload = binary.AppendVarint(payload, 1735689600000)
	if _, err := s.decoded(payload); err != nil {
		t.Fatal(err)
	}
	for n := range payload {
		if got := s.Date(payload[:n]); !got.IsZero() {
			t.Errorf("cut at %d: %v", n, got)
		}
	}
	if got := s.Date(payload); got.UnixMilli() != 1735689600000 {
		t.Errorf("got %v", got)
	}
}

func TestDateIsZeroWhereThereIsNone(t *testing.T) {
	record := func(fields string) *Schema { return mustParse(t, `{"type":"record","name":"R","fields":[`+fields+`]}`) }
	for name, tt := range map[string]struct {
		s       *Schema
		payload []byte
	}{
		"no field":     {record(`{"name":"A","type":"long"}`), []byte{2}},
		"null":         {record(`{"name":"CreatedDate","type":["null","long"]}`), []byte{0}},
		"null, null":   {record(`{"name":"A","type":["null","long"]},{"name":"CreatedDate","type":["null","long"]},{"name":"B","type":["null","long"]}`), []byte{0, 0, 2, 2}},
		"text":         {record(`{"name":"CreatedDate","type":"string"}`), []byte{2, 'x'}},
		"bad branch":   {record(`{"name":"CreatedDate","type":["null","long"]}`), []byte{6, 2}},
		"cut":          {record(`{"name":"CreatedDate","type":"long"}`), []byte{0x80}},
		"bad block":    {record(`{"name":"A","type":{"type":"array","items":"int"}},{"name":"CreatedDate","type":"long"}`), []byte{1, 20, 0}},
		"bad key":      {record(`{"name":"A","type":{"type":"map","values":"int"}},{"name":"CreatedDate","type":"long"}`), []byte{2, 20, 0}},
		"endless":      {record(`{"name":"A","type":{"type":"array","items":"null"}},{"name":"CreatedDate","type":"long"}`), binary.AppendVarint(nil, math.MaxInt64)},
		"endless deep": {record(`{"name":"A","type":"R"},{"name":"CreatedDate","type":"long"}`), []byte{2}},
		"deep arrays":  {record(`{"name":"A","type":{"type":"array","items":"R"}},{"name":"CreatedDate","type":"long"}`), repeat(2, 1000)},
	} {
		if got := tt.s.Date(tt.payload); !got.IsZero() {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func repeat(b byte, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = b
	}
	return out
}

func TestTimesAreToldByTheDoc(t *testing.T) {
	dateTime := timeForms["DateTime"]
	for doc, want := range map[string]string{
		"Data:DateTime": dateTime, "Data:DateTime:00N000000000012": dateTime, "CreatedDate:DateTime": dateTime,
		"Data:DateOnly": "2006-01-02", "Data:TimeOnly:00N000000000012": "15:04:05.000Z", "Data:DateTimeX": "", "Data:Text:DateTime": "",
		"DateTime": "", "": "", ":": "", "::": "",
	} {
		if got := timeForm(doc); got != want {
			t.Errorf("%q: %q, want %q", doc, got, want)
		}
	}
}

func timeText(ms int64, form string) any {
	if !writable(ms) {
		return ms
	}
	return string(appendTime(nil, ms, form))
}

func TestTimeText(t *testing.T) {
	for ms, want := range map[int64]any{
		0: "1970-01-01T00:00:00.000Z", -1: "1969-12-31T23:59:59.999Z", 1735689600120: "2025-01-01T00:00:00.120Z",
		-62167219200000: "0000-01-01T00:00:00.000Z", 253402300799999: "9999-12-31T23:59:59.999Z",
		-62167219200001: int64(-62167219200001), 253402300800000: int64(253402300800000),
		1735689600000000: int64(1735689600000000), math.MinInt64: int64(math.MinInt64), math.MaxInt64: int64(math.MaxInt64),
	} {
		if got := timeText(ms, timeForms["DateTime"]); got != want {
			t.Errorf("%d: %v, want %v", ms, got, want)
		}
	}
	if got := timeText(1735689600000, timeForms["DateOnly"]); got != "2025-01-01" {
		t.Errorf("DateOnly: %v", got)
	}
	if got := timeText(37800000, timeForms["TimeOnly"]); got != "10:30:00.000Z" {
		t.Errorf("TimeOnly: %v", got)
	}
}

func BenchmarkDate(b *testing.B) {
	s, payload := load(b, "opportunity"), unhex(b, payload2)
	b.ReportAllocs()
	for b.Loop() {
		if s.Date(payload).IsZero() {
			b.Fatal("no date")
		}
	}
}
