package authenticator_test

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
)

// show formats v in every way in which a program logs things. (%p and %w of a struct call no method
// of it; go vet reports them.)
func show(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	for _, verb := range strings.Fields("%v %+v %#v %s %q %x %X %d %T %10.3s %t %e %c %U %y") {
		fmt.Fprintf(&b, verb+"\n", v)
	}
	fmt.Fprintln(&b, v)
	if j, err := json.Marshal(v); err == nil {
		b.Write(j)
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
		slog.New(h).Info("m", "v", v, slog.Group("g", "v", v))
	}
	return b.String()
}

func TestNothingShowsASecret(t *testing.T) {
	credentials := authenticator.Credentials{AccessToken: accessToken, TokenType: "Bearer", InstanceURL: instance, OrgID: orgID,
		UserID: userID, IssuedAt: time.UnixMilli(1735689600123).UTC(), ID: identity, Signature: signature}
	static := authenticator.Static{AccessToken: accessToken, InstanceURL: instance, OrgID: orgID}
	used := refreshFlow()
	mustLogin(t, used, always(200, tokenReply("refresh_token", refreshToken+"2")))
	configDir(t)
	begun := &authenticator.Authorization{ConsumerKey: "key", ConsumerSecret: consumerSecret, CallbackURL: "http://localhost:1/marker"}
	if _, err := begun.Begin(); err != nil {
		t.Fatal(err)
	}
	cache := authenticator.NewCache(passwordFlow())
	mustLogin(t, cache, always(200, tokenReply()))
	password := passwordFlow()
	client, jwt, soap := clientCredentialsFlow(), jwtFlow(), soapFlow()
	jwt.PrivateKey, jwt.Signer = []byte("marker-key"), secretSigner{key: "marker-key"}

	// The test shows values, pointers, and both inside of other things. A RefreshToken by value is
	// built in place: go vet objects to copying one, but fmt does copy it out of a struct.
	type config struct {
		Name  string
		Flow  authenticator.RefreshToken
		Creds authenticator.Credentials
	}
	byValue := config{Flow: authenticator.RefreshToken{ConsumerSecret: consumerSecret, RefreshToken: refreshToken}, Creds: credentials}
	for name, v := range map[string]any{
		"Credentials":           credentials,
		"*Credentials":          &credentials,
		"Password":              password,
		"*Password":             &password,
		"ClientCredentials":     client,
		"*ClientCredentials":    &client,
		"JWTBearer":             jwt,
		"*JWTBearer":            &jwt,
		"SOAP":                  soap,
		"*SOAP":                 &soap,
		"new flows in fields":   struct{ A, B, C any }{client, &jwt, soap},
		"typed new flows":       []authenticator.JWTBearer{jwt},
		"Static":                static,
		"*Static":               &static,
		"*RefreshToken":         refreshFlow(),
		"*RefreshToken in use":  used,
		"*Authorization":        begun,
		"Cache":                 cache,
		"TokenSource":           authenticator.TokenSource(context.Background(), password, authenticator.Login{}),
		"struct by pointer":     &byValue,
		"exported fields":       struct{ A, B, C, D any }{credentials, &password, static, used},
		"typed fields":          struct{ C authenticator.Credentials }{credentials},
		"slice":                 []authenticator.Credentials{credentials},
		"map":                   map[string]authenticator.Authenticator{"a": password, "b": static, "c": used, "d": cache},
		"array of interfaces":   [2]any{&credentials, password},
		"pointer to a pointer":  struct{ P **authenticator.Credentials }{new(&credentials)},
		"nil *Credentials":      (*authenticator.Credentials)(nil),
		"nil *RefreshToken":     (*authenticator.RefreshToken)(nil),
		"interface in a struct": struct{ Auth authenticator.Authenticator }{password},
	} {
		t.Run(name, func(t *testing.T) { leaks(t, show(t, v)) })
	}
	hidden := struct {
		c     *authenticator.Credentials
		cache *authenticator.Cache
	}{&credentials, cache}
	leaks(t, fmt.Sprintf("%v %+v %#v", hidden, hidden, &hidden)) // other verbs show the field: see doc.go, Caveats
	type named interface {
		fmt.Stringer
		fmt.GoStringer
		slog.LogValuer
		json.Marshaler
	}
	for _, v := range []named{credentials, password, static, used, cache, client, jwt, soap} {
		j, _ := v.MarshalJSON()
		leaks(t, v.String()+v.GoString()+v.LogValue().String()+string(j))
	}
}

// secretSigner is a Signer that would show its key.
type secretSigner struct {
	crypto.Signer
	key string
}

func TestWhatIsNotSecretIsShown(t *testing.T) {
	for _, v := range []any{
		authenticator.Credentials{AccessToken: accessToken, OrgID: "plain"},
		authenticator.Password{ConsumerKey: "plain", Password: password},
		authenticator.Static{AccessToken: accessToken, OrgID: "plain"},
		authenticator.ClientCredentials{ConsumerKey: "plain", ConsumerSecret: consumerSecret},
		authenticator.JWTBearer{ConsumerKey: "plain", PrivateKey: []byte("marker")},
		authenticator.SOAP{Username: "plain", Password: password},
	} {
		var b bytes.Buffer
		slog.New(slog.NewJSONHandler(&b, nil)).Info("m", "v", v)
		j, err := json.Marshal(v)
		for _, text := range []string{fmt.Sprint(v), fmt.Sprintf("%#v", v), string(j), b.String()} {
			if err != nil || !strings.Contains(text, "plain") || !strings.Contains(text, "[redacted]") {
				t.Errorf("%v: %s", err, text)
			}
		}
	}
}
