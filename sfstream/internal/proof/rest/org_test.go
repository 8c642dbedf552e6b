package rest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

const (
	instance = "https://acme.my.salesforce.com"
	below    = "/services/data/v68.0/" // of the org's newest version
)

// org is a scripted org: it answers as its handler says, and keeps what it was sent, to whichever
// host. The question for the versions it answers itself.
type org struct {
	answer func(r *http.Request, n int) (*http.Response, error) // n counts from 1

	mu       sync.Mutex
	at       string // the instance of the next login
	logins   int
	fail     error // of logins
	requests []request
	versions int
}

type request struct {
	method, url, host, auth, body string
	auths                         int // headers of that name
	at                            time.Time
}

// newOrg answers with these answers in turn, and with the last one from then on.
func newOrg(answers ...func(r *http.Request) (*http.Response, error)) *org {
	return &org{at: instance, answer: func(r *http.Request, n int) (*http.Response, error) {
		return answers[min(n, len(answers))-1](r)
	}}
}

func reply(status int, body string, headers ...string) func(r *http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return response(status, body, headers...), nil }
}

func response(status int, body string, headers ...string) *http.Response {
	resp := &http.Response{StatusCode: status, Header: make(http.Header), Body: io.NopCloser(strings.NewReader(body))}
	for i := 0; i < len(headers); i += 2 {
		resp.Header.Set(headers[i], headers[i+1])
	}
	return resp
}

// refuse is an answer as Salesforce's REST API refuses with.
func refuse(status int, code string, headers ...string) func(r *http.Request) (*http.Response, error) {
	return reply(status, fmt.Sprintf(`[{"message":"said about %s","errorCode":%q}]`, code, code), headers...)
}

var (
	fine    = reply(200, `{"fine":true}`)
	expired = refuse(401, "INVALID_SESSION_ID")
	locked  = refuse(400, "UNABLE_TO_LOCK_ROW")
	broken  = func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }
)

func (o *org) RoundTrip(r *http.Request) (*http.Response, error) {
	got := request{method: r.Method, url: r.URL.String(), host: r.Host, auth: r.Header.Get("Authorization"), at: time.Now()}
	for key := range r.Header {
		if strings.EqualFold(key, "Authorization") {
			got.auths++
		}
	}
	if r.Body != nil {
		body, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		got.body = string(body)
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	o.mu.Lock()
	if r.URL.Path == "/services/data/" && got.auth == "" {
		o.versions++
		o.mu.Unlock()
		return response(200, `[{"version":"67.0"},{"version":"68.0"}]`), nil
	}
	o.requests = append(o.requests, got)
	n := len(o.requests)
	o.mu.Unlock()
	return o.answer(r, n)
}

func (o *org) seen() []request {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]request(nil), o.requests...)
}

func (o *org) loginCount() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.logins
}

// token is that of a login, which are counted from 1.
func token(n int) string { return fmt.Sprintf("00D000000000001!planted-secret-%d-of-this-org", n) }

func (o *org) authenticator() authenticator.Authenticator {
	return authenticator.Func(func(context.Context, authenticator.Login) (*authenticator.Credentials, error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.fail != nil {
			return nil, o.fail
		}
		o.logins++
		return &authenticator.Credentials{AccessToken: token(o.logins), InstanceURL: o.at, OrgID: "00D000000000001AAA"}, nil
	})
}

// open returns an open client of the org.
func (o *org) open(t *testing.T, opts ...sfstream.Option) *sfstream.Client {
	t.Helper()
	return openWith(t, o.authenticator(), append([]sfstream.Option{sfstream.WithHTTPClient(&http.Client{Transport: o})}, opts...)...)
}

func openWith(t *testing.T, auth authenticator.Authenticator, opts ...sfstream.Option) *sfstream.Client {
	t.Helper()
	c, err := sfstream.New(auth, opts...)
	lab.Must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	lab.Must(t, c.Open(t.Context()))
	return c
}

// constant waits a second each time.
func constant() sfstream.Option {
	return sfstream.WithBackOff(func() backoff.BackOff { return backoff.NewConstantBackOff(time.Second) })
}

func newRequest(t *testing.T, method, to, body string) *http.Request {
	t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, to, reader)
	lab.Must(t, err)
	return req
}

// once hides the type of a reader, so that the body cannot be got again.
func once(t *testing.T, method, to, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, to, struct{ io.Reader }{strings.NewReader(body)})
	lab.Must(t, err)
	return req
}

// do sends a request and closes the answer.
func do(c *sfstream.Client, req *http.Request) (status int, body string, err error) {
	resp, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

func mustURL(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	lab.Must(t, err)
	return u
}
