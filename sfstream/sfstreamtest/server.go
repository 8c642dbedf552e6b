package sfstreamtest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"net/http"
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
	config      config
	account     Account
	network     *network
	places      places
	cert        *certificate // nil without TLS
	faults      faultTable
	sessions    *sessions
	journal     *journal
	clock       clock
	dice        orgDice
	bayeux      *bayeux
	records     records
	recordTypes recordTypes
	restState
	groups     groupFaults
	eventRules eventRules
	managed    managedTable

	httpGate, pubsubGate, controlGate *gate // controlGate is nil without the control API
	http, control                     *http.Server
	client                            *http.Client
	instances                         instances
	authorizations                    authorizations
	page                              proxyPage
	describer                         describer
	wg                                sync.WaitGroup // serve loops, HTTP handlers, stream readers

	logins, schemaCalls, topicCalls, httpRequests atomic.Int64
	cleared                                       atomic.Int64 // how often ClearFaults was called

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

// Validate returns the error with which [Start] would refuse the options, without opening anything.
func Validate(opts ...Option) error {
	_, err := configured(opts)
	return err
}

func configured(opts []Option) (config, error) {
	c := defaults()
	for _, opt := range opts {
		opt(&c)
	}
	return c, c.validate()
}

// Start starts an org. The caller closes it.
func Start(opts ...Option) (_ *Server, err error) {
	c, err := configured(opts)
	if err != nil {
		return nil, err
	}
	s := &Server{
		config: c, account: theAccount(), bayeux: newBayeux(),
		topics: make(map[string]*topic), schemas: make(map[string]*schema),
	}
	s.CutGroups(c.groupCut)
	s.network = newNetwork(c.inMemory, func() bool { return s.faults.active(atConnect, "") })
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.describer, err = newDescriber(); err != nil {
		return nil, err
	}
	if err := s.open(); err != nil {
		return nil, err
	}
	s.clock.skew = c.clockSkew
	if c.seed != nil {
		s.clock.still.Store(seedStart.UnixNano())
	}
	s.topic(changeEvents).multi = true
	if c.logPath != "" {
		if s.journal, err = openJournal(c.logPath, s.restore); err != nil {
			return nil, err
		}
	}
	s.dice = newOrgDice(c.seed, s.journal.restored())
	s.sessions = newSessions(s.account, c, s.dice.tokens)
	s.serveHTTP()
	s.servePubSub()
	s.serveControl()
	return s, nil
}

// open opens the org's addresses, behind which nobody serves yet, and settles what it tells of
// them.
func (s *Server) open() (err error) {
	c := s.config
	if s.httpGate, err = s.network.listen(c.httpAddr, false); err != nil {
		return fmt.Errorf("sfstreamtest: WithHTTPAddr(%q): %w", c.httpAddr, err)
	}
	if s.pubsubGate, err = s.network.listen(c.pubsubAddr, false); err != nil {
		return fmt.Errorf("sfstreamtest: WithPubSubAddr(%q): %w", c.pubsubAddr, err)
	}
	if c.controlAddr != "" {
		if s.controlGate, err = s.network.listen(c.controlAddr, true); err != nil {
			return fmt.Errorf("sfstreamtest: WithControlAddr(%q): %w", c.controlAddr, err)
		}
	}
	if s.places, err = c.places(s.httpGate.port, s.pubsubGate.port); err != nil {
		return err
	}
	transport := s.newTransport()
	if c.tls {
		if s.cert, err = newCertificate(c.caPath, s.hosts()); err != nil {
			return err
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: s.cert.pool}
	}
	s.client = &http.Client{Transport: transport}
	return nil
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
	// 1. The control requests end, then the streams: Stop cancels their handlers and waits for them.
	if s.control != nil {
		_ = s.control.Close()
	}
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
func (s *Server) now() time.Time { return s.clock.now() }

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

// DialOptions returns gRPC options that reach PubSubEndpoint and trust it.
func (s *Server) DialOptions() []grpc.DialOption {
	creds := insecure.NewCredentials()
	if s.cert != nil {
		creds = credentials.NewTLS(&tls.Config{RootCAs: s.cert.pool})
	}
	return append(s.reachPubSub(), grpc.WithTransportCredentials(creds))
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
	s.describer.serveTools(g)
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
