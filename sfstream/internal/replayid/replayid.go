// Package replayid knows the two forms of replay ids: those of the Streaming API are the digits of
// a number, those of the Pub/Sub API are opaque bytes that begin with a zero byte.
package replayid

import (
	"bytes"
	"encoding/hex"
	"slices"
)

// Text prints a replay id: that of the Streaming API is text, that of the Pub/Sub API is not.
func Text(id []byte) string {
	if IsDecimal(id) {
		return string(id)
	}
	return hex.EncodeToString(id)
}

// IsDecimal reports whether id is a replay id of the Streaming API. One of the Pub/Sub API never
// is: it begins with a zero byte.
func IsDecimal(id []byte) bool {
	for _, c := range id {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(id) > 0
}

// Compare compares two decimal ids of any length.
func Compare(a, b []byte) int {
	a, b = bytes.TrimLeft(a, "0"), bytes.TrimLeft(b, "0")
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return bytes.Compare(a, b)
}

// Before reports whether a replay id is before another one, as far as that can be told: ids of the
// Streaming API are numbers, those of the Pub/Sub API are opaque and begin with one.
func Before(a, b []byte) bool {
	switch {
	case len(a) == 0 || len(b) == 0:
		return false
	case IsDecimal(a) && IsDecimal(b):
		return Compare(a, b) < 0
	}
	return len(a) == len(b) && bytes.Compare(a, b) < 0
}

// InOrder sorts events by their decimal ids. Those without an id stay behind the event that they
// came after.
func InOrder[E any](events []E, id func(*E) []byte) []E {
	type run struct{ first, end int }
	var runs []run
	for i := range events {
		if len(id(&events[i])) > 0 || len(runs) == 0 {
			runs = append(runs, run{i, i})
		}
		runs[len(runs)-1].end = i + 1
	}
	compare := func(a, b run) int { return Compare(id(&events[a.first]), id(&events[b.first])) }
	if slices.IsSortedFunc(runs, compare) {
		return events
	}
	slices.SortStableFunc(runs, compare)
	ordered := make([]E, 0, len(events))
	for _, r := range runs {
		ordered = append(ordered, events[r.first:r.end]...)
	}
	return ordered
}
