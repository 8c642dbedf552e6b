package authenticator_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
)

// TestACallerThatLeftGetsNoSecondAssertion: its login would only cost another refusal.
func TestACallerThatLeftGetsNoSecondAssertion(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	var sent []url.Values
	login := forms(t, &sent, func(int) *http.Response {
		cancel()
		return refusal("audience is invalid", time.Now().Add(time.Hour))
	})
	login.URL = instance
	c, err := jwtFlow().Authenticate(ctx, login)
	loginError(t, c, err)
	if len(sent) != 1 {
		t.Errorf("%d requests", len(sent))
	}
}

func TestOddDatesDoNoHarm(t *testing.T) {
	for _, date := range []string{"yesterday", "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT", strings.Repeat("9", 5000)} {
		var sent []url.Values
		login := forms(t, &sent, func(int) *http.Response {
			r := refusal("expired authorization code", time.Time{})
			r.Header.Set("Date", date)
			return r
		})
		c, err := jwtFlow().Authenticate(context.Background(), login)
		if loginError(t, c, err); len(sent) > 2 {
			t.Errorf("%s: %d requests", date, len(sent))
		}
	}
}

// TestWhatAServerWritesStaysOnOneLine: a log must not be written by whoever answers.
func TestWhatAServerWritesStaysOnOneLine(t *testing.T) {
	body, _ := json.Marshal(map[string]string{"error": "a\nlevel=ERROR\x1b[31m", "error_description": "b\r\nc\u0085d\x00\x1b]0;x\a"})
	for name, flow := range flows() {
		reply := string(body)
		if name == "soap" {
			reply = soapFault("a\nb", "c\nd", "E\n_F&#10;", "g&#13;&#10;h&#133;")
		}
		login := always(400, reply)
		login.URL = flow.url
		c, err := flow.auth.Authenticate(context.Background(), login)
		if e := loginError(t, c, err); strings.ContainsAny(e.Error()+e.Code, "\n\r\x00\x1b\a\u0085") {
			t.Errorf("%s: %q", name, e.Error())
		}
	}
}

// TestASecretAsACodeIsNotShown: the code of a SOAP fault is cut out of a text that the server
// wrote.
func TestASecretAsACodeIsNotShown(t *testing.T) {
	for _, fault := range []string{
		soapFault("sf:"+securityToken, "x", "", ""),
		soapFault("x", "x", "sf:"+securityToken, "x"),
		soapFault("x", "x", "x:marker pass&amp;word/+%", "x"),
		soapReply("passwordExpired", "true", "sessionId", accessToken, "serverUrl", "https://"+accessToken),
		strings.Replace(soapFault("x", accessToken, "", ""), "<soapenv:Fault>", "<loginResponse><result><sessionId>"+accessToken+"</sessionId></result></loginResponse><soapenv:Fault>", 1),
	} {
		c, err := soapFlow().Authenticate(context.Background(), always(500, fault))
		loginError(t, c, err)
	}
}

// TestASecretInQuotesIsNotShown: net/http quotes with %q the part of a reply that it cannot read,
// which may echo the request.
func TestASecretInQuotesIsNotShown(t *testing.T) {
	const secret = `marker"\<é\t`
	for _, a := range []authenticator.Authenticator{
		authenticator.ClientCredentials{ConsumerKey: "key", ConsumerSecret: secret},
		&authenticator.RefreshToken{ConsumerKey: "key", RefreshToken: secret},
		authenticator.Password{ConsumerKey: "key", ConsumerSecret: "x", Username: "u", Password: secret, SecurityToken: "y"},
		authenticator.SOAP{Username: "u", Password: secret},
	} {
		c, err := a.Authenticate(context.Background(), authenticator.Login{URL: instance, HTTPClient: inMemory(func(*http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("malformed HTTP response %q", "HTTP/1.1 "+secret)
		}).HTTPClient})
		if e := loginError(t, c, err); !strings.Contains(e.Error(), `"HTTP/1.1 [redacted]"`) {
			t.Errorf("got %v", e)
		}
	}
}

// TestFlowsServeSeveralGoroutines is for the race detector.
func TestFlowsServeSeveralGoroutines(t *testing.T) {
	for name, flow := range flows() {
		login := always(200, tokenReply())
		if name == "soap" {
			login = always(200, soapReply())
		}
		login.URL = flow.url
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if _, err := flow.auth.Authenticate(context.Background(), login); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		all.Wait()
	}
}

// TestOneLoginIsOneRequestWhateverIsRefused: there are no others than the two answers after which
// JWTBearer sends another assertion.
func TestOneLoginIsOneRequestWhateverIsRefused(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404, 407, 408, 410, 418, 429, 451, 500, 502, 503, 504} {
		for name, flow := range flows() {
			requests := 0
			login := inMemory(func(*http.Request) (*http.Response, error) {
				requests++
				return response(status, `{"error":"never_heard_of","error_description":"unknown"}`), nil
			})
			login.URL = flow.url
			c, err := flow.auth.Authenticate(context.Background(), login)
			e := loginError(t, c, err)
			if final := status < 500 && status != 408 && status != 429; requests != 1 || authenticator.Permanent(e) != final {
				t.Errorf("%s: %d requests, permanent %v: %v", name, requests, authenticator.Permanent(e), e)
			}
		}
	}
}
