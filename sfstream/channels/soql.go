package channels

import (
	"regexp"
	"slices"
	"strings"
)

var (
	// quoted matches the texts in a query, also one that has no end.
	quoted = regexp.MustCompile(`(?s)'(?:[^'\\]|\\.)*(?:'|$)`)
	// untilObject matches what a query says before its conditions.
	untilObject = regexp.MustCompile(`(?is)^\s*SELECT\s.*?\sFROM\s+\S+`)
	// compared matches a field, with the sign or word by which a value is compared to it.
	compared = regexp.MustCompile(`(?i)[A-Z][\w.]*\s*(?:[=<>!]|(?:NOT\s+)?(?:LIKE|IN|INCLUDES|EXCLUDES)\b)`)
	// word matches what stands between blanks, quotes and signs.
	word = regexp.MustCompile(`[^\s'"\\()=<>!,;]+`)
)

// quote makes a text of SOQL of a value.
func quote(value string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(value) + "'"
}

// hiddenPart is how many bytes of a word are hidden where the rest of it is cut off. Fewer may be
// those of any word.
const hiddenPart = 4

// hideValues takes the values of a query out of an error's text, word by word. Salesforce quotes a
// part of what it does not understand, which begins and ends anywhere, and the quotes in such a query
// need not be in pairs: each word of the conditions that is no field and no word of SOQL is taken for
// a value.
func hideValues(text, soql string) string {
	names := untilObject.FindString(soql)
	condition := soql[len(names):]
	fields := compared.FindAllString(quoted.ReplaceAllString(condition, " "), -1)
	known := word.FindAllString(names+" WHERE AND OR NOT LIKE IN INCLUDES EXCLUDES null true false "+strings.Join(fields, " "), -1)
	values := word.FindAllString(condition, -1)
	return word.ReplaceAllStringFunc(text, func(shown string) string {
		isValue := func(value string) bool {
			return shown == value || len(shown) >= hiddenPart && strings.Contains(value, shown)
		}
		if !slices.Contains(known, shown) && slices.ContainsFunc(values, isValue) {
			return "…"
		}
		return shown
	})
}
