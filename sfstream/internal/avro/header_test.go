package avro

import (
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// asMap returns a header in the form that Decode gives it.
func (h Header) asMap() m {
	list := func(texts []string) []any {
		out := []any{}
		for _, text := range texts {
			out = append(out, text)
		}
		return out
	}
	return m{
		"entityName": h.EntityName, "recordIds": list(h.RecordIDs), "changeType": h.ChangeType, "changeOrigin": h.ChangeOrigin,
		"transactionKey": h.TransactionKey, "sequenceNumber": h.SequenceNumber, "commitTimestamp": h.CommitTimestamp,
		"commitNumber": h.CommitNumber, "commitUser": h.CommitUser, "nulledFields": list(h.NulledFields),
		"diffFields": list(h.DiffFields), "changedFields": list(h.ChangedFields),
	}
}

func TestHeaderIsWhatDecodeGives(t *testing.T) {
	type vector struct{ name, schema, payload string }
	all := []vector{{"capture", "capture", capture}}
	for _, v := range vectors {
		all = append(all, vector{v.name, v.schema, string(unhex(t, v.payload))})
	}
	for _, v := range all {
		s, payload := load(t, v.schema), []byte(v.payload)
		h, err := s.Header(payload, nil)
		if !s.IsChangeEvent() {
			if err == nil {
				t.Errorf("%s: the header of an event that is no change", v.name)
			}
			continue
		}
		fields, _ := s.decoded(payload)
		if err != nil || !reflect.DeepEqual(h.asMap(), fields[headerName]) {
			t.Errorf("%s: %v\n got %v\nwant %v", v.name, err, h.asMap(), fields[headerName])
		}
		var list [12]string
		if n := testing.AllocsPerRun(100, func() { _, _ = s.Header(payload, list[:0]) }); n > 1 { // only the text is allocated
			t.Errorf("%s: %v allocations", v.name, n)
		}
		for n := range payload { // the body may be cut off, but nothing of the header may
			cut, err := s.Header(payload[:n], nil)
			var at *Error
			switch {
			case err == nil && !reflect.DeepEqual(cut, h):
				t.Errorf("%s cut at %d: %v", v.name, n, cut)
			case err != nil && (!errors.As(err, &at) || !strings.HasPrefix(at.Field, headerName+".")):
				t.Errorf("%s cut at %d: %v", v.name, n, err)
			}
		}
	}
}

func TestHeaderTakesOtherTypes(t *testing.T) {
	schema := func(fields string) *Schema {
		return mustParse(t, `{"type":"record","name":"R","fields":[{"name":"ChangeEventHeader","type":{"type":"record","name":"H","fields":[`+fields+`]}},
			{"name":"A","type":["null","string"]},{"name":"B","type":["null","string"]}]}`)
	}
	for name, tt := range map[string]struct {
		fields  string
		payload []byte
		want    Header
	}{
		"blocks": {`{"name":"recordIds","type":{"type":"array","items":"string"}}`, []byte{2, 2, '2', 1, 4, 2, '3', 0}, Header{RecordIDs: []string{"2", "3"}}},
		"unions": {`{"name":"recordIds","type":["null",{"type":"array","items":"string"}]},{"name":"entityName","type":["null","string"]},
			{"name":"commitUser","type":["null","string"]},{"name":"commitNumber","type":["null","long"]},{"name":"commitTimestamp","type":["null","long"]}`,
			[]byte{2, 2, 2, '2', 0, 2, 2, 'E', 0, 2, 6, 0}, Header{RecordIDs: []string{"2"}, EntityName: "E", CommitNumber: 3}},
		"texts and longs": {`{"name":"changeType","type":"string"},{"name":"sequenceNumber","type":"long"},{"name":"more","type":{"type":"map","values":"int"}}`,
			[]byte{2, 'X', 4, 2, 2, 'k', 2, 0}, Header{ChangeType: "X", SequenceNumber: 2}},
		"another order": {`{"name":"changedFields","type":{"type":"array","items":"string"}},{"name":"entityName","type":"string"}`,
			append(append([]byte{4, 6}, "0x6"...), append(append([]byte{8}, "0x04"...), 0, 2, 'E')...), Header{EntityName: "E", ChangedFields: []string{"A", "B", "B"}}},
		"nothing": {``, nil, Header{}},
	} {
		h, err := schema(tt.fields).Header(tt.payload, nil)
		if err != nil || !reflect.DeepEqual(h, tt.want) {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
	for name, tt := range map[string]struct {
		fields  string
		payload []byte
	}{
		"a list of numbers":    {`{"name":"recordIds","type":{"type":"array","items":"int"}}`, []byte{0}},
		"a text for a list":    {`{"name":"changedFields","type":"string"}`, []byte{0}},
		"a number for a text":  {`{"name":"entityName","type":"int"}`, []byte{0}},
		"a text for a number":  {`{"name":"commitNumber","type":"string"}`, []byte{0}},
		"a block's wrong size": {`{"name":"recordIds","type":{"type":"array","items":"string"}}`, []byte{1, 6, 2, '3', 0, 0}},
	} {
		h, err := schema(tt.fields).Header(tt.payload, nil)
		if err == nil || !reflect.DeepEqual(h, Header{}) {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
}

func TestHeadersListsAreBounded(t *testing.T) {
	s := load(t, "account")
	const at = "0x410000"
	text := string(unhex(t, payload1))
	i := strings.Index(text, at) // it is in nulledFields or, after that, in changedFields
	if i < 0 {
		t.Fatal("the vector has changed")
	}
	changed := i - 2 // before it are the block's count and the element's length
	elements := "\xa0\x9c\x01" + strings.Repeat("\x14"+"0xFFFFFFFF", 10_000) + "\x00"
	payload := text[:changed] + elements
	h, err := s.Header([]byte(payload), nil)
	if err != nil || len(h.ChangedFields) != s.paths || !slices.Contains(h.NulledFields, "Description") || len(h.RecordIDs) != 1 {
		t.Errorf("%d names, %v, %v: %v", len(h.ChangedFields), h.NulledFields, h.RecordIDs, err)
	}
	h.RecordIDs = append(h.RecordIDs, "x") // an append must not change the list behind it
	if h.NulledFields[0] != "Description" {
		t.Errorf("%v", h.NulledFields)
	}
}

func TestNamesOfALargeSchemaAreMadeWhenAsked(t *testing.T) {
	var nested, fields []string
	for i := range 200 {
		nested = append(nested, `{"name":"N`+string(rune('a'+i/26))+string(rune('a'+i%26))+`","type":["null","int"]}`)
		fields = append(fields, `{"name":"F`+string(rune('a'+i/26))+string(rune('a'+i%26))+`","type":["null","P"]}`)
	}
	fields[0] = strings.Replace(fields[0], `"P"`, `{"type":"record","name":"P","fields":[`+strings.Join(nested, ",")+`]}`, 1)
	s := mustParse(t, `{"type":"record","name":"R","fields":[`+strings.Join(fields, ",")+`]}`)
	if s.paths <= maxPaths || s.root.fields[1].members != nil {
		t.Fatalf("%d names were made ahead", s.paths)
	}
	if got := s.FieldNames([]string{"1-0x02"}); !slices.Equal(got, []string{"Fab.Nab"}) {
		t.Errorf("%q", got)
	}
}

func TestASchemaKeepsNoLongText(t *testing.T) {
	s := mustParse(t, `{"type":"record","name":"X","fields":[{"name":"ChangeEventHeader","type":{"type":"record","name":"H","fields":[
		{"name":"changeOrigin","type":"string"}]}}]}`)
	for _, length := range []int{copyChunk / 8, copyChunk/8 + 1} {
		origin := strings.Repeat("x", length)
		h, err := s.Header(append(binary.AppendVarint(nil, int64(length)), origin...), nil)
		if err != nil || h.ChangeOrigin != origin || len(*s.lastOrigin.Load()) != copyChunk/8 {
			t.Errorf("%d bytes: %q, %v", length, h.ChangeOrigin, err)
		}
	}
}
