package main

import (
	"encoding/json"
	"io"
	"path/filepath"
	"strings"
	"testing"
)

// expectJSON reports lines of a log that are none of JSON, and returns the last line.
func expectJSON(t *testing.T, log string) (last map[string]any) {
	t.Helper()
	for line := range strings.SplitSeq(strings.TrimSpace(log), "\n") {
		last = nil
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Errorf("a line of the log is no JSON: %s", line)
		}
	}
	return last
}

func TestAFailureIsTheLastLineOfTheLogAndIsJSON(t *testing.T) {
	org := startOrg(t)
	r := start(t, login(org), "-sink", "stdout:", "-replay", filepath.Join(t.TempDir(), "replay.db"), "/event/Nothing__e")
	_, _ = io.Copy(io.Discard, r.stdout)
	if _ = r.Wait(); r.ProcessState.ExitCode() != 1 {
		t.Errorf("status %d", r.ProcessState.ExitCode())
	}
	last := expectJSON(t, r.log.String())
	if text, _ := last["error"].(string); last["level"] != "ERROR" || !strings.Contains(text, "/event/Nothing__e") {
		t.Errorf("%v", last)
	}
	if strings.Contains(r.log.String(), `"register"`) {
		t.Error("the log names a register, and there is none")
	}
}

func TestALogOfARedisAndASalesforceThatAreAwayIsJSON(t *testing.T) {
	env := []string{"SALESFORCE_LOGIN_URL=http://" + freeAddress(t), "SALESFORCE_CONSUMER_KEY=key", "SALESFORCE_CONSUMER_SECRET=geheim"}
	away := start(t, env, "-sink", "stdout:", "-register", "redis://"+freeAddress(t), orders)
	away.awaitLog(t, `"again_in":"1s"`)
	org := startOrg(t)
	r := start(t, login(org), "-sink", "stdout:", "-register", "redis://"+freeAddress(t), orders)
	r.awaitLog(t, "the register cannot be read")
	for _, r := range []*replica{away, r} {
		if status, _ := r.end(t); status != 0 {
			t.Errorf("status %d", status)
		}
		expectJSON(t, r.log.String())
		if strings.Contains(r.log.String(), "geheim") {
			t.Errorf("the log shows a secret: %s", r.log)
		}
	}
}
