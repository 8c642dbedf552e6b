package channels

import (
	"regexp"
	"slices"
	"strings"
)

var (
	// quoted matches the texts in a query.
	quoted = regexp.MustCompile(`(?s)'(?:[^'\\]|\\.)*'`)
	// torn matches what no query has in which each text, taken for aText, begins and ends where it is
	// meant to: one was not escaped, or is in other quotes, and what seems to be a field may be a value.
	torn = regexp.MustCompile(`['"‘’“”]|[^\s(,=<>!]` + aText + `|` + aText + `[^\s),]`)
	// untilObject matches what a query says before its conditions.
	untilObject = regexp.MustCompile(`(?is)^\s*SELECT\s.*?\sFROM\s+\S+`)
	// compared matches a field, with the sign or word by which a value is compared to it.
	compared = regexp.MustCompile(`(?i)(?:^|\b(?:WHERE|AND|OR|NOT)\b)[\s(]*[A-Z][\w.]*\s*(?:[=<>!]|(?:NOT\s+)?(?:LIKE|IN|INCLUDES|EXCLUDES)\b)`)
	// word matches what stands between blanks and signs.
	word = regexp.MustCompile(`[\pL\pM\pN_\x{2190}-\x{2BFF}\x{1F000}-\x{1FAFF}]+`)
)

const aText = "\x00"

// quote makes a text of SOQL of a value.
func quote(value string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(value) + "'"
}

// hiddenPart is how many bytes of a word are hidden where the rest of it is cut off, or other letters
// stand beside it. Fewer may be those of any word.
const hiddenPart = 4

// hideValues takes the values of a query out of an error's text, word by word. Salesforce quotes a
// part of what it does not understand, which begins and ends anywhere, and the quotes in such a query
// need not be in pairs: each word of the conditions that is no field and no word of SOQL is taken for
// a value.
func hideValues(text, soql string) string {
	names := untilObject.FindString(soql)
	condition := soql[len(names):]
	var fields []string
	if bare := quoted.ReplaceAllString(condition, aText); !torn.MatchString(bare) {
		fields = compared.FindAllString(bare, -1)
	}
	known := word.FindAllString(names+" WHERE AND OR NOT LIKE IN INCLUDES EXCLUDES null true false "+strings.Join(fields, " "), -1)
	values := word.FindAllString(condition, -1)
	return word.ReplaceAllStringFunc(text, func(shown string) string {
		isValue := func(value string) bool {
			return shown == value || len(shown) >= hiddenPart && strings.Contains(value, shown) ||
				len(value) >= hiddenPart && strings.Contains(shown, value) // u0027Smith
		}
		if !slices.Contains(known, shown) && slices.ContainsFunc(values, isValue) {
			return "…"
		}
		return shown
	})
}
