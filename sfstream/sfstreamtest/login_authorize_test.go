package sfstreamtest_test

import (
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

var verifier = strings.Repeat("verifier-_", 5)

func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// authorizeForm returns a good request for a code with changes: pairs of name and value; an empty
// value removes the parameter.
func (r *rig) authorizeForm(pairs ...string) url.Values {
	form := url.Values{
		"response_type": {"code"}, "client_id": {r.Account().ConsumerKey}, "redirect_uri": {r.Account().CallbackURL},
		"scope": {"api refresh_token"}, "state": {"a state"}, "code_challenge": {challenge(verifier)}, "code_challenge_method": {"S256"},
	}
	for i := 0; i < len(pairs); i += 2 {
		if form.Set(pairs[i], pairs[i+1]); pairs[i+1] == "" {
			form.Del(pairs[i])
		}
	}
	return form
}

func bodyOf(tb testing.TB, resp *http.Response) string {
	tb.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	check(tb, err)
	return string(body)
}

// authorize opens the page as a browser does. It returns where that is sent, or the page.
func (r *rig) authorize(form url.Values) (sentTo *url.URL, page string) {
	r.tb.Helper()
	browser := *r.HTTPClient()
	browser.CheckRedirect = func(req *http.Request, _ []*http.Request) error {
		sentTo = req.URL
		return http.ErrUseLastResponse
	}
	resp, err := browser.Get(r.LoginURL() + "/services/oauth2/authorize?" + form.Encode())
	check(r.tb, err)
	body := bodyOf(r.tb, resp)
	if sentTo == nil && resp.StatusCode != http.StatusBadRequest {
		r.tb.Errorf("the page has status %s", resp.Status)
	}
	return sentTo, body
}

// code returns a new code, which the callback gets with the state.
func (r *rig) code(pairs ...string) string {
	r.tb.Helper()
	to, page := r.authorize(r.authorizeForm(pairs...))
	if to == nil {
		r.tb.Fatalf("not sent on: %s", page)
	}
	if q := to.Query(); q.Get("code") == "" || q.Get("state") != "a state" || q.Has("error") {
		r.tb.Fatalf("sent to %s", to)
	}
	return to.Query().Get("code")
}

func (r *rig) codeForm(code string, pairs ...string) url.Values {
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "client_id": {r.Account().ConsumerKey},
		"redirect_uri": {r.Account().CallbackURL}, "code_verifier": {verifier},
	}
	for i := 0; i < len(pairs); i += 2 {
		if form.Set(pairs[i], pairs[i+1]); pairs[i+1] == "" {
			form.Del(pairs[i])
		}
	}
	return form
}

func TestAuthorizationCode(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		code := r.code()
		if !strings.HasSuffix(code, "==") {
			t.Errorf("the code %s has nothing that must be escaped", code)
		}
		reply := r.enter(r.codeForm(code))
		if reply["scope"] != "refresh_token api" || reply["refresh_token"] == "" {
			t.Errorf("got %v", reply)
		}
		r.wantDenied(r.codeForm(code), 400, "invalid_grant: expired authorization code")
		r.enter(refreshForm(r, reply["refresh_token"]))
		r.enter(refreshForm(r, r.Account().RefreshToken)) // another approval

		if reply := r.enter(r.codeForm(r.code("scope", "api"))); reply["refresh_token"] != "" {
			t.Error("a refresh token came though none was asked for")
		}
		if reply := r.enter(r.codeForm(r.code("scope", ""))); reply["refresh_token"] == "" {
			t.Error("without scopes those of the app are meant")
		}
		r.enter(r.codeForm(r.code(), "client_secret", r.Account().ConsumerSecret))
		r.wantDenied(r.codeForm(r.code(), "client_secret", "guess"), 401, "invalid_client: invalid client credentials")
	})
}

func TestACodeCanBeExchangedOnlyAsItWasAskedFor(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.wantDenied(r.codeForm("guess"), 400, "invalid_grant: invalid authorization code")
		const mismatch = "redirect_uri_mismatch: redirect_uri must match configuration"
		for _, test := range []struct{ name, value, want string }{
			{"redirect_uri", r.Account().CallbackURL + "/", mismatch},
			{"redirect_uri", "", mismatch},
			{"code_verifier", "", "invalid_grant: invalid code verifier"},
			{"code_verifier", strings.Repeat("another-_-", 5), "invalid_grant: invalid code verifier"},
		} {
			code := r.code()
			r.wantDenied(r.codeForm(code, test.name, test.value), 400, test.want)
			r.wantDenied(r.codeForm(code), 400, "invalid_grant: expired authorization code")
		}
		for _, odd := range []string{"short", strings.Repeat("tilde~", 10)} {
			r.wantDenied(r.codeForm(r.code("code_challenge", challenge(odd)), "code_verifier", odd), 400, "invalid_grant: invalid code verifier")
		}
		code := r.code()
		time.Sleep(15*time.Minute + time.Second)
		r.wantDenied(r.codeForm(code), 400, "invalid_grant: expired authorization code")
	})
}

func TestTheAuthorizationPageRefuses(t *testing.T) {
	const more = "http://localhost:9/other"
	bubble(t, func(t *testing.T, r *rig) {
		r.code("redirect_uri", more)
		for _, test := range []struct{ name, value, want string }{
			{"redirect_uri", r.Account().CallbackURL + "/", "error=redirect_uri_mismatch&error_description=redirect_uri%20must%20match%20configuration"},
			{"redirect_uri", strings.Replace(r.Account().CallbackURL, "localhost", "127.0.0.1", 1), "error=redirect_uri_mismatch"},
			{"redirect_uri", "", "error=redirect_uri_missing"},
			{"client_id", "guess", "error=invalid_client_id&error_description=client%20identifier%20invalid"},
		} {
			if to, page := r.authorize(r.authorizeForm(test.name, test.value)); to != nil || !strings.Contains(page, test.want) {
				t.Errorf("%s: sent to %v, page %s", test.name, to, page)
			}
		}
		for _, test := range []struct{ name, value, want string }{
			{"response_type", "token", "unsupported_response_type: response type not supported"},
			{"code_challenge", "", "invalid_request: missing required code challenge"},
			{"code_challenge_method", "plain", "invalid_request: code challenge method not supported"},
			{"scope", "api everything", "invalid_scope: the requested scope is not allowed"},
		} {
			r.wantSentBack(test.want, test.name, test.value)
		}
		r.FailAuthorize(1, "access_denied/end-user denied authorization")
		r.wantSentBack("access_denied: end-user denied authorization")
		r.code()
	}, sfstreamtest.WithCallbackURLs(more))
}

// wantSentBack expects an authorization to end at the callback with an error and the state.
func (r *rig) wantSentBack(want string, pairs ...string) {
	r.tb.Helper()
	to, page := r.authorize(r.authorizeForm(pairs...))
	if to == nil {
		r.tb.Fatalf("%v: not sent on: %s", pairs, page)
	}
	q := to.Query()
	if got := q.Get("error") + ": " + q.Get("error_description"); got != want || q.Get("state") != "a state" || q.Has("code") {
		r.tb.Errorf("%v: sent to %s, want %s", pairs, to, want)
	}
}

func TestAnAppThatWantsItsSecret(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.wantDenied(r.codeForm(r.code()), 401, "invalid_client: invalid client credentials")
		reply := r.enter(r.codeForm(r.code(), "client_secret", r.Account().ConsumerSecret))
		r.wantDenied(refreshForm(r, reply["refresh_token"]), 401, "invalid_client: invalid client credentials")
	}, sfstreamtest.WithRequiredSecret())
}

func TestRevoke(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		revoke := func(token string, want int) {
			t.Helper()
			resp, err := r.HTTPClient().PostForm(r.LoginURL()+"/services/oauth2/revoke", url.Values{"token": {token}})
			check(t, err)
			if body := bodyOf(t, resp); resp.StatusCode != want || want == 400 && !strings.Contains(body, `"error":"invalid_token"`) {
				t.Errorf("got %s %s", resp.Status, body)
			}
		}
		revoke("guess", 400)
		revoke("", 400)
		reply := r.enter(r.codeForm(r.code()))
		revoke(reply["access_token"], 200)
		getTopic(t, r, orders, codes.Unauthenticated, "service.auth.error")
		revoke(reply["access_token"], 400)

		r.enter(refreshForm(r, reply["refresh_token"]))
		revoke(reply["refresh_token"], 200)
		getTopic(t, r, orders, codes.Unauthenticated, "service.auth.error")
		r.wantDenied(refreshForm(r, reply["refresh_token"]), 400, "invalid_grant: expired access/refresh token")
		if got := r.ReusedRefreshTokens(); got != 1 {
			t.Errorf("%d reused refresh tokens, want 1", got)
		}
		r.enter(refreshForm(r, r.Account().RefreshToken)) // another approval
	})
}
