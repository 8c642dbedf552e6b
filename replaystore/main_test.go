package replaystore_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/sfstream/sfstream-go/replaystore"
)

// The test binary is also the other process of the tests that need one: with childEnv set it does
// that job with the replay file that its argument names.
const childEnv = "REPLAYSTORE_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		os.Exit(m.Run())
	case "hold":
		holdFile(os.Args[1])
	case "save":
		saveForever(os.Args[1])
	}
}

// holdFile keeps the file open until stdin ends.
func holdFile(path string) {
	store, err := replaystore.OpenBolt(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	fmt.Println("open")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// saveForever saves 1, 2, 3 … for two keys at once and prints each number when it is saved.
func saveForever(path string) {
	store, err := replaystore.OpenBolt(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := 1; ; i++ {
		marker := replaystore.Marker{ReplayID: strconv.AppendInt(nil, int64(i), 10)}
		if err := store.Save(context.Background(), map[replaystore.Key]replaystore.Marker{keyA: marker, keyB: marker}); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(i)
	}
}

var (
	keyA = replaystore.Key{OrgID: "00D000000000062EAA", API: "pubsub", Channel: "/event/A__e"}
	keyB = replaystore.Key{OrgID: "00D000000000062EAA", API: "cometd", Channel: "/topic/B"}
)

// child starts the test binary for a job on path.
func child(t *testing.T, job, path string) (cmd *exec.Cmd, stdin io.Closer, lines *bufio.Scanner) {
	t.Helper()
	cmd = exec.Command(os.Args[0], path)
	cmd.Env = append(os.Environ(), childEnv+"="+job)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd, in, bufio.NewScanner(out)
}

func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "replay.db") }

func openBolt(t testing.TB, path string, opts ...replaystore.BoltOption) *replaystore.Bolt {
	t.Helper()
	store, err := replaystore.OpenBolt(path, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func mustSave(t testing.TB, store replaystore.Store, key replaystore.Key, id string) {
	t.Helper()
	if err := store.Save(t.Context(), map[replaystore.Key]replaystore.Marker{key: {ReplayID: []byte(id)}}); err != nil {
		t.Fatal(err)
	}
}

func mustLoad(t testing.TB, store replaystore.Store, key replaystore.Key) string {
	t.Helper()
	marker, err := store.Load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(marker.ReplayID)
}
