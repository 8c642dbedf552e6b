package sqlstore_test

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

	requests, late, replies atomic.Int32 // how many commits were lost before, while and after they happened

	mu    sync.Mutex
	stall chan struct{} // not nil: nothing is forwarded until it is closed
}

// A simple query that commits, and the server's answer to it.
var commitQuery, commitDone = []byte("commit\x00"), []byte("C\x00\x00\x00\x0bCOMMIT\x00")

func newProxy(tb testing.TB, to string) *proxy {
	tb.Helper()
	at, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &proxy{to: to, at: at}
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
	text := make([]byte, 64<<10)
	for {
		n, err := from.Read(text)
		if n > 0 && arrives(text[:n], to, from) {
			p.wait()
			if _, err := to.Write(text[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *proxy) wait() {
	p.mu.Lock()
	stall := p.stall
	p.mu.Unlock()
	if stall != nil {
		<-stall
	}
}

// request loses some commits, and lets some arrive long after their sender has given up.
func (p *proxy) request(text []byte, to, from net.Conn) (on bool) {
	if !p.lose.Load() || !bytes.Contains(bytes.ToLower(text), commitQuery) {
		return true
	}
	switch rand.IntN(15) {
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
	if !p.lose.Load() || !bytes.Contains(text, commitDone) || rand.IntN(6) > 0 {
		return true
	}
	p.replies.Add(1)
	to.Close()
	return false
}

// Stall lets nothing through, until resume is called.
func (p *proxy) Stall() (resume func()) {
	stall := make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stall = stall
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.stall = nil
		close(stall)
	})
}
