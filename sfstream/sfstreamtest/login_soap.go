package sfstreamtest

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// The API versions that have SOAP login(): older ones are retired, newer ones never had it.
const (
	oldestSOAPLogin = 31
	newestSOAPLogin = 64
)

// mountSOAP adds login(), the only call of the Partner API that this org has.
func (s *Server) mountSOAP(mux *http.ServeMux) {
	mux.HandleFunc("POST /services/Soap/u/{version}", s.soapLogin)
	mux.HandleFunc("POST /services/Soap/u/{version}/{$}", s.soapLogin)
}

// soapRequest is the envelope of a login(), with any namespace prefixes. Its Header is ignored.
type soapRequest struct {
	XMLName xml.Name `xml:"http://schemas.xmlsoap.org/soap/envelope/ Envelope"`
	Body    struct {
		Login *struct {
			Username string `xml:"urn:partner.soap.sforce.com username"`
			Password string `xml:"urn:partner.soap.sforce.com password"`
		} `xml:"urn:partner.soap.sforce.com login"`
	} `xml:"http://schemas.xmlsoap.org/soap/envelope/ Body"`
}

func (s *Server) soapLogin(w http.ResponseWriter, r *http.Request) {
	s.logins.Add(1)
	const most = 1 << 20
	// The body is read before anything else: the context of a request ends with its connection only
	// after that.
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if f, ok := s.faults.take(atLogin, ""); ok {
		failLogin(w, r, f.code, soapDenied)
		return
	}
	version := r.PathValue("version")
	number, versionErr := strconv.ParseFloat(version, 64)
	var request soapRequest
	switch {
	case !strings.HasPrefix(r.Header.Get("Content-Type"), "text/xml"):
		soapFault(w, "soapenv:Client", "content-type of the request should be text/xml", "")
	case len(r.Header.Values("SOAPAction")) == 0:
		soapFault(w, "soapenv:Client", "SOAPAction HTTP header missing", "")
	case versionErr != nil || !(number >= oldestSOAPLogin && number <= newestSOAPLogin):
		soapDenied(w, "UNSUPPORTED_API_VERSION")
	case err != nil || xml.Unmarshal(body, &request) != nil:
		soapFault(w, "soapenv:Client", "The request is no SOAP envelope", "")
	case request.Body.Login == nil:
		soapFault(w, "soapenv:Client", "No operation available for request, please check the WSDL for the service.", "")
	case s.config.withoutFlow[SOAPFlow]:
		soapDenied(w, "INVALID_OPERATION")
	default:
		user, ok := s.knows(request.Body.Login.Username, request.Body.Login.Password)
		if !ok {
			soapDenied(w, "INVALID_LOGIN")
			return
		}
		s.soapGrant(w, version, user)
	}
}

// soapErrors has the text that Salesforce sends with a code.
var soapErrors = map[string]string{
	"INVALID_LOGIN":                 "Invalid username, password, security token; or user locked out.",
	"LOGIN_MUST_USE_SECURITY_TOKEN": "Invalid username, password, security token; or user locked out. Are you at a new location?",
	"API_DISABLED_FOR_ORG":          "API is not enabled for this Organization or Partner",
	"UNSUPPORTED_API_VERSION":       "Invalid Api version specified on URL",
	"INVALID_OPERATION":             "SOAP API login() is disabled by default in this org. Contact the org administrator to enable SOAP API login().",
	"INSUFFICIENT_ACCESS":           "insufficient access rights: the user needs Use Any API Auth",
}

// soapDenied answers with a fault, given as "CODE" or "CODE/message". An error of the token
// endpoint, such as that of LockUser, is an INVALID_LOGIN here: SOAP does not tell more.
func soapDenied(w http.ResponseWriter, kind string) {
	code, message, given := strings.Cut(kind, "/")
	if code != strings.ToUpper(code) {
		code, given = "INVALID_LOGIN", false
	}
	if !given {
		message = soapErrors[code]
	}
	name := "UnexpectedErrorFault"
	if strings.Contains(code, "LOGIN") {
		name = "LoginFault"
	}
	soapFault(w, code, code+": "+message, fmt.Sprintf(
		`<detail><sf:%[1]s xsi:type="sf:%[1]s"><sf:exceptionCode>%[2]s</sf:exceptionCode>`+
			`<sf:exceptionMessage>%[3]s</sf:exceptionMessage></sf:%[1]s></detail>`, name, escaped(code), escaped(message)))
}

func soapFault(w http.ResponseWriter, code, text, detail string) {
	writeEnvelope(w, http.StatusInternalServerError, `xmlns:sf="urn:fault.partner.soap.sforce.com"`,
		"<soapenv:Fault><faultcode>"+escaped(code)+"</faultcode><faultstring>"+escaped(text)+"</faultstring>"+detail+"</soapenv:Fault>")
}

// writeEnvelope answers without a Header, because some clients take the first child for the Body.
func writeEnvelope(w http.ResponseWriter, status int, namespace, body string) {
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?>`+
		`<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" `+namespace+
		` xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>`+body+`</soapenv:Body></soapenv:Envelope>`)
}

func escaped(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a strings.Builder never fails
	return b.String()
}

// element is a child element with a text; without a text it is xsi:nil.
type element struct{ name, text string }

func elements(list []element) string {
	var b strings.Builder
	for _, e := range list {
		if e.text == "" {
			b.WriteString("<" + e.name + ` xsi:nil="true"/>`)
			continue
		}
		b.WriteString("<" + e.name + ">" + escaped(e.text) + "</" + e.name + ">")
	}
	return b.String()
}

// soapGrant answers with a new session. The order of the children is Salesforce's, because some
// clients count them.
func (s *Server) soapGrant(w http.ResponseWriter, version, user string) {
	now, instance := s.now(), s.instanceURL()
	var id string
	if s.config.passwordExpired {
		id = s.sessions.prefix + "AR" + s.dice.tokens.text() + s.dice.tokens.text() // in Salesforce such a session may only call setPassword, which this org does not have
	} else {
		id = s.sessions.issue(&session{instanceURL: instance, user: user}, now)
	}
	at := func(api string) string {
		return instance + "/services/Soap/" + api + "/" + version + "/" + s.account.OrgID[:15]
	}
	result := elements([]element{
		{"metadataServerUrl", at("m")},
		{"passwordExpired", strconv.FormatBool(s.config.passwordExpired)},
		{"sandbox", "false"},
		{"serverUrl", at("u")},
		{"sessionId", id},
		{"userId", user},
	})
	writeEnvelope(w, http.StatusOK, `xmlns="urn:partner.soap.sforce.com"`,
		"<loginResponse><result>"+result+"<userInfo>"+s.soapUserInfo(user)+"</userInfo></result></loginResponse>")
}

func (s *Server) soapUserInfo(user string) string {
	name := s.username(user)
	return elements([]element{
		{"accessibilityMode", "false"},
		{"chatterExternal", "false"},
		{"currencySymbol", "$"},
		{"orgAttachmentFileSizeLimit", "5242880"},
		{"orgDefaultCurrencyIsoCode", "USD"},
		{"orgDefaultCurrencyLocale", "en_US"},
		{"orgDisallowHtmlAttachments", "false"},
		{"orgHasPersonAccounts", "false"},
		{"organizationId", s.account.OrgID},
		{"organizationMultiCurrency", "false"},
		{"organizationName", "sfstreamtest"},
		{"profileId", "00e000000000001AAA"},
		{"roleId", ""},
		{"sessionSecondsValid", strconv.Itoa(int(s.config.sessionTimeout.Seconds()))},
		{"userDefaultCurrencyIsoCode", ""},
		{"userEmail", name},
		{"userFullName", "Integration User"},
		{"userId", user},
		{"userLanguage", "en_US"},
		{"userLocale", "en_US"},
		{"userName", name},
		{"userTimeZone", "GMT"},
		{"userType", "Standard"},
		{"userUiSkin", "Theme3"},
	})
}
