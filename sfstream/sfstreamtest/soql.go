package sfstreamtest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// query is SELECT fields FROM object WHERE where.
type query struct {
	fields []string
	object string
	where  expr // nil: all records
}

// clone returns a query whose list of fields is its own.
func (q query) clone() query {
	q.fields = slices.Clone(q.fields)
	return q
}

// expr is a condition on a record.
type expr interface {
	holds(record map[string]any) bool
	fields(into []string) []string
}

type (
	allOf   []expr
	anyOf   []expr
	not     struct{ of expr }
	compare struct {
		field, op string
		value     any      // string, float64, bool, time.Time or nil
		list      []any    // for IN
		texts     []string // the values as they stand in the query
	}
)

func (e allOf) holds(record map[string]any) bool {
	for _, part := range e {
		if !part.holds(record) {
			return false
		}
	}
	return true
}

func (e anyOf) holds(record map[string]any) bool {
	for _, part := range e {
		if part.holds(record) {
			return true
		}
	}
	return false
}

func (e not) holds(record map[string]any) bool { return !e.of.holds(record) }

func (e allOf) fields(into []string) []string {
	for _, part := range e {
		into = part.fields(into)
	}
	return into
}

func (e anyOf) fields(into []string) []string { return allOf(e).fields(into) }
func (e not) fields(into []string) []string   { return e.of.fields(into) }

func (e compare) fields(into []string) []string { return append(into, e.field) }

// holds compares as SOQL does: text without regard to case, and a field without a value is unequal
// to everything but null, which the empty text is too.
func (e compare) holds(record map[string]any) bool {
	got := record[e.field]
	switch e.op {
	case "IN":
		for _, v := range e.list {
			if n, ok := order(got, v); ok && n == 0 {
				return true
			}
		}
		return false
	case "LIKE":
		text, _ := got.(string)
		pattern, _ := e.value.(string)
		return got != nil && like(strings.ToLower(text), strings.ToLower(pattern))
	}
	none := func(v any) bool { return v == nil || v == "" }
	if none(got) || none(e.value) {
		same := none(got) && none(e.value)
		return e.op == "=" && same || e.op == "!=" && !same
	}
	n, ok := order(got, e.value)
	switch e.op {
	case "=":
		return ok && n == 0
	case "!=":
		return !ok || n != 0
	case "<":
		return ok && n < 0
	case ">":
		return ok && n > 0
	case "<=":
		return ok && n <= 0
	}
	return ok && n >= 0
}

// order compares two values. ok is false if they cannot be compared.
func order(a, b any) (n int, ok bool) {
	if text, isText := a.(string); isText {
		if at, err := time.Parse(time.RFC3339, text); err == nil {
			if bt, isTime := b.(time.Time); isTime {
				return at.Compare(bt), true
			}
		}
		other, isText := b.(string)
		return strings.Compare(strings.ToLower(text), strings.ToLower(other)), isText
	}
	switch a := a.(type) {
	case bool:
		other, isBool := b.(bool)
		if !isBool || a == other {
			return 0, isBool
		}
		if a {
			return 1, true
		}
		return -1, true
	case time.Time:
		other, isTime := b.(time.Time)
		return a.Compare(other), isTime
	}
	x, isNumber := float(a)
	y, other := float(b)
	switch {
	case !isNumber || !other:
		return 0, false
	case x < y:
		return -1, true
	case x > y:
		return 1, true
	}
	return 0, true
}

// like matches % (any text) and _ (one character).
func like(text, pattern string) bool {
	t, p := []rune(text), []rune(pattern)
	i, j, star, mark := 0, 0, -1, 0
	for i < len(t) {
		switch {
		case j < len(p) && p[j] == '%':
			star, mark = j, i
			j++
		case j < len(p) && (p[j] == '_' || p[j] == t[i]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = mark, star+1
		default:
			return false
		}
	}
	for j < len(p) && p[j] == '%' {
		j++
	}
	return j == len(p)
}

// parseSOQL reads the queries that a PushTopic can have: no joins, no functions.
func parseSOQL(text string) (query, error) {
	p := &soqlParser{}
	if err := p.scan(text); err != nil {
		return query{}, err
	}
	q, err := p.query()
	if err != nil {
		return query{}, fmt.Errorf("SOQL: %w", err)
	}
	return q, nil
}

// token is a word, an operator, or a literal with its value.
type token struct {
	text    string
	literal bool
	value   any
}

type soqlParser struct {
	tokens []token
	depth  int
}

func (p *soqlParser) scan(text string) error {
	for i := 0; i < len(text); {
		c := text[i]
		start := i
		switch {
		case strings.IndexByte(" \t\r\n", c) >= 0:
			i++
			continue
		case c == '\'':
			value, n, err := scanString(text[i:])
			if err != nil {
				return err
			}
			i += n
			p.tokens = append(p.tokens, token{text: text[start:i], literal: true, value: value})
			continue
		case strings.IndexByte("(),", c) >= 0:
			i++
		case strings.IndexByte("=!<>", c) >= 0:
			for i < len(text) && strings.IndexByte("=!<>", text[i]) >= 0 {
				i++
			}
		default:
			for i < len(text) && strings.IndexByte(" \t\r\n'(),=!<>", text[i]) < 0 {
				i++
			}
			p.tokens = append(p.tokens, scanWord(text[start:i]))
			continue
		}
		p.tokens = append(p.tokens, token{text: text[start:i]})
	}
	return nil
}

func scanString(text string) (value string, n int, err error) {
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\'':
			return b.String(), i + 1, nil
		case c == '\\' && i+1 < len(text):
			i++
			switch text[i] {
			case 'n':
				b.WriteByte('\n')
			case 'r':
				b.WriteByte('\r')
			case 't':
				b.WriteByte('\t')
			default:
				b.WriteByte(text[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", 0, errors.New("SOQL: a string does not end")
}

func scanWord(word string) token {
	t := token{text: word, literal: true}
	switch strings.ToLower(word) {
	case "true":
		t.value = true
	case "false":
		t.value = false
	case "null":
	default:
		if strings.IndexByte("+-.0123456789", word[0]) < 0 {
			return token{text: word}
		}
		if f, err := strconv.ParseFloat(word, 64); err == nil {
			t.value = f
			break
		}
		at, ok := parseTime(word)
		if !ok {
			return token{text: word}
		}
		t.value = at
	}
	return t
}

// parseTime reads a date, or a date with a time and a zone.
func parseTime(text string) (at time.Time, ok bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05.000-0700", "2006-01-02T15:04:05-0700", dateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}
