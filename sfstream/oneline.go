package sfstream

import (
	"strings"
	"unicode"
)

// oneLine makes one line of a text, for errors that go into logs: what servers and
// proxies write may have many, and bytes that steer a terminal.
func oneLine(text string) string {
	if strings.IndexFunc(text, breaks) < 0 {
		return text
	}
	return strings.Join(strings.FieldsFunc(text, breaks), " ")
}

func breaks(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }

// joined is several errors in one line, where errors.Join takes a line for each.
type joined []error

func join(errs ...error) error {
	var all joined
	for _, err := range errs {
		if err != nil {
			all = append(all, err)
		}
	}
	if len(all) < 2 {
		for _, err := range all {
			return err
		}
		return nil
	}
	return all
}

// Error is the texts of all.
func (e joined) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = oneLine(err.Error())
	}
	return strings.Join(texts, "; ")
}

// Unwrap returns all.
func (e joined) Unwrap() []error { return e }
