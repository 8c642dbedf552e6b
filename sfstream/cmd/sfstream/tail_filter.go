package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/sfstream/sfstream-go/sfstream"
)

// filter says which change events are wanted. An empty list is no condition.
type filter struct {
	entities words
	types    words
	fields   words
}

func (f *filter) isSet() bool { return len(f.entities)+len(f.types)+len(f.fields) > 0 }

// changeTypes are the types that -type takes.
var changeTypes = []sfstream.ChangeType{
	sfstream.ChangeCreate, sfstream.ChangeUpdate, sfstream.ChangeDelete, sfstream.ChangeUndelete, sfstream.ChangeGapCreate,
	sfstream.ChangeGapUpdate, sfstream.ChangeGapDelete, sfstream.ChangeGapUndelete, sfstream.ChangeGapOverflow,
}

// unknownType returns the first of the wanted types that there is not, empty if there is none.
func (f *filter) unknownType() string {
	for _, name := range f.types {
		if !slices.Contains(changeTypes, sfstream.ChangeType(strings.ToUpper(name))) {
			return name
		}
	}
	return ""
}

// passes reports whether an event is wanted. Where that cannot be known it is: an event that cannot
// be read passes, a gap event whatever fields are wanted, and an overflow also whatever type is.
func (f *filter) passes(msg *sfstream.Message) bool {
	if !f.isSet() {
		return true
	}
	change, err := msg.Change()
	if err != nil {
		return true
	}
	return f.wantsEntity(change) && f.wantsType(change) && f.wantsField(change, msg)
}

func (f *filter) wantsEntity(change *sfstream.ChangeEvent) bool {
	return len(f.entities) == 0 || f.entities.has(change.EntityName)
}

func (f *filter) wantsType(change *sfstream.ChangeEvent) bool {
	name := string(change.Type)
	return len(f.types) == 0 || change.IsOverflow() || f.types.has(name) || f.types.has(strings.TrimPrefix(name, "GAP_"))
}

func (f *filter) wantsField(change *sfstream.ChangeEvent, msg *sfstream.Message) bool {
	if len(f.fields) == 0 || change.IsGap() {
		return true
	}
	switch change.Type {
	case sfstream.ChangeUpdate:
		return slices.ContainsFunc(change.ChangedFields, f.fields.hasField) || slices.ContainsFunc(change.DiffFields, f.fields.hasField)
	case sfstream.ChangeDelete:
		return false // it has no fields of its own
	}
	fields, err := msg.Fields()
	if err != nil {
		return true
	}
	return slices.ContainsFunc(paths(fields), f.fields.hasField)
}

// words is a flag that may be repeated and whose values may be lists with commas. Salesforce takes
// names in any case, and so does it.
type words []string

func (w *words) String() string { return strings.Join(*w, ",") }

// Set adds the words of a list.
func (w *words) Set(list string) error {
	for word := range strings.SplitSeq(list, ",") {
		if word = strings.TrimSpace(word); word == "" {
			return errors.New("it has an empty name")
		}
		*w = append(*w, word)
	}
	return nil
}

func (w words) has(name string) bool {
	return slices.ContainsFunc(w, func(word string) bool { return strings.EqualFold(word, name) })
}

// hasField reports whether a field, as BillingAddress.City, is among the words, or the compound one
// that it is a part of.
func (w words) hasField(name string) bool {
	compound, _, _ := strings.Cut(name, ".")
	return w.has(name) || w.has(compound)
}
