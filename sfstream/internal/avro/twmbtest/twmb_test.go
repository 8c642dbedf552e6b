package twmbtest

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/avro"
)

// event is a line of what the test TestCasesForOthers of package avro writes: a random event of a
// random schema, and how package avro encodes it, from a map and from a struct alike.
type event struct {
	Schema  string
	Value   json.RawMessage
	Payload string
}

// The events come from a process of their own: this module does not import the other one, whose
// version it would have to name.
func TestTwmbEncodesTheSame(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events")
	command := exec.Command("go", "test", "-count=1", "-run", "^TestCasesForOthers$", ".", "-encode.cases", path)
	command.Dir = ".."
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 64<<20)
	count := 0
	for ; lines.Scan(); count++ {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		e.check(t)
		if t.Failed() {
			t.Fatalf("event %d: %s\n%s\n%s", count, e.Schema, e.Value, e.Payload)
		}
	}
	if err := lines.Err(); err != nil || count < 400 {
		t.Errorf("%d events, %v", count, err)
	}
}

func (e event) check(t *testing.T) {
	schema, err := avro.Parse(e.Schema)
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if err := schema.DecodeJSON(e.Value, &value); err != nil {
		t.Fatal(err)
	}
	payload, err := schema.Encode(value)
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(payload); got != e.Payload && !e.isReordered(t, schema, value) {
		t.Errorf("twmb has %s", got)
	}
}

// isReordered reports whether the payload has the value's maps with their entries in another order,
// which means nothing.
func (e event) isReordered(t *testing.T, schema *avro.Schema, value any) bool {
	payload, err := hex.DecodeString(e.Payload)
	if err != nil {
		t.Fatal(err)
	}
	var got any
	rest, err := schema.Decode(payload, &got)
	return strings.Contains(e.Schema, `"map"`) && err == nil && len(rest) == 0 && reflect.DeepEqual(got, value)
}
