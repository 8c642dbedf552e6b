package rest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// The token stays at home: these tests see every request that a client sends, to whichever host.

func TestRequestsGoBelowTheInstance(t *testing.T) {
	for _, row := range []struct{ url, want string }{
		{"limits", below + "limits"},
		{"query?q=SELECT+Id+FROM+Account+WHERE+Name+%3D+%27a%26b%27", below + "query?q=SELECT+Id+FROM+Account+WHERE+Name+%3D+%27a%26b%27"},
		{"sobjects/Account/Ext__c/a%2Fb%20c", below + "sobjects/Account/Ext__c/a%2Fb%20c"},
		{"sobjects/Account/Ext__c/a:b", below + "sobjects/Account/Ext__c/a:b"},
		{"sobjects/Account/Ext__c/a..b", below + "sobjects/Account/Ext__c/a..b"},
		{`sobjects/Account/Ext__c/a\b`, below + "sobjects/Account/Ext__c/a%5Cb"},
		{"sobjects/", below + "sobjects/"},
		{"?", below + "?"},
		{"", below},
		{"limits#part", below + "limits"},
		{"/services/apexrest/Order?x=1", "/services/apexrest/Order?x=1"},
		{"/services/data/v50.0/limits", "/services/data/v50.0/limits"},
		{"/", "/"},
		{instance + "/services/data/v50.0/limits?x", "/services/data/v50.0/limits?x"},
		{"HTTPS://ACME.my.salesforce.com:443/x", "/x"},
		{"http%3A//evil.example", below + "http%3A//evil.example"},
	} {
		o := newOrg(fine)
		c := o.open(t)
		req := newRequest(t, "GET", row.url, "")
		if _, _, err := do(c, req); err != nil {
			t.Errorf("%q: %v", row.url, err)
			continue
		}
		got := o.seen()[0]
		if got.url != instance+row.want || got.host != "" || got.auth != "Bearer "+token(1) {
			t.Errorf("%q went to %s (Host %q, %s), want %s", row.url, got.url, got.host, got.auth, row.want)
		}
	}
}

func TestWithAPIVersionIsThatOfREST(t *testing.T) {
	o := newOrg(fine)
	c := o.open(t, sfstream.WithAPIVersion("62.0"))
	_, _, err := do(c, newRequest(t, "GET", "limits", ""))
	lab.Must(t, err)
	if got := o.seen()[0].url; got != instance+"/services/data/v62.0/limits" || o.versions != 0 {
		t.Errorf("it went to %s, after %d questions for versions", got, o.versions)
	}
}

func TestARequestForElsewhereIsRefused(t *testing.T) {
	with := func(change func(u *url.URL)) *http.Request {
		req := newRequest(t, "GET", "limits", "")
		change(req.URL)
		return req
	}
	host := newRequest(t, "GET", "/limits", "")
	host.Host = "evil.example"
	connect := newRequest(t, "GET", "/limits", "")
	connect.Method = http.MethodConnect
	forwarded := newRequest(t, "GET", "/limits", "")
	forwarded.RequestURI = "/limits"
	requests := []*http.Request{
		host, connect, forwarded, nil, {Method: "GET"},
		with(func(u *url.URL) { *u = url.URL{Path: "//evil.example/x"} }),
		with(func(u *url.URL) { *u = url.URL{Path: `/\evil.example/x`} }),
		with(func(u *url.URL) { *u = url.URL{Path: `\\evil.example/x`} }),
		with(func(u *url.URL) { *u = url.URL{Host: "acme.my.salesforce.com", Path: "/x"} }),
		with(func(u *url.URL) { *u = url.URL{Scheme: "https", Opaque: "//evil.example/x"} }),
		with(func(u *url.URL) { *u = url.URL{User: url.UserPassword("u", "planted-password"), Path: "x"} }),
	}
	for _, u := range []string{
		"https://evil.example/x?q=planted-query", "//evil.example/x", "https://acme.my.salesforce.com.evil.example/", "https://my.salesforce.com/",
		"https://evil.acme.my.salesforce.com/", "http://acme.my.salesforce.com/", "http://acme.my.salesforce.com:443/", "https://acme.my.salesforce.com:8443/",
		"https://acme.my.salesforce.com@evil.example/", "https://u:planted-password@acme.my.salesforce.com/", "https://acme.my.salesforce.com./",
		"https:limits", "http:limits", "https:/limits", "https:///limits", "ftp://acme.my.salesforce.com/", "javascript:x", "file:///etc/passwd",
		"../../../x", "sobjects/../../../x", "sobjects/%2e%2e/x", "sobjects/.%2E/%2e", `..\x`, `sobjects/..\..\x`, "sobjects/x%2F..%2Fy", "/services/../x", "/a/./b", "..",
	} {
		requests = append(requests, newRequest(t, "POST", u, "body"))
	}
	o := newOrg(fine)
	var log lab.Log
	c := o.open(t, sfstream.WithLogger(log.Logger()))
	for _, req := range requests {
		about := "nil"
		closed := false
		if req != nil {
			about = fmt.Sprintf("%s (Host %q)", req.URL, req.Host)
			req.Body = closeNoter{strings.NewReader(""), &closed}
		}
		_, _, err := do(c, req)
		if !errors.Is(err, sfstream.ErrInvalidOption) || strings.Contains(fmt.Sprint(err), "planted") || strings.Contains(fmt.Sprint(err), "\n") {
			t.Errorf("%s: %v", about, err)
		}
		if req != nil && req.URL != nil && !closed {
			t.Errorf("%s: the body is open", about)
		}
	}
	if n := len(o.seen()) + o.versions; n > 0 {
		t.Errorf("%d requests were sent: %v", n, o.seen())
	}
	if strings.Contains(log.String(), "planted") {
		t.Errorf("the log has a secret: %s", &log)
	}
}

type closeNoter struct {
	io.Reader
	closed *bool
}

func (c closeNoter) Close() error { *c.closed = true; return nil }

func TestRedirectsLeadNowhereElse(t *testing.T) {
	for _, to := range []string{
		"https://evil.example/x", "//evil.example/x", "http://acme.my.salesforce.com/x", "https://acme.my.salesforce.com:8443/x", "https://evil.acme.my.salesforce.com/x",
		"https://my.salesforce.com/x", "https://acme.my.salesforce.com@evil.example/x", "https://login.salesforce.com/?ec=302&startURL=%2Fx",
	} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			for _, method := range []string{"GET", "POST"} {
				synctest.Test(t, func(t *testing.T) {
					o := newOrg(reply(status, "", "Location", to))
					c := o.open(t)
					_, _, err := do(c, newRequest(t, method, "/x?planted-query", "body"))
					e := lab.ExpectError[*sfstream.ServerError](t, err)
					if e.API != "rest" || e.Channel != "" || strings.Contains(fmt.Sprintf("%v %+v", err, err), "planted") {
						t.Errorf("%d to %s: %v", status, to, err)
					}
					for _, got := range o.seen() {
						if !strings.HasPrefix(got.url, instance+"/") {
							t.Errorf("%d to %s: %+v", status, to, got)
						}
					}
				})
			}
		}
	}
}

func TestRedirectsWithinTheInstanceAreFollowed(t *testing.T) {
	for _, row := range []struct {
		method string
		status int
		follow bool
	}{
		{"GET", 301, true}, {"GET", 302, true}, {"GET", 303, true}, {"GET", 307, true}, {"HEAD", 308, true}, {"POST", 307, true}, {"PATCH", 308, true},
		{"POST", 301, false}, {"POST", 302, false}, {"POST", 303, false}, {"DELETE", 303, false},
	} {
		o := newOrg(reply(row.status, "", "Location", "/y"), fine)
		c := o.open(t)
		req := newRequest(t, row.method, "/x", "")
		if row.method == "POST" || row.method == "PATCH" {
			req = newRequest(t, row.method, "/x", "the body")
		}
		req.Method = strings.TrimPrefix(req.Method, "GET") // "" means GET
		_, _, err := do(c, req)
		seen := o.seen()
		if row.follow != (err == nil) || row.follow != (len(seen) == 2) {
			t.Errorf("%s %d: %v, %v", row.method, row.status, err, seen)
			continue
		}
		if last := seen[len(seen)-1]; row.follow && (last.url != instance+"/y" || last.auth != "Bearer "+token(1) || last.method != row.method || last.body != seen[0].body) {
			t.Errorf("%s %d: %+v", row.method, row.status, last)
		}
	}
	o := newOrg(reply(302, "", "Location", "/x"))
	_, _, err := do(o.open(t), newRequest(t, "GET", "/x", ""))
	if lab.ExpectError[*sfstream.ServerError](t, err); len(o.seen()) > 10 {
		t.Errorf("%d redirects", len(o.seen()))
	}
}

func TestTheRequestIsNotChanged(t *testing.T) {
	o := newOrg(expired, fine)
	c := o.open(t)
	req := newRequest(t, "PATCH", "sobjects/Account/001", "body")
	req.Header.Set("Authorization", "Bearer the-program's-own")
	req.Header["authorization"] = []string{"Bearer the-program's-own"}
	req.Header.Set("X-Mine", "1")
	before := fmt.Sprint(req.URL, req.Host, req.Header, req.Method, req.ContentLength)
	resp, err := c.Do(req)
	lab.Must(t, err)
	lab.Must(t, resp.Body.Close())
	if after := fmt.Sprint(req.URL, req.Host, req.Header, req.Method, req.ContentLength); after != before {
		t.Errorf("it is %s, was %s", after, before)
	}
	for i, got := range o.seen() {
		if got.auth != "Bearer "+token(i+1) || got.auths != 1 {
			t.Errorf("sent with %s", got.auth)
		}
	}
	if shown := fmt.Sprintf("%+v %v", resp.Request, resp.Request.Header); strings.Contains(shown, "planted") {
		t.Errorf("the answer's request shows the token: %s", shown)
	}
}

// TestNoSecretShows has servers that repeat all that they were sent.
func TestNoSecretShows(t *testing.T) {
	for _, form := range []string{`[{"errorCode":"E","message":%q,"fields":[%[1]q]}]`, `{"error":%q,"error_description":%[1]q}`, "<html><title>%s</title>", "%s", `[{"errorCode":%q}]`} {
		for _, status := range []int{300, 401, 403, 404, 500, 503} {
			synctest.Test(t, func(t *testing.T) {
				o := newOrg(func(r *http.Request) (*http.Response, error) {
					all := r.Header.Get("Authorization") + " " + url.QueryEscape(r.Header.Get("Authorization")) + " " + r.URL.String()
					return response(status, fmt.Sprintf(form, all)), nil
				})
				var log bytes.Buffer
				c := o.open(t, sfstream.WithLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
				_, _, err := do(c, newRequest(t, "GET", "query?q=x", ""))
				e := lab.ExpectError[*sfstream.ServerError](t, err)
				if shown := fmt.Sprintf("%v %+v %#v %v %v", err, err, *e, errors.Unwrap(err), log.String()); strings.Contains(shown, "planted-secret") {
					t.Errorf("HTTP %d, %s: %s", status, form, shown)
				}
			})
		}
	}
	// Nor does net/http show what it cannot read: a broken redirect, or a header that is none.
	for _, answer := range []func(r *http.Request) (*http.Response, error){
		func(r *http.Request) (*http.Response, error) {
			return response(302, "", "Location", "https://x:y/frontdoor.jsp?sid=planted-secret&to="+r.Header.Get("Authorization")), nil
		},
		func(r *http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("malformed MIME header: missing colon: %q", r.Header.Get("Authorization"))
		},
	} {
		_, _, err := do(newOrg(answer).open(t), newRequest(t, "POST", "x", ""))
		for lab.ExpectError[*sfstream.ServerError](t, err); err != nil; err = errors.Unwrap(err) {
			if strings.Contains(fmt.Sprintf("%v %+v", err, err), "planted") {
				t.Errorf("%v", err)
			}
		}
	}
	// Errors of net/http have the URL.
	o := newOrg(broken)
	_, _, err := do(o.open(t), newRequest(t, "POST", "query?q=planted-query", ""))
	for ; err != nil; err = errors.Unwrap(err) {
		if strings.Contains(fmt.Sprintf("%v %+v", err, err), "planted") {
			t.Errorf("%v", err)
		}
	}
}

// TestOverTheNetwork: two servers, of which one is not the instance, and hears nothing.
func TestOverTheNetwork(t *testing.T) {
	var heard []string
	evil := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		heard = append(heard, fmt.Sprint(r.Method, r.URL, r.Header))
	}))
	defer evil.Close()
	home := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, evil.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	defer home.Close()
	c := openWith(t, authenticator.Static{AccessToken: token(1), InstanceURL: home.URL, OrgID: "00D000000000001AAA"}, sfstream.WithLoginURL(home.URL))
	for _, to := range []string{"/x", home.URL + "/x", evil.URL + "/x", "//" + mustURL(t, evil.URL).Host + "/x", "/services/data/v62.0/limits"} {
		for _, method := range []string{"GET", "POST"} {
			start := time.Now()
			if _, _, err := do(c, newRequest(t, method, to, "body")); err == nil {
				t.Errorf("%s %s is answered", method, to)
			}
			if time.Since(start) > 10*time.Second {
				t.Errorf("%s %s took %v", method, to, time.Since(start))
			}
		}
	}
	if len(heard) > 0 {
		t.Errorf("the other server heard %q", heard)
	}
}
