// Command gen writes the Go code of the event bus contract. It needs no protoc: protocompile parses
// the .proto, and protoc-gen-go, at the version that go.mod pins, writes the code.
//
// It also writes upstreamcopy, the same contract under Salesforce's own file and package names,
// which only a test links.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

const (
	ours       = "sfstream_eventbus_v1.proto"
	goPackage  = "github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	salesforce = "pubsub_api.proto"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run() error {
	source, err := os.ReadFile(ours)
	if err != nil {
		return err
	}
	if err := generate(ours, string(source), "."); err != nil {
		return err
	}
	upstream := strings.NewReplacer(
		"package sfstream.eventbus.v1;", "package eventbus.v1;",
		goPackage, goPackage+"/upstreamcopy",
	).Replace(string(source))
	return generate(salesforce, upstream, "upstreamcopy")
}

// generate compiles one .proto text under the given registry path and writes its Go code into dir.
func generate(protoPath, source, dir string) error {
	compiler := protocompile.Compiler{
		Resolver: &protocompile.SourceResolver{
			Accessor: protocompile.SourceAccessorFromMap(map[string]string{protoPath: source}),
		},
		SourceInfoMode: protocompile.SourceInfoStandard, // comments travel to the Go code
	}
	files, err := compiler.Compile(context.Background(), protoPath)
	if err != nil {
		return err
	}
	request, err := proto.Marshal(&pluginpb.CodeGeneratorRequest{
		FileToGenerate: []string{protoPath},
		Parameter:      proto.String("paths=source_relative"),
		ProtoFile:      []*descriptorpb.FileDescriptorProto{protoutil.ProtoFromFileDescriptor(files[0])},
	})
	if err != nil {
		return err
	}
	plugin := exec.Command("go", "run", "google.golang.org/protobuf/cmd/protoc-gen-go")
	plugin.Stdin = bytes.NewReader(request)
	plugin.Stderr = os.Stderr
	reply, err := plugin.Output()
	if err != nil {
		return fmt.Errorf("protoc-gen-go: %w", err)
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(reply, &response); err != nil {
		return err
	}
	if response.Error != nil {
		return fmt.Errorf("protoc-gen-go: %s", *response.Error)
	}
	for _, file := range response.File {
		if err := os.WriteFile(filepath.Join(dir, path.Base(file.GetName())), []byte(file.GetContent()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
