package rest

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// TestWhatIsRepeated: of each failure, with which methods and bodies Do sends a request again.
func TestWhatIsRepeated(t *testing.T) {
	unsent := func(*http.Request) (*http.Response, error) {
		return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	}
	reset := func(*http.Request) (*http.Response, error) {
		return nil, &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}
	}
	const (
		all        = "GET HEAD PUT DELETE OPTIONS POST PATCH"
		idempotent = "GET HEAD PUT DELETE OPTIONS"
	)
	for _, row := range []struct {
		failure string
		answer  func(*http.Request) (*http.Response, error)
		url     string
		methods string // that are sent again
	}{
		{"an expired token", expired, "x", all},
		{"an expired token, Apex", expired, "/services/apexrest/x", all},
		{"an expired token, identity", reply(403, "Bad_OAuth_Token"), "/services/oauth2/userinfo", all},
		{"an expired token, Bulk", reply(400, `{"exceptionCode":"InvalidSessionId","exceptionMessage":"m"}`), "/services/async/62.0/job", all},
		{"an expired token, Bulk, XML", reply(400, `<?xml version="1.0" encoding="UTF-8"?><error xmlns="http://www.force.com/2009/06/asyncapi/dataload"><exceptionCode>InvalidSessionId</exceptionCode><exceptionMessage>m</exceptionMessage></error>`), "/services/async/62.0/job", all},
		{"a token that a proxy does not take", reply(401, "<html>proxy</html>"), "x", ""},
		{"a locked row", locked, "x", all},
		{"a locked row, version in the path", locked, "/services/data/v50.0/x", all},
		{"a locked row, whole URL", locked, instance + "/services/data/v50.0/x", all},
		{"a locked row, said by Apex", locked, "/services/apexrest/x", idempotent},
		{"a locked row in a tree", reply(400, `{"hasErrors":true,"results":[{"referenceId":"r","errors":[{"statusCode":"UNABLE_TO_LOCK_ROW","message":"m","fields":[]}]}]}`), "x", all},
		{"a locked row in one of two actions", reply(400, `[{"isSuccess":true},{"isSuccess":false,"errors":[{"statusCode":"UNABLE_TO_LOCK_ROW","message":"m"}]}]`), "actions/custom/apex/Mail", idempotent},
		{"too busy", refuse(503, "SERVER_UNAVAILABLE"), "x", idempotent},
		{"a proxy's 503", reply(503, "<html>upstream connect error or disconnect/reset</html>"), "x", idempotent},
		{"a proxy's 502", reply(502, ""), "x", idempotent},
		{"a proxy's 504", reply(504, ""), "x", idempotent},
		{"a limit", refuse(403, "REQUEST_LIMIT_EXCEEDED"), "x", ""},
		{"a limit, said with 503", refuse(503, "REQUEST_LIMIT_EXCEEDED"), "x", ""},
		{"429", reply(429, ""), "x", ""},
		{"500", refuse(500, "UNKNOWN_EXCEPTION"), "x", ""},
		{"400", refuse(400, "MALFORMED_QUERY"), "x", ""},
		{"404", refuse(404, "NOT_FOUND"), "x", ""},
		{"no connection", unsent, "x", all},
		{"a broken connection", reset, "x", idempotent},
		{"an end in the answer", broken, "x", idempotent},
		{"an error that is not the network's", func(*http.Request) (*http.Response, error) { return nil, errors.New("boom") }, "x", ""},
	} {
		for _, method := range strings.Fields(all) {
			for _, body := range []string{"none", "got again", "once"} {
				want := strings.Contains(row.methods, method) && body != "once"
				synctest.Test(t, func(t *testing.T) {
					o := newOrg(row.answer, fine)
					c := o.open(t, constant())
					req := newRequest(t, method, row.url, "")
					switch body {
					case "got again":
						req = newRequest(t, method, row.url, "the body")
					case "once":
						req = once(t, method, row.url, "the body")
					}
					_, _, err := do(c, req)
					seen := o.seen()
					if (err == nil) != want || (len(seen) == 2) != want || len(seen) > 2 {
						t.Errorf("%s, %s, body %s: sent %d times, %v", row.failure, method, body, len(seen), err)
					}
					for _, got := range seen {
						if got.body != seen[0].body || (body != "none") != (got.body == "the body") {
							t.Errorf("%s, %s, body %s: sent %q", row.failure, method, body, got.body)
						}
					}
				})
			}
		}
	}
}

// TestNothingIsDoneTwice: the org has carried a request out, and its answer is lost.
func TestNothingIsDoneTwice(t *testing.T) {
	for _, fault := range []sfstreamtest.RESTFault{
		{Done: true}, {Done: true, Status: 502}, {Done: true, Status: 503}, {Done: true, Status: 503, RetryAfter: "1"}, {Done: true, Status: 504}, {Done: true, Code: "SERVER_UNAVAILABLE"},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := lab.New(t)
			c := l.FollowFromOldest(constant())
			post := func() error {
				_, _, err := do(c, newRequest(t, "POST", "sobjects/Order__e", `{"N__c": 1}`))
				return err
			}
			fault.Method = "POST"
			l.FailRESTRequest(fault)
			if e := lab.ExpectError[*sfstream.ServerError](t, post()); e.API != "rest" {
				t.Errorf("%+v: %v", fault, e)
			}
			l.Receive()
			l.ExpectQuiet(time.Minute)

			l.FailREST(1, "UNABLE_TO_LOCK_ROW") // which has not been carried out
			lab.Must(t, post())
			l.FailREST(1, "INVALID_SESSION_ID")
			lab.Must(t, post())
			l.Receive()
			l.Receive()
			l.ExpectQuiet(time.Minute)
		})
	}
}

// TestAGetThatRunsApexIsNotRepeated: executeAnonymous changes what its Apex changes, though it is a
// GET.
func TestAGetThatRunsApexIsNotRepeated(t *testing.T) {
	for path, want := range map[string]int{
		"tooling/executeAnonymous/?anonymousBody=insert+new+Account();": 1,
		"/services/data/v68.0/tooling/executeanonymous?anonymousBody=x": 1,
		"tooling/runTestsSynchronous/?classnames=X":                     1,
		"tooling/runTestsAsynchronous?classids=01p":                     1,
		"tooling/query/?q=SELECT+Id+FROM+ApexClass":                     2,
	} {
		for _, lost := range []func(*http.Request) (*http.Response, error){broken, reply(502, "")} {
			synctest.Test(t, func(t *testing.T) {
				o := newOrg(lost, fine)
				_, _, err := do(o.open(t, constant()), newRequest(t, "GET", path, ""))
				if n := len(o.seen()); n != want || (err == nil) != (want > 1) {
					t.Errorf("%s: sent %d times, %v", path, n, err)
				}
			})
		}
	}
}

func TestWaitsBetweenRepetitions(t *testing.T) {
	busy := refuse(503, "SERVER_UNAVAILABLE")
	for _, row := range []struct {
		name    string
		answers []func(*http.Request) (*http.Response, error)
		policy  func() backoff.BackOff
		want    []time.Duration // the waits before the second and further attempts
		ends    bool            // in an error
	}{
		{"five repetitions", []func(*http.Request) (*http.Response, error){busy},
			func() backoff.BackOff { return backoff.NewConstantBackOff(3 * time.Second) }, []time.Duration{3e9, 3e9, 3e9, 3e9, 3e9}, true},
		{"within a minute", []func(*http.Request) (*http.Response, error){busy},
			func() backoff.BackOff { return backoff.NewConstantBackOff(25 * time.Second) }, []time.Duration{25e9, 25e9}, true},
		{"the policy's end", []func(*http.Request) (*http.Response, error){busy},
			func() backoff.BackOff { return backoff.WithMaxRetries(backoff.NewConstantBackOff(time.Second), 2) }, []time.Duration{1e9, 1e9}, true},
		{"no storm", []func(*http.Request) (*http.Response, error){busy, fine},
			func() backoff.BackOff { return &backoff.ZeroBackOff{} }, []time.Duration{50e6}, false},
		{"what Salesforce asks for", []func(*http.Request) (*http.Response, error){refuse(503, "SERVER_UNAVAILABLE", "Retry-After", "20"), fine},
			func() backoff.BackOff { return backoff.NewConstantBackOff(time.Second) }, []time.Duration{20e9}, false},
		{"longer than Do waits", []func(*http.Request) (*http.Response, error){refuse(503, "SERVER_UNAVAILABLE", "Retry-After", "300"), fine},
			func() backoff.BackOff { return backoff.NewConstantBackOff(time.Second) }, nil, true},
		{"longer than anybody waits", []func(*http.Request) (*http.Response, error){refuse(503, "SERVER_UNAVAILABLE", "Retry-After", "99999999999999999999"), fine},
			func() backoff.BackOff { return backoff.NewConstantBackOff(time.Second) }, nil, true},
		{"a date that nobody lives to see", []func(*http.Request) (*http.Response, error){
			refuse(503, "SERVER_UNAVAILABLE", "Date", "Fri, 27 Nov 2026 10:00:00 GMT", "Retry-After", "Fri, 31 Dec 9999 10:00:30 GMT"), fine},
			func() backoff.BackOff { return backoff.NewConstantBackOff(time.Second) }, nil, true},
		{"a date", []func(*http.Request) (*http.Response, error){
			refuse(503, "SERVER_UNAVAILABLE", "Date", "Fri, 27 Nov 2026 10:00:00 GMT", "Retry-After", "Fri, 27 Nov 2026 10:00:30 GMT"), fine},
			func() backoff.BackOff { return backoff.NewConstantBackOff(time.Second) }, []time.Duration{30e9}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := newOrg(row.answers...)
			c := o.open(t, sfstream.WithBackOff(row.policy))
			_, _, err := do(c, newRequest(t, "GET", "limits", ""))
			seen := o.seen()
			if (err != nil) != row.ends || len(seen)-1 != len(row.want) {
				t.Fatalf("%s: %d attempts, %v", row.name, len(seen), err)
			}
			for i, want := range row.want {
				// What a server asks for is lengthened by up to a half.
				if wait := seen[i+1].at.Sub(seen[i].at); wait < want || wait > want+want/2 {
					t.Errorf("%s: wait %d is %v, want %v", row.name, i, wait, want)
				}
			}
		})
	}
}

func TestContextAndCloseEndAWait(t *testing.T) {
	for _, by := range []string{"ctx", "deadline", "close"} {
		synctest.Test(t, func(t *testing.T) {
			o := newOrg(refuse(503, "SERVER_UNAVAILABLE"))
			c := o.open(t, sfstream.WithBackOff(func() backoff.BackOff { return backoff.NewConstantBackOff(20 * time.Second) }))
			ctx, cancel := context.WithCancel(t.Context())
			want := context.Canceled
			switch by {
			case "ctx":
				time.AfterFunc(5*time.Second, cancel)
			case "deadline":
				want = context.DeadlineExceeded
				ctx, cancel = context.WithTimeout(t.Context(), 5*time.Second)
			case "close":
				want = sfstream.ErrClosed
				time.AfterFunc(5*time.Second, func() { _ = c.Close() })
			}
			defer cancel()
			start := time.Now()
			_, _, err := do(c, newRequest(t, "GET", "limits", "").WithContext(ctx))
			if !errors.Is(err, want) || time.Since(start) != 5*time.Second {
				t.Errorf("%s: %v after %v", by, err, time.Since(start))
			}
			var server *sfstream.ServerError
			if by != "close" && !errors.As(err, &server) { // what was waited for
				t.Errorf("%s: %v", by, err)
			}
		})
	}
}

// TestRequestsShareANewLogin: many requests find at once that the token is no good any more.
func TestRequestsShareANewLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrg()
		o.answer = func(r *http.Request, _ int) (*http.Response, error) {
			time.Sleep(time.Second)
			if r.Header.Get("Authorization") == "Bearer "+token(1) {
				return expired(r)
			}
			return fine(r)
		}
		c := o.open(t)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if _, body, err := do(c, newRequest(t, "POST", "sobjects/Account", "body")); err != nil || body != `{"fine":true}` {
					t.Errorf("%s, %v", body, err)
				}
			})
		}
		wg.Wait()
		if o.loginCount() != 2 || len(o.seen()) != 100 || o.versions != 1 {
			t.Errorf("%d logins, %d requests, %d questions for the version", o.loginCount(), len(o.seen()), o.versions)
		}
	})
}

// TestLoginsInVainAreFew: Salesforce takes no token for REST, whatever the logins say.
func TestLoginsInVainAreFew(t *testing.T) {
	for _, same := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			o := newOrg(expired)
			auth := o.authenticator()
			if same {
				auth = lab.CredentialsOf(auth, func(c *authenticator.Credentials) { c.AccessToken = token(1) })
			}
			c := openWith(t, auth, sfstream.WithHTTPClient(&http.Client{Transport: o}))
			start := time.Now()
			for time.Since(start) < time.Hour {
				_, _, err := do(c, newRequest(t, "GET", "limits", ""))
				if e := lab.ExpectError[*sfstream.ServerError](t, err); e.Code != sfstream.Unauthenticated || e.Reason != "INVALID_SESSION_ID" {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
			}
			if n := o.loginCount(); n > 1+2*7 || n < 6 || c.Err() != nil {
				t.Errorf("%d logins in an hour, %v", n, c.Err())
			}
		})
	}
}

// TestAfterABodyThatCannotBeSentAgain: the token is dropped all the same, for the next request.
func TestAfterABodyThatCannotBeSentAgain(t *testing.T) {
	o := newOrg(expired, fine)
	c := o.open(t)
	_, _, err := do(c, once(t, "POST", "sobjects/Account", "body"))
	lab.ExpectError[*sfstream.ServerError](t, err)
	if _, _, err := do(c, once(t, "POST", "sobjects/Account", "body")); err != nil || len(o.seen()) != 2 || o.loginCount() != 2 {
		t.Errorf("%v, %d requests, %d logins", err, len(o.seen()), o.loginCount())
	}
}

func TestATokenFromElsewhereIsNotReplaced(t *testing.T) {
	o := newOrg(expired)
	c := openWith(t, authenticator.Static{AccessToken: token(1), InstanceURL: instance, OrgID: "00D000000000001AAA"}, sfstream.WithHTTPClient(&http.Client{Transport: o}))
	_, _, err := do(c, newRequest(t, "GET", "limits", ""))
	if e := lab.ExpectError[*sfstream.ServerError](t, err); len(o.seen()) != 1 || e.Code != sfstream.Unauthenticated {
		t.Errorf("%d requests, %v", len(o.seen()), err)
	}
}

func TestAMovedInstanceIsFoundByALogin(t *testing.T) {
	const elsewhere = "https://acme2.my.salesforce.com"
	for name, absent := range map[string]func(r *http.Request) (*http.Response, error){
		"redirect": reply(301, "", "Location", elsewhere+"/x"),
		"page":     reply(404, "<html><title>URL No Longer Exists</title></html>", "Content-Type", "text/html"),
		"name": func(r *http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: r.URL.Hostname(), IsNotFound: true}}
		},
	} {
		for _, method := range []string{"GET", "POST"} {
			synctest.Test(t, func(t *testing.T) {
				o := newOrg()
				o.answer = func(r *http.Request, _ int) (*http.Response, error) {
					if r.URL.Host == "acme2.my.salesforce.com" && r.Header.Get("Authorization") == "Bearer "+token(2) {
						return fine(r)
					}
					return absent(r)
				}
				c := o.open(t)
				o.at = elsewhere
				if _, body, err := do(c, newRequest(t, method, "limits", "body")); err != nil || body != `{"fine":true}` {
					t.Errorf("%s: %s, %v", name, body, err)
				}
				if last := o.seen()[1]; o.loginCount() != 2 || last.body != "body" || len(o.seen()) != 2 {
					t.Errorf("%s: %d logins, %v", name, o.loginCount(), o.seen())
				}
				// A URL of the instance that was is refused.
				if _, _, err := do(c, newRequest(t, method, instance+"/x", "")); !errors.Is(err, sfstream.ErrInvalidOption) {
					t.Errorf("%s: the old instance: %v", name, err)
				}
			})
		}
	}
}

func TestFailingLoginsAreErrorsOfDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrg(expired)
		c := o.open(t)
		o.fail = &authenticator.Error{StatusCode: 400, Code: "invalid_grant"}
		for range 10 {
			_, _, err := do(c, newRequest(t, "GET", "limits", ""))
			lab.ExpectError[*sfstream.AuthError](t, err)
		}
		if len(o.seen()) != 1 || o.loginCount() != 1 || c.Err() != nil {
			t.Errorf("%d requests, %v", len(o.seen()), c.Err())
		}
	})
}

// TestADeadlineIsNoFailedLogin: a request whose time is over leaves the login to those that have
// time.
func TestADeadlineIsNoFailedLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrg(expired, fine)
		wait := time.Duration(0)
		slow := authenticator.Func(func(ctx context.Context, login authenticator.Login) (*authenticator.Credentials, error) {
			select {
			case <-time.After(wait):
				return o.authenticator().Authenticate(ctx, login)
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
		failed := 0
		c := openWith(t, slow, sfstream.WithHTTPClient(&http.Client{Transport: o}), sfstream.WithAPIVersion("68.0"),
			constant(), sfstream.WithHooks(sfstream.Hooks{OnLogin: func(e sfstream.LoginEvent) {
				if e.Err != nil {
					failed++
				}
			}}))
		wait = 2 * time.Second
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, _, err := do(c, newRequest(t, "GET", "limits", "").WithContext(ctx))
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			cancel()
		}
		began := time.Now()
		_, _, err := do(c, newRequest(t, "GET", "limits", ""))
		lab.Must(t, err)
		if took := time.Since(began); took != wait || failed > 0 {
			t.Errorf("the next request took %v, and %d logins failed", took, failed)
		}
	})
}

func TestCloseEndsRequestsAndTheReadingOfAnswers(t *testing.T) {
	var begun atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/answers" {
			_, _ = io.WriteString(w, "the beginning")
			_ = http.NewResponseController(w).Flush()
		}
		begun.Add(1)
		<-r.Context().Done()
	}))
	defer server.Close()
	auth := authenticator.Static{AccessToken: token(1), InstanceURL: server.URL, OrgID: "00D000000000001AAA"}
	c, err := sfstream.New(auth, sfstream.WithLoginURL(server.URL), sfstream.WithHTTPClient(server.Client()))
	lab.Must(t, err)
	if _, _, err := do(c, newRequest(t, "GET", "/answers", "")); !errors.Is(err, sfstream.ErrNotOpen) {
		t.Errorf("before Open: %v", err)
	}
	lab.Must(t, c.Open(t.Context()))

	// The answer is not held back until it is whole.
	ctx, cancel := context.WithCancel(t.Context())
	for _, ends := range []func(){cancel, func() { _ = c.Close() }} {
		resp, err := c.Do(newRequest(t, "GET", "/answers", "").WithContext(ctx))
		lab.Must(t, err)
		start := make([]byte, len("the beginning"))
		_, err = io.ReadFull(resp.Body, start)
		lab.Must(t, err)
		silent := make(chan error, 1)
		go func() {
			_, _, err := do(c, newRequest(t, "GET", "/silent", "").WithContext(ctx))
			silent <- err
		}()
		for begun.Load() < 2 {
			time.Sleep(time.Millisecond)
		}
		begun.Store(0)
		ends()
		want := context.Canceled
		if ctx.Err() == nil {
			want = sfstream.ErrClosed
		}
		lab.Within(t, 5*time.Second, func() {
			if _, err := io.ReadAll(resp.Body); !errors.Is(err, want) {
				t.Errorf("the reading ends with %v, want %v", err, want)
			}
			if err := <-silent; !errors.Is(err, want) {
				t.Errorf("the request ends with %v, want %v", err, want)
			}
		})
		lab.Must(t, resp.Body.Close())
		ctx = t.Context()
	}
	if _, _, err := do(c, newRequest(t, "GET", "/answers", "")); !errors.Is(err, sfstream.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestCloseWaitsForRequests: after Close none is under way.
func TestCloseWaitsForRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := false
		o := newOrg(fine)
		slow := lab.RoundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			time.Sleep(time.Second)
			over = true
			return nil, r.Context().Err()
		})
		c := openWith(t, o.authenticator(), sfstream.WithHTTPClient(&http.Client{Transport: slow}), sfstream.WithAPIVersion("62.0"))
		ended := make(chan error, 1)
		go func() {
			_, _, err := do(c, newRequest(t, "GET", "limits", ""))
			ended <- err
		}()
		synctest.Wait()
		if err := c.Close(); err != nil || !over {
			t.Errorf("%v, the request is over: %t", err, over)
		}
		if err := <-ended; !errors.Is(err, sfstream.ErrClosed) {
			t.Error(err)
		}
	})
}

// TestWhoAsksForTheVersionMayLeave: others who wait for the same answer ask themselves.
func TestWhoAsksForTheVersionMayLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrg(fine)
		asked := 0
		slow := lab.RoundTrip(func(r *http.Request) (*http.Response, error) {
			if r.URL.Path == "/services/data/" {
				if asked++; asked == 1 {
					<-r.Context().Done()
					return nil, r.Context().Err()
				}
				time.Sleep(time.Second)
			}
			return o.RoundTrip(r)
		})
		c := openWith(t, o.authenticator(), sfstream.WithHTTPClient(&http.Client{Transport: slow}))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, _, err := do(c, newRequest(t, "GET", "limits", "").WithContext(ctx)); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		synctest.Wait()
		for range 5 {
			wg.Go(func() {
				_, _, err := do(c, newRequest(t, "POST", "sobjects/Account", "body"))
				if err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		start := time.Now()
		cancel()
		wg.Wait()
		if asked != 2 || len(o.seen()) != 5 || time.Since(start) != time.Second {
			t.Errorf("asked %d times, %d requests, %v", asked, len(o.seen()), time.Since(start))
		}
	})
}

func TestConditionalRequests(t *testing.T) {
	for _, header := range []string{"If-Modified-Since", "If-None-Match", ""} {
		o := newOrg(reply(304, ""))
		req := newRequest(t, "GET", "sobjects/Account/describe", "")
		if header != "" {
			req.Header.Set(header, "x")
		}
		status, _, err := do(o.open(t), req)
		if header != "" && (status != 304 || err != nil) || header == "" && err == nil {
			t.Errorf("%q: %d, %v", header, status, err)
		}
	}
}

// TestErrorsSayWhatSalesforceSays: of each form of an answer. TestAPackedErrorIsRead: net/http
// unpacks no answer to a request that itself asks for gzip.
func TestAPackedErrorIsRead(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := io.WriteString(z, `[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]`)
	lab.Must(t, err)
	lab.Must(t, z.Close())
	for _, body := range []string{packed.String(), ""} { // none after a HEAD
		o := newOrg(reply(401, body, "Content-Encoding", "gzip"), fine)
		req := newRequest(t, "GET", "x", "")
		req.Header.Set("Accept-Encoding", "gzip")
		if _, _, err := do(o.open(t), req); err != nil || o.loginCount() != 2 {
			t.Errorf("%d bytes: %v, after %d logins", len(body), err, o.loginCount())
		}
	}
	o := newOrg(reply(400, packed.String()[:9]+"no gzip", "Content-Encoding", "gzip"))
	_, _, err = do(o.open(t), newRequest(t, "GET", "x", ""))
	lab.ExpectError[*sfstream.ServerError](t, err)
}

func TestErrorsSayWhatSalesforceSays(t *testing.T) {
	for _, row := range []struct {
		status int
		body   string
		code   sfstream.Code
		reason string
		fields string
		text   string // of what Error says
	}{
		{400, `[{"message":"Required fields are missing: [Name]","errorCode":"REQUIRED_FIELD_MISSING","fields":["Name"]}]`, sfstream.Invalid, "REQUIRED_FIELD_MISSING", "[Name]",
			"sfstream: GET /services/data/v68.0/x: Invalid: Required fields are missing: [Name]"},
		{400, `[{"message":"one","errorCode":"FIELD_CUSTOM_VALIDATION_EXCEPTION","fields":["A"]},{"message":"two","errorCode":"X","fields":["B","A"]}]`,
			sfstream.Invalid, "FIELD_CUSTOM_VALIDATION_EXCEPTION", "[A B]", "sfstream: GET /services/data/v68.0/x: Invalid: one; two"},
		{400, `{"error":"invalid_grant","error_description":"expired"}`, sfstream.Invalid, "invalid_grant", "[]", "sfstream: GET /services/data/v68.0/x: Invalid: expired"},
		{400, `{"message":"m","errorCode":"E"}`, sfstream.Invalid, "E", "[]", ""},
		{400, `{"hasErrors":true,"results":[{"referenceId":"r1","errors":[{"statusCode":"INVALID_EMAIL_ADDRESS","message":"m","fields":["Email"]}]}]}`,
			sfstream.Invalid, "INVALID_EMAIL_ADDRESS", "[Email]", ""},
		{400, `{"exceptionCode":"InvalidJob","exceptionMessage":"m"}`, sfstream.Invalid, "InvalidJob", "[]", ""},
		{400, `<?xml version="1.0" encoding="UTF-8"?><Errors><Error><errorCode>MALFORMED_ID</errorCode><message>m</message><fields>Id</fields></Error></Errors>`,
			sfstream.Invalid, "MALFORMED_ID", "[Id]", ""},
		{404, `[{"errorCode":"NOT_FOUND","message":"Provided external ID field does not exist or is not accessible"}]`, sfstream.NotFound, "NOT_FOUND", "[]", "that the user may see the record"},
		{404, `[{"errorCode":"ENTITY_IS_DELETED","message":"entity is deleted","fields":[]}]`, sfstream.NotFound, "ENTITY_IS_DELETED", "[]", ""},
		{400, `[{"errorCode":"INVALID_TYPE","message":"sObject type 'X' is not supported."}]`, sfstream.NotFound, "INVALID_TYPE", "[]", ""},
		{403, `[{"errorCode":"REQUEST_LIMIT_EXCEEDED","message":"TotalRequests Limit exceeded."}]`, sfstream.LimitExceeded, "REQUEST_LIMIT_EXCEEDED", "[]", "API usage in Setup"},
		{403, `[{"errorCode":"INSUFFICIENT_ACCESS","message":"m"}]`, sfstream.PermissionDenied, "INSUFFICIENT_ACCESS", "[]", "API Enabled"},
		{400, `[{"errorCode":"INSUFFICIENT_ACCESS_OR_READONLY","message":"m"}]`, sfstream.PermissionDenied, "INSUFFICIENT_ACCESS_OR_READONLY", "[]", ""},
		{403, `[{"errorCode":"API_DISABLED_FOR_ORG","message":"m"}]`, sfstream.Invalid, "API_DISABLED_FOR_ORG", "[]", ""},
		{300, `["/services/data/v68.0/sobjects/Account/001A","/services/data/v68.0/sobjects/Account/001B"]`, sfstream.Invalid, "", "[]", "HTTP 300 Multiple Choices"},
		{500, `[{"errorCode":"APEX_ERROR","message":"System.NullPointerException\n\nClass.X: line 1"}]`, sfstream.Internal, "APEX_ERROR", "[]", "System.NullPointerException Class.X: line 1"},
		{401, "", sfstream.Unauthenticated, "", "[]", "HTTP 401 Unauthorized"},
		{403, "<html><head><title>Access\n denied &amp; blocked</title></head></html>", sfstream.Unavailable, "", "[]", `HTTP 403 Forbidden: a page "Access denied & blocked"`},
		{414, "", sfstream.Invalid, "", "[]", "HTTP 414"},
		{431, "<h1>Bad Message 431</h1>", sfstream.Invalid, "", "[]", `HTTP 431 Request Header Fields Too Large: "<h1>Bad Message 431</h1>"`},
		{429, "", sfstream.LimitExceeded, "", "[]", ""},
		{400, `{"hasErrors":true,"results":[` + strings.TrimSuffix(strings.Repeat(`{"errors":[{"statusCode":"E","message":"`+strings.Repeat("x", 500)+`"}]},`, 200), ",") + "]}", sfstream.Invalid, "E", "[]", ""},
		{500, "{", sfstream.Internal, "", "[]", ""},
		{500, "[1,\"x\",null,{\"message\":7,\"errorCode\":{}}]", sfstream.Internal, "", "[]", ""},
		{500, `[{"message":"` + strings.Repeat("é", 9000) + `","errorCode":"E"}]`, sfstream.Internal, "E", "[]", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := newOrg(reply(row.status, row.body))
			_, _, err := do(o.open(t), newRequest(t, "GET", "x?planted-query", ""))
			e := lab.ExpectError[*sfstream.ServerError](t, err)
			if e.API != "rest" || e.Channel != "" || e.Code != row.code || e.Reason != row.reason || fmt.Sprint(e.Fields) != row.fields || !strings.Contains(e.Error(), row.text) {
				t.Errorf("HTTP %d %.80s: %+v: %v", row.status, row.body, *e, e)
			}
			if text := e.Error(); len(text) > 3000 || strings.ContainsAny(text, "\n") || !strings.Contains(text, "/services/data/v68.0/x") || strings.Contains(text, "planted") {
				t.Errorf("HTTP %d: %s", row.status, text)
			}
		})
	}
}
