package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// isProgram is the variable that makes the test binary the program.
const isProgram = "SFSTREAM_EXAMPLE_IS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(isProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// startRedis starts a server on a free port, and returns its address when it answers.
func startRedis(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("redis-server is missing: apt-get install redis-server")
		}
		t.Skip("redis-server is missing")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	_, port, _ := net.SplitHostPort(address)
	server := exec.Command(path, "--bind", "127.0.0.1", "--port", port, "--dir", t.TempDir(), "--save", "", "--appendonly", "yes", "--appendfsync", "always")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return address
		}
		if time.Now().After(deadline) {
			t.Fatal("redis-server does not answer")
		}
	}
}

// program runs the example.
func program(t *testing.T, args ...string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "SALESFORCE_") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, isProgram+"=1", "GORACE=atexit_sleep_ms=0")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, &out)
	}
	return out.String()
}

func TestTheSecondRunContinuesAfterTheFirst(t *testing.T) {
	args := []string{"-redis", startRedis(t), "-org", filepath.Join(t.TempDir(), "org"), "-count", "4"}
	first := program(t, args...)
	second := program(t, args...)
	for n, want := range []string{"A-0", "A-1", "A-2", "A-3"} {
		if !strings.Contains(first, want) || strings.Contains(second, want+" ") {
			t.Errorf("order %d: the first run printed %s, the second one %s", n, first, second)
		}
	}
	if !strings.Contains(second, "Continuing "+orders) || !strings.Contains(second, "A-4") || !strings.Contains(second, "A-7") {
		t.Errorf("the second run printed %s", second)
	}
}
