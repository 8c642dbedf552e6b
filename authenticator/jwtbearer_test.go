package authenticator_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
)

type claims struct {
	Iss, Sub, Aud string
	Exp           int64
}

func claimsOf(t *testing.T, assertion string) (c claims) {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(assertion+"..", ".")[1])
	if err != nil || json.Unmarshal(raw, &c) != nil {
		t.Fatalf("no assertion: %q", assertion)
	}
	return c
}

func refusal(description string, date time.Time) *http.Response {
	body, _ := json.Marshal(map[string]string{"error": "invalid_grant", "error_description": description})
	r := response(400, string(body))
	r.Header = http.Header{}
	if !date.IsZero() {
		r.Header.Set("Date", date.UTC().Format(http.TimeFormat))
	}
	return r
}

func TestAssertionIsOfTheHostThatTheLoginURLStandsFor(t *testing.T) {
	const sandbox, production = authenticator.SandboxURL, authenticator.ProductionURL
	for loginURL, want := range map[string]string{
		"":                             production,
		production:                     production,
		sandbox:                        sandbox,
		"https://TEST.salesforce.com/": sandbox,
		instance:                       production,
		"https://acme--dev.sandbox.my.salesforce.com":       sandbox,
		"https://acme--dev.my.salesforce.com":               sandbox,
		"https://acme.scratch.my.salesforce.com":            sandbox,
		"https://acme-dev-ed.develop.my.salesforce.com":     production,
		"https://sandbox.my.salesforce.com":                 production,
		"https://ability-page-12.scratch.my.salesforce.com": sandbox,
		"http://127.0.0.1:8080":                             production,
	} {
		synctest.Test(t, func(t *testing.T) {
			var sent []url.Values
			login := forms(t, &sent, func(int) *http.Response { return response(200, tokenReply()) })
			login.URL = loginURL
			mustLogin(t, jwtFlow(), login)
			if len(sent) != 1 || len(sent[0]) != 2 {
				t.Fatalf("%s: sent %v", loginURL, sent)
			}
			got := claimsOf(t, sent[0].Get("assertion"))
			if got != (claims{"key", "u@acme.com", want, time.Now().Add(3 * time.Minute).Unix()}) {
				t.Errorf("%s: %+v, want the audience %s", loginURL, got, want)
			}
		})
	}
}

// TestASecondAudienceIsTriedOnce: it is tried only if the first one was refused as an audience, and
// was not chosen by the program.
func TestASecondAudienceIsTriedOnce(t *testing.T) {
	chosen := jwtFlow()
	chosen.Audience = "https://acme.my.site.com"
	for name, test := range map[string]struct {
		auth      authenticator.JWTBearer
		url       string
		says      string
		audiences []string
	}{
		"invalid":            {jwtFlow(), instance, "audience is invalid", []string{authenticator.ProductionURL, instance}},
		"validation failed":  {jwtFlow(), instance + "/", "Audience validation failed", []string{authenticator.ProductionURL, instance}},
		"capital letters":    {jwtFlow(), "https://Acme--Dev.my.salesforce.com/", "audience is invalid", []string{authenticator.SandboxURL, "https://acme--dev.my.salesforce.com"}},
		"production":         {jwtFlow(), "", "audience is invalid", []string{authenticator.ProductionURL}},
		"sandbox":            {jwtFlow(), authenticator.SandboxURL, "audience is invalid", []string{authenticator.SandboxURL}},
		"chosen":             {chosen, instance, "audience is invalid", []string{"https://acme.my.site.com"}},
		"another refusal":    {jwtFlow(), instance, "user hasn't approved this consumer", []string{authenticator.ProductionURL}},
		"about the app":      {jwtFlow(), instance, "invalid client credentials", []string{authenticator.ProductionURL}},
		"an unknown refusal": {jwtFlow(), instance, "audience unknown", []string{authenticator.ProductionURL}},
	} {
		t.Run(name, func(t *testing.T) {
			var sent []url.Values
			login := forms(t, &sent, func(int) *http.Response { return refusal(test.says, time.Time{}) })
			login.URL = test.url
			c, err := test.auth.Authenticate(context.Background(), login)
			e := loginError(t, c, err)
			var got []string
			for _, f := range sent {
				got = append(got, claimsOf(t, f.Get("assertion")).Aud)
			}
			if !slices.Equal(got, test.audiences) || !authenticator.Permanent(e) {
				t.Errorf("sent the audiences %q, want %q: %v", got, test.audiences, e)
			}
			if strings.Contains(test.says, "udience") && test.says != "audience unknown" && !strings.Contains(e.Error(), "the audience was "+strings.Join(got, ", then ")) {
				t.Errorf("%v does not say which audiences were sent", e)
			}
		})
	}
	s := newStrictServer(t)
	s.audiences = []string{s.URL}
	mustLogin(t, jwtFlow(), authenticator.Login{URL: s.URL})
	if !slices.Equal(s.said, []string{"invalid_grant audience is invalid", ""}) {
		t.Errorf("the server said %q", s.said)
	}
}

func TestAWrongClockIsCorrectedOnce(t *testing.T) {
	for _, skew := range []time.Duration{-time.Hour, -6 * time.Minute, 10 * time.Minute, 24 * time.Hour} {
		s := newStrictServer(t)
		s.skew = skew
		mustLogin(t, jwtFlow(), authenticator.Login{URL: s.URL})
		if !slices.Equal(s.said, []string{"invalid_grant expired authorization code", ""}) {
			t.Errorf("%v: the server said %q", skew, s.said)
		}
	}
	both := newStrictServer(t) // both reasons together take two requests, not three: the Date is heeded at once
	both.skew, both.audiences = time.Hour, []string{both.URL}
	mustLogin(t, jwtFlow(), authenticator.Login{URL: both.URL})
	if len(both.said) != 2 {
		t.Errorf("the server said %q", both.said)
	}
	for name, test := range map[string]struct {
		says string
		off  time.Duration // how far the Date is off, times the number of the request; 0: there is no Date
		want int
	}{
		"right clock":           {"expired authorization code", time.Second, 1},
		"no Date":               {"expired authorization code", 0, 1},
		"still refused":         {"expired authorization code", time.Hour, 2},
		"invalid assertion":     {"invalid assertion", -time.Hour, 2},
		"nothing to do with it": {"user hasn't approved this consumer", time.Hour, 1},
		"a locked user":         {"user is locked", time.Hour, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var sent []url.Values
			login := forms(t, &sent, func(n int) *http.Response {
				if test.off == 0 {
					return refusal(test.says, time.Time{})
				}
				return refusal(test.says, time.Now().Add(test.off*time.Duration(n))) // a Date that is further off each time
			})
			c, err := jwtFlow().Authenticate(context.Background(), login)
			e := loginError(t, c, err)
			if len(sent) != test.want || !authenticator.Permanent(e) {
				t.Errorf("%d requests, want %d: %v", len(sent), test.want, e)
			}
			if off := strings.Contains(e.Error(), "clock is"); off != (test.want == 2) {
				t.Errorf("%v", e)
			}
		})
	}
}

// TestNoMoreThanThreeAssertions: a server that finds a new reason each time gets one more assertion
// for each reason.
func TestNoMoreThanThreeAssertions(t *testing.T) {
	for _, words := range [][]string{
		{"audience is invalid", "expired authorization code"},
		{"expired authorization code", "audience is invalid"},
	} {
		var sent []url.Values
		login := forms(t, &sent, func(n int) *http.Response {
			date := time.Time{}
			if n > 1 || words[0][0] == 'e' {
				date = time.Now().Add(time.Duration(n) * time.Hour)
			}
			return refusal(words[(n-1)%2], date)
		})
		login.URL = instance
		c, err := jwtFlow().Authenticate(context.Background(), login)
		loginError(t, c, err)
		if len(sent) != 3 {
			t.Errorf("%q: %d requests", words, len(sent))
		}
	}
}

func TestPrivateKeys(t *testing.T) {
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(testKey())})
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecDER, _ := x509.MarshalPKCS8PrivateKey(ec)
	block := func(kind, data string) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte(data)}))
	}
	old := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}, Bytes: []byte("marker")}))
	for name, test := range map[string]struct{ file, err string }{
		"PKCS#1":                  {string(pkcs1), ""},
		"PKCS#8":                  {string(pkcs8()), ""},
		"text around":             {"Bag Attributes\n  friendlyName: x\n" + string(pkcs8()) + "\n\n", ""},
		"behind its certificate":  {block("CERTIFICATE", "x") + string(pkcs8()), ""},
		"CRLF":                    {strings.ReplaceAll(string(pkcs8()), "\n", "\r\n"), ""},
		"byte order mark":         {"\ufeff" + string(pkcs8()), ""},
		"no last newline":         {strings.TrimSpace(string(pkcs8())), ""},
		"lines joined":            {strings.ReplaceAll(string(pkcs8()), "\n", " "), "lines are joined, indented or in quotes"},
		"lines indented":          {"  " + strings.ReplaceAll(string(pkcs8()), "\n", "\n  "), "lines are joined, indented or in quotes"},
		"in quotes":               {`"` + string(pkcs8()) + `"`, "lines are joined, indented or in quotes"},
		"cut off":                 {string(pkcs8()[:600]), "cut off"},
		"a path":                  {"/run/secrets/marker.pem", "it is the file's text, not its path"},
		"nothing":                 {"", "missing: PrivateKey (or Signer)"},
		"no PEM":                  {"marker", "holds no private key in PEM"},
		"a certificate":           {block("CERTIFICATE", "marker"), "there is a certificate, which belongs to the app"},
		"a public key":            {block("PUBLIC KEY", "marker"), "there is a public key"},
		"encrypted PKCS#8":        {block("ENCRYPTED PRIVATE KEY", "marker"), "is encrypted: write it without a passphrase"},
		"encrypted PKCS#1":        {old, "is encrypted: write it without a passphrase"},
		"OpenSSH":                 {block("OPENSSH PRIVATE KEY", "marker"), "ssh-keygen"},
		"elliptic curve":          {block("EC PRIVATE KEY", "marker"), "RSA only"},
		"elliptic curve in PKCS8": {block("PRIVATE KEY", string(ecDER)), "RSA only"},
		"broken PKCS#1":           {block("RSA PRIVATE KEY", "marker"), "is broken"},
		"broken PKCS#8":           {block("PRIVATE KEY", "marker"), "is broken"},
	} {
		t.Run(name, func(t *testing.T) {
			j := jwtFlow()
			j.PrivateKey = []byte(test.file)
			s := newStrictServer(t)
			c, err := j.Authenticate(context.Background(), authenticator.Login{URL: s.URL})
			if test.err == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if e := loginError(t, c, err); e.Code != "invalid_config" || !strings.Contains(e.Error(), test.err) || len(s.said) > 0 {
				t.Errorf("got %v after %d requests", e, len(s.said))
			}
		})
	}
}

// smallKey has 512 bits, which nobody accepts any more.
func smallKey() []byte {
	for {
		p, _ := rand.Prime(rand.Reader, 256)
		q, _ := rand.Prime(rand.Reader, 256)
		n, one := new(big.Int).Mul(p, q), big.NewInt(1)
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		if d := new(big.Int).ModInverse(big.NewInt(65537), phi); d != nil {
			der, _ := asn1.Marshal(struct {
				Version             int
				N                   *big.Int
				E                   int
				D, P, Q, Dp, Dq, Qi *big.Int
			}{0, n, 65537, d, p, q, new(big.Int).Mod(d, new(big.Int).Sub(p, one)), new(big.Int).Mod(d, new(big.Int).Sub(q, one)), new(big.Int).ModInverse(q, p)})
			return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: der})
		}
	}
}

type signer struct {
	crypto.Signer
	err error
}

func (s signer) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, s.err }

func TestSigners(t *testing.T) {
	down := errors.New("the KMS is down, says " + consumerSecret)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change    func(*authenticator.JWTBearer)
		code      string
		says      string
		permanent bool
	}{
		"both":    {func(j *authenticator.JWTBearer) { j.Signer = testKey() }, "invalid_config", "both set", true},
		"not RSA": {func(j *authenticator.JWTBearer) { j.PrivateKey, j.Signer = nil, ed }, "invalid_config", "RSA only", true},
		"it fails": {func(j *authenticator.JWTBearer) {
			j.PrivateKey, j.Signer = nil, signer{testKey(), errors.New("KMS down")}
		}, "signer_failed", "KMS down", false},
		"no app":    {func(j *authenticator.JWTBearer) { j.ConsumerKey = "" }, "invalid_config", "missing: ConsumerKey", true},
		"no user":   {func(j *authenticator.JWTBearer) { j.Username = "" }, "invalid_config", "missing: Username", true},
		"nil key":   {func(j *authenticator.JWTBearer) { j.PrivateKey, j.Signer = nil, (*rsa.PrivateKey)(nil) }, "invalid_config", "Signer is a nil *rsa.PrivateKey", true},
		"small key": {func(j *authenticator.JWTBearer) { j.PrivateKey = smallKey() }, "invalid_config", "PrivateKey ", true},
		"no secret": {func(j *authenticator.JWTBearer) { j.PrivateKey = nil }, "invalid_config", "missing: PrivateKey (or Signer)", true},
	} {
		t.Run(name, func(t *testing.T) {
			j := jwtFlow()
			test.change(&j)
			c, err := j.Authenticate(context.Background(), inMemory(func(*http.Request) (*http.Response, error) {
				t.Error("a request was sent")
				return nil, down
			}))
			if e := loginError(t, c, err); e.Code != test.code || !strings.Contains(e.Error(), test.says) || authenticator.Permanent(e) != test.permanent {
				t.Errorf("got %v", e)
			}
		})
	}
}
