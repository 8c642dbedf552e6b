// Package child runs a test binary as the other processes of its tests.
package child

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
)

// With childEnv set, a test binary does that job, with what childArgs holds.
const (
	childEnv  = "SFSTREAM_TEST_CHILD"
	childArgs = "SFSTREAM_TEST_ARGS"
)

// Main is the TestMain of a package whose tests need other processes: in one of them it does its
// job, elsewhere it runs the tests.
func Main(m *testing.M, jobs map[string]func() error) {
	name := os.Getenv(childEnv)
	if name == "" {
		os.Exit(m.Run())
	}
	err := fmt.Errorf("no such job: %q", name)
	if do := jobs[name]; do != nil {
		err = do()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Job is a job that needs arguments: those of Command.
func Job[Args any](do func(Args) error) func() error {
	return func() error {
		var args Args
		if err := json.Unmarshal([]byte(os.Getenv(childArgs)), &args); err != nil {
			return err
		}
		return do(args)
	}
}

// Command is the test binary with a job. Its stderr is the test's.
func Command(tb testing.TB, job string, args any) *exec.Cmd {
	tb.Helper()
	text, err := json.Marshal(args)
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+job, childArgs+"="+string(text))
	cmd.Stderr = os.Stderr
	return cmd
}

// Start starts a command that ends when its stdin does, at the latest with the test.
func Start(tb testing.TB, cmd *exec.Cmd) (stdin io.Closer) {
	tb.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = cmd.Process.Kill() // unless it has ended
		_ = cmd.Wait()
	})
	return stdin
}
