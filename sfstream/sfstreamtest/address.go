package sfstreamtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"
)

// addressConfig has the options of where the org listens and where it says that it is.
type addressConfig struct {
	httpAddr, pubsubAddr, controlAddr string
	urls                              []string // WithURL
	pubsubURL                         string
	names                             []string
}

// WithHTTPAddr sets the address on which logins, REST and CometD are served. The org tells clients
// the host as it stands here, such as localhost, or 127.0.0.1 in place of none or 0.0.0.0, see
// [WithURL]. localhost is served by IPv4 and IPv6. Default "127.0.0.1:0", a free port.
func WithHTTPAddr(addr string) Option { return func(c *config) { c.httpAddr = addr } }

// WithPubSubAddr does for the Pub/Sub API what WithHTTPAddr does, see also [WithPubSubURL]. Default
// "127.0.0.1:0", a free port.
func WithPubSubAddr(addr string) Option { return func(c *config) { c.pubsubAddr = addr } }

// WithURL sets where the org tells clients to come, such as http://org.test:8080: it is LoginURL,
// and in instance URLs, identity URLs, redirects and audiences. moves are the URLs at which it is
// after the first [Server.MoveInstance], the second and so on, before it is at url again; without
// them it cannot move. It is https with [WithTLS], else http: then some clients, like sfstream,
// send no token to it unless the host is loopback. HTTPClient finds these hosts without DNS.
// Default: the address of WithHTTPAddr; 127.0.0.1 and localhost move to each other.
func WithURL(url string, moves ...string) Option {
	return func(c *config) { c.urls = append([]string{url}, moves...) }
}

// WithPubSubURL sets where the org tells clients that the Pub/Sub API is, such as
// https://org.test:7443. Default: the address of [WithPubSubAddr], with the host of [WithURL] in
// place of none or 0.0.0.0.
func WithPubSubURL(url string) Option { return func(c *config) { c.pubsubURL = url } }

// WithNames adds names and IP addresses under which clients reach the org, beside those that it
// tells: the certificate of [WithTLS] has them, and the API of [WithControlAddr] answers to them.
func WithNames(names ...string) Option {
	return func(c *config) { c.names = append(c.names, names...) }
}

// origin is where the org is, as its clients see it.
type origin struct{ scheme, host, port string }

// String returns the URL. It has the port unless that is the scheme's own.
func (o origin) String() string { return o.scheme + "://" + o.authority() }

// authority returns what the Host header of a request to the origin says.
func (o origin) authority() string {
	if o.scheme == "http" && o.port == "80" || o.scheme == "https" && o.port == "443" {
		return strings.TrimSuffix(o.addr(), ":"+o.port)
	}
	return o.addr()
}

func (o origin) addr() string { return net.JoinHostPort(o.host, o.port) }

// parseOrigin reads the URL of an option.
func parseOrigin(option, text, scheme string) (origin, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return origin{}, fmt.Errorf("sfstreamtest: %s(%q): is not like %s://host:port", option, text, scheme)
	case u.Scheme != scheme && scheme == "https":
		return origin{}, fmt.Errorf("sfstreamtest: %s(%q): with TLS it begins with https://", option, text)
	case u.Scheme != scheme:
		return origin{}, fmt.Errorf("sfstreamtest: %s(%q): without TLS it begins with http://", option, text)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	return origin{scheme, strings.ToLower(u.Hostname()), port}, nil
}

// toldHost returns the host that clients are told for an address to listen on: instead for one that
// stands for all of the machine's addresses.
func toldHost(addr, instead string) string {
	host, _, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err != nil || host == "" || ip != nil && ip.IsUnspecified() {
		return instead
	}
	return strings.ToLower(host)
}

// places are where the org is, as its clients see it.
type places struct {
	instances []origin // the first has the logins; the n-th move leads to the n-th after it
	pubsub    origin
}

// places returns what the org tells, for its ports.
func (c config) places(httpPort, pubsubPort string) (p places, err error) {
	const loopback = "127.0.0.1"
	scheme := "http"
	if c.tls {
		scheme = "https"
	}
	for _, text := range c.urls {
		o, err := parseOrigin("WithURL", text, scheme)
		if err != nil {
			return p, err
		}
		if slices.Contains(p.instances, o) {
			return p, fmt.Errorf("sfstreamtest: WithURL: %s twice", o)
		}
		p.instances = append(p.instances, o)
	}
	if len(p.instances) == 0 {
		first := origin{scheme, toldHost(c.httpAddr, loopback), httpPort}
		p.instances = []origin{first}
		switch first.host {
		case loopback:
			p.instances = append(p.instances, origin{scheme, "localhost", httpPort})
		case "localhost":
			p.instances = append(p.instances, origin{scheme, loopback, httpPort})
		}
	}
	if c.loginHost && len(p.instances) == 1 && !c.instanceHosts {
		return p, errors.New("sfstreamtest: WithLoginHost: the org's My Domain needs a URL of its own, the second one of WithURL")
	}
	for option, addr := range map[string]string{"WithHTTPAddr": c.httpAddr, "WithPubSubAddr": c.pubsubAddr, "WithControlAddr": c.controlAddr} {
		if _, _, err := net.SplitHostPort(addr); err != nil && (addr != "" || option != "WithControlAddr") {
			return p, fmt.Errorf("sfstreamtest: %s(%q): is not like host:port", option, addr)
		}
	}
	for _, name := range c.names {
		if net.ParseIP(name) == nil && strings.ContainsAny(name, ":/ ") || name == "" {
			return p, fmt.Errorf("sfstreamtest: WithNames(%q): is neither a host name nor an IP address", name)
		}
	}
	p.pubsub = origin{scheme, toldHost(c.pubsubAddr, p.instances[0].host), pubsubPort}
	if c.pubsubURL != "" {
		p.pubsub, err = parseOrigin("WithPubSubURL", c.pubsubURL, scheme)
	}
	return p, err
}

// hosts returns the hosts of all that the org tells, and those of WithNames.
func (s *Server) hosts() []string {
	hosts := append([]string{s.places.pubsub.host}, s.config.names...)
	for _, o := range s.places.instances {
		hosts = append(hosts, o.host)
	}
	return hosts
}

// LoginURL returns where to log in, such as http://127.0.0.1:40001.
func (s *Server) LoginURL() string { return s.places.instances[0].String() }

// PubSubEndpoint returns where the Pub/Sub API is: host:port with TLS, else http://host:port.
func (s *Server) PubSubEndpoint() string {
	if o := s.places.pubsub; o.scheme == "http" {
		return "http://" + o.addr()
	}
	return s.places.pubsub.addr()
}

// authority returns a Host header as authority does for an origin.
func (s *Server) authority(host string) string {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		return strings.ToLower(host)
	}
	return origin{s.places.pubsub.scheme, strings.ToLower(name), port}.authority()
}

// resolveHost returns the address that HTTPClient dials for a host of the org.
func (s *Server) resolveHost(addr string) (string, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	if how, _ := s.leftBehind(s.authority(addr)); how == "gone" {
		return "", &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	told := slices.ContainsFunc(s.places.instances, func(o origin) bool { return o.addr() == addr })
	if told || s.config.instanceHosts && (strings.HasSuffix(host, "."+instanceDomain) || strings.HasPrefix(host, instanceNetwork)) {
		return s.httpGate.addr.String(), nil
	}
	return addr, nil
}

func (s *Server) newTransport() *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			addr, err := s.resolveHost(addr)
			if err != nil {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
			}
			return s.network.dial(ctx, addr)
		},
	}
}

// reachPubSub returns the gRPC options that lead to the Pub/Sub API without DNS.
func (s *Server) reachPubSub() []grpc.DialOption {
	var opts []grpc.DialOption
	if s.config.inMemory {
		opts = append(opts, grpc.WithContextDialer(s.network.dial))
	}
	if at := s.pubsubGate.addr.String(); s.places.pubsub.addr() != at {
		opts = append(opts, grpc.WithResolvers(knownAddress(at)))
	}
	return opts
}

// knownAddress is a resolver of gRPC that stands in for DNS, and always has the same answer.
type knownAddress string

// Build is a method of resolver.Builder.
func (k knownAddress) Build(_ resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	return k, cc.UpdateState(resolver.State{Addresses: []resolver.Address{{Addr: string(k)}}})
}

// Scheme is a method of resolver.Builder.
func (knownAddress) Scheme() string { return "dns" }

// ResolveNow is a method of resolver.Resolver.
func (knownAddress) ResolveNow(resolver.ResolveNowOptions) {}

// Close is a method of resolver.Resolver.
func (knownAddress) Close() {}
