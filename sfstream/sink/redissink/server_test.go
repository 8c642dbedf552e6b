package redissink_test

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// serve starts a redis-server of the test's own, and returns the path of its socket.
func serve(tb testing.TB, args ...string) (socket string) {
	tb.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") != "" {
			tb.Fatal("redis-server is missing: apt-get install redis-server")
		}
		tb.Skip("redis-server is missing")
	}
	dir, err := os.MkdirTemp("", "redis") // not TempDir, because the path of a socket is short
	if err != nil {
		tb.Fatal(err)
	}
	socket = filepath.Join(dir, "redis.sock")
	process := exec.Command(path, append([]string{"--port", "0", "--unixsocket", socket, "--dir", dir, "--save", ""}, args...)...)
	if err := process.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
		_ = os.RemoveAll(dir)
	})
	client := connect(tb, &redis.Options{Network: "unix", Addr: socket})
	for deadline := time.Now().Add(20 * time.Second); client.Ping(tb.Context()).Err() != nil; {
		if time.Now().After(deadline) {
			tb.Fatal("redis-server does not answer:", client.Ping(tb.Context()).Err())
		}
		time.Sleep(5 * time.Millisecond)
	}
	return socket
}

func connect(tb testing.TB, opts *redis.Options) *redis.Client {
	client := redis.NewClient(opts)
	tb.Cleanup(func() { _ = client.Close() })
	return client
}

// proxy is a network between a client and a server.
type proxy struct {
	net.Listener
	socket string

	mu    sync.Mutex
	conns map[net.Conn]bool
	all   sync.WaitGroup
}

func newProxy(tb testing.TB, socket string) *proxy {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &proxy{Listener: listener, socket: socket, conns: make(map[net.Conn]bool)}
	p.all.Go(p.accept)
	tb.Cleanup(func() {
		_ = p.Close()
		p.cut()
		p.all.Wait()
	})
	return p
}

func (p *proxy) accept() {
	for {
		client, err := p.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("unix", p.socket)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		p.all.Go(func() { p.copy(client, server) })
		p.all.Go(func() { p.copy(server, client) })
	}
}

func (p *proxy) copy(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_, _ = to.Close(), from.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, to)
	delete(p.conns, from)
}

// cut closes all connections that there are.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		_ = conn.Close()
	}
}
