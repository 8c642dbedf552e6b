package authenticator_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"testing"

	"github.com/sfstream/sfstream-go/authenticator"
)

// judge fails the test unless a login returned valid credentials or an *Error.
func judge(t *testing.T, c *authenticator.Credentials, err error) {
	t.Helper()
	if err != nil {
		e, ok := errors.AsType[*authenticator.Error](err)
		if !ok || c != nil || e.Code == "" || e.Error() == "" {
			t.Fatalf("got %v, %#v", c, err)
		}
		authenticator.Permanent(err)
		return
	}
	u, err := url.Parse(c.InstanceURL)
	if err != nil || u.Host == "" || u.Path != "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		t.Fatalf("instance URL %q", c.InstanceURL)
	}
	if c.AccessToken == "" || c.TokenType == "" || len(c.OrgID) != 15 && len(c.OrgID) != 18 {
		t.Fatalf("credentials %v", c)
	}
}

func FuzzTokenReply(f *testing.F) {
	f.Add(200, tokenReply())
	f.Add(200, tokenReply("refresh_token", "new"))
	f.Add(200, tokenReply("id", ""))
	f.Add(200, `{"access_token":"a","instance_url":"https://x:y@z","expires_in":"1","issued_at":1e300}`)
	f.Add(400, `{"error":"invalid_grant","error_description":"authentication failure"}`)
	f.Add(400, `[{"errorCode":"X","message":"Y"}]`)
	f.Add(206, `{"error":" "}`)
	f.Add(302, "")
	f.Add(503, "<html>")
	f.Fuzz(func(t *testing.T, status int, body string) {
		login := inMemory(func(r *http.Request) (*http.Response, error) {
			if r.Method == "GET" {
				return response(200, `{"organization_id":"`+orgID+`"}`), nil
			}
			return response(status, body), nil
		})
		for name, flow := range flows() {
			if name != "soap" && name != "jwt_bearer" { // SOAP has another reply; JWT has the same, after a slow signature
				login.URL = flow.url
				c, err := flow.auth.Authenticate(context.Background(), login)
				judge(t, c, err)
			}
		}
	})
}

func FuzzUserinfoReply(f *testing.F) {
	f.Add(200, `{"organization_id":"`+orgID+`","user_id":"`+userID+`"}`)
	f.Add(200, `{"organization_id":"é00000000000000"}`)
	f.Add(403, "Bad_OAuth_Token")
	f.Add(401, `[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]`)
	f.Add(301, "")
	f.Fuzz(func(t *testing.T, status int, body string) {
		a := authenticator.Static{AccessToken: accessToken, InstanceURL: instance}
		c, err := a.Authenticate(context.Background(), always(status, body))
		judge(t, c, err)
	})
}

func FuzzSOAPReply(f *testing.F) {
	f.Add(200, soapReply())
	f.Add(200, soapReply("passwordExpired", "true"))
	f.Add(200, soapReply("serverUrl", "https://x:y@z"))
	f.Add(500, soapFault("sf:INVALID_LOGIN", invalidLogin, "INVALID_LOGIN", "x"))
	f.Add(500, soapFault("soapenv:Server", ": ", "", ""))
	f.Add(200, soapReply()[:200])
	f.Add(200, "<Envelope><Body><Fault/></Body></Envelope>")
	f.Add(503, "<html>")
	f.Add(400, `{"error":"x"}`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		c, err := soapFlow().Authenticate(context.Background(), always(status, body))
		judge(t, c, err)
	})
}

func FuzzPrivateKey(f *testing.F) {
	f.Add(pkcs8())
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(testKey())}))
	f.Add([]byte("-----BEGIN EC PRIVATE KEY-----\n-----END EC PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		j := jwtFlow()
		j.PrivateKey = file
		c, err := j.Authenticate(context.Background(), always(200, tokenReply()))
		judge(t, c, err)
	})
}
