package chaos

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// fragileNet is the network between a program and its org. Its connections can be cut after some
// bytes, in the middle of whatever they carry.
type fragileNet struct {
	*sfstreamtest.Server

	mu    sync.Mutex
	conns map[*fragileConn]struct{}
	next  []cut // of the connections to come

	writes  atomic.Int64 // of the client
	stormed func()       // called once, by far too many of them
}

// stormWrites is what a client writes that tries again and again without a pause: time would stand
// still in the bubble. A scenario needs some thousands.
const stormWrites = 50_000

// cut is how much still goes over a connection, in one direction.
type cut struct {
	bytes int64
	sent  bool // by the client
}

var errCut = errors.New("the connection was cut")

func newFragileNet(org *sfstreamtest.Server, stormed func()) *fragileNet {
	return &fragileNet{Server: org, stormed: stormed, conns: make(map[*fragileConn]struct{})}
}

// lifeNet is that network as one life of the program has it: a kill closes all its connections.
type lifeNet struct {
	*fragileNet
	client *http.Client

	mu    sync.Mutex
	dead  bool
	conns []net.Conn
}

func newLifeNet(n *fragileNet) *lifeNet {
	l := &lifeNet{fragileNet: n}
	l.client = &http.Client{Transport: &http.Transport{DialContext: l.dial}}
	return l
}

func (l *lifeNet) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := l.fragileNet.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		_ = c.Close()
		return nil, errCut
	}
	l.conns = append(l.conns, c)
	return c, nil
}

// cut closes all connections for good.
func (l *lifeNet) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
	for _, c := range l.conns {
		_ = c.Close()
	}
}

func (l *lifeNet) HTTPClient() *http.Client { return l.client }

func (n *lifeNet) DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return n.dial(ctx, "tcp", addr) }),
	}
}

func (n *fragileNet) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if n.writes.Add(1) == stormWrites {
		n.stormed()
	}
	raw, err := n.Server.HTTPClient().Transport.(*http.Transport).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &fragileConn{Conn: raw, net: n}
	c.received.Store(1 << 62)
	c.sent.Store(1 << 62)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns[c] = struct{}{}
	if len(n.next) > 0 {
		c.cutAfter(n.next[0])
		n.next = n.next[1:]
	}
	return c, nil
}

// cutOpen cuts the connections that are open now.
func (n *fragileNet) cutOpen(after cut) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		c.cutAfter(after)
	}
}

// cutNext cuts one connection that is still to come.
func (n *fragileNet) cutNext(after cut) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.next = append(n.next, after)
}

// heal takes back all cuts that are still to come.
func (n *fragileNet) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.next = nil
	for c := range n.conns {
		c.received.Store(1 << 62)
		c.sent.Store(1 << 62)
	}
}

// close closes what is still open: idle connections of programs that have ended.
func (n *fragileNet) close() {
	n.mu.Lock()
	conns := slices.Collect(maps.Keys(n.conns))
	n.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}

// fragileConn is the client's end of a connection.
type fragileConn struct {
	net.Conn
	net            *fragileNet
	received, sent atomic.Int64 // how many bytes are left
}

func (c *fragileConn) cutAfter(after cut) {
	if after.sent {
		c.sent.Store(after.bytes)
		return
	}
	c.received.Store(after.bytes)
}

func (c *fragileConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if left := c.received.Add(-int64(n)); left < 0 {
		_ = c.Close()
		return max(0, n+int(left)), errCut
	}
	return n, err
}

func (c *fragileConn) Write(p []byte) (int, error) {
	if c.net.writes.Add(1) == stormWrites {
		c.net.stormed()
	}
	left := c.sent.Add(-int64(len(p)))
	if left >= 0 {
		return c.Conn.Write(p)
	}
	n := 0
	if part := len(p) + int(left); part > 0 {
		n, _ = c.Conn.Write(p[:part])
	}
	_ = c.Close()
	return n, errCut
}

func (c *fragileConn) Close() error {
	c.net.mu.Lock()
	delete(c.net.conns, c)
	c.net.mu.Unlock()
	return c.Conn.Close()
}
