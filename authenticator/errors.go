package authenticator

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Codes of our own, for failures in which Salesforce sent none. See [Error.Code].
const (
	codeConfig     = "invalid_config"
	codeNoAnswer   = "no_answer"
	codeRedirected = "redirected"
	codeEmpty      = "empty_reply"
	codeHTML       = "html_reply"
	codeMalformed  = "malformed_reply"
	codeIncomplete = "incomplete_reply"
	codeOnRotate   = "on_rotate"
)

// Error is a failed login. It holds no secret, not even one that the server echoed.
type Error struct {
	Flow string // password, refresh_token, static, environment; empty where it is not known

	// Code is Salesforce's error, such as invalid_grant (or, of userinfo, an errorCode). Where there is none:
	//
	//	invalid_config    a field or the login URL is missing or wrong; nothing was sent
	//	no_answer         network trouble, a timeout, or the context ended: see Unwrap
	//	redirected        the host named another; the secrets were not sent there
	//	html_reply        a page: maintenance, a proxy, or not a login host
	//	empty_reply       nothing
	//	malformed_reply   not JSON, or broken off
	//	incomplete_reply  JSON without an access token, instance URL or org id
	//	on_rotate         RefreshToken.OnRotate failed: see Unwrap
	Code string

	Description string // Salesforce's error_description, or ours; at most 300 bytes of what a server wrote
	StatusCode  int    // of the HTTP reply; 0 where there was none

	err error
}

// Error tells what happened and, where it can be guessed, what to do.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("authenticator")
	for _, part := range []string{e.Flow, e.Code, e.Description} {
		if part != "" {
			b.WriteString(": " + part)
		}
	}
	if e.StatusCode != 0 {
		fmt.Fprintf(&b, " (HTTP %d)", e.StatusCode)
	}
	if e.err != nil {
		b.WriteString(": " + e.err.Error())
	}
	if r := e.remedy(); r != "" {
		b.WriteString("; " + r)
	}
	return b.String()
}

// Unwrap returns the underlying error: of the network, the context or OnRotate; nil where a server answered.
func (e *Error) Unwrap() error { return e.err }

// Permanent tells whether trying the same login again is useless or harmful: Salesforce has judged it and
// said no, or the configuration is wrong. Not permanent are trouble with the network, timeouts, 5xx,
// maintenance pages, unusable replies, rate limits, a failed OnRotate, and every error that is no [*Error].
//
// A 404 page or a temporary redirect mean a wrong login URL at the first login, but at a later one more likely
// a host in trouble. They judge no login, so they are not permanent. A permanent redirect (301, 308) is.
func Permanent(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return false
	}
	switch e.Code {
	case "invalid_grant":
		return !strings.Contains(strings.ToLower(e.Description), "login rate exceeded")
	case "invalid_client", "invalid_client_id", "invalid_client_credentials", // the app is not known as that
		"unsupported_grant_type", "invalid_request", "invalid_scope", // our request is wrong
		"invalid_app_access", "inactive_user", "inactive_org", // an administrator has to act
		codeConfig:
		return true
	case "rate_limit_exceeded", "REQUEST_LIMIT_EXCEEDED", "unknown_error", "server_error", "temporarily_unavailable",
		"", codeNoAnswer, codeEmpty, codeHTML, codeMalformed, codeIncomplete, codeOnRotate:
		return false
	case codeRedirected:
		return e.StatusCode == http.StatusMovedPermanently || e.StatusCode == http.StatusPermanentRedirect
	}
	// A code that this table does not know is a judgement unless the status says that it is a moment's
	// trouble: wrong passwords sent in a loop lock the user out.
	switch e.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	}
	return e.StatusCode < 500
}
