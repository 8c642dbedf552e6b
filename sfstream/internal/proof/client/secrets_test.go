package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/replaystore"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/scripted"
)

const (
	plantedToken = "00D000000000001!planted-access-token"
	plantedHost  = "https://acme.my.salesforce.com"
)

// gossip is a login host and an org that repeat in each answer what they were sent.
type gossip struct {
	refuse string // "oauth" and "page": how logins are refused; empty: they succeed, and their tokens are refused

	mu    sync.Mutex
	heard []string // what must not show, besides what was planted
}

func (g *gossip) RoundTrip(r *http.Request) (*http.Response, error) {
	body := ""
	if r.Body != nil {
		b, _ := io.ReadAll(r.Body)
		body = string(b)
	}
	said := body + " " + r.Header.Get("Authorization") + " " + r.Header.Get("Cookie")
	if form, err := url.ParseQuery(body); err == nil && form.Get("assertion") != "" {
		assertion := form.Get("assertion")
		signature := assertion[strings.LastIndexByte(assertion, '.')+1:]
		g.mu.Lock()
		g.heard = append(g.heard, signature[:40])
		g.mu.Unlock()
		said = signature + " " + said
	}
	status, reply := http.StatusUnauthorized, "you sent "+said
	login := strings.HasPrefix(r.URL.Path, "/services/oauth2/token") || strings.HasPrefix(r.URL.Path, "/services/Soap/")
	switch {
	case login && g.refuse == "page":
		status, reply = http.StatusServiceUnavailable, "<html>"+said
	case login && g.refuse == "oauth":
		b, _ := json.Marshal(map[string]string{"error": "invalid_grant", "error_description": said})
		status, reply = http.StatusBadRequest, string(b)
	case login && strings.HasPrefix(r.URL.Path, "/services/Soap/"):
		status, reply = http.StatusOK, `<Envelope><Body><loginResponse><result><passwordExpired>false</passwordExpired><serverUrl>`+plantedHost+
			`/services/Soap/u/64.0/x</serverUrl><sessionId>`+plantedToken+`</sessionId><userId>005000000000001AAA</userId><userInfo>`+
			`<organizationId>00D000000000001AAA</organizationId></userInfo></result></loginResponse></Body></Envelope>`
	case login:
		status, reply = http.StatusOK, `{"access_token":"`+plantedToken+`","instance_url":"`+plantedHost+`","signature":"planted-signature",`+
			`"refresh_token":"planted-rotated","id":"https://login.salesforce.com/id/00D000000000001AAA/005000000000001AAA","issued_at":"1735689600123"}`
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(reply)), Request: r}, nil
}

// plantedCLI is an sf that knows the org, or fails and tells its token.
func plantedCLI(refuse string) string {
	switch refuse {
	case "oauth":
		return "#!/bin/sh\ncat <<'END'\n" + `{"name":"RefreshTokenAuthError","message":"expired access/refresh token ` + plantedToken + `"}` + "\nEND\nexit 1\n"
	case "page":
		return "#!/bin/sh\necho 'no answer to " + plantedToken + "' >&2\nexit 1\n"
	}
	return "#!/bin/sh\ncat <<'END'\n" + `{"result":{"id":"00D000000000001AAA","accessToken":"` + plantedToken + `","instanceUrl":"` + plantedHost + `"}}` + "\nEND\n"
}

// TestNoFlowShowsASecret follows each flow through a refused login, an outage and a token that is
// refused, and looks for what was planted in the log, the hooks, Status and along the errors'
// chains.
func TestNoFlowShowsASecret(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	file := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	flows := map[string]func() authenticator.Authenticator{
		"client credentials": func() authenticator.Authenticator {
			return authenticator.ClientCredentials{ConsumerKey: "key", ConsumerSecret: "planted-secret"}
		},
		"JWT bearer": func() authenticator.Authenticator {
			return authenticator.JWTBearer{ConsumerKey: "key", Username: "u", PrivateKey: file}
		},
		"Signer": func() authenticator.Authenticator {
			return authenticator.JWTBearer{ConsumerKey: "key", Username: "u", Signer: key}
		},
		"refresh token": func() authenticator.Authenticator {
			return &authenticator.RefreshToken{ConsumerKey: "key", ConsumerSecret: "planted-secret", RefreshToken: "planted-refresh"}
		},
		"password": func() authenticator.Authenticator {
			return authenticator.Password{ConsumerKey: "key", ConsumerSecret: "planted-secret", Username: "u", Password: "planted pass&+%<", SecurityToken: "planted-security"}
		},
		"SOAP": func() authenticator.Authenticator {
			return authenticator.SOAP{Username: "u", Password: "planted pass&+%<", SecurityToken: "planted-security"}
		},
		"static": func() authenticator.Authenticator {
			return authenticator.Static{AccessToken: plantedToken, InstanceURL: plantedHost}
		},
		"static with org": func() authenticator.Authenticator {
			return authenticator.Static{AccessToken: plantedToken, InstanceURL: plantedHost, OrgID: "00D000000000001AAA"}
		},
	}
	// The Salesforce CLI tells its token to standard output, and to standard error where it fails.
	dir := t.TempDir()
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("SALESFORCE_LOGIN_FLOW", "cli")
	t.Setenv("SALESFORCE_ORG", "dev")
	cli, _, err := authenticator.FromEnv()
	if err != nil {
		t.Fatal(err)
	}
	flows["Salesforce CLI"] = func() authenticator.Authenticator { return cli }
	for name, flow := range flows {
		for _, refuse := range []string{"", "oauth", "page"} {
			t.Run(name+"/"+refuse, func(t *testing.T) {
				if err := os.WriteFile(filepath.Join(dir, "sf"), []byte(plantedCLI(refuse)), 0o700); err != nil {
					t.Fatal(err)
				}
				synctest.Test(t, func(t *testing.T) {
					var log lab.Log
					g := &gossip{refuse: refuse}
					tell := func(what ...any) { fmt.Fprintf(&log, "%v %+v %#v\n", what, what, what) }
					c, err := sfstream.New(flow(), sfstream.WithLoginURL(plantedHost), sfstream.WithHTTPClient(&http.Client{Transport: g}),
						sfstream.WithTransport(sfstream.CometD), sfstream.WithAPIVersion("62.0"), sfstream.WithLogger(log.Logger()),
						sfstream.WithReplayStore(replaystore.NewMemory()), sfstream.WithHooks(sfstream.Hooks{
							OnState:     func(channel string, state sfstream.State, err error) { tell(channel, state, err) },
							OnReconnect: func(r sfstream.Reconnect) { tell(r) },
							OnLogin:     func(e sfstream.LoginEvent) { tell(e, e.Err) },
							OnLimit:     func(e *sfstream.ServerError) { tell(e) },
							OnGap:       func(g sfstream.Gap) { tell(g) },
							OnSaved:     func(key replaystore.Key, m replaystore.Marker) { tell(key, m) },
							OnSubscriptionError: func(channel string, err error) bool {
								tell(channel, err)
								return false
							},
						}))
					if err != nil {
						t.Fatal(err)
					}
					defer c.Close()
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					defer cancel()
					err = c.Open(ctx)
					if err == nil {
						err = c.Subscribe(ctx, "/event/Order__e")
					}
					if err == nil {
						t.Fatal("no error")
					}
					for e := err; e != nil; e = errors.Unwrap(e) {
						tell(e)
						fmt.Fprintf(&log, "%q %s\n", e, e)
					}
					tell(c.Status(), c.Err(), flow())
					for _, ch := range c.Status().Channels {
						tell(ch, ch.LastError)
					}
					text := log.String()
					for _, secret := range append(g.heard, "planted", string(file[40:90])) {
						if strings.Contains(text, secret) {
							t.Errorf("%q is in: %s", secret, text)
						}
					}
				})
			})
		}
	}
}

// TestAnUnreadableRefusalStaysWithinTheBudget: whoever cannot tell what was said must not send a
// password every second.
func TestAnUnreadableRefusalStaysWithinTheBudget(t *testing.T) {
	for _, test := range []struct {
		status int
		body   string
		budget bool
	}{
		{400, `{"message":"no"}`, true}, {401, "", true}, {401, "denied", true}, {403, `{"error":"inval`, true},
		{403, "<html>", false}, {503, "", false}, {502, "bad gateway", false}, {404, "", false},
	} {
		t.Run(fmt.Sprint(test.status, test.body), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				logins := 0
				c, err := sfstream.New(authenticator.Password{ConsumerKey: "key", ConsumerSecret: "planted", Username: "u", Password: "planted"}, sfstream.WithHTTPClient(&http.Client{
					Transport: lab.RoundTrip(func(r *http.Request) (*http.Response, error) {
						logins++
						return &http.Response{StatusCode: test.status, Body: io.NopCloser(strings.NewReader(test.body))}, nil
					})}))
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				for range 20 {
					if err := c.Open(t.Context()); err == nil || authenticator.Permanent(err) {
						t.Fatal(err)
					}
					time.Sleep(time.Second)
				}
				if want := map[bool]int{true: 5, false: 20}[test.budget]; logins != want {
					t.Errorf("%d logins, want %d", logins, want)
				}
			})
		})
	}
}

// TestOpenInALoopSparesTheUser: a program that calls Open until it works. Of SOAP the refusal has
// HTTP 500.
func TestOpenInALoopSparesTheUser(t *testing.T) {
	fault := `<Envelope><Body><Fault><faultcode>sf:INVALID_LOGIN</faultcode><faultstring>INVALID_LOGIN: Invalid username</faultstring></Fault></Body></Envelope>`
	synctest.Test(t, func(t *testing.T) {
		logins := 0
		c, err := sfstream.New(authenticator.SOAP{Username: "u", Password: "planted"}, sfstream.WithHTTPClient(&http.Client{
			Transport: lab.RoundTrip(func(r *http.Request) (*http.Response, error) {
				logins++
				return &http.Response{StatusCode: 500, Body: io.NopCloser(strings.NewReader(fault))}, nil
			})}))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for range 60 {
			e, ok := errors.AsType[*authenticator.Error](c.Open(t.Context()))
			if !ok || e.Code != "INVALID_LOGIN" || !authenticator.Permanent(e) {
				t.Fatalf("got %v", e)
			}
			time.Sleep(time.Second)
		}
		if logins > 5 {
			t.Errorf("%d logins in a minute", logins)
		}
	})
}

// TestTokenInAnAddress: Salesforce and proxies put the token into addresses, as of frontdoor.jsp,
// where it is escaped. It must not show there either.
func TestTokenInAnAddress(t *testing.T) {
	escaped := url.QueryEscape(plantedToken)
	redirect := func(to string) func(scripted.Message) *http.Response {
		return func(scripted.Message) *http.Response {
			resp := scripted.Body(http.StatusFound, "")
			resp.Header.Set("Location", to)
			return resp
		}
	}
	page := func(text string) func(scripted.Message) *http.Response {
		return func(scripted.Message) *http.Response {
			return scripted.Body(http.StatusInternalServerError, text)
		}
	}
	for name, answer := range map[string]func(m scripted.Message) *http.Response{
		"page":     page(`<a href="/secur/frontdoor.jsp?sid=` + escaped + `">`),
		"cut page": page(strings.Repeat("x", 175) + escaped),
		"JSON":     page(`{"sid":"` + strings.Replace(plantedToken, "!", `\u0021`, 1) + `"}`),
		"refusal": func(m scripted.Message) *http.Response {
			return scripted.Failure(m, "500::see /secur/frontdoor.jsp?sid="+escaped)
		},
		"path":         redirect("https://elsewhere.my.salesforce.com/sid/" + plantedToken),
		"escaped path": redirect("https://elsewhere.my.salesforce.com/sid/" + escaped),
		"no address":   redirect("https://else where/%zz" + escaped),
		"gRPC":         nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var said bytes.Buffer
				s := &scripted.Org{Counts: make(map[string]int), Answer: func(r *http.Request, kind string, n int, msgs []scripted.Message) (*http.Response, error) {
					return answer(msgs[0]), nil
				}}
				via := sfstream.CometD
				if answer == nil {
					via = sfstream.PubSub
				}
				c, err := sfstream.New(authenticator.Func(func(context.Context, authenticator.Login) (*authenticator.Credentials, error) {
					return &authenticator.Credentials{AccessToken: plantedToken, InstanceURL: plantedHost, OrgID: "00D000000000001AAA"}, nil
				}), sfstream.WithAPIVersion("62.0"), sfstream.WithTransport(via), sfstream.WithHTTPClient(&http.Client{Transport: s}),
					sfstream.WithLogger(slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug}))),
					sfstream.WithPubSubDialOptions(grpc.WithChainUnaryInterceptor(func(context.Context, string, any, any, *grpc.ClientConn, grpc.UnaryInvoker, ...grpc.CallOption) error {
						return status.Error(codes.Unavailable, "sid="+escaped)
					})))
				lab.Must(t, err)
				lab.Must(t, c.Open(t.Context()))
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				err = c.Subscribe(ctx, "/event/Order__e")
				cancel()
				fmt.Fprintf(&said, "%v %#v %+v", err, err, c.Status())
				lab.Must(t, ignore(c.Close(), err))
				if shown := said.String(); strings.Contains(shown, "planted-") {
					t.Error(shown)
				}
			})
		})
	}
}

func ignore(err error, targets ...error) error {
	for _, target := range targets {
		if errors.Is(err, target) {
			return nil
		}
	}
	return err
}
