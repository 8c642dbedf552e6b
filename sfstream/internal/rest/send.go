package rest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
)

// redirects is how many redirects of the instance to itself are followed.
const redirects = 5

// Send makes one attempt at a request to an instance: req has its absolute URL. The token is sent
// to that URL's origin alone, and redirects are followed there only: any other is the answer. The
// request of the response has no token. The error is a *Failure.
func Send(client *http.Client, req *http.Request, token string) (*http.Response, error) {
	var connected atomic.Bool
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }}
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), trace))
	once := *client
	if once.Transport == nil {
		once.Transport = http.DefaultTransport
	}
	once.Transport = bearer{once.Transport, req.URL, token}
	once.CheckRedirect = checkRedirect
	resp, err := once.Do(req)
	if err != nil {
		return nil, newFailure(err, connected.Load(), token)
	}
	return resp, nil
}

// checkRedirect follows a redirect only where it says of the same request that it is to be sent
// elsewhere on the instance. A redirect that makes a GET of a POST would lose what the POST says.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > redirects || !SameOrigin(req.URL, via[0].URL) || req.Method != via[0].Method || IsLoginPage(req.URL) {
		return http.ErrUseLastResponse
	}
	return nil
}

// bearer adds the token to each request of one origin, and lets no other pass. net/http would keep
// a header of the program's own across redirects to subdomains.
type bearer struct {
	base   http.RoundTripper
	origin *url.URL
	token  string
}

func (b bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	if !SameOrigin(req.URL, b.origin) {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, fmt.Errorf("%s is not of the instance", Show(req.URL))
	}
	sent := req.Clone(req.Context())
	for key := range sent.Header { // one that was not set by Set may have any case
		if strings.EqualFold(key, "Authorization") {
			delete(sent.Header, key)
		}
	}
	if b.token != "" {
		sent.Header.Set("Authorization", "Bearer "+b.token)
	}
	resp, err := b.base.RoundTrip(sent)
	if resp != nil {
		resp.Request = req
		if _, bad := resp.Location(); bad != nil {
			resp.Header.Del("Location") // net/http would show all of it in an error
		}
	}
	return resp, err
}

// A Failure is that of a request that got no answer.
type Failure struct {
	Unsent bool // the request never left
	Passes bool // the network may let it pass another time
	err    error
}

// newFailure makes a *Failure of an error of net/http, which quotes what it cannot read: nothing of
// it shows the secret.
func newFailure(err error, connected bool, secret string) *Failure {
	cause := err
	if request, ok := errors.AsType[*url.Error](err); ok {
		cause = request.Err
		shown := *request
		if u, bad := url.Parse(request.URL); bad == nil {
			shown.URL = Show(u)
		} else {
			shown.URL = "…"
		}
		err = &shown
	}
	dial, ok := errors.AsType[*net.OpError](cause)
	_, network := errors.AsType[net.Error](cause)
	_, forged := errors.AsType[*tls.CertificateVerificationError](cause)
	if text := err.Error(); hide(text, secret) != text {
		err = errors.New(hide(text, secret))
	}
	return &Failure{
		Unsent: ok && !connected && (dial.Op == "dial" || dial.Op == "proxyconnect"),
		Passes: !forged && (connected || network || errors.Is(cause, io.EOF) || errors.Is(cause, io.ErrUnexpectedEOF)),
		err:    err,
	}
}

// Error is the error of net/http, without the query of its URL and the secret.
func (f *Failure) Error() string { return f.err.Error() }

// Unwrap returns the error of net/http, without the query of its URL and the secret.
func (f *Failure) Unwrap() error { return f.err }

// NoSuchHost reports whether DNS does not know the host that was asked. A proxy's host does not
// count.
func NoSuchHost(err error) bool {
	var lookup *net.DNSError
	var request *url.Error
	if !errors.As(err, &lookup) || !lookup.IsNotFound || !errors.As(err, &request) {
		return false
	}
	asked, err := url.Parse(request.URL)
	return err == nil && strings.EqualFold(strings.TrimSuffix(lookup.Name, "."), asked.Hostname())
}
