// Package rest knows Salesforce's REST API as HTTP: which URLs are an instance's own, how a request
// and its token travel, and what an answer that refuses says. It knows no client: it sends once,
// and never waits or logs in.
//
//	target.go  the URL of a request
//	send.go    one attempt, redirects, and what is known of a request that failed
//	error.go   answers that are no success
package rest

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// A Target is an instance and the version of its REST API.
type Target struct {
	Instance *url.URL
	Version  string // as in "62.0"
}

// Of returns the URL on the instance that a program means by u: one without a leading slash lies
// below /services/data/vN/, one with a leading slash below the instance URL, and an absolute one
// must be of the instance's scheme, host and port. The error does not show the query.
func (t Target) Of(u *url.URL) (*url.URL, error) {
	plain := strings.ReplaceAll(u.Path, `\`, "/") // as some servers and proxies read it
	switch {
	case u.Opaque != "":
		return nil, fmt.Errorf("its URL begins with %s: and has no host: want a path, or an absolute URL of the instance", u.Scheme)
	case u.User != nil:
		return nil, errors.New("its URL has a user or a password, which no request to Salesforce needs")
	case (u.Scheme != "" || u.Host != "") && !SameOrigin(u, t.Instance):
		return nil, fmt.Errorf("%s is not of the org's instance %s, and the token is for that alone", Show(u), Show(t.Instance))
	case strings.HasPrefix(plain, "//"):
		return nil, fmt.Errorf("path %q begins with two slashes, as a host does", u.EscapedPath())
	case slices.ContainsFunc(strings.Split(plain, "/"), func(part string) bool { return part == "." || part == ".." }):
		return nil, fmt.Errorf("path %q has a dot segment", u.EscapedPath())
	}
	base := strings.TrimSuffix(t.Instance.Path, "/")
	switch {
	case u.Host != "":
		base = "" // it is whole
	case !strings.HasPrefix(u.Path, "/"):
		base += "/services/data/v" + t.Version + "/"
	}
	return &url.URL{
		Scheme: t.Instance.Scheme, Host: t.Instance.Host,
		Path: base + u.Path, RawPath: base + u.EscapedPath(), RawQuery: u.RawQuery, ForceQuery: u.ForceQuery,
	}, nil
}

// SameOrigin reports whether two URLs have the same scheme, host and port.
func SameOrigin(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	switch p := u.Port(); {
	case p != "":
		return p
	case strings.EqualFold(u.Scheme, "http"):
		return "80"
	}
	return "443"
}

// Show is a URL for people: without user, query and fragment, which may be secret or data.
func Show(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}

// IsLoginPage reports whether a URL is one to which Salesforce sends those whose session is over.
func IsLoginPage(u *url.URL) bool {
	host, path, query := strings.ToLower(u.Hostname()), strings.ToLower(u.Path), u.Query()
	return strings.HasPrefix(host, "login.") || host == "test.salesforce.com" || query.Has("startURL") || query.Has("ec") ||
		strings.Contains(path, "/login") || strings.HasPrefix(path, "/secur/") || strings.HasPrefix(path, "/idp/")
}
