package sfstreamtest_test

import (
	"context"
	"slices"
	"testing"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// described asks the org what a service is, as grpcurl does, and knows nothing of it before.
func described(t *testing.T, r *rig, name string) protoreflect.ServiceDescriptor {
	t.Helper()
	stream, err := reflectionpb.NewServerReflectionClient(r.conn).ServerReflectionInfo(r.ctx())
	check(t, err)
	check(t, stream.Send(&reflectionpb.ServerReflectionRequest{
		MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: name},
	}))
	reply, err := stream.Recv()
	check(t, err)
	check(t, stream.CloseSend())
	files := reply.GetFileDescriptorResponse().GetFileDescriptorProto()
	if len(files) != 1 {
		t.Fatalf("%d files: %v", len(files), reply)
	}
	file := new(descriptorpb.FileDescriptorProto)
	check(t, proto.Unmarshal(files[0], file))
	if file.GetName() != "pubsub_api.proto" || file.GetPackage() != "eventbus.v1" {
		t.Errorf("the file is %s, its package %s", file.GetName(), file.GetPackage())
	}
	built, err := protodesc.NewFile(file, nil)
	check(t, err)
	return built.Services().ByName(protoreflect.FullName(name).Name())
}

// call calls a method with what its description says of it.
func call(t *testing.T, r *rig, ctx context.Context, method protoreflect.MethodDescriptor, set map[string]string) *dynamicpb.Message {
	t.Helper()
	request, reply := dynamicpb.NewMessage(method.Input()), dynamicpb.NewMessage(method.Output())
	for name, value := range set {
		request.Set(method.Input().Fields().ByName(protoreflect.Name(name)), protoreflect.ValueOfString(value))
	}
	path := "/" + string(method.Parent().FullName()) + "/" + string(method.Name())
	check(t, r.conn.Invoke(ctx, path, request, reply))
	return reply
}

func TestReflectionDescribesSalesforcesOwnProto(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		service := described(t, r, "eventbus.v1.PubSub")
		var names []string
		for i := range service.Methods().Len() {
			names = append(names, string(service.Methods().Get(i).Name()))
		}
		if want := []string{"Subscribe", "GetSchema", "GetTopic", "Publish", "PublishStream", "ManagedSubscribe"}; !slices.Equal(names, want) {
			t.Errorf("methods %v, want %v", names, want)
		}
		topic := call(t, r, r.ctx(), service.Methods().ByName("GetTopic"), map[string]string{"topic_name": orders})
		fields := topic.Descriptor().Fields()
		if topic.Descriptor().FullName() != "eventbus.v1.TopicInfo" || !topic.Get(fields.ByName("can_subscribe")).Bool() {
			t.Errorf("%v", topic)
		}
		id := topic.Get(fields.ByName("schema_id")).String()
		schema := call(t, r, r.ctx(), service.Methods().ByName("GetSchema"), map[string]string{"schema_id": id})
		if got := schema.Get(schema.Descriptor().Fields().ByName("schema_json")).String(); got != schemaFile(t, "order") {
			t.Errorf("schema %s", got)
		}

		// A stream of ConsumerEvents: a message in a message, an enum and bytes.
		r.publish(1)
		subscribe := service.Methods().ByName("Subscribe")
		stream, err := r.conn.NewStream(r.ctx(), &grpc.StreamDesc{ClientStreams: subscribe.IsStreamingClient(), ServerStreams: subscribe.IsStreamingServer()}, "/eventbus.v1.PubSub/Subscribe")
		check(t, err)
		request, response := dynamicpb.NewMessage(subscribe.Input()), dynamicpb.NewMessage(subscribe.Output())
		in := subscribe.Input().Fields()
		request.Set(in.ByName("topic_name"), protoreflect.ValueOfString(orders))
		request.Set(in.ByName("replay_preset"), protoreflect.ValueOfEnum(in.ByName("replay_preset").Enum().Values().ByName("EARLIEST").Number()))
		request.Set(in.ByName("num_requested"), protoreflect.ValueOfInt32(1))
		check(t, stream.SendMsg(request))
		check(t, stream.RecvMsg(response))
		if n := response.Get(subscribe.Output().Fields().ByName("events")).List().Len(); n != 1 {
			t.Errorf("%d events: %v", n, response)
		}
	})
}

func TestReflectionListsServices(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		stream, err := reflectionpb.NewServerReflectionClient(r.conn).ServerReflectionInfo(t.Context())
		check(t, err)
		for _, request := range []*reflectionpb.ServerReflectionRequest{
			{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}},
			{MessageRequest: &reflectionpb.ServerReflectionRequest_FileByFilename{FileByFilename: "grpc/health/v1/health.proto"}},
		} {
			check(t, stream.Send(request))
		}
		list, err := stream.Recv()
		check(t, err)
		var names []string
		for _, service := range list.GetListServicesResponse().GetService() {
			names = append(names, service.GetName())
		}
		want := []string{"eventbus.v1.PubSub", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"}
		if !slices.Equal(names, want) {
			t.Errorf("services %v", names)
		}
		health, err := stream.Recv()
		check(t, err)
		if len(health.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
			t.Errorf("%v", health)
		}
		check(t, stream.CloseSend())
	})
}

func TestHealthNeedsNoLogin(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		check := func(conn *grpc.ClientConn, name string) {
			t.Helper()
			reply, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: name})
			if err != nil || reply.GetStatus() != healthpb.HealthCheckResponse_SERVING {
				t.Errorf("%q: %v, %v", name, reply, err)
			}
		}
		check(r.conn, "")
		check(r.conn, "eventbus.v1.PubSub")
		r.GoAway()
		check(r.dial(), "eventbus.v1.PubSub")
		if r.Logins() != 1 {
			t.Errorf("%d logins", r.Logins())
		}
	}, sfstreamtest.WithTLS())
}
