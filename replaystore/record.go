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
//	version   1 byte    1
//	present   1 byte    bit 0: Date follows, bit 1: Live follows; the others are 0
//	Date      12 bytes  where present: int64 seconds since 1970 UTC, uint32 nanoseconds below 1e9
//	Live      12 bytes  likewise
//	ReplayID  the rest
//
// Zero times are left out rather than written: their seconds mean nothing to other readers. Each marker has
// exactly one encoding and each encoding one marker. Seconds and nanoseconds are apart because one int64 of
// nanoseconds ends in 2262, and dates such as 9999-12-31 are in use.
const (
	recordVersion = 1

	hasDate = 1 << 0
	hasLive = 1 << 1

	timeSize = 8 + 4
)

var errRecord = errors.New("damaged marker")

// AppendBinary appends the encoding of MarshalBinary to b. The error is always nil.
func (m Marker) AppendBinary(b []byte) ([]byte, error) {
	var present byte
	if !m.Date.IsZero() {
		present |= hasDate
	}
	if !m.Live.IsZero() {
		present |= hasLive
	}
	b = append(b, recordVersion, present)
	b = appendTime(b, m.Date)
	b = appendTime(b, m.Live)
	return append(b, m.ReplayID...), nil
}

// MarshalBinary encodes the marker compactly (2 bytes, 12 for each time that is not zero, and the ReplayID)
// and with a version, for stores that keep bytes. Equal markers have equal encodings. The error is always nil.
func (m Marker) MarshalBinary() ([]byte, error) {
	return m.AppendBinary(make([]byte, 0, 2+2*timeSize+len(m.ReplayID)))
}

// UnmarshalBinary decodes what MarshalBinary wrote and retains nothing of data. Times come back in UTC and
// exact to the nanosecond, an empty ReplayID as nil. It fails, and leaves m alone, where data is damaged or of
// a version that this release does not know.
func (m *Marker) UnmarshalBinary(data []byte) error {
	if len(data) == 0 {
		return fmt.Errorf("%w: it is empty", errRecord)
	}
	if v := data[0]; v != recordVersion {
		return fmt.Errorf("marker of version %d, this release reads version %d: written by a newer one?", v, recordVersion)
	}
	if len(data) < 2 || data[1]&^(hasDate|hasLive) != 0 {
		return fmt.Errorf("%w: % x", errRecord, data)
	}

	var decoded Marker
	present, rest := data[1], data[2:]
	var err error
	if present&hasDate != 0 {
		if decoded.Date, rest, err = cutTime(rest); err != nil {
			return err
		}
	}
	if present&hasLive != 0 {
		if decoded.Live, rest, err = cutTime(rest); err != nil {
			return err
		}
	}
	if len(rest) > 0 {
		decoded.ReplayID = bytes.Clone(rest)
	}
	*m = decoded
	return nil
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
