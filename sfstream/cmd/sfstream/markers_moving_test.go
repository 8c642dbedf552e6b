package main

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/replaystore"
)

// standIns are what the commands of docs/moving.md need of other people's: a module of aiosfstream
// with the class that its files have objects of, a program that writes such a file, and a Redis.
var standIns = map[string]string{
	"aiosfstream/__init__.py": "",
	"aiosfstream/replay.py":   "from typing import NamedTuple\nclass ReplayMarker(NamedTuple):\n    date: str\n    replay_id: int\n",
	"old_program.py": `import shelve
from aiosfstream.replay import ReplayMarker
with shelve.open("replay.db") as markers:
    markers["/topic/Accounts"] = ReplayMarker("2026-11-27T20:00:00.005Z", 1234)
    markers["/u/News"] = ReplayMarker("2026-11-27T20:00:00.005+0000", 9007199254740993)
    markers["/data/ChangeEvents"] = ReplayMarker("1795809600005", 5678)
    markers["/event/Order__e"] = ReplayMarker("None", 0)
`,
	"bin/redis-cli": `#!/bin/sh
case "$*" in
"--scan --pattern salesforce:replay_id:*") echo salesforce:replay_id:/topic/Accounts; echo "salesforce:replay_id:/topic/Contacts?Name='x y'" ;;
"get salesforce:replay_id:/topic/Accounts") echo 1234 ;;
"get salesforce:replay_id:/topic/Contacts?Name='x y'") echo 9007199254740993 ;;
*) exit 1 ;;
esac
`,
}

// What docs/moving.md says to run takes over the markers of other clients.
func TestMarkersOfOtherClientsAreTakenOver(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err == nil {
		_, err = exec.LookPath("python3")
	}
	switch {
	case err == nil:
	case os.Getenv("CI") != "":
		t.Fatal(err)
	default:
		t.Skip(err)
	}
	page, err := os.ReadFile("../../docs/moving.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range standIns {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "bin/sfstream")); err != nil {
		t.Fatal(err)
	}
	shell := func(script string) {
		t.Helper()
		cmd := program(t, []string{"PATH=" + filepath.Join(dir, "bin") + string(os.PathListSeparator) + os.Getenv("PATH")})
		cmd.Path, cmd.Args, cmd.Dir = sh, []string{"sh", "-e", "-c", script}, dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", script, err, out)
		}
	}

	lines := regexp.MustCompile("(?sm)^```python\n(.*?)^```$").FindSubmatch(page)
	if lines == nil || bytes.Count(lines[1], []byte("\n")) != 3 {
		t.Fatalf("the lines of Python are %q", lines)
	}
	if err := os.WriteFile(filepath.Join(dir, "markers.py"), lines[1], 0o600); err != nil {
		t.Fatal(err)
	}
	shell("python3 old_program.py")

	in := func(api, channel string) replaystore.Key {
		return replaystore.Key{OrgID: "00D000000000001EAA", API: api, Channel: channel}
	}
	at := time.Date(2026, 11, 27, 20, 0, 0, 5e6, time.UTC)
	want := []map[replaystore.Key]replaystore.Marker{
		{ // aiosfstream
			in(apiStreaming, "/topic/Accounts"):    {ReplayID: []byte("1234"), Date: at},
			in(apiStreaming, "/u/News"):            {ReplayID: []byte("9007199254740993"), Date: at},
			in(apiStreaming, "/data/ChangeEvents"): {ReplayID: []byte("5678"), Date: at},
			in(apiStreaming, "/event/Order__e"):    {ReplayID: []byte("0")},
		},
		{ // nameko-salesforce
			in(apiStreaming, "/topic/Accounts"): {ReplayID: []byte("1234")},
			in(apiStreaming, "/topic/Contacts"): {ReplayID: []byte("9007199254740993")},
		},
		{ // numbers
			in(apiStreaming, "/topic/Accounts"): {ReplayID: []byte("1234")},
			in(apiStreaming, "/event/Order__e"): {ReplayID: []byte("5678")},
		},
		{ // bytes
			in(apiPubSub, "/event/Order__e"):    {ReplayID: []byte{0, 0, 0, 0, 0, 0, 0x16, 0x2e, 0, 0}},
			in(apiPubSub, "/data/ChangeEvents"): {ReplayID: []byte{0, 0, 0, 0, 0, 0, 0x12, 0xd6, 0, 0}},
		},
	}
	scripts := regexp.MustCompile("(?sm)^```sh\n(.*?)^```$").FindAllSubmatch(page, -1)
	if len(scripts) != len(want) {
		t.Fatalf("the page has %d parts for a shell, want %d", len(scripts), len(want))
	}
	for i, script := range scripts {
		shell(string(script[1]))
		path := filepath.Join(dir, "sfstream.db")
		if got := markersIn(t, path); !maps.EqualFunc(got, want[i], sameMarker) {
			t.Errorf("%s: the file has %+v, want %+v", script[1], got, want[i])
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}
