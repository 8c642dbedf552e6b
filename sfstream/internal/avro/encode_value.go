package avro

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

var (
	errUnknown  = errors.New("the schema has no such field")
	errNotUTF8  = errors.New("the text is not UTF-8")
	errNoNumber = errors.New("it is not a number that an event can have")
)

var numberType = reflect.TypeFor[json.Number]()

func appendLong(dst []byte, v int64) []byte {
	u := uint64(v)<<1 ^ uint64(v>>63)
	if u < 0x80 {
		return append(dst, byte(u))
	}
	return binary.AppendUvarint(dst, u)
}

func appendString(dst []byte, text string) ([]byte, error) {
	if !isUTF8(text) {
		return dst, errNotUTF8
	}
	return append(appendLong(dst, int64(len(text))), text...), nil
}

// isUTF8 is utf8.ValidString, which takes twice the time for the short ASCII texts that most are:
// this reads eight or four bytes at once, the last of them twice.
func isUTF8(text string) bool {
	const high = 0x8080808080808080
	ascii, n := true, len(text)
	switch {
	case n >= 8:
		all := eight(text[n-8:])
		for rest := text; len(rest) > 8; rest = rest[8:] {
			all |= eight(rest)
		}
		ascii = all&high == 0
	case n >= 4:
		ascii = (four(text)|four(text[n-4:]))&(high>>32) == 0
	case n > 0:
		ascii = (text[0]|text[n/2]|text[n-1])&0x80 == 0
	}
	return ascii || utf8.ValidString(text)
}

// eight is the first eight bytes of a text. The compiler makes one load of it, as of four.
func eight(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

func four(s string) uint32 {
	_ = s[3]
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}

// appendTexts encodes what becomes a text without being one: a time, or a list of texts.
func appendTexts(dst []byte, v reflect.Value) ([]byte, error) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() != timeType {
			break
		}
		t := timeOf(v)
		if ms := t.UnixMilli(); writable(ms) {
			var text [len(dateTime)]byte
			return appendString(dst, string(appendTime(text[:0], ms, dateTime)))
		}
	case reflect.Slice, reflect.Array:
		var list strings.Builder
		for i := range v.Len() {
			element := v.Index(i)
			if element.Kind() == reflect.Interface {
				element = element.Elem()
			}
			if element.Kind() != reflect.String || element.Type() == numberType {
				return dst, misfit(v, "a text")
			}
			if i > 0 {
				list.WriteByte(';')
			}
			text := element.String()
			if strings.Contains(text, ";") {
				return dst, fmt.Errorf("%.40q has a semicolon, which separates the values of a multi-picklist", text)
			}
			list.WriteString(text)
		}
		return appendString(dst, list.String())
	}
	return dst, misfit(v, "a text")
}

// integer returns a number that is whole and has so many bits.
func integer(v reflect.Value, bits int) (i int64, err error) {
	switch {
	case v.CanInt():
		i = v.Int()
	case v.CanUint():
		if v.Uint() > math.MaxInt64 {
			return 0, fmt.Errorf("%d overflows a long", v.Uint())
		}
		i = int64(v.Uint())
	case v.CanFloat():
		if i, err = whole(v.Float()); err != nil {
			return 0, err
		}
	case v.Kind() == reflect.String && v.Type() == numberType:
		if i, err = strconv.ParseInt(v.String(), 10, 64); err != nil {
			f, err := decimal(v.String(), 64)
			if err != nil {
				return 0, err
			}
			if i, err = whole(f); err != nil {
				return 0, err
			}
		}
	default:
		return 0, misfit(v, "a whole number")
	}
	if bits == 32 && i != int64(int32(i)) {
		return 0, fmt.Errorf("%d overflows an int of 32 bits", i)
	}
	return i, nil
}

func whole(f float64) (int64, error) {
	if f != math.Trunc(f) || math.IsInf(f, 0) {
		return 0, fmt.Errorf("%v is not a whole number", f)
	}
	if f < -1<<63 || f >= 1<<63 {
		return 0, fmt.Errorf("%v overflows a long", f)
	}
	return int64(f), nil
}

// decimal returns the number that a text spells. It is an error if the text has digits that a float
// of so many bits loses.
func decimal(text string, bits int) (float64, error) {
	f, err := strconv.ParseFloat(text, bits)
	if err != nil {
		return 0, fmt.Errorf("%.40q is not a number, or too large a one", text)
	}
	if digits := significant(text); len(digits) > 6 && digits != significant(strconv.FormatFloat(f, 'e', -1, bits)) {
		return 0, fmt.Errorf("%s is not exact in a number of %d bits", text, bits)
	}
	return f, nil
}

// significant returns the digits of a number without its sign, exponent, point and the zeros at
// both ends.
func significant(text string) string {
	if at := strings.IndexAny(text, "eE"); at >= 0 {
		text = text[:at]
	}
	return strings.Trim(strings.Replace(strings.TrimLeft(text, "+-"), ".", "", 1), "0")
}

// float returns a number that a float of so many bits holds exactly.
func float(v reflect.Value, bits int) (f float64, err error) {
	exact := true
	switch {
	case v.CanFloat():
		f = v.Float()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return 0, fmt.Errorf("%v: %w", f, errNoNumber)
		}
	case v.CanInt():
		f = float64(v.Int())
		exact = f < 1<<63 && int64(f) == v.Int()
	case v.CanUint():
		f = float64(v.Uint())
		exact = f < 1<<64 && uint64(f) == v.Uint()
	case v.Kind() == reflect.String && v.Type() == numberType:
		return decimal(v.String(), bits)
	default:
		return 0, misfit(v, "a number")
	}
	if bits == 32 && float64(float32(f)) != f {
		exact = false
	}
	if !exact {
		return 0, fmt.Errorf("%v is not exact in a number of %d bits", v, bits)
	}
	return f, nil
}

func appendDouble(dst []byte, v reflect.Value) ([]byte, error) {
	f, err := float(v, 64)
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(f)), err
}

func appendFloat(dst []byte, v reflect.Value) ([]byte, error) {
	f, err := float(v, 32)
	return binary.LittleEndian.AppendUint32(dst, math.Float32bits(float32(f))), err
}

func appendBoolean(dst []byte, v reflect.Value) ([]byte, error) {
	switch {
	case v.Kind() != reflect.Bool:
		return dst, misfit(v, "a boolean")
	case v.Bool():
		return append(dst, 1), nil
	}
	return append(dst, 0), nil
}

func appendSymbol(dst []byte, n *node, v reflect.Value) ([]byte, error) {
	if v.Kind() != reflect.String || v.Type() == numberType {
		return dst, misfit(v, "an enum")
	}
	i := slices.Index(n.symbols, any(v.String()))
	if i < 0 {
		return dst, fmt.Errorf("%.40q is none of the enum's symbols %v", v.String(), n.symbols)
	}
	return appendLong(dst, int64(i)), nil
}

func appendBytes(dst []byte, n *node, v reflect.Value) ([]byte, error) {
	if v.Kind() != reflect.Slice && v.Kind() != reflect.Array || v.Type().Elem().Kind() != reflect.Uint8 {
		return dst, misfit(v, "bytes")
	}
	if n.kind == kindBytes {
		dst = appendLong(dst, int64(v.Len()))
	} else if v.Len() != n.size {
		return dst, fmt.Errorf("it has %d bytes, and %d are wanted", v.Len(), n.size)
	}
	if v.Kind() == reflect.Slice || v.CanAddr() {
		return append(dst, v.Bytes()...), nil
	}
	for i := range v.Len() {
		dst = append(dst, byte(v.Index(i).Uint()))
	}
	return dst, nil
}

// misfit says that a value cannot be encoded as what the schema has.
func misfit(v reflect.Value, want string) error {
	return fmt.Errorf("%s is not %s", describe(v), want)
}

func describe(v reflect.Value) string {
	switch {
	case !v.IsValid():
		return "nil"
	case v.Kind() == reflect.String && v.Type() == numberType:
		return "the number " + v.String()
	case v.Kind() == reflect.String:
		return fmt.Sprintf("the text %.40q", v.String())
	case v.Kind() == reflect.Bool, v.CanInt(), v.CanUint(), v.CanFloat():
		return fmt.Sprint(v)
	}
	return "a Go " + v.Type().String()
}
