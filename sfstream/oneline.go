package sfstream

import (
	"strings"
	"unicode"
)

// oneLine replaces line breaks and control characters of a text by spaces. Errors go into
// logs, and the pages that servers and proxies write have many lines, and may have bytes
// that control a terminal.
func oneLine(text string) string {
	if strings.IndexFunc(text, breaks) < 0 {
		return text
	}
	return strings.Join(strings.FieldsFunc(text, breaks), " ")
}

func breaks(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }

// joined is several errors that print as one line; errors.Join prints a line for each.
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

// Error returns the texts of all errors, separated by semicolons.
func (e joined) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = oneLine(err.Error())
	}
	return strings.Join(texts, "; ")
}

// Unwrap returns the errors.
func (e joined) Unwrap() []error { return e }
