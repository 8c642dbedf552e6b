package authenticator_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/sfstream/sfstream-go/authenticator"
)

func TestALoginURLThatIsNoneSaysWhatToWrite(t *testing.T) {
	for raw, want := range map[string]string{
		"login.salesforce.com":                                 "write https://login.salesforce.com",
		"http://login.salesforce.com":                          "write https://login.salesforce.com",
		"acme.my.salesforce.com/":                              "write https://acme.my.salesforce.com",
		"https://Acme.my.salesforce.com/services/oauth2/token": "must have no path: that of the flow is added to it; write https://acme.my.salesforce.com",
		"https://acme.my.salesforce.com/home/home.jsp":         "write https://acme.my.salesforce.com",
		"https://acme.my.site.com/x/services/oauth2/token":     "must have no path",
		"https://acme.lightning.force.com/lightning/page/home": "write https://acme.my.salesforce.com",
		"https://acme--dev.sandbox.lightning.force.com":        "write https://acme--dev.sandbox.my.salesforce.com",
		"https://acme.my.salesforce-setup.com/lightning/setup": "write https://acme.my.salesforce.com",
		"https://acme.my.salesforce.com?key=marker":            "write https://acme.my.salesforce.com",
		"ftp://10.0.0.1": "must be https",
		"https://user:marker@acme.my.salesforce.com":     "must not hold a user",
		"marker-consumer-secret.salesforce.com.evil.com": "must be absolute",
		"00D000000000001!marker.force.com":               "must be absolute",
	} {
		for name, flow := range flows() {
			login := inMemory(func(*http.Request) (*http.Response, error) {
				t.Error("a request was sent")
				return response(200, tokenReply()), nil
			})
			login.URL = raw
			c, err := flow.auth.Authenticate(context.Background(), login)
			if e := loginError(t, c, err); e.Code != "invalid_config" || !strings.Contains(e.Error(), want) || !authenticator.Permanent(e) {
				t.Errorf("%s: %q: %v, want %s", name, raw, e, want)
			}
		}
	}
}

func TestClientCredentialsNeedMyDomain(t *testing.T) {
	for _, shared := range []string{"", authenticator.ProductionURL, authenticator.SandboxURL + "/", "https://LOGIN.salesforce.com", "https://test.salesforce.com:443"} {
		login := inMemory(func(*http.Request) (*http.Response, error) {
			t.Error("a request was sent")
			return response(200, tokenReply()), nil
		})
		login.URL = shared
		c, err := clientCredentialsFlow().Authenticate(context.Background(), login)
		if e := loginError(t, c, err); e.Code != "invalid_config" || !strings.Contains(e.Error(), "log in at the org's My Domain URL, such as https://acme.my.salesforce.com") {
			t.Errorf("%q: %v", shared, e)
		}
	}
}

// notTrusted is a server with a certificate that nobody has signed.
func notTrusted(t *testing.T) *httptest.Server {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request arrived") }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestTLSAndProxiesForEachFlow(t *testing.T) {
	proxy := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || strings.Contains(fmt.Sprint(r.URL), "services") {
			t.Errorf("the proxy saw %s %s", r.Method, r.URL)
		}
		w.WriteHeader(http.StatusProxyAuthRequired)
	})
	through, err := url.Parse(strings.Replace(proxy.URL, "//", "//user:marker@", 1))
	if err != nil {
		t.Fatal(err)
	}
	server := notTrusted(t)
	all := map[string]authenticator.Authenticator{"static": authenticator.Static{AccessToken: accessToken, InstanceURL: server.URL}}
	for name, flow := range flows() {
		all[name] = flow.auth
	}
	for name, auth := range all {
		t.Run(name, func(t *testing.T) {
			plain := &http.Transport{}
			defer plain.CloseIdleConnections()
			c, err := auth.Authenticate(context.Background(), authenticator.Login{URL: server.URL, HTTPClient: &http.Client{Transport: plain}})
			e := loginError(t, c, err)
			if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok || e.Code != "no_answer" || authenticator.Permanent(e) ||
				!strings.Contains(e.Error(), "must trust its certificate") {
				t.Errorf("got %v", e)
			}
			proxied := &http.Transport{Proxy: http.ProxyURL(through)}
			defer proxied.CloseIdleConnections()
			if r, ok := auth.(*authenticator.RefreshToken); ok {
				auth = &authenticator.RefreshToken{ConsumerKey: r.ConsumerKey, RefreshToken: r.RefreshToken}
			}
			c, err = auth.Authenticate(context.Background(), authenticator.Login{URL: instance, HTTPClient: &http.Client{Transport: proxied}})
			if e := loginError(t, c, err); e.Code != "no_answer" || authenticator.Permanent(e) || !strings.Contains(e.Error(), "Proxy Authentication Required") {
				t.Errorf("got %v", e)
			}
		})
	}
}

func TestCredentialsThatCannotBeRight(t *testing.T) {
	for name, test := range map[string]struct {
		token, instance, org string
		says                 string // empty: they are accepted, and become the constants of these tests
	}{
		"pasted with the header": {" bearer  " + accessToken + "\r\n", instance, orgID, ""},
		"white space around":     {"\t" + accessToken + " ", " " + instance + "/lightning ", " " + orgID + "\n", ""},
		"15 characters":          {accessToken, instance, orgID[:15], ""},
		"white space in it":      {"marker marker", instance, orgID, "AccessToken holds white space"},
		"a newline in it":        {"marker\nmarker", instance, orgID, "AccessToken holds white space"},
		"a control character":    {"marker\x00", instance, orgID, "control character"},
		"not ASCII":              {"marker\u00a0é", instance, orgID, "not ASCII"},
		"nothing but Bearer":     {"Bearer ", instance, orgID, ""},
		"a user's id":            {accessToken, instance, userID, "OrgID must have 15 or 18 characters and begin with 00D"},
		"a short id":             {accessToken, instance, "00D1", "OrgID must have"},
		"an odd id":              {accessToken, instance, "00D00000000000!", "OrgID must have"},
		"no instance URL at all": {accessToken, "acme", orgID, "InstanceURL must be absolute"},
		"that of the pages":      {accessToken, "https://Acme--dev.sandbox.lightning.force.com/lightning", orgID, "InstanceURL is that of the org's pages; write https://acme--dev.sandbox.my.salesforce.com"},
		"a login host":           {accessToken, authenticator.SandboxURL, orgID, "InstanceURL is where all orgs log in"},
		"a clear one":            {accessToken, "http://acme.my.salesforce.com", orgID, "InstanceURL must be https"},
		"one with a user":        {accessToken, "https://marker:marker@acme.com", orgID, "InstanceURL must not hold a user"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := authenticator.Static{AccessToken: test.token, InstanceURL: test.instance, OrgID: test.org}.
				Authenticate(context.Background(), authenticator.Login{})
			raw := authenticator.Credentials{AccessToken: test.token, InstanceURL: test.instance, OrgID: test.org}
			cached, cacheErr := authenticator.NewCache(authenticator.Func(func(context.Context, authenticator.Login) (*authenticator.Credentials, error) {
				return &raw, nil
			})).Get(context.Background(), authenticator.Login{})
			switch {
			case test.says != "":
				if e := loginError(t, c, err); e.Code != "invalid_config" || !strings.Contains(e.Error(), test.says) {
					t.Errorf("got %v", e)
				}
				// A cache tidies credentials and does not judge them; Validate does, whatever Func
				// they come from.
				if cacheErr != nil || !authenticator.Permanent(cached.Validate()) || !strings.Contains(cached.Validate().Error(), test.says) {
					t.Errorf("from a cache: %v, %v", cacheErr, cached.Validate())
				}
				leaks(t, fmt.Sprint(cached.Validate()))
			case name == "nothing but Bearer":
				if e := loginError(t, c, err); !strings.Contains(e.Error(), "missing: AccessToken") {
					t.Errorf("got %v", e)
				}
			default:
				if err != nil || c.AccessToken != accessToken || c.InstanceURL != instance || !strings.HasPrefix(orgID, c.OrgID) {
					t.Errorf("got %v, %v", c, err)
				}
				if cacheErr != nil || cached.Validate() != nil || cached.AccessToken != accessToken || cached.InstanceURL != instance {
					t.Errorf("from a cache: %v, %v, %v", cached, cacheErr, cached.Validate())
				}
			}
		})
	}
	for name, flow := range flows() { // the credentials in replies are judged in the same way
		login := always(200, tokenReply("access_token", "marker marker"))
		if name == "soap" {
			login = always(200, soapReply("sessionId", "marker marker"))
		}
		login.URL = flow.url
		c, err := flow.auth.Authenticate(context.Background(), login)
		if e := loginError(t, c, err); e.Code != "incomplete_reply" || !strings.Contains(e.Error(), "holds white space") {
			t.Errorf("%s: %v", name, e)
		}
	}
}

func TestUserinfoSaysThatOrgIDMakesItUnnecessary(t *testing.T) {
	const hint = "with OrgID set, userinfo is not asked"
	static := authenticator.Static{AccessToken: accessToken, InstanceURL: instance}
	for _, reply := range []authenticator.Login{always(403, "Bad_OAuth_Token"), always(503, "<html>"), inMemory(func(*http.Request) (*http.Response, error) {
		return nil, errors.New("connection refused")
	})} {
		c, err := static.Authenticate(context.Background(), reply)
		if e := loginError(t, c, err); !strings.HasSuffix(e.Error(), hint) || e.StatusCode != 0 && !strings.Contains(e.Error(), instance+"/services/oauth2/userinfo") {
			t.Errorf("got %v", e)
		}
	}
	c, err := passwordFlow().Authenticate(context.Background(), inMemory(func(r *http.Request) (*http.Response, error) {
		if r.Method == "GET" {
			return response(403, "Bad_OAuth_Token"), nil
		}
		return response(200, tokenReply("id", "")), nil
	}))
	if e := loginError(t, c, err); strings.Contains(e.Error(), "OrgID") || !strings.Contains(e.Error(), "from "+instance+"/services/oauth2/userinfo") {
		t.Errorf("got %v", e) // this flow has no field OrgID
	}
}

func TestShortSecretsLeaveTextReadable(t *testing.T) {
	p := passwordFlow()
	p.ConsumerSecret, p.Password, p.SecurityToken = "e", "ail", ""
	_, err := p.Authenticate(context.Background(), always(400, `{"error":"invalid_grant","error_description":"authentication failure"}`))
	if err == nil || !strings.Contains(err.Error(), "authentication failure") {
		t.Errorf("got %v", err)
	}
	p.SecurityToken = "marker" // password and token together are long enough to be redacted
	c, err := p.Authenticate(context.Background(), always(400, `{"error":"invalid_grant","error_description":"you sent ailmarker"}`))
	if e := loginError(t, c, err); e.Description != "you sent [redacted]" {
		t.Errorf("got %v", e)
	}
}
