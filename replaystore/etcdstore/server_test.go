package etcdstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// server is an etcd of one member on loopback, a process of its own.
type server struct {
	t           *testing.T
	binary, dir string
	process     *exec.Cmd     // nil while it does not run
	ended       chan struct{} // closed when the process has ended
	address     string        // another one after each start
}

// newServer starts etcd with an empty disk. It ends with the test.
func newServer(t *testing.T) *server {
	t.Helper()
	binary, err := exec.LookPath("etcd")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("etcd is not installed: apt-get install etcd-server")
		}
		t.Skip("etcd is not on the PATH")
	}
	s := &server{t: t, binary: binary, dir: filepath.Join(t.TempDir(), "data")}
	t.Cleanup(s.stop)
	s.start()
	return s
}

// start starts etcd on what its disk has, and returns when it serves. It tries again where
// somebody else has taken a port in the meantime.
func (s *server) start() {
	s.t.Helper()
	var err error
	for range 5 {
		if err = s.try(); err == nil {
			return
		}
		s.stop()
	}
	s.t.Fatal(err)
}

func (s *server) try() error {
	ports := freePorts(s.t)
	client, peer := "http://"+ports[0], "http://"+ports[1]
	process := exec.Command(s.binary, "--name=one", "--data-dir="+s.dir,
		"--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=one="+peer,
		"--heartbeat-interval=10", "--election-timeout=100", "--logger=zap", "--log-level=error")
	var output bytes.Buffer
	process.Stderr = &output
	if err := process.Start(); err != nil {
		return err
	}
	s.process, s.ended, s.address = process, make(chan struct{}), ports[0]
	go func() {
		defer close(s.ended)
		process.Wait()
	}()
	for listens := false; !listens; {
		select {
		case <-s.ended:
			return fmt.Errorf("etcd has ended:\n%s", &output)
		case <-time.After(10 * time.Millisecond):
		}
		// gRPC would wait for a second after a connection that is refused.
		conn, err := net.Dial("tcp", s.address)
		if listens = err == nil; listens {
			conn.Close()
		}
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	if _, err := s.dial().Get(ctx, "ready"); err != nil {
		return fmt.Errorf("etcd does not serve: %w", err)
	}
	select {
	case <-s.ended:
		return errors.New("etcd has ended, and something else answers in its place")
	default:
		return nil
	}
}

// freePorts are two addresses of loopback where nobody listens.
func freePorts(t *testing.T) (addresses [2]string) {
	t.Helper()
	for i := range addresses {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addresses[i] = l.Addr().String()
	}
	return addresses
}

// dial returns a client, which is closed with the test.
func (s *server) dial() *clientv3.Client {
	s.t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{s.address}, Logger: zap.NewNop()})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { client.Close() })
	return client
}

// stop kills etcd.
func (s *server) stop() {
	if s.process != nil {
		s.process.Process.Kill()
		<-s.ended
		s.process = nil
	}
}

// freeze stops the process as it is until thaw.
func (s *server) freeze() {
	s.t.Helper()
	if err := s.process.Process.Signal(syscall.SIGSTOP); err != nil {
		s.t.Fatal(err)
	}
	// The signal takes effect on one thread after the other.
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(s.process.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		s.t.Fatalf("etcd does not stop: %v, %#x", err, status)
	}
}

func (s *server) thaw() {
	s.t.Helper()
	if err := s.process.Process.Signal(syscall.SIGCONT); err != nil {
		s.t.Fatal(err)
	}
}
