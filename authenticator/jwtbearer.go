package authenticator

import (
	"cmp"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"reflect"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

const (
	assertionLife = 3 * time.Minute  // from signing to exp; Salesforce accepts 3 to 5 minutes
	clockSkew     = 30 * time.Second // a clock that is off by less than this from a refusal's Date is not its reason
)

// JWTBearer logs in by the OAuth JWT bearer flow (RFC 7523): a private key proves that it is the
// app, and it asks for a token of Username. The app has the certificate of the key, and its policy
// admits the user. Nothing secret is sent. It works at [ProductionURL], [SandboxURL] and My Domain
// URLs.
//
// One Authenticate sends one assertion, and a further one only if Salesforce's answer asks for it:
// once with the My Domain URL as the audience, if the answer is that the audience is invalid and
// Audience is not set; and once with the time of Salesforce's clock, if the assertion is refused
// and that clock differs from ours.
//
// It is safe for concurrent use if Signer is, and redacts itself as [Credentials] does.
type JWTBearer struct {
	ConsumerKey string // the app's consumer key (client_id)
	Username    string // in a sandbox it ends in .sandboxname

	// PrivateKey is an RSA key in PEM, PKCS#1 ("RSA PRIVATE KEY") or PKCS#8 ("PRIVATE KEY"),
	// without a passphrase.
	PrivateKey []byte

	// Signer signs in place of PrivateKey, with a key in a KMS or an HSM. Its Public must return an
	// [*rsa.PublicKey]; Sign is called with a SHA-256 digest and [crypto.SHA256] (RS256). It gets
	// no context, so it should have a time limit.
	Signer crypto.Signer

	// Audience is the aud of the assertion. Default: [ProductionURL] or [SandboxURL], whichever
	// [Login].URL stands for; the My Domain URL of a sandbox or a scratch org stands for
	// SandboxURL. Experience Cloud sites may want their own URL.
	Audience string
}

// Authenticate performs one login. Its errors are [*Error].
func (j JWTBearer) Authenticate(ctx context.Context, login Login) (*Credentials, error) {
	x := newExchange("jwt_bearer", login, string(j.PrivateKey))
	if err := x.require("ConsumerKey", j.ConsumerKey, "Username", j.Username); err != nil {
		return nil, err
	}
	base, err := x.base()
	if err != nil {
		return nil, err
	}
	signer, reason := j.signer()
	if reason != "" {
		return nil, x.fail(codeConfig, 0, nil, "%s", reason)
	}
	token, err := j.token(ctx, x, base, signer)
	if err != nil {
		return nil, err
	}
	return x.credentials(ctx, token)
}

// token sends one assertion, and at most two more: one with the My Domain URL as its audience, one
// by Salesforce's clock. See JWTBearer.
func (j JWTBearer) token(ctx context.Context, x *exchange, base *url.URL, signer crypto.Signer) (*oauth2.Token, error) {
	audience := cmp.Or(j.Audience, standsFor(base))
	other := "" // the audience to try if the first one is refused; empty if there is none
	if j.Audience == "" && !isShared(base.Hostname()) {
		lower := *base // Salesforce compares audiences letter by letter, so the host must be in lower case
		lower.Host = strings.ToLower(base.Host)
		other = lower.String()
	}
	var skew time.Duration // how far Salesforce's clock is ahead of ours, once a refusal makes it matter
	sent := audience
	for {
		assertion, err := j.sign(audience, time.Now().Add(skew), signer)
		switch {
		case err != nil && j.Signer == nil: // for example the key is too small: another attempt cures nothing
			return nil, x.fail(codeConfig, 0, err, "PrivateKey cannot sign")
		case err != nil:
			return nil, x.fail(codeSigner, 0, err, "the assertion could not be signed")
		}
		x.secrets = append(x.secrets, assertion, assertion[strings.LastIndexByte(assertion, '.')+1:]) // the signature alone is a secret too: all before it can be guessed
		token, answer, err := x.tokenAt(ctx, base, func(ctx context.Context, at oauth2.Endpoint) (*oauth2.Token, error) {
			// Package clientcredentials serves here because it sends any grant_type with exactly
			// these parameters. x/oauth2/jwt takes no crypto.Signer, hides the reply, and sends the
			// time of issue (iat), which lies in the future for Salesforce if our clock is ahead.
			c := &clientcredentials.Config{TokenURL: at.TokenURL, AuthStyle: at.AuthStyle, EndpointParams: url.Values{
				"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"},
				"assertion":  {assertion},
			}}
			return c.Token(ctx)
		})
		refused, ok := err.(*Error)
		if !ok || answer == nil || ctx.Err() != nil {
			return token, err
		}
		drift := time.Duration(0)
		if !answer.date.IsZero() {
			drift = time.Until(answer.date).Round(time.Second)
		}
		skewed := skew == 0 && drift.Abs() > clockSkew
		switch {
		case refused.says("audience is invalid"), refused.says("audience validation failed"):
			refused.hint = "the audience was " + sent
			if other == "" {
				return nil, err
			}
			audience, other = other, ""
			sent += ", then " + audience
		case !refused.says("expired authorization code") && !refused.says("assertion"):
			return nil, err
		case !skewed:
			if drift.Abs() > clockSkew {
				refused.hint = fmt.Sprintf("this computer's clock is %v off that of Salesforce", drift.Abs())
			}
			return nil, err
		}
		if skewed {
			skew = drift
		}
	}
}

// signer returns what signs the assertions, Signer or PrivateKey, or the reason why neither can.
func (j JWTBearer) signer() (signer crypto.Signer, reason string) {
	switch {
	case j.Signer != nil && len(j.PrivateKey) > 0:
		return nil, "PrivateKey and Signer are both set: set one"
	case j.Signer == nil && len(j.PrivateKey) == 0:
		return nil, "missing: PrivateKey (or Signer)"
	case j.Signer == nil:
		return parsePrivateKey(j.PrivateKey)
	}
	if v := reflect.ValueOf(j.Signer); v.Kind() == reflect.Pointer && v.IsNil() { // for example the program ignored that its key could not be read
		return nil, fmt.Sprintf("Signer is a nil %T", j.Signer)
	}
	if _, ok := j.Signer.Public().(*rsa.PublicKey); !ok {
		return nil, fmt.Sprintf("the Signer's public key is a %T: Salesforce takes RSA only", j.Signer.Public())
	}
	return j.Signer, ""
}

// sign makes an assertion that is valid until assertionLife after now.
func (j JWTBearer) sign(audience string, now time.Time, signer crypto.Signer) (string, error) {
	claims, err := json.Marshal(map[string]any{
		"iss": j.ConsumerKey, "sub": j.Username, "aud": audience, "exp": now.Add(assertionLife).Unix(),
	})
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	unsigned := encode([]byte(`{"alg":"RS256"}`)) + "." + encode(claims)
	digest := sha256.Sum256([]byte(unsigned))
	signature, err := signer.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return "", err
	}
	return unsigned + "." + encode(signature), nil
}

// standsFor returns the audience for a login URL: ProductionURL or SandboxURL, at whichever the org
// would log in without its My Domain. The host of a sandbox has "--" before the sandbox's name, and
// .sandbox in newer My Domains; scratch orgs log in at test.salesforce.com too.
func standsFor(base *url.URL) string {
	host := strings.ToLower(base.Hostname())
	for _, mark := range []string{".sandbox.", "--", ".scratch."} {
		if strings.Contains(host, mark) {
			return SandboxURL
		}
	}
	if host == "test.salesforce.com" {
		return SandboxURL
	}
	return ProductionURL
}

func (j JWTBearer) view() view {
	signer := ""
	if j.Signer != nil {
		signer = fmt.Sprintf("%T", j.Signer) // only the type: its fields may hold the key
	}
	return view{"JWTBearer", []slog.Attr{
		slog.String("ConsumerKey", j.ConsumerKey),
		slog.String("Username", j.Username),
		slog.String("PrivateKey", hide(string(j.PrivateKey))),
		slog.String("Signer", signer),
		slog.String("Audience", j.Audience),
	}}
}

// String shows the fields without the secrets.
func (j JWTBearer) String() string { return j.view().String() }

// GoString returns what String returns.
func (j JWTBearer) GoString() string { return j.String() }

// Format writes what String returns, for every verb.
func (j JWTBearer) Format(f fmt.State, _ rune) { io.WriteString(f, j.String()) }

// LogValue returns a group of the fields without the secrets.
func (j JWTBearer) LogValue() slog.Value { return slog.GroupValue(j.view().attrs...) }

// MarshalJSON encodes the fields without the secrets. They cannot be read back from it.
func (j JWTBearer) MarshalJSON() ([]byte, error) { return j.view().marshal() }
