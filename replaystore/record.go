package replaystore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// A marker as bytes, all numbers big-endian:
//
//	version   1 byte    1, or 2 where Followed or a group is present
//	present   1 byte    bit 0: Date follows, bit 1: Live, bit 2: Followed, bit 3: a group; the others are 0
//	Date      12 bytes  where present: int64 seconds since 1970 UTC, uint32 nanoseconds below 1e9
//	Live      12 bytes  likewise
//	Followed  12 bytes  likewise
//	group               where present:
//	  dated   1 byte    1 if Date follows, else 0
//	  Date    12 bytes  likewise
//	  id      2 bytes   the length of its ReplayID, which follows and is not empty
//	  handled 2 bytes   the number of names in Handled, which follow with 8 bytes each
//	ReplayID  the rest
//
// Zero times are left out, because their seconds mean nothing to other readers. Each marker has
// exactly one encoding and each encoding one marker. A marker without Followed and Group is written
// in version 1, so that releases which know only that can read it. Seconds and nanoseconds are
// apart because an int64 of nanoseconds ends in 2262, and dates such as 9999-12-31 are in use.
const (
	recordVersion      = 1
	recordVersionGroup = 2

	hasDate     = 1 << 0
	hasLive     = 1 << 1
	hasFollowed = 1 << 2
	hasGroup    = 1 << 3

	timeSize = 8 + 4
)

var errRecord = errors.New("damaged marker")

// AppendBinary appends the encoding of MarshalBinary to b. It fails if the group is too large.
func (m Marker) AppendBinary(b []byte) ([]byte, error) {
	version, present := byte(recordVersion), byte(0)
	for i, t := range []time.Time{m.Date, m.Live, m.Followed} {
		if !t.IsZero() {
			present |= 1 << i
		}
	}
	if len(m.Group.ReplayID) > 0 {
		present |= hasGroup
	}
	if present&(hasFollowed|hasGroup) != 0 {
		version = recordVersionGroup
	}
	b = append(b, version, present)
	b = appendTime(b, m.Date)
	b = appendTime(b, m.Live)
	b = appendTime(b, m.Followed)
	if present&hasGroup != 0 {
		var err error
		if b, err = m.Group.append(b); err != nil {
			return nil, err
		}
	}
	return append(b, m.ReplayID...), nil
}

func (g Group) append(b []byte) ([]byte, error) {
	if len(g.Handled) > MaxHandled || len(g.ReplayID) > 1<<16-1 {
		return nil, fmt.Errorf("a group of %d handled events, with a replay id of %d bytes, is too large for a marker", len(g.Handled), len(g.ReplayID))
	}
	if g.Date.IsZero() {
		b = append(b, 0)
	} else {
		b = appendTime(append(b, 1), g.Date)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(g.ReplayID)))
	b = append(b, g.ReplayID...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(g.Handled)))
	for _, h := range g.Handled {
		b = binary.BigEndian.AppendUint64(b, h)
	}
	return b, nil
}

// MarshalBinary encodes the marker compactly and with a version, for stores that keep bytes. It
// takes 2 bytes, 12 for each time that is not zero, the ReplayID, and for a group some 20 and 8 for
// each handled event. Equal markers have equal encodings. It fails if the group is too large.
func (m Marker) MarshalBinary() ([]byte, error) {
	return m.AppendBinary(make([]byte, 0, 2+4*timeSize+len(m.ReplayID)+len(m.Group.ReplayID)+8*len(m.Group.Handled)+5))
}

// UnmarshalBinary decodes what MarshalBinary wrote and retains nothing of data. Times come back in
// UTC and exact to the nanosecond, an empty ReplayID as nil. If data is damaged, or has a version
// that this release does not know, UnmarshalBinary fails and does not change m.
func (m *Marker) UnmarshalBinary(data []byte) error {
	if len(data) == 0 {
		return fmt.Errorf("%w: it is empty", errRecord)
	}
	allowed := byte(hasDate | hasLive)
	switch v := data[0]; v {
	case recordVersion:
	case recordVersionGroup:
		allowed |= hasFollowed | hasGroup
	default:
		return fmt.Errorf("marker of version %d, this release reads versions %d and %d: written by a newer one?", v, recordVersion, recordVersionGroup)
	}
	if len(data) < 2 || data[1]&^allowed != 0 || data[0] == recordVersionGroup && data[1]&(hasFollowed|hasGroup) == 0 {
		return fmt.Errorf("%w: % x", errRecord, data[:min(len(data), 100)])
	}

	var decoded Marker
	present, rest := data[1], data[2:]
	var err error
	for i, t := range []*time.Time{&decoded.Date, &decoded.Live, &decoded.Followed} {
		if present&(1<<i) != 0 {
			if *t, rest, err = cutTime(rest); err != nil {
				return err
			}
		}
	}
	if present&hasGroup != 0 {
		if decoded.Group, rest, err = cutGroup(rest); err != nil {
			return err
		}
	}
	if len(rest) > 0 {
		decoded.ReplayID = bytes.Clone(rest)
	}
	*m = decoded
	return nil
}

func cutGroup(b []byte) (g Group, rest []byte, err error) {
	cut := fmt.Errorf("%w: a group is cut off", errRecord)
	if len(b) == 0 || b[0] > 1 {
		return g, nil, cut
	}
	dated, b := b[0] == 1, b[1:]
	if dated {
		if g.Date, b, err = cutTime(b); err != nil {
			return g, nil, err
		}
	}
	if len(b) < 2 {
		return g, nil, cut
	}
	n, b := int(binary.BigEndian.Uint16(b)), b[2:]
	if n == 0 || len(b) < n+2 {
		return g, nil, cut
	}
	g.ReplayID, b = bytes.Clone(b[:n]), b[n:]
	n, b = int(binary.BigEndian.Uint16(b)), b[2:]
	if n > MaxHandled || len(b) < 8*n {
		return g, nil, cut
	}
	for i := range n {
		g.Handled = append(g.Handled, binary.BigEndian.Uint64(b[8*i:]))
	}
	return g, b[8*n:], nil
}

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	b = binary.BigEndian.AppendUint64(b, uint64(t.Unix()))
	return binary.BigEndian.AppendUint32(b, uint32(t.Nanosecond()))
}

func cutTime(b []byte) (t time.Time, rest []byte, err error) {
	if len(b) < timeSize {
		return t, nil, fmt.Errorf("%w: a time is cut off", errRecord)
	}
	nanos := binary.BigEndian.Uint32(b[8:])
	t = time.Unix(int64(binary.BigEndian.Uint64(b)), int64(nanos)).UTC()
	if nanos >= 1e9 || t.IsZero() {
		return t, nil, fmt.Errorf("%w: % x is not a time", errRecord, b[:timeSize])
	}
	return t, b[timeSize:], nil
}
