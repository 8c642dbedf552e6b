package sfstreamtest

import (
	"encoding/json"
	"slices"
	"strings"
)

// filter is what comes after the ? of /topic/X?Name='A'&City='B'. An event that meets one of the
// conditions passes; a nil filter lets all events pass.
type filter []condition

type condition struct{ field, value string }

// parseFilter reads conditions, with or without quotes around the values.
func parseFilter(text string) filter {
	f := filter{}
	for part := range strings.SplitSeq(text, "&") {
		name, value, _ := strings.Cut(part, "=")
		value = strings.TrimSpace(value)
		if n := len(value); n >= 2 && value[0] == '\'' && value[n-1] == '\'' {
			value = value[1 : n-1]
		}
		f = append(f, condition{strings.TrimSpace(name), value})
	}
	return f
}

// matches reports whether an event's sobject passes.
func (f filter) matches(sobject []byte) bool {
	if f == nil {
		return true
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(sobject, &fields) != nil {
		return false
	}
	return slices.ContainsFunc(f, func(c condition) bool {
		raw, ok := fields[c.field]
		var text string
		if ok && json.Unmarshal(raw, &text) != nil {
			text = string(raw)
		}
		return ok && text == c.value
	})
}

// missingFields returns the fields of a filter that the topic does not select.
func (t *topic) missingFields(f filter) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var missing []string
	for _, c := range f {
		if t.push == nil || !slices.Contains(t.push.query.fields, c.field) {
			missing = append(missing, c.field)
		}
	}
	return strings.Join(missing, ", ")
}
