package authenticator

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"golang.org/x/oauth2"
)

// Password logs in by the OAuth username-password flow, which Salesforce ends on 20 February 2027
// for all orgs (Salesforce help 005461976). Use [ClientCredentials] or [JWTBearer]. Orgs made since
// Summer '23 block the flow by default; orgs made since Summer '26, and External Client Apps, do
// not have it. The answer then is invalid_grant, "authentication failure".
//
// It is safe for concurrent use and redacts itself as [Credentials] does.
type Password struct {
	ConsumerKey    string // the connected app's consumer key (client_id)
	ConsumerSecret string // the connected app's consumer secret (client_secret)
	Username       string // in a sandbox it ends in .sandboxname
	Password       string
	SecurityToken  string // sent after the password; empty if our address is in a trusted IP range
}

// Authenticate performs one login. Its errors are [*Error].
func (p Password) Authenticate(ctx context.Context, login Login) (*Credentials, error) {
	x := newExchange("password", login, p.ConsumerSecret, p.Password, p.SecurityToken, p.Password+p.SecurityToken)
	if err := x.require("ConsumerKey", p.ConsumerKey, "ConsumerSecret", p.ConsumerSecret,
		"Username", p.Username, "Password", p.Password); err != nil {
		return nil, err
	}
	token, err := x.token(ctx, func(ctx context.Context, at oauth2.Endpoint) (*oauth2.Token, error) {
		c := &oauth2.Config{ClientID: p.ConsumerKey, ClientSecret: p.ConsumerSecret, Endpoint: at}
		return c.PasswordCredentialsToken(ctx, p.Username, p.Password+p.SecurityToken)
	})
	if err != nil {
		return nil, err
	}
	return x.credentials(ctx, token)
}

func (p Password) view() view {
	return view{"Password", []slog.Attr{
		slog.String("ConsumerKey", p.ConsumerKey),
		slog.String("ConsumerSecret", hide(p.ConsumerSecret)),
		slog.String("Username", p.Username),
		slog.String("Password", hide(p.Password)),
		slog.String("SecurityToken", hide(p.SecurityToken)),
	}}
}

// String shows the fields without the secrets.
func (p Password) String() string { return p.view().String() }

// GoString returns what String returns.
func (p Password) GoString() string { return p.String() }

// Format writes what String returns, for every verb.
func (p Password) Format(f fmt.State, _ rune) { io.WriteString(f, p.String()) }

// LogValue returns a group of the fields without the secrets.
func (p Password) LogValue() slog.Value { return slog.GroupValue(p.view().attrs...) }

// MarshalJSON encodes the fields without the secrets. They cannot be read back from it.
func (p Password) MarshalJSON() ([]byte, error) { return p.view().marshal() }
