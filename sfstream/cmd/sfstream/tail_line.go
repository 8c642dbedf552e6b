package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/replayid"
)

// liner shows events to people: one line each, in columns. Nothing in an event can do more to a
// terminal than to be read.
type liner struct {
	on    terminal
	names int // the width of the column of names
}

// widestName is how wide the column of names gets, so that a long one does not move all others.
const widestName = 32

// line returns the line of an event.
func (l *liner) line(msg *sfstream.Message) string {
	when := strings.Repeat(" ", len("01-02 15:04:05"))
	if date := msg.Date(); !date.IsZero() {
		when = date.Local().Format("01-02 15:04:05")
	}
	e := seen(msg)
	l.names = max(l.names, min(utf8.RuneCountInString(e.name), widestName))
	var p painter
	p.add(dim, when)
	p.add(bold, fmt.Sprintf("  %-*s", l.names, e.name))
	if e.kind != "" {
		p.add(kindColour(e.kind), fmt.Sprintf("  %-8s", e.kind))
	}
	if e.ids != "" {
		p.add(dim, "  "+e.ids)
	}
	if e.trouble != "" {
		p.add(red, "  "+e.trouble)
	}
	for i, field := range e.fields {
		p.add(noColour, strings.Repeat(" ", max(1, 2-i)))
		p.add(cyan, field.path+"=")
		p.add(noColour, field.value)
	}
	return p.line(l.on)
}

// sight is what a line shows of an event.
type sight struct {
	name    string // of the object or the event
	kind    string // what happened; empty of a platform event
	ids     string // of the records, else the replay id
	trouble string // why there are no fields; empty: there may be
	fields  []sightField
}

type sightField struct{ path, value string }

func seen(msg *sfstream.Message) sight {
	s := sight{name: cmp.Or(msg.EventName(), strings.TrimPrefix(strings.TrimPrefix(msg.Channel, "/topic/"), "/u/")), kind: msg.Type}
	fields, err := msg.Fields()
	if err != nil {
		what, _ := explain(err)
		s.ids, s.trouble = replayid.Text(msg.ReplayID), strings.TrimPrefix(what, msg.Channel+": ")
		return s
	}
	if strings.HasPrefix(msg.Channel, "/data/") {
		if change, err := msg.Change(); err == nil {
			return seenChange(change, fields)
		}
	}
	if id, ok := fields["Id"].(string); ok && msg.Type != "" {
		s.ids = id
		delete(fields, "Id")
	} else {
		s.ids = replayid.Text(msg.ReplayID)
	}
	delete(fields, "CreatedDate") // it is shown as the time of the event
	delete(fields, "CreatedById")
	s.fields = shown(fields, paths(fields))
	return s
}

func seenChange(change *sfstream.ChangeEvent, fields map[string]any) sight {
	s := sight{name: change.EntityName, kind: string(change.Type)}
	delete(fields, "ChangeEventHeader")
	switch {
	case change.IsOverflow():
		s.trouble = "more changes than Salesforce tells one by one: read all records again"
		return s
	case len(change.RecordIDs) == 1:
		s.ids = change.RecordIDs[0]
	case len(change.RecordIDs) > 1:
		s.ids = fmt.Sprintf("%s +%d", change.RecordIDs[0], len(change.RecordIDs)-1)
	}
	names := paths(fields)
	if change.Type == sfstream.ChangeUpdate {
		names = change.ChangedFields
	}
	if change.IsGap() {
		s.trouble = "Salesforce does not tell the fields: read the records again"
		return s
	}
	s.fields = shown(fields, names)
	return s
}

// bookkeeping are fields that change with every change. They are shown last.
var bookkeeping = []string{"CreatedDate", "CreatedById", "LastModifiedDate", "LastModifiedById", "SystemModstamp"}

func shown(fields map[string]any, names []string) (list []sightField) {
	names = slices.Clone(names)
	slices.SortStableFunc(names, func(a, b string) int {
		return slices.Index(bookkeeping, a) - slices.Index(bookkeeping, b)
	})
	for _, name := range names {
		list = append(list, sightField{name, valueText(valueAt(fields, name))})
	}
	return list
}

// paths are the fields of an event that have a value, with their parts as BillingAddress.City, by
// name.
func paths(fields map[string]any) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		switch value := fields[name].(type) {
		case nil:
		case map[string]any:
			if name == "ChangeEventHeader" {
				continue
			}
			for _, part := range paths(value) {
				names = append(names, name+"."+part)
			}
		default:
			names = append(names, name)
		}
	}
	return names
}

// valueAt returns the value at a path, nil where there is none.
func valueAt(fields map[string]any, path string) any {
	if value, ok := fields[path]; ok {
		return value
	}
	compound, part, found := strings.Cut(path, ".")
	if inner, ok := fields[compound].(map[string]any); ok && found {
		return valueAt(inner, part)
	}
	return nil
}

func valueText(value any) string {
	switch v := value.(type) {
	case nil:
		return "null"
	case string:
		return strconv.Quote(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case time.Time:
		return v.Local().Format(time.DateTime)
	case []any, map[string]any:
		if text, err := plainJSON(v); err == nil {
			return string(text)
		}
	}
	return fmt.Sprint(value)
}

func kindColour(kind string) string {
	kind = strings.ToUpper(kind)
	switch {
	case strings.HasPrefix(kind, "GAP_"):
		return magenta
	case strings.HasPrefix(kind, "CREATE"):
		return green
	case strings.HasPrefix(kind, "UPDATE"):
		return yellow
	case strings.HasPrefix(kind, "DELETE"):
		return red
	}
	return cyan
}
