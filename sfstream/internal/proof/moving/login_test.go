package moving

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
	"github.com/sfstream/sfstream-go/sfstream/internal/proof/lab"
)

// Each login that another client has logs in here.
func TestLogins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, org := t.Context(), newOrg(t)
		account := org.Account()
		key, secret, user, password, token := account.ConsumerKey, account.ConsumerSecret, account.Username, account.Password, account.SecurityToken
		refreshToken, privateKey := account.RefreshToken, org.PrivateKeyPEM()
		login := authenticator.Login{URL: org.LoginURL(), HTTPClient: org.HTTPClient()}
		auth := org.Authenticator()
		cache := authenticator.NewCache(auth)
		creds, err := cache.Get(ctx, login)
		lab.Must(t, err)
		accessToken, instanceURL, orgID := creds.AccessToken, creds.InstanceURL, creds.OrgID
		fetchToken := func(context.Context, authenticator.Login) (*authenticator.Credentials, error) { return creds, nil }
		for name, auth := range map[string]authenticator.Authenticator{
			"password":           authenticator.Password{ConsumerKey: key, ConsumerSecret: secret, Username: user, Password: password, SecurityToken: token},
			"refresh token":      &authenticator.RefreshToken{ConsumerKey: key, ConsumerSecret: secret, RefreshToken: refreshToken},
			"client credentials": authenticator.ClientCredentials{ConsumerKey: key, ConsumerSecret: secret},
			"JWT":                authenticator.JWTBearer{ConsumerKey: key, Username: user, PrivateKey: privateKey},
			"SOAP":               authenticator.SOAP{Username: user, Password: password, SecurityToken: token},
			"from elsewhere":     authenticator.Static{AccessToken: accessToken, InstanceURL: instanceURL, OrgID: orgID},
			"of its own":         authenticator.Func(fetchToken),
			"shared":             cache,
		} {
			client, err := sfstream.New(auth, sfstream.WithOrg(org))
			lab.Must(t, err)
			if err := errors.Join(client.Open(ctx), client.Subscribe(ctx, topic), client.Close()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, text := range []string{creds.AccessToken, creds.TokenType, creds.InstanceURL, creds.ID, creds.Signature, creds.IssuedAt.String()} {
			if text == "" {
				t.Errorf("the credentials lack something: %v", creds)
			}
		}
	})
}

// Where a program logs in, and through what, is an option of the client.
func TestWhereProgramsLogIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		org := newOrg(t)
		auth := org.Authenticator()
		proxy, err := url.Parse("http://proxy.example:3128")
		lab.Must(t, err)
		creds := credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13})
		for _, opt := range []sfstream.Option{
			sfstream.WithSandbox(),
			sfstream.WithLoginURL("https://acme.my.salesforce.com"),
			sfstream.WithPubSubEndpoint(sfstream.EndpointEU),
			sfstream.WithPubSubEndpoint("api.pubsub.salesforce.com:7443"),
			sfstream.WithHTTPClient(&http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy)}}),
			sfstream.WithPubSubDialOptions(grpc.WithTransportCredentials(creds)),
		} {
			client, err := sfstream.New(auth, opt)
			lab.Must(t, err)
			lab.Must(t, client.Close())
		}
	})
}
