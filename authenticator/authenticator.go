package authenticator

import (
	"cmp"
	"context"
	"net/http"
	"strings"
)

// The login hosts that serve every org. An org's own My Domain URL, https://acme.my.salesforce.com,
// works as well, and some flows need it.
const (
	ProductionURL = "https://login.salesforce.com" // production and developer orgs
	SandboxURL    = "https://test.salesforce.com"  // sandboxes; usernames there end in .sandboxname
)

// Login says where and how to log in. The zero value is production over [http.DefaultClient].
type Login struct {
	// URL is [ProductionURL], [SandboxURL] or a My Domain URL, with or without a trailing slash. It
	// must be https, or http to a loopback host (127.0.0.0/8, ::1, localhost). Only the address of
	// an Experience Cloud site may have a path. Default: [ProductionURL].
	URL string

	// HTTPClient carries proxy and TLS settings. A login uses a copy that does not follow
	// redirects. Default: [http.DefaultClient].
	HTTPClient *http.Client
}

// base returns the URL without a trailing slash, or the default.
func (l Login) base() string {
	return cmp.Or(strings.TrimRight(strings.TrimSpace(l.URL), "/"), ProductionURL)
}

// Authenticator performs logins. Authenticate does one login and never returns (nil, nil). Several
// goroutines may call it at once, unless a [Cache] stands before it. If a retry cannot help, its
// error should be an [*Error]: every other error counts as transient.
type Authenticator interface {
	Authenticate(ctx context.Context, login Login) (*Credentials, error)
}

// Func is an [Authenticator] that is a function.
type Func func(ctx context.Context, login Login) (*Credentials, error)

// Authenticate calls f. A nil f is an [*Error].
func (f Func) Authenticate(ctx context.Context, login Login) (*Credentials, error) {
	if f == nil {
		return nil, &Error{Code: codeConfig, Description: "the authenticator.Func is nil"}
	}
	return f(ctx, login)
}
