package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
)

const versionHelp = `Prints which release this program is, from which commit it was built, and with
which Go. Name all of it where you report an error.
`

// versionFlags are the flags of sfstream version.
type versionFlags struct{ json bool }

func (f *versionFlags) register(flags *flag.FlagSet) {
	flags.BoolVar(&f.json, "json", false, "print a JSON object")
}

func (f *versionFlags) run(_ context.Context, _ []string, stdout, _ io.Writer) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = new(debug.BuildInfo)
	}
	b := buildOf(info)
	if f.json {
		return json.NewEncoder(stdout).Encode(b)
	}
	_, err := fmt.Fprintln(stdout, b)
	return err
}

// build is what is known of how a program was made.
type build struct {
	Version  string `json:"version"`            // v1.2.3, or "(devel)" if it is no release
	Revision string `json:"revision,omitempty"` // the commit
	Time     string `json:"time,omitempty"`     // of the commit, RFC 3339
	Modified bool   `json:"modified,omitempty"` // there were changes that are not in the commit
	Go       string `json:"go"`
	OS       string `json:"os,omitempty"`
	Arch     string `json:"arch,omitempty"`
}

func buildOf(info *debug.BuildInfo) build {
	b := build{Version: info.Main.Version, Go: info.GoVersion}
	if b.Version == "" {
		b.Version = "(unknown)"
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		case "GOOS":
			b.OS = s.Value
		case "GOARCH":
			b.Arch = s.Value
		}
	}
	return b
}

// String returns the build in one line.
func (b build) String() string {
	parts := []string{"sfstream " + b.Version}
	if b.Revision != "" {
		commit := "commit " + b.Revision[:min(12, len(b.Revision))]
		if b.Time != "" {
			commit += " of " + b.Time
		}
		if b.Modified {
			commit += " with changes"
		}
		parts = append(parts, commit)
	}
	if b.Go != "" {
		parts = append(parts, strings.TrimSuffix(b.Go+" "+b.OS+"/"+b.Arch, " /"))
	}
	return strings.Join(parts, ", ")
}
