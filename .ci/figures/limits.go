package main

import (
	"fmt"
	"strings"
)

const (
	maxPairs    = 8  // mutual file pairs of ./sfstream
	maxFunction = 60 // lines, but for flat switches
	maxCase     = 20 // lines of a case of a flat switch
	maxFields   = 15 // of a struct type that is narrow
)

// wide are the types that may have more than maxFields: they hold no state that changes.
var wide = map[string]string{
	"ChannelStatus": "a snapshot for the program",
	"config":        "what the options say, written before there is a goroutine",
}

// product is whether the limit of a function's lines is for the package: a program imports it,
// directly or not. The in-process Salesforce, the command and the tests have figures only.
func product(dir string) bool {
	switch dir {
	case "authenticator", "replaystore", "sfstream":
		return true
	}
	inner, ok := strings.CutPrefix(dir, "sfstream/internal/")
	if !ok {
		return false
	}
	switch first, _, _ := strings.Cut(inner, "/"); first {
	case "interop", "proof":
		return false
	}
	return true
}

// narrow is whether the limit of fields is for the package's struct types.
func narrow(dir string) bool { return dir == "sfstream" || dir == "sfstream/internal/inbox" }

// passedLimits says which limits are passed and where.
func passedLimits(packages []*pkg) []string {
	var passed []string
	tell := func(format string, args ...any) { passed = append(passed, fmt.Sprintf(format, args...)) }
	for _, p := range packages {
		if p.dir == "sfstream" {
			if pairs := mutualPairs(p.arrows(false)); len(pairs) > maxPairs {
				tell("%s: %d mutual file pairs (at most %d)", p.dir, len(pairs), maxPairs)
			}
		}
		if product(p.dir) {
			for _, f := range p.longFunctions() {
				tell("%s: %s has %d lines (at most %d)", p.at(f.Pos()), f.Name.Name, p.span(f), maxFunction)
			}
		}
		if narrow(p.dir) {
			for _, b := range p.bags() {
				if b.fields > maxFields && wide[b.Name()] == "" {
					tell("%s: %s has %d fields (at most %d)", p.at(b.Pos()), b.Name(), b.fields, maxFields)
				}
			}
		}
		for _, n := range undocumented(p.exported()) {
			tell("%s: %s has no doc comment", p.at(n.Pos()), n.Name)
		}
	}
	return passed
}
