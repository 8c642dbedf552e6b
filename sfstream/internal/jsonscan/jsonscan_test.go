package jsonscan

import (
	"encoding/json"
	"testing"
)

func FuzzFields(f *testing.F) {
	f.Add([]byte(`{"a": 1, "b":{"c":"}"} , "d":[1,2]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		got := 0
		for it := NewFields(text); it.Next(); got++ {
			if len(it.Value) == 0 {
				t.Fatalf("%q: an empty value", text)
			}
			Text(it.Value)
		}
		// There may be more: encoding/json counts a repeated name once.
		var want map[string]json.RawMessage
		if json.Unmarshal(text, &want) == nil && got < len(want) {
			t.Errorf("%q: %d members of %d", text, got, len(want))
		}
	})
}
