package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/sfstream/sfstream-go/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

func TestTheSecondRunContinuesAfterTheFirst(t *testing.T) {
	file := filepath.Join(t.TempDir(), "replay.json")
	run := exampletest.Program{Args: []string{"-count", "3", "-replay", file}}
	first, second := run.Run(t), run.Run(t)
	for out, want := range map[string][]string{
		first:  {"Following " + orders, "A-1", "A-2", "A-3", file + " now has {", "pubsub//event/Order__e"},
		second: {"Continuing " + orders + " after replay id", "A-4", "A-5", "A-6"},
	} {
		for _, text := range want {
			if !strings.Contains(out, text) {
				t.Errorf("it does not print %q: %s", text, out)
			}
		}
	}
	if strings.Contains(second, "A-3") {
		t.Errorf("the second run repeats what the first one has handled: %s", second)
	}
}

func TestCtrlCEndsItInAnOrgOfTheEnvironment(t *testing.T) {
	dir := t.TempDir()
	org, err := startOrg(filepath.Join(dir, "org"), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer org.Close()
	file := filepath.Join(dir, "replay.json")
	out := exampletest.Program{Args: []string{"-replay", file, orders}, Env: exampletest.Account(org), Interrupt: "Following"}.Run(t)
	if !strings.Contains(out, "Logging in at "+org.LoginURL()) || !strings.Contains(out, file+" now has {") {
		t.Errorf("it did not follow the org until then: %s", out)
	}
}

func TestCtrlCEndsItBeforeTheLogin(t *testing.T) {
	exampletest.CtrlCBeforeTheLogin(t, "-replay", filepath.Join(t.TempDir(), "replay.json"))
}
