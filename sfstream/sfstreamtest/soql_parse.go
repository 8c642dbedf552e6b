package sfstreamtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

func (p *soqlParser) peek() token {
	if len(p.tokens) == 0 {
		return token{}
	}
	return p.tokens[0]
}

func (p *soqlParser) next() token {
	t := p.peek()
	if len(p.tokens) > 0 {
		p.tokens = p.tokens[1:]
	}
	return t
}

// keyword steps over a word if it comes next, and reports whether it does.
func (p *soqlParser) keyword(word string) bool {
	if t := p.peek(); t.literal || !strings.EqualFold(t.text, word) {
		return false
	}
	p.next()
	return true
}

func (p *soqlParser) name() (string, error) {
	t := p.next()
	if t.literal || t.text == "" || strings.ContainsAny(t.text, "(),=!<>") {
		return "", fmt.Errorf("a name is missing before %q", t.text)
	}
	return t.text, nil
}

func (p *soqlParser) query() (query, error) {
	var q query
	if !p.keyword("SELECT") {
		return q, errors.New("it does not begin with SELECT")
	}
	for {
		name, err := p.name()
		if err != nil {
			return q, err
		}
		if slices.ContainsFunc(q.fields, func(f string) bool { return strings.EqualFold(f, name) }) {
			return q, fmt.Errorf("duplicate field selected: %s", name)
		}
		q.fields = append(q.fields, name)
		if p.peek().text != "," {
			break
		}
		p.next()
	}
	if err := p.from(&q); err != nil {
		return q, err
	}
	if t := p.peek(); len(p.tokens) > 0 {
		return q, fmt.Errorf("%q is not for PushTopics", t.text)
	}
	return q, nil
}

// from reads the object and the conditions.
func (p *soqlParser) from(q *query) (err error) {
	if !p.keyword("FROM") {
		return fmt.Errorf("FROM is missing before %q", p.peek().text)
	}
	if q.object, err = p.name(); err != nil {
		return err
	}
	if p.keyword("WHERE") {
		q.where, err = p.or()
	}
	return err
}

func (p *soqlParser) or() (expr, error) {
	first, err := p.and()
	if err != nil {
		return nil, err
	}
	parts := anyOf{first}
	for p.keyword("OR") {
		part, err := p.and()
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
	if len(parts) == 1 {
		return first, nil
	}
	return parts, nil
}

func (p *soqlParser) and() (expr, error) {
	first, err := p.term()
	if err != nil {
		return nil, err
	}
	parts := allOf{first}
	for p.keyword("AND") {
		part, err := p.term()
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
	if len(parts) == 1 {
		return first, nil
	}
	return parts, nil
}

// maxDepth bounds how deep parentheses and NOTs may nest.
const maxDepth = 100

func (p *soqlParser) term() (expr, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, errors.New("it is too deep")
	}
	defer func() { p.depth-- }()
	if p.keyword("NOT") {
		of, err := p.term()
		return not{of}, err
	}
	if t := p.peek(); !t.literal && t.text == "(" {
		p.next()
		e, err := p.or()
		if err != nil {
			return nil, err
		}
		if p.next().text != ")" {
			return nil, errors.New("a parenthesis does not close")
		}
		return e, nil
	}
	return p.comparison()
}

func (p *soqlParser) comparison() (expr, error) {
	name, err := p.name()
	if err != nil {
		return nil, err
	}
	c := compare{field: name, op: strings.ToUpper(p.next().text)}
	switch c.op {
	case "<>":
		c.op = "!="
	case "=", "!=", "<", ">", "<=", ">=", "LIKE":
	case "NOT":
		if !p.keyword("IN") {
			return nil, fmt.Errorf("%s NOT without IN", name)
		}
		c.op = "IN"
		c.list, c.texts, err = p.list()
		return not{c}, err
	case "IN":
		c.list, c.texts, err = p.list()
		return c, err
	default:
		return nil, fmt.Errorf("%q is no comparison", c.op)
	}
	t := p.next()
	if !t.literal {
		return nil, fmt.Errorf("%s is compared with %q, which is no value", name, t.text)
	}
	c.value, c.texts = t.value, []string{t.text}
	return c, nil
}

func (p *soqlParser) list() (list []any, texts []string, err error) {
	if p.next().text != "(" {
		return nil, nil, errors.New("IN without a list")
	}
	for {
		t := p.next()
		if !t.literal {
			return nil, nil, fmt.Errorf("%q is no value", t.text)
		}
		list, texts = append(list, t.value), append(texts, t.text)
		switch end := p.next(); {
		case !end.literal && end.text == ",":
		case !end.literal && end.text == ")":
			return list, texts, nil
		default:
			return nil, nil, errors.New("a list does not end")
		}
	}
}
