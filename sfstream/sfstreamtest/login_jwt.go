package sfstreamtest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// maxAssertionLife is how far the exp of an assertion may lie ahead of the org's clock.
// Salesforce's documentation says 3 minutes, but it accepts the 5 that many clients use.
const maxAssertionLife = 5 * time.Minute

// appKey is the key pair of the app. All orgs of the process share it, because making one takes as
// long as many tests do.
var appKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, _ := rsa.GenerateKey(rand.Reader, 2048) // it fails only for sizes that are too small
	return key
})

// PrivateKeyPEM returns a private key that may sign the app's JWT bearer assertions, in PKCS #8. It
// is made at the first call, for this process; the org knows its public key.
func (s *Server) PrivateKeyPEM() []byte {
	der, err := x509.MarshalPKCS8PrivateKey(appKey())
	if err != nil {
		return nil // not reached: every RSA key can be PKCS #8
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// assertion has the claims of a JWT that the org checks. Aud is one text, as in Salesforce's
// examples, and no array.
type assertion struct {
	Iss, Sub, Aud string
	Exp           *float64 // seconds since 1970
}

// jwtGrant is the JWT bearer flow. It needs no consumer secret: the iss of the assertion names the
// app, and its signature proves it.
func (s *Server) jwtGrant(w http.ResponseWriter, r *http.Request) {
	claims, ok := s.parseAssertion(r.PostForm.Get("assertion"))
	if !ok {
		denied(w, "invalid_grant/invalid assertion")
		return
	}
	if wrong := s.judgeAssertion(claims); wrong != "" {
		denied(w, wrong)
		return
	}
	user, _ := s.user(claims.Sub)
	s.grant(w, user, map[string]string{"scope": "api"})
}

// parseAssertion reads a JWT that one of the app's keys has signed.
func (s *Server) parseAssertion(token string) (claims assertion, ok bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return claims, false
	}
	var header struct{ Alg string }
	signature, err := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	if err != nil || !decodePart(parts[0], &header) || header.Alg != "RS256" || !decodePart(parts[1], &claims) {
		return claims, false
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	signed := func(key *rsa.PublicKey) bool {
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) == nil
	}
	return claims, slices.ContainsFunc(s.config.publicKeys, signed) || signed(&appKey().PublicKey)
}

func decodePart(part string, into any) bool {
	text, err := base64.RawURLEncoding.Strict().DecodeString(part)
	return err == nil && json.Unmarshal(text, into) == nil
}

// judgeAssertion returns the error, "code/description", for the claims of an assertion whose
// signature is right; "" if they are right too.
func (s *Server) judgeAssertion(claims assertion) (wrong string) {
	audiences := []string{s.instanceURL()}
	if !s.config.myDomainAudience {
		audiences = append(audiences, s.LoginURL(), "https://login.salesforce.com", "https://test.salesforce.com")
	}
	_, known := s.user(claims.Sub)
	switch {
	case claims.Iss != s.account.ConsumerKey:
		return "invalid_client_id"
	case !slices.Contains(audiences, claims.Aud):
		return "invalid_grant/audience is invalid"
	case claims.Exp == nil:
		return "invalid_grant/invalid assertion"
	case !s.isTimely(*claims.Exp):
		return "invalid_grant/expired authorization code"
	case !known || s.config.withoutFlow[JWTBearerFlow]:
		return "invalid_grant/user hasn't approved this consumer"
	}
	return ""
}

// isTimely reports whether an assertion with this exp is good now, by the org's clock (one that
// stands still would refuse those of our time). An exp in milliseconds lies thousands of years
// ahead.
func (s *Server) isTimely(exp float64) bool {
	left := exp - float64(time.Now().Add(s.clock.skew).UnixMilli())/1000
	return left > 0 && left <= maxAssertionLife.Seconds()
}
