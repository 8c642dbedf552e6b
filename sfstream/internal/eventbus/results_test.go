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

// checkResults reads a frame with both codecs and compares the results.
func checkResults(t *testing.T, r *eventbus.Results, frame []byte) {
	t.Helper()
	var want eventbus.PublishResponse
	wantErr, err := proto.Unmarshal(frame, &want), eventbus.Codec{}.Unmarshal(mem.BufferSlice{mem.SliceBuffer(frame)}, r)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%x: the error is %v, the standard codec's %v", frame, err, wantErr)
	}
	if err != nil {
		return
	}
	if len(r.Results) != len(want.Results) || string(r.Bytes(r.SchemaID)) != want.SchemaId || string(r.Bytes(r.RPCID)) != want.RpcId {
		t.Fatalf("%x: read as %+v, want %v", frame, r, &want)
	}
	for i, got := range r.Results {
		w := want.Results[i]
		if string(r.Bytes(got.ReplayID)) != string(w.ReplayId) || string(r.Bytes(got.CorrelationKey)) != w.CorrelationKey ||
			got.Failed != (w.Error != nil) || got.Code != w.Error.GetCode() || string(r.Bytes(got.Message)) != w.Error.GetMsg() {
			t.Errorf("%x: result %d read as %+v, want %v", frame, i, got, w)
		}
	}
}

// answers has responses to a publisher as servers of all kinds may encode them, and some that no
// server may send.
func answers() map[string][]byte {
	whole := &eventbus.PublishResponse{SchemaId: "JvH0MLMRe6ZBVjW0yHR2aA", RpcId: "rpc"}
	for n := range 20 {
		result := &eventbus.PublishResult{CorrelationKey: fmt.Sprintf("%036d", n), ReplayId: fmt.Appendf(nil, "%08d\x00\x00", n)}
		if n%3 == 0 {
			result.ReplayId, result.Error = nil, &eventbus.Error{Code: eventbus.ErrorCode_PUBLISH, Msg: "LIMIT_EXCEEDED"}
		}
		whole.Results = append(whole.Results, result)
	}
	encode := func(m proto.Message) []byte { b, _ := proto.Marshal(m); return b }
	field := func(num protowire.Number, parts ...[]byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), bytes.Join(parts, nil))
	}
	str := func(num protowire.Number, s string) []byte { return field(num, []byte(s)) }
	number := func(num protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), v)
	}
	one := encode(&eventbus.PublishResponse{Results: whole.Results[:2], SchemaId: "s"})
	all := map[string][]byte{
		"empty":           nil,
		"whole":           encode(whole),
		"one":             one,
		"keepalive":       encode(&eventbus.PublishResponse{RpcId: "rpc"}),
		"an empty error":  field(1, field(2)),
		"no fields":       slices.Concat(field(1), str(2, ""), str(3, "")),
		"backwards":       slices.Concat(str(3, "rpc"), str(2, "s"), field(1, str(3, "k"), field(2, str(2, "m"), number(1, 1)), str(1, "r"))),
		"twice":           slices.Concat(str(2, "a"), str(2, "b"), field(1, str(1, "a"), str(1, "b"), str(3, "a"), str(3, ""))),
		"merged":          field(1, field(2, number(1, 2), str(2, "a")), field(2, str(2, "b"))),
		"cleared":         field(1, field(2, number(1, 2), str(2, "a")), field(2, str(2, ""), number(1, 0))),
		"unknown":         slices.Concat(str(9, "x"), number(6, 1<<63), field(1, number(9, 1), field(2, str(9, "x"), number(9, 1)))),
		"wrong types":     slices.Concat(number(1, 1), number(2, 1), number(3, 1), field(1, number(1, 1), number(2, 1), number(3, 1), field(2, str(1, "x"), number(2, 1)))),
		"a large code":    field(1, field(2, number(1, 1<<40+3))),
		"a negative code": field(1, field(2, number(1, ^uint64(0)))),
		"bad schema id":   str(2, "\xff"), "bad rpc id": str(3, "\xff"), "bad key": field(1, str(3, "\xff")), "bad text": field(1, field(2, str(2, "\xff"))),
		"number 0": str(0, "x"), "an end": protowire.AppendTag(nil, 1, protowire.EndGroupType),
		"too long": {0x0a, 0x05, 0x01}, "reserved type": {0x0e, 0x01}, "a short code": field(1, field(2, []byte{0x08})),
	}
	for i := range one {
		all[fmt.Sprintf("the first %d bytes", i)] = one[:i]
	}
	return all
}

func TestResultsAreWhatTheStandardCodecReads(t *testing.T) {
	var again eventbus.Results // nothing of a response may be left in the next one
	for name, frame := range answers() {
		t.Run(name, func(t *testing.T) {
			checkResults(t, new(eventbus.Results), frame)
			checkResults(t, &again, frame)
		})
	}
}

func FuzzResults(f *testing.F) {
	var again eventbus.Results
	for _, frame := range answers() {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		checkResults(t, new(eventbus.Results), frame)
		checkResults(t, &again, frame)
	})
}

// Mutants of valid frames reach deeper than random bytes. This much of fuzzing is part of every
// run.
func TestMutantsOfResultsReadTheSame(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var again eventbus.Results
	all := answers()
	for range 10_000 {
		for _, name := range []string{"one", "backwards", "merged", "unknown", "wrong types"} {
			frame := bytes.Clone(all[name])
			for range 1 + random.IntN(3) {
				frame[random.IntN(len(frame))] = byte(random.Uint32())
			}
			checkResults(t, &again, frame)
		}
	}
}

// A response costs no allocation for each of its results.
func TestReadingResultsAllocatesPerResponseOnly(t *testing.T) {
	buffers := mem.BufferSlice{mem.SliceBuffer(answers()["whole"])}
	var r eventbus.Results
	n := testing.AllocsPerRun(100, func() {
		if err := (eventbus.Codec{}).Unmarshal(buffers, &r); err != nil {
			t.Fatal(err)
		}
		r.Free()
	})
	if n > 2 { // it is 0; under the race detector a pool forgets at random
		t.Errorf("%v allocations", n)
	}
}
