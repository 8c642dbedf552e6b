// Package jsonscan finds its way in JSON text without decoding it. What it finds are parts of the
// text.
package jsonscan

import (
	"bytes"
	"encoding/json"
)

// Fields walks the members of a JSON object without decoding their values:
//
//	for f := jsonscan.NewFields(text); f.Next(); {
//		f.Key, f.Value
//	}
//
// It ends early where the text is not JSON.
type Fields struct {
	Key   []byte // as it stands between the quotes
	Value []byte // as it stands, without the space around it
	text  []byte
	pos   int
}

// NewFields walks the object that text is. Of anything else there are none.
func NewFields(text []byte) Fields {
	f := Fields{text: text, pos: Space(text, 0)}
	if f.pos >= len(text) || text[f.pos] != '{' {
		f.pos = len(text)
		return f
	}
	f.pos++
	return f
}

// Next moves to the next member. It reports whether there is one.
func (f *Fields) Next() bool {
	i := f.nextKey()
	if i < 0 {
		return false
	}
	end := valueEnd(f.text, i)
	if end < 0 {
		return false
	}
	f.Value, f.pos = f.text[i:end], end
	return true
}

// nextKey reads the key of the next member and returns where its value begins, or -1.
func (f *Fields) nextKey() int {
	t := f.text
	i := Space(t, f.pos)
	if i < len(t) && t[i] == ',' {
		i = Space(t, i+1)
	}
	if i >= len(t) || t[i] != '"' {
		return -1
	}
	end := stringEnd(t, i+1)
	if end < 0 {
		return -1
	}
	f.Key = t[i+1 : end-1]
	i = Space(t, end)
	if i >= len(t) || t[i] != ':' {
		return -1
	}
	return Space(t, i+1)
}

// Inside walks the object that is the value of a member of the object that text is, without looking
// for its end first. Where there is none, it has no members.
func Inside(text []byte, name string) Fields {
	f := NewFields(text)
	for {
		i := f.nextKey()
		if i < 0 {
			return Fields{}
		}
		if string(f.Key) == name {
			return NewFields(text[i:])
		}
		if f.pos = valueEnd(text, i); f.pos < 0 {
			return Fields{}
		}
	}
}

// Inside is Inside for the object that is walked, none of whose members was read yet.
func (f Fields) Inside(name string) Fields { return Inside(f.text, name) }

// Closed reports whether the walk has ended where the object does.
func (f *Fields) Closed() bool {
	i := Space(f.text, f.pos)
	return i < len(f.text) && f.text[i] == '}'
}

// Space returns the index of the first byte from i on that is no white space.
func Space(t []byte, i int) int {
	for i < len(t) && (t[i] == ' ' || t[i] == '\n' || t[i] == '\t' || t[i] == '\r') {
		i++
	}
	return i
}

// stringEnd returns the index after the quote that ends the string whose first byte is at i, or -1.
func stringEnd(t []byte, i int) int {
	for {
		n := bytes.IndexByte(t[i:], '"')
		if n < 0 {
			return -1
		}
		i += n + 1
		escapes := 0
		for j := i - 2; j >= 0 && t[j] == '\\'; j-- {
			escapes++
		}
		if escapes%2 == 0 {
			return i
		}
	}
}

// valueEnd returns the index after the value that begins at i, or -1.
func valueEnd(t []byte, i int) int {
	if i >= len(t) {
		return -1
	}
	switch t[i] {
	case '"':
		return stringEnd(t, i+1)
	case '{', '[':
		var b Border
		return b.Find(t, i)
	}
	start := i
	for i < len(t) {
		switch t[i] {
		case ',', '}', ']', ' ', '\n', '\t', '\r', '"', '{', '[', ':':
			if i == start {
				return -1
			}
			return i
		}
		i++
	}
	if i == start {
		return -1
	}
	return i
}

// A Border looks for the end of an object or an array in text that may not all be there yet. The
// zero value is ready to start at its first byte.
type Border struct {
	depth    int
	inString bool
	escaped  bool // inString: the last byte seen was an unescaped backslash
}

// structural are the bytes at which Find must look.
var structural = [256]bool{'"': true, '{': true, '}': true, '[': true, ']': true}

// Find goes on at i. It returns the index after the end, or -1 where the text ends before.
func (b *Border) Find(t []byte, i int) int {
	for i < len(t) {
		if b.inString {
			if b.escaped {
				b.escaped = false
				i++
				continue
			}
			n := bytes.IndexByte(t[i:], '"')
			stop := len(t)
			if n >= 0 {
				stop = i + n
			}
			if esc := bytes.IndexByte(t[i:stop], '\\'); esc >= 0 {
				b.escaped = true
				i += esc + 1
				continue
			}
			if n < 0 {
				return -1
			}
			b.inString = false
			i = stop + 1
			continue
		}
		c := t[i]
		i++
		if !structural[c] {
			continue
		}
		switch c {
		case '"':
			b.inString = true
		case '{', '[':
			b.depth++
		default:
			if b.depth--; b.depth == 0 {
				return i
			}
		}
	}
	return -1
}

// Text returns the text of a JSON string, and any other value as it stands.
func Text(value []byte) string {
	if len(value) < 2 || value[0] != '"' {
		return string(value)
	}
	inner := value[1 : len(value)-1]
	for _, c := range inner {
		if c == '\\' || c >= 0x80 {
			var s string
			if json.Unmarshal(value, &s) != nil {
				break
			}
			return s
		}
	}
	return string(inner)
}
