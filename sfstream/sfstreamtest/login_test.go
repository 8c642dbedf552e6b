package sfstreamtest_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

func TestPasswordLogin(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		reply := r.login()
		id := r.LoginURL() + "/id/00D000000000001EAA/005000000000001AAA"
		mac := hmac.New(sha256.New, []byte(r.Account().ConsumerSecret))
		mac.Write([]byte(id + reply["issued_at"]))
		for key, want := range map[string]string{
			"id": id, "instance_url": r.LoginURL(), "token_type": "Bearer", "refresh_token": "",
			"issued_at": strconv.FormatInt(time.Now().Add(time.Hour).UnixMilli(), 10),
			"signature": base64.StdEncoding.EncodeToString(mac.Sum(nil)),
		} {
			if reply[key] != want {
				t.Errorf("%s is %q, want %q", key, reply[key], want)
			}
		}
		if !strings.HasPrefix(reply["access_token"], "00D000000000001!") {
			t.Errorf("access token %q", reply["access_token"])
		}
		if got := r.Logins(); got != 2 {
			t.Errorf("%d logins, want 2", got)
		}
	}, sfstreamtest.WithClockSkew(time.Hour))
}

func TestTheClockOfTheOrg(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		resp, _ := r.post(r.passwordForm())
		date, err := http.ParseTime(resp.Header.Get("Date"))
		check(t, err)
		if got := time.Until(date).Round(time.Minute); got != -7*time.Minute {
			t.Errorf("Date is off by %v", got)
		}
		if got := time.Until(r.publish(1)[0].Date); got != -7*time.Minute {
			t.Errorf("the date of an event is off by %v", got)
		}
	}, sfstreamtest.WithClockSkew(-7*time.Minute))
}

func TestLoginErrors(t *testing.T) {
	for name, test := range map[string]struct {
		field, value string
		status       int
		err          string
	}{
		"wrong password":   {"password", "guess", 400, "invalid_grant: authentication failure"},
		"wrong user":       {"username", "nobody", 400, "invalid_grant: authentication failure"},
		"unknown client":   {"client_id", "x", 401, "invalid_client_id: client identifier invalid"},
		"wrong secret":     {"client_secret", "x", 401, "invalid_client: invalid client credentials"},
		"other grant":      {"grant_type", "x", 400, "unsupported_grant_type: grant type not supported"},
		"refresh by guess": {"grant_type", "refresh_token", 400, "invalid_grant: expired access/refresh token"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				form := r.passwordForm()
				form.Set(test.field, test.value)
				resp, reply := r.post(form)
				if got := reply["error"] + ": " + reply["error_description"]; resp.StatusCode != test.status || got != test.err {
					t.Errorf("got %d %s, want %d %s", resp.StatusCode, got, test.status, test.err)
				}
			})
		})
	}
}

// The ways in which a login fails: what Salesforce refuses, and what is in its place.
func TestFailLogin(t *testing.T) {
	for kind, want := range map[string]struct {
		status int
		err    string
		html   bool
	}{
		"invalid_grant/ip restricted":                {status: 400, err: "invalid_grant: ip restricted"},
		"invalid_grant/expired access/refresh token": {status: 400, err: "invalid_grant: expired access/refresh token"},
		"rate_limit_exceeded":                        {status: 400, err: "rate_limit_exceeded: login rate exceeded"},
		"inactive_org":                               {status: 400, err: "inactive_org: organization is inactive"},
		"503":                                        {status: 503, html: true},
		"html":                                       {status: 200, html: true},
		"redirect":                                   {status: 200, html: true},
		"empty":                                      {status: 200},
	} {
		t.Run(kind, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.FailLogin(1, kind)
				resp, reply := r.post(r.passwordForm())
				err := strings.TrimSuffix(reply["error"]+": "+reply["error_description"], ": ")
				html := strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html")
				if resp.StatusCode != want.status || err != want.err || html != want.html {
					t.Errorf("got %d %q html=%v, want %+v", resp.StatusCode, err, html, want)
				}
				r.login()
			})
		})
	}
}

func TestALoginThatHangs(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.FailLogin(1, "timeout")
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "POST", r.LoginURL()+"/services/oauth2/token", strings.NewReader(r.passwordForm().Encode()))
		check(t, err)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if _, err := r.HTTPClient().Do(req); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		r.login()
		r.FailLogin(1, "timeout") // Close ends this one
		go func() {
			resp, err := r.HTTPClient().PostForm(r.LoginURL()+"/services/oauth2/token", r.passwordForm())
			if err == nil {
				resp.Body.Close()
				t.Error("an answer")
			}
		}()
		time.Sleep(time.Second)
		check(t, r.Close())
		check(t, r.Close())
	})
}

func TestLockUser(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.LockUser()
		for range 3 {
			if _, reply := r.post(r.passwordForm()); reply["error_description"] != "user is locked" {
				t.Errorf("got %v", reply)
			}
		}
		getTopic(t, r, orders, codes.OK, "")
		r.ClearFaults()
		r.login()
		if got := r.Logins(); got != 5 {
			t.Errorf("%d logins counted, want 5", got)
		}
	})
}

func refreshForm(r *rig, token string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "client_id": {r.Account().ConsumerKey}, "refresh_token": {token}}
}

func TestRefresh(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for range 2 {
			_, reply := r.post(refreshForm(r, r.Account().RefreshToken))
			if reply["access_token"] == "" || reply["refresh_token"] != "" {
				t.Errorf("got %v", reply)
			}
			r.auth.Set("accesstoken", reply["access_token"])
			getTopic(t, r, orders, codes.OK, "")
		}
	})
}

// Where refresh tokens are rotated, the use of an old one looks like a theft.
func TestAnOldRefreshTokenRevokesEverything(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		_, reply := r.post(refreshForm(r, r.Account().RefreshToken))
		second := reply["refresh_token"]
		_, reply = r.post(refreshForm(r, second))
		third := reply["refresh_token"]
		if second == "" || third == "" || second == third {
			t.Fatalf("no rotation: %v", reply)
		}
		r.auth.Set("accesstoken", reply["access_token"])
		getTopic(t, r, orders, codes.OK, "")
		for _, token := range []string{second, third} {
			if _, reply := r.post(refreshForm(r, token)); reply["error"] != "invalid_grant" {
				t.Errorf("got %v", reply)
			}
		}
		getTopic(t, r, orders, codes.Unauthenticated, "service.auth.error")
	}, sfstreamtest.WithRefreshRotation())
}

func TestUserinfo(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		get := func(token string) (int, string) {
			req, err := http.NewRequestWithContext(t.Context(), "GET", r.LoginURL()+"/services/oauth2/userinfo", nil)
			check(t, err)
			req.Header.Set("Authorization", "Bearer "+token)
			resp, err := r.HTTPClient().Do(req)
			check(t, err)
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			check(t, err)
			return resp.StatusCode, string(body)
		}
		if code, body := get(r.auth.Get("accesstoken")[0]); code != 200 || !strings.Contains(body, `"organization_id":"00D000000000001EAA"`) {
			t.Errorf("got %d %s", code, body)
		}
		if code, body := get("bad"); code != 403 || body != "Bad_OAuth_Token" {
			t.Errorf("got %d %s", code, body)
		}
	})
}

func TestASessionSlidesAndExpires(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for range 3 {
			time.Sleep(90 * time.Minute)
			getTopic(t, r, orders, codes.OK, "")
		}
		stream := r.follow(orders, 10) // its keepalives count as use
		for range 5 * 60 {
			recv(t, stream)
		}
		getTopic(t, r, orders, codes.OK, "")
		check(t, stream.CloseSend())
		wantEnd(t, stream, codes.OK, "")
		time.Sleep(2*time.Hour + time.Second)
		getTopic(t, r, orders, codes.Unauthenticated, "service.auth.error")
	})
}

// After an org has moved, the next login names another instance.
func TestMoveInstance(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		before := r.auth.Copy()
		r.MoveInstance()
		getTopic(t, r, orders, codes.Unauthenticated, "service.auth.error")
		reply := r.login()
		if reply["instance_url"] == before.Get("instanceurl")[0] || !strings.HasPrefix(reply["instance_url"], "http://localhost:") {
			t.Errorf("instance %s", reply["instance_url"])
		}
		getTopic(t, r, orders, codes.OK, "")
		resp, err := r.HTTPClient().Get(reply["instance_url"] + "/services/oauth2/userinfo")
		check(t, err)
		resp.Body.Close()
		r.auth = metadata.Join(metadata.Pairs("accesstoken", reply["access_token"], "tenantid", r.Account().OrgID),
			metadata.Pairs("instanceurl", before.Get("instanceurl")[0]))
		getTopic(t, r, orders, codes.Unauthenticated, "service.auth.error")
	})
}

func TestTheAuthenticatorLogsIn(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		creds, err := r.Authenticator().Authenticate(t.Context(), authenticator.Login{URL: r.LoginURL(), HTTPClient: r.HTTPClient()})
		check(t, err)
		if creds.OrgID != r.Account().OrgID || creds.UserID != r.Account().UserID || creds.InstanceURL != r.LoginURL() {
			t.Errorf("logged in to %s at %s as %s", creds.OrgID, creds.InstanceURL, creds.UserID)
		}
		r.auth.Set("accesstoken", creds.AccessToken)
		getTopic(t, r, orders, codes.OK, "")
	})
}
