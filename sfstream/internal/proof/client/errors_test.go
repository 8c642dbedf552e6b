package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// failures are what goes wrong in practice: each must give its typed error, with the channel and
// the next step in its text, and no login in a loop.
var failures = []struct {
	name   string
	cause  func(l *lab.Lab) error
	typed  func(t *testing.T, err error)
	says   []string // besides the channel, where there is one
	noChan bool
	logins int // at most
}{
	{
		name: "wrong password",
		cause: func(l *lab.Lab) error {
			a := l.Account()
			c, err := sfstream.New(authenticator.Password{
				ConsumerKey: a.ConsumerKey, ConsumerSecret: a.ConsumerSecret, Username: a.Username, Password: "wrong",
			}, sfstream.WithOrg(l))
			l.Must(err)
			defer c.Close()
			return c.Open(l.T.Context())
		},
		typed: isAuthError("invalid_grant"), noChan: true, logins: 1,
		says: []string{"127.0.0.1:40001", "check username, password and security token", "SandboxURL"},
	},
	{
		name: "locked user",
		cause: func(l *lab.Lab) error {
			l.LockUser()
			return l.NewClient().Open(l.T.Context())
		},
		typed: isAuthError("invalid_grant"), noChan: true, logins: 1,
		says: []string{"127.0.0.1:40001"},
	},
	{
		name: "locked user while running",
		cause: func(l *lab.Lab) error {
			l.Follow()
			l.LockUser()
			l.ExpireToken()
			l.EndStreams("", "service.auth.error")
			return lab.ExpectEnd[*sfstream.AuthError](l)
		},
		typed: isAuthError("invalid_grant"), logins: 2,
	},
	{
		name: "wrong login host that redirects",
		cause: func(l *lab.Lab) error {
			l.FailLogin(-1, "redirect")
			return l.NewClient().Open(l.T.Context())
		},
		typed: isAuthError("redirected"), noChan: true, logins: 1,
		says: []string{"check the login URL", "My Domain"},
	},
	{
		name: "wrong login host that serves a page",
		cause: func(l *lab.Lab) error {
			l.FailLogin(-1, "html")
			return l.NewClient().Open(l.T.Context())
		},
		typed: isAuthError("html_reply"), noChan: true, logins: 1,
		says: []string{"127.0.0.1:40001"},
	},
	{
		name: "wrong consumer secret",
		cause: func(l *lab.Lab) error {
			l.FailLogin(-1, "invalid_client")
			return l.NewClient().Open(l.T.Context())
		},
		typed: isAuthError("invalid_client"), noChan: true, logins: 1,
		says: []string{"check consumer key and consumer secret"},
	},
	{
		name: "no such channel",
		cause: func(l *lab.Lab) error {
			l.Start()
			return l.Client.Subscribe(l.T.Context(), "/event/Nowhere__e")
		},
		typed: isServerError(sfstream.NotFound), noChan: true, logins: 1,
		says: []string{"/event/Nowhere__e", "check the channel's spelling", "rpc id"},
	},
	{
		name: "no permission",
		cause: func(l *lab.Lab) error {
			l.Start()
			l.Revoke(lab.Orders)
			return l.Client.Subscribe(l.T.Context(), lab.Orders)
		},
		typed: isServerError(sfstream.PermissionDenied), logins: 1,
		says: []string{"give the user Read", "rpc id"},
	},
	{
		name: "no permission any more",
		cause: func(l *lab.Lab) error {
			l.Follow()
			l.Revoke(lab.Orders)
			return lab.ExpectEnd[*sfstream.ServerError](l)
		},
		typed: isServerError(sfstream.PermissionDenied), logins: 2,
		says: []string{"give the user Read", "rpc id"},
	},
	{
		name: "undecodable payload",
		cause: func(l *lab.Lab) error {
			l.Follow()
			_, err := l.PublishRaw(lab.Orders, sfstreamtest.RawEvent{Payload: []byte{0xff}})
			l.Must(err)
			m := l.Receive()
			m.Ack()
			err = l.ExpectDecodeError(m)
			l.ExpectStillWorks(lab.Orders)
			return err
		},
		typed: isType[*sfstream.DecodeError], logins: 1,
	},
	{
		name: "missing schema",
		cause: func(l *lab.Lab) error {
			l.Follow()
			l.FailGetSchema(1, "schema.not.found")
			l.PublishOrders(1)
			m := l.Receive()
			m.Ack()
			err := l.ExpectDecodeError(m)
			l.Reconnect(lab.Orders) // a session asks once for a schema
			l.ExpectStillWorks(lab.Orders)
			return err
		},
		typed: func(t *testing.T, err error) {
			isType[*sfstream.DecodeError](t, err)
			isServerError(sfstream.NotFound)(t, err)
		},
		logins: 1, says: []string{"rpc id", "schema"},
	},
	{
		name: "stale marker",
		cause: func(l *lab.Lab) error {
			l.StaleMarker()
			l.Follow()
			return lab.ExpectEnd[*sfstream.ReplayError](l)
		},
		typed: func(t *testing.T, err error) {
			isType[*sfstream.ReplayError](t, err)
			isServerError(sfstream.ReplayInvalid)(t, err)
		},
		logins: 2, says: []string{"WithReplayFallback", "From", "rpc id"},
	},
	{
		name: "unreachable endpoint",
		cause: func(l *lab.Lab) error {
			l.Start()
			l.Refuse(true)
			l.DropConnections()
			return l.Client.Subscribe(l.T.Context(), lab.Orders)
		},
		typed: func(t *testing.T, err error) {
			isServerError(sfstream.Unavailable)(t, err)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v is no deadline", err)
			}
		},
		logins: 1, says: []string{"WithPubSubEndpoint", "127.0.0.1:40002"},
	},
	{
		name: "unreachable login host",
		cause: func(l *lab.Lab) error {
			l.Refuse(true)
			return l.NewClient().Open(l.T.Context())
		},
		typed: isAuthError("no_answer"), noChan: true,
		says: []string{"127.0.0.1:40001"},
	},
	{
		name: "delivery allocation used up",
		cause: func(l *lab.Lab) error {
			l.Follow(sfstream.WithReconnectTimeout(time.Hour))
			l.Reject("", -1, "subscription.limit.exceeded")
			l.EndStreams("", "subscription.limit.exceeded")
			return lab.ExpectEnd[*sfstream.TimeoutError](l)
		},
		typed: isServerError(sfstream.LimitExceeded), logins: 1,
		says: []string{"allocations"},
	},
	{
		name: "authenticator that knows no org id",
		cause: func(l *lab.Lab) error {
			c, err := sfstream.New(lab.CredentialsOf(l.Authenticator(), func(c *authenticator.Credentials) { c.OrgID = "" }), sfstream.WithOrg(l))
			l.Must(err)
			defer c.Close()
			return c.Open(l.T.Context())
		},
		typed: func(t *testing.T, err error) {
			isType[*sfstream.AuthError](t, err)
			if !errors.Is(err, sfstream.ErrInvalidOption) {
				t.Errorf("%v", err)
			}
		},
		noChan: true, logins: 1, says: []string{"org id"},
	},
	{
		name: "authenticator whose org id is none",
		cause: func(l *lab.Lab) error {
			return openWith(l, func(c *authenticator.Credentials) { c.OrgID = "acme" })
		},
		typed: isAuthError("invalid_config"), noChan: true, logins: 1, says: []string{"OrgID must have 15 or 18 characters and begin with 00D"},
	},
	{
		name: "authenticator whose token has a newline in it",
		cause: func(l *lab.Lab) error {
			return openWith(l, func(c *authenticator.Credentials) { c.AccessToken += "\nX-Header: x" })
		},
		typed: isAuthError("invalid_config"), noChan: true, logins: 1, says: []string{"AccessToken holds white space"},
	},
	{
		name: "authenticator whose instance URL is none",
		cause: func(l *lab.Lab) error {
			return openWith(l, func(c *authenticator.Credentials) { c.InstanceURL = "acme" })
		},
		typed: isAuthError("invalid_config"), noChan: true, logins: 1, says: []string{"InstanceURL must be absolute"},
	},
	{
		name: "token that has ended and is all there is",
		cause: func(l *lab.Lab) error {
			c, err := sfstream.New(lab.CredentialsOf(l.Authenticator(), func(c *authenticator.Credentials) { c.AccessToken = "00D000000000001!ended" }), sfstream.WithOrg(l))
			l.Must(err)
			defer c.Close()
			l.Must(c.Open(l.T.Context()))
			return c.Subscribe(l.T.Context(), lab.Orders)
		},
		typed: isServerError(sfstream.Unauthenticated), logins: 3, says: []string{"check that the access token has not ended"},
	},
	{
		name: "token in JWT form",
		cause: func(l *lab.Lab) error {
			c, err := sfstream.New(lab.CredentialsOf(l.Authenticator(), func(c *authenticator.Credentials) { c.AccessToken = "eyJ.eyJ.sig" }),
				sfstream.WithOrg(l), sfstream.WithLogger(l.Log.Logger()))
			l.Must(err)
			defer c.Close()
			l.Must(c.Open(l.T.Context()))
			if n := strings.Count(l.Log.String(), "will likely refuse this login: the access token is a JWT"); n != 1 {
				l.T.Errorf("%d warnings", n)
			}
			return c.Subscribe(l.T.Context(), lab.Orders)
		},
		typed: isServerError(sfstream.Unauthenticated), logins: 3, says: []string{"is a JWT, which Salesforce takes for REST only"},
	},
	{
		name: "token in JWT form at the Streaming API",
		cause: func(l *lab.Lab) error {
			c, err := sfstream.New(lab.CredentialsOf(l.Authenticator(), func(c *authenticator.Credentials) { c.AccessToken = "eyJ.eyJ.sig" }),
				sfstream.WithOrg(l), sfstream.WithTransport(sfstream.CometD), sfstream.WithAPIVersion("62.0"))
			l.Must(err)
			defer c.Close()
			l.Must(c.Open(l.T.Context()))
			return c.Subscribe(l.T.Context(), lab.Orders)
		},
		typed: func(t *testing.T, err error) {
			if e := lab.ExpectError[*sfstream.ServerError](t, err); e.Code != sfstream.Unauthenticated || e.API != "cometd" {
				t.Errorf("%+v", e)
			}
		},
		noChan: true, logins: 3, says: []string{"is a JWT, which Salesforce takes for REST only"},
	},
	{
		name: "channel of another API",
		cause: func(l *lab.Lab) error {
			l.Start()
			return l.Client.Subscribe(l.T.Context(), "/topic/Orders", sfstream.Via(sfstream.PubSub))
		},
		typed: func(t *testing.T, err error) {
			if !errors.Is(err, sfstream.ErrInvalidOption) {
				t.Errorf("%v", err)
			}
		},
		noChan: true, logins: 1, says: []string{"/topic/Orders"},
	},
}

// openWith opens a client whose credentials are changed.
func openWith(l *lab.Lab, change func(*authenticator.Credentials)) error {
	c, err := sfstream.New(lab.CredentialsOf(l.Authenticator(), change), sfstream.WithOrg(l), sfstream.WithLogger(l.Log.Logger()))
	l.Must(err)
	defer c.Close()
	return c.Open(l.T.Context())
}

func isType[E error](t *testing.T, err error) {
	t.Helper()
	lab.ExpectError[E](t, err)
}

func isAuthError(code string) func(t *testing.T, err error) {
	return func(t *testing.T, err error) {
		t.Helper()
		lab.ExpectError[*sfstream.AuthError](t, err)
		if e := lab.ExpectError[*authenticator.Error](t, err); e.Code != code {
			t.Errorf("code %q, want %q", e.Code, code)
		}
	}
}

func isServerError(code sfstream.Code) func(t *testing.T, err error) {
	return func(t *testing.T, err error) {
		t.Helper()
		if e := lab.ExpectError[*sfstream.ServerError](t, err); e.Code != code || e.API != "pubsub" {
			t.Errorf("%+v, want the code %v", e, code)
		}
	}
}

func TestFailuresAreTypedAndSayWhatToDo(t *testing.T) {
	for _, f := range failures {
		t.Run(f.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := lab.New(t)
				err := f.cause(l)
				if err == nil {
					t.Fatal("no error")
				}
				f.typed(t, err)
				lab.Contains(t, err.Error(), f.says...)
				if !f.noChan {
					lab.Contains(t, err.Error(), lab.Orders)
				}
				l.Pass(time.Hour)
				if n := l.Logins(); n > f.logins {
					t.Errorf("%d logins, want at most %d", n, f.logins)
				}
				if !strings.HasPrefix(err.Error(), "sfstream: ") {
					t.Errorf("%q does not say whose error it is", err)
				}
			})
		})
	}
}

// TestSecretsNeverShow plants secrets and looks for them in everything that a program may print,
// through every failure.
func TestSecretsNeverShow(t *testing.T) {
	for _, f := range failures {
		t.Run(f.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := lab.New(t)
				tokens := &tokenTap{base: l.HTTPClient().Transport}
				l.HTTPClient().Transport = tokens
				var said strings.Builder
				err := f.cause(l)
				for e := err; e != nil; e = errors.Unwrap(e) {
					fmt.Fprintf(&said, "%v %+v %#v %q\n", e, e, e, e)
				}
				if l.Client != nil {
					status := l.Client.Status()
					fmt.Fprintf(&said, "%v %+v %v\n", status, status, l.Client.Err())
					for _, ch := range status.Channels {
						fmt.Fprintf(&said, "%+v %#v\n", ch.LastError, ch.LastError)
					}
				}
				said.WriteString(l.Log.String())
				a := l.Account()
				secrets := append(tokens.seen(), a.Password, a.SecurityToken, a.ConsumerSecret, a.RefreshToken)
				for _, secret := range secrets {
					if strings.Contains(said.String(), secret) {
						t.Errorf("the secret %q is in: %s", secret, said.String())
					}
				}
				if len(tokens.seen()) == 0 && !f.noChan {
					t.Error("no token was seen: the test looks for nothing")
				}
			})
		})
	}
}

// tokenTap notes the access tokens that pass.
type tokenTap struct {
	base   http.RoundTripper
	tokens []string // the logins of a client are one at a time
}

func (tap *tokenTap) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := tap.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body := readAll(resp)
	if _, after, ok := strings.Cut(body, `"access_token":"`); ok {
		token, _, _ := strings.Cut(after, `"`)
		tap.tokens = append(tap.tokens, token)
	}
	return resp, nil
}

func (tap *tokenTap) seen() []string { return tap.tokens }

func TestErrorsUnwrapAndPrintWithoutTheirParts(t *testing.T) {
	for _, err := range []error{
		&sfstream.ServerError{}, &sfstream.ReplayError{}, &sfstream.DecodeError{}, &sfstream.StoreError{},
		&sfstream.TimeoutError{}, &sfstream.AuthError{},
		&sfstream.ReplayError{Channel: "/event/X__e", Marker: replaystore.Marker{ReplayID: []byte{1}, Date: time.Unix(1, 0)}},
	} {
		if text := err.Error(); !strings.HasPrefix(text, "sfstream: ") {
			t.Errorf("%T says %q", err, text)
		}
		if errors.Unwrap(err) != nil {
			t.Errorf("%T unwraps to %v", err, errors.Unwrap(err))
		}
	}
	if got := sfstream.Code(99).String(); got != "Code(99)" {
		t.Errorf("unknown code is %q", got)
	}
}

// readAll reads a body and puts it back.
func readAll(resp *http.Response) string {
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), &failing{err}))
	return string(body)
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return 0, io.EOF
}
