package natsstore_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The test binary is also a server that can be killed: with childEnv set it is one whose data is in
// the directory that it names.
const childEnv = "NATSSTORE_TEST_CHILD"

func TestMain(m *testing.M) {
	dir := os.Getenv(childEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	s, err := serve(dir, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.ClientURL())
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// serve starts a server in this process. Its domain may be empty.
func serve(dir, domain string) (*server.Server, error) {
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, JetStreamDomain: domain, StoreDir: dir, NoSigs: true, NoLog: true,
	})
	if err != nil {
		return nil, err
	}
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		s.Shutdown()
		return nil, fmt.Errorf("the server is not ready")
	}
	return s, nil
}

// start returns a client of a server of the test's own.
func start(tb testing.TB) jetstream.JetStream {
	tb.Helper()
	s, err := serve(tb.TempDir(), "")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	return connect(tb, s.ClientURL())
}

func connect(tb testing.TB, url string) jetstream.JetStream {
	tb.Helper()
	conn, err := nats.Connect(url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		tb.Fatal(err)
	}
	return js
}

// child is a server in a process of its own.
type child struct {
	url     string
	process *exec.Cmd
}

func startChild(tb testing.TB, dir string) *child {
	tb.Helper()
	process := exec.Command(os.Args[0])
	process.Env = append(os.Environ(), childEnv+"="+dir)
	if _, err := process.StdinPipe(); err != nil { // it ends with this process
		tb.Fatal(err)
	}
	stdout, err := process.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := process.Start(); err != nil {
		tb.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	lines.Scan()
	c := &child{lines.Text(), process}
	tb.Cleanup(c.kill)
	return c
}

// kill is what kill -9 is.
func (c *child) kill() {
	_ = c.process.Process.Kill()
	_ = c.process.Wait()
}

// stall lets the server do nothing until resume is called.
func (c *child) stall() (resume func()) {
	_ = c.process.Process.Signal(syscall.SIGSTOP)
	var status syscall.WaitStatus // the signal takes effect on one thread after the other
	_, _ = syscall.Wait4(c.process.Process.Pid, &status, syscall.WUNTRACED, nil)
	return func() { _ = c.process.Process.Signal(syscall.SIGCONT) }
}
