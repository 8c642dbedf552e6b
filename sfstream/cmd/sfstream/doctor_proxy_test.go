package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// authority is one that issues certificates, as a proxy that opens TLS has.
type testAuthority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T, name string) *testAuthority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{name}}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &testAuthority{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// config is that of a TLS server for a host, which is valid from now on for so long.
func (a *testAuthority) config(t *testing.T, host string, valid time.Duration, protocols ...string) *tls.Config {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(valid), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{NextProtos: protocols, Certificates: []tls.Certificate{{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: a.key}}}
}

// connectProxy is a proxy that tunnels to the hosts of an org, which have names that nobody else
// knows.
type connectProxy struct {
	org    *sfstreamtest.Server
	login  string // what it wants in Proxy-Authorization, empty: nothing
	refuse string // the host to which it opens no tunnel
	opens  string // the host whose TLS it opens
	config *tls.Config

	wg sync.WaitGroup
}

// start serves the proxy until the end of the test, and returns its address.
func (p *connectProxy) start(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.serve(ctx, w, r) }), ErrorLog: log.New(io.Discard, "", 0)}
	p.wg.Go(func() { _ = server.Serve(ln) })
	t.Cleanup(func() { cancel(); _ = server.Close(); p.wg.Wait() })
	return ln.Addr().String()
}

func (p *connectProxy) serve(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	host, _, _ := net.SplitHostPort(r.Host)
	switch {
	case r.Method != http.MethodConnect:
		http.Error(w, "tunnels only", http.StatusMethodNotAllowed)
		return
	case p.login != "" && r.Header.Get("Proxy-Authorization") != p.login:
		http.Error(w, "who are you?", http.StatusProxyAuthRequired)
		return
	case host == p.refuse:
		http.Error(w, "<html>not allowed here</html>", http.StatusForbidden)
		return
	}
	to := strings.TrimPrefix(p.org.LoginURL(), "https://")
	if strings.HasPrefix(host, "pubsub.") {
		to = p.org.PubSubEndpoint()
	}
	client, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	p.wg.Add(1)
	defer p.wg.Done()
	defer client.Close()
	defer context.AfterFunc(ctx, func() { client.Close() })()
	_, _ = io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n")
	if host == p.opens {
		opened := tls.Server(client, p.config)
		if opened.HandshakeContext(ctx) == nil {
			_, _ = io.Copy(io.Discard, opened)
		}
		return
	}
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	p.wg.Go(func() { _, _ = io.Copy(server, client); server.Close() })
	_, _ = io.Copy(client, server)
}

// Doctor and gRPC go through the proxy that the variables name, in a process of its own, because
// net/http reads them once.
func TestDoctorBehindAProxy(t *testing.T) {
	const login, pubsub = "login.sfstreamtest.example", "pubsub.sfstreamtest.example"
	org := sfstreamtest.NewServer(t, sfstreamtest.WithTLS(), sfstreamtest.WithInstanceHosts())
	if err := org.DefineEvent("/event/Order__e", orderSchema); err != nil {
		t.Fatal(err)
	}
	corp := newAuthority(t, "Corp Inspection")
	for _, test := range []struct {
		name    string
		proxy   *connectProxy
		trusted bool   // this computer trusts corp
		user    string // in HTTPS_PROXY
		broken  string // behind the address in HTTPS_PROXY
		status  int
		want    []string
		lacks   []string
	}{
		{name: "that lets all through", proxy: &connectProxy{login: "Basic dXNlcjpwcm94eXBhc3N3b3Jk"}, user: "user:proxypassword@",
			want: []string{"login.sfstreamtest.example:443 answers through the proxy 127.0.0.1:", "port 7443 of the Pub/Sub API is open too", "gRPC gets through",
				"ok         /event/Order__e"},
			lacks: []string{"wrong", "warning"}},
		{name: "that wants a login", proxy: &connectProxy{login: "Basic dXNlcjpwcm94eXBhc3N3b3Jk"}, user: "user:proxypasswordx@", status: 1,
			want: []string{"wrong      network: the proxy 127.0.0.1:", "wants a login (407 Proxy Authentication Required)", "into HTTPS_PROXY"}},
		{name: "that cannot be understood", proxy: &connectProxy{}, user: "user:proxypassword@", broken: "%zz", status: 1,
			want: []string{"wrong      network: HTTPS_PROXY is not the address of a proxy", "not tried  login: there is no way to the login"}},
		{name: "that stops gRPC by its host", proxy: &connectProxy{refuse: pubsub}, status: 1,
			want: []string{"wrong      network: the Pub/Sub API: the proxy 127.0.0.1:", "refuses a connection to pubsub.sfstreamtest.example:443 (403 Forbidden)",
				"let the proxy allow CONNECT to pubsub.sfstreamtest.example:443", "not tried  /event/Order__e", "ok         login: logged in"}},
		{name: "that stops gRPC by HTTP/1.1", proxy: &connectProxy{opens: pubsub, config: corp.config(t, pubsub, time.Hour, "http/1.1")}, trusted: true, status: 1,
			want: []string{"wrong      network: pubsub.sfstreamtest.example:443 answers through the proxy", "issued by Corp Inspection, and speaks HTTP/1.1 only", "let it speak HTTP/2"}},
		{name: "that opens TLS and is not trusted", proxy: &connectProxy{opens: login, config: corp.config(t, login, time.Hour, "h2")}, status: 1,
			want: []string{"wrong      network: the certificate of login.sfstreamtest.example is issued by Corp Inspection, which this computer does not trust",
				"SSL_CERT_FILE", "not tried  login: there is no way to the login", "gRPC gets through"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.proxy.org = org
			roots := filepath.Join(t.TempDir(), "roots.pem")
			trusted := org.CertPEM()
			if test.trusted {
				trusted = append(append([]byte(nil), trusted...), corp.pem...)
			}
			if err := os.WriteFile(roots, trusted, 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := program(t, []string{
				"SSL_CERT_FILE=" + roots, "SSL_CERT_DIR=" + t.TempDir(), "HTTPS_PROXY=http://" + test.user + test.proxy.start(t) + test.broken, "NO_PROXY=", "https_proxy=", "no_proxy=",
				"SALESFORCE_LOGIN_URL=https://" + login, "SALESFORCE_PUBSUB_ENDPOINT=" + pubsub + ":443",
				"SALESFORCE_CONSUMER_KEY=" + org.Account().ConsumerKey, "SALESFORCE_CONSUMER_SECRET=" + org.Account().ConsumerSecret,
			}, "doctor", "/event/Order__e")
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if got := cmd.ProcessState.ExitCode(); got != test.status {
				t.Errorf("exit status %d (%v): %s", got, err, &stderr)
			}
			for _, want := range test.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("it does not tell %q in\n%s", want, out)
				}
			}
			for _, lacks := range append(test.lacks, "proxypassword", org.Account().ConsumerSecret, "%!") {
				if strings.Contains(string(out)+stderr.String(), lacks) {
					t.Errorf("it tells %q in\n%s%s", lacks, out, &stderr)
				}
			}
		})
	}
}

// The way to a host is told for what it is.
func TestDoctorsRoutes(t *testing.T) {
	const host = "acme.my.salesforce.com"
	corp, digicert := newAuthority(t, "Corp Inspection"), newAuthority(t, "DigiCert Inc")
	roots := x509.NewCertPool()
	roots.AddCert(corp.cert)
	roots.AddCert(digicert.cert)
	for _, test := range []struct {
		name    string
		config  *tls.Config // nil: the server speaks no TLS
		dial    error       // nil: the server is there
		proxy   string
		text    string // of the roadblock, or of the route
		unusual bool
	}{
		{name: "as it should be", config: digicert.config(t, host, time.Hour, "h2"), text: "acme.my.salesforce.com:443 answers; its certificate is issued by DigiCert Inc"},
		{name: "opened on the way", config: corp.config(t, host, time.Hour, "h2"), text: "its certificate is issued by Corp Inspection", unusual: true},
		{name: "not trusted", config: newAuthority(t, "Evil").config(t, host, time.Hour), text: "issued by Evil, which this computer does not trust"},
		{name: "expired", config: digicert.config(t, host, -time.Minute), text: "is valid from "},
		{name: "of another", config: digicert.config(t, "portal.example", time.Hour), text: "is that of portal.example, issued by DigiCert Inc"},
		{name: "no TLS", text: "does not speak TLS"},
		{name: "no host", dial: &net.DNSError{Name: host, IsNotFound: true}, text: "there is no host acme.my.salesforce.com"},
		{name: "no DNS", dial: &net.DNSError{Name: host, IsTimeout: true}, text: "the name server does not answer"},
		{name: "a firewall", dial: context.DeadlineExceeded, text: "does not answer: a firewall"},
		{name: "another error", dial: errors.New("it burns"), text: "it burns"},
		{name: "a proxy of another kind", proxy: "socks5://proxy.example:1080", text: "which gRPC cannot use"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := world{roots: roots, proxy: func(*http.Request) (*url.URL, error) {
				if test.proxy == "" {
					return nil, nil
				}
				return url.Parse(test.proxy)
			}}
			var wg sync.WaitGroup
			defer wg.Wait()
			w.dial = func(context.Context, string, string) (net.Conn, error) {
				if test.dial != nil {
					return nil, test.dial
				}
				client, server := net.Pipe()
				wg.Go(func() {
					defer server.Close()
					if test.config == nil {
						wg.Go(func() { _, _ = io.Copy(io.Discard, server) }) // a pipe has no buffer
						_, _ = io.WriteString(server, "HTTP/1.0 400 Bad Request\r\n\r\n")
						return
					}
					_ = tls.Server(server, test.config).Handshake()
				})
				return client, nil
			}
			r, block := w.reach(t.Context(), host+":443", true)
			got := r.String()
			if block != nil {
				if got = block.text; block.fix == "" && !block.name {
					t.Errorf("%s: nothing to fix", block.text)
				}
			}
			if !strings.Contains(got, test.text) || r.unusual != test.unusual {
				t.Errorf("got %q, want %q; unusual is %v", got, test.text, r.unusual)
			}
		})
	}
}
