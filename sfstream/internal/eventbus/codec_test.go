package eventbus_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

// read reads a frame that arrives in pieces, whose memory grpc uses again afterwards.
func read(r *eventbus.Response, frame []byte, piece int) error {
	var buffers mem.BufferSlice
	var pieces [][]byte
	for p := range slices.Chunk(frame, max(piece, 1)) {
		p = bytes.Clone(p)
		pieces = append(pieces, p)
		buffers = append(buffers, mem.SliceBuffer(p))
	}
	err := eventbus.Codec{}.Unmarshal(buffers, r)
	for _, p := range pieces {
		for i := range p {
			p[i] = 0xAA
		}
	}
	return err
}

// checkSame reads a frame with both codecs and compares the results.
func checkSame(t *testing.T, r *eventbus.Response, frame []byte, piece int) {
	t.Helper()
	var want eventbus.FetchResponse
	wantErr, err := proto.Unmarshal(frame, &want), read(r, frame, piece)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%x: the error is %v, the standard codec's %v", frame, err, wantErr)
	}
	if err != nil {
		return
	}
	if !bytes.Equal(r.Frame, frame) {
		t.Errorf("the frame is %x, want %x", r.Frame, frame)
	}
	if string(r.Bytes(r.LatestReplayID)) != string(want.LatestReplayId) || string(r.Bytes(r.RPCID)) != want.RpcId || r.Pending != want.PendingNumRequested {
		t.Errorf("%x: read as %+v, want %v", frame, r, &want)
	}
	if len(r.Events) != len(want.Events) {
		t.Fatalf("%x: %d events, want %d", frame, len(r.Events), len(want.Events))
	}
	ids, copier := r.IDs(), r.Copier()
	for i, e := range r.Events {
		w := want.Events[i]
		id := ids[:e.ID.Len()]
		ids = ids[e.ID.Len():]
		if id != w.GetEvent().GetId() || string(r.Bytes(e.ID)) != id || string(r.Bytes(e.SchemaID)) != w.GetEvent().GetSchemaId() ||
			string(r.Bytes(e.Payload)) != string(w.GetEvent().GetPayload()) || string(r.Bytes(e.ReplayID)) != string(w.GetReplayId()) ||
			string(copier.Copy(e.Payload)) != string(w.GetEvent().GetPayload()) || string(copier.Copy(e.ReplayID)) != string(w.GetReplayId()) {
			t.Errorf("%x: event %d read as %+v, want %v", frame, i, e, w)
		}
	}
	if ids != "" {
		t.Errorf("%q is left of the ids", ids)
	}
}

// frames has responses as servers of all kinds may encode them, and some that no server may send.
func frames() map[string][]byte {
	id, schema := "5b8b3c0e-7d0f-4b52-9a5e-6f2f9f3c1a11", "JvH0MLMRe6ZBVjW0yHR2aA"
	event := func(n int) *eventbus.ConsumerEvent {
		return &eventbus.ConsumerEvent{ReplayId: fmt.Appendf(nil, "replay %d", n), Event: &eventbus.ProducerEvent{
			Id: id, SchemaId: schema[:20] + fmt.Sprint(n%3), Payload: bytes.Repeat([]byte{byte(n)}, n),
			Headers: []*eventbus.EventHeader{{Key: "key", Value: []byte("value")}},
		}}
	}
	whole := &eventbus.FetchResponse{LatestReplayId: []byte("latest"), RpcId: "rpc", PendingNumRequested: 80}
	for n := range 300 {
		whole.Events = append(whole.Events, event(n))
	}
	encode := func(m proto.Message) []byte { b, _ := proto.Marshal(m); return b }
	// field encodes a field of type bytes.
	field := func(num protowire.Number, parts ...[]byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), bytes.Join(parts, nil))
	}
	str := func(num protowire.Number, s string) []byte { return field(num, []byte(s)) }
	number := func(num protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), v)
	}
	fixed := func(num protowire.Number) []byte {
		return protowire.AppendFixed32(protowire.AppendTag(nil, num, protowire.Fixed32Type), 7)
	}
	group := func(num protowire.Number, inner ...[]byte) []byte {
		b := append(protowire.AppendTag(nil, num, protowire.StartGroupType), bytes.Join(inner, nil)...)
		return protowire.AppendTag(b, num, protowire.EndGroupType)
	}
	all := map[string][]byte{
		"empty":     nil,
		"whole":     encode(whole),
		"one":       encode(&eventbus.FetchResponse{Events: []*eventbus.ConsumerEvent{event(1)}}),
		"keepalive": encode(&eventbus.FetchResponse{LatestReplayId: []byte("latest"), RpcId: "rpc"}),
		"no event":  field(1, str(2, "replay")),
		"no fields": slices.Concat(field(1), field(1, field(1)), str(2, ""), str(3, ""), number(4, 0)),
		"backwards": slices.Concat(number(4, 9), str(3, "rpc"), str(2, "latest"), field(1, str(2, "replay"), field(1, str(3, "p"), str(2, "s"), str(1, "i")))),
		"twice": slices.Concat(str(2, "a"), str(2, "b"), str(3, "a"), str(3, "b"), number(4, 1), number(4, 2),
			field(1, str(2, "a"), str(2, "b"), field(1, str(1, "a"), str(1, "b"), str(2, "a"), str(2, "b"), str(3, "a"), str(3, "b")))),
		"merged":         field(1, field(1, str(1, "id"), str(3, "a")), str(2, "r"), field(1, str(2, "schema"), str(3, "b"))),
		"cleared":        slices.Concat(str(2, "a"), str(2, ""), field(1, field(1, str(1, "a"), str(3, "a")), field(1, str(1, ""), str(3, "")))),
		"unknown":        slices.Concat(str(5, "x"), number(6, 1<<63), fixed(7), group(8, str(1, "x"), group(9)), field(1, fixed(9), field(1, group(77), number(9, 1))), str(protowire.MaxValidNumber, "x")),
		"wrong types":    slices.Concat(number(1, 1), fixed(2), group(3), str(4, "x"), field(1, number(1, 1), fixed(2), field(1, number(1, 1), fixed(2), group(3), number(4, 2)))),
		"a negative":     number(4, ^uint64(0)),
		"a large number": number(4, 1<<40+3),
		"long tags":      {0x92, 0x80, 0x80, 0x00, 0x01, 'a', 0x9a, 0x00, 0x81, 0x00, 'b'},
		"number 0":       str(0, "x"), "number too large": str(protowire.MaxValidNumber+1, "x"), "number far too large": protowire.AppendVarint(nil, 1<<40|2),
		"an end":        protowire.AppendTag(nil, 1, protowire.EndGroupType),
		"wrong end":     append(protowire.AppendTag(nil, 9, protowire.StartGroupType), protowire.AppendTag(nil, 8, protowire.EndGroupType)...),
		"no end":        protowire.AppendTag(nil, 9, protowire.StartGroupType),
		"reserved type": {0x0e, 0x01}, "length only": {0x0a}, "too long": {0x0a, 0x05, 0x01}, "length overflows": {0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
		"varint overflows":   {0x20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02},
		"deep groups":        append(bytes.Repeat(protowire.AppendTag(nil, 9, protowire.StartGroupType), 9_999), bytes.Repeat(protowire.AppendTag(nil, 9, protowire.EndGroupType), 9_999)...),
		"too deep groups":    append(bytes.Repeat(protowire.AppendTag(nil, 9, protowire.StartGroupType), 10_002), bytes.Repeat(protowire.AppendTag(nil, 9, protowire.EndGroupType), 10_002)...),
		"bad text":           str(3, "\xff"),
		"bad text of events": field(1, field(1, str(1, "\xff"))),
		"bad schema id":      field(1, field(1, str(2, "\xc0\x80"))),
		"bad header key":     field(1, field(1, field(4, str(1, "\xff")))),
		"bad header":         field(1, field(1, field(4, []byte{0x12, 0x05}))),
		"any header":         field(1, field(1, field(4, number(1, 1), fixed(2), str(2, "\xff"), group(3)))),
	}
	half := all["one"]
	for i := range half {
		all[fmt.Sprintf("the first %d bytes", i)] = half[:i]
	}
	return all
}

// This test compares what both codecs make of a frame.
func TestResponseIsWhatTheStandardCodecReads(t *testing.T) {
	var again eventbus.Response // used again as in a stream: nothing of a response may be left in the next one
	for name, frame := range frames() {
		t.Run(name, func(t *testing.T) {
			for _, piece := range []int{1, 7, max(len(frame)-1, 1), len(frame) + 1} {
				checkSame(t, new(eventbus.Response), frame, piece)
				checkSame(t, &again, frame, piece)
			}
		})
	}
}

func FuzzResponse(f *testing.F) {
	var again eventbus.Response
	for _, frame := range frames() {
		if len(frame) < 4<<10 {
			f.Add(frame, 5)
		}
	}
	f.Fuzz(func(t *testing.T, frame []byte, piece int) {
		checkSame(t, new(eventbus.Response), frame, piece)
		checkSame(t, &again, frame, piece)
		// If the frame is a valid response, the test also reads it as the standard codec encodes
		// it.
		var m eventbus.FetchResponse
		if proto.Unmarshal(frame, &m) == nil {
			canonical, err := proto.Marshal(&m)
			if err != nil {
				t.Fatal(err)
			}
			checkSame(t, &again, canonical, piece)
		}
	})
}

// Mutants of valid frames reach deeper than random bytes. This much of fuzzing is part of every
// run.
func TestMutantsReadTheSame(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var again eventbus.Response
	all := frames()
	for range 20_000 {
		for _, name := range []string{"one", "backwards", "twice", "merged", "unknown", "wrong types", "any header"} {
			frame := bytes.Clone(all[name])
			for range 1 + random.IntN(3) {
				frame[random.IntN(len(frame))] = byte(random.Uint32())
			}
			checkSame(t, &again, frame, 1+random.IntN(len(frame)))
		}
	}
}

// What a message refers to does not change with what the stream receives next.
func TestResponsesShareNoMemory(t *testing.T) {
	one := &eventbus.FetchResponse{Events: []*eventbus.ConsumerEvent{{
		ReplayId: []byte("r1"), Event: &eventbus.ProducerEvent{Id: "id1", SchemaId: "s", Payload: []byte("p1")},
	}}, LatestReplayId: []byte("l1")}
	two := &eventbus.FetchResponse{Events: []*eventbus.ConsumerEvent{{
		ReplayId: []byte("r2"), Event: &eventbus.ProducerEvent{Id: "id2", SchemaId: "s", Payload: []byte("p2")},
	}}, LatestReplayId: []byte("l2")}
	var r eventbus.Response
	frame, _ := proto.Marshal(one)
	if err := read(&r, frame, 4); err != nil {
		t.Fatal(err)
	}
	e, copier := r.Events[0], r.Copier()
	ids, replayID, payload := r.IDs(), copier.Copy(e.ReplayID), copier.Copy(e.Payload)
	if cap(replayID) != len(replayID) || cap(payload) != len(payload) {
		t.Error("a copy can grow into another")
	}
	frame, _ = proto.Marshal(two)
	if err := read(&r, frame, 4); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%s %s %s", ids, replayID, payload); got != "id1 r1 p1" {
		t.Errorf("the first event has become %s", got)
	}
}

// A response costs allocations for its ids and for chunks of its payloads, however many events it
// has.
func TestReadingAllocatesPerResponseOnly(t *testing.T) {
	m := new(eventbus.FetchResponse)
	for i := range 100 {
		m.Events = append(m.Events, &eventbus.ConsumerEvent{ReplayId: []byte("12345678"), Event: &eventbus.ProducerEvent{
			Id: fmt.Sprintf("%036d", i), SchemaId: "s", Payload: make([]byte, 300),
		}})
	}
	m.RpcId = "rpc"
	frame, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	buffers := mem.BufferSlice{mem.SliceBuffer(frame[:10_000]), mem.SliceBuffer(frame[10_000:])}
	var r eventbus.Response
	n := testing.AllocsPerRun(100, func() {
		if err := (eventbus.Codec{}).Unmarshal(buffers, &r); err != nil {
			t.Fatal(err)
		}
		_ = r.IDs()
		copier := r.Copier()
		for _, e := range r.Events {
			copier.Copy(e.ReplayID)
			copier.Copy(e.Payload)
		}
		r.Free()
	})
	if n > 4 { // it is 2; under the race detector a pool forgets at random
		t.Errorf("%v allocations", n)
	}
}
