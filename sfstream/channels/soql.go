package channels

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
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
	// noValue matches the words of SOQL, and values that tell nothing about anybody.
	noValue = regexp.MustCompile(`(?i)^(?:WHERE|AND|OR|NOT|LIKE|IN|INCLUDES|EXCLUDES|NULL|TRUE|FALSE)$`)
)

// quote makes a text of SOQL of a value.
func quote(value string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(value) + "'"
}

// hiddenPart is how many letters of a value are hidden where its end or its beginning is cut off.
// Fewer may be those of any word.
const hiddenPart = 4

// hideValues replaces the values of a query in a text, also where they are cut: Salesforce quotes a
// part of what it does not understand.
func hideValues(text, soql string) string {
	for _, literal := range quoted.FindAllString(soql, -1) {
		switch value := strings.Trim(literal, "'"); {
		case utf8.RuneCountInString(value) < hiddenPart:
			text = hideWord(text, value)
		default:
			text = hideParts(strings.ReplaceAll(text, value, "…"), value)
		}
	}
	return hideUnquoted(text, soql)
}

// hideUnquoted replaces the values of a query that are not in quotes: numbers and dates, and what a
// quote within a value has left over, which is what most queries that cannot be understood have.
// What is no field and no word of SOQL is taken for a value.
func hideUnquoted(text, soql string) string {
	names := untilObject.FindString(soql)
	condition := quoted.ReplaceAllString(soql[len(names):], " ")
	names += " " + strings.Join(compared.FindAllString(condition, -1), " ")
	known := word.FindAllString(names, -1)
	values := slices.DeleteFunc(word.FindAllString(compared.ReplaceAllString(condition, " "), -1), noValue.MatchString)
	return word.ReplaceAllStringFunc(text, func(shown string) string {
		for _, value := range values {
			isPart := len(shown) >= hiddenPart && strings.Contains(value, shown) && !slices.Contains(known, shown)
			if isPart || shown == value {
				return "…"
			}
		}
		return shown
	})
}

// hideWord replaces a value that tells little by itself where it is a word.
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

func isOfWord(r rune) bool {
	return r != utf8.RuneError && (r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r))
}

// hideParts replaces the beginnings and the ends of a value where it is cut.
func hideParts(text, value string) string {
	parts := strings.Split(text, "'")
	last := len(parts) - 1
	for i, part := range parts {
		begun, ended := i > 0, i < last // by a quote
		switch {
		case begun && cutOff(part, value, !ended):
			parts[i] = "…" + part[commonPrefix(part, value):]
		case ended && cutOff(reversed(part), reversed(value), !begun):
			parts[i] = part[:len(part)-commonPrefix(reversed(part), reversed(value))] + "…"
		}
	}
	return strings.Join(parts, "'")
}

// cutOff reports whether a text begins with the beginning of a value, and then ends, if it is open,
// or goes on as no word does: else it is another word in quotes.
func cutOff(text, value string, open bool) bool {
	n := commonPrefix(text, value)
	if utf8.RuneCountInString(text[:n]) < hiddenPart {
		return false
	}
	next, _ := utf8.DecodeRuneInString(text[n:])
	return n == len(text) && open || n < len(text) && !isOfWord(next)
}

// commonPrefix returns how many bytes two texts have in common at their beginning, in whole letters.
func commonPrefix(a, b string) (n int) {
	for n < len(a) {
		letter, size := utf8.DecodeRuneInString(a[n:])
		if other, width := utf8.DecodeRuneInString(b[n:]); letter != other || size != width {
			break
		}
		n += size
	}
	return n
}

func reversed(text string) string {
	letters := []rune(text)
	slices.Reverse(letters)
	return string(letters)
}
