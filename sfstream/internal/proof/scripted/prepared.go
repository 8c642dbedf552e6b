package scripted

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
)

// PreparedResponse is an encoded FetchResponse, which PreparedCodec lets pass.
type PreparedResponse []byte

// PreparedCodec is a codec that lets a PreparedResponse pass as it is.
type PreparedCodec struct{ encoding.CodecV2 }

// Marshal encodes a message.
func (c PreparedCodec) Marshal(v any) (mem.BufferSlice, error) {
	if response, ok := v.(PreparedResponse); ok {
		return mem.BufferSlice{mem.SliceBuffer(response)}, nil
	}
	return c.CodecV2.Marshal(v)
}
