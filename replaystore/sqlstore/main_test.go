package sqlstore_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// childEnv makes the test binary a program of a storm.
const childEnv = "SQLSTORE_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		var p program
		err := json.Unmarshal([]byte(text), &p)
		if err == nil {
			err = p.run()
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if postgres.server != nil {
		postgres.stop()
	}
	os.Exit(code)
}

// process is a program that runs.
type process struct {
	*os.Process
	ended chan struct{}
}

// start starts the program as a process of its own, which is killed with the test at the latest.
func (p program) start(tb testing.TB) *process {
	tb.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	cmd.Stderr = tb.Output()
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	started := &process{cmd.Process, make(chan struct{})}
	go func() { // ends with the process
		defer close(started.ended)
		_ = cmd.Wait()
	}()
	tb.Cleanup(started.kill)
	return started
}

func (p *process) kill() {
	_ = p.Kill()
	<-p.ended
}

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}
