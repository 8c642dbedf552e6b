package avro

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Binder puts decoded values into Go variables. It is safe for concurrent use. It keeps what it
// learns about struct types, so it grows with the program's types only.
type Binder struct {
	// Optional is called with a dst that is a struct. If its type is an optional one, which tells
	// null from a value, Optional marks it and returns the variable for the value (the zero
	// reflect.Value if as is Null) and true; else it returns false. dst is addressable.
	Optional func(dst reflect.Value, as Mark) (value reflect.Value, ok bool)
	// Value is the reverse of Optional: if src is an optional, it returns true, what src says, and
	// the variable with its value if that is Set. src is addressable, and neither a pointer nor a
	// time.Time.
	Value func(src reflect.Value) (value reflect.Value, as Mark, ok bool)
	// Time parses a text that is a time.
	Time func(text string) (t time.Time, ok bool)

	structs   sync.Map // reflect.Type → []goField
	optionals sync.Map // reflect.Type → bool
}

// Mark says what an event tells about a variable, or a variable about an event.
type Mark uint8

// The marks.
const (
	Null     Mark = iota
	Set           // it has a value, which is new
	Enriched      // it has a value that did not change, sent along with a change of others
	Unset         // it says nothing; only Binder.Value gives that
)

// Assign puts a value that Decode returned, or the same types decoded from JSON, into dst, if Go's
// types allow it without loss. dst is addressable, or a map that is not nil. Values of enriched go
// into the fields of structs only. s is the schema that src was decoded with, nil for JSON: it says
// which fields the event has, even those that are not in src. An error that concerns one field is
// an *Error with its path.
func (b *Binder) Assign(dst reflect.Value, src any, enriched map[string]any, s *Schema) error {
	var root *node
	if s != nil {
		root = s.root
	}
	if fields, ok := src.(map[string]any); ok {
		if dst = b.reach(dst, Set); isRecord(dst) {
			if s != nil && dst.NumField() > 0 && !b.wants(dst.Type(), root) {
				return fmt.Errorf("the event is %s, and no field of the Go struct %s is in its schema: their tags `sf` or `json`, or their names, are to be those of the event's fields", s.name, dst.Type())
			}
			return b.assignRecord(dst, fields, enriched, Set, root)
		}
	}
	return b.assign(dst, src, Set, root)
}

// assign puts one value into dst. n is the record type of the value, nil if it is not a record or
// the schema is not known.
func (b *Binder) assign(dst reflect.Value, src any, as Mark, n *node) error {
	if src == nil && dst.CanSet() {
		b.null(dst)
		return nil
	}
	dst = b.reach(dst, as)
	switch src := src.(type) {
	case string:
		return b.text(dst, src)
	case int64:
		return number(dst, src)
	case float64:
		return double(dst, src)
	case bool:
		return boolean(dst, src)
	case map[string]any:
		if isRecord(dst) {
			return b.assignRecord(dst, src, nil, as, n)
		}
		if dst.Kind() == reflect.Map {
			return b.assignMap(dst, src, as)
		}
		if diff, ok := src["diff"].(string); ok && len(src) == 1 && dst.Kind() == reflect.String {
			dst.SetString(diff) // in Avro a diff is a text; over the Streaming API it is an object with this one field
			return nil
		}
	case []any:
		if dst.Kind() == reflect.Slice {
			return b.assignList(dst, src, as)
		}
	}
	return put(dst, src)
}

func (b *Binder) assignRecord(dst reflect.Value, src, enriched map[string]any, as Mark, n *node) error {
	has := func(name string) bool {
		if n != nil {
			return n.has(name)
		}
		_, ok := src[name]
		_, came := enriched[name]
		return ok || came
	}
	for _, field := range b.fields(dst.Type()) {
		if field.behind {
			continue
		}
		name := field.nameIn(has)
		value, ok := src[name]
		more, came := enriched[name]
		if !ok && !came {
			continue
		}
		into := dst.FieldByIndex(field.index)
		var err error
		switch {
		case ok && came:
			err = b.assignBoth(into, value, more, n.recordIn(name))
		case ok:
			err = b.assign(into, value, as, n.recordIn(name))
		default:
			err = b.assign(into, more, Enriched, n.recordIn(name))
		}
		if err != nil {
			return within(name, err)
		}
	}
	return nil
}

// assignBoth puts a compound field into dst of which a part (value) changed and the rest (more)
// came along.
func (b *Binder) assignBoth(dst reflect.Value, value, more any, n *node) error {
	part, ok := value.(map[string]any)
	rest, _ := more.(map[string]any)
	if !ok {
		return b.assign(dst, value, Set, n)
	}
	dst = b.reach(dst, Set)
	switch {
	case isRecord(dst):
		return b.assignRecord(dst, part, rest, Set, n)
	case dst.Kind() == reflect.Map:
		if err := b.assignMap(dst, part, Set); err != nil {
			return err
		}
		return b.assignMap(dst, rest, Enriched)
	}
	all := maps.Clone(rest)
	maps.Copy(all, part)
	return put(dst, all)
}

func (b *Binder) assignMap(dst reflect.Value, src map[string]any, as Mark) error {
	t := dst.Type()
	if t.Key().Kind() != reflect.String {
		return fmt.Errorf("cannot decode into %s: want string keys", t)
	}
	if dst.IsNil() {
		dst.Set(reflect.MakeMapWithSize(t, len(src)))
	}
	for name, value := range src {
		element := reflect.New(t.Elem()).Elem()
		if err := b.assign(element, value, as, nil); err != nil {
			return within(name, err)
		}
		dst.SetMapIndex(reflect.ValueOf(name).Convert(t.Key()), element)
	}
	return nil
}

func (b *Binder) assignList(dst reflect.Value, src []any, as Mark) error {
	list := reflect.MakeSlice(dst.Type(), len(src), len(src))
	for i, value := range src {
		if err := b.assign(list.Index(i), value, as, nil); err != nil {
			return within(strconv.Itoa(i), err)
		}
	}
	dst.Set(list)
	return nil
}

var (
	timeType     = reflect.TypeFor[time.Time]()
	durationType = reflect.TypeFor[time.Duration]()
)

// isRecord reports whether dst is a struct that takes the fields of a record.
func isRecord(dst reflect.Value) bool { return dst.Kind() == reflect.Struct && dst.Type() != timeType }

// reach returns the variable that a value for dst goes into. It follows pointers, allocates those
// that are nil, and marks optionals.
func (b *Binder) reach(dst reflect.Value, as Mark) reflect.Value {
	for range maxDepth { // type P *P has no end
		switch {
		case dst.Kind() == reflect.Pointer:
			if dst.IsNil() {
				dst.Set(reflect.New(dst.Type().Elem()))
			}
			dst = dst.Elem()
		case isRecord(dst):
			value, ok := b.Optional(dst, as)
			if !ok {
				return dst
			}
			dst = value
		default:
			return dst
		}
	}
	return dst
}

// isDirect reports whether reach has nothing to do for a variable of type t.
func (b *Binder) isDirect(t reflect.Type) bool {
	return t.Kind() != reflect.Pointer && b.reach(reflect.New(t).Elem(), Set).Type() == t
}

// The functions below put one kind of value into a variable that reach has returned. Both Assign
// and Bind use them.

func (b *Binder) null(dst reflect.Value) {
	if isRecord(dst) {
		if _, ok := b.Optional(dst, Null); ok {
			return
		}
	}
	dst.SetZero()
}

// text puts a text into dst. A list of strings gets the parts between semicolons, as in a
// multi-picklist, and a time.Time or an int64 gets the time, if the text is one.
func (b *Binder) text(dst reflect.Value, src string) error {
	switch dst.Kind() {
	case reflect.String:
		dst.SetString(src)
		return nil
	case reflect.Slice:
		if dst.Type().Elem().Kind() == reflect.String {
			list := []string{}
			if src != "" {
				list = strings.Split(src, ";")
			}
			setTexts(dst, list)
			return nil
		}
	case reflect.Int64, reflect.Struct:
		if t, ok := b.Time(src); ok && moment(dst, t) {
			return nil
		}
	}
	return put(dst, src)
}

// setTexts puts list into a slice of strings. dst may keep the memory of list.
func setTexts(dst reflect.Value, list []string) {
	if p, ok := dst.Addr().Interface().(*[]string); ok {
		*p = list
		return
	}
	dst.Set(reflect.MakeSlice(dst.Type(), len(list), len(list)))
	for i, text := range list {
		dst.Index(i).SetString(text)
	}
}

// moment puts a time into a time.Time, or as milliseconds into an int64. It returns false if dst is
// neither.
func moment(dst reflect.Value, t time.Time) bool {
	switch {
	case dst.Type() == timeType:
		*dst.Addr().Interface().(*time.Time) = t // reflect.ValueOf(t) would allocate
	case dst.Kind() == reflect.Int64 && dst.Type() != durationType: // a Duration counts nanoseconds
		dst.SetInt(t.UnixMilli())
	default:
		return false
	}
	return true
}

func number(dst reflect.Value, src int64) error {
	switch {
	case dst.CanInt():
		if dst.OverflowInt(src) {
			return fmt.Errorf("%d overflows %s", src, dst.Type())
		}
		dst.SetInt(src)
	case dst.CanUint():
		if src < 0 || dst.OverflowUint(uint64(src)) {
			return fmt.Errorf("%d overflows %s", src, dst.Type())
		}
		dst.SetUint(uint64(src))
	case dst.CanFloat():
		f := float64(src)
		if dst.Kind() == reflect.Float32 {
			f = float64(float32(src))
		}
		if f >= 1<<63 || int64(f) != src {
			return fmt.Errorf("%d is not exact in a %s", src, dst.Type())
		}
		dst.SetFloat(f)
	default:
		return put(dst, src)
	}
	return nil
}

func double(dst reflect.Value, src float64) error {
	switch {
	case dst.CanFloat():
		if dst.OverflowFloat(src) {
			return fmt.Errorf("%v overflows %s", src, dst.Type())
		}
		dst.SetFloat(src)
		return nil
	case (dst.CanInt() || dst.CanUint()) && src == math.Trunc(src) && math.Abs(src) <= 1<<53:
		return number(dst, int64(src)) // Salesforce's Number is a double even without decimals
	}
	return put(dst, src)
}

func boolean(dst reflect.Value, src bool) error {
	if dst.Kind() == reflect.Bool {
		dst.SetBool(src)
		return nil
	}
	return put(dst, src)
}

// put puts a value without a conversion; mostly dst is an any.
func put(dst reflect.Value, src any) error {
	if v := reflect.ValueOf(src); v.IsValid() && dst.CanSet() && v.Type().AssignableTo(dst.Type()) {
		dst.Set(v)
		return nil
	}
	switch src := src.(type) {
	case nil:
		return fmt.Errorf("cannot put null into a Go %s", dst.Type())
	case string:
		return fmt.Errorf("cannot put the text %.40q into a Go %s", src, dst.Type())
	case int64, float64, bool:
		return fmt.Errorf("cannot put %v into a Go %s", src, dst.Type())
	}
	return fmt.Errorf("cannot put a %T into a Go %s", src, dst.Type())
}
