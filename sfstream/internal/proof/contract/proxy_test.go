package contract

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"

	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// grpcProxy stands before the Pub/Sub API of an org, in plaintext HTTP/2: on loopback, or for an
// org in memory in memory too.
type grpcProxy struct {
	dial func(context.Context, string) (net.Conn, error)

	mu    sync.Mutex
	page  func(w http.ResponseWriter, r *http.Request) bool // answers in place of the org if it wants to
	conns int
}

func newGRPCProxy(t *testing.T, org *sfstreamtest.Server, maxStreams int) *grpcProxy {
	t.Helper()
	target, err := url.Parse(org.PubSubEndpoint())
	lab.Must(t, err)
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := org.HTTPClient().Transport.(*http.Transport).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return newQueued(c), nil
	}}
	through := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: transport, FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0),
	}
	listener := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	p := &grpcProxy{dial: listener.dial}
	server := &http.Server{
		Protocols: protocols, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				p.mu.Lock()
				p.conns++
				p.mu.Unlock()
			}
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p.mu.Lock()
			page := p.page
			p.mu.Unlock()
			if page == nil || !page(w, r) {
				through.ServeHTTP(w, r)
			}
		}),
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(listener) }() // the cleanup waits for it
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
		transport.CloseIdleConnections()
	})
	return p
}

func (p *grpcProxy) answer(page func(w http.ResponseWriter, r *http.Request) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.page = page
}

func (p *grpcProxy) connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conns
}

// option sends a client through the proxy.
func (p *grpcProxy) option() sfstream.Option {
	return sfstream.WithPubSubDialOptions(grpc.WithContextDialer(p.dial))
}

// queued is a connection whose writes do not wait for the other side, as those of a socket do not:
// net/http begins with a write on both sides.
type queued struct {
	net.Conn
	mu      sync.Mutex
	changed *sync.Cond
	rest    []byte
	err     error
}

func newQueued(c net.Conn) *queued {
	q := &queued{Conn: c}
	q.changed = sync.NewCond(&q.mu)
	go q.send() // ends when the connection is closed
	return q
}

func (q *queued) send() {
	for {
		q.mu.Lock()
		for len(q.rest) == 0 && q.err == nil {
			q.changed.Wait()
		}
		p, err := q.rest, q.err
		q.rest = nil
		q.mu.Unlock()
		if err == nil {
			_, err = q.Conn.Write(p)
		}
		if err != nil {
			q.fail(err)
			return
		}
	}
}

func (q *queued) fail(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.err = err
	}
	q.changed.Signal()
}

func (q *queued) Write(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return 0, q.err
	}
	q.rest = append(q.rest, p...)
	q.changed.Signal()
	return len(p), nil
}

func (q *queued) Close() error {
	q.fail(net.ErrClosed)
	return q.Conn.Close()
}

// pipeListener is an address in memory.
type pipeListener struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *pipeListener) dial(ctx context.Context, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- newQueued(far):
		return near, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// htmlPage is what a corporate proxy says, with what it was sent.
func htmlPage(status int, method string) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, method) {
			return false
		}
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Location", "https://proxy.example.com/login")
		w.WriteHeader(status)
		_, _ = w.Write([]byte("<html>\n<h1>Blocked</h1>\r\nyou sent " + r.Header.Get("accesstoken") + "\n</html>"))
		return true
	}
}
