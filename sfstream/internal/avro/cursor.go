package avro

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
)

var (
	errTruncated = errors.New("the payload ends early")
	errVarint    = errors.New("an integer is longer than 64 bits")
	errInt       = errors.New("an int is outside 32 bits")
	errLength    = errors.New("a length is negative")
	errBoolean   = errors.New("a boolean is neither 0 nor 1")
	errUnion     = errors.New("the union has no such branch")
	errEnum      = errors.New("the enum has no such symbol")
	errBlock     = errors.New("a block differs from its size")
	errDepth     = errors.New("the values are nested too deep")
	errEmpty     = errors.New("there are too many values without bytes")
	errTrailing  = errors.New("there are bytes after the record")
	errKind      = errors.New("the schema has a type that is not known")
)

const (
	// maxDepth bounds the recursion, because a schema may contain itself. Salesforce nests records
	// three deep.
	maxDepth = 64
	// maxEmpty bounds the number of values that take no bytes (null outside a union, fixed of size
	// 0, records of only these): ten bytes of a payload can announce 2^63 of them. The length of
	// the payload bounds all others. Salesforce sends none.
	maxEmpty = 1 << 16
)

// cursor reads Avro's primitives from buf. Its errors are package variables, so that reading
// allocates nothing.
type cursor struct {
	buf   []byte
	pos   int
	depth int
	empty int // how many values without bytes it has met
}

func (c *cursor) rest() int { return len(c.buf) - c.pos }

func (c *cursor) long() (int64, error) {
	if c.pos < len(c.buf) && c.buf[c.pos] < 0x80 {
		u := c.buf[c.pos]
		c.pos++
		return int64(u>>1) ^ -int64(u&1), nil
	}
	// binary.Varint decodes zigzag, as Avro's long wants.
	v, n := binary.Varint(c.buf[c.pos:])
	if n == 0 {
		return 0, errTruncated
	}
	if n < 0 {
		return 0, errVarint
	}
	c.pos += n
	return v, nil
}

func (c *cursor) int() (int64, error) {
	v, err := c.long()
	if err == nil && v != int64(int32(v)) {
		err = errInt
	}
	return v, err
}

func (c *cursor) boolean() (bool, error) {
	if c.rest() < 1 {
		return false, errTruncated
	}
	b := c.buf[c.pos]
	if b > 1 {
		return false, errBoolean
	}
	c.pos++
	return b == 1, nil
}

func (c *cursor) float() (float64, error) {
	at, err := c.take(4)
	if err != nil {
		return 0, err
	}
	return float64(math.Float32frombits(binary.LittleEndian.Uint32(c.buf[at:]))), nil
}

func (c *cursor) double() (float64, error) {
	at, err := c.take(8)
	if err != nil {
		return 0, err
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(c.buf[at:])), nil
}

// take steps over n bytes and returns where they begin.
func (c *cursor) take(n int) (int, error) {
	if n > c.rest() {
		return 0, errTruncated
	}
	c.pos += n
	return c.pos - n, nil
}

// span steps over a length and that many bytes and returns where the bytes begin; they end at
// c.pos.
func (c *cursor) span() (int, error) {
	n, err := c.size()
	c.pos += n // size has checked that the payload has n bytes more
	return c.pos - n, err
}

// size reads a length that the rest of the payload can hold.
func (c *cursor) size() (int, error) {
	n, err := c.long()
	if err != nil {
		return 0, err
	}
	if n < 0 {
		return 0, errLength
	}
	if n > int64(c.rest()) {
		return 0, errTruncated
	}
	return int(n), nil
}

// index reads the number of a union's branch or an enum's symbol. It returns the error bad if that
// is not below n.
func (c *cursor) index(n int, bad error) (int, error) {
	i, err := c.long()
	if err != nil {
		return 0, err
	}
	if i < 0 || i >= int64(n) {
		return 0, bad
	}
	return int(i), nil
}

// block reads the head of a block of an array or a map: how many items it has, and the offset at
// which it must end, or -1 if the block does not say. A block of 0 items is the end of the array.
// Callers must not allocate by the count, which a hostile payload can make as large as it likes.
func (c *cursor) block() (items int64, end int, err error) {
	items, err = c.long()
	if err != nil || items >= 0 {
		return items, -1, err
	}
	if items == math.MinInt64 {
		return 0, 0, errLength // -items would overflow
	}
	size, err := c.size()
	return -items, c.pos + size, err
}

// texts reads an array of strings. It calls each with the offset at which a string begins; the
// string ends at c.pos.
func (c *cursor) texts(each func(at int)) error {
	for {
		items, end, err := c.block()
		if err != nil || items == 0 {
			return err
		}
		for ; items > 0; items-- {
			at, err := c.span()
			if err != nil {
				return err
			}
			each(at)
		}
		if end >= 0 && c.pos != end {
			return errBlock
		}
	}
}

// nulls steps over zero bytes, at most most of them, and returns how many it has passed. A zero
// byte is a union of its first branch; if that is null, nothing more belongs to the union, so that
// each byte is one null field.
func (c *cursor) nulls(most int) int {
	n := 0
	for buf := c.buf[c.pos:]; n < most; {
		if len(buf)-n >= 8 {
			zeros := bits.TrailingZeros64(binary.LittleEndian.Uint64(buf[n:])) / 8
			if n += zeros; zeros < 8 {
				break
			}
		} else if n < len(buf) && buf[n] == 0 {
			n++
		} else {
			break
		}
	}
	n = min(n, most)
	c.pos += n
	return n
}

// nothing counts a value that takes no bytes against maxEmpty.
func (c *cursor) nothing() error {
	if c.empty++; c.empty > maxEmpty {
		return errEmpty
	}
	return nil
}

// enter counts one more level of nesting against maxDepth. The caller leaves the level with
// c.depth--.
func (c *cursor) enter() error {
	if c.depth++; c.depth > maxDepth {
		return errDepth
	}
	return nil
}
