package redisstore_test

import (
	"context"
	"crypto/rand"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// server is a redis-server of a test's own, at a socket in a directory of its own.
type server struct {
	dir     string
	process *exec.Cmd
}

// start starts a server whose data is in dir. It is killed when the test ends, if not before.
func start(tb testing.TB, dir string, args ...string) *server {
	tb.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") != "" {
			tb.Fatal("redis-server is missing: apt-get install redis-server")
		}
		tb.Skip("redis-server is missing")
	}
	s := &server{dir: dir}
	s.process = exec.Command(path, append([]string{"--port", "0", "--unixsocket", s.socket(), "--dir", dir, "--save", ""}, args...)...)
	if err := s.process.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.kill)
	client := s.client(tb)
	for deadline := time.Now().Add(20 * time.Second); client.Ping(tb.Context()).Err() != nil; {
		if time.Now().After(deadline) {
			tb.Fatal("redis-server does not answer:", client.Ping(tb.Context()).Err())
		}
		time.Sleep(5 * time.Millisecond)
	}
	return s
}

// socket is not in dir, because the path of a socket is short.
func (s *server) socket() string {
	return filepath.Join(os.TempDir(), "redis-"+filepath.Base(s.dir)+".sock")
}

// kill is what kill -9 is.
func (s *server) kill() {
	s.process.Process.Kill()
	s.process.Wait()
	os.Remove(s.socket())
}

// stall lets the server do nothing until resume is called.
func (s *server) stall() (resume func()) {
	_ = s.process.Process.Signal(syscall.SIGSTOP)
	var status syscall.WaitStatus // the signal takes effect on one thread after the other
	_, _ = syscall.Wait4(s.process.Process.Pid, &status, syscall.WUNTRACED, nil)
	return func() { _ = s.process.Process.Signal(syscall.SIGCONT) }
}

func (s *server) client(tb testing.TB) *redis.Client {
	return connect(tb, &redis.Options{Network: "unix", Addr: s.socket()})
}

func connect(tb testing.TB, opts *redis.Options) *redis.Client {
	client := redis.NewClient(opts)
	tb.Cleanup(func() { client.Close() })
	return client
}

// serve starts a server that keeps nothing.
func serve(tb testing.TB) *server { return start(tb, shortDir(tb)) }

func shortDir(tb testing.TB) string {
	dir, err := os.MkdirTemp("", rand.Text())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// faulty lets a client's connections pass by replies, which it is told of one after the other.
func faulty(tb testing.TB, s *server, reply func(conn net.Conn, reply []byte)) *redis.Options {
	return &redis.Options{
		Addr:        "faulty",
		ReadTimeout: time.Second,
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			conn, err := net.Dial("unix", s.socket())
			return &faultyConn{Conn: conn, reply: reply}, err
		},
	}
}

type faultyConn struct {
	net.Conn
	reply func(conn net.Conn, reply []byte)
}

func (c *faultyConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.reply(c.Conn, p[:n])
	return n, err
}
