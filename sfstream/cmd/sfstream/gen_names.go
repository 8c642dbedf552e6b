package main

import (
	"strconv"
	"strings"
)

// scope gives out names, each once. The value of a name is 0 if it is free, else the last number
// that was appended to it.
type scope map[string]int

// take returns the first of names that is free. If none is, it returns the last one with a number.
func (s scope) take(names ...string) string {
	for _, name := range names {
		if s[name] == 0 {
			s[name] = 1
			return name
		}
	}
	last := names[len(names)-1]
	for {
		s[last]++
		if name := last + strconv.Itoa(s[last]); s[name] == 0 {
			s[name] = 1
			return name
		}
	}
}

// camel makes an exported Go name: ns__Order_Number__c becomes NsOrderNumberC.
func camel(name string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(name, "_") {
		if part != "" {
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	if made := b.String(); made != "" && made[0] > '9' {
		return made
	}
	return "X" + b.String()
}

// eventNames returns the names that the struct of an event may have, the best one first: OrderEvent
// for Order__e, and for Order_Event__e too.
func eventNames(name string) []string {
	short, custom := strings.CutSuffix(name, "__e")
	if custom && !strings.HasSuffix(short, "Event") {
		short += "_Event"
	}
	return []string{camel(short), camel(name)}
}

// fieldNames returns the Go names of fields, in their order. The field Type is Type. Type__c is
// Type too if there is no field Type, and else TypeC.
func fieldNames(fields []avroField) []string {
	names, taken := make([]string, len(fields)), make(scope)
	for i, f := range fields {
		if camel(f.name) == f.name { // a custom field must not get this name
			names[i] = taken.take(f.name)
		}
	}
	for i, f := range fields {
		if names[i] == "" {
			short := strings.TrimSuffix(strings.TrimSuffix(f.name, "__c"), "__pc") // fields of a person account end in __pc
			names[i] = taken.take(camel(short), camel(f.name))
		}
	}
	return names
}
