package authenticator

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"golang.org/x/oauth2"
)

const (
	requestTimeout = time.Minute // the limit of each HTTP request: a stuck proxy must not hang a client for ever
	replyLimit     = 1 << 20     // in bytes; a token reply has about 1 kB
	textLimit      = 300         // how many bytes are kept of a description that a server wrote
)

// exchange is the state of one Authenticate: what it sends to Salesforce and what it gets.
type exchange struct {
	flow    string
	login   Login
	secrets []string // no error may show them; the tokens of replies are added
	at      string   // the URL that is asked, which errors show; parseBase has refused URLs that may hold a secret
	hint    string   // a next step that only the flow knows, for Error.hint
}

func newExchange(flow string, login Login, secrets ...string) *exchange {
	return &exchange{flow: flow, login: login, secrets: secrets}
}

// require returns an error that names the missing fields, nil if none is missing. The arguments are
// pairs of a field's name and value.
func (x *exchange) require(pairs ...string) error {
	var missing []string
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			missing = append(missing, pairs[i])
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return x.fail(codeConfig, 0, nil, "missing: %s", strings.Join(missing, ", "))
}

// grant asks a token endpoint for a token, by one request of x/oauth2.
type grant func(context.Context, oauth2.Endpoint) (*oauth2.Token, error)

// base returns the parsed login URL, or an error if no secrets may be sent to it.
func (x *exchange) base() (*url.URL, error) {
	base, reason := loginBase(x.login.base())
	if reason != "" {
		return nil, x.fail(codeConfig, 0, nil, "the login URL %s", reason)
	}
	return base, nil
}

// token runs one grant at the token endpoint.
func (x *exchange) token(ctx context.Context, run grant) (*oauth2.Token, error) {
	base, err := x.base()
	if err != nil {
		return nil, err
	}
	token, _, err := x.tokenAt(ctx, base, run)
	return token, err
}

// tokenAt does what token does, with a login URL that base has parsed. It also returns the reply,
// nil if the server sent none.
func (x *exchange) tokenAt(ctx context.Context, base *url.URL, run grant) (*oauth2.Token, *reply, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	x.at = base.String() + "/services/oauth2/token"
	client, rec := x.client()
	token, err := run(context.WithValue(ctx, oauth2.HTTPClient, client), oauth2.Endpoint{
		TokenURL: x.at,
		// Set, because x/oauth2 otherwise tries Basic first, which makes two failed logins of one.
		AuthStyle: oauth2.AuthStyleInParams,
	})
	if err != nil {
		// The error of x/oauth2 holds the whole reply, so it is not wrapped if there is one.
		return nil, rec.reply, x.refusal(ctx, base, rec.reply, err)
	}
	x.secrets = append(x.secrets, token.AccessToken, token.RefreshToken)
	return token, rec.reply, nil
}

// client returns a copy of the user's HTTP client that follows no redirect, and the recorder of its
// last reply.
func (x *exchange) client() (*http.Client, *recorder) {
	client := *cmp.Or(x.login.HTTPClient, http.DefaultClient)
	rec := &recorder{next: client.Transport}
	if rec.next == nil {
		rec.next = http.DefaultTransport
	}
	client.Transport = rec
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client, rec
}

// recorder reads a whole reply inside RoundTrip. So a reply that breaks off is an error of the
// request, with its cause, and a reply that x/oauth2 does not understand can be looked at
// afterwards. A recorder serves one request.
type recorder struct {
	next  http.RoundTripper
	reply *reply
}

type reply struct {
	status   int
	location string
	date     time.Time // the header Date, by the server's clock; zero if there is none
	body     []byte
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, replyLimit))
	if err != nil {
		return nil, err
	}
	date, _ := http.ParseTime(resp.Header.Get("Date"))
	r.reply = &reply{resp.StatusCode, resp.Header.Get("Location"), date, body}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	// Salesforce answers in JSON, whatever the header says: x/oauth2 would read text/plain as a
	// form and find nothing in it. No other header is needed, least of all Location, which net/http
	// quotes in an error if it cannot parse it.
	resp.Header = http.Header{"Content-Type": {"application/json"}}
	return resp, nil
}

// refusal returns the error of a request that failed, by the reply. If there is none, err is the
// error of the HTTP client.
func (x *exchange) refusal(ctx context.Context, at *url.URL, r *reply, err error) *Error {
	if r == nil {
		if ctx.Err() != nil {
			err = ctx.Err() // net/http has several errors for a context that ended
		}
		return x.fail(codeNoAnswer, 0, err, "no answer from %s", at.Host)
	}
	body := bytes.TrimSpace(r.body)
	code, description := serverError(body)
	code = x.clean(code) // before it is looked at: redaction may leave nothing of it
	switch {
	case r.status/100 == 3:
		to := "an unknown place"
		if u, err := at.Parse(r.location); err == nil && r.location != "" {
			to = x.clean(origin(u)) // the rest of the URL could hold the secrets that were sent
		}
		return x.fail(codeRedirected, r.status, nil, "%s redirects to %s", at.Host, to)
	case code != "":
		return x.fail(code, r.status, nil, "%s", x.clean(description))
	case len(body) == 0:
		return x.fail(codeEmpty, r.status, nil, "%s sent an empty reply", at.Host)
	case body[0] == '<':
		return x.fail(codeHTML, r.status, nil, "%s sent a page instead of an answer", at.Host)
	case !json.Valid(body):
		return x.fail(codeMalformed, r.status, nil, "%s sent a reply that is not JSON or breaks off", at.Host)
	}
	return x.fail(codeIncomplete, r.status, nil, "the reply of %s lacks what it should hold", at.Host)
}

// serverError returns the error in a reply: OAuth's object, REST's list, or the bare word of
// userinfo (Bad_OAuth_Token).
func serverError(body []byte) (code, description string) {
	var oauth struct {
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(body, &oauth) == nil {
		return oauth.Code, oauth.Description
	}
	var rest []struct {
		Code    string `json:"errorCode"`
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &rest) == nil && len(rest) > 0 {
		return rest[0].Code, rest[0].Message
	}
	if bytes.HasSuffix(body, []byte("_OAuth_Token")) && len(body) < 40 {
		return string(body), ""
	}
	return "", ""
}

// fail makes an error of this exchange. Texts that a server had a part in must have gone through
// clean.
func (x *exchange) fail(code string, status int, cause error, format string, args ...any) *Error {
	return &Error{
		Flow:        x.flow,
		Code:        code,
		Description: fmt.Sprintf(format, args...),
		StatusCode:  status,
		at:          x.at,
		hint:        x.hint,
		err:         redactError(cause, x.secrets),
	}
}

// clean makes a text that a server wrote fit for a line of a log: it takes out secrets and
// newlines, and cuts it to textLimit.
func (x *exchange) clean(s string) string {
	s = strings.Join(strings.FieldsFunc(redact(s, x.secrets), func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	return strings.ToValidUTF8(s[:min(len(s), textLimit)], "")
}

// origin returns scheme and host of u.
func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }
