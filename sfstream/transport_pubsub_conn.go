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
	// maxStreams is how many streams share a connection. Salesforce takes 1,000;
	// a stream too many would wait without a word, and calls need room too.
	maxStreams = 900

	// dialEvery is how often a connection that fails is replaced, however many
	// channels try again.
	dialEvery = time.Second

	// pingAfter is how long a connection with streams is silent before HTTP/2 asks
	// whether it lives, and pingTimeout how long that may go unanswered. Salesforce
	// takes it. A server or proxy that keeps grpc-go's defaults ends connections that
	// ask more often than every 5 minutes: there it is pingRarely.
	pingAfter   = 30 * time.Second
	pingRarely  = 5*time.Minute + 30*time.Second
	pingTimeout = 15 * time.Second
)

// connection is what sessions share. A connection is never repaired: one that
// cannot be trusted is retired, and closed when its last session has ended.
type connection struct {
	*grpc.ClientConn
	made     time.Time
	sessions int  // pubsub.mu guards it
	streams  int  // of them, those that have one; pubsub.mu guards it
	retired  bool // pubsub.mu guards it: not given out any more
}

// acquire returns the connection for a new session; release must follow. One
// that failed to connect is not given out: grpc would wait on a backoff of its
// own, up to two minutes, while the link has already decided that now is the
// time to try.
func (t *pubsub) acquire() (*connection, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.conn; c != nil && (broken(c.ClientConn) && time.Since(c.made) >= dialEvery || c.sessions >= t.most) {
		t.retireLocked(c)
	}
	return t.takeLocked(&t.conn)
}

// takeLocked counts a session on a connection, which it makes where there is none.
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

// retire takes a connection that went silent out of use. TCP may take 15 minutes
// to notice what we know.
func (t *pubsub) retire(c *connection) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.retireLocked(c)
}

// punished takes in that a connection was ended for its pings. From now on there are
// few, and a dead network is noticed when a keepalive is missing.
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

// dropLocked closes a retired connection that nobody uses.
func (t *pubsub) dropLocked(c *connection) {
	if c.retired && c.sessions == 0 {
		c.Close() // reports only that it was closed already
	}
}

// close comes when all sessions have ended.
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

// call makes a call for a session on a connection, or on the one for calls where
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
	return t.call(ctx, c, do) // it has never been sent
}

// try makes a call. waited says that the connection works and had no stream for it.
func (t *pubsub) try(ctx context.Context, c *connection, do func(context.Context, eventbus.Client, ...grpc.CallOption) error) (trailer metadata.MD, waited bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, unaryTimeout)
	defer cancel()
	var to peer.Peer // known as soon as there is a stream
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

// counted adds to the streams of a connection.
func (t *pubsub) counted(c *connection, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.streams += n
}

// exchange gives another connection for one that carries as many streams as it can.
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

// forCalls takes the connection for calls, which is to be released; nil where they
// share those of the streams.
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

// crowded takes in that a connection which works had no room for one stream more,
// of a session or of a call beside them, and reports whether its streams are why.
// Some proxies let one or two through. Who waits on it would wait for ever: streams
// live for days.
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
