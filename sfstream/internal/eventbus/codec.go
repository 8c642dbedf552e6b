package eventbus

import (
	"errors"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// Response is a FetchResponse as a subscriber reads it: flat, and cut from one
// copy of the frame instead of an allocation for each field. Reading the next
// response into it reuses Events, and nothing that an Event refers to.
type Response struct {
	// Frame is the response as it came. All byte slices are parts of it that do not
	// overlap, none with room to grow into another. Nothing may write to it.
	Frame          []byte
	Events         []Event
	LatestReplayID []byte
	RPCID          string
	Pending        int32

	lastSchema string // the schema id of the last event, of this response or an earlier one
	schemas    map[string]string
}

// Event is a ConsumerEvent with its ProducerEvent, without the headers.
type Event struct {
	ID       string // the ids of a response are substrings of one string
	SchemaID string
	ReplayID []byte
	Payload  []byte

	id, schemaID []byte // where the strings are to come from
}

const (
	// manyEvents is more than Salesforce sends at once. A response that had more
	// leaves no room for as many behind.
	manyEvents = 1000

	// manySchemas is how many ids of schemas are remembered at most.
	manySchemas = 1000
)

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
	// The buffers go back to grpc's pool; messages live for as long as users like.
	return r.read(data.Materialize())
}

// read parses a frame, which is r's from now on.
func (r *Response) read(frame []byte) error {
	clear(r.Events)
	if r.Events = r.Events[:0]; cap(r.Events) > manyEvents {
		r.Events = nil
	}
	r.Frame, r.LatestReplayID, r.Pending = frame, nil, 0
	var rpcID []byte
	for b := frame; len(b) > 0; {
		num, typ, rest := readTag(b)
		if rest == nil {
			return errMalformed
		}
		var value []byte
		switch {
		case typ == protowire.BytesType && num <= 3:
			if value, b = readBytes(rest); b == nil {
				return errMalformed
			}
			switch num {
			case 1:
				r.Events = append(r.Events, Event{})
				if !r.Events[len(r.Events)-1].read(value) {
					return errMalformed
				}
			case 2:
				r.LatestReplayID = value
			case 3:
				if !utf8.Valid(value) {
					return errMalformed
				}
				rpcID = value
			}
		case typ == protowire.VarintType && num == 4:
			n, size := protowire.ConsumeVarint(rest)
			if size < 0 {
				return errMalformed
			}
			r.Pending, b = int32(n), rest[size:]
		default:
			if b = skip(num, typ, rest); b == nil {
				return errMalformed
			}
		}
	}
	if r.RPCID != string(rpcID) { // it is the same for all of a stream
		r.RPCID = string(rpcID)
	}
	r.cutStrings()
	return nil
}

// read parses a ConsumerEvent.
func (e *Event) read(b []byte) bool {
	for len(b) > 0 {
		num, typ, rest := readTag(b)
		if rest == nil {
			return false
		}
		var value []byte
		switch {
		case typ == protowire.BytesType && num <= 2:
			if value, b = readBytes(rest); b == nil {
				return false
			}
			if num == 2 {
				e.ReplayID = value
			} else if !e.readProducer(value) { // a second one merges with the first
				return false
			}
		default:
			if b = skip(num, typ, rest); b == nil {
				return false
			}
		}
	}
	return true
}

// readProducer parses a ProducerEvent.
func (e *Event) readProducer(b []byte) bool {
	for len(b) > 0 {
		num, typ, rest := readTag(b)
		if rest == nil {
			return false
		}
		if typ != protowire.BytesType || num > 4 {
			if b = skip(num, typ, rest); b == nil {
				return false
			}
			continue
		}
		var value []byte
		if value, b = readBytes(rest); b == nil {
			return false
		}
		ok := true
		switch num {
		case 1:
			e.id, ok = value, utf8.Valid(value)
		case 2:
			e.schemaID, ok = value, utf8.Valid(value)
		case 3:
			e.Payload = value
		case 4:
			ok = validHeader(value)
		}
		if !ok {
			return false
		}
	}
	return true
}

// validHeader reports whether b is an EventHeader, which nobody reads.
func validHeader(b []byte) bool {
	for len(b) > 0 {
		num, typ, rest := readTag(b)
		if rest == nil {
			return false
		}
		if b = skip(num, typ, rest); b == nil {
			return false
		}
		if typ == protowire.BytesType && num == 1 {
			if key, _ := readBytes(rest); !utf8.Valid(key) {
				return false
			}
		}
	}
	return true
}

// cutStrings gives the events their strings. The ids are substrings of one:
// substrings of the frame would need it twice, or unsafe. The schema ids, which
// are few and kept for long, are strings of their own.
func (r *Response) cutStrings() {
	size := 0
	for i := range r.Events {
		size += len(r.Events[i].id)
	}
	var ids strings.Builder
	ids.Grow(size)
	for i := range r.Events {
		e := &r.Events[i]
		ids.Write(e.id)
		e.ID = ids.String()[ids.Len()-len(e.id):]
		if string(e.schemaID) != r.lastSchema {
			r.lastSchema = r.intern(e.schemaID)
		}
		e.SchemaID = r.lastSchema
		e.id, e.schemaID = nil, nil
	}
}

// intern returns the string of a schema id, the same one each time.
func (r *Response) intern(id []byte) string {
	if known, ok := r.schemas[string(id)]; ok {
		return known
	}
	if r.schemas == nil || len(r.schemas) >= manySchemas {
		r.schemas = make(map[string]string)
	}
	known := string(id)
	r.schemas[known] = known
	return known
}

// readTag reads a field's number and type. rest is nil where there is no valid
// one, and never nil else.
func readTag(b []byte) (num protowire.Number, typ protowire.Type, rest []byte) {
	if b[0] < 0x80 && b[0] >= 1<<3 {
		return protowire.Number(b[0] >> 3), protowire.Type(b[0] & 7), b[1:]
	}
	tag, n := protowire.ConsumeVarint(b)
	if n < 0 || tag>>3 < uint64(protowire.MinValidNumber) || tag>>3 > uint64(protowire.MaxValidNumber) {
		return 0, 0, nil
	}
	return protowire.Number(tag >> 3), protowire.Type(tag & 7), b[n:]
}

// readBytes reads a length and as many bytes. rest is nil where they are not there.
func readBytes(b []byte) (value, rest []byte) {
	if len(b) > 0 && int(b[0]) < len(b) && b[0] < 0x80 {
		n := 1 + int(b[0])
		return b[1:n:n], b[n:]
	}
	value, n := protowire.ConsumeBytes(b)
	if n < 0 {
		return nil, nil
	}
	return value[:len(value):len(value)], b[n:]
}

// skip passes a field that means nothing to us: an unknown one, and a known one
// of another wire type, as protobuf has it. It returns nil where it is malformed.
func skip(num protowire.Number, typ protowire.Type, b []byte) (rest []byte) {
	n := protowire.ConsumeFieldValue(num, typ, b)
	if n < 0 {
		return nil
	}
	return b[n:]
}
