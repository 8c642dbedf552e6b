package avro

import (
	"os"
	"strings"
	"testing"
)

// The benchmarks read the events of sfstream's BenchmarkReceive: changes of an Account of 61
// fields. update sets 6 of them, create some 40.
var wide = []string{"update", "create"}

func wideEvent(tb testing.TB, name string) (*Schema, []byte) {
	tb.Helper()
	text, err := os.ReadFile("testdata/wide_" + name + ".hex")
	if err != nil {
		tb.Fatal(err)
	}
	return load(tb, "wide"), unhex(tb, strings.TrimSpace(string(text)))
}

func benchmarkWide(b *testing.B, read func(*Schema, []byte) error) {
	for _, name := range wide {
		s, payload := wideEvent(b, name)
		b.Run(name, func(b *testing.B) { benchmark(b, s, payload, read) })
	}
}

func benchmark(b *testing.B, s *Schema, payload []byte, read func(*Schema, []byte) error) {
	b.ReportAllocs()
	for b.Loop() {
		if err := read(s, payload); err != nil {
			b.Fatal(err)
		}
	}
}

func decode(s *Schema, payload []byte) error {
	_, err := s.decoded(payload)
	return err
}

func BenchmarkDecode(b *testing.B) {
	benchmarkWide(b, decode)
	b.Run("platform", func(b *testing.B) { benchmark(b, load(b, "neworder"), unhex(b, payload3), decode) })
}

func BenchmarkHeader(b *testing.B) {
	benchmarkWide(b, func(s *Schema, payload []byte) error {
		var list [12]string
		_, err := s.Header(payload, list[:0])
		return err
	})
}

func BenchmarkSkip(b *testing.B) {
	benchmarkWide(b, func(s *Schema, payload []byte) error {
		c := cursor{buf: payload}
		return c.skip(s.root)
	})
}
