package eventbus

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Results is a PublishResponse as a publisher reads it: a frame, and where in it things are. Free
// and the next response overwrite all of it.
type Results struct {
	Frame    []byte // as it came; read-only
	Results  []Result
	SchemaID Span // of the channel's present schema
	RPCID    Span

	buffer *[]byte // the memory of Frame, from the pool buffers
}

// Result is a PublishResult. Failed says that it has an error, whose text is Message.
type Result struct {
	ReplayID, CorrelationKey, Message Span

	Code   ErrorCode
	Failed bool
}

// Bytes returns a part of the frame.
func (r *Results) Bytes(s Span) []byte { return r.Frame[s.from:s.to] }

// ReplayIDs returns a copy of all replay ids, one after the other.
func (r *Results) ReplayIDs() []byte {
	n := 0
	for i := range r.Results {
		n += r.Results[i].ReplayID.Len()
	}
	ids := make([]byte, 0, n)
	for i := range r.Results {
		ids = append(ids, r.Bytes(r.Results[i].ReplayID)...)
	}
	return ids
}

// Free gives the memory of the frame back to the pool.
func (r *Results) Free() {
	if r.buffer != nil {
		buffers.Put(r.buffer)
	}
	r.buffer, r.Frame, r.Results = nil, nil, r.Results[:0]
}

// read parses a frame. It accepts exactly what the standard codec accepts as a PublishResponse, and
// reads the same values.
func (r *Results) read(frame []byte) error {
	if len(frame) > math.MaxInt32 {
		return errMalformed // as of a FetchResponse
	}
	if cap(r.Results) > manyEvents {
		r.Results = nil
	}
	r.Frame, r.Results, r.SchemaID, r.RPCID = frame, r.Results[:0], Span{}, Span{}
	ok := eachField(frame, 0, func(num protowire.Number, value Span) (ok bool) {
		switch num {
		case 1:
			r.Results = append(r.Results, Result{})
			return r.Results[len(r.Results)-1].read(frame[:value.to], int(value.from))
		case 2:
			r.SchemaID = value
			return validText(frame, value)
		case 3:
			r.RPCID = value
			return validText(frame, value)
		}
		return true
	}, nil)
	if !ok {
		return errMalformed
	}
	return nil
}

// read parses a PublishResult, which goes from at to the end of frame.
func (r *Result) read(frame []byte, at int) bool {
	return eachField(frame, at, func(num protowire.Number, value Span) bool {
		switch num {
		case 1:
			r.ReplayID = value
		case 2: // protobuf merges a repeated message into the first one
			r.Failed = true
			return r.readError(frame[:value.to], int(value.from))
		case 3:
			r.CorrelationKey = value
			return validText(frame, value)
		}
		return true
	}, nil)
}

// readError parses an Error, which goes from at to the end of frame.
func (r *Result) readError(frame []byte, at int) bool {
	return eachField(frame, at, func(num protowire.Number, value Span) bool {
		if num == 2 {
			r.Message = value
			return validText(frame, value)
		}
		return true
	}, func(num protowire.Number, value uint64) {
		if num == 1 {
			r.Code = ErrorCode(int32(value))
		}
	})
}

// eachField reads a message, which goes from at to the end of frame. It calls bytes for each of its
// fields that is text, bytes or a message, and number for each that is a varint; number may be nil.
// It reports whether the message is well formed, and stops where bytes reports false.
func eachField(frame []byte, at int, bytes func(protowire.Number, Span) bool, number func(protowire.Number, uint64)) bool {
	for at < len(frame) {
		num, typ, next := readTag(frame, at)
		if next < 0 {
			return false
		}
		switch {
		case typ == protowire.BytesType:
			value, ok := readBytes(frame, next)
			if !ok || !bytes(num, value) {
				return false
			}
			at = int(value.to)
		case typ == protowire.VarintType && number != nil:
			value, size := protowire.ConsumeVarint(frame[next:])
			if size < 0 {
				return false
			}
			number(num, value)
			at = next + size
		default:
			if at = skip(num, typ, frame, next); at < 0 {
				return false
			}
		}
	}
	return true
}
