package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTheDockerfileBuilds checks what can be checked without Docker: what it copies is there, its
// go build has the packages and flags for a program that needs no libraries, and its Go is the one
// that go.mod asks for.
func TestTheDockerfileBuilds(t *testing.T) {
	root := filepath.Join("..", "..", "..")
	text, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	file := string(text)
	for _, m := range regexp.MustCompile(`(?m)^COPY ([^-].*) \S+$`).FindAllStringSubmatch(file, -1) {
		for path := range strings.FieldsSeq(m[1]) {
			if _, err := os.Stat(filepath.Join(root, path)); err != nil {
				t.Errorf("COPY %s: %v", path, err)
			}
		}
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(mod)
	if version == nil || !strings.Contains(file, "FROM golang:"+string(version[1])+" AS build") {
		t.Errorf("go.mod wants Go %s", version[1])
	}
	build := regexp.MustCompile(`(?m)^RUN (CGO_ENABLED=0 go build .*) -o /out/sfstream (\S+)$`).FindStringSubmatch(file)
	if build == nil || !strings.Contains(file, "COPY --from=build /out/sfstream /sfstream\n") {
		t.Fatal("it does not build /out/sfstream")
	}
	// To build everything once more, without cgo, would take a minute. What it would build is
	// known.
	for _, line := range []string{
		strings.Replace(build[1], "go build", "go build -n", 1) + " -o /dev/null " + build[2],
		"CGO_ENABLED=0 go list -deps " + build[2],
	} {
		cmd := exec.Command("sh", "-c", line)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", line, err, out)
		}
	}
	// The ports and folders that it names are those of testorg.
	_, help, _ := printed(t, "help", "testorg")
	for port := range strings.FieldsSeq(regexp.MustCompile(`(?m)^EXPOSE (.*)$`).FindStringSubmatch(file)[1]) {
		if !strings.Contains(help, "127.0.0.1:"+port) {
			t.Errorf("testorg has no port %s", port)
		}
	}
}
