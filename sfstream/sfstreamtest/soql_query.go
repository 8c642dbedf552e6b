package sfstreamtest

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// fullQuery is a query as the REST API answers it; a PushTopic cannot have what it adds.
type fullQuery struct {
	query
	count         bool   // SELECT COUNT()
	function      string // ALL, STANDARD or CUSTOM of FIELDS()
	order         []ordering
	limit, offset int // limit is negative if there is none
}

type ordering struct {
	field             string
	descending, nulls bool // nulls: those come last
}

// malformed is what Salesforce says of a query that it cannot read.
type malformed string

func (m malformed) Error() string { return string(m) }

const fieldsLimit = malformed("The SOQL FIELDS function must have a LIMIT of at most 200")

// parseQuery reads a query of the REST API.
func parseQuery(text string) (fullQuery, error) {
	q := fullQuery{limit: -1}
	p := &soqlParser{}
	if err := p.scan(text); err != nil {
		return q, err
	}
	if !p.keyword("SELECT") {
		return q, fmt.Errorf("unexpected token: '%s'", p.peek().text)
	}
	if err := p.selected(&q); err != nil {
		return q, err
	}
	if err := p.from(&q.query); err != nil {
		return q, err
	}
	if err := p.tail(&q); err != nil {
		return q, err
	}
	if len(p.tokens) > 0 {
		return q, fmt.Errorf("unexpected token: '%s' (sfstreamtest knows SELECT, FROM, WHERE, ORDER BY, LIMIT and OFFSET)", p.peek().text)
	}
	if unbounded := q.function == "ALL" || q.function == "CUSTOM"; unbounded && (q.limit < 0 || q.limit > 200) {
		return q, fieldsLimit
	}
	return q, nil
}

// selected reads what stands between SELECT and FROM.
func (p *soqlParser) selected(q *fullQuery) error {
	for {
		name, err := p.name()
		if err != nil {
			return err
		}
		switch call := p.peek(); {
		case call.literal || call.text != "(":
			if slices.ContainsFunc(q.fields, func(f string) bool { return strings.EqualFold(f, name) }) {
				return fmt.Errorf("duplicate field selected: %s", name)
			}
			q.fields = append(q.fields, name)
		default:
			p.next()
			argument := ""
			if p.peek().text != ")" {
				argument = strings.ToUpper(p.next().text)
			}
			if p.next().text != ")" {
				return errors.New("a parenthesis does not close")
			}
			switch known := strings.ToUpper(name); {
			case known == "COUNT" && argument == "" && len(q.fields) == 0:
				q.count = true
			case known == "FIELDS" && (argument == "ALL" || argument == "STANDARD" || argument == "CUSTOM") && q.function == "":
				q.function = argument
			default:
				return fmt.Errorf("unexpected token: '%s' (sfstreamtest knows COUNT() and FIELDS() only)", name)
			}
		}
		if p.peek().text != "," {
			return nil
		}
		p.next()
	}
}

// tail reads what follows the conditions.
func (p *soqlParser) tail(q *fullQuery) error {
	if p.keyword("ORDER") {
		if !p.keyword("BY") {
			return errors.New("ORDER without BY")
		}
		for more := true; more; {
			name, err := p.name()
			if err != nil {
				return err
			}
			o := ordering{field: name}
			if !p.keyword("ASC") {
				o.descending = p.keyword("DESC")
			}
			if p.keyword("NULLS") && !p.keyword("FIRST") {
				if o.nulls = p.keyword("LAST"); !o.nulls {
					return errors.New("NULLS without FIRST or LAST")
				}
			}
			q.order = append(q.order, o)
			if more = p.peek().text == ","; more {
				p.next()
			}
		}
	}
	if err := p.number("LIMIT", &q.limit); err != nil {
		return err
	}
	return p.number("OFFSET", &q.offset)
}

// number reads a keyword and its number, if the keyword comes next.
func (p *soqlParser) number(word string, into *int) error {
	if !p.keyword(word) {
		return nil
	}
	n, ok := p.next().value.(float64)
	if !ok || n < 0 || n != float64(int(n)) {
		return fmt.Errorf("%s without a number", word)
	}
	*into = int(n)
	return nil
}

// soqlError is an error about a word of a query, with the place that Salesforce shows.
func soqlError(text, word, code, message string) error {
	at := max(0, strings.Index(text, word))
	return &restError{http.StatusBadRequest, fmt.Sprintf("\n%s\n%s^\nERROR at Row:1:Column:%d\n%s",
		text, strings.Repeat(" ", at), at+1, message), code, nil}
}

const customField = "If you are attempting to use a custom field, be sure to append the '__c' after the custom field name. " +
	"Please reference your WSDL or the describe call for the appropriate names."

// bind checks a query against its object and gives its fields the names that the object has.
func (o *sobject) bind(q *fullQuery, text string) error {
	unknown := func(name string) error {
		return soqlError(text, name, "INVALID_FIELD", fmt.Sprintf("No such column '%s' on entity '%s'. %s", name, o.name, customField))
	}
	for _, f := range o.fields {
		custom := strings.HasSuffix(f.name, "__c") || strings.HasSuffix(f.name, "__s")
		if q.function == "ALL" || q.function != "" && custom == (q.function == "CUSTOM") {
			q.fields = append(q.fields, f.name)
		}
	}
	for i, name := range q.fields {
		f, ok := o.field(name)
		if !ok {
			return unknown(name)
		}
		q.fields[i] = f.name
	}
	for i := range q.order {
		f, ok := o.field(q.order[i].field)
		if !ok {
			return unknown(q.order[i].field)
		}
		q.order[i].field = f.name
	}
	if q.where == nil {
		return nil
	}
	where, err := mapComparisons(q.where, func(c compare) (compare, error) {
		f, ok := o.field(c.field)
		if !ok {
			return c, unknown(c.field)
		}
		c.field = f.name
		return c, f.check(&c, text)
	})
	q.where = where
	return err
}

// mapComparisons returns the condition with each comparison replaced.
func mapComparisons(e expr, change func(compare) (compare, error)) (expr, error) {
	switch e := e.(type) {
	case allOf:
		parts := slices.Clone(e)
		for i := range parts {
			var err error
			if parts[i], err = mapComparisons(parts[i], change); err != nil {
				return nil, err
			}
		}
		return parts, nil
	case anyOf:
		parts, err := mapComparisons(allOf(e), change)
		if err != nil {
			return nil, err
		}
		return anyOf(parts.(allOf)), nil
	case not:
		of, err := mapComparisons(e.of, change)
		return not{of}, err
	case compare:
		return change(e)
	}
	return e, nil
}

// check refuses values that are not of the field's type, and gives ids their 18 characters.
func (f sobjectField) check(c *compare, text string) error {
	switch f.typ {
	case "textarea", "address", "location", "encryptedstring":
		return soqlError(text, f.name, "INVALID_FIELD", fmt.Sprintf("field '%s' can not be filtered in a query call", f.name))
	}
	values, texts := []*any{&c.value}, c.texts
	if c.op == "IN" {
		values = nil
		for i := range c.list {
			values = append(values, &c.list[i])
		}
	}
	for i, v := range values {
		if *v == nil {
			continue
		}
		if want := f.mismatch(*v, texts[i]); want != "" {
			return soqlError(text, f.name, "INVALID_FIELD", fmt.Sprintf("value of filter criterion for field '%s' must be of type %s", f.name, want))
		}
		if id, ok := (*v).(string); ok && (f.typ == "id" || f.typ == "reference") {
			if len(id) != 15 && len(id) != 18 {
				return soqlError(text, f.name, "INVALID_QUERY_FILTER_OPERATOR", "invalid ID field: "+id)
			}
			*v = longID(id)
		}
	}
	return nil
}

// mismatch returns the type that a value should have, in Salesforce's words, "" if it has that.
func (f sobjectField) mismatch(v any, text string) string {
	const bare = " and should not be enclosed in quotes"
	at, isTime := v.(time.Time)
	isTime = isTime && !at.IsZero()
	_, isNumber := v.(float64)
	_, isBool := v.(bool)
	_, isText := v.(string)
	switch f.typ {
	case "anyType":
	case "datetime":
		if !isTime || !strings.Contains(text, "T") {
			return "dateTime" + bare
		}
	case "date":
		if !isTime || strings.Contains(text, "T") {
			return "date" + bare
		}
	case "int", "double", "currency", "percent":
		if !isNumber {
			return f.typ + bare
		}
	case "boolean":
		if !isBool {
			return "boolean" + bare
		}
	case "time":
	default:
		if !isText {
			return "string and should be enclosed in quotes"
		}
	}
	return ""
}

// longID returns an id with 18 characters: the last three tell which of the others are upper case.
func longID(id string) string {
	if len(id) != 15 {
		return id
	}
	for i := 0; i < 15; i += 5 {
		bits := 0
		for j := range 5 {
			if c := id[i+j]; c >= 'A' && c <= 'Z' {
				bits |= 1 << j
			}
		}
		id += string("ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"[bits])
	}
	return id
}

// run returns the rows of a query, with deleted records only if it is asked for all.
func (q *fullQuery) run(rows []map[string]any, all bool) []map[string]any {
	var found []map[string]any
	for _, row := range rows {
		if deleted, _ := row["IsDeleted"].(bool); deleted && !all {
			continue
		}
		if q.where == nil || q.where.holds(row) {
			found = append(found, row)
		}
	}
	slices.SortStableFunc(found, func(a, b map[string]any) int {
		for _, o := range q.order {
			if n := o.compare(a[o.field], b[o.field]); n != 0 {
				return n
			}
		}
		return 0
	})
	found = found[min(q.offset, len(found)):]
	if q.limit >= 0 {
		found = found[:min(q.limit, len(found))]
	}
	return found
}

func (o ordering) compare(a, b any) int {
	if a == nil || b == nil {
		n := 0
		switch {
		case a == nil && b != nil:
			n = -1
		case a != nil && b == nil:
			n = 1
		}
		if o.nulls {
			n = -n
		}
		return n
	}
	n, _ := order(a, b)
	if o.descending {
		n = -n
	}
	return n
}
