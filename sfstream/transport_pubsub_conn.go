package sfstream

import (
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

const (
	// maxStreams is how many streams share a connection. Salesforce takes 1,000;
	// a stream too many would wait without a word, and calls need room too.
	maxStreams = 900

	// dialEvery is how often a connection that fails is replaced, however many
	// channels try again.
	dialEvery = time.Second

	// pingAfter is how long a connection with streams is silent before HTTP/2 asks
	// whether it lives. A server that keeps grpc-go's defaults ends connections
	// that ask more often than every 5 minutes.
	pingAfter   = 5*time.Minute + 30*time.Second
	pingTimeout = 20 * time.Second
)

var pings = keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout}

// connection is what sessions share. A connection is never repaired: one that
// cannot be trusted is retired, and closed when its last session has ended.
type connection struct {
	*grpc.ClientConn
	made     time.Time
	sessions int  // pubsub.mu guards it
	retired  bool // pubsub.mu guards it: not given out any more
}

// acquire returns the connection for a new session; release must follow. One
// that failed to connect is not given out: grpc would wait on a backoff of its
// own, up to two minutes, while the link has already decided that now is the
// time to try.
func (t *pubsub) acquire() (*connection, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.conn; c != nil && (broken(c.ClientConn) && time.Since(c.made) >= dialEvery || c.sessions >= maxStreams) {
		t.retireLocked(c)
	}
	if t.conn == nil {
		conn, err := grpc.NewClient(t.endpoint, t.dial...)
		if err != nil {
			return nil, fmt.Errorf("%w: endpoint %s: %w", ErrInvalidOption, t.endpoint, err)
		}
		t.conn = &connection{ClientConn: conn, made: time.Now()}
	}
	t.conn.sessions++
	return t.conn, nil
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

func (t *pubsub) retireLocked(c *connection) {
	c.retired = true
	if t.conn == c {
		t.conn = nil
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
	if t.conn != nil {
		t.retireLocked(t.conn)
	}
}

func broken(conn *grpc.ClientConn) bool {
	state := conn.GetState()
	return state == connectivity.TransientFailure || state == connectivity.Shutdown
}

// unanswered retires the connection of a call that got no answer in time.
func (t *pubsub) unanswered(c *connection, err error) {
	if status.Code(err) == codes.DeadlineExceeded {
		t.retire(c)
	}
}
