package authenticator_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"testing"

	"github.com/sfstream/sfstream-go/authenticator"
)

// judge fails unless a login gave valid credentials or an *Error.
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
		for _, a := range []authenticator.Authenticator{passwordFlow(), refreshFlow()} {
			c, err := a.Authenticate(context.Background(), login)
			judge(t, c, err)
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
