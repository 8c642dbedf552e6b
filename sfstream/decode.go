package sfstream

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"sync"
	"time"
)

// Decode returns the payload as a T; see Message.Decode.
func Decode[T any](m *Message) (T, error) {
	var v T
	err := m.Decode(&v)
	return v, err
}

// Decode stores the payload in v: a pointer to a struct, to a map[string]any or
// to an any, or such a map itself. A struct's fields are matched by the tag
// `sf:"Name"`, else by their own name; `sf:"-"` and unexported ones are left
// alone, as are fields that the event does not carry: of a change event, those
// that did not change. null sets the zero value. A DateTime, a date and a time of
// day go into a time.Time, a string or an int64 (milliseconds). A generic event
// is its text, for a string or an any.
//
// The error is a *DecodeError that names the field. Decode does no I/O.
func (m *Message) Decode(v any) error {
	dst := reflect.ValueOf(v)
	isMap := dst.Kind() == reflect.Map && !dst.IsNil()
	if !isMap && (dst.Kind() != reflect.Pointer || dst.IsNil()) {
		return m.decodeError("", fmt.Errorf("cannot decode into %T: want a non-nil pointer", v))
	}
	if !isMap {
		dst = dst.Elem()
	}
	value, err := m.value()
	if err != nil {
		return err
	}
	p := plans{new(sync.Map)}
	if c := m.client(); c != nil {
		p = c.plans
	}
	if fields, ok := value.(map[string]any); ok && isMap {
		err = p.assignMap(dst, fields)
	} else {
		err = p.assign(dst, value)
	}
	if err != nil {
		var at *fieldError
		if errors.As(err, &at) {
			return m.decodeError(strings.Join(at.path, "."), at.err)
		}
		return m.decodeError("", err)
	}
	return nil
}

// fieldError is a value that does not fit, with the path to it.
type fieldError struct {
	path []string
	err  error
}

func (e *fieldError) Error() string { return strings.Join(e.path, ".") + ": " + e.err.Error() }
func (e *fieldError) Unwrap() error { return e.err }

// at puts a name before the path of an error.
func at(name string, err error) error {
	var inner *fieldError
	if errors.As(err, &inner) {
		inner.path = append([]string{name}, inner.path...)
		return inner
	}
	return &fieldError{path: []string{name}, err: err}
}

var timeType = reflect.TypeFor[time.Time]()

// assign stores a decoded value where Go's types allow it without loss.
func (p plans) assign(dst reflect.Value, src any) error {
	if src == nil {
		dst.SetZero()
		return nil
	}
	if dst.Kind() == reflect.Pointer {
		if dst.IsNil() {
			dst.Set(reflect.New(dst.Type().Elem()))
		}
		return p.assign(dst.Elem(), src)
	}
	if dst.Kind() == reflect.Interface && reflect.TypeOf(src).Implements(dst.Type()) {
		dst.Set(reflect.ValueOf(src))
		return nil
	}
	switch src := src.(type) {
	case map[string]any:
		switch dst.Kind() {
		case reflect.Struct:
			return p.assignStruct(dst, src)
		case reflect.Map:
			if dst.IsNil() {
				dst.Set(reflect.MakeMapWithSize(dst.Type(), len(src)))
			}
			return p.assignMap(dst, src)
		}
	case []any:
		if dst.Kind() == reflect.Slice {
			return p.assignSlice(dst, src)
		}
	case int64:
		return assignInt(dst, src)
	case float64:
		if src == math.Trunc(src) && math.Abs(src) <= 1<<53 && (dst.CanInt() || dst.CanUint()) {
			return assignInt(dst, int64(src)) // Salesforce's Number is a double even without decimals
		}
		if dst.Kind() == reflect.Float64 || dst.Kind() == reflect.Float32 {
			if dst.OverflowFloat(src) {
				return fmt.Errorf("%v overflows %s", src, dst.Type())
			}
			dst.SetFloat(src)
			return nil
		}
	case string:
		return assignText(dst, src)
	case bool:
		if dst.Kind() == reflect.Bool {
			dst.SetBool(src)
			return nil
		}
	}
	if value := reflect.ValueOf(src); value.Type().AssignableTo(dst.Type()) {
		dst.Set(value)
		return nil
	}
	return fmt.Errorf("cannot put a %T into a Go %s", src, dst.Type())
}

// assignText stores a text: as it is, or, where it is a DateTime, a date or a
// time of day, as a time or its milliseconds.
func assignText(dst reflect.Value, src string) error {
	if dst.Kind() == reflect.String {
		dst.SetString(src)
		return nil
	}
	if dst.Type() == timeType || dst.Kind() == reflect.Int64 {
		if t, ok := parseTime(src); ok {
			if dst.Type() == timeType {
				dst.Set(reflect.ValueOf(t))
			} else {
				dst.SetInt(t.UnixMilli())
			}
			return nil
		}
	}
	return fmt.Errorf("cannot put the text %.40q into a Go %s", src, dst.Type())
}

// parseTime reads what Fields gives for times. A time of day is one of 1970-01-01.
func parseTime(s string) (time.Time, bool) {
	if t, ok := parseDateTime(s); ok {
		return t, true
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t, true
	}
	if t, err := time.Parse("15:04:05.000Z", s); err == nil {
		return t.AddDate(1970, 0, 0), true
	}
	return time.Time{}, false
}

func assignInt(dst reflect.Value, src int64) error {
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
		if src > 1<<53 || src < -1<<53 || dst.Kind() == reflect.Float32 && math.Abs(float64(src)) > 1<<24 {
			return fmt.Errorf("%d is not exact in a %s", src, dst.Type())
		}
		dst.SetFloat(float64(src))
	default:
		return fmt.Errorf("cannot put a number into a Go %s", dst.Type())
	}
	return nil
}

func (p plans) assignMap(dst reflect.Value, src map[string]any) error {
	if dst.Type().Key().Kind() != reflect.String {
		return fmt.Errorf("cannot decode into %s: want string keys", dst.Type())
	}
	for name, value := range src {
		element := reflect.New(dst.Type().Elem()).Elem()
		if err := p.assign(element, value); err != nil {
			return at(name, err)
		}
		dst.SetMapIndex(reflect.ValueOf(name).Convert(dst.Type().Key()), element)
	}
	return nil
}

func (p plans) assignSlice(dst reflect.Value, src []any) error {
	slice := reflect.MakeSlice(dst.Type(), len(src), len(src))
	for i, value := range src {
		if err := p.assign(slice.Index(i), value); err != nil {
			return at(fmt.Sprint(i), err)
		}
	}
	dst.Set(slice)
	return nil
}

func (p plans) assignStruct(dst reflect.Value, src map[string]any) error {
	for _, field := range p.of(dst.Type()) {
		value, ok := src[field.name]
		if !ok {
			continue
		}
		if err := p.assign(dst.FieldByIndex(field.index), value); err != nil {
			return at(field.name, err)
		}
	}
	return nil
}

// plans are the fields of the Go types that a client decodes into. It grows with
// the program's types only; reflection takes as long as decoding.
type plans struct{ byType *sync.Map } // reflect.Type → []planned

type planned struct {
	name  string // at Salesforce
	index []int
}

func (p plans) of(t reflect.Type) []planned {
	if known, ok := p.byType.Load(t); ok {
		return known.([]planned)
	}
	var fields []planned
	for _, field := range reflect.VisibleFields(t) {
		name, tagged := field.Tag.Lookup("sf")
		if !tagged {
			name = field.Name
		}
		if field.IsExported() && !field.Anonymous && name != "-" && !throughPointer(t, field.Index) {
			fields = append(fields, planned{name, field.Index})
		}
	}
	p.byType.Store(t, fields)
	return fields
}

// throughPointer reports whether a promoted field lies behind an embedded
// pointer, which may be nil.
func throughPointer(t reflect.Type, index []int) bool {
	for _, i := range index[:len(index)-1] {
		if t = t.Field(i).Type; t.Kind() == reflect.Pointer {
			return true
		}
	}
	return false
}
