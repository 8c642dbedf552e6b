package main

import (
	"strings"
	"testing"

	"github.com/sfstream/sfstream-go/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

// expect fails the test unless the service did what is wanted with what the salesperson does, and
// heard nothing else: each contact has one line, and none comes of what the service writes.
func expect(t *testing.T, out string) {
	t.Helper()
	var story []string
	for line := range strings.Lines(out) {
		line, _, _ = strings.Cut(line, `: {"channel"`)
		if !strings.HasPrefix(line, "WARN ") {
			story = append(story, strings.TrimSuffix(line, "\n"))
		}
	}
	const want = `Following contacts that others change
created: Durand
Durand: +33 (4) 78-42-17-17 is now +33478421717
created: Novak
dead letter (the phone of Novak is no number)
created: Silva
created: Okafor
Okafor: +234 1 / 555 01 00 is now +23415550100`
	if got := strings.Join(story[1:], "\n"); got != want {
		t.Errorf("it tells\n%s\nwant\n%s", got, want)
	}
}

func TestItHandlesWhatOthersChangeAndNotWhatItWrites(t *testing.T) {
	expect(t, exampletest.Program{}.Run(t))
}

func TestCtrlCEndsItInAnOrgOfTheEnvironment(t *testing.T) {
	org, err := startOrg()
	if err != nil {
		t.Fatal(err)
	}
	defer org.Close()
	worked := make(chan error, 1)
	go func() { worked <- work(t.Context(), org) }() // the program needs it to end
	expect(t, exampletest.Program{Env: exampletest.Account(org), Args: []string{"-write"}, Interrupt: "Okafor: "}.Run(t))
	if err := <-worked; err != nil {
		t.Error(err)
	}
	if n := exampletest.Records(t, org, "SELECT Id FROM PushTopic"); n != 0 {
		t.Errorf("%d topics are left", n)
	}
}

func TestAnOrgOfTheEnvironmentIsWrittenToOnlyWhereItsUserSaysSo(t *testing.T) {
	org, err := startOrg()
	if err != nil {
		t.Fatal(err)
	}
	defer org.Close()
	if out := (exampletest.Program{Env: exampletest.Account(org)}).Fail(t); !strings.Contains(out, "-write") || strings.Contains(out, "Following") {
		t.Errorf("it does not say what to do: %s", out)
	}
}

func TestCtrlCEndsItBeforeTheLogin(t *testing.T) {
	exampletest.CtrlCBeforeTheLogin(t, "-write")
}
