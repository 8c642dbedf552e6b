package channels

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// quoted matches the texts in a query, also one that has no end.
var quoted = regexp.MustCompile(`(?s)'(?:[^'\\]|\\.)*(?:'|$)`)

// quote makes a text of SOQL of a value.
func quote(value string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(value) + "'"
}

// hiddenPart is how much of a value alone tells enough to be hidden.
const hiddenPart = 4

// hide replaces a value in a text, and parts at its beginning and end: what is quoted may be cut. A
// value that is too short to tell much by itself is replaced where it is a word.
func hide(text, value string) string {
	if len(value) < hiddenPart {
		return hideWord(text, value)
	}
	text = strings.ReplaceAll(text, value, "…")
	for n := len(value) - 1; n >= hiddenPart; n-- {
		text = strings.ReplaceAll(strings.ReplaceAll(text, value[:n], "…"), value[len(value)-n:], "…")
	}
	return text
}

func hideWord(text, word string) string {
	var b strings.Builder
	for word != "" {
		at := strings.Index(text, word)
		if at < 0 {
			break
		}
		before, _ := utf8.DecodeLastRuneInString(b.String() + text[:at])
		after, _ := utf8.DecodeRuneInString(text[at+len(word):])
		b.WriteString(text[:at])
		if isOfWord(before) || isOfWord(after) {
			b.WriteString(word)
		} else {
			b.WriteString("…")
		}
		text = text[at+len(word):]
	}
	return b.String() + text
}

func isOfWord(r rune) bool { return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r)) }
