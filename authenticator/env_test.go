package authenticator_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/sfstream/sfstream-go/authenticator"
)

func TestFromEnv(t *testing.T) {
	variables := strings.Fields("LOGIN_URL SANDBOX CONSUMER_KEY CONSUMER_SECRET USERNAME PASSWORD SECURITY_TOKEN " +
		"REFRESH_TOKEN ACCESS_TOKEN INSTANCE_URL ORG_ID LOGIN_FLOW ORG PRIVATE_KEY AUDIENCE")
	jwt := authenticator.JWTBearer{ConsumerKey: "k", Username: "u", PrivateKey: []byte("pem")}
	client := authenticator.ClientCredentials{ConsumerKey: "k", ConsumerSecret: "s"}
	password := authenticator.Password{ConsumerKey: "k", ConsumerSecret: "s", Username: "u", Password: "p"}
	const production = authenticator.ProductionURL
	static := authenticator.Static{AccessToken: "at", InstanceURL: instance}
	const staticEnv = "ACCESS_TOKEN=at INSTANCE_URL=" + instance
	for name, test := range map[string]struct {
		env   string
		want  authenticator.Authenticator
		login string
		err   string
	}{
		"static":             {staticEnv, static, authenticator.ProductionURL, ""},
		"static with org":    {staticEnv + " ORG_ID=o", authenticator.Static{AccessToken: "at", InstanceURL: instance, OrgID: "o"}, authenticator.ProductionURL, ""},
		"refresh token":      {"REFRESH_TOKEN=rt CONSUMER_KEY=k", &authenticator.RefreshToken{ConsumerKey: "k", RefreshToken: "rt"}, authenticator.ProductionURL, ""},
		"with secret":        {"REFRESH_TOKEN=rt CONSUMER_KEY=k CONSUMER_SECRET=s", &authenticator.RefreshToken{ConsumerKey: "k", ConsumerSecret: "s", RefreshToken: "rt"}, authenticator.ProductionURL, ""},
		"password":           {"USERNAME=u PASSWORD=p CONSUMER_KEY=k CONSUMER_SECRET=s", authenticator.Password{ConsumerKey: "k", ConsumerSecret: "s", Username: "u", Password: "p"}, authenticator.ProductionURL, ""},
		"security token":     {"USERNAME=u PASSWORD=p SECURITY_TOKEN=t CONSUMER_KEY=k CONSUMER_SECRET=s", authenticator.Password{ConsumerKey: "k", ConsumerSecret: "s", Username: "u", Password: "p", SecurityToken: "t"}, authenticator.ProductionURL, ""},
		"static comes first": {staticEnv + " REFRESH_TOKEN=rt USERNAME=u", static, authenticator.ProductionURL, ""},
		"then refresh token": {"REFRESH_TOKEN=rt CONSUMER_KEY=k USERNAME=u", &authenticator.RefreshToken{ConsumerKey: "k", RefreshToken: "rt"}, authenticator.ProductionURL, ""},

		"client credentials":         {"CONSUMER_KEY=k CONSUMER_SECRET=s", client, production, ""},
		"at My Domain":               {"CONSUMER_KEY=k CONSUMER_SECRET=s LOGIN_URL=" + instance, client, instance, ""},
		"JWT":                        {"CONSUMER_KEY=k USERNAME=u PRIVATE_KEY=pem", jwt, production, ""},
		"JWT in a sandbox":           {"CONSUMER_KEY=k USERNAME=u PRIVATE_KEY=pem SANDBOX=true", jwt, authenticator.SandboxURL, ""},
		"the secret of the JWT app":  {"CONSUMER_KEY=k CONSUMER_SECRET=s USERNAME=u PRIVATE_KEY=pem", jwt, production, ""},
		"an old password beside JWT": {"CONSUMER_KEY=k USERNAME=u PASSWORD=p PRIVATE_KEY=pem", jwt, production, ""},
		"audience":                   {"CONSUMER_KEY=k USERNAME=u PRIVATE_KEY=pem AUDIENCE=a", authenticator.JWTBearer{ConsumerKey: "k", Username: "u", PrivateKey: []byte("pem"), Audience: "a"}, production, ""},
		"key in one line":            {`CONSUMER_KEY=k USERNAME=u PRIVATE_KEY=a\nb\n`, authenticator.JWTBearer{ConsumerKey: "k", Username: "u", PrivateKey: []byte("a\nb\n")}, production, ""},
		"SOAP":                       {"USERNAME=u PASSWORD=p SECURITY_TOKEN=t LOGIN_FLOW=soap", authenticator.SOAP{Username: "u", Password: "p", SecurityToken: "t"}, production, ""},
		"forced SOAP":                {"USERNAME=u PASSWORD=p CONSUMER_KEY=k CONSUMER_SECRET=s LOGIN_FLOW=soap", authenticator.SOAP{Username: "u", Password: "p"}, production, ""},
		"forced client credentials":  {"USERNAME=u PASSWORD=p CONSUMER_KEY=k CONSUMER_SECRET=s LOGIN_FLOW=client_credentials", client, production, ""},
		"forced beside a user":       {"USERNAME=u CONSUMER_KEY=k CONSUMER_SECRET=s LOGIN_FLOW=client_credentials", client, production, ""},
		"forced password":            {"USERNAME=u PASSWORD=p CONSUMER_KEY=k CONSUMER_SECRET=s PRIVATE_KEY=pem LOGIN_FLOW=password", password, production, ""},
		"forced JWT":                 {"USERNAME=u PASSWORD=p CONSUMER_KEY=k CONSUMER_SECRET=s PRIVATE_KEY=pem LOGIN_FLOW=jwt_bearer", jwt, production, ""},
		"forced static":              {staticEnv + " CONSUMER_KEY=k CONSUMER_SECRET=s LOGIN_FLOW=static", static, production, ""},
		"one key for all":            {staticEnv + " CONSUMER_KEY=k", static, production, ""},

		"static and client credentials": {staticEnv + " CONSUMER_KEY=k CONSUMER_SECRET=marker", nil, "", "two logins are configured: static, by SALESFORCE_ACCESS_TOKEN, comes first, but client_credentials, by SALESFORCE_CONSUMER_SECRET, is complete too"},
		"refresh and JWT":               {"REFRESH_TOKEN=marker CONSUMER_KEY=k USERNAME=u PRIVATE_KEY=marker", nil, "", "refresh_token, by SALESFORCE_REFRESH_TOKEN, comes first, but jwt_bearer, by SALESFORCE_PRIVATE_KEY, is complete too"},
		"JWT and password":              {"USERNAME=u PASSWORD=marker CONSUMER_KEY=k CONSUMER_SECRET=marker PRIVATE_KEY=marker", nil, "", "set SALESFORCE_LOGIN_FLOW to jwt_bearer or password"},
		"CLI and static":                {staticEnv + " ORG=dev", nil, "", "static, by SALESFORCE_ACCESS_TOKEN, comes first, but cli, by SALESFORCE_ORG"},
		"odd flow":                      {"LOGIN_FLOW=marker", nil, "", "SALESFORCE_LOGIN_FLOW must be one of static, cli, refresh_token, jwt_bearer, password, client_credentials, soap"},
		"forced and incomplete":         {"CONSUMER_KEY=k LOGIN_FLOW=jwt_bearer", nil, "", "missing: SALESFORCE_PRIVATE_KEY, SALESFORCE_USERNAME for the flow jwt_bearer, which SALESFORCE_LOGIN_FLOW names"},
		"a private key alone":           {"PRIVATE_KEY=marker", nil, "", "missing: SALESFORCE_CONSUMER_KEY, SALESFORCE_USERNAME for the flow jwt_bearer"},
		"a consumer key alone":          {"CONSUMER_KEY=k", nil, "", "missing: SALESFORCE_CONSUMER_SECRET for the flow client_credentials"},
		"JWT without its user":          {"PRIVATE_KEY=marker CONSUMER_KEY=k CONSUMER_SECRET=marker", nil, "", "missing: SALESFORCE_USERNAME for the flow jwt_bearer; for the flow client_credentials unset what is of another"},
		"a user beside key and secret":  {"USERNAME=u CONSUMER_KEY=k CONSUMER_SECRET=marker", nil, "", "missing: SALESFORCE_PASSWORD for the flow password (the flow jwt_bearer needs"},
		"token beside key and secret":   {"ACCESS_TOKEN=marker CONSUMER_KEY=k CONSUMER_SECRET=marker", nil, "", "missing: SALESFORCE_INSTANCE_URL for the flow static; for the flow client_credentials"},
		"a password that is not used":   {"USERNAME=u PASSWORD=marker", nil, "", "for the flow soap set SALESFORCE_LOGIN_FLOW"},

		"sandbox":         {staticEnv + " SANDBOX=1", static, authenticator.SandboxURL, ""},
		"no sandbox":      {staticEnv + " SANDBOX=false", static, authenticator.ProductionURL, ""},
		"no sandbox, own": {staticEnv + " SANDBOX=false LOGIN_URL=" + instance, static, instance, ""},
		"My Domain":       {staticEnv + " LOGIN_URL=" + instance, static, instance, ""},

		"both hosts":       {staticEnv + " SANDBOX=true LOGIN_URL=" + instance, nil, "", "SALESFORCE_LOGIN_URL and SALESFORCE_SANDBOX exclude each other"},
		"odd sandbox":      {staticEnv + " SANDBOX=marker", nil, "", "SALESFORCE_SANDBOX must be true or false"},
		"nothing":          {"", nil, "", "no login is configured: set SALESFORCE_ACCESS_TOKEN and SALESFORCE_INSTANCE_URL; or SALESFORCE_REFRESH_TOKEN"},
		"no instance":      {"ACCESS_TOKEN=marker", nil, "", "missing: SALESFORCE_INSTANCE_URL"},
		"no app":           {"REFRESH_TOKEN=marker", nil, "", "missing: SALESFORCE_CONSUMER_KEY"},
		"only a username":  {"USERNAME=u", nil, "", "missing: SALESFORCE_CONSUMER_KEY, SALESFORCE_CONSUMER_SECRET, SALESFORCE_PASSWORD"},
		"no consumer keys": {"USERNAME=u PASSWORD=marker", nil, "", "missing: SALESFORCE_CONSUMER_KEY, SALESFORCE_CONSUMER_SECRET"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, v := range variables {
				t.Setenv("SALESFORCE_"+v, "")
				t.Setenv("SALESFORCE_"+v+"_FILE", "")
			}
			for pair := range strings.FieldsSeq(test.env) {
				k, v, _ := strings.Cut(pair, "=")
				t.Setenv("SALESFORCE_"+k, v)
			}
			got, login, err := authenticator.FromEnv()
			if test.err != "" {
				e := loginError(t, nil, err)
				if got != nil || login != "" || !strings.Contains(e.Error(), test.err) || !authenticator.Permanent(e) {
					t.Errorf("got %v, %q, %v", got, login, err)
				}
				return
			}
			// The values are compared by type and deeply, because printing them hides the secrets.
			if err != nil || login != test.login || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %T, %q, %v; want %T, %q", got, login, err, test.want, test.login)
			}
			leaks(t, fmt.Sprintf("%+v", got))
		})
	}
}

func TestFromEnvReadsFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	set := func(t *testing.T, pairs ...string) {
		for _, v := range os.Environ() {
			if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "SALESFORCE_") {
				t.Setenv(name, "")
			}
		}
		for i := 0; i < len(pairs); i += 2 {
			t.Setenv("SALESFORCE_"+pairs[i], pairs[i+1])
		}
	}
	t.Run("JWT", func(t *testing.T) {
		set(t, "PRIVATE_KEY_FILE", file("key", string(pkcs8())), "CONSUMER_KEY_FILE", file("id", " key\r\n\n"), "USERNAME_FILE", file("user", "\ufeffu@acme.com\r\n"),
			"LOGIN_FLOW_FILE", file("flow", "jwt_bearer\n"), "SANDBOX_FILE", file("sandbox", "true\n"), "AUDIENCE_FILE", file("aud", authenticator.ProductionURL+"\n"))
		a, loginURL, err := authenticator.FromEnv()
		if err != nil || loginURL != authenticator.SandboxURL {
			t.Fatal(loginURL, err)
		}
		mustLogin(t, a, authenticator.Login{URL: newStrictServer(t).URL})
	})
	for name, test := range map[string]struct {
		variables string
		want      authenticator.Authenticator
		login     string
	}{
		"static": {"ACCESS_TOKEN=at INSTANCE_URL=" + instance + " ORG_ID=o LOGIN_URL=https://acme.example.com",
			authenticator.Static{AccessToken: "at", InstanceURL: instance, OrgID: "o"}, "https://acme.example.com"},
		"refresh token": {"REFRESH_TOKEN=rt CONSUMER_KEY=k CONSUMER_SECRET=s",
			&authenticator.RefreshToken{ConsumerKey: "k", ConsumerSecret: "s", RefreshToken: "rt"}, authenticator.ProductionURL},
		"client credentials": {"CONSUMER_KEY=k CONSUMER_SECRET=s LOGIN_URL=" + instance,
			authenticator.ClientCredentials{ConsumerKey: "k", ConsumerSecret: "s"}, instance},
	} {
		t.Run(name, func(t *testing.T) {
			var pairs []string
			for pair := range strings.FieldsSeq(test.variables) {
				k, v, _ := strings.Cut(pair, "=")
				pairs = append(pairs, k+"_FILE", file(k, "\t"+v+" \n\n"))
			}
			set(t, pairs...)
			a, loginURL, err := authenticator.FromEnv()
			if err != nil || loginURL != test.login || !reflect.DeepEqual(a, test.want) {
				t.Errorf("got %T, %q, %v; want %T, %q", a, loginURL, err, test.want, test.login)
			}
		})
	}
	t.Run("the CLI", func(t *testing.T) {
		set(t)
		calls := fakeCLI(t, prints(cliDisplay), prints(cliToken))
		t.Setenv("SALESFORCE_ORG", "")
		t.Setenv("SALESFORCE_ORG_FILE", file("org", "ci\n"))
		mustLogin(t, fromEnv(t), authenticator.Login{})
		if !strings.Contains(calls(), "--target-org ci ") {
			t.Errorf("called\n%s", calls())
		}
	})
	for text, want := range map[string]string{"p\n": "p", "p\r\n": "p", " p \n\n": " p \n", "p": "p", "p\r": "p\r", "\ufeffp\r\n": "p"} {
		t.Run("password", func(t *testing.T) {
			set(t, "LOGIN_FLOW", "soap", "USERNAME", " u ", "PASSWORD_FILE", file("password", text), "SECURITY_TOKEN_FILE", file("token", " t\n"))
			a, _, err := authenticator.FromEnv()
			if !reflect.DeepEqual(a, authenticator.SOAP{Username: "u", Password: want, SecurityToken: "t"}) {
				t.Errorf("%q: %#v, %v", text, a, err)
			}
		})
	}
	for want, pairs := range map[string][]string{
		"SALESFORCE_ACCESS_TOKEN and SALESFORCE_ACCESS_TOKEN_FILE are both set":        {"ACCESS_TOKEN", "marker", "ACCESS_TOKEN_FILE", file("both", "marker")},
		"SALESFORCE_PASSWORD_FILE: the file cannot be read: no such file or directory": {"PASSWORD_FILE", "marker-password"},
		"SALESFORCE_PASSWORD_FILE: the file is not text in UTF-8":                      {"PASSWORD_FILE", file("utf16", "\xff\xfem\x00a\x00")},
		"SALESFORCE_PRIVATE_KEY_FILE: the file is empty":                               {"PRIVATE_KEY_FILE", file("empty", " \n")},
		"SALESFORCE_PRIVATE_KEY_FILE: the file cannot be read: is a directory":         {"PRIVATE_KEY_FILE", dir},
	} {
		t.Run(want, func(t *testing.T) {
			set(t, pairs...)
			a, _, err := authenticator.FromEnv()
			if e := loginError(t, nil, err); a != nil || !strings.Contains(e.Error(), want) || !authenticator.Permanent(e) {
				t.Errorf("got %v, %v", a, err)
			}
		})
	}
}
