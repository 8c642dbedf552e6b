package eventbus_test

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus/upstreamcopy"
)

// A program that links both Salesforce's own generated file and ours must start. This test binary
// is such a program.
func TestASecondCopyOfTheContractLinks(t *testing.T) {
	for path, want := range map[string]protoreflect.FullName{
		"pubsub_api.proto":           "eventbus.v1",
		"sfstream_eventbus_v1.proto": "sfstream.eventbus.v1",
	} {
		file, err := protoregistry.GlobalFiles.FindFileByPath(path)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if got := file.Package(); got != want {
			t.Errorf("%s is registered as package %q, want %q", path, got, want)
		}
	}
}

// The names of the messages differ, but their bytes must not.
func TestBothCopiesMeanTheSameBytes(t *testing.T) {
	ours := &eventbus.FetchResponse{
		Events: []*eventbus.ConsumerEvent{{
			Event:    &eventbus.ProducerEvent{Id: "id", SchemaId: "schema", Payload: []byte{1, 2}},
			ReplayId: []byte{3},
		}},
		LatestReplayId: []byte{4}, RpcId: "rpc", PendingNumRequested: 5,
	}
	data, err := proto.Marshal(ours)
	if err != nil {
		t.Fatal(err)
	}
	var theirs upstreamcopy.FetchResponse
	if err := proto.Unmarshal(data, &theirs); err != nil {
		t.Fatal(err)
	}
	if e := theirs.Events[0]; e.Event.Id != "id" || e.Event.SchemaId != "schema" || string(e.Event.Payload) != "\x01\x02" ||
		string(e.ReplayId) != "\x03" || string(theirs.LatestReplayId) != "\x04" || theirs.RpcId != "rpc" || theirs.PendingNumRequested != 5 {
		t.Errorf("read back as %v", &theirs)
	}
}
