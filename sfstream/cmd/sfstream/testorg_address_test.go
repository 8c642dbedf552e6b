package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// freeAddress returns an address on all interfaces that was free a moment ago.
func freeAddress(t *testing.T) (addr, port string) {
	t.Helper()
	ln, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, err = net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return "0.0.0.0:" + port, port
}

// As in a container: the org listens on all addresses, and its clients have another name for it,
// which only their resolver knows.
func TestTestorgIsReachedUnderTheNameThatItTells(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	for _, scheme := range []string{"http", "https"} {
		httpAddr, httpPort := freeAddress(t)
		pubsubAddr, pubsubPort := freeAddress(t)
		args := []string{"-http", httpAddr, "-pubsub", pubsubAddr, "-url", scheme + "://org.test:" + httpPort, "-control", "localhost:0"}
		wantPubSub := "http://org.test:" + pubsubPort
		if scheme == "https" {
			args = append(args, "-tls", "-ca", ca, "-names", "other.test")
			wantPubSub = "org.test:" + pubsubPort
		}
		o := startOrg(t, args...)
		if o.LoginURL != scheme+"://org.test:"+httpPort || o.PubSub != wantPubSub || !strings.HasPrefix(o.ControlURL, "http://localhost:") {
			t.Errorf("told %+v", o.orgLine)
		}
		transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, strings.Replace(addr, "org.test", "127.0.0.1", 1))
		}}
		defer transport.CloseIdleConnections()
		if scheme == "https" {
			if o.CAFile != ca+".crt" {
				t.Errorf("its authority is in %s", o.CAFile)
			}
			text, err := os.ReadFile(o.CAFile)
			if err != nil || bytes.Contains(text, []byte("PRIVATE")) {
				t.Fatalf("the certificate alone: %v", err)
			}
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM(text)
			transport.TLSClientConfig = &tls.Config{RootCAs: pool}
			for _, server := range []string{httpPort, pubsubPort} {
				conn, err := tls.Dial("tcp", "127.0.0.1:"+server, &tls.Config{RootCAs: pool, ServerName: "other.test", NextProtos: []string{"h2"}})
				if err != nil {
					t.Fatal(err)
				}
				conn.Close()
			}
		}
		o.client = &http.Client{Transport: transport}
		reply := o.token(t, url.Values{"grant_type": {"password"}, "client_id": {o.ConsumerKey}, "client_secret": {o.ConsumerSecret},
			"username": {o.Username}, "password": {o.Password}})
		if id, _ := reply["id"].(string); reply["instance_url"] != o.LoginURL || !strings.HasPrefix(id, o.LoginURL+"/id/") {
			t.Errorf("logged in to %v", reply)
		}
		o.define(t) // the control API
	}
}

func TestAddressesOfTestorg(t *testing.T) {
	free := []string{"testorg", "-http", "127.0.0.1:0", "-pubsub", "127.0.0.1:0", "-control", "127.0.0.1:0"}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	key := filepath.Join(t.TempDir(), "key.pem")
	for _, test := range []struct {
		want   string
		status int
		args   []string
	}{
		{"-url org.test: is not like http://host:port", 2, []string{"-url", "org.test"}},
		{"-url http://org.test: with TLS it begins with https://", 2, []string{"-url", "http://org.test", "-tls"}},
		{"-ca is of use with -tls only", 2, []string{"-ca", "ca.pem"}},
		{"-names a/b: is neither", 2, []string{"-names", "a/b"}},
		{"-http " + taken.Addr().String() + ": another program has this port; choose", 1, []string{"-http", taken.Addr().String()}},
		{"-pubsub " + taken.Addr().String() + ": another program has this port; choose", 1, []string{"-pubsub", taken.Addr().String()}},
		{"-control " + taken.Addr().String() + ": another program has this port; choose", 1, []string{"-control", taken.Addr().String()}},
		{"-pubsub nonsense: is not like host:port", 2, []string{"-pubsub", "nonsense"}},
	} {
		args := append(free, test.args...)
		if test.status == 2 {
			args = append(args, "-key", key)
		}
		cmd := program(t, nil, args...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, _ := cmd.Output()
		if cmd.ProcessState.ExitCode() != test.status || len(out) > 0 || !strings.Contains(stderr.String(), test.want) {
			t.Errorf("%v: exit status %d, stdout %q, stderr %s", test.args, cmd.ProcessState.ExitCode(), out, &stderr)
		}
	}
	if _, err := os.Stat(key); err == nil {
		t.Error("a file was made before the mistake was found")
	}
}
