package sfstreamtest

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/sfstream/sfstream-go/sfstream/internal/eventbus"
)

// Server is a simulated org. All methods may be called from any goroutine.
type Server struct {
	config   config
	account  Account
	network  *network
	cert     *certificate // nil without TLS
	faults   faultTable
	sessions *sessions
	journal  *journal
	bayeux   *bayeux
	records  records
	restState
	groups groupFaults

	httpGate, pubsubGate *gate
	http                 *http.Server
	client               *http.Client
	instances            instances
	authorizations       authorizations
	page                 proxyPage
	wg                   sync.WaitGroup // serve loops, HTTP handlers, stream readers

	logins, schemaCalls, topicCalls atomic.Int64
	cleared                         atomic.Int64 // how often ClearFaults was called

	mu      sync.Mutex
	topics  map[string]*topic
	schemas map[string]*schema
	// The channels that were PushTopics when they were last defined, oldest first.
	pushTopics []*topic
	pubsub     []*grpc.Server // the last one takes new connections
	closed     bool
}

// NewServer starts an org that ends with the test.
func NewServer(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	s, err := Start(opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("sfstreamtest: closing: %v", err)
		}
	})
	return s
}

// Start starts an org. The caller closes it.
func Start(opts ...Option) (_ *Server, err error) {
	c := defaults()
	for _, opt := range opts {
		opt(&c)
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	s := &Server{
		config: c, account: theAccount(), bayeux: newBayeux(),
		topics: make(map[string]*topic), schemas: make(map[string]*schema),
	}
	s.CutGroups(c.groupCut)
	s.sessions = newSessions(s.account, c)
	s.network = newNetwork(c.inMemory, func() bool { return s.faults.active(atConnect, "") })
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if c.tls {
		if s.cert, err = newCertificate(); err != nil {
			return nil, err
		}
	}
	s.topic(changeEvents).multi = true
	if c.logPath != "" {
		if s.journal, err = openJournal(c.logPath, s.restore); err != nil {
			return nil, err
		}
	}
	if s.httpGate, err = s.network.listen(c.httpAddr); err != nil {
		return nil, err
	}
	if s.pubsubGate, err = s.network.listen(c.pubsubAddr); err != nil {
		return nil, err
	}
	s.client = s.newHTTPClient()
	s.serveHTTP()
	s.servePubSub()
	return s, nil
}

// Close stops the org. It returns when everything that the org started has ended; a second call
// does nothing.
func (s *Server) Close() error {
	s.mu.Lock()
	closed, servers := s.closed, s.pubsub
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	// 1. The streams end: Stop cancels their handlers and waits for them.
	s.page.close()
	for _, g := range servers {
		g.Stop()
	}
	// 2. The held connects and the logins under way end.
	s.bayeux.close()
	if s.http != nil {
		_ = s.http.Close()
	}
	// 3. No new connection comes in any more, and those that are left are cut.
	s.network.close()
	if s.client != nil {
		s.client.CloseIdleConnections()
	}
	s.wg.Wait()
	// 4. Nothing writes to the log any more, except methods that are called too late.
	return s.journal.close()
}

// now returns the time of the org's clock.
func (s *Server) now() time.Time { return time.Now().Add(s.config.clockSkew) }

func (s *Server) scheme() string {
	if s.cert != nil {
		return "https://"
	}
	return "http://"
}

// LoginURL returns where to log in, such as http://127.0.0.1:40001.
func (s *Server) LoginURL() string { return s.scheme() + s.httpGate.addr.String() }

// PubSubEndpoint returns where the Pub/Sub API is: host:port with TLS, else http://host:port.
func (s *Server) PubSubEndpoint() string {
	return strings.TrimPrefix(s.scheme(), "https://") + s.pubsubGate.addr.String()
}

// CertPEM returns the certificate authority of an org with TLS, else nil.
func (s *Server) CertPEM() []byte {
	if s.cert == nil {
		return nil
	}
	return s.cert.pem
}

// HTTPClient returns a client that reaches LoginURL and trusts it. It is the same one at every
// call.
func (s *Server) HTTPClient() *http.Client { return s.client }

func (s *Server) newHTTPClient() *http.Client {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			addr, err := s.resolveHost(addr)
			if err != nil {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
			}
			return s.network.dial(ctx, addr)
		},
	}
	if s.cert != nil {
		transport.TLSClientConfig = &tls.Config{RootCAs: s.cert.pool}
	}
	return &http.Client{Transport: transport}
}

// DialOptions returns gRPC options that reach PubSubEndpoint and trust it.
func (s *Server) DialOptions() []grpc.DialOption {
	creds := insecure.NewCredentials()
	if s.cert != nil {
		creds = credentials.NewTLS(&tls.Config{RootCAs: s.cert.pool})
	}
	opts := []grpc.DialOption{grpc.WithTransportCredentials(creds)}
	if s.config.inMemory {
		opts = append(opts, grpc.WithContextDialer(s.network.dial))
	}
	return opts
}

func (s *Server) serveHTTP() {
	s.http = &http.Server{
		Handler:           s.atInstance(s.routes()),
		ErrorLog:          log.New(io.Discard, "", 0),
		ReadHeaderTimeout: time.Minute,
		ConnState:         s.countConn,
	}
	var ln net.Listener = s.httpGate.newDoor()
	if s.cert != nil {
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{s.cert.server}})
	}
	// Ends when Close closes the server.
	s.wg.Go(func() { _ = s.http.Serve(ln) })
}

// countConn lets Close wait for connections, and so for their handlers. The serve loop counts new
// connections, and is itself counted as long as it runs, so that the count is never 0 while a
// connection can still come in.
func (s *Server) countConn(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.wg.Add(1)
	case http.StateClosed:
		s.wg.Done()
	}
}

// servePubSub puts a new gRPC server into the gate. Older servers keep the connections that they
// have.
func (s *Server) servePubSub() {
	opts := []grpc.ServerOption{
		grpc.MaxConcurrentStreams(uint32(s.config.maxStreams)),
		grpc.MaxRecvMsgSize(math.MaxInt32), // checkSize refuses large requests: grpc would do it with another error
		grpc.WaitForHandlers(true),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: s.config.minPing}),
	}
	if s.cert != nil {
		opts = append(opts, grpc.Creds(credentials.NewServerTLSFromCert(&s.cert.server)))
	}
	g := grpc.NewServer(opts...)
	eventbus.Register(g, (*pubsub)(s))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		g.Stop()
		return
	}
	s.pubsub = append(s.pubsub, g)
	ln := s.pubsubGate.newDoor()
	// Ends when Close, or the GOAWAY of GoAway, stops the server.
	s.wg.Go(func() { _ = g.Serve(ln) })
}
