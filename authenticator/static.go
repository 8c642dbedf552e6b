package authenticator

import (
	"context"
	"fmt"
	"io"
	"log/slog"
)

// Static uses an access token that was obtained elsewhere. It does not log in, so [Login].URL does
// not matter, and it cannot renew the token: every Authenticate returns the same token, even after
// Salesforce has ended it.
//
// It is safe for concurrent use and redacts itself as [Credentials] does.
type Static struct {
	AccessToken string
	InstanceURL string // https://acme.my.salesforce.com; a path is cut
	OrgID       string // optional; if it is empty, each Authenticate asks the org for it (userinfo)
}

// Authenticate returns the credentials. Its errors are [*Error] and name a field that is missing or
// cannot be right. White space around the fields and a leading "Bearer " are cut.
func (s Static) Authenticate(ctx context.Context, login Login) (*Credentials, error) {
	c := &Credentials{AccessToken: s.AccessToken, TokenType: "Bearer", InstanceURL: s.InstanceURL, OrgID: s.OrgID}
	reason := c.checked()
	x := newExchange("static", login, s.AccessToken, c.AccessToken)
	if err := x.require("AccessToken", c.AccessToken, "InstanceURL", c.InstanceURL); err != nil {
		return nil, err
	}
	if reason != "" {
		return nil, x.fail(codeConfig, 0, nil, "%s", reason)
	}
	if c.OrgID == "" {
		x.hint = "with OrgID set, userinfo is not asked"
		if _, err := x.userinfo(ctx, c); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (s Static) view() view {
	return view{"Static", []slog.Attr{
		slog.String("AccessToken", hide(s.AccessToken)),
		slog.String("InstanceURL", s.InstanceURL),
		slog.String("OrgID", s.OrgID),
	}}
}

// String shows the fields without the secrets.
func (s Static) String() string { return s.view().String() }

// GoString returns what String returns.
func (s Static) GoString() string { return s.String() }

// Format writes what String returns, for every verb.
func (s Static) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue returns a group of the fields without the secrets.
func (s Static) LogValue() slog.Value { return slog.GroupValue(s.view().attrs...) }

// MarshalJSON encodes the fields without the secrets. They cannot be read back from it.
func (s Static) MarshalJSON() ([]byte, error) { return s.view().marshal() }
