package sfstreamtest

import (
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionalpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

// The names that Salesforce's .proto has. Our generated messages have others, because a Go program
// can link a name only once.
const (
	salesforceFile    = "pubsub_api.proto"
	salesforcePackage = "eventbus.v1"
)

// salesforceProto describes the Pub/Sub API as Salesforce's .proto does, with the methods that this
// org answers with UNIMPLEMENTED. It is in no registry of the process.
var salesforceProto = sync.OnceValues(func() (protoreflect.FileDescriptor, error) {
	ours := eventbus.File_sfstream_eventbus_v1_proto
	own, theirs := "."+string(ours.Package())+".", "."+salesforcePackage+"."
	file := protodesc.ToFileDescriptorProto(ours)
	file.Name, file.Package, file.Options = proto.String(salesforceFile), proto.String(salesforcePackage), nil
	for _, message := range file.MessageType {
		for _, field := range message.Field {
			if name, ok := strings.CutPrefix(field.GetTypeName(), own); ok {
				field.TypeName = proto.String(theirs + name)
			}
		}
	}
	method := func(name, request, response string, stream bool) *descriptorpb.MethodDescriptorProto {
		return &descriptorpb.MethodDescriptorProto{
			Name: proto.String(name), InputType: proto.String(theirs + request), OutputType: proto.String(theirs + response),
			ClientStreaming: proto.Bool(stream), ServerStreaming: proto.Bool(stream),
		}
	}
	file.Service = []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("PubSub"), Method: []*descriptorpb.MethodDescriptorProto{
		method("Subscribe", "FetchRequest", "FetchResponse", true),
		method("GetSchema", "SchemaRequest", "SchemaInfo", false),
		method("GetTopic", "TopicRequest", "TopicInfo", false),
		method("Publish", "PublishRequest", "PublishResponse", false),
		method("PublishStream", "PublishRequest", "PublishResponse", true),
		method("ManagedSubscribe", "ManagedFetchRequest", "ManagedFetchResponse", true),
	}}}
	return protodesc.NewFile(file, nil)
})

// describer finds the descriptors of what the org serves: Salesforce's first, else those of grpc's
// own services, which are linked.
type describer struct{ salesforce *protoregistry.Files }

func newDescriber() (describer, error) {
	file, err := salesforceProto()
	if err != nil {
		return describer{}, err
	}
	d := describer{new(protoregistry.Files)}
	return d, d.salesforce.RegisterFile(file)
}

func (d describer) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	if file, err := d.salesforce.FindFileByPath(path); err == nil {
		return file, nil
	}
	return protoregistry.GlobalFiles.FindFileByPath(path)
}

func (d describer) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	if found, err := d.salesforce.FindDescriptorByName(name); err == nil {
		return found, nil
	}
	return protoregistry.GlobalFiles.FindDescriptorByName(name)
}

// serveTools adds what probes, and tools such as grpcurl, ask a gRPC server for: its health and its
// descriptors. Neither needs a login.
func (d describer) serveTools(g *grpc.Server) {
	alive := health.NewServer()
	alive.SetServingStatus(salesforcePackage+".PubSub", healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(g, alive)
	options := reflection.ServerOptions{Services: g, DescriptorResolver: d}
	reflectionpb.RegisterServerReflectionServer(g, reflection.NewServerV1(options))
	reflectionalpha.RegisterServerReflectionServer(g, reflection.NewServer(options))
}
