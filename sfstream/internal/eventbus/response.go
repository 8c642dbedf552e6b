package eventbus

import (
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
)

// Response is a FetchResponse or a ManagedFetchResponse as a subscriber reads it: a frame, and
// where in it things are. Free and the next response overwrite all of it; what the program is to
// keep must be copied with a Copier or IDs.
type Response struct {
	Frame          []byte // as it came; read-only
	Events         []Event
	LatestReplayID Span
	RPCID          Span
	Pending        int32

	commit Span
	buffer *[]byte // the memory of Frame, from the pool buffers
}

// Event is a ConsumerEvent with its ProducerEvent, without the headers. It holds no pointers, so
// that the garbage collector does not look at them; there are many.
type Event struct{ ID, SchemaID, ReplayID, Payload Span }

// Span is the range of bytes in a frame at which a value lies.
type Span struct{ from, to uint32 }

// Len returns how many bytes the span has.
func (s Span) Len() int { return int(s.to - s.from) }

// Bytes returns a part of the frame.
func (r *Response) Bytes(s Span) []byte { return r.Frame[s.from:s.to] }

// Commit returns the answer to a commit that a ManagedFetchResponse has, nil where there is none.
func (r *Response) Commit() (*CommitReplayResponse, error) {
	if r.commit == (Span{}) {
		return nil, nil
	}
	answer := new(CommitReplayResponse)
	if err := proto.Unmarshal(r.Bytes(r.commit), answer); err != nil {
		return nil, errMalformed
	}
	return answer, nil
}

// Free gives the memory of the frame back to the pool.
func (r *Response) Free() {
	if r.buffer != nil {
		buffers.Put(r.buffer)
	}
	r.buffer, r.Frame, r.Events = nil, nil, r.Events[:0]
}

// buffers is the pool of memory for frames. grpc's own pool clears its buffers before it hands them
// out. A new buffer for each frame would double the work of the garbage collector, because most
// frames are too large for the allocator's caches.
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

// Copier copies the parts of a response that outlive it, many of them in one allocation.
type Copier struct {
	response *Response
	left     int // how many bytes of replay ids and payloads are not copied yet
	chunk    []byte
}

// chunkSize is the largest allocation for which the allocator uses its caches.
const chunkSize = 32 << 10

// Copier returns a Copier with room for the replay id and the payload of each event.
func (r *Response) Copier() Copier {
	c := Copier{response: r}
	for i := range r.Events {
		c.left += r.Events[i].ReplayID.Len() + r.Events[i].Payload.Len()
	}
	return c
}

// Copy returns a copy of a part of the frame. It has no room for an append to grow into the next
// copy. The copy of an empty part is nil.
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
