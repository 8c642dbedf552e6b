package authenticator

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

// parseBase parses an address that secrets will be sent to. If the address is unfit, parseBase
// returns the reason instead. The reason quotes nothing of the address, which may itself hold a
// secret.
func parseBase(raw string) (u *url.URL, reason string) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, "cannot be parsed"
	case u.User != nil, u.ForceQuery, u.RawQuery != "", u.Fragment != "":
		return nil, "must not hold a user, a query or a fragment"
	case u.Hostname() == "":
		return nil, "must be absolute, as in https://acme.my.salesforce.com"
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return u, ""
	}
	return nil, "must be https (http is for loopback hosts only)"
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback() || strings.EqualFold(host, "localhost")
}

// parseInstance does what parseBase does for an instance URL. It also refuses the hosts of an org's
// pages, and those at which all orgs log in.
func parseInstance(raw string) (u *url.URL, reason string) {
	u, reason = parseBase(raw)
	if reason != "" {
		return nil, reason
	}
	switch host := strings.ToLower(u.Hostname()); {
	case host != loginHost(host):
		return nil, "is that of the org's pages; write https://" + loginHost(host)
	case isShared(host):
		return nil, "is where all orgs log in: it must be the org's own, as https://acme.my.salesforce.com"
	}
	return u, ""
}

// loginBase parses a login URL. If the URL is unfit, loginBase returns the reason instead, and in
// it the URL to write, if it can guess that.
func loginBase(raw string) (u *url.URL, reason string) {
	u, reason = parseBase(raw)
	if reason == "" {
		switch host := strings.ToLower(u.Hostname()); {
		case host != loginHost(host):
			reason = "is that of the org's pages"
		// Only the sites of Experience Cloud have logins below a path.
		case strings.Trim(u.Path, "/") != "" && strings.HasSuffix(host, ".salesforce.com"),
			strings.Contains(u.Path, "/services/"):
			reason = "must have no path: that of the flow is added to it"
		default:
			return u, ""
		}
	}
	if write := suggestion(raw); write != "" {
		reason += "; write " + write
	}
	return nil, reason
}

// salesforceHost matches a host of Salesforce, perhaps with its port, at the beginning of what may
// be an address. The address can hold a secret, or be one that was put there by mistake: nothing
// else of it is ever shown.
var salesforceHost = regexp.MustCompile(`(?i)^(?:https?:)?/*([a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:salesforce|force|salesforce-setup|site)\.com)(?::[0-9]+)?(?:[/?#]|$)`)

// suggestion returns the login URL that was probably meant by raw, empty if it cannot tell.
func suggestion(raw string) string {
	match := salesforceHost.FindStringSubmatch(raw)
	if match == nil {
		return ""
	}
	return "https://" + loginHost(strings.ToLower(match[1]))
}

// loginHost returns the My Domain host of an org whose pages are at host, as a browser's address
// bar shows it. It returns any other host as it is.
func loginHost(host string) string {
	for _, pages := range []string{".lightning.force.com", ".my.salesforce-setup.com"} {
		if org, ok := strings.CutSuffix(host, pages); ok {
			return org + ".my.salesforce.com"
		}
	}
	return host
}

// isShared reports whether host serves the logins of all orgs. Some flows work only at the My
// Domain host of one org.
func isShared(host string) bool {
	return strings.EqualFold(host, "login.salesforce.com") || strings.EqualFold(host, "test.salesforce.com")
}
