// Package oneline makes one line of texts.
package oneline

import (
	"strings"
	"unicode"
)

// Text replaces line breaks and control characters of a text by spaces. Errors go into logs, and
// the pages that servers and proxies write have many lines, and may have bytes that control a
// terminal.
func Text(text string) string {
	if strings.IndexFunc(text, breaks) < 0 {
		return text
	}
	return strings.Join(strings.FieldsFunc(text, breaks), " ")
}

func breaks(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }

// joined is several errors that print as one line.
type joined []error

// Join is errors.Join for errors that print as one line, where errors.Join prints a line for each.
// Of one error it returns that error itself.
func Join(errs ...error) error {
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
		texts[i] = Text(err.Error())
	}
	return strings.Join(texts, "; ")
}

// Unwrap returns the errors.
func (e joined) Unwrap() []error { return e }
