package k8sstore

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// serviceAccount is where Kubernetes mounts what a pod needs for the API.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

// InCluster returns the configuration of the pod that the process runs in: the API server of its
// cluster, its service account and its namespace. The token is read for each request, because
// Kubernetes changes it.
func InCluster() (Config, error) {
	return inCluster(serviceAccount)
}

func inCluster(mounted string) (Config, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return Config{}, errors.New("k8sstore: this is no pod of Kubernetes: KUBERNETES_SERVICE_HOST and " +
			"KUBERNETES_SERVICE_PORT are not set; use a Config of your own")
	}
	namespace, err := os.ReadFile(filepath.Join(mounted, "namespace"))
	if err != nil {
		return Config{}, fmt.Errorf("k8sstore: the pod has no service account (automountServiceAccountToken?): %w", err)
	}
	certificate, err := os.ReadFile(filepath.Join(mounted, "ca.crt"))
	if err != nil {
		return Config{}, fmt.Errorf("k8sstore: the certificate of the API server's authority: %w", err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(certificate) {
		return Config{}, fmt.Errorf("k8sstore: %s has no certificate", filepath.Join(mounted, "ca.crt"))
	}
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 5 * time.Second}).DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 5 * time.Second,
		IdleConnTimeout:     90 * time.Second,
		ForceAttemptHTTP2:   true,
		// All requests share one connection. Where it is dead the ping finds out, and the next
		// request gets another one.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 2 * time.Second, PingTimeout: 2 * time.Second},
	}
	client := &http.Client{
		Transport: &withToken{transport, filepath.Join(mounted, "token")},
		// The token is for no other host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return Config{
		Client:    client,
		Server:    "https://" + net.JoinHostPort(host, port),
		Namespace: strings.TrimSpace(string(namespace)),
	}, nil
}

// withToken adds the token of a file to each request.
type withToken struct {
	*http.Transport
	file string
}

// RoundTrip implements [http.RoundTripper].
func (t *withToken) RoundTrip(request *http.Request) (*http.Response, error) {
	token, err := os.ReadFile(t.file)
	if err != nil {
		if request.Body != nil {
			request.Body.Close()
		}
		return nil, fmt.Errorf("the token of the service account: %w", err)
	}
	request = request.Clone(request.Context())
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	return t.Transport.RoundTrip(request)
}
