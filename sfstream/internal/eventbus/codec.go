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

// manyEvents is more events than Salesforce sends in one response. If a response had more, its
// slice is dropped, so that one large response does not hold memory for ever.
const manyEvents = 1000

var errMalformed = errors.New("a malformed response")

// Codec is the gRPC codec of a Subscribe stream whose receiver gets Responses, and of a
// PublishStream that sends Requests and whose receiver gets Results. It leaves all other messages
// to the standard codec.
type Codec struct{}

// Name returns an empty name. The content type is plain application/grpc then, as it is with the
// standard codec if nobody asks for that by name.
func (Codec) Name() string { return "" }

// Marshal hands out the frame of a *Request.
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	if r, ok := v.(*Request); ok {
		return mem.BufferSlice{r.frame()}, nil
	}
	return encoding.GetCodecV2(proto.Name).Marshal(v)
}

// Unmarshal reads a *Response or *Results. It accepts exactly what the standard codec accepts as a
// FetchResponse or PublishResponse, and reads the same values. Of a ManagedFetchResponse it does
// not look into the answer to a commit.
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	switch r := v.(type) {
	case *Response:
		return r.read(collect(&r.buffer, data))
	case *Results:
		return r.read(collect(&r.buffer, data))
	}
	return encoding.GetCodecV2(proto.Name).Unmarshal(data, v)
}

// collect copies a message, which comes in pieces, into a buffer. It takes one from the pool where
// there is none yet.
func collect(buffer **[]byte, data mem.BufferSlice) (frame []byte) {
	if *buffer == nil {
		*buffer = buffers.Get().(*[]byte)
	}
	frame = (**buffer)[:0]
	for _, piece := range data {
		frame = append(frame, piece.ReadOnlyData()...)
	}
	**buffer = frame
	return frame
}

// read parses a frame.
func (r *Response) read(frame []byte) error {
	if len(frame) > math.MaxInt32 {
		return errMalformed // protobuf allows no larger message, and a Span has no room for one
	}
	if cap(r.Events) > manyEvents {
		r.Events = nil
	}
	r.Frame, r.Events, r.LatestReplayID, r.RPCID, r.Pending, r.commit = frame, r.Events[:0], Span{}, Span{}, 0, Span{}
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
		if num > 5 || typ != protowire.BytesType {
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
		case 5:
			r.commit = value // of a ManagedFetchResponse; a FetchResponse has no such field
		}
		if !ok {
			return errMalformed
		}
	}
	return nil
}

// read parses a ConsumerEvent, which goes from at to the end of frame.
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
		} else if !e.readProducer(frame[:value.to], int(value.from)) { // protobuf merges a repeated message into the first one
			return false
		}
	}
	return true
}

// readProducer parses a ProducerEvent, which goes from at to the end of frame.
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

// validHeader reports whether frame from at on is an EventHeader. Nobody reads headers, but the
// standard codec would refuse a malformed one.
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

// validText reports whether a value is valid in a string field.
func validText(frame []byte, s Span) bool { return utf8.Valid(frame[s.from:s.to]) }

// readTag reads the number and the type of a field. next is where its value begins, or negative if
// the tag is malformed.
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

// readBytes reads a length and that many bytes. ok is false if the frame ends before.
func readBytes(frame []byte, at int) (value Span, ok bool) {
	size, n := protowire.ConsumeVarint(frame[at:])
	if n < 0 || size > uint64(len(frame)-at-n) {
		return Span{}, false
	}
	return Span{uint32(at + n), uint32(at + n + int(size))}, true
}

// skip steps over a field that Response does not have: an unknown one, or a known one with another
// wire type, which protobuf treats as unknown. next is negative if it is malformed.
func skip(num protowire.Number, typ protowire.Type, frame []byte, at int) (next int) {
	n := protowire.ConsumeFieldValue(num, typ, frame[at:])
	if n < 0 {
		return -1
	}
	return at + n
}
