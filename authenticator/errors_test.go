package authenticator_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
)

// The refusals of Salesforce's login endpoints: whether they are permanent, and the remedy that the
// text names. See the package documentation, "What Salesforce does".
func TestErrorTable(t *testing.T) {
	for _, row := range []struct {
		code, description string
		status            int
		permanent         bool
		remedy            string
	}{
		{"OAUTH_APP_BLOCKED", "this app is blocked by admin", 400, true, "install the app"},
		{"invalid_grant", "oauth_app_blocked: this app is blocked by admin", 400, true, "install the app"},
		{"OAUTH_APPROVAL_ERROR_GENERIC", "An unexpected error has occured during authentication", 400, true, "pre-authorise the user"},
		{"OAUTH_EC_APP_NOT_FOUND", "External client app is not installed in this org", 400, true, "check the consumer key and the login URL"},
		{"invalid_grant", "password expired", 400, true, "set a new password"},
		{"invalid_grant", "app blocked", 400, true, "unblock the app"},
		{"invalid_grant", "user locked out.", 400, true, "unlock the user"},
		{"invalid_grant", "authentication failure", 400, true, "blocked by default"},
		{"invalid_grant", "expired access/refresh token", 400, true, "authorise the app again"},
		{"invalid_grant", "expired authorization code", 400, true, "clock"},
		{"invalid_grant", "user hasn't approved this consumer", 400, true, "pre-authorise"},
		{"invalid_grant", "audience is invalid", 400, true, "audience"},
		{"invalid_grant", "Audience validation failed", 400, true, "audience"},
		{"invalid_grant", "invalid assertion", 400, true, "certificate"},
		{"invalid_grant", "request not supported on this domain", 400, true, "My Domain"},
		{"invalid_grant", "user is locked", 400, true, "unlock"},
		{"invalid_grant", "ip restricted", 400, true, "allow this address"},
		{"invalid_grant", "invalid login hours", 400, true, "at this time"},
		{"invalid_grant", "no client credentials user enabled", 400, true, "run-as user"},
		{"invalid_grant", "login rate exceeded", 400, false, "wait"},
		{"invalid_client", "invalid client credentials", 401, true, "consumer key"},
		{"invalid_client_id", "client identifier invalid", 400, true, "consumer key"},
		{"invalid_client_credentials", "client secret invalid", 400, true, "consumer secret"},
		{"unsupported_grant_type", "grant type not supported", 400, true, "enable this flow"},
		{"invalid_request", "", 400, true, "check consumer key and username"},
		{"invalid_scope", "", 400, true, "scopes"},
		{"invalid_app_access", "", 400, true, "administrator"},
		{"inactive_user", "", 400, true, "administrator"},
		{"inactive_org", "", 403, true, "administrator"},
		{"rate_limit_exceeded", "login rate exceeded", 400, false, "wait"},
		{"rate_limit_exceeded", "", 403, false, "wait"},
		{"unknown_error", "retry your request", 400, false, "try again later"},
		{"unknown_error", "", 500, false, "try again later"},
		{"never_heard_of", "", 400, true, ""},
		{"never_heard_of", "", 429, false, ""},
		{"never_heard_of", "", 503, false, ""},
		{"invalid_grant", "authentication failure", 200, true, "blocked by default"}, // an error with status 200
	} {
		t.Run(row.code+" "+row.description, func(t *testing.T) {
			body, _ := json.Marshal(map[string]string{"error": row.code, "error_description": row.description})
			requests := 0
			login := inMemory(func(*http.Request) (*http.Response, error) {
				requests++
				return response(row.status, string(body)), nil
			})
			for name, flow := range flows() {
				login.URL = flow.url
				c, err := flow.auth.Authenticate(context.Background(), login)
				e := loginError(t, c, err)
				if e.Flow != name || e.Code != row.code || e.Description != row.description || e.StatusCode != row.status || e.Unwrap() != nil {
					t.Errorf("got %#v", e)
				}
				if authenticator.Permanent(fmt.Errorf("wrapped: %w", err)) != row.permanent {
					t.Errorf("permanent is %v: %v", !row.permanent, e)
				}
				remedy := row.remedy
				if row.description == "authentication failure" && (name == "client_credentials" || name == "jwt_bearer") {
					remedy = "allow this flow" // the flow has no password
				}
				if strings.HasPrefix(row.code, "invalid_client") && name == "jwt_bearer" {
					remedy = "check consumer key and private key"
				}
				if _, after, found := strings.Cut(err.Error(), "; "); found != (remedy != "") || !strings.Contains(after, remedy) || e.Remedy() != after {
					t.Errorf("%v lacks %q", err, remedy)
				}
				if where := cmp.Or(flow.url, authenticator.ProductionURL); !strings.Contains(err.Error(), "from "+where+"/services/") {
					t.Errorf("%v does not say that %s answered", err, where)
				}
			}
			if requests != len(flows()) {
				t.Errorf("%d requests for one login of each flow", requests)
			}
		})
	}
}

func TestUnusableReplies(t *testing.T) {
	huge := `{"access_token":"` + strings.Repeat("a", 2<<20) + `"}`
	for name, row := range map[string]struct {
		status int
		body   string
		code   string
		says   string
	}{
		"HTML 200":              {200, "\n<html><body>" + password, "html_reply", "maintenance"},
		"HTML 503":              {503, "<!DOCTYPE html>" + password, "html_reply", "maintenance"},
		"HTML 404":              {404, "<html>" + password, "html_reply", "login URL"},
		"empty 200":             {200, "", "empty_reply", "empty"},
		"empty 503":             {503, " ", "empty_reply", "HTTP 503"},
		"empty 404":             {404, "", "empty_reply", "login URL"},
		"truncated JSON":        {200, tokenReply()[:40], "malformed_reply", "breaks off"},
		"truncated error":       {400, `{"error":"inval`, "malformed_reply", "breaks off"},
		"no JSON":               {200, "access_token=" + accessToken, "malformed_reply", "not JSON"},
		"too long":              {200, huge, "malformed_reply", "breaks off"},
		"blank error":           {400, `{"error":" "}`, "incomplete_reply", "lacks"},
		"a list":                {200, `[]`, "incomplete_reply", "lacks"},
		"null":                  {200, `null`, "incomplete_reply", "lacks"},
		"no access token":       {200, tokenReply("access_token", ""), "incomplete_reply", "lacks"},
		"numeric access token":  {200, `{"access_token":12345}`, "incomplete_reply", "lacks"},
		"no instance URL":       {200, tokenReply("instance_url", ""), "incomplete_reply", "instance_url"},
		"relative instance URL": {200, tokenReply("instance_url", "/x"), "incomplete_reply", "instance_url"},
		"clear instance URL":    {200, tokenReply("instance_url", "http://acme.my.salesforce.com"), "incomplete_reply", "instance_url"},
		"odd instance URL":      {200, tokenReply("instance_url", "https://marker:marker@x"), "incomplete_reply", "instance_url"},
	} {
		t.Run(name, func(t *testing.T) {
			for name, flow := range flows() {
				login, code, says := always(row.status, row.body), row.code, row.says
				login.URL = flow.url
				if name == "soap" && code == "incomplete_reply" { // any JSON is a malformed reply for SOAP
					code, says = "malformed_reply", "not XML"
				}
				c, err := flow.auth.Authenticate(context.Background(), login)
				e := loginError(t, c, err)
				if e.Code != code || e.StatusCode != row.status || !strings.Contains(e.Error(), says) || authenticator.Permanent(e) {
					t.Errorf("got %v, permanent %v", e, authenticator.Permanent(e))
				}
			}
		})
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	for status, permanent := range map[int]bool{301: true, 302: false, 303: false, 307: false, 308: true} {
		other := serve(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("the other host got %s %s", r.Method, r.URL) })
		token := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", other.URL+"/"+r.FormValue("client_secret"))
			w.WriteHeader(status)
		})
		info := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", other.URL+"/?"+r.Header.Get("Authorization"))
			w.WriteHeader(status)
		})
		for _, a := range []authenticator.Authenticator{passwordFlow(), refreshFlow(), clientCredentialsFlow(), jwtFlow(), soapFlow(),
			authenticator.Static{AccessToken: accessToken, InstanceURL: info.URL}} {
			c, err := a.Authenticate(context.Background(), authenticator.Login{URL: token.URL})
			e := loginError(t, c, err)
			if e.Code != "redirected" || e.StatusCode != status || !strings.Contains(e.Description, other.URL) ||
				!strings.Contains(e.Error(), "login URL") || authenticator.Permanent(e) != permanent {
				t.Errorf("got %v, permanent %v", e, authenticator.Permanent(e))
			}
		}
	}
}

func TestRedirectToNowhere(t *testing.T) {
	for _, location := range []string{"", "http://" + consumerSecret + "\x7f:x", "https://" + consumerSecret + ".evil.com/"} {
		login := inMemory(func(*http.Request) (*http.Response, error) {
			r := response(302, "")
			r.Header = http.Header{"Location": {location}}
			return r, nil
		})
		for _, flow := range []authenticator.Authenticator{passwordFlow(), refreshFlow()} { // the other flows do not send this secret
			c, err := flow.Authenticate(context.Background(), login)
			if e := loginError(t, c, err); e.Code != "redirected" {
				t.Errorf("%q: %v", location, e)
			}
		}
	}
}

func TestTheUsersHTTPClientIsNotChanged(t *testing.T) {
	login := always(200, tokenReply())
	before := *login.HTTPClient
	mustLogin(t, passwordFlow(), login)
	if login.HTTPClient.CheckRedirect != nil || fmt.Sprint(login.HTTPClient.Transport) != fmt.Sprint(before.Transport) {
		t.Error("the client was changed")
	}
}

func TestNetworkTrouble(t *testing.T) {
	broken := errors.New("connection reset")
	notFound := &net.DNSError{Err: "no such host", Name: "acme.my.salesforce.com", IsNotFound: true}
	for name, test := range map[string]struct {
		reply func(*http.Request) (*http.Response, error)
		is    error
		says  string
	}{
		"no connection": {func(*http.Request) (*http.Response, error) { return nil, broken }, broken, "no answer from login.salesforce.com"},
		"no such host":  {func(*http.Request) (*http.Response, error) { return nil, notFound }, notFound, "check the login URL"},
		"reply breaks off": {func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: io.NopCloser(iotest.ErrReader(broken))}, nil
		}, broken, "no answer"},
		"error with secrets": {func(r *http.Request) (*http.Response, error) {
			_, plain := sent(t, r)
			return nil, fmt.Errorf("%w while sending %s", broken, plain)
		}, broken, "[redacted]"},
		"error with an escaped secret": {func(r *http.Request) (*http.Response, error) {
			raw, _ := sent(t, r)
			return nil, fmt.Errorf("%w while sending %s", broken, raw)
		}, broken, "[redacted]"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, flow := range flows() {
				login := inMemory(test.reply)
				login.URL = flow.url
				says := test.says
				if flow.url != "" {
					says = strings.Replace(says, "login.salesforce.com", "acme.my.salesforce.com", 1)
				}
				c, err := flow.auth.Authenticate(context.Background(), login)
				e := loginError(t, c, err)
				if e.Code != "no_answer" || !errors.Is(err, test.is) || !strings.Contains(err.Error(), says) || authenticator.Permanent(err) {
					t.Errorf("got %v", e)
				}
			}
		})
	}
}

func TestASlowReplyEndsWithTheContext(t *testing.T) {
	hang := func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() }
	slowBody := func(r *http.Request) (*http.Response, error) {
		pr, pw := io.Pipe()
		context.AfterFunc(r.Context(), func() { pw.CloseWithError(r.Context().Err()) })
		return &http.Response{StatusCode: 200, Body: pr}, nil
	}
	for name, reply := range map[string]func(*http.Request) (*http.Response, error){"headers": hang, "body": slowBody} {
		for _, auth := range []authenticator.Authenticator{passwordFlow(), refreshFlow(), clientCredentialsFlow(), jwtFlow(), soapFlow(),
			authenticator.Static{AccessToken: accessToken, InstanceURL: instance}} {
			for kind, test := range map[string]struct {
				ctx    func() (context.Context, context.CancelFunc)
				client time.Duration
				want   error
				after  time.Duration
			}{
				"deadline": {ctx: func() (context.Context, context.CancelFunc) {
					return context.WithTimeout(context.Background(), 5*time.Second)
				}, want: context.DeadlineExceeded, after: 5 * time.Second},
				"cancel": {ctx: func() (context.Context, context.CancelFunc) {
					ctx, cancel := context.WithCancel(context.Background())
					time.AfterFunc(7*time.Second, cancel)
					return ctx, cancel
				}, want: context.Canceled, after: 7 * time.Second},
				"timeout of the client": {ctx: func() (context.Context, context.CancelFunc) { return context.Background(), func() {} },
					client: 9 * time.Second, want: context.DeadlineExceeded, after: 9 * time.Second},
				"nothing but our own limit": {ctx: func() (context.Context, context.CancelFunc) { return context.Background(), func() {} },
					want: context.DeadlineExceeded, after: time.Minute},
			} {
				t.Run(fmt.Sprintf("%s/%T/%s", name, auth, kind), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						a := auth
						if _, ok := a.(*authenticator.RefreshToken); ok {
							a = refreshFlow() // its channels must belong to the bubble
						}
						ctx, cancel := test.ctx()
						defer cancel()
						login := inMemory(reply)
						login.URL = instance
						login.HTTPClient.Timeout = test.client
						begin := time.Now()
						c, err := a.Authenticate(ctx, login)
						e := loginError(t, c, err)
						if !errors.Is(err, test.want) || e.Code != "no_answer" || authenticator.Permanent(err) {
							t.Errorf("got %v", e)
						}
						if took := time.Since(begin); took != test.after {
							t.Errorf("after %v, want %v", took, test.after)
						}
						// A refresh outlives its caller, but by no more than our own limit.
						time.Sleep(time.Minute)
						synctest.Wait()
					})
				})
			}
		}
	}
}

func TestEchoedSecretsAreRedacted(t *testing.T) {
	for _, a := range []authenticator.Authenticator{passwordFlow(), refreshFlow()} {
		c, err := a.Authenticate(context.Background(), inMemory(func(r *http.Request) (*http.Response, error) {
			sent := form(t, r)
			body, _ := json.Marshal(map[string]string{"error": "bad " + consumerSecret,
				"error_description": fmt.Sprintf("you\nsent %v or %s %s", sent, sent.Encode(), strings.Repeat("é", 400))})
			return response(400, string(body)), nil
		}))
		e := loginError(t, c, err)
		if e.Code != "bad [redacted]" || strings.Count(e.Description, "[redacted]") < 3 || len(e.Description) > 300 || strings.Contains(e.Description, "\n") {
			t.Errorf("got %#v", e)
		}
	}
}

// TestEchoedRequestsAreRedacted does the same for all that each flow sends, whole and in pieces.
func TestEchoedRequestsAreRedacted(t *testing.T) {
	for name, flow := range flows() {
		assertion := ""
		login := inMemory(func(r *http.Request) (*http.Response, error) {
			raw, plain := sent(t, r)
			if v, err := url.ParseQuery(raw); err == nil {
				assertion = v.Get("assertion")
			}
			body, _ := json.Marshal(map[string]string{"error": "bad request", "error_description": raw[len(raw)/3:] + plain[len(plain)/3:]})
			if name == "jwt_bearer" {
				body, _ = json.Marshal(map[string]string{"error": "bad " + assertion, "error_description": raw + plain})
			}
			return response(400, string(body)), nil
		})
		login.URL = flow.url
		c, err := flow.auth.Authenticate(context.Background(), login)
		e := loginError(t, c, err)
		if name == "jwt_bearer" {
			if parts := strings.Split(assertion, "."); len(parts) != 3 || strings.Contains(fmt.Sprintf("%#v", e), parts[2]) {
				t.Errorf("the signature is in %#v", e)
			}
		}
	}
}

func TestPermanentOfOtherErrors(t *testing.T) {
	for _, err := range []error{nil, io.EOF, context.Canceled, context.DeadlineExceeded, &authenticator.Error{}, &authenticator.Error{StatusCode: 404}} {
		if authenticator.Permanent(err) {
			t.Errorf("%v is permanent", err)
		}
	}
	if (&authenticator.Error{}).Error() != "authenticator" {
		t.Error((&authenticator.Error{}).Error())
	}
}
