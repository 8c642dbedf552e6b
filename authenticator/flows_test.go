package authenticator_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
)

func TestFlowsSendExactlyTheirForm(t *testing.T) {
	without := passwordFlow()
	without.SecurityToken = ""
	public := refreshFlow()
	public.ConsumerSecret = ""
	for name, test := range map[string]struct {
		auth authenticator.Authenticator
		want url.Values
	}{
		"password with security token": {passwordFlow(), url.Values{"grant_type": {"password"}, "client_id": {"key"},
			"client_secret": {consumerSecret}, "username": {"u@acme.com"}, "password": {password + securityToken}}},
		"password without": {without, url.Values{"grant_type": {"password"}, "client_id": {"key"},
			"client_secret": {consumerSecret}, "username": {"u@acme.com"}, "password": {password}}},
		"refresh token with consumer secret": {refreshFlow(), url.Values{"grant_type": {"refresh_token"}, "client_id": {"key"},
			"client_secret": {consumerSecret}, "refresh_token": {refreshToken}}},
		"refresh token without": {public, url.Values{"grant_type": {"refresh_token"}, "client_id": {"key"},
			"refresh_token": {refreshToken}}},
	} {
		t.Run(name, func(t *testing.T) {
			requests := 0
			login := inMemory(func(r *http.Request) (*http.Response, error) {
				requests++
				if r.Method != "POST" || r.URL.String() != "https://login.salesforce.com/services/oauth2/token" {
					t.Errorf("%s %s", r.Method, r.URL)
				}
				if h := r.Header.Get("Authorization"); h != "" {
					t.Errorf("sent Authorization %s", h)
				}
				if got := form(t, r); !reflect.DeepEqual(got, test.want) {
					t.Errorf("sent %v, want %v", got, test.want)
				}
				return response(200, tokenReply()), nil
			})
			got := mustLogin(t, test.auth, login)
			want := authenticator.Credentials{AccessToken: accessToken, TokenType: "Bearer", InstanceURL: instance, OrgID: orgID,
				UserID: userID, IssuedAt: time.UnixMilli(1735689600123).UTC(), ID: identity, Signature: signature}
			if *got != want {
				t.Errorf("got %v, want %v", got, want)
			}
			if requests != 1 {
				t.Errorf("%d requests", requests)
			}
		})
	}
}

func TestLoginURL(t *testing.T) {
	const path = "/services/oauth2/token"
	for raw, want := range map[string]string{
		"":                                   authenticator.ProductionURL + path,
		authenticator.SandboxURL:             authenticator.SandboxURL + path,
		"https://acme.my.salesforce.com/":    instance + path,
		" https://acme.my.salesforce.com// ": instance + path,
		"https://acme.force.com/customers":   "https://acme.force.com/customers" + path,
		"HTTPS://acme.my.salesforce.com":     instance + path,
		"http://127.0.0.1:8080":              "http://127.0.0.1:8080" + path,
		"http://127.9.9.9":                   "http://127.9.9.9" + path,
		"http://[::1]:80/":                   "http://[::1]:80" + path,
		"http://LocalHost:1":                 "http://LocalHost:1" + path,
		"http://login.salesforce.com":        "",
		"http://localhost.evil.com":          "",
		"http://127.0.0.1.evil.com":          "",
		"http://0.0.0.0":                     "",
		"http://10.0.0.1":                    "",
		"login.salesforce.com":               "",
		"//login.salesforce.com":             "",
		"https://":                           "",
		"https:login.salesforce.com":         "",
		"ftp://login.salesforce.com":         "",
		"https://user:marker@acme.com":       "",
		"https://acme.com?key=marker":        "",
		"https://acme.com?":                  "",
		"https://acme.com#marker":            "",
		"https://marker acme.com":            "",
		"https://acme.com:marker":            "",
	} {
		for _, auth := range []authenticator.Authenticator{passwordFlow(), refreshFlow()} {
			sent := ""
			login := inMemory(func(r *http.Request) (*http.Response, error) {
				sent = r.URL.String()
				return response(200, tokenReply()), nil
			})
			login.URL = raw
			c, err := auth.Authenticate(context.Background(), login)
			if sent != want {
				t.Errorf("%q: sent to %q, want %q", raw, sent, want)
			}
			if want != "" {
				if err != nil {
					t.Errorf("%q: %v", raw, err)
				}
				continue
			}
			if e := loginError(t, c, err); e.Code != "invalid_config" || !authenticator.Permanent(e) {
				t.Errorf("%q: %v", raw, e)
			}
		}
	}
}

func TestMissingFieldsAreNamedAndNothingIsSent(t *testing.T) {
	login := inMemory(func(*http.Request) (*http.Response, error) {
		t.Error("a request was sent")
		return nil, errors.New("unreachable")
	})
	for want, auth := range map[string]authenticator.Authenticator{
		"missing: ConsumerKey, ConsumerSecret, Username, Password": authenticator.Password{SecurityToken: securityToken},
		"missing: Password":                                           authenticator.Password{ConsumerKey: "k", ConsumerSecret: consumerSecret, Username: "u"},
		"missing: ConsumerKey, RefreshToken":                          &authenticator.RefreshToken{},
		"missing: AccessToken, InstanceURL":                           authenticator.Static{OrgID: orgID},
		"missing: InstanceURL":                                        authenticator.Static{AccessToken: accessToken},
		"InstanceURL must be https (http is for loopback hosts only)": authenticator.Static{AccessToken: accessToken, InstanceURL: "http://acme.my.salesforce.com"},
		"the authenticator.Func is nil":                               authenticator.Func(nil),
	} {
		c, err := auth.Authenticate(context.Background(), login)
		if e := loginError(t, c, err); e.Description != want || !authenticator.Permanent(e) {
			t.Errorf("got %v, want %s", e, want)
		}
	}
}

func TestStaticReturnsWhatItWasGiven(t *testing.T) {
	a := authenticator.Static{AccessToken: accessToken, InstanceURL: instance + "/", OrgID: orgID}
	want := authenticator.Credentials{AccessToken: accessToken, TokenType: "Bearer", InstanceURL: instance, OrgID: orgID}
	if got := mustLogin(t, a, always(500, "")); *got != want {
		t.Errorf("got %v", got)
	}
}

func TestOrgIDFromUserinfo(t *testing.T) {
	const info = `{"organization_id":"` + orgID + `","user_id":"` + userID + `","preferred_username":"u@acme.com"}`
	for name, test := range map[string]struct {
		auth authenticator.Authenticator
		id   string
	}{
		"static":                   {auth: authenticator.Static{AccessToken: accessToken, InstanceURL: instance}},
		"no identity URL":          {auth: passwordFlow()},
		"identity URL without ids": {refreshFlow(), "https://login.salesforce.com/id/"},
		"identity URL with others": {refreshFlow(), "https://login.salesforce.com/id/short/user"},
		"identity URL unparsable":  {refreshFlow(), "%zz"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			got := mustLogin(t, test.auth, inMemory(func(r *http.Request) (*http.Response, error) {
				if r.Method == "POST" {
					return response(200, tokenReply("id", test.id)), nil
				}
				asked++
				if r.URL.String() != instance+"/services/oauth2/userinfo" || r.Header.Get("Authorization") != "Bearer "+accessToken {
					t.Errorf("asked %s with %q", r.URL, r.Header.Get("Authorization"))
				}
				return response(200, info), nil
			}))
			if got.OrgID != orgID || got.UserID != userID || asked != 1 {
				t.Errorf("got %v after %d questions", got, asked)
			}
		})
	}
}

func TestUserinfoRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		status    int
		body      string
		code      string
		permanent bool
	}{
		"dead token":      {403, "Bad_OAuth_Token", "Bad_OAuth_Token", true},
		"dead session":    {401, `[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]`, "INVALID_SESSION_ID", true},
		"request limit":   {403, `[{"message":"TotalRequests Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]`, "REQUEST_LIMIT_EXCEEDED", false},
		"maintenance":     {503, "<html>", "html_reply", false},
		"empty":           {200, "", "empty_reply", false},
		"no org":          {200, `{"user_id":"x"}`, "incomplete_reply", false},
		"odd org":         {200, `{"organization_id":"../../evil/1234"}`, "incomplete_reply", false},
		"token is echoed": {401, `[{"message":"no ` + accessToken + `","errorCode":"` + accessToken + `"}]`, "[redacted]", true},
	} {
		t.Run(name, func(t *testing.T) {
			a := authenticator.Static{AccessToken: accessToken, InstanceURL: instance}
			c, err := a.Authenticate(context.Background(), always(test.status, test.body))
			e := loginError(t, c, err)
			if e.Code != test.code || e.StatusCode != test.status || e.Flow != "static" || authenticator.Permanent(e) != test.permanent {
				t.Errorf("got %v, permanent %v", e, authenticator.Permanent(e))
			}
		})
	}
}

func TestReplyFields(t *testing.T) {
	for name, test := range map[string]struct {
		body string
		want func(*authenticator.Credentials) bool
	}{
		"instance URL loses slash and path": {tokenReply("instance_url", instance+"/home/"), func(c *authenticator.Credentials) bool { return c.InstanceURL == instance }},
		"loopback instance":                 {tokenReply("instance_url", "http://127.0.0.1:9"), func(c *authenticator.Credentials) bool { return c.InstanceURL == "http://127.0.0.1:9" }},
		"15 characters": {tokenReply("id", "https://x/id/00D000000000001/005000000000001"), func(c *authenticator.Credentials) bool {
			return c.OrgID == "00D000000000001" && c.UserID == "005000000000001"
		}},
		"no token type":         {tokenReply("token_type", ""), func(c *authenticator.Credentials) bool { return c.TokenType == "Bearer" }},
		"no time of issue":      {tokenReply("issued_at", ""), func(c *authenticator.Credentials) bool { return c.IssuedAt.IsZero() }},
		"garbage time of issue": {tokenReply("issued_at", "yesterday"), func(c *authenticator.Credentials) bool { return c.IssuedAt.IsZero() }},
		"numeric time of issue": {`{"access_token":"a","instance_url":"` + instance + `","id":"` + identity + `","issued_at":1735689600123}`,
			func(c *authenticator.Credentials) bool { return c.IssuedAt.UnixMilli() == 1735689600123 }},
	} {
		t.Run(name, func(t *testing.T) {
			if c := mustLogin(t, passwordFlow(), always(200, test.body)); !test.want(c) {
				t.Errorf("got %v", c)
			}
		})
	}
}

func TestContentTypeOfTheReplyDoesNotMatter(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Write([]byte(tokenReply()))
	})
	mustLogin(t, passwordFlow(), authenticator.Login{URL: s.URL, HTTPClient: s.Client()})
}

func TestTheInstanceURLOfEachLoginIsUsed(t *testing.T) {
	n := 0
	login := inMemory(func(*http.Request) (*http.Response, error) {
		n++
		return response(200, tokenReply("instance_url", []string{"https://one.salesforce.com", "https://two.salesforce.com"}[n-1])), nil
	})
	a := refreshFlow()
	if one, two := mustLogin(t, a, login), mustLogin(t, a, login); one.InstanceURL == two.InstanceURL {
		t.Errorf("both logins have %s", one.InstanceURL)
	}
}
