package eventbus

import (
	"errors"
	"math"
	"unicode/utf8"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// manyEvents is more than Salesforce sends at once. A response that had more
// leaves no room for as many behind.
const manyEvents = 1000

var errMalformed = errors.New("a malformed FetchResponse")

// Codec is the gRPC codec of a Subscribe stream that is received as Responses.
// All else it leaves to the standard one.
type Codec struct{}

// Name is empty: the content type is plain application/grpc then, as it is with
// the standard codec where nobody asks for one by its name.
func (Codec) Name() string { return "" }

// Marshal is the standard codec's.
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	return encoding.GetCodecV2(proto.Name).Marshal(v)
}

// Unmarshal reads a *Response. Whatever the standard codec accepts as a
// FetchResponse it accepts too, with the same values, and nothing else.
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	r, ok := v.(*Response)
	if !ok {
		return encoding.GetCodecV2(proto.Name).Unmarshal(data, v)
	}
	if r.buffer == nil {
		r.buffer = buffers.Get().(*[]byte)
	}
	frame := (*r.buffer)[:0]
	for _, piece := range data {
		frame = append(frame, piece.ReadOnlyData()...)
	}
	*r.buffer = frame
	return r.read(frame)
}

// read parses a frame.
func (r *Response) read(frame []byte) error {
	if len(frame) > math.MaxInt32 {
		return errMalformed // no message is larger, and a Span has no room for one
	}
	if cap(r.Events) > manyEvents {
		r.Events = nil
	}
	r.Frame, r.Events, r.LatestReplayID, r.RPCID, r.Pending = frame, r.Events[:0], Span{}, Span{}, 0
	for at := 0; at < len(frame); {
		num, typ, next := readTag(frame, at)
		if next < 0 {
			return errMalformed
		}
		if num == 4 && typ == protowire.VarintType {
			n, size := protowire.ConsumeVarint(frame[next:])
			if size < 0 {
				return errMalformed
			}
			r.Pending, at = int32(n), next+size
			continue
		}
		if num > 3 || typ != protowire.BytesType {
			if at = skip(num, typ, frame, next); at < 0 {
				return errMalformed
			}
			continue
		}
		value, ok := readBytes(frame, next)
		if !ok {
			return errMalformed
		}
		at = int(value.to)
		switch num {
		case 1:
			r.Events = append(r.Events, Event{})
			ok = r.Events[len(r.Events)-1].read(frame[:value.to], int(value.from))
		case 2:
			r.LatestReplayID = value
		case 3:
			r.RPCID, ok = value, validText(frame, value)
		}
		if !ok {
			return errMalformed
		}
	}
	return nil
}

// read parses a ConsumerEvent: the rest of frame.
func (e *Event) read(frame []byte, at int) bool {
	for at < len(frame) {
		num, typ, next := readTag(frame, at)
		if next < 0 {
			return false
		}
		if num > 2 || typ != protowire.BytesType {
			if at = skip(num, typ, frame, next); at < 0 {
				return false
			}
			continue
		}
		value, ok := readBytes(frame, next)
		if !ok {
			return false
		}
		at = int(value.to)
		if num == 2 {
			e.ReplayID = value
		} else if !e.readProducer(frame[:value.to], int(value.from)) { // a second one merges with the first
			return false
		}
	}
	return true
}

// readProducer parses a ProducerEvent: the rest of frame.
func (e *Event) readProducer(frame []byte, at int) bool {
	for at < len(frame) {
		num, typ, next := readTag(frame, at)
		if next < 0 {
			return false
		}
		if num > 4 || typ != protowire.BytesType {
			if at = skip(num, typ, frame, next); at < 0 {
				return false
			}
			continue
		}
		value, ok := readBytes(frame, next)
		if !ok {
			return false
		}
		at = int(value.to)
		switch num {
		case 1:
			e.ID, ok = value, validText(frame, value)
		case 2:
			e.SchemaID, ok = value, validText(frame, value)
		case 3:
			e.Payload = value
		case 4:
			ok = validHeader(frame[:value.to], int(value.from))
		}
		if !ok {
			return false
		}
	}
	return true
}

// validHeader reports whether the rest of frame is an EventHeader, which nobody
// reads.
func validHeader(frame []byte, at int) bool {
	for at < len(frame) {
		num, typ, next := readTag(frame, at)
		if next < 0 {
			return false
		}
		if at = skip(num, typ, frame, next); at < 0 {
			return false
		}
		if num == 1 && typ == protowire.BytesType {
			if key, ok := readBytes(frame, next); !ok || !validText(frame, key) {
				return false
			}
		}
	}
	return true
}

// validText reports whether a value may be that of a string field.
func validText(frame []byte, s Span) bool { return utf8.Valid(frame[s.from:s.to]) }

// readTag reads a field's number and type. next is negative where there is no
// valid one.
func readTag(frame []byte, at int) (num protowire.Number, typ protowire.Type, next int) {
	if c := frame[at]; c < 0x80 && c >= 1<<3 {
		return protowire.Number(c >> 3), protowire.Type(c & 7), at + 1
	}
	tag, n := protowire.ConsumeVarint(frame[at:])
	if n < 0 || tag>>3 < uint64(protowire.MinValidNumber) || tag>>3 > uint64(protowire.MaxValidNumber) {
		return 0, 0, -1
	}
	return protowire.Number(tag >> 3), protowire.Type(tag & 7), at + n
}

// readBytes reads a length and as many bytes. ok is false where they are not there.
func readBytes(frame []byte, at int) (value Span, ok bool) {
	size, n := protowire.ConsumeVarint(frame[at:])
	if n < 0 || size > uint64(len(frame)-at-n) {
		return Span{}, false
	}
	return Span{uint32(at + n), uint32(at + n + int(size))}, true
}

// skip passes a field that means nothing to us: an unknown one, and a known one
// of another wire type, as protobuf has it. It is negative where it is malformed.
func skip(num protowire.Number, typ protowire.Type, frame []byte, at int) (next int) {
	n := protowire.ConsumeFieldValue(num, typ, frame[at:])
	if n < 0 {
		return -1
	}
	return at + n
}
