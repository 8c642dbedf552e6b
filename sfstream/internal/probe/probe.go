// Package probe notices dead networks.
package probe

import (
	"context"
	"net"
	"net/http"
	"time"
)

// The probes notice a dead network within 60 seconds, on connections that the client dials itself.
// TCP sends a keep-alive after 15 silent seconds and gives up after three that are 15 seconds
// apart; data may be unacknowledged for 45 seconds. HTTP/2 sends a ping after PingAfter without a
// frame, and waits PingTimeout for its answer.
const (
	PingAfter   = 30 * time.Second
	PingTimeout = 15 * time.Second

	tcpUnanswered = 45 * time.Second
)

var tcpProbes = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 3}

// Client returns http.DefaultClient with a transport of its own, whose connections are probed. The
// transport is a clone of http.DefaultTransport with all that the program has set there. Any other
// client is the program's, and is returned as it is.
func Client(client *http.Client) *http.Client {
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
		http2.SendPingTimeout, http2.PingTimeout = PingAfter, PingTimeout
	}
	t.HTTP2 = &http2
	copied := *client
	copied.Transport = t
	return &copied
}

type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// probed sets the probes on the connections that dial makes, if they are TCP, also below TLS.
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
			// If the system refuses the options, the watchdogs of the sessions remain.
			_ = tcp.SetKeepAliveConfig(tcpProbes)
			_ = setUnanswered(tcp, tcpUnanswered)
		}
		return conn, nil
	}
}
