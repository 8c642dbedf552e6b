package sqlsink_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// proxy is a network between a driver and PostgreSQL that loses what is said of commits.
type proxy struct {
	to   string
	at   net.Listener
	lose atomic.Bool
	next atomic.Bool // the answer to the next commit is lost

	commits                 atomic.Int32 // since the last cut
	requests, late, replies atomic.Int32 // how many commits were lost before, while and after they happened

	mu    sync.Mutex
	conns map[net.Conn]bool
}

// A simple query that commits, and the server's answer to it.
var commitQuery, commitDone = []byte("commit\x00"), []byte("C\x00\x00\x00\x0bCOMMIT\x00")

func newProxy(tb testing.TB, to string) *proxy {
	tb.Helper()
	at, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &proxy{to: to, at: at, conns: make(map[net.Conn]bool)}
	tb.Cleanup(func() { at.Close() })
	go p.accept() // ends with the listener
	return p
}

// String tells what was lost.
func (p *proxy) String() string {
	if p == nil {
		return "none"
	}
	return fmt.Sprintf("%d before, %d while and %d after they happened", p.requests.Load(), p.late.Load(), p.replies.Load())
}

func (p *proxy) address() string { return p.at.Addr().String() }

func (p *proxy) accept() {
	for {
		client, err := p.at.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.to)
		if err != nil {
			client.Close()
			continue
		}
		go p.forward(server, client, p.request) // both end with the connections
		go p.forward(client, server, p.reply)
	}
}

func (p *proxy) forward(to, from net.Conn, arrives func(text []byte, to, from net.Conn) (on bool)) {
	defer to.Close()
	defer from.Close()
	p.track(from, true)
	defer p.track(from, false)
	text := make([]byte, 64<<10)
	for {
		n, err := from.Read(text)
		if n > 0 && arrives(text[:n], to, from) {
			if _, err := to.Write(text[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// cut breaks all connections, unless little was committed since the last time: on a slow machine
// a connection takes longer than it is to last.
func (p *proxy) cut() {
	if p.commits.Load() < 5 {
		return
	}
	p.commits.Store(0)
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		conn.Close()
	}
}

func (p *proxy) track(conn net.Conn, is bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if is {
		p.conns[conn] = true
	} else {
		delete(p.conns, conn)
	}
}

// request loses some commits, and lets some arrive long after their sender has given up.
func (p *proxy) request(text []byte, to, from net.Conn) (on bool) {
	if !p.lose.Load() || !bytes.Contains(bytes.ToLower(text), commitQuery) {
		return true
	}
	switch rand.IntN(50) {
	case 0:
		p.requests.Add(1)
		from.Close()
		return false
	case 1:
		p.late.Add(1)
		from.Close()
		time.Sleep(50 * time.Millisecond)
		_, _ = to.Write(text)
		_, _ = io.ReadFull(to, make([]byte, len(commitDone)))
		return false
	}
	return true
}

// reply loses the answers to some commits.
func (p *proxy) reply(text []byte, to, _ net.Conn) (on bool) {
	if !bytes.Contains(text, commitDone) {
		return true
	}
	p.commits.Add(1)
	if !p.next.CompareAndSwap(true, false) && (!p.lose.Load() || rand.IntN(20) > 0) {
		return true
	}
	p.replies.Add(1)
	to.Close()
	return false
}
