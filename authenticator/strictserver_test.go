package authenticator_test

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/authenticator"
)

// strictServer is a token endpoint after RFC 6749 and RFC 7523 with the errors and the replies of
// Salesforce, and Salesforce's SOAP login. It verifies all that a client sends.
type strictServer struct {
	*httptest.Server
	key       *rsa.PublicKey
	audiences []string      // the audiences that it accepts
	skew      time.Duration // how far its clock is ahead
	noID      bool          // replies have no identity URL: clients have to ask userinfo
	said      []string      // what it answered, one entry for each request
}

func newStrictServer(t *testing.T) *strictServer {
	s := &strictServer{key: &testKey().PublicKey, audiences: []string{authenticator.ProductionURL}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /services/oauth2/token", s.token)
	mux.HandleFunc("POST /services/Soap/u/64.0/{$}", s.soap)
	mux.HandleFunc("GET /services/oauth2/userinfo", s.userinfo)
	s.Server = serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", s.now().UTC().Format(http.TimeFormat))
		mux.ServeHTTP(w, r)
	})
	return s
}

func (s *strictServer) now() time.Time { return time.Now().Add(s.skew) }

func (s *strictServer) token(w http.ResponseWriter, r *http.Request) {
	code, description := s.grant(r)
	s.said = append(s.said, strings.TrimSpace(code+" "+description))
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.Header().Set("Cache-Control", "no-store")
	if code != "" {
		w.WriteHeader(http.StatusBadRequest)
		json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": description})
		return
	}
	reply := tokenReply("instance_url", s.URL, "id", s.URL+"/id/"+orgID+"/"+userID)
	if s.noID {
		reply = tokenReply("instance_url", s.URL, "id", "")
	}
	io.WriteString(w, reply)
}

// grant judges a request as RFC 6749 §3.2 and §5.2 demand: each parameter once, and none in the
// URL.
func (s *strictServer) grant(r *http.Request) (code, description string) {
	if r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || r.URL.RawQuery != "" {
		return "invalid_request", "not a form"
	}
	if err := r.ParseForm(); err != nil {
		return "invalid_request", "not a form"
	}
	sent := map[string]string{}
	for name, values := range r.PostForm {
		if len(values) != 1 || values[0] == "" {
			return "invalid_request", "parameter " + name
		}
		sent[name] = values[0]
	}
	var want map[string]string
	switch sent["grant_type"] {
	case "password":
		want = map[string]string{"client_id": "key", "client_secret": consumerSecret, "username": "u@acme.com", "password": password + securityToken}
	case "refresh_token":
		want = map[string]string{"client_id": "key", "client_secret": consumerSecret, "refresh_token": refreshToken}
	case "client_credentials":
		want = map[string]string{"client_id": "key", "client_secret": consumerSecret}
	case "urn:ietf:params:oauth:grant-type:jwt-bearer":
		want = map[string]string{"assertion": sent["assertion"]}
		if refused := s.assertion(sent["assertion"]); refused != "" {
			return "invalid_grant", refused
		}
	default:
		return "unsupported_grant_type", "grant type not supported"
	}
	want["grant_type"] = sent["grant_type"]
	if fmt.Sprint(sent) != fmt.Sprint(want) {
		return "invalid_grant", "authentication failure"
	}
	return "", ""
}

// assertion verifies a JWT after RFC 7523 §3, and returns why it is refused.
func (s *strictServer) assertion(text string) string {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return "invalid assertion"
	}
	var header struct{ Alg string }
	var claims struct {
		Iss, Sub, Aud string
		Exp           int64
	}
	for i, into := range []any{&header, &claims} {
		raw, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(raw, into) != nil {
			return "invalid assertion"
		}
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err != nil || header.Alg != "RS256" || rsa.VerifyPKCS1v15(s.key, crypto.SHA256, digest[:], signature) != nil {
		return "invalid assertion"
	}
	left := time.Unix(claims.Exp, 0).Sub(s.now())
	switch {
	case claims.Iss != "key":
		return "client identifier invalid"
	case claims.Sub != "u@acme.com":
		return "user hasn't approved this consumer"
	case !slices.Contains(s.audiences, claims.Aud):
		return "audience is invalid"
	case left <= 0 || left > 5*time.Minute:
		return "expired authorization code"
	}
	return ""
}

func (s *strictServer) userinfo(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+accessToken {
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, "Bad_OAuth_Token")
		return
	}
	fmt.Fprintf(w, `{"organization_id":%q,"user_id":%q}`, orgID, userID)
}

func (s *strictServer) soap(w http.ResponseWriter, r *http.Request) {
	var call struct {
		XMLName xml.Name `xml:"http://schemas.xmlsoap.org/soap/envelope/ Envelope"`
		Body    struct {
			Login struct {
				Username string `xml:"urn:partner.soap.sforce.com username"`
				Password string `xml:"urn:partner.soap.sforce.com password"`
			} `xml:"urn:partner.soap.sforce.com login"`
		} `xml:"http://schemas.xmlsoap.org/soap/envelope/ Body"`
	}
	body, _ := io.ReadAll(r.Body)
	_, action := r.Header["Soapaction"]
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	switch login := &call.Body.Login; {
	case xml.Unmarshal(body, &call) != nil || !action || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/xml"):
		w.WriteHeader(http.StatusInternalServerError)
		io.WriteString(w, soapFault("soapenv:Client", "not a call", "", ""))
	case login.Username != "u@acme.com" || login.Password != password+securityToken:
		w.WriteHeader(http.StatusInternalServerError)
		io.WriteString(w, soapFault("sf:INVALID_LOGIN", invalidLogin, "INVALID_LOGIN", "Invalid username, password, security token; or user locked out."))
	default:
		io.WriteString(w, soapReply("serverUrl", s.URL+"/services/Soap/u/64.0/00D000000000001"))
	}
}

const invalidLogin = "INVALID_LOGIN: Invalid username, password, security token; or user locked out."

// soapReply returns a good reply with changes: pairs of element and value.
func soapReply(pairs ...string) string {
	values := map[string]string{"passwordExpired": "false", "serverUrl": instance + "/services/Soap/u/64.0/00D000000000001",
		"sessionId": accessToken, "userId": userID, "organizationId": orgID}
	for i := 0; i < len(pairs); i += 2 {
		values[pairs[i]] = pairs[i+1]
	}
	element := func(name string) string {
		var b strings.Builder
		xml.EscapeText(&b, []byte(values[name]))
		return "<" + name + ">" + b.String() + "</" + name + ">"
	}
	return `<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" ` +
		`xmlns="urn:partner.soap.sforce.com" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body><loginResponse><result>` +
		`<metadataServerUrl>https://x/m</metadataServerUrl>` + element("passwordExpired") + `<sandbox>false</sandbox>` + element("serverUrl") +
		element("sessionId") + element("userId") + `<userInfo><currencySymbol xsi:nil="true"/>` + element("organizationId") +
		`<userId>` + userID + `</userId></userInfo></result></loginResponse></soapenv:Body></soapenv:Envelope>`
}

// soapFault returns a fault; without an exception it has no detail.
func soapFault(faultCode, faultText, exception, message string) string {
	detail := ""
	if exception != "" {
		detail = `<detail><sf:LoginFault xsi:type="sf:LoginFault"><sf:exceptionCode>` + exception + `</sf:exceptionCode><sf:exceptionMessage>` +
			message + `</sf:exceptionMessage></sf:LoginFault></detail>`
	}
	return `<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" ` +
		`xmlns:sf="urn:fault.partner.soap.sforce.com" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body><soapenv:Fault>` +
		`<faultcode>` + faultCode + `</faultcode><faultstring>` + faultText + `</faultstring>` + detail +
		`</soapenv:Fault></soapenv:Body></soapenv:Envelope>`
}

func TestEachFlowLogsInAtAStrictServer(t *testing.T) {
	signing := jwtFlow()
	signing.PrivateKey, signing.Signer = nil, testKey()
	all := map[string]authenticator.Authenticator{"jwt_bearer by a Signer": signing}
	for name, flow := range flows() {
		all[name] = flow.auth
	}
	for name, auth := range all {
		for _, noID := range []bool{false, true} {
			t.Run(fmt.Sprint(name, noID), func(t *testing.T) {
				s := newStrictServer(t)
				s.noID = noID
				if r, ok := auth.(*authenticator.RefreshToken); ok {
					auth = &authenticator.RefreshToken{ConsumerKey: r.ConsumerKey, ConsumerSecret: r.ConsumerSecret, RefreshToken: r.RefreshToken}
				}
				c := mustLogin(t, auth, authenticator.Login{URL: s.URL})
				if c.AccessToken != accessToken || c.InstanceURL != s.URL || c.OrgID != orgID || c.UserID != userID {
					t.Errorf("got %v", c)
				}
			})
		}
	}
}

func TestAStrictServerRefusesOthers(t *testing.T) {
	wrongPassword, wrongSecret, wrongUser, wrongSOAP := passwordFlow(), clientCredentialsFlow(), jwtFlow(), soapFlow()
	wrongPassword.Password, wrongSecret.ConsumerSecret, wrongUser.Username, wrongSOAP.SecurityToken = "marker", "marker2", "else@acme.com", ""
	for name, auth := range map[string]authenticator.Authenticator{"password": wrongPassword, "secret": wrongSecret, "user": wrongUser, "SOAP": wrongSOAP} {
		t.Run(name, func(t *testing.T) {
			c, err := auth.Authenticate(context.Background(), authenticator.Login{URL: newStrictServer(t).URL})
			if e := loginError(t, c, err); !authenticator.Permanent(e) || e.Code != "invalid_grant" && e.Code != "INVALID_LOGIN" {
				t.Errorf("got %v", e)
			}
		})
	}
}

// forms returns a Login that records the forms sent to it in sent, and answers with answer.
func forms(t *testing.T, sent *[]url.Values, answer func(n int) *http.Response) authenticator.Login {
	return inMemory(func(r *http.Request) (*http.Response, error) {
		*sent = append(*sent, form(t, r))
		return answer(len(*sent)), nil
	})
}
