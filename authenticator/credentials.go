package authenticator

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
)

// Credentials are the result of a login. They have no time of expiry: Salesforce sends none, ends a
// session after a time without calls (2 h by default), and says so only by refusing the token.
//
// They redact themselves: no formatting verb, JSON encoder or log handler shows AccessToken or
// Signature.
type Credentials struct {
	AccessToken string    // opaque; never shown
	TokenType   string    // "Bearer"
	InstanceURL string    // https://acme.my.salesforce.com, no path; may change from login to login
	OrgID       string    // 18 (or 15) characters, the tenantid of the Pub/Sub API
	UserID      string    // 18 (or 15) characters; empty if the flow does not tell it
	IssuedAt    time.Time // UTC, to the millisecond; zero if the flow does not tell it
	ID          string    // identity URL, https://login.salesforce.com/id/<org>/<user>
	Signature   string    // base64 HMAC-SHA256 of ID and the time of issue under the consumer secret; never shown
}

// Validate refuses credentials that cannot be right: a token with a space or a control character in
// it, an org id that is none, an instance URL to which no token can be sent. It does not refuse
// empty fields. The [*Error] says why and is permanent. The flows of this package validate what
// they return; a [Func] may call Validate itself.
func (c Credentials) Validate() error {
	if reason := c.wrong(); reason != "" {
		return &Error{Code: codeConfig, Description: "the credentials cannot be right: " + reason}
	}
	return nil
}

// checked brings c into the form that the comments of its fields promise, and returns a reason if c
// cannot be right.
func (c *Credentials) checked() (reason string) {
	c.tidy()
	return c.wrong()
}

// wrong returns the reason why the credentials cannot be right, empty if there is none.
func (c Credentials) wrong() (reason string) {
	if strings.ContainsFunc(c.AccessToken, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "AccessToken holds white space, a control character or one that is not ASCII: no token of Salesforce does"
	}
	if c.OrgID != "" && !isOrgID(c.OrgID) {
		return "OrgID must have 15 or 18 characters and begin with 00D"
	}
	if c.InstanceURL != "" {
		if _, reason := parseInstance(c.InstanceURL); reason != "" {
			return "InstanceURL " + reason
		}
	}
	return ""
}

// tidy cuts what people paste along with a token or an address. A path after the host of the
// instance URL, for one, would go into the metadata of the Pub/Sub API, and before the path of the
// Streaming API.
func (c *Credentials) tidy() {
	c.AccessToken = tidyToken(c.AccessToken)
	c.OrgID = strings.TrimSpace(c.OrgID)
	c.InstanceURL = strings.TrimSpace(c.InstanceURL)
	if instance, reason := parseBase(c.InstanceURL); reason == "" {
		c.InstanceURL = origin(instance)
	}
}

// tidyToken cuts surrounding white space and the word "Bearer", which stands before a token in an
// HTTP header.
func tidyToken(token string) string {
	token = strings.TrimSpace(token)
	if word, rest, _ := strings.Cut(strings.ReplaceAll(token, "\t", " "), " "); strings.EqualFold(word, "Bearer") {
		return strings.TrimSpace(rest)
	}
	return token
}

func (c Credentials) view() view {
	issued := ""
	if !c.IssuedAt.IsZero() {
		issued = c.IssuedAt.Format(time.RFC3339Nano)
	}
	return view{"Credentials", []slog.Attr{
		slog.String("AccessToken", hide(c.AccessToken)),
		slog.String("TokenType", c.TokenType),
		slog.String("InstanceURL", c.InstanceURL),
		slog.String("OrgID", c.OrgID),
		slog.String("UserID", c.UserID),
		slog.String("IssuedAt", issued),
		slog.String("ID", c.ID),
		slog.String("Signature", hide(c.Signature)),
	}}
}

// String shows the credentials without their secrets.
func (c Credentials) String() string { return c.view().String() }

// GoString returns what String returns, so that %#v shows no secret either.
func (c Credentials) GoString() string { return c.String() }

// Format writes what String returns, for every verb.
func (c Credentials) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// LogValue returns a group of the fields without the secrets.
func (c Credentials) LogValue() slog.Value { return slog.GroupValue(c.view().attrs...) }

// MarshalJSON encodes the fields without the secrets, so that credentials cannot be read back from
// it.
func (c Credentials) MarshalJSON() ([]byte, error) { return c.view().marshal() }
