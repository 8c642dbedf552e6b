package main

import (
	"strings"
	"testing"

	"github.com/sfstream/sfstream-go/examples/internal/exampletest"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

func TestItReachesAllAndOne(t *testing.T) {
	out := exampletest.Program{}.Run(t)
	_, told, _ := strings.Cut(out, "Ben is user ")
	_, told, _ = strings.Cut(told, "\n")
	want := `Made /u/SfstreamExample
Online: Ana, Ben
Published: "this is for Ben alone", to 1 of 1 users: Ben
Published: "good morning, everybody"
Ana gets "good morning, everybody"
Ben gets "this is for Ben alone"
Ben gets "good morning, everybody"
Ben leaves
Published: "this is for Ben alone", to 0 of 1 users: nobody
`
	if told != want {
		t.Errorf("it tells\n%s, want\n%s", told, want)
	}
}

const all = "SELECT Id FROM StreamingChannel"

func TestAnOrgOfTheEnvironmentIsWrittenToOnlyWhereItsUserSaysSo(t *testing.T) {
	org, err := startOrg()
	if err != nil {
		t.Fatal(err)
	}
	defer org.Close()
	if out := (exampletest.Program{Env: exampletest.Account(org)}).Fail(t); !strings.Contains(out, "-write") {
		t.Errorf("it does not say what to do: %s", out)
	}
	out := exampletest.Program{Env: exampletest.Account(org), Args: []string{"-write"}}.Run(t)
	if !strings.Contains(out, `This user gets "good morning, everybody"`) {
		t.Errorf("it does not do the same there: %s", out)
	}
	if n := exampletest.Records(t, org, all); n != 0 {
		t.Errorf("%d channels are left", n)
	}
}

func TestCtrlCLeavesNoChannelBehind(t *testing.T) {
	org, err := startOrg()
	if err != nil {
		t.Fatal(err)
	}
	defer org.Close()
	org.FailRESTRequest(sfstreamtest.RESTFault{Method: "POST", Path: "/push", NoAnswer: true})
	exampletest.Program{Env: exampletest.Account(org), Args: []string{"-write"}, Interrupt: "Online"}.Run(t)
	if n := exampletest.Records(t, org, all); n != 0 {
		t.Errorf("%d channels are left", n)
	}
}

func TestWhatCtrlCLeavesBehindIsTold(t *testing.T) {
	org, err := startOrg()
	if err != nil {
		t.Fatal(err)
	}
	defer org.Close()
	org.FailRESTRequest(sfstreamtest.RESTFault{Method: "POST", Path: "/push", NoAnswer: true})
	org.FailRESTRequest(sfstreamtest.RESTFault{Method: "DELETE", Path: "/sobjects/StreamingChannel", Code: "CANNOT_DELETE", Message: "not this one"})
	out := exampletest.Program{Env: exampletest.Account(org), Args: []string{"-write"}, Interrupt: "Online"}.Fail(t)
	if !strings.Contains(out, "is not deleted") || !strings.Contains(out, "not this one") {
		t.Errorf("it does not say that the channel is left: %s", out)
	}
}

func TestAChannelOfSomebodyElseIsLeftAlone(t *testing.T) {
	org, err := startOrg()
	if err != nil {
		t.Fatal(err)
	}
	defer org.Close()
	if err := org.DefineGenericChannel("/u/news"); err != nil {
		t.Fatal(err)
	}
	out := exampletest.Program{Env: exampletest.Account(org), Args: []string{"-write", "-channel", "/u/news"}}.Fail(t)
	if n := exampletest.Records(t, org, all); n != 1 || !strings.Contains(out, "-channel") {
		t.Errorf("%d channels are left: %s", n, out)
	}
}

func TestCtrlCEndsItBeforeTheLogin(t *testing.T) {
	exampletest.CtrlCBeforeTheLogin(t, "-write")
}
