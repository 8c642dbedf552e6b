package sfstream

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
	"github.com/sfstream/sfstream-go/sfstream/internal/probe"
)

const (
	// maxStreams is how many streams share a connection. Salesforce allows 1,000. One stream too
	// many would wait with no error, and unary calls need room too: internal/eventbus/PROTOCOL.md,
	// "Connections".
	maxStreams = 900

	// dialEvery is how often a connection that fails is replaced at most, however many channels try
	// again.
	dialEvery = time.Second

	// pingAfter is how long a connection with streams is silent before HTTP/2 pings the server, and
	// pingTimeout how long the answer may take. Salesforce allows such pings. A server or proxy
	// with grpc-go's defaults ends connections that ping more often than every 5 minutes: there the
	// client pings every pingRarely. See internal/eventbus/PROTOCOL.md, "Connections".
	pingAfter   = probe.PingAfter
	pingRarely  = 5*time.Minute + 30*time.Second
	pingTimeout = probe.PingTimeout
)

// connections are the gRPC connections of the transport, which its sessions share: they keep as few
// as carry all streams.
type connections struct {
	endpoint string
	dial     []grpc.DialOption
	log      *slog.Logger

	mu        sync.Mutex
	current   *connection   // for new sessions; nil: the next session makes one
	most      int           // sessions on a connection: maxStreams, or what one turned out to carry
	apart     bool          // unary calls use calls, because streams may take all of current
	calls     *connection   // nil: the next unary call makes it, if apart
	pingAfter time.Duration // of connections made from now on
	closed    bool          // none is made any more: a Publish may outlast Client.Close
}

func newConnections(endpoint string, dial []grpc.DialOption, log *slog.Logger) *connections {
	return &connections{endpoint: endpoint, dial: dial, log: log, most: maxStreams, pingAfter: pingAfter}
}

// connection is a gRPC connection that sessions share. It is never repaired: a connection that
// cannot be trusted is retired, and closed when its last session has ended.
type connection struct {
	*grpc.ClientConn
	made time.Time

	// connections.mu guards these.
	sessions int  // including those of unary calls
	streams  int  // how many of the sessions have opened their stream
	retired  bool // no new session gets it
}

// acquire returns the connection for a new session, which must release it. It replaces a connection
// that failed to connect: grpc-go would wait for its own backoff, up to two minutes, while the link
// has already decided that now is the time to try.
func (p *connections) acquire() (*connection, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.current; c != nil && (broken(c.ClientConn) && time.Since(c.made) >= dialEvery || c.sessions >= p.most) {
		p.retireLocked(c)
	}
	return p.takeLocked(&p.current)
}

// takeLocked counts a session on a connection, and makes the connection where there is none.
func (p *connections) takeLocked(c **connection) (*connection, error) {
	if p.closed {
		return nil, ErrClosed
	}
	if *c == nil {
		pings := keepalive.ClientParameters{Time: p.pingAfter, Timeout: pingTimeout}
		conn, err := grpc.NewClient(p.endpoint, append([]grpc.DialOption{grpc.WithKeepaliveParams(pings)}, p.dial...)...)
		if err != nil {
			return nil, fmt.Errorf("%w: endpoint %s: %w", ErrInvalidOption, p.endpoint, err)
		}
		*c = &connection{ClientConn: conn, made: time.Now()}
	}
	(*c).sessions++
	return *c, nil
}

func (p *connections) release(c *connection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.sessions--
	p.dropLocked(c)
}

// retire takes a connection that went silent out of use: TCP may take 15 minutes to notice that it
// is dead.
func (p *connections) retire(c *connection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retireLocked(c)
}

// punished notes that the server or a proxy has ended a connection because of its pings. From now
// on connections ping rarely, and a dead network is noticed when Salesforce's keepalive is missing.
func (p *connections) punished(c *connection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pingAfter < pingRarely {
		p.pingAfter = pingRarely
		p.log.Info("the endpoint, or a proxy before it, takes no frequent pings: a dead network is noticed later from now on",
			"endpoint", p.endpoint, "ping_every", pingRarely)
	}
	p.retireLocked(c)
}

func (p *connections) retireLocked(c *connection) {
	c.retired = true
	if p.current == c {
		p.current = nil
	}
	if p.calls == c {
		p.calls = nil
	}
	p.dropLocked(c)
}

// dropLocked closes a retired connection that no session uses.
func (p *connections) dropLocked(c *connection) {
	if c.retired && c.sessions == 0 {
		c.Close() // its error only says that the connection was closed already
	}
}

// close closes the connections. The caller has ended all sessions.
func (p *connections) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range []*connection{p.current, p.calls} {
		if c != nil {
			p.retireLocked(c)
		}
	}
}

func broken(conn *grpc.ClientConn) bool {
	state := conn.GetState()
	return state == connectivity.TransientFailure || state == connectivity.Shutdown
}

// A unaryCall makes one unary call.
type unaryCall func(context.Context, eventbus.Client, ...grpc.CallOption) error

// call makes a unary call for a session: on the session's connection, or on the one for calls where
// streams may take all that a connection carries.
func (p *connections) call(ctx context.Context, c *connection, limit time.Duration, do unaryCall) (metadata.MD, error) {
	own, err := p.forCalls()
	if err != nil {
		return nil, err
	}
	if own != nil {
		defer p.release(own)
		trailer, _, err := p.try(ctx, own, limit, do)
		return trailer, err
	}
	trailer, waited, err := p.try(ctx, c, limit, do)
	if !waited || !p.crowded(c) {
		return trailer, err
	}
	return p.call(ctx, c, limit, do) // the request has not been sent
}

// try makes one attempt at a unary call. waited says that the connection works but had no free
// stream for the call.
func (p *connections) try(caller context.Context, c *connection, limit time.Duration, do unaryCall) (trailer metadata.MD, waited bool, err error) {
	ctx, cancel := context.WithTimeout(caller, limit)
	defer cancel()
	var to peer.Peer // set as soon as the call has a stream
	err = do(ctx, eventbus.Client{Conn: c}, grpc.Trailer(&trailer), grpc.Peer(&to))
	if status.Code(err) != codes.DeadlineExceeded || caller.Err() != nil {
		return trailer, false, err // of a caller's own limit no connection is to blame
	}
	if to.Addr == nil && c.GetState() == connectivity.Ready && ctx.Err() != nil {
		return trailer, true, err
	}
	p.retire(c) // no answer in time
	return trailer, false, err
}

// counted adds n to the number of streams of a connection.
func (p *connections) counted(c *connection, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.streams += n
}

// exchange returns another connection in place of one that carries as many streams as it can.
func (p *connections) exchange(c *connection) (*connection, error) {
	p.mu.Lock()
	full := c.streams >= p.most
	p.mu.Unlock()
	if !full {
		return c, nil
	}
	other, err := p.acquire()
	if err != nil {
		return c, err
	}
	p.release(c)
	return other, nil
}

// forCalls returns the connection for unary calls, which the caller must release; nil where calls
// share the connections of the streams.
func (p *connections) forCalls() (*connection, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.apart {
		return nil, nil
	}
	if c := p.calls; c != nil && broken(c.ClientConn) && time.Since(c.made) >= dialEvery {
		p.retireLocked(c)
	}
	return p.takeLocked(&p.calls)
}

// crowded notes that a working connection had no room for one more stream, of a session or of a
// unary call, and reports whether its own streams are the reason. Some proxies let only one or two
// streams through. Waiting for room would not help, because streams live for days.
func (p *connections) crowded(c *connection) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.streams == 0 {
		return false
	}
	p.most = min(p.most, c.streams)
	if !p.apart {
		p.apart = true
		p.log.Info("a connection to the Pub/Sub API carries few streams, probably because of a proxy: more connections are used", "endpoint", p.endpoint)
	}
	return true
}
