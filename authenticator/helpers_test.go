package authenticator_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/sfstream/sfstream-go/authenticator"
)

const (
	orgID    = "00D000000000001AAA"
	userID   = "005000000000001AAA"
	instance = "https://acme.my.salesforce.com"
	identity = "https://login.salesforce.com/id/" + orgID + "/" + userID

	consumerSecret = "marker-consumer-secret"
	password       = "marker pass&word/+%"
	securityToken  = "marker-security-token"
	refreshToken   = "marker-refresh-token"
	accessToken    = "00D000000000001!marker-access-token"
	signature      = "marker-signature="
)

var secrets = []string{consumerSecret, password, url.QueryEscape(password), securityToken, refreshToken, accessToken, url.QueryEscape(accessToken), signature}

// leaks fails the test if text shows a secret.
func leaks(t *testing.T, text string) {
	t.Helper()
	for _, s := range append(secrets, "marker") {
		if strings.Contains(text, s) {
			t.Errorf("shows %q: %s", s, text)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func response(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body))}
}

// inMemory returns a Login whose requests f answers without a network.
func inMemory(f func(*http.Request) (*http.Response, error)) authenticator.Login {
	return authenticator.Login{HTTPClient: &http.Client{Transport: roundTripper(f)}}
}

// always returns a Login that gets the same answer to every request.
func always(status int, body string) authenticator.Login {
	return inMemory(func(*http.Request) (*http.Response, error) { return response(status, body), nil })
}

func form(t *testing.T, r *http.Request) url.Values {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	v, err := url.ParseQuery(string(body))
	if err != nil {
		t.Error(err)
	}
	return v
}

// tokenReply returns a good reply with changes: pairs of key and value; an empty value removes the
// key.
func tokenReply(pairs ...string) string {
	m := map[string]string{
		"access_token": accessToken, "instance_url": instance, "id": identity, "token_type": "Bearer",
		"issued_at": "1735689600123", "signature": signature, "scope": "api refresh_token",
	}
	for i := 0; i < len(pairs); i += 2 {
		if m[pairs[i]] = pairs[i+1]; pairs[i+1] == "" {
			delete(m, pairs[i])
		}
	}
	b, _ := json.Marshal(m)
	return string(b)
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func passwordFlow() authenticator.Password {
	return authenticator.Password{ConsumerKey: "key", ConsumerSecret: consumerSecret, Username: "u@acme.com",
		Password: password, SecurityToken: securityToken}
}

func refreshFlow() *authenticator.RefreshToken {
	return &authenticator.RefreshToken{ConsumerKey: "key", ConsumerSecret: consumerSecret, RefreshToken: refreshToken}
}

// testKey returns the private key of the app, which is made once.
var testKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// pkcs8 returns the key in the form in which people have it in a file.
var pkcs8 = sync.OnceValue(func() []byte {
	der, err := x509.MarshalPKCS8PrivateKey(testKey())
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
})

func clientCredentialsFlow() authenticator.ClientCredentials {
	return authenticator.ClientCredentials{ConsumerKey: "key", ConsumerSecret: consumerSecret}
}

func jwtFlow() authenticator.JWTBearer {
	return authenticator.JWTBearer{ConsumerKey: "key", Username: "u@acme.com", PrivateKey: pkcs8()}
}

func soapFlow() authenticator.SOAP {
	return authenticator.SOAP{Username: "u@acme.com", Password: password, SecurityToken: securityToken}
}

// flows returns the flows that log in, each with a login URL that it accepts.
func flows() map[string]struct {
	auth authenticator.Authenticator
	url  string
} {
	type flow = struct {
		auth authenticator.Authenticator
		url  string
	}
	return map[string]flow{
		"password":           {passwordFlow(), ""},
		"refresh_token":      {refreshFlow(), ""},
		"client_credentials": {clientCredentialsFlow(), instance},
		"jwt_bearer":         {jwtFlow(), ""},
		"soap":               {soapFlow(), ""},
	}
}

// sent returns the body of a request, raw and without the escapes of its form.
func sent(t *testing.T, r *http.Request) (raw, plain string) {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	raw, plain = string(body), html.UnescapeString(string(body))
	if v, err := url.ParseQuery(raw); err == nil && !strings.HasPrefix(raw, "<") {
		plain = fmt.Sprint(v)
	}
	return raw, plain
}

// loginError returns the *Error of a login that must fail, and checks for leaks along its chain.
func loginError(t *testing.T, c *authenticator.Credentials, err error) *authenticator.Error {
	t.Helper()
	e, ok := errors.AsType[*authenticator.Error](err)
	if !ok || c != nil {
		t.Fatalf("got %v, %T %v; want an *Error", c, err, err)
	}
	for next := error(e); next != nil; next = errors.Unwrap(next) {
		leaks(t, fmt.Sprintf("%v %+v %#v %q", next, next, next, next))
	}
	return e
}

func mustLogin(t *testing.T, a authenticator.Authenticator, login authenticator.Login) *authenticator.Credentials {
	t.Helper()
	c, err := a.Authenticate(context.Background(), login)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func readAll(r *http.Response) string {
	b, _ := io.ReadAll(r.Body)
	return string(b)
}
