package probe

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"
)

// withDefaultTransport sets http.DefaultTransport for a test.
func withDefaultTransport(t *testing.T, transport http.RoundTripper) {
	before := http.DefaultTransport
	http.DefaultTransport = transport
	t.Cleanup(func() { http.DefaultTransport = before })
}

func TestTheDefaultClientKeepsWhatTheProgramHasSet(t *testing.T) {
	theirs := &http.Transport{
		Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 7, ForceAttemptHTTP2: true,
		HTTP2: &http.HTTP2Config{MaxReadFrameSize: 1 << 20},
	}
	withDefaultTransport(t, theirs)
	client := Client(http.DefaultClient)
	ours, ok := client.Transport.(*http.Transport)
	if !ok || client == http.DefaultClient || ours == theirs {
		t.Fatalf("it is %T, want a transport of our own", client.Transport)
	}
	if ours.Proxy == nil || ours.MaxIdleConnsPerHost != 7 || !ours.ForceAttemptHTTP2 || ours.HTTP2.MaxReadFrameSize != 1<<20 {
		t.Errorf("something is lost: %+v", ours)
	}
	if ours.HTTP2.SendPingTimeout != 30*time.Second || ours.HTTP2.PingTimeout != 15*time.Second {
		t.Errorf("HTTP/2 asks after %v and waits %v", ours.HTTP2.SendPingTimeout, ours.HTTP2.PingTimeout)
	}
	if theirs.HTTP2.SendPingTimeout != 0 || theirs.DialContext != nil || http.DefaultClient.Transport != nil {
		t.Error("the program's own transport is changed")
	}

	theirs.HTTP2.SendPingTimeout = time.Minute
	if got := Client(http.DefaultClient).Transport.(*http.Transport).HTTP2.SendPingTimeout; got != time.Minute {
		t.Errorf("HTTP/2 asks after %v, want what the program has set", got)
	}
}

func TestAClientOfTheProgramIsUsedAsItIs(t *testing.T) {
	own := &http.Client{Transport: http.DefaultTransport}
	if Client(own) != own {
		t.Error("it is another one")
	}
	withDefaultTransport(t, silent{})
	if Client(http.DefaultClient) != http.DefaultClient {
		t.Error("a default transport that we do not know is replaced")
	}
}

type silent struct{ http.RoundTripper }

// probedConn is a connection that the default client has made, with a dialer of the program's own
// or without.
func probedConn(t *testing.T, theirs *http.Transport) *net.TCPConn {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	withDefaultTransport(t, theirs)
	conn, err := Client(http.DefaultClient).Transport.(*http.Transport).DialContext(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if outer, ok := conn.(wrappedConn); ok {
		conn = outer.Conn
	}
	return conn.(*net.TCPConn)
}

// wrappedConn is a connection within another one, as that of a TLS library is.
type wrappedConn struct{ net.Conn }

func (c wrappedConn) NetConn() net.Conn { return c.Conn }

// dialers are the ways in which a program may dial.
func dialers() map[string]*http.Transport {
	return map[string]*http.Transport{
		"none":       {},
		"the system": http.DefaultTransport.(*http.Transport).Clone(),
		"deprecated": {Dial: net.Dial}, //nolint:staticcheck // a program may have set it
		"wrapped": {DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			return wrappedConn{conn}, err
		}},
	}
}
