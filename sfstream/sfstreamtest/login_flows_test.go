package sfstreamtest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// wantDenied posts a form and expects an error, "error: description".
func (r *rig) wantDenied(form url.Values, status int, want string) {
	r.tb.Helper()
	resp, reply := r.post(form)
	if got := reply["error"] + ": " + reply["error_description"]; resp.StatusCode != status || got != want {
		r.tb.Errorf("got %d %s, want %d %s", resp.StatusCode, got, status, want)
	}
}

// enter posts a form and expects a session, which the Pub/Sub API accepts.
func (r *rig) enter(form url.Values) map[string]string {
	r.tb.Helper()
	resp, reply := r.post(form)
	if resp.StatusCode != http.StatusOK {
		r.tb.Fatalf("login: %s %v", resp.Status, reply)
	}
	r.auth = metadata.Pairs("accesstoken", reply["access_token"], "instanceurl", reply["instance_url"], "tenantid", r.Account().OrgID)
	getTopic(r.tb, r, orders, codes.OK, "")
	return reply
}

func (r *rig) clientForm() url.Values {
	return url.Values{"grant_type": {"client_credentials"}, "client_id": {r.Account().ConsumerKey}, "client_secret": {r.Account().ConsumerSecret}}
}

func TestClientCredentials(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		reply := r.enter(r.clientForm())
		if reply["refresh_token"] != "" || reply["token_type"] != "Bearer" || !strings.HasSuffix(reply["id"], "/"+r.Account().UserID) {
			t.Errorf("got %v", reply)
		}
		req, err := http.NewRequestWithContext(t.Context(), "POST", r.LoginURL()+"/services/oauth2/token", strings.NewReader("grant_type=client_credentials"))
		check(t, err)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth(r.Account().ConsumerKey, r.Account().ConsumerSecret)
		resp, err := r.HTTPClient().Do(req)
		check(t, err)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("HTTP Basic: %s", resp.Status)
		}

		form := r.clientForm()
		form.Set("client_secret", "guess")
		r.wantDenied(form, 401, "invalid_client: invalid client credentials")
		form.Del("client_secret")
		r.wantDenied(form, 401, "invalid_client: invalid client credentials")
		form.Set("client_id", "guess")
		r.wantDenied(form, 401, "invalid_client_id: client identifier invalid")
	})
}

// Salesforce takes this flow at a My Domain URL only.
func TestClientCredentialsNeedMyDomain(t *testing.T) {
	const want = "invalid_grant: request not supported on this domain"
	bubble(t, func(t *testing.T, r *rig) {
		r.wantDenied(r.clientForm(), 400, want)
		login := r.login()
		resp, err := r.HTTPClient().PostForm(login["instance_url"]+"/services/oauth2/token", r.clientForm())
		check(t, err)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || login["instance_url"] == r.LoginURL() {
			t.Errorf("at %s: %s", login["instance_url"], resp.Status)
		}
	}, sfstreamtest.WithLoginHost())

	bubble(t, func(t *testing.T, r *rig) {
		for _, host := range []string{"login.salesforce.com", "test.salesforce.com:443"} {
			req, err := http.NewRequestWithContext(t.Context(), "POST", r.LoginURL()+"/services/oauth2/token", strings.NewReader(r.clientForm().Encode()))
			check(t, err)
			req.Host = host
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			resp, err := r.HTTPClient().Do(req)
			check(t, err)
			resp.Body.Close()
			if resp.StatusCode != http.StatusBadRequest {
				t.Errorf("%s: %s", host, resp.Status)
			}
		}
	})
}

func TestFlowsThatAreOff(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.wantDenied(r.clientForm(), 400, "invalid_grant: no client credentials user enabled")
		r.wantDenied(r.jwtForm(r.claims()), 400, "invalid_grant: user hasn't approved this consumer")
		r.wantFault(r.soapLogin("u/57.0/", nil), "INVALID_OPERATION", "SOAP API login() is disabled by default in this org.")
		r.enter(refreshForm(r, r.Account().RefreshToken))
	}, sfstreamtest.WithoutLoginFlow(sfstreamtest.ClientCredentialsFlow, sfstreamtest.JWTBearerFlow),
		sfstreamtest.WithoutLoginFlow(sfstreamtest.SOAPFlow))
}

func TestAnOrgWithoutThePasswordFlow(t *testing.T) {
	org := sfstreamtest.NewServer(t, sfstreamtest.WithoutLoginFlow(sfstreamtest.PasswordFlow))
	r := &rig{Server: org, tb: t}
	r.wantDenied(r.passwordForm(), 400, "invalid_grant: authentication failure")
	if resp, reply := r.post(r.clientForm()); resp.StatusCode != http.StatusOK {
		t.Errorf("client credentials: %s %v", resp.Status, reply)
	}
}

func TestFailLoginOfEveryFlow(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.FailLogin(2, "invalid_app_access")
		r.wantDenied(r.jwtForm(r.claims()), 400, "invalid_app_access: user is not admin approved to access this app")
		r.wantFault(r.soapLogin("u/57.0", nil), "INVALID_LOGIN", "Invalid username, password")
		r.FailLogin(1, "LOGIN_MUST_USE_SECURITY_TOKEN")
		r.wantFault(r.soapLogin("u/57.0", nil), "LOGIN_MUST_USE_SECURITY_TOKEN", "Are you at a new location?")
		r.FailLogin(1, "503")
		resp := r.soapLogin("u/57.0", nil)
		resp.Body.Close()
		if resp.StatusCode != 503 {
			t.Errorf("%s", resp.Status)
		}
		before := r.Logins()
		r.auth.Set("accesstoken", r.soapSession(r.soapLogin("u/57.0", nil)))
		getTopic(t, r, orders, codes.OK, "")
		if r.Logins() != before+1 {
			t.Errorf("a SOAP login is not counted")
		}
	})
}

func TestOptionsOfLoginsThatCannotBe(t *testing.T) {
	for _, option := range []sfstreamtest.Option{sfstreamtest.WithoutLoginFlow("jwt"), sfstreamtest.WithPublicKeys(nil)} {
		if org, err := sfstreamtest.Start(option); err == nil {
			t.Error("it started")
			check(t, org.Close())
		}
	}
}

func TestAJWTAccessTokenIsForRESTOnly(t *testing.T) {
	org := sfstreamtest.NewServer(t, sfstreamtest.WithJWTAccessTokens())
	check(t, org.DefineEvent(orders, schemaFile(t, "order")))
	r := &rig{Server: org, tb: t}
	r.conn = r.dial()
	r.client.Conn = r.conn
	for name, form := range map[string]url.Values{"client credentials": r.clientForm(), "JWT": r.jwtForm(r.claims())} {
		_, reply := r.post(form)
		token := reply["access_token"]
		if strings.Count(token, ".") != 2 {
			t.Fatalf("%s: token %q", name, token)
		}
		if code, body := r.get("/services/data/v60.0/sobjects/Account/001", token); code != 404 {
			t.Errorf("%s: REST: %d %s", name, code, body)
		}
		if code, body := r.get("/services/oauth2/userinfo", token); code != 200 {
			t.Errorf("%s: userinfo: %d %s", name, code, body)
		}
		r.auth = metadata.Pairs("accesstoken", token, "instanceurl", reply["instance_url"], "tenantid", r.Account().OrgID)
		getTopic(t, r, orders, codes.Unauthenticated, "service.auth.error")
		if body := r.handshake(token); !strings.Contains(body, "401::Authentication invalid") {
			t.Errorf("%s: CometD: %s", name, body)
		}
	}
	id := r.soapSession(r.soapLogin("u/60.0", nil))
	if strings.Contains(id, ".") {
		t.Errorf("session id %s", id)
	}
	r.auth.Set("accesstoken", id)
	getTopic(t, r, orders, codes.OK, "")
}

// handshake returns CometD's answer to a handshake with a token.
func (r *rig) handshake(token string) string {
	r.tb.Helper()
	req, err := http.NewRequestWithContext(r.tb.Context(), "POST", r.LoginURL()+"/cometd/60.0",
		strings.NewReader(`[{"channel":"/meta/handshake","version":"1.0","supportedConnectionTypes":["long-polling"]}]`))
	check(r.tb, err)
	req.Header.Set("Content-Type", "application/json")
	_, body := r.do(req, token)
	return body
}

func TestEveryUseSlidesTheSession(t *testing.T) {
	for name, use := range map[string]func(r *rig, token string) (int, string){
		"REST":     func(r *rig, token string) (int, string) { return r.get("/services/data/v60.0", token) },
		"userinfo": func(r *rig, token string) (int, string) { return r.get("/services/oauth2/userinfo", token) },
		"identity": func(r *rig, token string) (int, string) {
			return r.get("/id/"+r.Account().OrgID+"/"+r.Account().UserID+"?format=json", token)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				id := r.soapSession(r.soapLogin("u/60.0/", nil))
				for range 3 {
					time.Sleep(90 * time.Minute)
					if code, body := use(r, id); code != 200 {
						t.Fatalf("%d %s", code, body)
					}
				}
				time.Sleep(2*time.Hour + time.Second)
				if code, body := use(r, id); code != 401 && code != 403 {
					t.Errorf("%d %s", code, body)
				}
			})
		})
	}
}
