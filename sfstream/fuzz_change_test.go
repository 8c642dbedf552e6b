package sfstream

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream/internal/avro"
)

// FuzzChange gives Change any payload: it never panics, and agrees with Fields
// where both can read it.
func FuzzChange(f *testing.F) {
	schemas := make([]*avro.Schema, 0, 2)
	for _, v := range [][2]string{{"account", "p1"}, {"account", "p4"}, {"account", "p5"}, {"opportunity", "p2"}} {
		m := vector(f, v[0], v[1])
		if len(schemas) == 0 || v[0] == "opportunity" {
			schemas = append(schemas, m.codec.schema)
		}
		f.Add(m.payload)
		f.Add(append(m.payload[:len(m.payload)-3:len(m.payload)-3], 9))
	}
	f.Add([]byte(`{"ChangeEventHeader":{"recordIds":["001"],"changeType":"UPDATE","commitNumber":1735689600123456789,"changedFields":["A.B"]},"A":{"B":null},"C":{"diff":"x"}}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		for _, schema := range schemas {
			compareChange(t, &Message{payload: payload, codec: &codec{schema: schema}}, true)
		}
		m := streamedChange(string(payload))
		_, _ = m.Change()
		_, _ = m.ApplyDiff("C", "old")
		fields, err := m.Fields()
		if header, _ := fields[changeHeader].(map[string]any); err != nil || header == nil {
			return
		}
		clean, err := json.Marshal(fields) // no name twice, and no escapes that the reader of envelopes passes over
		if err != nil || strings.Contains(string(clean), `\`) {
			return
		}
		compareChange(t, streamedChange(string(clean)), false)
	})
}

// compareChange compares Change with the header in Fields.
func compareChange(t *testing.T, m *Message, must bool) {
	fields, err := m.Fields()
	header, _ := fields[changeHeader].(map[string]any)
	c, bad := m.Change()
	if bad != nil {
		var decode *DecodeError
		if !errors.As(bad, &decode) || must && err == nil {
			t.Fatalf("Fields %v, Change %v", err, bad)
		}
		return
	}
	if err != nil {
		return
	}
	compare := func(name string, got, zero any) {
		want := header[name]
		if want == nil {
			want = zero
		}
		if elements, ok := want.([]any); ok && slices.Contains(elements, nil) {
			return // JSON's null is the empty text
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: Change %#v, Fields %#v", name, got, want)
		}
	}
	list := func(texts []string) []any {
		out := []any{}
		for _, text := range texts {
			out = append(out, text)
		}
		return out
	}
	compare("entityName", c.EntityName, "")
	compare("recordIds", list(c.RecordIDs), []any{})
	compare("changeType", string(c.Type), "")
	compare("changeOrigin", c.Origin, "")
	compare("transactionKey", c.TransactionKey, "")
	compare("sequenceNumber", int64(c.SequenceNumber), int64(0))
	compare("commitNumber", c.CommitNumber, int64(0))
	compare("commitUser", c.CommitUser, "")
	compare("changedFields", list(c.ChangedFields), []any{})
	if !m.codec.isJSON() {
		compare("nulledFields", list(c.NulledFields), []any{})
		compare("diffFields", list(c.DiffFields), []any{})
	}
	if !m.Date().Equal(c.CommitTime) && !c.CommitTime.IsZero() {
		t.Fatalf("CommitTime %v, Date %v", c.CommitTime, m.Date())
	}
}
