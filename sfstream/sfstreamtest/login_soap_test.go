package sfstreamtest_test

import (
	"encoding/xml"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// node is XML as clients read it that count children.
type node struct {
	XMLName  xml.Name
	Text     string `xml:",chardata"`
	Children []node `xml:",any"`
}

func (n node) at(path ...int) node {
	for _, i := range path {
		if i >= len(n.Children) {
			return node{}
		}
		n = n.Children[i]
	}
	return n
}

// soapLogin posts a login() with the account's password, or with what edit makes of the request.
func (r *rig) soapLogin(path string, edit func(*http.Request, string) string) *http.Response {
	r.tb.Helper()
	var user, password strings.Builder
	check(r.tb, xml.EscapeText(&user, []byte(r.Account().Username)))
	check(r.tb, xml.EscapeText(&password, []byte(r.Account().Password+r.Account().SecurityToken)))
	body := `<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:urn="urn:partner.soap.sforce.com"><soapenv:Body>` +
		`<urn:login><urn:username>` + user.String() + `</urn:username><urn:password>` + password.String() + `</urn:password></urn:login>` +
		`</soapenv:Body></soapenv:Envelope>`
	req, err := http.NewRequestWithContext(r.tb.Context(), "POST", r.LoginURL()+"/services/Soap/"+path, nil)
	check(r.tb, err)
	req.Header.Set("Content-Type", "text/xml; charset=UTF-8")
	req.Header["SOAPAction"] = []string{"''"}
	if edit != nil {
		body = edit(req, body)
	}
	req.Body = io.NopCloser(strings.NewReader(body))
	resp, err := r.HTTPClient().Do(req)
	check(r.tb, err)
	return resp
}

func (r *rig) readXML(resp *http.Response) (root node, text string) {
	r.tb.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	check(r.tb, err)
	if err := xml.Unmarshal(body, &root); err != nil || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/xml") {
		r.tb.Fatalf("%s, %s: %s: %v", resp.Status, resp.Header.Get("Content-Type"), body, err)
	}
	return root, string(body)
}

// soapSession returns the session id of a login that succeeds.
func (r *rig) soapSession(resp *http.Response) string {
	r.tb.Helper()
	root, text := r.readXML(resp)
	id := root.at(0, 0, 0, 4)
	if resp.StatusCode != http.StatusOK || id.XMLName.Local != "sessionId" {
		r.tb.Fatalf("%s: %s", resp.Status, text)
	}
	return id.Text
}

func (r *rig) wantFault(resp *http.Response, code, message string) {
	r.tb.Helper()
	root, text := r.readXML(resp)
	fault := root.at(0, 0)
	if resp.StatusCode != http.StatusInternalServerError || fault.XMLName.Local != "Fault" || fault.at(0).Text != code ||
		!strings.Contains(fault.at(1).Text, message) {
		r.tb.Errorf("got %s: %s; want %s: %s", resp.Status, text, code, message)
	}
	if strings.HasPrefix(code, "soapenv:") {
		return
	}
	// The rest is in the detail, in another namespace.
	detail := fault.at(2, 0)
	if detail.at(0).XMLName != (xml.Name{Space: "urn:fault.partner.soap.sforce.com", Local: "exceptionCode"}) || detail.at(0).Text != code ||
		!strings.HasPrefix(fault.at(1).Text, code+": ") || !strings.Contains(detail.at(1).Text, message) {
		r.tb.Errorf("detail: %s", text)
	}
}

func TestSOAPLogin(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for _, path := range []string{"u/57.0/", "u/57.0", "u/31.0/", "u/64.0"} {
			root, text := r.readXML(r.soapLogin(path, nil))
			if len(root.Children) != 1 || root.at(0).XMLName.Local != "Body" {
				t.Fatalf("a Header: %s", text)
			}
			result := root.at(0, 0, 0)
			var names []string
			for _, child := range append(result.Children, result.at(6).Children...) {
				if child.XMLName.Space != "urn:partner.soap.sforce.com" {
					t.Errorf("%v is in another namespace", child.XMLName)
				}
				names = append(names, child.XMLName.Local)
			}
			if got := strings.Join(names, " "); got != "metadataServerUrl passwordExpired sandbox serverUrl sessionId userId userInfo "+
				"accessibilityMode chatterExternal currencySymbol orgAttachmentFileSizeLimit orgDefaultCurrencyIsoCode orgDefaultCurrencyLocale "+
				"orgDisallowHtmlAttachments orgHasPersonAccounts organizationId organizationMultiCurrency organizationName profileId roleId "+
				"sessionSecondsValid userDefaultCurrencyIsoCode userEmail userFullName userId userLanguage userLocale userName userTimeZone "+
				"userType userUiSkin" {
				t.Errorf("the children are %s", got)
			}
			version := strings.Trim(strings.TrimPrefix(path, "u/"), "/")
			if got := result.at(3).Text; got != r.LoginURL()+"/services/Soap/u/"+version+"/"+r.Account().OrgID[:15] {
				t.Errorf("serverUrl %s", got)
			}
			if got := result.at(6, 8).Text; got != r.Account().OrgID || result.at(1).Text != "false" || result.at(5).Text != r.Account().UserID {
				t.Errorf("got %s", text)
			}
			r.auth.Set("accesstoken", result.at(4).Text)
			getTopic(t, r, orders, codes.OK, "")
		}
	})
}

func TestSOAPLoginsAsOthersWriteThem(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		password := r.Account().Password + r.Account().SecurityToken
		for name, body := range map[string]string{
			"a default namespace and a Header": `<se:Envelope xmlns:se="http://schemas.xmlsoap.org/soap/envelope/"><se:Header/><se:Body>` +
				`<login xmlns="urn:partner.soap.sforce.com"><username>` + r.Account().Username + `</username><password>` +
				strings.ReplaceAll(password, "&", "&amp;") + `</password></login></se:Body></se:Envelope>`,
			"CDATA": `<?xml version="1.0" encoding="utf-8" ?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"
				xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:urn="urn:partner.soap.sforce.com"><soapenv:Body><urn:login>
				<urn:username><![CDATA[` + r.Account().Username + `]]></urn:username><urn:password><![CDATA[` + password + `]]></urn:password>
				</urn:login></soapenv:Body></soapenv:Envelope>`,
		} {
			t.Log(name)
			r.soapSession(r.soapLogin("u/57.0/", func(*http.Request, string) string { return body }))
		}
	})
}

// A fault comes with HTTP 500 and a code. An expired password is no fault, but a login whose
// session is of no use.
func TestSOAPFaults(t *testing.T) {
	replace := func(old, with string) func(*http.Request, string) string {
		return func(_ *http.Request, body string) string { return strings.ReplaceAll(body, old, with) }
	}
	header := func(name string, values ...string) func(*http.Request, string) string {
		return func(r *http.Request, body string) string {
			delete(r.Header, name)
			if len(values) > 0 {
				r.Header[name] = values
			}
			return body
		}
	}
	for name, test := range map[string]struct {
		path          string
		edit          func(*http.Request, string) string
		code, message string
	}{
		"a wrong password":     {"u/57.0/", replace("pass", "guess"), "INVALID_LOGIN", "Invalid username, password, security token; or user locked out."},
		"an unknown user":      {"u/57.0/", replace("integration@", "nobody@"), "INVALID_LOGIN", "Invalid username"},
		"a retired version":    {"u/30.0/", nil, "UNSUPPORTED_API_VERSION", "Invalid Api version"},
		"a version without it": {"u/65.0/", nil, "UNSUPPORTED_API_VERSION", "Invalid Api version"},
		"no version":           {"u/latest", nil, "UNSUPPORTED_API_VERSION", "Invalid Api version"},
		"no number":            {"u/NaN", nil, "UNSUPPORTED_API_VERSION", "Invalid Api version"},
		"no SOAPAction":        {"u/57.0/", header("SOAPAction"), "soapenv:Client", "SOAPAction HTTP header missing"},
		"JSON":                 {"u/57.0/", header("Content-Type", "application/json"), "soapenv:Client", "content-type of the request should be text/xml"},
		"no XML":               {"u/57.0/", func(*http.Request, string) string { return "username=x" }, "soapenv:Client", "no SOAP envelope"},
		"an open element":      {"u/57.0/", replace("</soapenv:Envelope>", ""), "soapenv:Client", "no SOAP envelope"},
		"a bare ampersand":     {"u/57.0/", replace("&amp;", "&"), "soapenv:Client", "no SOAP envelope"},
		"another call":         {"u/57.0/", replace("urn:login", "urn:logout"), "soapenv:Client", "No operation available"},
		"another namespace":    {"u/57.0/", replace("urn:partner", "urn:enterprise"), "soapenv:Client", "No operation available"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.wantFault(r.soapLogin(test.path, test.edit), test.code, test.message)
			})
		})
	}
}

func TestAPasswordThatHasExpired(t *testing.T) {
	org := sfstreamtest.NewServer(t, sfstreamtest.WithPasswordExpired())
	r := &rig{Server: org, tb: t}
	r.wantDenied(r.passwordForm(), 400, "invalid_grant: password expired")
	root, text := r.readXML(r.soapLogin("u/57.0/", nil))
	if root.at(0, 0, 0, 1).Text != "true" {
		t.Errorf("got %s", text)
	}
	if code, body := r.get("/services/oauth2/userinfo", root.at(0, 0, 0, 4).Text); code != 403 {
		t.Errorf("the session is good for %d %s", code, body)
	}
	if resp, reply := r.post(r.clientForm()); resp.StatusCode != http.StatusOK {
		t.Errorf("client credentials: %s %v", resp.Status, reply)
	}
}
