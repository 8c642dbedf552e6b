package authenticator

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// lastSOAP is the last version of the SOAP API that has the login call.
const lastSOAP = 64

// SOAP logs in by the login call of the SOAP API, which needs no app. Salesforce retires it in
// Summer '27. Orgs made since Winter '26 have it off by default, API versions above 64.0 do not
// have it, and since Summer '26 the user may need the permission Use Any API Auth. This type is for
// orgs that have nothing else; use [JWTBearer] or [ClientCredentials].
//
// It is safe for concurrent use and redacts itself as [Credentials] does.
type SOAP struct {
	Username      string // in a sandbox it ends in .sandboxname
	Password      string
	SecurityToken string // sent after the password; empty if our address is in a trusted IP range
	APIVersion    string // "64.0", the default, is the last one that works
}

// loginCall is the request. Its element names have their prefixes written out, because encoding/xml
// would repeat the namespace at every element.
type loginCall struct {
	XMLName  xml.Name `xml:"soapenv:Envelope"`
	Envelope string   `xml:"xmlns:soapenv,attr"`
	Partner  string   `xml:"xmlns:urn,attr"`
	Username string   `xml:"soapenv:Body>urn:login>urn:username"`
	Password string   `xml:"soapenv:Body>urn:login>urn:password"`
}

// loginReply is the reply: a result, or a fault. It finds elements by their local names, so that
// neither prefixes nor their order matter.
type loginReply struct {
	XMLName xml.Name `xml:"Envelope"`
	Fault   *struct {
		Code   string `xml:"faultcode"`
		Text   string `xml:"faultstring"`
		Detail struct {
			Any []struct {
				Code    string `xml:"exceptionCode"`
				Message string `xml:"exceptionMessage"`
			} `xml:",any"`
		} `xml:"detail"`
	} `xml:"Body>Fault"`
	Result struct {
		SessionID       string `xml:"sessionId"`
		ServerURL       string `xml:"serverUrl"`
		OrgID           string `xml:"userInfo>organizationId"`
		UserID          string `xml:"userId"`
		PasswordExpired string `xml:"passwordExpired"`
	} `xml:"Body>loginResponse>result"`
}

// Authenticate performs one login. Its errors are [*Error]; the Code of a fault is its
// exceptionCode, without a prefix.
func (s SOAP) Authenticate(ctx context.Context, login Login) (*Credentials, error) {
	x := newExchange("soap", login, s.Password, s.SecurityToken, s.Password+s.SecurityToken)
	if err := x.require("Username", s.Username, "Password", s.Password); err != nil {
		return nil, err
	}
	version, reason := soapVersion(s.APIVersion)
	if reason == "" && (!isXMLText(s.Username) || !isXMLText(s.Password+s.SecurityToken)) {
		reason = "Username, Password or SecurityToken holds a character that XML cannot carry"
	}
	if reason != "" {
		return nil, x.fail(codeConfig, 0, nil, "%s", reason)
	}
	base, err := x.base()
	if err != nil {
		return nil, err
	}
	body, err := xml.Marshal(loginCall{
		Envelope: "http://schemas.xmlsoap.org/soap/envelope/",
		Partner:  "urn:partner.soap.sforce.com",
		Username: s.Username,
		Password: s.Password + s.SecurityToken,
	})
	if err != nil {
		return nil, x.fail(codeConfig, 0, nil, "the request cannot be written")
	}
	var escaped strings.Builder // the password in XML's form, to redact it if a server quotes the request
	xml.EscapeText(&escaped, []byte(s.Password))
	x.secrets = append(x.secrets, escaped.String())
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	x.at = base.String() + "/services/Soap/u/" + version + "/"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, x.at, strings.NewReader(xml.Header+string(body)))
	if err != nil {
		return nil, x.fail(codeConfig, 0, nil, "no request can be made for the login URL")
	}
	req.Header.Set("Content-Type", "text/xml; charset=UTF-8")
	req.Header.Set("SOAPAction", "login") // Salesforce wants the header, with any value
	client, rec := x.client()
	resp, err := client.Do(req)
	if err != nil {
		return nil, x.refusal(ctx, base, nil, err)
	}
	defer resp.Body.Close()
	var answer loginReply
	if err := xml.Unmarshal(rec.reply.body, &answer); err != nil {
		return nil, x.notSOAP(ctx, req, rec.reply)
	}
	return x.session(answer, resp.StatusCode)
}

// session makes credentials from a reply. A SOAP fault is an error whatever the HTTP status is.
func (x *exchange) session(answer loginReply, status int) (*Credentials, error) {
	r := answer.Result
	x.secrets = append(x.secrets, r.SessionID)
	if f := answer.Fault; f != nil {
		code, text := f.Code, f.Text
		if detail := f.Detail.Any; len(detail) > 0 && strings.TrimSpace(detail[0].Code) != "" {
			code, text = detail[0].Code, detail[0].Message
		}
		code, text = x.clean(code), x.clean(text)
		code = strings.TrimSpace(code[strings.LastIndexByte(code, ':')+1:]) // without a namespace prefix such as sf:
		if match := faultText.FindStringSubmatch(text); match != nil {
			if strings.ToUpper(code) != code || code == "" { // it is not Salesforce's code but one of SOAP, as Server
				code = match[1]
			}
			text = strings.TrimPrefix(text, code+": ")
		}
		if code == "" {
			code = "Server"
		}
		e := x.fail(code, status, nil, "%s", text)
		e.fault = true
		return nil, e
	}
	c := &Credentials{AccessToken: r.SessionID, TokenType: "Bearer", InstanceURL: r.ServerURL, OrgID: r.OrgID, UserID: strings.TrimSpace(r.UserID)}
	reason := c.checked()
	x.secrets = append(x.secrets, c.AccessToken)
	switch {
	case status != http.StatusOK:
		return nil, x.fail(codeIncomplete, status, nil, "the reply is neither a fault nor a success")
	case strings.TrimSpace(r.PasswordExpired) == "true" || strings.TrimSpace(r.PasswordExpired) == "1":
		// Salesforce returns a session id with an expired password too, but that session may only
		// set a new password.
		return nil, x.fail(codeExpired, status, nil, "the user's password has expired")
	case reason != "":
		reason = strings.NewReplacer("AccessToken", "sessionId", "InstanceURL", "serverUrl", "OrgID", "organizationId").Replace(reason)
		return nil, x.fail(codeIncomplete, status, nil, "in the reply %s", reason)
	case c.AccessToken == "" || c.InstanceURL == "" || c.OrgID == "":
		return nil, x.fail(codeIncomplete, status, nil, "the reply lacks sessionId, serverUrl or organizationId")
	}
	return c, nil
}

// notSOAP returns the error of a reply that cannot be read as a SOAP message. One that breaks off
// is a malformed reply and not an HTML page, though both begin with "<".
func (x *exchange) notSOAP(ctx context.Context, req *http.Request, r *reply) *Error {
	e := x.refusal(ctx, req.URL, r, nil)
	switch {
	case e.Code == codeHTML && envelope.Match(r.body):
		return x.fail(codeMalformed, r.status, nil, "%s sent a reply that is not well-formed or breaks off", req.URL.Host)
	case e.Code == codeIncomplete:
		return x.fail(codeMalformed, r.status, nil, "%s sent a reply that is not XML", req.URL.Host)
	}
	return e
}

// envelope matches every SOAP message, near its beginning, and no HTML page.
var envelope = regexp.MustCompile(`[<:]Envelope[ >]`)

// faultText matches the text of a fault, which begins with the code of the fault.
var faultText = regexp.MustCompile(`^([A-Z]+(?:_[A-Z]+)+): `)

var soapVersions = regexp.MustCompile(`^[0-9]{1,3}\.0$`)

// soapVersion returns the API version to use, lastSOAP if none is given, or the reason why the
// given one cannot be used.
func soapVersion(version string) (_, reason string) {
	if version == "" {
		return strconv.Itoa(lastSOAP) + ".0", ""
	}
	if !soapVersions.MatchString(version) {
		return "", `APIVersion must be written as "64.0"`
	}
	if n, _ := strconv.Atoi(strings.TrimSuffix(version, ".0")); n > lastSOAP {
		return "", fmt.Sprintf("APIVersion %s has no login call: %d.0 is the last; log in by JWTBearer or ClientCredentials", version, lastSOAP)
	}
	return version, ""
}

// isXMLText reports whether XML can carry s unchanged. encoding/xml puts U+FFFD in place of
// characters that XML does not have: a right password would arrive as a wrong one, and a few such
// logins lock the user out.
func isXMLText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == '\uFFFE' || r == '\uFFFF'
	})
}

func (s SOAP) view() view {
	return view{"SOAP", []slog.Attr{
		slog.String("Username", s.Username),
		slog.String("Password", hide(s.Password)),
		slog.String("SecurityToken", hide(s.SecurityToken)),
		slog.String("APIVersion", s.APIVersion),
	}}
}

// String shows the fields without the secrets.
func (s SOAP) String() string { return s.view().String() }

// GoString returns what String returns.
func (s SOAP) GoString() string { return s.String() }

// Format writes what String returns, for every verb.
func (s SOAP) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue returns a group of the fields without the secrets.
func (s SOAP) LogValue() slog.Value { return slog.GroupValue(s.view().attrs...) }

// MarshalJSON encodes the fields without the secrets. They cannot be read back from it.
func (s SOAP) MarshalJSON() ([]byte, error) { return s.view().marshal() }
