package authenticator

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"unicode"
)

const (
	checkHost = "check the login URL: it should be the org's My Domain URL, ProductionURL, or SandboxURL for a sandbox"
	slowDown  = "wait, and share one Cache instead of logging in often"

	setPassword = "set a new password for the user; for an integration choose JWTBearer or ClientCredentials, which have none"
	unlock      = "an administrator must unlock the user; wait before the next attempt"
)

// remedy returns the next step for the reader of e, empty if the cause is not known.
func (e *Error) remedy() string {
	if r := e.remedyOfCode(); r != "" {
		return r
	}
	if r := e.remedyOfDescription(); r != "" {
		return r
	}
	switch e.Code {
	case "invalid_client", "invalid_client_id", "invalid_client_credentials":
		if e.Flow == "jwt_bearer" { // this flow sends no secret
			return "check consumer key and private key, and that the app exists in this org (a new app takes some minutes)"
		}
		return "check consumer key and consumer secret, and that the app exists in this org (a new app takes some minutes)"
	case "unsupported_grant_type", "invalid_scope":
		return "enable this flow and its scopes in the app"
	case "invalid_request":
		return "check consumer key and username: Salesforce finds the request itself wrong"
	case "unknown_error":
		return "Salesforce has trouble of its own: try again later"
	case "access_denied":
		return "choose Allow on Salesforce's page; if it has none, an administrator must let the user use the app"
	case "invalid_app_access":
		return "an administrator must let the user use the app"
	case "inactive_user", "inactive_org":
		return "an administrator must activate it again"
	case "rate_limit_exceeded", "REQUEST_LIMIT_EXCEEDED", "LOGIN_RATE_EXCEEDED":
		return slowDown
	case "INVALID_SESSION_ID", "Bad_OAuth_Token":
		return "the access token has expired or is of another org: get a new one"
	case codeRedirected:
		return checkHost
	case codeSaved:
		return "this user must be able to read and write it, on a disk that has room"
	case codeHTML, codeEmpty:
		if e.StatusCode == http.StatusNotFound {
			return checkHost
		}
		return "Salesforce may be in maintenance, or a proxy answered: try again later"
	}
	if dns, ok := errors.AsType[*net.DNSError](e.err); ok && dns.IsNotFound {
		return checkHost
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](e.err); ok {
		return "if a proxy of your network opens TLS, the HTTP client of the login must trust its certificate"
	}
	return ""
}

// remedyOfCode returns the remedy for codes that say more than their descriptions do, empty for
// others. The codes of OAuth's error pages (OAUTH_…) come in upper and lower case, and also in the
// description of an invalid_grant.
func (e *Error) remedyOfCode() string {
	is := func(code string) bool { return strings.EqualFold(e.Code, code) || e.says(strings.ToLower(code)) }
	switch {
	case is("OAUTH_APP_BLOCKED"):
		return "an administrator must install the app (Setup, Connected Apps OAuth Usage) or unblock it there: " +
			"apps that are not installed are restricted since September 2025"
	case is("OAUTH_APPROVAL_ERROR_GENERIC"):
		return "the app is not approved for this user: an administrator must install it and pre-authorise the user by a " +
			"profile or permission set"
	case is("OAUTH_EC_APP_NOT_FOUND"):
		return "the External Client App is not in this org: check the consumer key and the login URL, or install the app's package"
	}
	switch e.Code {
	case codeExpired:
		return setPassword
	case "INVALID_LOGIN":
		return "check username, password and security token, that a sandbox user logs in at SandboxURL, " +
			"and that the user is not locked out"
	case "LOGIN_MUST_USE_SECURITY_TOKEN":
		return "set SecurityToken (a user gets it by mail on resetting it), or have this address in a trusted IP range"
	case "API_DISABLED_FOR_ORG":
		return "the org's edition has no API, or the user lacks the permission API Enabled"
	case "UNSUPPORTED_API_VERSION":
		return "choose an APIVersion from 31.0 to 64.0, or log in by JWTBearer or ClientCredentials: SOAP login ends in Summer '27"
	case "INVALID_OPERATION":
		return "the org does not allow SOAP login, as is the default since Winter '26: log in by JWTBearer or ClientCredentials"
	case "INSUFFICIENT_ACCESS":
		return "give the user the permission Use Any API Auth, or log in by JWTBearer or ClientCredentials"
	case "PASSWORD_LOCKOUT":
		return unlock
	}
	return ""
}

// remedyOfDescription returns the remedy for OAuth errors whose description says more than the code
// does, empty for others.
func (e *Error) remedyOfDescription() string {
	switch {
	case e.says("authentication failure"):
		switch e.Flow {
		case "client_credentials", "jwt_bearer":
			return "check that the user is active and may log in, and that the app and the org allow this flow"
		}
		return "check username, password and security token, that a sandbox user logs in at SandboxURL, " +
			"and that the org allows this flow (username-password is blocked by default since Summer '23 " +
			"and ends on 20 February 2027)"
	case e.says("expired access/refresh token") && e.hint == "": // a saved login has a next step of its own
		return "authorise the app again and use the new refresh token (it was revoked, has expired, or was rotated)"
	case e.Flow == "authorization_code" && (e.says("authorization code") || e.says("code verifier")):
		return "begin again: a code is good once, for some minutes and for the program that began"
	case e.says("expired authorization code"):
		return "check this computer's clock and the lifetime of the assertion"
	case e.says("password expired"), e.says("expired password"):
		return setPassword
	case e.says("hasn't approved"):
		return "pre-authorise the user for the app (its policy: admin approved users, and a profile or permission set of the user)"
	case e.says("audience"):
		return "check audience, consumer key and certificate of the app; JWTBearer.Audience sets another audience"
	case e.says("invalid assertion"):
		return "check audience, consumer key and certificate of the app: it must belong to the private key"
	case e.says("not supported on this domain"):
		return "log in at the org's My Domain URL"
	case e.says("login rate exceeded"):
		return slowDown
	case e.says("ip restricted"):
		return "allow this address in the user's profile, or relax the app's IP restrictions"
	case e.says("login hours"):
		return "the user's profile does not allow logins at this time"
	case e.says("no client credentials user"):
		return "choose a run-as user in the app"
	case slices.Contains(words(e.Description), "locked"): // as a word of its own: "blocked" is another case
		return unlock
	case e.says("blocked"):
		return "an administrator must unblock the app (Setup, Connected Apps OAuth Usage)"
	case e.Code == codeCLI && e.says("no authorization information"):
		return "log in with sf org login web --alias, and check SALESFORCE_ORG"
	}
	return ""
}

func words(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) })
}
