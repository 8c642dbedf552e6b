package sfstreamtest_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// claims returns the claims of a good assertion.
func (r *rig) claims() map[string]any {
	return map[string]any{
		"iss": r.Account().ConsumerKey, "sub": r.Account().Username, "aud": "https://login.salesforce.com",
		"exp": time.Now().Add(3 * time.Minute).Unix(),
	}
}

func (r *rig) key() *rsa.PrivateKey {
	r.tb.Helper()
	block, rest := pem.Decode(r.PrivateKeyPEM())
	if block == nil || len(rest) > 0 {
		r.tb.Fatal("no PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	check(r.tb, err)
	return key.(*rsa.PrivateKey)
}

func (r *rig) jwtForm(claims map[string]any) url.Values {
	r.tb.Helper()
	return jwtForm(sign(r.tb, r.key(), map[string]any{"alg": "RS256"}, claims))
}

func jwtForm(assertion string) url.Values {
	return url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}}
}

// sign makes a JWT, whatever its header says.
func sign(tb testing.TB, key *rsa.PrivateKey, header, claims map[string]any) string {
	tb.Helper()
	var parts []string
	for _, part := range []map[string]any{header, claims} {
		text, err := json.Marshal(part)
		check(tb, err)
		parts = append(parts, base64.RawURLEncoding.EncodeToString(text))
	}
	token := strings.Join(parts, ".")
	digest := sha256.Sum256([]byte(token))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	check(tb, err)
	return token + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func TestJWTBearer(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		reply := r.enter(r.jwtForm(r.claims()))
		if reply["refresh_token"] != "" || !strings.HasSuffix(reply["id"], "/"+r.Account().UserID) {
			t.Errorf("got %v", reply)
		}
		for _, audience := range []string{"https://test.salesforce.com", r.LoginURL()} {
			claims := r.claims()
			claims["aud"] = audience
			r.enter(r.jwtForm(claims))
		}
		claims := r.claims()
		claims["sub"], claims["exp"] = "second@sfstream.example", time.Now().Add(5*time.Minute).Unix()
		if reply := r.enter(r.jwtForm(claims)); !strings.HasSuffix(reply["id"], "/005000000000002AAA") {
			t.Errorf("got %v", reply)
		}
	}, sfstreamtest.WithUser("second@sfstream.example", "005000000000002AAA"))
}

// Each mistake in an assertion has an answer of its own.
func TestAssertionsThatAreRefused(t *testing.T) {
	const (
		invalid  = "invalid_grant: invalid assertion"
		audience = "invalid_grant: audience is invalid"
		expired  = "invalid_grant: expired authorization code"
	)
	minutes := func(n time.Duration) int64 { return time.Now().Add(n * time.Minute).Unix() }
	for name, test := range map[string]struct {
		claim  string
		value  func() any
		status int
		want   string
	}{
		"another app":          {"iss", func() any { return "guess" }, 401, "invalid_client_id: client identifier invalid"},
		"no app":               {"iss", func() any { return nil }, 401, "invalid_client_id: client identifier invalid"},
		"another audience":     {"aud", func() any { return "https://example.com" }, 400, audience},
		"an audience's path":   {"aud", func() any { return "https://login.salesforce.com/" }, 400, audience},
		"no audience":          {"aud", func() any { return nil }, 400, audience},
		"a list of audiences":  {"aud", func() any { return []string{"https://login.salesforce.com"} }, 400, invalid},
		"an unknown user":      {"sub", func() any { return "nobody" }, 400, "invalid_grant: user hasn't approved this consumer"},
		"no user":              {"sub", func() any { return nil }, 400, "invalid_grant: user hasn't approved this consumer"},
		"expired":              {"exp", func() any { return minutes(0) }, 400, expired},
		"too long":             {"exp", func() any { return minutes(6) }, 400, expired},
		"milliseconds":         {"exp", func() any { return minutes(3) * 1000 }, 400, expired},
		"no expiry":            {"exp", func() any { return nil }, 400, invalid},
		"an expiry that is no": {"exp", func() any { return "soon" }, 400, invalid},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				claims := r.claims()
				claims[test.claim] = test.value()
				r.wantDenied(r.jwtForm(claims), test.status, test.want)
			})
		})
	}
}

func TestSignaturesThatAreRefused(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		other, err := rsa.GenerateKey(rand.Reader, 2048)
		check(t, err)
		good := sign(t, r.key(), map[string]any{"alg": "RS256"}, r.claims())
		header, rest, _ := strings.Cut(good, ".")
		_, signature, _ := strings.Cut(rest, ".")
		claims := r.claims()
		claims["sub"] = "someone@else"
		_, stolen, _ := strings.Cut(sign(t, other, map[string]any{"alg": "RS256"}, claims), ".")
		changed, _, _ := strings.Cut(stolen, ".")
		for name, token := range map[string]string{
			"another key":    sign(t, other, map[string]any{"alg": "RS256"}, r.claims()),
			"no algorithm":   sign(t, r.key(), map[string]any{"alg": "none"}, r.claims()),
			"another one":    sign(t, r.key(), map[string]any{"alg": "RS512"}, r.claims()),
			"changed claims": header + "." + changed + "." + signature,
			"no signature":   strings.TrimSuffix(good, signature),
			"two parts":      strings.TrimSuffix(good, "."+signature),
			"padding":        good + "==",
			"nothing":        "",
		} {
			t.Log(name)
			r.wantDenied(jwtForm(token), 400, "invalid_grant: invalid assertion")
		}
		r.enter(jwtForm(good))
	})
}

func TestPublicKeysOfTheApp(t *testing.T) {
	mine, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)
	bubble(t, func(t *testing.T, r *rig) {
		r.enter(jwtForm(sign(t, mine, map[string]any{"alg": "RS256", "kid": "1"}, r.claims())))
		r.enter(r.jwtForm(r.claims()))
	}, sfstreamtest.WithPublicKeys(&mine.PublicKey))
}

func TestAnAssertionIsJudgedByTheClockOfTheOrg(t *testing.T) {
	for skew, late := range map[time.Duration]time.Duration{7 * time.Minute: 10 * time.Minute, -7 * time.Minute: -4 * time.Minute} {
		bubble(t, func(t *testing.T, r *rig) {
			r.wantDenied(r.jwtForm(r.claims()), 400, "invalid_grant: expired authorization code")
			claims := r.claims()
			claims["exp"] = time.Now().Add(late).Unix()
			r.enter(r.jwtForm(claims))
		}, sfstreamtest.WithClockSkew(skew))
	}
}

func TestAnOrgThatWantsItsMyDomainAsAudience(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		claims := r.claims()
		for _, audience := range []string{"https://login.salesforce.com", r.LoginURL()} {
			claims["aud"] = audience
			r.wantDenied(r.jwtForm(claims), 400, "invalid_grant: audience is invalid")
		}
		claims["aud"] = r.login()["instance_url"]
		r.enter(r.jwtForm(claims))
	}, sfstreamtest.WithLoginHost(), sfstreamtest.WithMyDomainAudience())
}
