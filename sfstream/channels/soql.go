package channels

import (
	"regexp"
	"strings"
)

// quoted matches the texts in a query, also one that has no end.
var quoted = regexp.MustCompile(`(?s)'(?:[^'\\]|\\.)*(?:'|$)`)

// quote makes a text of SOQL of a value.
func quote(value string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(value) + "'"
}

// hiddenPart is how much of a value alone tells enough to be hidden.
const hiddenPart = 4

// hide replaces a value in a text, and parts at its beginning and end: what is quoted may be cut.
func hide(text, value string) string {
	if value == "" {
		return text
	}
	text = strings.ReplaceAll(text, value, "…")
	for n := len(value) - 1; n >= hiddenPart; n-- {
		text = strings.ReplaceAll(strings.ReplaceAll(text, value[:n], "…"), value[len(value)-n:], "…")
	}
	return text
}
