package main

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write events.go anew")

// events.go must be what sfstream gen prints for this program's org.
func TestEventsAreGenerated(t *testing.T) {
	org, err := startOrg()
	if err != nil {
		t.Fatal(err)
	}
	defer org.Close()
	account := org.Account()
	cmd := exec.CommandContext(t.Context(), "go", "run", "../../sfstream/cmd/sfstream", "gen", "-pkg", "main", accounts, orders)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "SALESFORCE_") })
	cmd.Env = append(cmd.Env,
		"SALESFORCE_LOGIN_URL="+org.LoginURL(), "SALESFORCE_PUBSUB_ENDPOINT="+org.PubSubEndpoint(),
		"SALESFORCE_CONSUMER_KEY="+account.ConsumerKey, "SALESFORCE_CONSUMER_SECRET="+account.ConsumerSecret,
		"SALESFORCE_USERNAME="+account.Username, "SALESFORCE_PASSWORD="+account.Password, "SALESFORCE_SECURITY_TOKEN="+account.SecurityToken)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	want, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	if *update {
		if err := os.WriteFile("events.go", want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile("events.go"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("events.go is not what gen prints (%v): go test ./examples/changes -update writes it anew", err)
	}
}

func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	// Events of different channels come in any order.
	got := slices.Sorted(strings.Lines(out.String()))
	want := []string{
		"CREATE 001000000000042AAA: is called Acme; is in Lyon; sells in Europe and Asia; has a contract until 31 January 2027\n",
		"UPDATE 001000000000042AAA: is in Graz; has no contract any more\n",
		"order of 2026-01-02: A-1\n",
	}
	if !slices.Equal(got, want) {
		t.Errorf("printed %q, want %q", got, want)
	}
}
