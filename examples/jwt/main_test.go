package main

import (
	"strings"
	"testing"

	"github.com/sfstream/sfstream-go/examples/internal/exampletest"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

func TestItLogsInWithAKeyAndReceives(t *testing.T) {
	out := exampletest.Program{}.Run(t)
	for _, want := range []string{"starting an org in this process", "Logged in as ", "Following /event/Order__e", "Number__c:A-1", "Number__c:A-3"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not print %q: %s", want, out)
		}
	}
	if strings.Contains(out, "PRIVATE KEY") {
		t.Errorf("it prints its key: %s", out)
	}
}

// environment is that of the admin's part in the documentation, with a key.
func environment(org *sfstreamtest.Server, key []byte) []string {
	account := org.Account()
	return []string{
		"SALESFORCE_LOGIN_URL=" + org.LoginURL(),
		"SALESFORCE_PUBSUB_ENDPOINT=" + org.PubSubEndpoint(),
		"SALESFORCE_CONSUMER_KEY=" + account.ConsumerKey,
		"SALESFORCE_USERNAME=" + account.Username,
		"SALESFORCE_PRIVATE_KEY=" + string(key),
	}
}

func TestItUsesTheAccountOfTheEnvironment(t *testing.T) {
	org, key, err := startOrg()
	if err != nil {
		t.Fatal(err)
	}
	defer org.Close()
	out := exampletest.Program{Args: []string{"-count", "0", orders}, Env: environment(org, key), Interrupt: "Following"}.Run(t)
	if !strings.Contains(out, "Logging in at "+org.LoginURL()) || org.Logins() != 1 {
		t.Errorf("%d logins: %s", org.Logins(), out)
	}
}

func TestAnotherKeyIsRefused(t *testing.T) {
	org, _, err := startOrg()
	if err != nil {
		t.Fatal(err)
	}
	defer org.Close()
	other, key, err := startOrg()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	out := exampletest.Program{Env: environment(org, key)}.Fail(t)
	if !strings.Contains(out, "invalid assertion") || strings.Contains(out, "PRIVATE KEY") {
		t.Errorf("it does not say what is wrong: %s", out)
	}
}

func TestAnotherLoginIsRefused(t *testing.T) {
	org, _, err := startOrg()
	if err != nil {
		t.Fatal(err)
	}
	defer org.Close()
	if out := (exampletest.Program{Env: exampletest.Account(org)}).Fail(t); !strings.Contains(out, "set SALESFORCE_PRIVATE_KEY_FILE") || !strings.Contains(out, "SALESFORCE_LOGIN_FLOW=jwt_bearer") {
		t.Errorf("it does not say what is missing: %s", out)
	}
}
