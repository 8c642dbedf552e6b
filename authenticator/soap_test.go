package authenticator_test

import (
	"context"
	"encoding/xml"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sfstream/sfstream-go/authenticator"
)

func TestSOAPFaults(t *testing.T) {
	for name, test := range map[string]struct {
		status    int
		fault     string
		code      string
		says      string
		permanent bool
	}{
		"wrong password":         {500, soapFault("INVALID_LOGIN", invalidLogin, "INVALID_LOGIN", "Invalid username, password, security token; or user locked out."), "INVALID_LOGIN", "check username, password and security token", true},
		"with a prefix":          {500, soapFault("sf:INVALID_LOGIN", invalidLogin, "sf:INVALID_LOGIN", "x"), "INVALID_LOGIN", "check username", true},
		"without a detail":       {500, soapFault("sf:INVALID_LOGIN", invalidLogin, "", ""), "INVALID_LOGIN", "check username", true},
		"code in the text":       {500, soapFault("soapenv:Server", invalidLogin, "", ""), "INVALID_LOGIN", "check username", true},
		"with status 200":        {200, soapFault("INVALID_LOGIN", invalidLogin, "INVALID_LOGIN", "x"), "INVALID_LOGIN", "check username", true},
		"no security token":      {500, soapFault("x", "x", "LOGIN_MUST_USE_SECURITY_TOKEN", "x"), "LOGIN_MUST_USE_SECURITY_TOKEN", "set SecurityToken", true},
		"no API":                 {500, soapFault("x", "x", "API_DISABLED_FOR_ORG", "x"), "API_DISABLED_FOR_ORG", "API Enabled", true},
		"retired version":        {500, soapFault("x", "x", "UNSUPPORTED_API_VERSION", "x"), "UNSUPPORTED_API_VERSION", "from 31.0 to 64.0", true},
		"login disabled":         {500, soapFault("x", "x", "INVALID_OPERATION", "x"), "INVALID_OPERATION", "does not allow SOAP login", true},
		"no permission":          {500, soapFault("x", "x", "INSUFFICIENT_ACCESS", "x"), "INSUFFICIENT_ACCESS", "Use Any API Auth", true},
		"locked out":             {500, soapFault("x", "x", "PASSWORD_LOCKOUT", "x"), "PASSWORD_LOCKOUT", "unlock", true},
		"an unknown one":         {500, soapFault("x", "x", "NEVER_HEARD_OF", "x"), "NEVER_HEARD_OF", "NEVER_HEARD_OF", true},
		"our mistake":            {500, soapFault("soapenv:Client", "x", "", ""), "Client", "Client", true},
		"server unavailable":     {500, soapFault("x", "x", "SERVER_UNAVAILABLE", "x"), "SERVER_UNAVAILABLE", "HTTP 500", false},
		"request limit":          {500, soapFault("x", "x", "REQUEST_LIMIT_EXCEEDED", "x"), "REQUEST_LIMIT_EXCEEDED", "wait", false},
		"login rate":             {500, soapFault("x", "x", "LOGIN_RATE_EXCEEDED", "x"), "LOGIN_RATE_EXCEEDED", "wait", false},
		"unknown exception":      {500, soapFault("x", "x", "UNKNOWN_EXCEPTION", "x"), "UNKNOWN_EXCEPTION", "HTTP 500", false},
		"a fault of the server":  {500, soapFault("soapenv:Server", "x", "", ""), "Server", "HTTP 500", false},
		"unknown with 503":       {503, soapFault("x", "x", "NEVER_HEARD_OF", "x"), "NEVER_HEARD_OF", "HTTP 503", false},
		"unknown with 429":       {429, soapFault("x", "x", "NEVER_HEARD_OF", "x"), "NEVER_HEARD_OF", "HTTP 429", false},
		"it quotes the password": {500, soapFault("x", "x", "X_Y", "you sent marker pass&amp;word/+%marker-security-token\nso"), "X_Y", "you sent [redacted] so", true},
		"it quotes the request":  {500, soapFault("x", "x", "X_Y", "you sent marker pass&amp;amp;word/+%marker-security-token"), "X_Y", "you sent [redacted]", true},
		"expired password":       {200, soapReply("passwordExpired", "true"), "password_expired", "set a new password", true},
		"truncated":              {200, soapReply()[:300], "malformed_reply", "breaks off", false},
		"truncated fault":        {500, soapFault("x", "x", "x", "x")[:200], "malformed_reply", "breaks off", false},
		"no session":             {200, soapReply("sessionId", ""), "incomplete_reply", "sessionId", false},
		"no server":              {200, soapReply("serverUrl", ""), "incomplete_reply", "serverUrl", false},
		"clear server":           {200, soapReply("serverUrl", "http://acme.my.salesforce.com/"), "incomplete_reply", "serverUrl must be https", false},
		"no org":                 {200, soapReply("organizationId", ""), "incomplete_reply", "organizationId", false},
		"another org":            {200, soapReply("organizationId", "001000000000001AAA"), "incomplete_reply", "begin with 00D", false},
		"an empty envelope":      {200, "<Envelope/>", "incomplete_reply", "lacks", false},
		"a page of XML":          {200, `<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"/>`, "html_reply", "maintenance", false},
		"another encoding":       {200, strings.Replace(soapReply(), "UTF-8", "EBCDIC", 1), "malformed_reply", "not well-formed", false},
		"entities":               {200, `<!DOCTYPE x [<!ENTITY a "b">]><Envelope><Body>&a;</Body></Envelope>`, "malformed_reply", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := soapFlow().Authenticate(context.Background(), always(test.status, test.fault))
			e := loginError(t, c, err)
			if e.Flow != "soap" || e.Code != test.code || e.StatusCode != test.status || !strings.Contains(e.Error(), test.says) || authenticator.Permanent(e) != test.permanent {
				t.Errorf("permanent %v, %v: %#v", authenticator.Permanent(e), e, e)
			}
		})
	}
}

func TestSOAPRequest(t *testing.T) {
	for version, want := range map[string]string{"": "64.0", "64.0": "64.0", "55.0": "55.0"} {
		f := soapFlow()
		f.Username, f.Password, f.APIVersion = "<u>&]]>", "a\"'<\t&#10;é\n", version
		got := mustLogin(t, f, inMemory(func(r *http.Request) (*http.Response, error) {
			if r.Method != "POST" || r.URL.String() != "https://login.salesforce.com/services/Soap/u/"+want+"/" {
				t.Errorf("%s %s", r.Method, r.URL)
			}
			var call struct {
				Username string `xml:"Body>login>username"`
				Password string `xml:"Body>login>password"`
			}
			body, _ := io.ReadAll(r.Body)
			if err := xml.Unmarshal(body, &call); err != nil || call.Username != f.Username || call.Password != f.Password+securityToken {
				t.Errorf("%v: sent %s", err, body)
			}
			return response(200, soapReply()), nil
		}))
		if *got != (authenticator.Credentials{AccessToken: accessToken, TokenType: "Bearer", InstanceURL: instance, OrgID: orgID, UserID: userID}) {
			t.Errorf("got %v", got)
		}
	}
}

func TestSOAPRefusesWhatCannotWork(t *testing.T) {
	for want, change := range map[string]func(*authenticator.SOAP){
		"APIVersion 65.0 has no login call: 64.0 is the last": func(s *authenticator.SOAP) { s.APIVersion = "65.0" },
		"APIVersion 100.0":                  func(s *authenticator.SOAP) { s.APIVersion = "100.0" },
		"must be written as":                func(s *authenticator.SOAP) { s.APIVersion = "v64" },
		"APIVersion must be written":        func(s *authenticator.SOAP) { s.APIVersion = "64.0/../../x" },
		"a character that XML cannot carry": func(s *authenticator.SOAP) { s.Password = "marker\x00" },
		"Password or SecurityToken holds a": func(s *authenticator.SOAP) { s.SecurityToken = "marker\xff" },
		"missing: Username, Password":       func(s *authenticator.SOAP) { s.Username, s.Password = "", "" },
	} {
		f := soapFlow()
		change(&f)
		c, err := f.Authenticate(context.Background(), inMemory(func(*http.Request) (*http.Response, error) {
			t.Error("a request was sent")
			return response(200, soapReply()), nil
		}))
		if e := loginError(t, c, err); e.Code != "invalid_config" || !strings.Contains(e.Error(), want) || !authenticator.Permanent(e) {
			t.Errorf("got %v, want %s", e, want)
		}
	}
}
