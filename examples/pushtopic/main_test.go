package main

import (
	"strings"
	"testing"

	"github.com/sfstream/sfstream-go/examples/internal/exampletest"
	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

const story = `/topic/SfstreamExample is SELECT Id, LastName, Phone FROM Contact WHERE LastName = 'SfstreamExample'
created: phone "+33 4 00000001", title ""
A change of the title is no event, because the query does not have it.
updated: phone "+33 4 00000002", title ""
/topic/SfstreamExample is SELECT Id, LastName, Phone, Title FROM Contact WHERE LastName = 'SfstreamExample'
updated: phone "+33 4 00000002", title "Manager"
`

func TestItHearsWhatTheQuerySays(t *testing.T) {
	if out := (exampletest.Program{}).Run(t); !strings.HasSuffix(out, "in this process.\n"+story) {
		t.Errorf("it tells\n%s, want\n%s", out, story)
	}
}

// left fails the test where something is left in the org of what the program makes.
func left(t *testing.T, org *sfstreamtest.Server) {
	t.Helper()
	for _, object := range []string{"PushTopic", "Contact"} {
		if n := exampletest.Records(t, org, "SELECT Id FROM "+object); n != 0 {
			t.Errorf("%s: %d records are left", object, n)
		}
	}
}

func TestAnOrgOfTheEnvironmentIsWrittenToOnlyWhereItsUserSaysSo(t *testing.T) {
	org, err := startOrg()
	if err != nil {
		t.Fatal(err)
	}
	defer org.Close()
	if out := (exampletest.Program{Env: exampletest.Account(org)}).Fail(t); !strings.Contains(out, "-write") || strings.Contains(out, "/topic/") {
		t.Errorf("it does not say what to do: %s", out)
	}
	if out := (exampletest.Program{Env: exampletest.Account(org), Args: []string{"-write"}}).Run(t); !strings.HasSuffix(out, "\n"+story) {
		t.Errorf("it does not do the same there: %s", out)
	}
	left(t, org)
}

func TestCtrlCLeavesNothingBehind(t *testing.T) {
	org, err := startOrg()
	if err != nil {
		t.Fatal(err)
	}
	defer org.Close()
	org.FailRESTRequest(sfstreamtest.RESTFault{Method: "PATCH", Path: "/sobjects/Contact", NoAnswer: true})
	exampletest.Program{Env: exampletest.Account(org), Args: []string{"-write"}, Interrupt: "created"}.Run(t)
	left(t, org)
}

func TestWhatCtrlCLeavesBehindIsTold(t *testing.T) {
	org, err := startOrg()
	if err != nil {
		t.Fatal(err)
	}
	defer org.Close()
	org.FailRESTRequest(sfstreamtest.RESTFault{Method: "PATCH", Path: "/sobjects/Contact", NoAnswer: true})
	org.FailRESTRequest(sfstreamtest.RESTFault{Method: "DELETE", Path: "/sobjects/PushTopic", Code: "CANNOT_DELETE", Message: "not this one"})
	out := exampletest.Program{Env: exampletest.Account(org), Args: []string{"-write"}, Interrupt: "created"}.Fail(t)
	if !strings.Contains(out, "SfstreamExample: ") || !strings.Contains(out, "not this one") {
		t.Errorf("it does not say that the topic is left: %s", out)
	}
}

func TestATopicOfSomebodyElseIsLeftAlone(t *testing.T) {
	org, err := startOrg()
	if err != nil {
		t.Fatal(err)
	}
	defer org.Close()
	if err := org.DefinePushTopic(sfstreamtest.PushTopic{Name: "Contacts", Query: "SELECT Id FROM Contact"}); err != nil {
		t.Fatal(err)
	}
	out := exampletest.Program{Env: exampletest.Account(org), Args: []string{"-write", "-topic", "Contacts"}}.Fail(t)
	if n := exampletest.Records(t, org, "SELECT Id FROM PushTopic"); n != 1 || !strings.Contains(out, "-topic") {
		t.Errorf("%d topics are left: %s", n, out)
	}
}

func TestCtrlCEndsItBeforeTheLogin(t *testing.T) {
	exampletest.CtrlCBeforeTheLogin(t, "-write")
}
