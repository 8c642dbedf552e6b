package eventbus

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// Request is a PublishRequest as it goes over the wire. Its events are encoded one by one, and the
// frame may be sent several times: a Request is read-only from its first Send on. The zero value
// has no events. One goroutine at a time may use it.
type Request struct {
	buffer *[]byte    // the frame; from the pool frames
	sent   mem.Buffer // the frame as grpc gets it; nil: it was not sent yet
}

// requestHead is room for what stands before the fields of an event, and before its payload.
const requestHead = 1 + 5

// Begin starts a request for a channel, with room for size bytes of events.
func (r *Request) Begin(topic string, size int) {
	r.buffer = frames.Get(size + len(topic) + requestHead)
	*r.buffer = protowire.AppendTag((*r.buffer)[:0], 1, protowire.BytesType)
	*r.buffer = protowire.AppendString(*r.buffer, topic)
}

// Append adds an event. What it refers to is copied.
func (r *Request) Append(id, schemaID string, payload []byte) {
	size := 3 + protowire.SizeBytes(len(id)) + protowire.SizeBytes(len(schemaID)) + protowire.SizeBytes(len(payload))
	frame := protowire.AppendTag(*r.buffer, 2, protowire.BytesType)
	frame = protowire.AppendVarint(frame, uint64(size))
	frame = protowire.AppendString(protowire.AppendTag(frame, 1, protowire.BytesType), id)
	frame = protowire.AppendString(protowire.AppendTag(frame, 2, protowire.BytesType), schemaID)
	frame = protowire.AppendBytes(protowire.AppendTag(frame, 3, protowire.BytesType), payload)
	*r.buffer = frame
}

// Size is the number of bytes of the frame.
func (r *Request) Size() int {
	if r.buffer == nil {
		return 0
	}
	return len(*r.buffer)
}

// Free gives the memory of the frame back as soon as grpc does not need it any more.
func (r *Request) Free() {
	switch {
	case r.sent != nil:
		r.sent.Free()
	case r.buffer != nil:
		frames.Put(r.buffer)
	}
	r.buffer, r.sent = nil, nil
}

// frame returns the frame for one Send, which frees it.
func (r *Request) frame() mem.Buffer {
	if r.sent == nil {
		r.sent = mem.NewBuffer(r.buffer, frames)
	}
	r.sent.Ref()
	return r.sent
}

// frames is the pool of memory for requests. grpc's own pool clears its buffers before it hands
// them out.
var frames = framePool{new(sync.Pool)}

type framePool struct{ pool *sync.Pool }

// Get returns an empty buffer with room for size bytes.
func (p framePool) Get(size int) *[]byte {
	if b, ok := p.pool.Get().(*[]byte); ok && cap(*b) >= size {
		*b = (*b)[:0]
		return b
	}
	b := make([]byte, 0, size)
	return &b
}

func (p framePool) Put(b *[]byte) { p.pool.Put(b) }

// RequestStream is a PublishStream that sends Requests and whose receiver gets Results.
type RequestStream struct{ grpc.ClientStream }

// Send sends a request. If it fails the server does not get the request, and Recv returns why.
func (s RequestStream) Send(r *Request) error { return s.SendMsg(r) }

// Recv reads the next response into r. At the end of the stream the error is io.EOF.
func (s RequestStream) Recv(r *Results) error { return s.RecvMsg(r) }

// PublishRequests does what PublishStream does, with a Codec: neither a request nor a response
// costs an allocation for each of its events.
func (c Client) PublishRequests(ctx context.Context, opts ...grpc.CallOption) (RequestStream, error) {
	stream, err := c.stream(ctx, publishStreamMethod, append(opts, grpc.ForceCodecV2(Codec{})))
	return RequestStream{stream}, err
}

// PublishRequest does what Publish does, with a Codec.
func (c Client) PublishRequest(ctx context.Context, req *Request, resp *Results, opts ...grpc.CallOption) error {
	return c.Conn.Invoke(ctx, publishPath, req, resp, append(opts, grpc.ForceCodecV2(Codec{}))...)
}
