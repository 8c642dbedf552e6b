package sfstream_test

import (
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/sfstream/sfstream-go/sfstream"
)

// grpcProxy stands before the Pub/Sub API of an org on loopback, in plaintext HTTP/2.
type grpcProxy struct {
	addr string

	mu    sync.Mutex
	page  func(w http.ResponseWriter, r *http.Request) bool // answers in place of the org if it wants to
	conns int
}

func newGRPCProxy(t *testing.T, endpoint string, maxStreams int) *grpcProxy {
	t.Helper()
	target, err := url.Parse(endpoint)
	must(t, err)
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	through := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: transport, FlushInterval: -1,
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &grpcProxy{addr: listener.Addr().String()}
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
	return sfstream.WithPubSubEndpoint("http://" + p.addr)
}

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
