package authenticator

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// ClientCredentials logs in by the OAuth client-credentials flow, as the run-as user of the app.
// The flow has no password and no key, only the consumer secret: whoever has that is that user.
//
// Salesforce accepts the flow only at the org's My Domain URL, for sandboxes too: [Login].URL must
// be that (or a loopback host).
//
// It is safe for concurrent use and redacts itself as [Credentials] does.
type ClientCredentials struct {
	ConsumerKey    string // the app's consumer key (client_id)
	ConsumerSecret string // the app's consumer secret (client_secret)
}

// Authenticate performs one login. Its errors are [*Error].
func (f ClientCredentials) Authenticate(ctx context.Context, login Login) (*Credentials, error) {
	x := newExchange("client_credentials", login, f.ConsumerSecret)
	if err := x.require("ConsumerKey", f.ConsumerKey, "ConsumerSecret", f.ConsumerSecret); err != nil {
		return nil, err
	}
	base, err := x.base()
	if err != nil {
		return nil, err
	}
	if isShared(base.Hostname()) {
		return nil, x.fail(codeConfig, 0, nil, "%s does not have this flow: log in at the org's My Domain URL, such as "+
			"https://acme.my.salesforce.com, or https://acme--dev.sandbox.my.salesforce.com of a sandbox "+
			"(WithLoginURL, SALESFORCE_LOGIN_URL)", base.Host)
	}
	token, err := x.token(ctx, func(ctx context.Context, at oauth2.Endpoint) (*oauth2.Token, error) {
		c := &clientcredentials.Config{ClientID: f.ConsumerKey, ClientSecret: f.ConsumerSecret, TokenURL: at.TokenURL, AuthStyle: at.AuthStyle}
		return c.Token(ctx)
	})
	if err != nil {
		return nil, err
	}
	return x.credentials(ctx, token)
}

func (f ClientCredentials) view() view {
	return view{"ClientCredentials", []slog.Attr{
		slog.String("ConsumerKey", f.ConsumerKey),
		slog.String("ConsumerSecret", hide(f.ConsumerSecret)),
	}}
}

// String shows the fields without the secrets.
func (f ClientCredentials) String() string { return f.view().String() }

// GoString returns what String returns.
func (f ClientCredentials) GoString() string { return f.String() }

// Format writes what String returns, for every verb.
func (f ClientCredentials) Format(s fmt.State, _ rune) { io.WriteString(s, f.String()) }

// LogValue returns a group of the fields without the secrets.
func (f ClientCredentials) LogValue() slog.Value { return slog.GroupValue(f.view().attrs...) }

// MarshalJSON encodes the fields without the secrets. They cannot be read back from it.
func (f ClientCredentials) MarshalJSON() ([]byte, error) { return f.view().marshal() }
