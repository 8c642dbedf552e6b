package sfstreamtest

import (
	"context"
	"errors"
	"fmt"
	"net"
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
	addr     net.Addr
	listener net.Listener // nil in memory

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
func (n *network) listen(addr string) (*gate, error) {
	g := new(gate)
	if n.inMemory {
		n.mu.Lock()
		g.addr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: n.next}
		n.next++
		n.mu.Unlock()
	} else {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, err
		}
		g.listener, g.addr = ln, ln.Addr()
		if tcp, ok := g.addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
			g.addr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: tcp.Port} // the address that a client can dial
		}
		// It ends when close closes the listener; close waits for it.
		n.wg.Go(func() { n.accept(g) })
	}
	_, port, err := net.SplitHostPort(g.addr.String())
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gates[port] = g
	return g, nil
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

func (n *network) accept(g *gate) {
	for {
		raw, err := g.listener.Accept()
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
	refused := n.refused()
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

func (n *network) each(do func(*conn)) {
	n.mu.Lock()
	conns := make([]*conn, 0, len(n.conns))
	for c := range n.conns {
		conns = append(conns, c)
	}
	n.mu.Unlock()
	for _, c := range conns {
		do(c)
	}
}

// eachOf calls do for the connections of one gate.
func (n *network) eachOf(g *gate, do func(*conn)) {
	n.each(func(c *conn) {
		if c.gate == g {
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
		if g.listener != nil {
			_ = g.listener.Close()
		}
		if d := g.current(); d != nil {
			_ = d.Close()
		}
	}
	n.each((*conn).cut)
	n.wg.Wait()
}

// conn is the server's end of a connection.
type conn struct {
	net.Conn
	network *network
	gate    *gate
	dead    atomic.Bool
}

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
