package replaystore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Entry is the value of a key of a [Register]: who has the key, and how far its channel is handled.
type Entry struct {
	// Owner names the process that has the key. Empty: nobody has, who wants it may take it.
	Owner string

	// Incarnation tells the leaderships of one owner apart. A released key keeps that of its last
	// owner.
	Incarnation string

	// Lease is how long a key belongs to its owner without another put. It is 0 with [FromRegister],
	// where whoever takes the key has it.
	Lease time.Duration

	// Counter is greater in each value than in the one before, under all owners.
	Counter uint64

	// Marker is the place up to which all is handled. Its zero value says that there is none yet.
	Marker Marker
}

// An entry as bytes, all numbers big-endian:
//
//	version      1 byte   1
//	Counter      8 bytes
//	Lease        8 bytes  nanoseconds, not negative
//	Owner        2 bytes  its length, and then itself
//	Incarnation  2 bytes  likewise
//	Marker       the rest, as Marker.MarshalBinary has it
//
// Each entry has exactly one encoding and each encoding one entry.
const (
	entryVersion = 1
	entryFixed   = 1 + 8 + 8

	maxValue = 64 << 10 // what a Register takes
)

var errEntry = errors.New("damaged entry")

// MarshalBinary encodes the entry with a version, as the value of a [Register]. It fails if that
// would be more than 64 KiB.
func (e Entry) MarshalBinary() ([]byte, error) {
	return e.AppendBinary(make([]byte, 0, entryFixed+4+len(e.Owner)+len(e.Incarnation)+100))
}

// AppendBinary appends the encoding of MarshalBinary to b.
func (e Entry) AppendBinary(b []byte) ([]byte, error) {
	start := len(b)
	if e.Lease < 0 {
		return nil, fmt.Errorf("the lease of an entry is %v, it must not be negative", e.Lease)
	}
	if n := max(len(e.Owner), len(e.Incarnation)); n > 1<<16-1 {
		return nil, fmt.Errorf("an owner of %d bytes is too long for an entry", n)
	}
	b = append(b, entryVersion)
	b = binary.BigEndian.AppendUint64(b, e.Counter)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Lease))
	for _, s := range []string{e.Owner, e.Incarnation} {
		b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
		b = append(b, s...)
	}
	b, err := e.Marker.AppendBinary(b)
	if err != nil {
		return nil, err
	}
	if n := len(b) - start; n > maxValue {
		return nil, fmt.Errorf("an entry of %d bytes is too large: a register takes %d", n, maxValue)
	}
	return b, nil
}

// UnmarshalBinary decodes what MarshalBinary wrote and retains nothing of data. If data is damaged,
// or has a version that this release does not know, UnmarshalBinary fails and does not change e.
func (e *Entry) UnmarshalBinary(data []byte) error {
	if len(data) > 0 && data[0] != entryVersion {
		return fmt.Errorf("entry of version %d, this release reads version %d: written by a newer one?", data[0], entryVersion)
	}
	if len(data) < entryFixed || len(data) > maxValue {
		return fmt.Errorf("%w: it has %d bytes", errEntry, len(data))
	}
	decoded := Entry{
		Counter: binary.BigEndian.Uint64(data[1:]),
		Lease:   time.Duration(binary.BigEndian.Uint64(data[9:])),
	}
	if decoded.Lease < 0 {
		return fmt.Errorf("%w: its lease is negative", errEntry)
	}
	rest := data[entryFixed:]
	for _, s := range []*string{&decoded.Owner, &decoded.Incarnation} {
		if len(rest) < 2 || len(rest) < 2+int(binary.BigEndian.Uint16(rest)) {
			return fmt.Errorf("%w: its owner is cut off", errEntry)
		}
		n := 2 + int(binary.BigEndian.Uint16(rest))
		*s, rest = string(rest[2:n]), rest[n:]
	}
	if err := decoded.Marker.UnmarshalBinary(rest); err != nil {
		return err
	}
	*e = decoded
	return nil
}
