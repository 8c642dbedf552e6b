package main

import (
	"bytes"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func (o *org) passwordForm() url.Values {
	return url.Values{"grant_type": {"password"}, "client_id": {o.ConsumerKey}, "client_secret": {o.ConsumerSecret},
		"username": {o.Username}, "password": {o.Password}}
}

// TestTestorgForAShell runs what the help shows.
func TestTestorgForAShell(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no sh")
	}
	dir := t.TempDir()
	key := filepath.Join(dir, "it's a \"key\" $HOME `x`.pem")
	// An org.env of an earlier org must not be taken for that of the new one.
	if err := os.WriteFile(filepath.Join(dir, "org.env"), []byte("export TESTORG_PID=0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	script := `rm -f org.env; "$0" testorg -tls -demo -rate 100 -http 127.0.0.1:0 -pubsub 127.0.0.1:0 -control 127.0.0.1:0 -key "$1" -env >org.env &
		while kill -0 $! && [ ! -s org.env ]; do sleep 0.1; done; . ./org.env
		printf '%s\n' "$SALESFORCE_PRIVATE_KEY_FILE" "$SALESFORCE_PASSWORD"
		SSL_CERT_FILE="$TESTORG_CA_FILE" "$0" tail -from all -count 1 /event/Order__e
		unset SALESFORCE_LOGIN_FLOW SALESFORCE_CONSUMER_SECRET SALESFORCE_PASSWORD
		SSL_CERT_FILE="$TESTORG_CA_FILE" "$0" tail -from all -count 1 /event/Order__e
		cat "$NODE_EXTRA_CA_CERTS" | head -n 1
		kill "$TESTORG_PID"; wait`
	self := program(t, nil).Path
	cmd := exec.Command(sh, "-c", script, self, key)
	cmd.Env, cmd.Dir = program(t, nil).Env, dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	limit := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer limit.Stop()
	out, err := cmd.Output()
	lines := strings.Split(string(out), "\n")
	if err != nil || len(lines) != 6 || lines[0] != key || lines[1] != "pass&word=100%sfstreamtestToken" ||
		!strings.Contains(lines[2], "/event/Order__e") || !strings.Contains(lines[3], "/event/Order__e") || lines[4] != "-----BEGIN CERTIFICATE-----" {
		t.Errorf("%v: printed %s\n%s", err, out, &stderr)
	}
	file, err := os.ReadFile(filepath.Join(dir, "org.env"))
	if err != nil || bytes.Contains(file, []byte("{")) {
		t.Errorf("the file has %s, %v", file, err)
	}
}

// transcript has what an org with a seed tells, but for its ports and files.
func transcript(t *testing.T, demo bool, seed string) string {
	t.Helper()
	args := []string{"-seed", seed}
	if demo {
		args = append(args, "-demo", "-rate", "200")
	}
	o := startOrg(t, args...)
	var told strings.Builder
	reply := o.token(t, o.passwordForm())
	told.WriteString(reply["access_token"].(string) + "\n")
	if !demo {
		told.WriteString(reply["issued_at"].(string) + " of seed " + seed + "\n")
		o.define(t)
		o.control(t, "define", map[string]any{"object": "Account", "fields": []map[string]any{{"name": "Phone", "type": "Phone"}}})
		told.WriteString(strings.Join(o.publish(t, 1, 3), " ") + "\n")
		for range 3 {
			o.control(t, "publish", map[string]any{"change": map[string]any{"object": "Account", "type": "UPDATE",
				"recordIds": []string{"001000000000001AAA"}, "set": map[string]any{"Phone": "1"}}})
		}
	}
	for _, channel := range []string{"/event/Order__e", "/data/AccountChangeEvent"} {
		cmd := program(t, o.env(), "tail", "-from", "all", "-count", "3", channel)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, &stderr)
		}
		told.Write(out)
	}
	if err := o.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for o.lines.Scan() { // reads until testorg has ended
	}
	return told.String()
}

func TestTestorgWithASeedTellsTheSameInEachProcess(t *testing.T) {
	for _, demo := range []bool{false, true} {
		first := transcript(t, demo, "7")
		if again := transcript(t, demo, "7"); again != first {
			t.Errorf("at first:\n%s\nthen:\n%s", first, again)
		}
		other := transcript(t, demo, "8")
		for line := range strings.Lines(first) {
			if strings.Contains(other, line) {
				t.Errorf("another seed tells the same: %s", line)
			}
		}
		if strings.Count(first, `"CreatedDate":"2026-01-01T00:0`) != 3 {
			t.Errorf("the dates are not the org's:\n%s", first)
		}
	}
}

// TestTestorgKeepsItsEvents proves that replay ids of one run are good in the next.
func TestTestorgKeepsItsEvents(t *testing.T) {
	file := filepath.Join(t.TempDir(), "org.jsonl")
	var first []string
	for n := range 2 {
		o := startOrg(t, "-keep", file)
		if n == 0 {
			o.define(t)
			first = o.publish(t, 1, 2)
		} else {
			o.publish(t, 3, 3)
			if got := o.tailed(t, "-from", first[0], "-count", "2", "/event/Order__e"); got != "2 3" {
				t.Errorf("after the first event comes %s", got)
			}
		}
		if err := o.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		for o.lines.Scan() { // reads until testorg has ended
		}
	}
}
