package authenticator

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Codes of this package, for failures in which Salesforce sent none. See [Error.Code].
const (
	codeConfig     = "invalid_config"
	codeNoAnswer   = "no_answer"
	codeRedirected = "redirected"
	codeEmpty      = "empty_reply"
	codeHTML       = "html_reply"
	codeMalformed  = "malformed_reply"
	codeIncomplete = "incomplete_reply"
	codeOnRotate   = "on_rotate"
	codeSigner     = "signer_failed"
	codeExpired    = "password_expired"
	codeCLI        = "cli_failed"
	codeSaved      = "saved_login_failed"
	codeState      = "wrong_state"
	codeName       = "invalid_name"
)

// Error is a failed login. It holds no secret, not even one that the server echoed.
type Error struct {
	// Flow is client_credentials, jwt_bearer, refresh_token, authorization_code, password, soap,
	// static, cli, saved (what is wrong with the file of a saved login) or environment; empty if
	// the flow is not known, as for [Credentials.Validate].
	Flow string

	// Code is Salesforce's error, such as invalid_grant (or an errorCode of userinfo, or an
	// exceptionCode of SOAP as INVALID_LOGIN). If Salesforce sent none, it is one of:
	//
	//	invalid_config    a field, a key or the login URL is missing or wrong; nothing was sent
	//	no_answer         network trouble, a timeout, or the context ended: see Unwrap
	//	redirected        the host named another; the secrets were not sent there
	//	html_reply        a page: maintenance, a proxy, or not a login host
	//	empty_reply       nothing
	//	malformed_reply   neither JSON nor, of SOAP, XML; or broken off
	//	incomplete_reply  a reply without an access token, instance URL or org id, or with one that cannot be right
	//	on_rotate         RefreshToken.OnRotate failed: see Unwrap
	//	signer_failed     JWTBearer.Signer failed: see Unwrap
	//	password_expired  SOAP: the password is right but has expired
	//	cli_failed        the Salesforce CLI failed
	//	saved_login_failed  the file of a saved login, or its lock, cannot be used: see Unwrap
	//	invalid_name      no login can be saved under this name
	//	wrong_state       Authorization: the callback is not that of the authorization under way
	Code string

	Description string // Salesforce's error_description, or ours; at most 300 bytes of what a server wrote
	StatusCode  int    // status of the HTTP reply; 0 if there was none

	at    string // the URL that answered, which the text shows; empty if none did
	fault bool   // the answer is a SOAP fault: refusals come with HTTP 500 too, so that this status means no trouble of the server
	hint  string // a next step that only the flow knows, beside the one that remedy returns
	err   error
}

// Error returns what happened and, if it can guess that, what to do.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("authenticator")
	for _, part := range []string{e.Flow, e.Code, e.Description} {
		if part != "" {
			b.WriteString(": " + part)
		}
	}
	if e.StatusCode != 0 {
		fmt.Fprintf(&b, " (HTTP %d", e.StatusCode)
		if e.at != "" {
			b.WriteString(" from " + e.at)
		}
		b.WriteString(")")
	}
	if e.err != nil {
		b.WriteString(": " + e.err.Error())
	}
	if next := e.Remedy(); next != "" {
		b.WriteString("; " + next)
	}
	return b.String()
}

// Remedy returns the next step, with which the text of [Error.Error] ends, for programs that show
// it apart from what happened or in words of their own. It names fields and types as they are
// called in Go, and is empty if the cause cannot be guessed.
func (e *Error) Remedy() string {
	steps := slices.DeleteFunc([]string{e.remedy(), e.hint}, func(step string) bool { return step == "" })
	return strings.Join(steps, "; ")
}

// Unwrap returns the underlying error: that of the network, the context, OnRotate, the Signer or a
// file; nil if a server answered.
func (e *Error) Unwrap() error { return e.err }

// Permanent reports whether another attempt at the same login is useless or harmful: Salesforce has
// judged it and said no, or the configuration is wrong. Not permanent are trouble with the network,
// timeouts, 5xx, maintenance pages, unusable replies, rate limits, a failed OnRotate or Signer, and
// every error that is not an [*Error].
//
// A SOAP fault, such as INVALID_LOGIN, is permanent although it comes with HTTP 500, except for the
// few codes that tell of the server's own trouble.
//
// A 404 page or a temporary redirect means a wrong login URL at the first login, but at a later one
// more likely a host in trouble. Neither judges the login, so they are not permanent. A permanent
// redirect (301, 308) is.
func Permanent(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return false
	}
	switch e.Code {
	case "invalid_grant":
		return !e.says("login rate exceeded")
	case "invalid_client", "invalid_client_id", "invalid_client_credentials", // Salesforce does not know the app by these credentials
		"unsupported_grant_type", "invalid_request", "invalid_scope", // our request is wrong
		"invalid_app_access", "inactive_user", "inactive_org", codeExpired, // only a person can cure it
		"access_denied", "redirect_uri_mismatch", codeState, codeName, // a person must act
		codeConfig:
		return true
	case "rate_limit_exceeded", "REQUEST_LIMIT_EXCEEDED", "LOGIN_RATE_EXCEEDED", // limits pass
		"unknown_error", "server_error", "temporarily_unavailable", // OAuth: the server's trouble
		"SERVER_UNAVAILABLE", "API_CURRENTLY_DISABLED", "UNKNOWN_EXCEPTION", "UNABLE_TO_LOCK_ROW",
		"REQUEST_RUNNING_TOO_LONG", "Server", // SOAP: the server's trouble
		"", codeNoAnswer, codeEmpty, codeHTML, codeMalformed, codeIncomplete, codeOnRotate, codeSigner, codeSaved:
		return false
	case codeCLI:
		return slices.ContainsFunc(cliJudged, e.says)
	case codeRedirected:
		return e.StatusCode == http.StatusMovedPermanently || e.StatusCode == http.StatusPermanentRedirect
	}
	// If this table does not know a code, it is a judgement, unless the status says that the
	// trouble passes: wrong passwords sent in a loop lock the user out.
	switch e.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	}
	if e.fault {
		return e.StatusCode <= http.StatusInternalServerError
	}
	return e.StatusCode < 500
}

// cliJudged are parts of the texts in which the Salesforce CLI says that it has no login, or that
// Salesforce has refused its login. It has no codes for that.
var cliJudged = []string{"no authorization information", "expired access/refresh token", "inactive user", "inactive organization",
	"client identifier invalid", "invalid client credentials", "hasn't approved this consumer", "oauth_app_blocked", "ip restricted",
	"invalid assertion", "audience is invalid", "user is locked", "authentication failure"}

// says reports whether the description contains text, whatever the case of its letters. text must
// be in lower case.
func (e *Error) says(text string) bool { return strings.Contains(strings.ToLower(e.Description), text) }
