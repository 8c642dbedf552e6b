package authenticator

import (
	"errors"
	"net"
	"net/http"
	"strings"
)

const (
	checkHost = "check the login URL: it should be the org's My Domain URL, ProductionURL, or SandboxURL for a sandbox"
	slowDown  = "wait, and share one Cache instead of logging in often"
)

// remedy is the next step for the reader of e, by what is known of the causes; empty where nothing is.
func (e *Error) remedy() string {
	says := func(text string) bool { return strings.Contains(strings.ToLower(e.Description), text) }
	switch {
	case says("authentication failure"):
		return "check username, password and security token, that a sandbox user logs in at SandboxURL, " +
			"and that the org allows this flow (username-password is blocked by default since Summer '23)"
	case says("expired access/refresh token"):
		return "authorise the app again and use the new refresh token (it was revoked, has expired, or was rotated)"
	case says("expired authorization code"):
		return "check this computer's clock and the lifetime of the assertion"
	case says("hasn't approved"):
		return "pre-authorise the user for the app"
	case says("audience"), says("invalid assertion"):
		return "check audience, consumer key and certificate of the app"
	case says("not supported on this domain"):
		return "log in at the org's My Domain URL"
	case says("locked"):
		return "an administrator must unlock the user; wait before the next attempt"
	case says("ip restricted"):
		return "allow this address in the user's profile, or relax the app's IP restrictions"
	case says("login hours"):
		return "the user's profile does not allow logins at this time"
	case says("no client credentials user"):
		return "choose a run-as user in the app"
	case says("login rate exceeded"):
		return slowDown
	}
	switch e.Code {
	case "invalid_client", "invalid_client_id", "invalid_client_credentials":
		return "check consumer key and consumer secret, and that the app exists in this org (a new app takes some minutes)"
	case "unsupported_grant_type", "invalid_scope":
		return "enable this flow and its scopes in the app"
	case "invalid_app_access":
		return "an administrator must let the user use the app"
	case "inactive_user", "inactive_org":
		return "an administrator must activate it again"
	case "rate_limit_exceeded":
		return slowDown
	case "INVALID_SESSION_ID", "Bad_OAuth_Token":
		return "the access token has expired or is of another org: get a new one"
	case codeRedirected:
		return checkHost
	case codeHTML, codeEmpty:
		if e.StatusCode == http.StatusNotFound {
			return checkHost
		}
		return "Salesforce may be in maintenance, or a proxy answered: try again later"
	}
	if dns, ok := errors.AsType[*net.DNSError](e.err); ok && dns.IsNotFound {
		return checkHost
	}
	return ""
}
