package sfstream

import (
	"context"
	"net"
	"net/http"
	"time"
)

// How a dead network is noticed on connections that we make ourselves, within 60
// seconds: TCP asks after 15 silent seconds, three times 15 seconds apart, and what was
// sent may be unacknowledged for as long; HTTP/2, where it is spoken, asks after 30 and
// waits for 15.
var tcpProbes = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 3}

const tcpUnanswered = 45 * time.Second

// probing returns a client whose connections are probed where it is the default one:
// over a transport of its own, with all that the program has set on
// http.DefaultTransport. Another client, or another transport, is the program's own.
func probing(client *http.Client) *http.Client {
	ours, ok := http.DefaultTransport.(*http.Transport)
	if client != http.DefaultClient || client.Transport != nil || !ok {
		return client
	}
	t := ours.Clone()
	//lint:ignore SA1019 a program may have set it
	old := t.Dial
	if dial := t.DialContext; dial != nil {
		t.DialContext = probed(dial)
	} else if dial := old; dial != nil {
		t.DialContext = probed(func(_ context.Context, network, addr string) (net.Conn, error) { return dial(network, addr) })
	} else {
		t.DialContext = probed(new(net.Dialer).DialContext)
	}
	if dial := t.DialTLSContext; dial != nil {
		t.DialTLSContext = probed(dial)
	}
	var http2 http.HTTP2Config
	if t.HTTP2 != nil {
		http2 = *t.HTTP2
	}
	if http2.SendPingTimeout == 0 {
		http2.SendPingTimeout, http2.PingTimeout = pingAfter, pingTimeout
	}
	t.HTTP2 = &http2
	copied := *client
	copied.Transport = t
	return &copied
}

type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// probed sets the probes on what dial returns, where that is TCP, be it under TLS.
func probed(dial dialer) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return conn, err
		}
		inner := conn
		for {
			outer, ok := inner.(interface{ NetConn() net.Conn })
			if !ok {
				break
			}
			inner = outer.NetConn()
		}
		if tcp, ok := inner.(*net.TCPConn); ok {
			// A system that does not take them leaves the watchdogs.
			_ = tcp.SetKeepAliveConfig(tcpProbes)
			_ = setUnanswered(tcp, tcpUnanswered)
		}
		return conn, nil
	}
}
