package sfstream

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/sfstream/sfstream-go/sfstream/internal/jsonscan"
)

var (
	errNotJSON = errors.New("it is not JSON")
	errNoText  = errors.New("it is not a text")
)

const changeHeader = "ChangeEventHeader"

// jsonChange is Change of an event of the Streaming API, whose header has names in
// place of bitmaps.
func (m *Message) jsonChange() (*ChangeEvent, error) {
	payload, _ := splitData(m.payload)
	header := member(payload, changeHeader)
	if len(header) == 0 || header[0] != '{' {
		return nil, m.decodeError("", errNoChange)
	}
	if !json.Valid(payload) {
		return nil, m.decodeError("", errNotJSON)
	}
	c := new(ChangeEvent)
	listed := false // versions of the API before 47.0 do not say what changed
	for f := jsonscan.NewFields(header); f.Next(); {
		if err := c.read(string(f.Key), f.Value); err != nil {
			return nil, m.decodeError(changeHeader+"."+string(f.Key), err)
		}
		listed = listed || string(f.Key) == "changedFields" && string(f.Value) != "null"
	}
	c.readBody(payload)
	if listed {
		c.NulledFields = slices.DeleteFunc(c.NulledFields, func(name string) bool { return !names(c.ChangedFields, name) })
		if len(c.NulledFields) == 0 {
			c.NulledFields = nil
		}
	}
	return c, nil
}

// names reports whether a list of fields names this one, what it is in, or a part of it.
func names(list []string, field string) bool {
	parent, _, _ := strings.Cut(field, ".")
	return slices.ContainsFunc(list, func(name string) bool {
		return name == field || name == parent || strings.HasPrefix(name, field) && name[len(field)] == '.'
	})
}

// read reads a field of the header. There are more than these.
func (c *ChangeEvent) read(name string, value []byte) (err error) {
	if string(value) == "null" {
		return nil
	}
	switch name {
	case "entityName":
		c.EntityName, err = jsonText(value)
	case "recordIds":
		c.RecordIDs, err = jsonTexts(value)
	case "changeType":
		var text string
		text, err = jsonText(value)
		c.Type = ChangeType(text)
	case "changeOrigin":
		c.Origin, err = jsonText(value)
	case "transactionKey":
		c.TransactionKey, err = jsonText(value)
	case "sequenceNumber":
		var n int64
		n, err = strconv.ParseInt(string(value), 10, 32)
		c.SequenceNumber = int(n)
	case "commitTimestamp":
		c.CommitTime = jsonTime(value)
	case "commitNumber":
		c.CommitNumber, err = strconv.ParseInt(string(value), 10, 64) // beyond what a float64 holds
	case "commitUser":
		c.CommitUser, err = jsonText(value)
	case "changedFields":
		c.ChangedFields, err = jsonTexts(value)
	}
	return err
}

func jsonText(value []byte) (string, error) {
	if value[0] != '"' {
		return "", errNoText
	}
	return jsonscan.Text(value), nil
}

// jsonTexts is a list of texts, nil where it is empty.
func jsonTexts(value []byte) (texts []string, err error) {
	err = json.Unmarshal(value, &texts)
	if len(texts) == 0 {
		texts = nil
	}
	return texts, err
}

// readBody finds what the header of the Streaming API does not say: nulls and
// diffs. The fields of compound ones come last, as in bitmaps.
func (c *ChangeEvent) readBody(payload []byte) {
	for f := jsonscan.NewFields(payload); f.Next(); {
		if string(f.Key) != changeHeader {
			c.readField("", f.Key, f.Value)
		}
	}
	for f := jsonscan.NewFields(payload); f.Next(); {
		if string(f.Key) == changeHeader || isJSONDiff(f.Value) {
			continue
		}
		for nested := jsonscan.NewFields(f.Value); nested.Next(); {
			c.readField(string(f.Key)+".", nested.Key, nested.Value)
		}
	}
}

func (c *ChangeEvent) readField(parent string, name, value []byte) {
	switch {
	case string(value) == "null" && c.Type == ChangeUpdate: // others have no nulls, or mean nothing by them
		c.NulledFields = append(c.NulledFields, parent+string(name))
	case isJSONDiff(value):
		c.DiffFields = append(c.DiffFields, parent+string(name))
	}
}

// isJSONDiff reports whether a value is a diff: {"diff": "--- …"}. No compound field
// has a member of that name.
func isJSONDiff(value []byte) bool {
	f := jsonscan.NewFields(value)
	return f.Next() && string(f.Key) == "diff" && f.Value[0] == '"' && !f.Next()
}
