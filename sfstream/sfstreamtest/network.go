package sfstreamtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// network is every way into the org. All connections pass through it, so that it can cut and refuse
// them and make them go dead.
type network struct {
	inMemory bool
	refused  func() bool

	mu     sync.Mutex
	closed bool
	conns  map[*conn]struct{}
	gates  map[string]*gate // by port
	next   int              // next port in memory
	wg     sync.WaitGroup   // the accept loops
}

func newNetwork(inMemory bool, refused func() bool) *network {
	return &network{
		inMemory: inMemory, refused: refused,
		conns: make(map[*conn]struct{}), gates: make(map[string]*gate), next: 40001,
	}
}

// A gate is one address. It hands new connections to its current door: a server that says goodbye
// (GOAWAY) leaves its door, and the address stays.
type gate struct {
	addr      net.Addr // where a client of this machine reaches it
	port      string
	listeners []net.Listener // none in memory
	spared    bool           // faults leave its connections alone

	mu   sync.Mutex
	door *door
}

// door is the net.Listener of one server in a gate.
type door struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (d *door) Accept() (net.Conn, error) {
	select {
	case c := <-d.conns:
		return c, nil
	case <-d.done:
		return nil, net.ErrClosed
	}
}

func (d *door) Addr() net.Addr { return d.addr }

func (d *door) Close() error {
	d.once.Do(func() { close(d.done) })
	return nil
}

// listen opens an address and returns its gate, without a door yet.
func (n *network) listen(addr string, spared bool) (*gate, error) {
	g := &gate{spared: spared}
	if n.inMemory {
		n.mu.Lock()
		g.addr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: n.next}
		n.next++
		n.mu.Unlock()
	} else {
		var err error
		if g.listeners, err = listenAll(addr); err != nil {
			return nil, err
		}
		g.addr = g.listeners[0].Addr()
		if tcp, ok := g.addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
			g.addr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: tcp.Port}
		}
		for _, ln := range g.listeners {
			// It ends when close closes the listener; close waits for it.
			n.wg.Go(func() { n.accept(g, ln) })
		}
	}
	_, port, err := net.SplitHostPort(g.addr.String())
	if err != nil {
		return nil, err
	}
	g.port = port
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gates[port] = g
	return g, nil
}

// listenAll listens on an address. For localhost these are two, because clients differ in whether
// they try IPv6 or IPv4; a machine without IPv6 has the other one only.
func listenAll(addr string) ([]net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || !strings.EqualFold(host, "localhost") {
		ln, err := net.Listen("tcp", addr)
		return []net.Listener{ln}, err
	}
	const tries = 10 // a port that is free by IPv4 can be taken by IPv6
	for try := 1; ; try++ {
		four, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			return nil, err
		}
		_, chosen, err := net.SplitHostPort(four.Addr().String())
		if err != nil {
			return nil, err
		}
		six, err := net.Listen("tcp6", net.JoinHostPort("::1", chosen))
		switch {
		case err == nil:
			return []net.Listener{four, six}, nil
		case !errors.Is(err, syscall.EADDRINUSE):
			return []net.Listener{four}, nil
		}
		_ = four.Close()
		if port != "0" || try == tries {
			return nil, err
		}
	}
}

// newDoor replaces the door of the gate.
func (g *gate) newDoor() *door {
	d := &door{addr: g.addr, conns: make(chan net.Conn), done: make(chan struct{})}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.door = d
	return d
}

func (g *gate) current() *door {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.door
}

func (n *network) accept(g *gate, ln net.Listener) {
	for {
		raw, err := ln.Accept()
		if err != nil {
			return
		}
		c := n.track(raw, g)
		if c == nil {
			continue
		}
		if err := g.enter(context.Background(), c); err != nil {
			c.cut()
		}
	}
}

// enter hands a connection to whoever serves the gate.
func (g *gate) enter(ctx context.Context, c net.Conn) error {
	for d := g.current(); d != nil; {
		select {
		case d.conns <- c:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-d.done:
		}
		next := g.current()
		if next == d {
			break // the door is closed, and no other has replaced it
		}
		d = next
	}
	return syscall.ECONNREFUSED
}

// dial connects a client of this process.
func (n *network) dial(ctx context.Context, addr string) (net.Conn, error) {
	if !n.inMemory {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	g := n.gates[port]
	n.mu.Unlock()
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("%s: %w", addr, syscall.ECONNREFUSED)}
	if g == nil {
		return nil, refused
	}
	client, raw := net.Pipe()
	c := n.track(raw, g)
	if c == nil {
		return nil, refused
	}
	if err := g.enter(ctx, c); err != nil {
		c.cut()
		if errors.Is(err, syscall.ECONNREFUSED) {
			return nil, refused
		}
		return nil, err
	}
	return client, nil
}

// track takes a connection into the network; it returns nil if the connection was refused.
func (n *network) track(raw net.Conn, g *gate) *conn {
	c := &conn{Conn: raw, network: n, gate: g}
	refused := !g.spared && n.refused()
	n.mu.Lock()
	refused = refused || n.closed
	if !refused {
		n.conns[c] = struct{}{}
	}
	n.mu.Unlock()
	if refused {
		c.cut()
		return nil
	}
	return c
}

// each calls do for the connections of a gate; nil stands for all gates.
func (n *network) each(g *gate, do func(*conn)) {
	n.mu.Lock()
	conns := make([]*conn, 0, len(n.conns))
	for c := range n.conns {
		if g == nil || c.gate == g {
			conns = append(conns, c)
		}
	}
	n.mu.Unlock()
	for _, c := range conns {
		do(c)
	}
}

// strike calls do for the connections that faults can happen to.
func (n *network) strike(do func(*conn)) {
	n.each(nil, func(c *conn) {
		if !c.gate.spared {
			do(c)
		}
	})
}

// close shuts the gates and cuts the connections that are left. The servers must be stopped before.
func (n *network) close() {
	n.mu.Lock()
	n.closed = true
	gates := n.gates
	n.gates = nil
	n.mu.Unlock()
	for _, g := range gates {
		for _, ln := range g.listeners {
			_ = ln.Close()
		}
		if d := g.current(); d != nil {
			_ = d.Close()
		}
	}
	n.each(nil, (*conn).cut)
	n.wg.Wait()
}

// conn is the server's end of a connection.
type conn struct {
	net.Conn
	network *network
	gate    *gate
	dead    atomic.Bool
}

// peerAddr is the address of a client, and the connection to it.
type peerAddr struct {
	net.Addr
	conn *conn
}

// RemoteAddr returns an address by which the handler of a call finds its connection.
func (c *conn) RemoteAddr() net.Addr { return peerAddr{c.Conn.RemoteAddr(), c} }

// cut ends the connection, with a reset if it is TCP.
func (c *conn) cut() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

func (c *conn) Close() error {
	c.network.mu.Lock()
	delete(c.network.conns, c)
	c.network.mu.Unlock()
	return c.Conn.Close()
}

// Write drops what is written once the connection is dead.
func (c *conn) Write(p []byte) (int, error) {
	if c.dead.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// Read reads and drops what comes once the connection is dead, so that the peer can write but gets
// no answer.
func (c *conn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err != nil || !c.dead.Load() {
			return n, err
		}
	}
}
