package sink

import (
	"fmt"
	"slices"
	"strings"
)

// A Template makes names of records: topics, subjects, streams. Make one with [ParseTemplate].
type Template struct {
	texts  []string // one more than fields
	fields []string
}

// templateFields are the fields that a template may have.
var templateFields = [...]string{"entity", "change", "channel", "type", "key"}

// ParseTemplate reads a text such as
//
//	salesforce.{entity}.{change}
//
// of which each update of a Lead makes salesforce.lead.updated. The fields are those of a [Record]:
// {entity} (in lower case), {change}, {channel} (data.LeadChangeEvent), {type} and {key}. What is no
// letter or digit, nor - _ or a dot, becomes _ in their values, and a slash a dot.
func ParseTemplate(text string) (Template, error) {
	var t Template
	rest := text
	for {
		before, after, found := strings.Cut(rest, "{")
		t.texts = append(t.texts, before)
		if !found {
			break
		}
		field, behind, closed := strings.Cut(after, "}")
		if !closed || !slices.Contains(templateFields[:], field) {
			return Template{}, invalid("template %q: {%s: the fields are {%s}", text, after, strings.Join(templateFields[:], "}, {"))
		}
		t.fields = append(t.fields, field)
		rest = behind
	}
	if text == "" || strings.ContainsRune(strings.Join(t.texts, ""), '}') {
		return Template{}, invalid("template %q: it is empty, or has a } without its {", text)
	}
	return t, nil
}

// Expand returns the name of a record.
func (t Template) Expand(r *Record) string {
	var b strings.Builder
	for i, text := range t.texts {
		b.WriteString(text)
		if i == len(t.fields) {
			break
		}
		value := ""
		switch t.fields[i] {
		case "entity":
			value = strings.ToLower(r.Entity)
		case "change":
			value = r.Change
		case "channel":
			value, _, _ = strings.Cut(r.Channel, "?")
		case "type":
			value = r.Type
		case "key":
			value = r.Key
		}
		for _, c := range []byte(strings.TrimPrefix(value, "/")) {
			b.WriteByte(nameByte(c))
		}
	}
	return b.String()
}

// String returns the template as it was given to ParseTemplate.
func (t Template) String() string {
	var b strings.Builder
	for i, text := range t.texts {
		b.WriteString(text)
		if i < len(t.fields) {
			fmt.Fprintf(&b, "{%s}", t.fields[i])
		}
	}
	return b.String()
}

func nameByte(c byte) byte {
	switch {
	case c == '/':
		return '.'
	case c >= '0' && c <= '9', c|0x20 >= 'a' && c|0x20 <= 'z', c == '-', c == '_', c == '.':
		return c
	}
	return '_'
}
