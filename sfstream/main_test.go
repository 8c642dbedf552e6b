package sfstream_test

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
)

// The test binary is also the other processes of the tests and benchmarks that
// need some: with childEnv set it does that job, with what childArgs holds.
const (
	childEnv  = "SFSTREAM_TEST_CHILD"
	childArgs = "SFSTREAM_TEST_ARGS"
)

func TestMain(m *testing.M) {
	var err error
	switch job := os.Getenv(childEnv); job {
	case "":
		os.Exit(m.Run())
	case "follow":
		err = runJob(follower)
	case "panic":
		err = runJob(panicking)
	case "soak":
		err = runJob(soakFollower)
	case "bench server":
		err = serveBench()
	case "bench bare":
		err = runJob(receiveBare)
	case "bench cometd server":
		err = serveBurst()
	case "bench cometd":
		err = runJob(receiveBurst)
	case "bench receive":
		err = runJob(receive)
	default:
		err = fmt.Errorf("no such job: %q", job)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func runJob[Args any](job func(Args) error) error {
	var args Args
	if err := json.Unmarshal([]byte(os.Getenv(childArgs)), &args); err != nil {
		return err
	}
	return job(args)
}

// childCommand is the test binary with a job. Its stderr is the test's.
func childCommand(tb testing.TB, job string, args any) *exec.Cmd {
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

// startChild starts a command that ends when its stdin does, at the latest with
// the test.
func startChild(tb testing.TB, cmd *exec.Cmd) (stdin io.Closer) {
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
