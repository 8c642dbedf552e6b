package sfstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream/internal/rest"
)

const (
	// restRepeats is how often a request is repeated. No repetition begins later than restPatience
	// after the request.
	restRepeats  = 5
	restPatience = time.Minute
)

// Do sends a request to the org with the client's login, and returns the answer if it is a success;
// then the caller closes its Body. A relative URL is taken below /services/data/vN/, where N is
// [WithAPIVersion] or the org's newest, one with a leading slash below the instance URL:
//
//	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, "sobjects/Account/001…", body)
//	…
//	resp, err := client.Do(req)
//
// The token stays at home: an absolute URL must have the scheme, host and port of the instance, no
// redirect to another one is followed, and a path with . and .. is refused. The request is not
// changed. An Authorization header of its own is not sent.
//
// Do repeats a request up to five times, within a minute and the request's context, with waits as
// [WithBackOff] says and as long as Salesforce asks for:
//
//   - one with any method that has not been carried out: a token that Salesforce does not take (one
//     new login), an instance that has moved (likewise), a connection that was not made, or a record
//     that others hold (UNABLE_TO_LOCK_ROW), said below /services/data and not by an action;
//   - a GET, HEAD, PUT, DELETE or OPTIONS also where it may have been: a connection that broke, or
//     HTTP 502, 503 and 504, which proxies answer also after they have lost an answer. A DELETE that
//     was carried out the first time is then answered with NotFound. A GET of the Tooling API that
//     runs Apex (executeAnonymous, runTests…) is like a POST.
//
// A body is sent again only if the request has GetBody, as http.NewRequest sets it for bytes and
// texts. What an answer with status 2xx says of single records, as that of composite/sobjects, is
// the caller's to read.
//
// Any other status is a *[ServerError], which has Salesforce's errorCode as Reason, Message and
// Fields, and a path without its query, but for a 304 to a conditional request, which is an answer.
// Other errors are an *[AuthError], [ErrInvalidOption] for a URL that is not of the instance,
// [ErrNotOpen], [ErrClosed], that of a client that has ended ([Client.Err]), and that of the
// request's context. It bounds the reading of the Body, too, as does [Client.Close].
func (c *Client) Do(req *http.Request) (*http.Response, error) {
	if req == nil || req.URL == nil {
		return nil, fmt.Errorf("%w: Do: a request without URL", ErrInvalidOption)
	}
	call := &restCall{services: c.services, req: req}
	resp, done, err := call.send()
	if err != nil {
		return nil, err
	}
	resp.Body = &restBody{resp.Body, c.life, done}
	return resp, nil
}

// getJSON reads the answer to a GET into a variable. Where its connection breaks the request is
// repeated, as a Do would be that got no answer.
func (s *services) getJSON(ctx context.Context, to *url.URL, into rest.Answer) error {
	req := (&http.Request{Method: http.MethodGet, URL: to, Header: make(http.Header)}).WithContext(ctx)
	call := &restCall{services: s, req: req, into: into}
	_, done, err := call.send()
	if err == nil {
		done()
	}
	return err
}

// restBody is the body of an answer. Its request lives until it is closed.
type restBody struct {
	io.ReadCloser
	life *lifetime
	done func()
}

func (b *restBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF && b.life.ctx.Err() != nil {
		err = b.life.usable()
	}
	return n, err
}

func (b *restBody) Close() error {
	defer b.done()
	return b.ReadCloser.Close()
}

// A restCall is one Do, or a getJSON. It belongs to the goroutine of that.
type restCall struct {
	*services
	req   *http.Request // the program's: it is not changed
	into  rest.Answer   // what reads the answer; nil: the program does
	ctx   context.Context
	began time.Time

	creds     *authenticator.Credentials
	to        *url.URL        // where the last attempt has gone
	backOff   backoff.BackOff // nil: nothing was repeated yet
	repeated  int
	renewed   bool // a new login was wanted because the token is refused
	relocated bool // a new login was wanted because the instance is elsewhere
	sent      bool // the last attempt has come so far that the request was sent
	consumed  bool // an attempt has taken the request's body
}

// send sends the request, until it is answered or failed. Whoever has read the answer calls done.
func (r *restCall) send() (resp *http.Response, done func(), err error) {
	if err := r.life.usable(); err != nil {
		return nil, nil, r.failed(err)
	}
	if err := r.life.start(); err != nil {
		return nil, nil, r.failed(err)
	}
	defer r.life.running.Done()
	ctx, cancel := context.WithCancel(r.req.Context())
	stop := context.AfterFunc(r.life.ctx, cancel) // Close ends requests under way
	done = func() { stop(); cancel() }
	r.ctx, r.began = ctx, time.Now()
	if resp, err = r.run(); err != nil {
		done()
		return nil, nil, r.failed(err)
	}
	return resp, done, nil
}

// run makes attempts until one is answered or there is no use in another one.
func (r *restCall) run() (*http.Response, error) {
	for {
		resp, err := r.attempt()
		if err == nil {
			return resp, nil
		}
		wait, again := r.judge(err)
		if !again {
			return nil, err
		}
		r.log.Debug("request is repeated", "method", r.req.Method, "path", r.req.URL.EscapedPath(), "wait", wait, "error", err)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-r.ctx.Done():
			timer.Stop()
			return nil, err
		}
	}
}

// attempt sends the request once.
func (r *restCall) attempt() (resp *http.Response, err error) {
	r.sent = false
	if r.creds, err = r.logins.token(r.ctx, tokenRequest{}); err != nil {
		return nil, err
	}
	if r.to, err = r.target(); err != nil {
		return nil, err
	}
	req := r.req.Clone(r.ctx)
	req.URL, req.Host, req.Method = r.to, "", cmp.Or(req.Method, http.MethodGet)
	if r.consumed {
		if req.Body, err = r.req.GetBody(); err != nil {
			return nil, fmt.Errorf("sfstream: Do: GetBody: %w", err)
		}
	}
	r.consumed = hasBody(req)
	r.sent = true
	resp, err = rest.Send(r.http, req, r.creds.AccessToken)
	if err != nil {
		return nil, translateREST(req, err)
	}
	switch {
	case resp.StatusCode/100 == 2 && r.into != nil:
		err = rest.ReadJSON(resp, r.into, r.creds.AccessToken)
	case resp.StatusCode/100 == 2, resp.StatusCode == http.StatusNotModified && isConditional(req):
	default:
		err = rest.ErrorOf(resp, r.creds.AccessToken)
	}
	if err != nil {
		return nil, translateREST(req, err)
	}
	return resp, nil
}

func hasBody(req *http.Request) bool { return req.Body != nil && req.Body != http.NoBody }

func isConditional(req *http.Request) bool {
	return req.Header.Get("If-Modified-Since") != "" || req.Header.Get("If-None-Match") != ""
}

// target is the URL on the instance to which the request goes.
func (r *restCall) target() (*url.URL, error) {
	instance, err := url.Parse(strings.TrimSuffix(r.creds.InstanceURL, "/"))
	if err != nil || !secureURL(r.creds.InstanceURL) {
		return nil, fmt.Errorf("%w: instance URL %q is not an https URL (http is for loopback only)", ErrInvalidOption, withoutPassword(r.creds.InstanceURL))
	}
	target := rest.Target{Instance: instance}
	to, err := target.Of(r.req.URL)
	switch host := r.req.Host; {
	case err != nil:
		return nil, fmt.Errorf("%w: Do: %w", ErrInvalidOption, err)
	case host != "" && !rest.SameOrigin(&url.URL{Scheme: instance.Scheme, Host: host}, instance):
		return nil, fmt.Errorf("%w: Do: the request's Host %q is not the instance's %s", ErrInvalidOption, host, instance.Host)
	case r.req.Method == http.MethodConnect || r.req.RequestURI != "":
		return nil, fmt.Errorf("%w: Do: a request that is a proxy's or a server's", ErrInvalidOption)
	case r.req.URL.Host != "" || strings.HasPrefix(r.req.URL.Path, "/"):
		return to, nil // it names its version
	}
	if target.Version, err = r.version.get(r.ctx, instance.String()); err != nil {
		return nil, err
	}
	return target.Of(r.req.URL)
}

// judge says whether the request is sent again after a failure, and after which wait.
func (r *restCall) judge(err error) (wait time.Duration, again bool) {
	if r.ctx.Err() != nil {
		return 0, false
	}
	repeatable := !r.consumed || r.req.GetBody != nil
	if server, ok := errors.AsType[*ServerError](err); ok {
		switch {
		case server.moved != nil && !r.relocated:
			if r.relocated = true; r.logins.relocate(r.creds) {
				return 0, repeatable // else the next request finds the instance
			}
		case server.Code == Unauthenticated && !r.renewed && expired(err):
			r.renewed = true
			return 0, r.logins.replace(r.creds) && repeatable // else the next request has a token
		}
	}
	if !repeatable || !r.passes(err) || r.repeated == restRepeats {
		return 0, false
	}
	r.repeated++
	if r.backOff == nil {
		r.backOff = r.cfg.newBackOff()
	}
	if wait = r.backOff.NextBackOff(); wait == backoff.Stop {
		return 0, false
	}
	wait = max(wait, retryAfter(err), 1)
	return wait, time.Since(r.began)+wait < restPatience
}

// expired reports whether Salesforce has said that it does not take the token. A 401 of a proxy, or
// a login page, is not cured by a login.
func expired(err error) bool {
	answer, ok := errors.AsType[*rest.Error](err)
	return ok && (restCodes[answer.Code] == Unauthenticated || answer.Status == http.StatusUnauthorized && answer.Empty)
}

// passes reports whether a failure may pass, and the request may be sent again: it has not been
// carried out, or to carry it out twice does no harm.
func (r *restCall) passes(err error) bool {
	if !r.sent {
		return classify(err) == actionRetry // of a login, or of the question for the version
	}
	if failure, ok := errors.AsType[*rest.Failure](err); ok {
		return failure.Unsent || failure.Passes && r.idempotent()
	}
	answer, ok := errors.AsType[*rest.Error](err)
	if !ok {
		return false
	}
	switch answer.Status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return r.idempotent() && answer.Code != "REQUEST_LIMIT_EXCEEDED"
	}
	// Salesforce rolls back what it could not lock. But code in the org, as Apex REST or an action,
	// may answer in these words after it has changed something elsewhere, or for one of many
	// inputs.
	ownCode := !strings.Contains(r.to.Path, "/services/data/") || strings.Contains(r.to.Path, "/actions/")
	return answer.Code == lockedRow && (r.idempotent() || !ownCode)
}

// idempotent reports whether it is the same to carry the request out once or twice. A PATCH is not:
// it may create a record, by an external id, and it runs the org's triggers again.
func (r *restCall) idempotent() bool {
	switch r.req.Method {
	case "", http.MethodGet:
		return !runsApex.MatchString(r.to.Path)
	case http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions:
		return true
	}
	return false
}

// runsApex matches the path of the Tooling API's resources that do something when they are got:
// they run Apex, which may change anything.
var runsApex = regexp.MustCompile(`(?i)/tooling/(executeAnonymous|runTests(S|As)ynchronous)/?$`)

// failed is the error of Do, after which nobody sends the request any more.
func (r *restCall) failed(err error) error {
	if r.req.Body != nil && !r.consumed {
		_ = r.req.Body.Close()
	}
	if r.life.ctx.Err() != nil {
		if ended := r.life.usable(); ended != nil {
			return ended
		}
	}
	if ended := r.req.Context().Err(); ended != nil {
		about := fmt.Sprintf("sfstream: %s %s", cmp.Or(r.req.Method, http.MethodGet), rest.Show(r.req.URL))
		if errors.Is(err, ended) {
			return fmt.Errorf("%s: %w", about, ended)
		}
		return fmt.Errorf("%s: %w, after: %w", about, ended, err)
	}
	return err
}
