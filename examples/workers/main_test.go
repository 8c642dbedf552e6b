package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sfstream/sfstream-go/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

var done = regexp.MustCompile(`(?m)^\S+ s  (\w+) (\d): done`)

func TestOrdersOfACustomerAreInOrderAndABadOneBecomesADeadLetter(t *testing.T) {
	out := exampletest.Program{}.Run(t)
	of := make(map[string][]string)
	for _, m := range done.FindAllStringSubmatch(out, -1) {
		of[m[1]] = append(of[m[1]], m[2])
	}
	for _, customer := range []string{"Ana", "Ben", "Cleo", "Dan"} {
		want := []string{"1", "2", "3", "4", "5"}
		if customer == "Ben" {
			want = []string{"1", "3", "4", "5"}
		}
		if !slices.Equal(of[customer], want) {
			t.Errorf("%s: orders %v, want %v", customer, of[customer], want)
		}
	}
	if n := strings.Count(out, "Ben 2: it has no amount"); n != 4 || !strings.Contains(out, `dead letter (no amount): {"channel":"/event/Order__e"`) {
		t.Errorf("the bad order was tried %d times: %s", n, out)
	}
	// Ben's other orders wait for the bad one, and nobody else's do.
	bad, next, others := strings.Index(out, "dead letter"), strings.Index(out, "Ben 3: done"), strings.Index(out, "Ana 3: done")
	if others > bad || bad > next {
		t.Errorf("the bad order holds up others, or not its own: %s", out)
	}
	if !strings.Contains(out, "Orders handled: 19, up to 4 at once; dead letters: 1") {
		t.Errorf("its summary is another one: %s", out)
	}
}

func TestItFollowsTheAccountOfTheEnvironmentUntilCtrlC(t *testing.T) {
	org, err := startOrg()
	if err != nil {
		t.Fatal(err)
	}
	defer org.Close()
	out := exampletest.Program{Env: exampletest.Account(org), Interrupt: "Following"}.Run(t)
	if !strings.Contains(out, "Orders handled: 0,") { // these are from before it came
		t.Errorf("it does not end with its summary: %s", out)
	}
}

func TestCtrlCEndsItBeforeTheLogin(t *testing.T) {
	exampletest.CtrlCBeforeTheLogin(t)
}
