package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// worldOf is the world in which an org in memory is.
func worldOf(org *sfstreamtest.Server) world {
	w := world{
		http: org.HTTPClient(), grpc: org.DialOptions(),
		dial:  org.HTTPClient().Transport.(*http.Transport).DialContext,
		proxy: func(*http.Request) (*url.URL, error) { return nil, nil },
	}
	if pem := org.CertPEM(); pem != nil {
		w.roots = x509.NewCertPool()
		w.roots.AppendCertsFromPEM(pem)
	}
	return w
}

// setEnv sets the variables of an account, and unsets all others of SALESFORCE_.
func setEnv(t *testing.T, variables map[string]string) {
	for _, names := range flowVariables {
		for _, name := range names {
			t.Setenv("SALESFORCE_"+name, "")
			t.Setenv("SALESFORCE_"+name+"_FILE", "")
		}
	}
	for _, name := range []string{"LOGIN_URL", "LOGIN_URL_FILE", "SANDBOX", "LOGIN_FLOW", "PUBSUB_ENDPOINT"} {
		t.Setenv("SALESFORCE_"+name, "")
	}
	for name, value := range variables {
		t.Setenv("SALESFORCE_"+name, value)
	}
}

// accountOf returns the variables of a login by client credentials.
func accountOf(org *sfstreamtest.Server) map[string]string {
	return map[string]string{
		"LOGIN_URL": org.LoginURL(), "PUBSUB_ENDPOINT": org.PubSubEndpoint(),
		"CONSUMER_KEY": org.Account().ConsumerKey, "CONSUMER_SECRET": org.Account().ConsumerSecret,
	}
}

// examined is what doctor has said.
type examined struct {
	report
	err    error
	text   string // as printed without -json
	stderr string
}

// examine runs doctor as -json and without.
func examine(t *testing.T, w world, args ...string) examined {
	t.Helper()
	doctor := func(json bool) (string, string, error) {
		f := &doctorFlags{world: w}
		flags := flag.NewFlagSet("sfstream doctor", flag.ContinueOnError)
		f.register(flags)
		channels, err := parse(flags, args)
		if err != nil {
			t.Fatal(err)
		}
		f.json = json
		var stdout, stderr bytes.Buffer
		err = f.run(t.Context(), channels, &stdout, &stderr)
		return stdout.String(), stderr.String(), err
	}
	var e examined
	e.text, e.stderr, _ = doctor(false)
	out, _, err := doctor(true)
	e.err = err
	if err := json.Unmarshal([]byte(out), &e.report); err != nil {
		t.Fatalf("-json printed %s: %v", out, err)
	}
	var mistake usageError
	if e.OK != (err == nil) || errors.As(err, &mistake) {
		t.Errorf("ok is %v, the error %v", e.OK, err)
	}
	return e
}

// symptom is a finding that a table expects: its area, and parts of its texts.
type symptom struct {
	status          verdict
	area, text, fix string
}

var anyNumber = regexp.MustCompile("[0-9]+")

// expect fails unless the findings that are neither fine nor untried are as the table says.
func (e examined) expect(t *testing.T, want []symptom) {
	t.Helper()
	got := slices.DeleteFunc(slices.Clone(e.Findings), func(f finding) bool { return f.Status == fine || f.Status == untried })
	for i, f := range got {
		if i >= len(want) || want[i].status != f.Status || want[i].area != f.Area || !strings.Contains(f.Text, want[i].text) || !strings.Contains(f.Fix, want[i].fix) {
			t.Errorf("it found %+v\nin\n%s", f, e.text)
		}
		if f.Fix == "" {
			t.Errorf("%s: %s: nothing to fix", f.Area, f.Text)
		}
	}
	if len(got) < len(want) {
		t.Errorf("it found %d of %d in\n%s", len(got), len(want), e.text)
	}
	for _, f := range e.Findings {
		// The other run has used up some more of the quotas.
		text := anyNumber.ReplaceAllString(e.text, "0")
		if !strings.Contains(text, anyNumber.ReplaceAllString(f.Area+": "+f.Text+"\n", "0")) || !strings.Contains(text, anyNumber.ReplaceAllString(f.Fix+"\n", "0")) {
			t.Errorf("without -json it does not tell %+v in\n%s", f, e.text)
		}
	}
	if strings.Contains(e.text, "%!") {
		t.Errorf("a text is formatted wrongly:\n%s", e.text)
	}
}

// untried returns the areas of what was not tried.
func (e examined) untried() (areas []string) {
	for _, f := range e.Findings {
		if f.Status == untried {
			areas = append(areas, f.Area)
		}
	}
	return areas
}

// newPatientOrg starts an org with a channel of each kind, in memory and without TLS. In a bubble
// TLS could hang: where both ends of a connection close at once, each writes its goodbye into a
// pipe that nobody reads, which ends with time, and there is none while net/http holds a mutex
// meanwhile.
func newPatientOrg(t *testing.T, options ...sfstreamtest.Option) *sfstreamtest.Server {
	t.Helper()
	return newPatientOrgAt(t, append(options, sfstreamtest.InMemory())...)
}

// newPatientOrgAt starts an org with a channel of each kind.
func newPatientOrgAt(t *testing.T, options ...sfstreamtest.Option) *sfstreamtest.Server {
	t.Helper()
	org := sfstreamtest.NewServer(t, options...)
	for _, err := range []error{
		org.DefineEvent("/event/Order__e", orderSchema),
		org.DefineObject("Account", sfstreamtest.Field{Name: "Phone", Type: "Phone"}),
		org.DefinePushTopic(sfstreamtest.PushTopic{Name: "Accts", Query: "SELECT Id, Phone FROM Account"}),
		// Contact has records, and nobody captures its changes.
		org.DefinePushTopic(sfstreamtest.PushTopic{Name: "Contacts", Query: "SELECT Id, Phone FROM Contact"}),
		org.DefineGenericChannel("/u/notices"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := org.Change(sfstreamtest.Change{Object: "Contact", Type: "CREATE", RecordIDs: []string{"003000000000001AAA"}, Set: map[string]any{"Phone": "1"}}); err != nil {
		t.Fatal(err)
	}
	return org
}

var everyKind = []string{"/event/Order__e", "/data/AccountChangeEvent", "/data/ChangeEvents", "/topic/Accts", "/u/notices"}

func TestDoctorOfAHealthyOrg(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		org := newPatientOrg(t)
		setEnv(t, accountOf(org))
		e := examine(t, worldOf(org), everyKind...)
		e.expect(t, nil)
		if e.err != nil || e.untried() != nil {
			t.Errorf("not tried: %v; error %v\n%s", e.untried(), e.err, e.text)
		}
	})
}

// ailment is a set-up that is broken in one way, and its diagnosis: the findings that are neither
// fine nor untried, and the areas of those that are untried.
type ailment struct {
	name    string
	options []sfstreamtest.Option
	ill     func(t *testing.T, org *sfstreamtest.Server, w *world, account map[string]string)
	args    []string // default: a channel of each API
	want    []symptom
	untried []string
}

func (a ailment) diagnose(t *testing.T) {
	org := newPatientOrg(t, a.options...)
	w, account := worldOf(org), accountOf(org)
	if a.ill != nil {
		a.ill(t, org, &w, account)
	}
	setEnv(t, account)
	args := a.args
	if args == nil {
		args = []string{"/event/Order__e", "/topic/Accts"}
	}
	e := examine(t, w, args...)
	e.expect(t, a.want)
	if got := e.untried(); !slices.Equal(got, a.untried) {
		t.Errorf("not tried: %q, want %q in\n%s", got, a.untried, e.text)
	}
	for _, name := range secretVariables {
		if secret := account[name]; secret != "" && strings.Contains(e.text+e.stderr, secret) {
			t.Errorf("it tells %s", name)
		}
	}
}

// A set-up that is broken in one way has the one diagnosis, and nothing else is called wrong.
func TestDoctorsDiagnoses(t *testing.T) {
	for _, test := range []ailment{{
		name: "wrong host: no such name",
		ill: func(_ *testing.T, _ *sfstreamtest.Server, w *world, account map[string]string) {
			account["LOGIN_URL"] = "https://acmee.my.salesforce.com"
			w.dial = without(w.dial, "acmee.my.salesforce.com")
		},
		want:    []symptom{{wrong, "network", "there is no host acmee.my.salesforce.com", "spelling of SALESFORCE_LOGIN_URL"}},
		untried: []string{"clock", "login", "org", "quota", "/event/Order__e", "/topic/Accts"},
	}, {
		name: "wrong host: a page",
		ill: func(t *testing.T, _ *sfstreamtest.Server, w *world, account map[string]string) {
			*w = withPage(t, *w)
			account["LOGIN_URL"] = "http://127.0.0.1:8080"
		},
		want:    []symptom{{wrong, "network", "127.0.0.1 is not Salesforce: it sends a page", "check SALESFORCE_LOGIN_URL"}},
		untried: []string{"login", "org", "quota", "/event/Order__e", "/topic/Accts"},
	}, {
		name: "wrong secret",
		ill: func(_ *testing.T, _ *sfstreamtest.Server, _ *world, account map[string]string) {
			account["CONSUMER_SECRET"] = "another secret"
		},
		want:    []symptom{{wrong, "login", "Salesforce refuses it: invalid_client", "check SALESFORCE_CONSUMER_KEY and SALESFORCE_CONSUMER_SECRET"}},
		untried: []string{"org", "quota", "/event/Order__e", "/topic/Accts"},
	}, {
		name:    "flow switched off",
		options: []sfstreamtest.Option{sfstreamtest.WithoutLoginFlow(sfstreamtest.ClientCredentialsFlow)},
		want:    []symptom{{wrong, "login", "no client credentials user enabled", "choose its run-as user"}},
		untried: []string{"org", "quota", "/event/Order__e", "/topic/Accts"},
	}, {
		name: "no permission",
		ill: func(_ *testing.T, org *sfstreamtest.Server, _ *world, _ map[string]string) {
			org.Revoke("/event/Order__e")
		},
		want: []symptom{{wrong, "/event/Order__e", "the user integration@sfstream.example may not subscribe", "Read on Order__e"}},
	}, {
		name: "channel missing",
		args: []string{"/event/Ordr__e", "/data/AcountChangeEvent", "/topic/Acts", "/event/Order__e"},
		want: []symptom{
			{wrong, "/event/Ordr__e", "no platform event Ordr__e", "did you mean /event/Order__e?"},
			{wrong, "/data/AcountChangeEvent", "no object Acount", "did you mean /data/AccountChangeEvent?"},
			{wrong, "/topic/Acts", "no PushTopic Acts", "did you mean /topic/Accts?"},
		},
	}, {
		name: "CDC not enabled",
		args: []string{"/data/ContactChangeEvent"},
		want: []symptom{{wrong, "/data/ContactChangeEvent", "Change Data Capture is not switched on for Contact", "select Contact in Setup, Change Data Capture"}},
	}, {
		name: "proxy that stops gRPC: a page",
		ill: func(_ *testing.T, org *sfstreamtest.Server, _ *world, _ map[string]string) {
			org.ProxyPage(-1, http.StatusForbidden, "")
		},
		want:    []symptom{{wrong, "network", "a proxy, a firewall or a portal answers in place of Salesforce, with HTTP 403", "exempted from the proxy"}},
		untried: []string{"login", "/event/Order__e"},
	}, {
		name:    "clock off by an hour",
		options: []sfstreamtest.Option{sfstreamtest.WithClockSkew(time.Hour)},
		ill: func(_ *testing.T, org *sfstreamtest.Server, _ *world, account map[string]string) {
			delete(account, "CONSUMER_SECRET")
			account["USERNAME"], account["PRIVATE_KEY"] = org.Account().Username, string(org.PrivateKeyPEM())
		},
		want: []symptom{{wrong, "clock", "this computer's clock is 1h0m behind Salesforce's", "set the clock"}},
	}, {
		name:    "clock off by an hour, without a signed login",
		options: []sfstreamtest.Option{sfstreamtest.WithClockSkew(-time.Hour)},
		want:    []symptom{{warning, "clock", "this computer's clock is 1h0m ahead of Salesforce's", "set the clock"}},
	}, {
		name: "quota used up",
		ill: func(t *testing.T, org *sfstreamtest.Server, _ *world, _ map[string]string) {
			if err := org.SetLimit("DailyDeliveredPlatformEvents", 50_000, 0); err != nil {
				t.Fatal(err)
			}
		},
		want: []symptom{{wrong, "quota", "DailyDeliveredPlatformEvents: 50,000 of 50,000 events delivered in the last 24 hours: it is used up", "buy the add-on"}},
	}, {
		name: "quota used up: API requests",
		ill: func(_ *testing.T, org *sfstreamtest.Server, _ *world, _ map[string]string) {
			org.FailREST(-1, "REQUEST_LIMIT_EXCEEDED")
		},
		want:    []symptom{{wrong, "quota", "the org's API requests of the last 24 hours are used up", "find who makes them"}},
		untried: []string{"/topic/Accts"},
	}, {
		name: "access token dead",
		ill: func(_ *testing.T, org *sfstreamtest.Server, _ *world, account map[string]string) {
			account["ACCESS_TOKEN"], account["INSTANCE_URL"], account["ORG_ID"] = "00D000000000001!dead.token", org.LoginURL(), org.Account().OrgID
			delete(account, "CONSUMER_SECRET")
			delete(account, "CONSUMER_KEY")
		},
		want:    []symptom{{wrong, "login", "the Pub/Sub API does not take it", "SALESFORCE_ACCESS_TOKEN may have expired"}},
		untried: []string{"org", "quota", "/event/Order__e", "/topic/Accts"},
	}, {
		name:    "JWT-form token",
		options: []sfstreamtest.Option{sfstreamtest.WithJWTAccessTokens()},
		want:    []symptom{{wrong, "login", "the access token is a JWT", "switch JWT-based access tokens off"}},
		untried: []string{"/event/Order__e", "/topic/Accts"},
	}} {
		t.Run(test.name, func(t *testing.T) { synctest.Test(t, test.diagnose) })
	}
}

// Each refusal of a login has its own cure.
func TestDoctorsCuresOfLogins(t *testing.T) {
	type variables = map[string]string
	for _, test := range []struct {
		name    string
		options []sfstreamtest.Option
		account func(*sfstreamtest.Server) variables // besides the key and the addresses
		fail    string                               // as FailLogin takes it
		text    string
		fix     string
	}{
		{"client credentials at the host of all orgs", []sfstreamtest.Option{sfstreamtest.WithLoginHost()}, withSecret, "", "not supported on this domain", "its My Domain URL"},
		{"an app that is not approved", []sfstreamtest.Option{sfstreamtest.WithoutLoginFlow(sfstreamtest.JWTBearerFlow)}, withPrivateKey, "", "hasn't approved this consumer", "pre-authorise the user"},
		{"another private key", nil, withPrivateKey, "invalid_grant/invalid assertion", "invalid assertion", "certificate of SALESFORCE_PRIVATE_KEY"},
		{"a password", nil, func(org *sfstreamtest.Server) variables {
			return variables{"CONSUMER_SECRET": org.Account().ConsumerSecret, "USERNAME": org.Account().Username, "PASSWORD": "wrong password"}
		}, "", "authentication failure", "SALESFORCE_SECURITY_TOKEN is wrong"},
		{"SOAP switched off", []sfstreamtest.Option{sfstreamtest.WithoutLoginFlow(sfstreamtest.SOAPFlow)}, func(org *sfstreamtest.Server) variables {
			return variables{"CONSUMER_KEY": "", "LOGIN_FLOW": "soap", "USERNAME": org.Account().Username, "PASSWORD": org.Account().Password}
		}, "", "INVALID_OPERATION", "does not allow SOAP login"},
		{"a dead refresh token", nil, func(*sfstreamtest.Server) variables { return variables{"REFRESH_TOKEN": "5Aepdead"} }, "", "expired access/refresh token", "sfstream login"},
		{"a locked user", nil, withSecret, "invalid_grant/user is locked", "user is locked", "unlock the user"},
		{"a blocked app", nil, withSecret, "OAUTH_APP_BLOCKED/this app is blocked by admin", "blocked", "Connected Apps OAuth Usage"},
		{"too many logins", nil, withSecret, "rate_limit_exceeded", "login rate exceeded", "log in less often"},
		{"maintenance", nil, withSecret, "html", "sent a page", "Salesforce may be in trouble"},
		{"what nobody knows", nil, withSecret, "mystery/of the year", "mystery: of the year", "login history in Setup"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				org := newPatientOrg(t, test.options...)
				account := accountOf(org)
				delete(account, "CONSUMER_SECRET")
				maps.Copy(account, test.account(org))
				setEnv(t, account)
				if test.fail != "" {
					org.FailLogin(-1, test.fail)
				}
				e := examine(t, worldOf(org))
				got := slices.DeleteFunc(slices.Clone(e.Findings), func(f finding) bool { return f.Area != "login" })
				if len(got) != 1 || got[0].Status != wrong || !strings.Contains(got[0].Text, test.text) || !strings.Contains(got[0].Fix, test.fix) {
					t.Errorf("it found %+v", got)
				}
			})
		})
	}
}

// Mistakes in the account are found with no network, and the network is examined all the same.
func TestDoctorOfAccounts(t *testing.T) {
	type variables = map[string]string
	for _, test := range []struct {
		name    string
		account variables
		args    []string
		text    string // of the finding about the account
		fix     string
		untried bool // there is no host to connect to
	}{
		{"none", nil, nil, "no login is configured", "set the variables of one login", false},
		{"half of one", variables{"CONSUMER_KEY": "key"}, nil, "missing: SALESFORCE_CONSUMER_SECRET for the flow client_credentials", "set the variables", false},
		{"two", variables{"CONSUMER_KEY": "key", "REFRESH_TOKEN": "token", "ACCESS_TOKEN": "token", "INSTANCE_URL": "https://acme.my.salesforce.com"}, nil,
			"two logins are configured", "set the variables", false},
		{"a file that is not there", variables{"CONSUMER_KEY": "key", "CONSUMER_SECRET_FILE": "/nowhere/secret"}, nil, "SALESFORCE_CONSUMER_SECRET_FILE: the file cannot be read", "", false},
		{"no such saved login", nil, []string{"-account", "acme"}, "acme", "", false},
		{"an address of pages", variables{"CONSUMER_KEY": "key", "CONSUMER_SECRET": "secret", "LOGIN_URL": "http://acme.my.salesforce.com"}, nil,
			"SALESFORCE_LOGIN_URL: \"http://acme.my.salesforce.com\" is not an https URL", "", true},
		{"an org as endpoint", variables{"CONSUMER_KEY": "key", "CONSUMER_SECRET": "secret", "PUBSUB_ENDPOINT": "acme.my.salesforce.com:443"}, nil,
			"SALESFORCE_PUBSUB_ENDPOINT: \"acme.my.salesforce.com:443\" is a host of orgs", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			setEnv(t, test.account)
			for _, name := range []string{"XDG_CONFIG_HOME", "HOME", "AppData"} {
				t.Setenv(name, t.TempDir()) // nobody has saved a login
			}
			w := theWorld()
			w.proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
			w.dial = func(_ context.Context, _, addr string) (net.Conn, error) {
				host, _, _ := net.SplitHostPort(addr)
				return nil, &net.DNSError{Name: host, IsNotFound: true}
			}
			e := examine(t, w, append(test.args, "/event/Order__e")...)
			first := e.Findings[0]
			if first.Status != wrong || first.Area != "account" || !strings.Contains(first.Text, test.text) || !strings.Contains(first.Fix, test.fix) || first.Fix == "" {
				t.Errorf("it found %+v", first)
			}
			if got := strings.Contains(e.text, "there is no host login.salesforce.com"); got == test.untried {
				t.Errorf("the host of the login: %v in\n%s", got, e.text)
			}
			if !strings.Contains(e.text, "there is no login") || strings.Contains(e.text, "%!") {
				t.Errorf("it tells\n%s", e.text)
			}
		})
	}
}

func withSecret(org *sfstreamtest.Server) map[string]string {
	return map[string]string{"CONSUMER_SECRET": org.Account().ConsumerSecret}
}

func withPrivateKey(org *sfstreamtest.Server) map[string]string {
	return map[string]string{"USERNAME": org.Account().Username, "PRIVATE_KEY": string(org.PrivateKeyPEM())}
}

// Flows and versions that Salesforce ends are warned of, with the date.
func TestDoctorsDates(t *testing.T) {
	for _, test := range []struct {
		name    string
		flow    string
		options []sfstreamtest.Option
		want    []symptom
	}{
		{"the password flow", "password", nil, []symptom{{warning, "end of life", "ends on 20 February 2027 (in ", "client_credentials or jwt_bearer"}}},
		{"SOAP", "soap", nil, []symptom{{warning, "end of life", "SOAP logins end in Summer '27", "client_credentials or jwt_bearer"}}},
		{"an old org", "client_credentials", []sfstreamtest.Option{sfstreamtest.WithAPIVersions("39.0", "40.0")},
			[]symptom{{warning, "org", "the newest API version is 40.0, which Salesforce retires in Summer '28", "check where the login leads"}}},
		{"an org that has a future", "client_credentials", []sfstreamtest.Option{sfstreamtest.WithAPIVersions("40.0", "41.0")}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				org := newPatientOrg(t, test.options...)
				account := accountOf(org)
				account["LOGIN_FLOW"], account["USERNAME"] = test.flow, org.Account().Username
				account["PASSWORD"], account["SECURITY_TOKEN"] = org.Account().Password, org.Account().SecurityToken
				setEnv(t, account)
				e := examine(t, worldOf(org))
				e.expect(t, test.want)
				if e.err != nil {
					t.Errorf("%v\n%s", e.err, e.text)
				}
			})
		})
	}
}

// What servers say is told, but for the secrets that they repeat.
func TestDoctorTellsNoSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		org := newPatientOrg(t)
		account := accountOf(org)
		account["LOGIN_FLOW"], account["USERNAME"] = "password", org.Account().Username
		account["PASSWORD"], account["SECURITY_TOKEN"] = `pass&word="100%"`, org.Account().SecurityToken
		secrets := []string{account["CONSUMER_SECRET"], account["PASSWORD"], account["SECURITY_TOKEN"]}
		account["LOGIN_FLOW"] = "client_credentials"
		setEnv(t, account)
		const seen = "you sent"
		for _, secret := range slices.Clone(secrets) {
			quoted := strconv.Quote(secret)
			secrets = append(secrets, url.QueryEscape(secret), url.PathEscape(secret), quoted[1:len(quoted)-1])
		}
		text := seen + " " + strings.Join(secrets, " ")
		w := worldOf(org)
		for _, echo := range []func(){
			func() { org.FailLogin(-1, "mystery/"+text) },
			func() { org.FailGetTopic(-1, "INTERNAL made.up: "+text) },
			func() {
				org.FailRESTRequest(sfstreamtest.RESTFault{Times: -1, Path: "/query", Code: "MYSTERY", Message: text})
			},
			func() {
				org.FailCometD(sfstreamtest.CometDFault{Kind: "subscribe", Times: -1, Error: "400::the channel you requested to subscribe to " + text})
			},
			func() {
				w.dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New(text) }
			},
		} {
			org.ClearFaults()
			echo()
			e := examine(t, w, everyKind...)
			out, err := json.Marshal(e.Findings)
			if err != nil || !strings.Contains(e.text, seen) && !strings.Contains(e.text, "/topic/Accts") {
				t.Errorf("nobody repeats it in\n%s", e.text)
			}
			for _, secret := range secrets {
				if strings.Contains(e.text+e.stderr+string(out), secret) {
					t.Errorf("it tells %q in\n%s", secret, e.text)
				}
			}
		}
	})
}

// Against hosts that do not answer, doctor says what it waits for, and ends.
func TestDoctorOfADeadNetwork(t *testing.T) {
	for _, test := range []struct {
		name    string
		options []sfstreamtest.Option
		dead    func(*sfstreamtest.Server, *world)
		text    string // of the progress
		want    []symptom
	}{{
		name: "nothing takes a connection",
		dead: func(_ *sfstreamtest.Server, w *world) {
			w.dial = func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
		},
		text: "still trying to connect to 127.0.0.1:40001\nsfstream doctor: still trying to connect to 127.0.0.1:40002\n",
		want: []symptom{{wrong, "network", "127.0.0.1:40001 does not answer", "HTTPS_PROXY"}, {wrong, "network", "127.0.0.1:40002 does not answer", "HTTPS_PROXY"}},
	}, {
		name:    "nothing answers",
		options: []sfstreamtest.Option{sfstreamtest.WithTLS()}, // nothing reaches it
		dead: func(_ *sfstreamtest.Server, w *world) {
			w.dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
				client, server := net.Pipe()
				context.AfterFunc(ctx, func() { server.Close() })
				return client, nil
			}
		},
		text: "still trying to connect to 127.0.0.1:40001\n",
		want: []symptom{{wrong, "network", "127.0.0.1:40001 takes a connection and then does not answer", "firewall"},
			{wrong, "network", "127.0.0.1:40002 takes a connection and then does not answer", "firewall"}},
	}, {
		name: "no login is answered",
		dead: func(org *sfstreamtest.Server, _ *world) { org.FailLogin(-1, "timeout") },
		text: "still trying to log in\n",
		want: []symptom{{wrong, "login", "no answer within 12s", "try again"}},
	}, {
		name: "the system hangs",
		dead: func(_ *sfstreamtest.Server, w *world) {
			w.dial = func(context.Context, string, string) (net.Conn, error) {
				time.Sleep(doctorTimeout + time.Second) // in virtual time
				return nil, context.DeadlineExceeded
			}
		},
		text: "still trying to connect to 127.0.0.1:40001\n",
		want: []symptom{{wrong, "network", "127.0.0.1:40001 does not answer", "HTTPS_PROXY"}},
	}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				org := newPatientOrg(t, test.options...)
				setEnv(t, accountOf(org))
				w := worldOf(org)
				test.dead(org, &w)
				begun := time.Now()
				e := examine(t, w, "/event/Order__e", "/topic/Accts")
				if took := time.Since(begun) / 2; took > doctorTimeout+time.Second {
					t.Errorf("it took %v", took)
				}
				e.expect(t, test.want)
				if hangs := test.name == "the system hangs"; hangs != slices.Contains(e.untried(), "doctor") {
					t.Errorf("not tried: %q", e.untried())
				}
				if !strings.Contains(e.stderr, test.text) {
					t.Errorf("stderr is %q, want %q", e.stderr, test.text)
				}
			})
		})
	}
}

// What is no channel is a mistake on the command line, found before anything is touched.
func TestDoctorsMistakes(t *testing.T) {
	for _, args := range [][]string{{"Order__e"}, {"/event/"}, {"/event/Order__e", "/Order__e"}, {"/data/*"}, {"/event/A B"}, {"-sandbox", "-login-url", "https://acme.my.salesforce.com"}} {
		if status, stdout, stderr := printed(t, append([]string{"doctor"}, args...)...); status != 2 || stdout != "" || !strings.HasPrefix(stderr, "sfstream doctor: ") {
			t.Errorf("%q: exit status %d; stdout %q; stderr %q", args, status, stdout, stderr)
		}
	}
	if !isChannel("/topic/Accts?Name='A B'") {
		t.Error("a filter may have spaces")
	}
}

// An interruption is no finding.
func TestDoctorIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		org := newPatientOrg(t)
		setEnv(t, accountOf(org))
		ctx, cancel := context.WithCancel(t.Context())
		w := worldOf(org)
		w.dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			cancel()
			<-ctx.Done()
			return nil, ctx.Err()
		}
		var stdout, stderr bytes.Buffer
		err := (&doctorFlags{world: w}).run(ctx, nil, &stdout, &stderr)
		if err == nil || err.Error() != "doctor: interrupted" || strings.Contains(stdout.String(), "wrong") {
			t.Errorf("%v; stdout %s", err, &stdout)
		}
	})
}

type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// without is a network in which a name is not known.
func without(dial dialer, host string) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if name, _, _ := net.SplitHostPort(addr); name == host {
			return nil, &net.OpError{Op: "dial", Net: network, Err: &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}}
		}
		return dial(ctx, network, addr)
	}
}

// withPage adds a server of pages at 127.0.0.1:8080.
func withPage(t *testing.T, w world) world {
	conns := make(chan net.Conn)
	ln := pipes{conns, t.Context()}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>It works!</html>") })}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(ln) }()
	t.Cleanup(func() { _ = server.Close(); <-ended })
	org := w.dial
	w.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr != "127.0.0.1:8080" {
			return org(ctx, network, addr)
		}
		client, peer := net.Pipe()
		select {
		case conns <- peer:
			return client, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	w.http = &http.Client{Transport: &http.Transport{DialContext: w.dial}}
	return w
}

// pipes is a listener whose connections come by a channel.
type pipes struct {
	conns chan net.Conn
	ctx   context.Context
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.ctx.Done():
		return nil, net.ErrClosed
	}
}

func (pipes) Close() error   { return nil }
func (pipes) Addr() net.Addr { return &net.TCPAddr{} }

func TestAReportTurnsNoTextAround(t *testing.T) {
	var out strings.Builder
	if err := printFinding(&out, finding{Status: wrong, Area: "login", Text: "user\u202emoc.emca", Fix: "ask\u2066them"}); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "wrong      login: user\\u202emoc.emca\n           what to fix: ask\\u2066them\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
