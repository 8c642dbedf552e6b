package eventbus

import (
	"strings"
	"sync"
)

// Response is a FetchResponse as a subscriber reads it: a frame, and where things
// are in it. Free and the next response overwrite it all; what is to stay, Copier
// and IDs copy.
type Response struct {
	Frame          []byte // as it came; nothing may write to it
	Events         []Event
	LatestReplayID Span
	RPCID          Span
	Pending        int32

	buffer *[]byte // Frame's, from buffers
}

// Event is a ConsumerEvent with its ProducerEvent, without the headers. It holds
// no pointers: there are many, and the collector has nothing to do with them.
type Event struct{ ID, SchemaID, ReplayID, Payload Span }

// Span is a part of a frame.
type Span struct{ from, to uint32 }

// Len is how many bytes it has.
func (s Span) Len() int { return int(s.to - s.from) }

// Bytes returns a part of the frame.
func (r *Response) Bytes(s Span) []byte { return r.Frame[s.from:s.to] }

// Free gives the frame's memory back.
func (r *Response) Free() {
	if r.buffer != nil {
		buffers.Put(r.buffer)
	}
	r.buffer, r.Frame, r.Events = nil, nil, r.Events[:0]
}

// buffers are for frames. grpc's own pool clears them first, and a new one for
// each frame makes the collector work twice as hard: most are too large for the
// allocator's caches.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// IDs returns the ids of all events, one after the other.
func (r *Response) IDs() string {
	size := 0
	for i := range r.Events {
		size += r.Events[i].ID.Len()
	}
	var ids strings.Builder
	ids.Grow(size)
	for i := range r.Events {
		ids.Write(r.Bytes(r.Events[i].ID))
	}
	return ids.String()
}

// Copier makes copies of what the events of a response are to keep, many of them
// in one allocation.
type Copier struct {
	response *Response
	left     int // bytes of replay ids and payloads that are still to be copied
	chunk    []byte
}

// chunkSize is the largest allocation that does not go past the allocator's
// caches.
const chunkSize = 32 << 10

// Copier returns one for the replay id and the payload of each event.
func (r *Response) Copier() Copier {
	c := Copier{response: r}
	for i := range r.Events {
		c.left += r.Events[i].ReplayID.Len() + r.Events[i].Payload.Len()
	}
	return c
}

// Copy returns a copy without room to grow into the next one; nil of nothing.
func (c *Copier) Copy(s Span) []byte {
	n := s.Len()
	if n == 0 {
		return nil
	}
	if n > cap(c.chunk)-len(c.chunk) {
		c.chunk = make([]byte, 0, max(n, min(c.left, chunkSize)))
	}
	from := len(c.chunk)
	c.chunk = append(c.chunk, c.response.Bytes(s)...)
	c.left -= n
	return c.chunk[from:len(c.chunk):len(c.chunk)]
}
