package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
)

// world is how doctor reaches servers: by the network and the variables of this computer, or as a
// test says.
type world struct {
	http  *http.Client
	grpc  []grpc.DialOption
	roots *x509.CertPool // nil: those of the system
	dial  func(ctx context.Context, network, addr string) (net.Conn, error)
	proxy func(*http.Request) (*url.URL, error)
}

// theWorld is the network as the library uses it.
func theWorld() world {
	return world{http: http.DefaultClient, dial: new(net.Dialer).DialContext, proxy: http.ProxyFromEnvironment}
}

// routeTimeout bounds the way to one address, from its name to its certificate.
const routeTimeout = 6 * time.Second

// route is the way to an address, as far as it goes.
type route struct {
	addr     string   // host:port
	proxy    *url.URL // nil: none
	issuer   string   // of the certificate, empty without TLS
	protocol string   // what TLS agreed on: h2, http/1.1 or nothing
	unusual  bool     // the certificate of a host of Salesforce comes from no public authority
}

// roadblock is where a route ends. Its fix does not know what named the address: the check adds
// that.
type roadblock struct {
	text, fix string
	name      bool // the name of the host is not known
}

// reach connects to an address as the library would, with TLS if secure, and hangs up. It sends
// nothing but handshakes.
func (w world) reach(ctx context.Context, addr string, secure bool) (route, *roadblock) {
	ctx, cancel := context.WithTimeout(ctx, routeTimeout)
	defer cancel()
	r := route{addr: addr}
	conn, block := w.connect(ctx, &r)
	if block != nil {
		return r, block
	}
	defer conn.Close()
	if !secure {
		return r, nil
	}
	host, _, _ := net.SplitHostPort(addr)
	secured := tls.Client(conn, &tls.Config{ServerName: host, RootCAs: w.roots, NextProtos: []string{"h2", "http/1.1"}})
	if err := secured.HandshakeContext(ctx); err != nil {
		if ctx.Err() != nil { // whatever ended the handshake then, the time was over
			err = ctx.Err()
		}
		return r, tlsRoadblock(host, addr, err)
	}
	state := secured.ConnectionState()
	chain := state.VerifiedChains[0]
	r.protocol = state.NegotiatedProtocol
	r.issuer = authority(chain)
	r.unusual = isSalesforce(host) && !slices.ContainsFunc(chain, isPublic)
	return r, nil
}

// connect makes the connection, through the proxy where there is one.
func (w world) connect(ctx context.Context, r *route) (net.Conn, *roadblock) {
	// grpc-go and net/http ask for the proxy in the same way.
	proxy, err := w.proxy(&http.Request{URL: &url.URL{Scheme: "https", Host: r.addr}})
	if err != nil {
		// The error repeats the variable, which may hold a password.
		return nil, &roadblock{text: "the proxy variables cannot be understood", fix: "set HTTPS_PROXY to an address of the form http://proxy.example:8080"}
	}
	r.proxy = proxy
	to := r.addr
	if proxy != nil {
		if proxy.Scheme != "http" {
			return nil, &roadblock{
				text: fmt.Sprintf("the proxy %s is one of the kind %s, which gRPC cannot use", proxy.Host, proxy.Scheme),
				fix:  "set HTTPS_PROXY to a proxy with http://, or let NO_PROXY name the host",
			}
		}
		to = net.JoinHostPort(proxy.Hostname(), cmp.Or(proxy.Port(), "80"))
	}
	conn, err := w.dial(ctx, "tcp", to)
	if err != nil {
		return nil, dialRoadblock(to, proxy != nil, err)
	}
	if proxy == nil {
		return conn, nil
	}
	if block := tunnel(ctx, conn, r.addr, proxy); block != nil {
		conn.Close()
		return nil, block
	}
	return conn, nil
}

// tunnel asks a proxy for a connection to an address.
func tunnel(ctx context.Context, conn net.Conn, addr string, proxy *url.URL) *roadblock {
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Host: addr}, Header: http.Header{"User-Agent": {"sfstream"}}}
	if login := proxy.User; login != nil {
		password, _ := login.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(login.Username()+":"+password)))
	}
	block := func(text, fix string) *roadblock {
		return &roadblock{text: "the proxy " + proxy.Host + " " + text, fix: fix}
	}
	if err := req.Write(conn); err != nil {
		return block("hangs up", "check HTTPS_PROXY")
	}
	// The server speaks only after we have: nothing of it is lost in the reader.
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, 64<<10)), req)
	switch {
	case err != nil && ctx.Err() != nil:
		return block("does not answer", "check HTTPS_PROXY, and that the proxy reaches "+addr)
	case err != nil:
		return block("does not speak HTTP", "check HTTPS_PROXY")
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusProxyAuthRequired:
		return block("wants a login ("+resp.Status+")", "put the user and the password of the proxy into HTTPS_PROXY: http://user:password@proxy.example:8080")
	}
	return block("refuses a connection to "+addr+" ("+resp.Status+")", "let the proxy allow CONNECT to "+addr)
}

// dialRoadblock says why there is no TCP connection.
func dialRoadblock(to string, proxy bool, err error) *roadblock {
	host, _, _ := net.SplitHostPort(to)
	subject, cure := to, "allow outgoing connections to "+to+"; where the network wants a proxy, set HTTPS_PROXY"
	if proxy {
		subject, cure = "the proxy "+to, "check HTTPS_PROXY"
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if !dns.IsNotFound {
			return &roadblock{text: "the name server does not answer for " + host, fix: "check this computer's connection and its DNS"}
		}
		b := &roadblock{text: "there is no host " + host + " (DNS)", name: !proxy}
		if proxy {
			b.fix = cure
		}
		return b
	}
	switch network, _ := errors.AsType[net.Error](err); {
	case errors.Is(err, context.DeadlineExceeded), network != nil && network.Timeout():
		return &roadblock{text: subject + " does not answer: a firewall may drop the packets", fix: cure}
	case errors.Is(err, syscall.ECONNREFUSED):
		return &roadblock{text: subject + " refuses the connection: nothing listens there, or a firewall is in between", fix: cure}
	}
	return &roadblock{text: subject + ": " + err.Error(), fix: cure}
}

// tlsRoadblock says why TLS fails.
func tlsRoadblock(host, addr string, err error) *roadblock {
	if unverified, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return certificateRoadblock(host, unverified)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
			return &roadblock{text: addr + " does not speak TLS", fix: "write http://" + addr + ", as for a testorg without -tls"}
		}
		return &roadblock{text: addr + " does not speak TLS", fix: "check the port, and whether a proxy answers in place of " + host}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &roadblock{text: addr + " takes a connection and then does not answer (TLS)", fix: "ask who runs the network: a firewall may stop TLS to " + host}
	}
	return &roadblock{text: addr + ": TLS fails: " + err.Error(), fix: "ask who runs the network: a firewall may stop TLS to " + host}
}

// certificateRoadblock says what is wrong with a certificate.
func certificateRoadblock(host string, e *tls.CertificateVerificationError) *roadblock {
	leaf := e.UnverifiedCertificates[0]
	by := authority(e.UnverifiedCertificates)
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](e.Err); ok && invalid.Reason == x509.Expired {
		return &roadblock{
			text: fmt.Sprintf("the certificate of %s, issued by %s, is valid from %s to %s only", host, by, leaf.NotBefore.Format(time.DateOnly), leaf.NotAfter.Format(time.DateOnly)),
			fix:  "check this computer's clock; if it is right, whoever runs the host has to renew the certificate",
		}
	}
	if _, ok := errors.AsType[x509.HostnameError](e.Err); ok {
		return &roadblock{
			text: fmt.Sprintf("the certificate that comes from %s is that of %s, issued by %s", host, nameOf(leaf.Subject), by),
			fix:  "check the host's name; a proxy or a portal of the network may answer in its place",
		}
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](e.Err); ok {
		return &roadblock{
			text: fmt.Sprintf("the certificate of %s is issued by %s, which this computer does not trust: probably a proxy that opens TLS", host, by),
			fix:  fmt.Sprintf("have %s exempted from that, or trust the proxy's authority: add its certificate to the system's, or name a file with it in SSL_CERT_FILE", host),
		}
	}
	return &roadblock{text: fmt.Sprintf("the certificate of %s, issued by %s: %v", host, by, e.Err), fix: "ask who runs the host or the network"}
}

// authority names who issued the certificates of a chain: the issuer of the last one.
func authority(chain []*x509.Certificate) string { return nameOf(chain[len(chain)-1].Issuer) }

func nameOf(name pkix.Name) string {
	organization := strings.Join(name.Organization, ", ")
	switch {
	case organization == "":
		return cmp.Or(name.CommonName, "nobody named")
	case name.CommonName == "":
		return organization
	}
	return organization + " (" + name.CommonName + ")"
}

// isSalesforce reports whether a host is one of Salesforce's.
func isSalesforce(host string) bool {
	host = strings.ToLower(host)
	return strings.HasSuffix(host, ".salesforce.com") || strings.HasSuffix(host, ".force.com")
}

// publicAuthorities are the authorities from which hosts of Salesforce can be expected to have
// their certificates: DigiCert has issued all of them for years, the others are what large sites
// use.
var publicAuthorities = []string{"DigiCert", "Amazon", "Google Trust Services", "Internet Security Research Group", "Sectigo", "GlobalSign", "Entrust", "IdenTrust"}

func isPublic(c *x509.Certificate) bool {
	issuer := nameOf(c.Issuer)
	return slices.ContainsFunc(publicAuthorities, func(name string) bool { return strings.HasPrefix(issuer, name) })
}

// String tells the way, as far as there is something to tell.
func (r route) String() string {
	text := r.addr + " answers"
	if r.proxy != nil {
		text += " through the proxy " + r.proxy.Host
	}
	if r.issuer != "" {
		text += "; its certificate is issued by " + r.issuer
	}
	return text
}
