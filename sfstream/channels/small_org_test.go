package channels_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// plantedToken is what no error and no log shows.
const plantedToken = "00D000000000001!planted-secret-of-this-org"

// smallOrg is an org that answers requests below /services/data/v68.0/ as its handler says, and
// keeps what it was sent. Each request is answered before the next one.
type smallOrg struct {
	// answer returns the status and what is sent as JSON, nil for nothing.
	answer func(r asked) (status int, reply any)
	// before, if it is set, may answer in place of answer, by a status that is not 0, and lose either
	// answer.
	before func(r asked) (status int, reply any, lose bool)

	mu  sync.Mutex
	got []asked
}

// asked is a request. Its path is relative to the version, its body as it came.
type asked struct {
	method, path string
	query        url.Values
	body         string
}

func (a asked) String() string { return a.method + " " + a.path }

func (a asked) is(method, prefix string) bool {
	return a.method == method && strings.HasPrefix(a.path, prefix)
}

func (o *smallOrg) RoundTrip(r *http.Request) (*http.Response, error) {
	a := asked{method: r.Method, path: strings.TrimPrefix(r.URL.Path, "/services/data/v68.0/"), query: r.URL.Query()}
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if err != nil {
			return nil, err
		}
		a.body = string(body)
	}
	if r.URL.Path == "/services/data/" {
		return jsonResponse(200, []map[string]string{{"version": "68.0"}}), nil
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.got = append(o.got, a)
	var status int
	var reply any
	var lose bool
	if o.before != nil {
		status, reply, lose = o.before(a)
	}
	if status == 0 {
		status, reply = o.answer(a)
	}
	if lose {
		return nil, io.ErrUnexpectedEOF
	}
	return jsonResponse(status, reply), nil
}

// torn is a text within which the connection breaks.
type torn string

func jsonResponse(status int, reply any) *http.Response {
	text := ""
	end := io.EOF
	switch reply := reply.(type) {
	case nil:
	case string:
		text = reply
	case torn:
		text, end = string(reply), io.ErrUnexpectedEOF
	default:
		encoded, err := json.Marshal(reply)
		if err != nil {
			panic(err)
		}
		text = string(encoded)
	}
	return &http.Response{StatusCode: status, Header: make(http.Header), Body: io.NopCloser(io.MultiReader(strings.NewReader(text), iotest.ErrReader(end)))}
}

// refuses is an answer as Salesforce refuses with.
func refuses(code, message string) []map[string]any {
	return []map[string]any{{"message": message, "errorCode": code}}
}

// rowsOf is the answer to a query.
func rowsOf(rows ...map[string]any) map[string]any {
	if rows == nil {
		rows = []map[string]any{}
	}
	return map[string]any{"totalSize": len(rows), "done": true, "records": rows}
}

// took returns the requests that came since the last call.
func (o *smallOrg) took() []asked {
	o.mu.Lock()
	defer o.mu.Unlock()
	got := o.got
	o.got = nil
	return got
}

// wrote returns those of the requests since the last call that write.
func (o *smallOrg) wrote() (writes []string) {
	for _, a := range o.took() {
		if a.method != http.MethodGet {
			writes = append(writes, a.String())
		}
	}
	return writes
}

// client returns an open client of the org.
func (o *smallOrg) client(t *testing.T, opts ...sfstream.Option) *sfstream.Client {
	t.Helper()
	return openOver(t, o, opts...)
}

// openOver returns an open client over a transport, which waits a millisecond between attempts.
func openOver(t *testing.T, transport http.RoundTripper, opts ...sfstream.Option) *sfstream.Client {
	t.Helper()
	login := authenticator.Func(func(context.Context, authenticator.Login) (*authenticator.Credentials, error) {
		return &authenticator.Credentials{AccessToken: plantedToken, InstanceURL: "https://acme.my.salesforce.com", OrgID: "00D000000000001AAA", UserID: userID}, nil
	})
	client, err := sfstream.New(login, append(opts, sfstream.WithHTTPClient(&http.Client{Transport: transport}),
		sfstream.WithBackOff(func() backoff.BackOff { return backoff.NewConstantBackOff(time.Millisecond) }))...)
	lab.Must(t, err)
	t.Cleanup(func() { _ = client.Close() })
	lab.Must(t, client.Open(t.Context()))
	return client
}

// first returns an interception of the first request of a kind.
func first(method, path string, do func() (status int, reply any, lose bool)) func(asked) (int, any, bool) {
	done := false
	return func(a asked) (int, any, bool) {
		if done || a.method != method || a.path != path {
			return 0, nil, false
		}
		done = true
		return do()
	}
}

// always answers each request with a method in the org's place.
func always(method string, status int, reply any) func(asked) (int, any, bool) {
	return func(a asked) (int, any, bool) {
		if a.method != method {
			return 0, nil, false
		}
		return status, reply, false
	}
}

// showsNothing fails the test if an error shows one of these texts.
func showsNothing(t *testing.T, err error, secrets ...string) {
	t.Helper()
	shown := fmt.Sprintf("%v %+v", err, err)
	for _, secret := range append(secrets, "planted-secret") {
		if strings.Contains(shown, secret) {
			t.Errorf("the error shows %q: %s", secret, shown)
		}
	}
	if strings.Contains(shown, "\n") {
		t.Errorf("the error has more than one line: %s", shown)
	}
}

// says fails the test unless an error has all these words.
func says(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", words)
	}
	if i := slices.IndexFunc(words, func(w string) bool { return !strings.Contains(err.Error(), w) }); i >= 0 {
		t.Errorf("the error does not say %q: %v", words[i], err)
	}
	if strings.Contains(err.Error(), ": channels: ") {
		t.Errorf("the error says twice whose it is: %v", err)
	}
}
