package main

import (
	"encoding/json"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	status, line, stderr := printed(t, "version")
	if status != 0 || stderr != "" || !strings.HasPrefix(line, "sfstream ") || strings.Count(line, "\n") != 1 || !strings.Contains(line, runtime.Version()) {
		t.Errorf("exit status %d; stdout %q; stderr %q", status, line, stderr)
	}
	if _, same, _ := printed(t, "--version"); same != line {
		t.Errorf("--version prints %q, version %q", same, line)
	}
	var b build
	status, line, _ = printed(t, "version", "-json")
	if err := json.Unmarshal([]byte(line), &b); err != nil || status != 0 || b.Go != runtime.Version() || b.Version == "" {
		t.Errorf("exit status %d: %s (%v)", status, line, err)
	}
}

func TestVersionOfBuilds(t *testing.T) {
	revision := []debug.BuildSetting{{Key: "GOOS", Value: "linux"}, {Key: "GOARCH", Value: "arm64"},
		{Key: "vcs.revision", Value: "0123456789abcdef0123456789abcdef01234567"}, {Key: "vcs.time", Value: "2026-11-27T20:00:00Z"}}
	for _, test := range []struct {
		want string
		info debug.BuildInfo
	}{
		{"sfstream v1.2.3, go1.26.8 linux/arm64", debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "v1.2.3"}, Settings: revision[:2]}},
		{"sfstream (devel), commit 0123456789ab of 2026-11-27T20:00:00Z, go1.26.8 linux/arm64",
			debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "(devel)"}, Settings: revision}},
		{"sfstream v1.2.4-0.2026, commit 0123456789ab of 2026-11-27T20:00:00Z with changes, go1.26.8 linux/arm64",
			debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "v1.2.4-0.2026"}, Settings: append(revision, debug.BuildSetting{Key: "vcs.modified", Value: "true"})}},
		{"sfstream (unknown)", debug.BuildInfo{}},
	} {
		if got := buildOf(&test.info).String(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}
