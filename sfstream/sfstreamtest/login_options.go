package sfstreamtest

import (
	"crypto/rsa"
	"fmt"
)

// LoginFlow is a way to log in that an org can switch off.
type LoginFlow string

// The flows of [WithoutLoginFlow].
const (
	PasswordFlow          LoginFlow = "password"           // off in new orgs, and everywhere since 20 February 2027
	SOAPFlow              LoginFlow = "soap"               // login(), off by default in orgs since Winter '26
	ClientCredentialsFlow LoginFlow = "client-credentials" // off: the app has no run-as user
	JWTBearerFlow         LoginFlow = "jwt-bearer"         // off: the app is not approved for the user
)

// loginConfig has the options of logins.
type loginConfig struct {
	withoutFlow      map[LoginFlow]bool
	publicKeys       []*rsa.PublicKey
	loginHost        bool
	myDomainAudience bool
	passwordExpired  bool
	jwtTokens        bool
	requireSecret    bool
	callbackURLs     []string
}

func (c loginConfig) validate() error {
	for flow := range c.withoutFlow {
		switch flow {
		case PasswordFlow, SOAPFlow, ClientCredentialsFlow, JWTBearerFlow:
		default:
			return fmt.Errorf("sfstreamtest: WithoutLoginFlow(%q): no such flow", flow)
		}
	}
	for _, key := range c.publicKeys {
		if key == nil || key.N == nil {
			return fmt.Errorf("sfstreamtest: WithPublicKeys(nil): no key")
		}
	}
	return nil
}

// WithoutLoginFlow switches flows off. They are refused in Salesforce's words: the password flow as
// a wrong password is, SOAP with INVALID_OPERATION, the JWT bearer flow with "user hasn't approved
// this consumer", client credentials with "no client credentials user enabled". Default: all are
// on.
func WithoutLoginFlow(flows ...LoginFlow) Option {
	return func(c *config) {
		if c.withoutFlow == nil {
			c.withoutFlow = make(map[LoginFlow]bool)
		}
		for _, flow := range flows {
			c.withoutFlow[flow] = true
		}
	}
}

// WithPublicKeys adds keys that may sign the app's JWT bearer assertions, beside the key of
// [Server.PrivateKeyPEM]. In Salesforce the app has them in a certificate.
func WithPublicKeys(keys ...*rsa.PublicKey) Option {
	return func(c *config) { c.publicKeys = append(c.publicKeys, keys...) }
}

// WithLoginHost makes LoginURL what login.salesforce.com is: the host of all orgs, which refuses
// the client credentials flow. The org's My Domain then is the instance URL, with localhost for
// 127.0.0.1. Default: LoginURL is the org's My Domain. MoveInstance would take the My Domain away.
func WithLoginHost() Option { return func(c *config) { c.loginHost = true } }

// WithMyDomainAudience accepts only the instance URL as the audience of a JWT bearer assertion, as
// some sandboxes and External Client Apps do. Default: https://login.salesforce.com,
// https://test.salesforce.com and LoginURL too.
func WithMyDomainAudience() Option { return func(c *config) { c.myDomainAudience = true } }

// WithPasswordExpired makes the account's password an expired one: a SOAP login says so beside a
// session id that nothing accepts, and the password flow is refused.
func WithPasswordExpired() Option { return func(c *config) { c.passwordExpired = true } }

// WithJWTAccessTokens issues access tokens in the form of a JWT, with two dots, as External Client
// Apps can be set to. REST accepts them; the Pub/Sub API and CometD refuse them. A session id of
// SOAP keeps its form.
func WithJWTAccessTokens() Option { return func(c *config) { c.jwtTokens = true } }
