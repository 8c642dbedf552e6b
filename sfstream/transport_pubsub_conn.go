package sfstream

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

const (
	// maxStreams is how many streams share a connection. Salesforce allows 1,000. One stream too
	// many would wait with no error, and unary calls need room too.
	maxStreams = 900

	// dialEvery is how often a connection that fails is replaced at most, however many channels
	// try again.
	dialEvery = time.Second

	// pingAfter is how long a connection with streams is silent before HTTP/2 pings the server,
	// and pingTimeout how long the answer may take. Salesforce allows such pings. A server or
	// proxy with grpc-go's defaults ends connections that ping more often than every 5 minutes:
	// there the client pings every pingRarely.
	pingAfter   = 30 * time.Second
	pingRarely  = 5*time.Minute + 30*time.Second
	pingTimeout = 15 * time.Second
)

// connection is a gRPC connection that sessions share. It is never repaired: a connection that
// cannot be trusted is retired, and closed when its last session has ended.
type connection struct {
	*grpc.ClientConn
	made time.Time

	// pubsub.mu guards these.
	sessions int  // including those of unary calls
	streams  int  // how many of the sessions have opened their stream
	retired  bool // no new session gets it
}

// acquire returns the connection for a new session, which must release it. It replaces a connection
// that failed to connect: grpc-go would wait for its own backoff, up to two minutes, while the link
// has already decided that now is the time to try.
func (t *pubsub) acquire() (*connection, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.conn; c != nil && (broken(c.ClientConn) && time.Since(c.made) >= dialEvery || c.sessions >= t.most) {
		t.retireLocked(c)
	}
	return t.takeLocked(&t.conn)
}

// takeLocked counts a session on a connection, and makes the connection where there is none.
func (t *pubsub) takeLocked(c **connection) (*connection, error) {
	if *c == nil {
		pings := keepalive.ClientParameters{Time: t.pingAfter, Timeout: pingTimeout}
		conn, err := grpc.NewClient(t.endpoint, append([]grpc.DialOption{grpc.WithKeepaliveParams(pings)}, t.dial...)...)
		if err != nil {
			return nil, fmt.Errorf("%w: endpoint %s: %w", ErrInvalidOption, t.endpoint, err)
		}
		*c = &connection{ClientConn: conn, made: time.Now()}
	}
	(*c).sessions++
	return *c, nil
}

func (t *pubsub) release(c *connection) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.sessions--
	t.dropLocked(c)
}

// retire takes a connection that went silent out of use: TCP may take 15 minutes to notice that it
// is dead.
func (t *pubsub) retire(c *connection) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.retireLocked(c)
}

// punished notes that the server or a proxy has ended a connection because of its pings. From now
// on connections ping rarely, and a dead network is noticed when Salesforce's keepalive is missing.
func (t *pubsub) punished(c *connection) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pingAfter < pingRarely {
		t.pingAfter = pingRarely
		t.log.Info("the endpoint, or a proxy before it, takes no frequent pings: a dead network is noticed later from now on",
			"endpoint", t.endpoint, "ping_every", pingRarely)
	}
	t.retireLocked(c)
}

func (t *pubsub) retireLocked(c *connection) {
	c.retired = true
	if t.conn == c {
		t.conn = nil
	}
	if t.calls == c {
		t.calls = nil
	}
	t.dropLocked(c)
}

// dropLocked closes a retired connection that no session uses.
func (t *pubsub) dropLocked(c *connection) {
	if c.retired && c.sessions == 0 {
		c.Close() // its error only says that the connection was closed already
	}
}

// close closes the connections. The caller has ended all sessions.
func (t *pubsub) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range []*connection{t.conn, t.calls} {
		if c != nil {
			t.retireLocked(c)
		}
	}
}

func broken(conn *grpc.ClientConn) bool {
	state := conn.GetState()
	return state == connectivity.TransientFailure || state == connectivity.Shutdown
}

// call makes a unary call for a session: on the session's connection, or on the one for calls where
// streams may take all that a connection carries.
func (t *pubsub) call(ctx context.Context, c *connection, do func(context.Context, eventbus.Client, ...grpc.CallOption) error) (metadata.MD, error) {
	own, err := t.forCalls()
	if err != nil {
		return nil, err
	}
	if own != nil {
		defer t.release(own)
		trailer, _, err := t.try(ctx, own, do)
		return trailer, err
	}
	trailer, waited, err := t.try(ctx, c, do)
	if !waited || !t.crowded(c) {
		return trailer, err
	}
	return t.call(ctx, c, do) // the request has not been sent
}

// try makes one attempt at a unary call. waited says that the connection works but had no free
// stream for the call.
func (t *pubsub) try(ctx context.Context, c *connection, do func(context.Context, eventbus.Client, ...grpc.CallOption) error) (trailer metadata.MD, waited bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, unaryTimeout)
	defer cancel()
	var to peer.Peer // set as soon as the call has a stream
	err = do(ctx, eventbus.Client{Conn: c}, grpc.Trailer(&trailer), grpc.Peer(&to))
	if status.Code(err) != codes.DeadlineExceeded {
		return trailer, false, err
	}
	if to.Addr == nil && c.GetState() == connectivity.Ready && ctx.Err() != nil {
		return trailer, true, err
	}
	t.retire(c) // no answer in time
	return trailer, false, err
}

// counted adds n to the number of streams of a connection.
func (t *pubsub) counted(c *connection, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.streams += n
}

// exchange returns another connection in place of one that carries as many streams as it can.
func (t *pubsub) exchange(c *connection) (*connection, error) {
	t.mu.Lock()
	full := c.streams >= t.most
	t.mu.Unlock()
	if !full {
		return c, nil
	}
	other, err := t.acquire()
	if err != nil {
		return c, err
	}
	t.release(c)
	return other, nil
}

// forCalls returns the connection for unary calls, which the caller must release; nil where calls
// share the connections of the streams.
func (t *pubsub) forCalls() (*connection, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.apart {
		return nil, nil
	}
	if c := t.calls; c != nil && broken(c.ClientConn) && time.Since(c.made) >= dialEvery {
		t.retireLocked(c)
	}
	return t.takeLocked(&t.calls)
}

// crowded notes that a working connection had no room for one more stream, of a session or of a
// unary call, and reports whether its own streams are the reason. Some proxies let only one or two
// streams through. Waiting for room would not help, because streams live for days.
func (t *pubsub) crowded(c *connection) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.streams == 0 {
		return false
	}
	t.most = min(t.most, c.streams)
	if !t.apart {
		t.apart = true
		t.log.Info("a connection to the Pub/Sub API carries few streams, probably because of a proxy: more connections are used", "endpoint", t.endpoint)
	}
	return true
}
