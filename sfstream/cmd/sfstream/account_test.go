package main

import (
	"flag"
	"io"
	"strings"
	"testing"

	"github.com/sfstream/sfstream-go/authenticator"
	"github.com/sfstream/sfstream-go/sfstream"
)

// parsedAccount reads flags as a command does.
func parsedAccount(args ...string) (*accountFlags, error) {
	f := new(accountFlags)
	flags := flag.NewFlagSet("sfstream tail", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	f.register(flags)
	if _, err := parse(flags, args); err != nil {
		return f, usageError{err.Error()}
	}
	return f, f.check("tail")
}

func TestFlagsOfTheAccountComeBeforeVariables(t *testing.T) {
	const myDomain = "https://acme.my.salesforce.com"
	for _, test := range []struct {
		name     string
		env      map[string]string
		args     []string
		loginURL string
		mistake  string
	}{
		{"nothing", nil, nil, authenticator.ProductionURL, ""},
		{"variable", map[string]string{"SALESFORCE_LOGIN_URL": myDomain}, nil, myDomain, ""},
		{"-sandbox", nil, []string{"-sandbox"}, authenticator.SandboxURL, ""},
		{"-sandbox before SANDBOX", map[string]string{"SALESFORCE_SANDBOX": "false"}, []string{"-sandbox"}, authenticator.SandboxURL, ""},
		{"-sandbox as the variable says", map[string]string{"SALESFORCE_LOGIN_URL": authenticator.SandboxURL + "/"}, []string{"-sandbox"}, authenticator.SandboxURL, ""},
		{"-sandbox and another variable", map[string]string{"SALESFORCE_LOGIN_URL": myDomain}, []string{"-sandbox"}, "", "SALESFORCE_LOGIN_URL"},
		{"-sandbox and a variable's file", map[string]string{"SALESFORCE_LOGIN_URL_FILE": "url.txt"}, []string{"-sandbox"}, "", "SALESFORCE_LOGIN_URL"},
		{"-login-url", nil, []string{"-login-url", myDomain}, myDomain, ""},
		{"-login-url before LOGIN_URL", map[string]string{"SALESFORCE_LOGIN_URL": authenticator.SandboxURL}, []string{"-login-url", myDomain}, myDomain, ""},
		{"-login-url before SANDBOX", map[string]string{"SALESFORCE_SANDBOX": "true"}, []string{"-login-url", myDomain}, myDomain, ""},
		{"both flags", nil, []string{"-sandbox", "-login-url", myDomain}, "", "exclude"},
		{"an URL that is none", nil, []string{"-login-url", "acme"}, "", "-login-url"},
		{"an URL without TLS", nil, []string{"-login-url", "http://acme.my.salesforce.com"}, "", "-login-url"},
		{"an empty URL", nil, []string{"-login-url", ""}, "", "-login-url: it is empty"},
		{"an empty account", nil, []string{"-account="}, "", "-account: it is empty"},
		{"an account and an URL", nil, []string{"-account", "dev", "-sandbox"}, "", "-account"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("SALESFORCE_ACCESS_TOKEN", "t")
			t.Setenv("SALESFORCE_INSTANCE_URL", myDomain)
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			f, err := parsedAccount(test.args...)
			if test.mistake != "" {
				if _, ok := err.(usageError); !ok || !strings.Contains(err.Error(), test.mistake) {
					t.Fatalf("%v, want a mistake that tells of %q", err, test.mistake)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			account, err := f.account()
			if err != nil || account.loginURL != test.loginURL || account.endpoint != sfstream.EndpointGlobal {
				t.Errorf("%+v, %v, want a login at %s", account, err, test.loginURL)
			}
		})
	}
}

func TestTheEndpointIsReadAsTheClientReadsIt(t *testing.T) {
	for endpoint, want := range map[string]string{
		"http://127.0.0.1:7011":             "127.0.0.1:7011 insecure",
		"http://127.0.0.1:7011/":            "127.0.0.1:7011 insecure",
		"https://api.pubsub.salesforce.com": "api.pubsub.salesforce.com:443 tls",
		"https://localhost:7443/":           "localhost:7443 tls",
		sfstream.EndpointEU:                 sfstream.EndpointEU + " tls",
	} {
		if _, err := sfstream.New(authenticator.Static{}, sfstream.WithPubSubEndpoint(endpoint)); err != nil {
			t.Errorf("%s: %v", endpoint, err)
		}
		target, security := account{endpoint: endpoint}.pubsub()
		if got := target + " " + security.Info().SecurityProtocol; got != want {
			t.Errorf("%s: %s, want %s", endpoint, got, want)
		}
	}
}
