package sfstreamtest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// anywhere makes an org listen on all addresses of the machine, as in a container.
func anywhere(opts ...sfstreamtest.Option) []sfstreamtest.Option {
	return append([]sfstreamtest.Option{sfstreamtest.WithHTTPAddr("0.0.0.0:0"), sfstreamtest.WithPubSubAddr(":0")}, opts...)
}

func TestTheOrgTellsTheURLsThatItWasGiven(t *testing.T) {
	for _, test := range []struct {
		name, login, second, pubsub string
		opts                        []sfstreamtest.Option
	}{
		{"plain", "http://org.test:8080", "http://my.org.test:8080", "http://bus.test:7011", []sfstreamtest.Option{
			sfstreamtest.WithURL("http://ORG.test:8080/", "http://my.org.test:8080"), sfstreamtest.WithPubSubURL("http://bus.test:7011")}},
		{"the ports of the schemes", "https://org.test", "https://my.org.test", "bus.test:443", []sfstreamtest.Option{
			sfstreamtest.WithURL("https://org.test:443", "https://my.org.test"), sfstreamtest.WithPubSubURL("https://bus.test"), sfstreamtest.WithTLS()}},
		{"IPv6", "http://[2001:db8::1]", "http://[2001:db8::2]:8080", "http://[2001:db8::1]:80", []sfstreamtest.Option{
			sfstreamtest.WithURL("http://[2001:db8::1]", "http://[2001:db8::2]:8080"), sfstreamtest.WithPubSubURL("http://[2001:db8::1]:80")}},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				if r.LoginURL() != test.login || r.PubSubEndpoint() != test.pubsub {
					t.Fatalf("told %s and %s", r.LoginURL(), r.PubSubEndpoint())
				}
				told := func(when, instance string) {
					t.Helper()
					reply := r.login()
					if reply["instance_url"] != instance || !strings.HasPrefix(reply["id"], test.login+"/id/00D") {
						t.Errorf("%s: logged in to %v", when, reply)
					}
					getTopic(t, r, orders, codes.OK, "")
					status, body := r.ask(reply["id"])
					if status != http.StatusOK || !strings.Contains(body, `"rest":"`+instance+"/services/data/") {
						t.Errorf("%s: identity: %d %s", when, status, body)
					}
					root, _ := r.readXML(r.soapLogin("u/60.0", nil))
					if url := root.at(0, 0, 0, 3).Text; !strings.HasPrefix(url, instance+"/services/Soap/u/60.0/") {
						t.Errorf("%s: serverUrl is %s", when, url)
					}
					for _, audience := range []string{test.login, instance} {
						claims := r.claims()
						claims["aud"] = audience
						if _, reply := r.post(r.jwtForm(claims)); reply["instance_url"] != instance {
							t.Errorf("%s: audience %s: %v", when, audience, reply)
						}
					}
					if status, body := r.ask(instance + "/services/data/v60.0/"); status != http.StatusOK || !strings.Contains(body, `"`+test.login+"/id/") {
						t.Errorf("%s: resources: %d %s", when, status, body)
					}
				}
				told("first", test.login)
				check(t, r.LeaveInstance("307"))
				r.login()
				resp, _, err := r.askPlain(test.login + "/services/data/v60.0/?x=1")
				check(t, err)
				if to := resp.Header.Get("Location"); to != test.second+"/services/data/v60.0/?x=1" {
					t.Errorf("moved to %s", to)
				}
				told("moved", test.second)
				r.RedirectToLogin(1)
				resp, _, err = r.askPlain(test.second + "/services/data/v60.0/")
				check(t, err)
				if to := resp.Header.Get("Location"); !strings.HasPrefix(to, test.login+"/?ec=302") {
					t.Errorf("login page at %s", to)
				}
				r.MoveInstance()
				told("back", test.login)
			}, anywhere(test.opts...)...)
		})
	}
}

// ask gets a page of the org with the token.
func (r *rig) ask(url string) (status int, body string) {
	r.tb.Helper()
	resp, body, err := r.askPlain(url)
	check(r.tb, err)
	return resp.StatusCode, body
}

func TestWhatAnAddressTells(t *testing.T) {
	for _, test := range []struct{ http, pubsub, url, wantLogin, wantPubSub string }{
		{"127.0.0.1:0", "127.0.0.1:0", "", "http://127.0.0.1:*", "http://127.0.0.1:*"},
		{"localhost:0", "LOCALHOST:0", "", "http://localhost:*", "http://localhost:*"},
		{":0", "[::]:0", "", "http://127.0.0.1:*", "http://127.0.0.1:*"},
		{"[::1]:0", "[::1]:0", "", "http://[::1]:*", "http://[::1]:*"},
		{"org.test:0", "0.0.0.0:0", "", "http://org.test:*", "http://org.test:*"},
		{"0.0.0.0:0", "0.0.0.0:0", "http://org.test:8080", "http://org.test:8080", "http://org.test:*"},
		{"0.0.0.0:0", "127.0.0.1:0", "http://org.test:80", "http://org.test", "http://127.0.0.1:*"},
	} {
		org := sfstreamtest.NewServer(t, sfstreamtest.InMemory(), sfstreamtest.WithHTTPAddr(test.http), sfstreamtest.WithPubSubAddr(test.pubsub),
			sfstreamtest.WithControlAddr("0.0.0.0:0"), func() sfstreamtest.Option {
				if test.url == "" {
					return sfstreamtest.WithNames()
				}
				return sfstreamtest.WithURL(test.url)
			}())
		for want, got := range map[string]string{test.wantLogin: org.LoginURL(), test.wantPubSub: org.PubSubEndpoint()} {
			if prefix, any := strings.CutSuffix(want, "*"); !strings.HasPrefix(got, prefix) || !any && got != want {
				t.Errorf("%v tells %s", test, got)
			}
		}
	}
}

func TestAnOrgWithOneURLDoesNotMove(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		if err := r.LeaveInstance("302"); err == nil || !strings.Contains(err.Error(), "WithURL") {
			t.Errorf("it left: %v", err)
		}
		r.MoveInstance()
		getTopic(t, r, orders, codes.Unauthenticated, "service.auth.error")
		if reply := r.login(); reply["instance_url"] != r.LoginURL() {
			t.Errorf("it is at %s", reply["instance_url"])
		}
		getTopic(t, r, orders, codes.OK, "")
	}, anywhere(sfstreamtest.WithURL("http://org.test:8080"))...)
}

func TestAddressesThatAreNone(t *testing.T) {
	for want, opts := range map[string][]sfstreamtest.Option{
		`WithURL("org.test:8080")`:      {sfstreamtest.WithURL("org.test:8080")},
		`is not like http://host:port`:  {sfstreamtest.WithURL("http://org.test/path")},
		`with TLS it begins`:            {sfstreamtest.WithURL("http://org.test"), sfstreamtest.WithTLS()},
		`without TLS it begins`:         {sfstreamtest.WithPubSubURL("https://org.test")},
		`http://org.test twice`:         {sfstreamtest.WithURL("http://org.test", "http://org.test:80")},
		`WithLoginHost: the org's My`:   {sfstreamtest.WithURL("http://org.test"), sfstreamtest.WithLoginHost()},
		`WithNames("https://org.test")`: {sfstreamtest.WithNames("https://org.test")},
	} {
		if err := sfstreamtest.Validate(opts...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %s, got %v", want, err)
		}
		if org, err := sfstreamtest.Start(opts...); err == nil {
			t.Errorf("%s: started", want)
			check(t, org.Close())
		}
	}
	check(t, sfstreamtest.Validate(sfstreamtest.WithURL("http://org.test", "http://my.org.test"), sfstreamtest.WithLoginHost()))
}

// clientAt makes a client that finds every name at addr.
func clientAt(t *testing.T, addr string, ca []byte) *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestTheCertificateAuthorityStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ca.pem")
	var first []byte
	for range 2 { // the first run makes the file, the second uses it
		org := sfstreamtest.NewServer(t, anywhere(sfstreamtest.WithTLS(), sfstreamtest.WithCA(path),
			sfstreamtest.WithPubSubURL("https://bus.test:7443"), sfstreamtest.WithNames("other.test", "192.0.2.7"))...)
		if first == nil {
			first = org.CertPEM()
		}
		if !bytes.Equal(first, org.CertPEM()) || bytes.Contains(first, []byte("PRIVATE")) {
			t.Error("another authority, or its key")
		}
		client := clientAt(t, strings.TrimPrefix(org.LoginURL(), "https://"), first)
		for _, host := range []string{"bus.test", "other.test", "192.0.2.7", "localhost", "127.0.0.1", "[::1]"} {
			resp, err := client.Get("https://" + host + "/services/data/")
			if err != nil {
				t.Error(err)
				continue
			}
			resp.Body.Close()
		}
		if resp, err := client.Get("https://stranger.test/"); err == nil {
			resp.Body.Close()
			t.Error("it is good for any host")
		}
	}
	info, err := os.Stat(path)
	check(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v", info.Mode())
	}
	for _, text := range [][]byte{first, []byte("x")} {
		check(t, os.WriteFile(path, text, 0o600))
		want := path + `"): has no certificate with its private key`
		if _, err := sfstreamtest.Start(sfstreamtest.WithTLS(), sfstreamtest.WithCA(path)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %s, got %v", want, err)
		}
		if kept, err := os.ReadFile(path); err != nil || !bytes.Equal(kept, text) {
			t.Errorf("the file was written: %s, %v", kept, err)
		}
	}
}

// Clients differ in which of its addresses they try.
func TestLocalhostIsServedByIPv4AndIPv6(t *testing.T) {
	org := sfstreamtest.NewServer(t, sfstreamtest.WithHTTPAddr("localhost:0"), sfstreamtest.WithPubSubAddr("localhost:0"))
	for _, endpoint := range []string{org.LoginURL(), org.PubSubEndpoint()} {
		port, ok := strings.CutPrefix(endpoint, "http://localhost:")
		if !ok {
			t.Fatalf("told %s", endpoint)
		}
		for _, ip := range []string{"127.0.0.1", "::1"} {
			if ln, err := net.Listen("tcp", net.JoinHostPort(ip, "0")); err != nil {
				t.Logf("this machine has no %s", ip)
				continue
			} else {
				ln.Close()
			}
			conn, err := net.DialTimeout("tcp", net.JoinHostPort(ip, port), 5*time.Second)
			if err != nil {
				t.Error(err)
				continue
			}
			conn.Close()
		}
	}
	resp, err := http.Get(org.LoginURL() + "/services/data/")
	check(t, err)
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%s, %v", resp.Status, err)
	}
	http.DefaultClient.CloseIdleConnections()
}
