package sfstream

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/sfstream/sfstream-go/sfstream/internal/jsonscan"
)

// whole returns a record with all records of its subqueries. Of many Salesforce gives the first
// ones, and a nextRecordsUrl in the record itself: a program that decodes what came would miss the
// others in silence.
func (s *services) whole(ctx context.Context, record json.RawMessage) (json.RawMessage, error) {
	if !isPart(record) {
		return record, nil
	}
	text := []byte{'{'}
	for f := jsonscan.NewFields(record); f.Next(); {
		value, err := s.children(ctx, f.Value)
		if err != nil {
			return nil, err
		}
		if len(text) > 1 {
			text = append(text, ',')
		}
		text = append(append(append(text, '"'), f.Key...), `":`...)
		text = append(text, value...)
	}
	return append(text, '}'), nil
}

// children returns the value of a field, with all records where it is that of a subquery.
func (s *services) children(ctx context.Context, value json.RawMessage) (json.RawMessage, error) {
	var first struct {
		queryPage
		Size json.RawMessage `json:"totalSize"`
	}
	if !isPart(value) || json.Unmarshal(value, &first) != nil || !first.IsAnswer() {
		return value, nil
	}
	text := []byte(`{"done":true,`)
	if first.Size != nil {
		text = append(append(append(text, `"totalSize":`...), first.Size...), ',')
	}
	text = append(text, `"records":[`...)
	n := 0
	for child, err := range s.pages(ctx, nil, first.queryPage) {
		if err == nil {
			child, err = s.whole(ctx, child) // it may have a subquery, too
		}
		if err != nil {
			return nil, err
		}
		if n++; n > 1 {
			text = append(text, ',')
		}
		text = append(text, child...)
	}
	return append(text, "]}"...), nil
}

// isPart reports whether an object may have more records elsewhere.
func isPart(object []byte) bool {
	return len(object) > 0 && object[0] == '{' && bytes.Contains(object, []byte(`"nextRecordsUrl"`))
}
