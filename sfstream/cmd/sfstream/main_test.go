package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary is also the program: the tests run it in real processes.
func TestMain(m *testing.M) {
	if os.Getenv("SFSTREAM_TEST_PROGRAM") != "" {
		main()
	}
	os.Exit(m.Run())
}

const orderSchema = `{"type": "record", "name": "Order__e", "fields": [
	{"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
	{"name": "CreatedById", "type": "string"},
	{"name": "Number__c", "type": ["null", "long"], "default": null}]}`

// program prepares a run of sfstream, which is killed at the end of the test at the latest.
func program(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// t.Context() would not do: it ends before the cleanups run.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self, args...)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "SALESFORCE_") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	// A login that somebody has saved on this machine is none of the tests' business.
	cmd.Env = append(append(cmd.Env, "SFSTREAM_TEST_PROGRAM=1", "GORACE=atexit_sleep_ms=0", "XDG_CONFIG_HOME="+t.TempDir()), env...)
	return cmd
}

// child is a running program whose lines are read as they come.
type child struct {
	*exec.Cmd
	lines  *bufio.Scanner
	stderr *bytes.Buffer
}

func startProgram(t *testing.T, cmd *exec.Cmd) *child {
	t.Helper()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{Cmd: cmd, lines: bufio.NewScanner(stdout), stderr: new(bytes.Buffer)}
	cmd.Stderr = c.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *child) line(t *testing.T) string {
	t.Helper()
	if !c.lines.Scan() {
		_ = c.Wait()
		t.Fatalf("%v ended without another line: %s", c.Args[1:], c.stderr)
	}
	return c.lines.Text()
}

// org is a running testorg and the environment that leads to it.
type org struct {
	*child
	orgLine
	client *http.Client
}

func startOrg(t *testing.T, args ...string) *org {
	t.Helper()
	o := &org{client: http.DefaultClient}
	o.child = startProgram(t, program(t, nil, append([]string{"testorg", "-http", "127.0.0.1:0", "-pubsub", "127.0.0.1:0", "-control", "127.0.0.1:0"}, args...)...))
	if err := json.Unmarshal([]byte(o.line(t)), &o.orgLine); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = o.Process.Signal(syscall.SIGTERM)
		if err := o.Wait(); err != nil {
			t.Errorf("testorg: %v: %s", err, o.stderr)
		}
	})
	return o
}

func (o *org) env() []string {
	return []string{
		"SALESFORCE_LOGIN_URL=" + o.LoginURL, "SALESFORCE_PUBSUB_ENDPOINT=" + o.PubSub,
		"SALESFORCE_CONSUMER_KEY=" + o.ConsumerKey, "SALESFORCE_CONSUMER_SECRET=" + o.ConsumerSecret,
		"SALESFORCE_USERNAME=" + o.Username, "SALESFORCE_PASSWORD=" + o.Password,
	}
}

func (o *org) control(t *testing.T, verb string, body any) (ids []string) {
	t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(o.ControlURL+"/control/"+verb, "application/json", bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("/control/%s: %s: %s, %v", verb, resp.Status, reply, err)
	}
	var published struct{ IDs []string }
	_ = json.Unmarshal(reply, &published)
	return published.IDs
}

// define defines the order event; publish publishes numbered orders.
func (o *org) define(t *testing.T) {
	o.control(t, "define", map[string]any{"channel": "/event/Order__e", "schema": orderSchema})
}

func (o *org) publish(t *testing.T, from, to int) (ids []string) {
	for n := from; n <= to; n++ {
		ids = append(ids, o.control(t, "publish", map[string]any{
			"channel": "/event/Order__e", "payload": map[string]any{"Number__c": n},
		})...)
	}
	return ids
}

// numbers returns the order numbers in tail's lines.
func numbers(t *testing.T, out []byte) string {
	t.Helper()
	var seen []string
	for line := range strings.Lines(string(out)) {
		seen = append(seen, number(t, line))
	}
	return strings.Join(seen, " ")
}

func number(t *testing.T, line string) string {
	t.Helper()
	var message struct {
		Data struct {
			Payload struct{ Number__c json.Number }
		}
	}
	if err := json.Unmarshal([]byte(line), &message); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return message.Data.Payload.Number__c.String()
}

// tailed runs tail to its end and returns the order numbers that it prints.
func (o *org) tailed(t *testing.T, args ...string) string {
	t.Helper()
	cmd := program(t, o.env(), append([]string{"tail"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tail %v: %v: %s", args, err, &stderr)
	}
	return numbers(t, out)
}

func TestTailContinuesWhereItWas(t *testing.T) {
	o := startOrg(t)
	o.define(t)
	ids := o.publish(t, 1, 6)
	file := filepath.Join(t.TempDir(), "replay.db")
	const channel = "/event/Order__e"
	for _, test := range []struct {
		want string
		args []string
	}{
		{"1 2", []string{"-replay", file, "-from", "all", "-count", "2", channel}},
		{"3 4", []string{"-replay", file, "-from", "all", "-count", "2", channel}}, // the marker wins over -from
		{"1", []string{"-replay", file, "-from", "all", "-rewind", "-count", "1", channel}},
		{"2 3", []string{channel, "-replay", file, "-store-ack", "receive", "-count", "2"}}, // the flags come after the channel
		{"5 6", []string{"-from", ids[3], "-count", "2", channel}},
		{"1", []string{"-from", time.Now().Add(-time.Hour).Format(time.RFC3339), "-count", "1", channel}},
	} {
		if got := o.tailed(t, test.args...); got != test.want {
			t.Errorf("tail %v printed %q, want %q", test.args, got, test.want)
		}
	}
}

func TestTailOfTheStreamingAPI(t *testing.T) {
	o := startOrg(t)
	o.define(t)
	o.publish(t, 1, 3)
	o.control(t, "definePushTopic", map[string]any{"Name": "Accts", "Query": "SELECT Id, Name FROM Account"})
	o.control(t, "topic", map[string]any{"name": "Accts", "type": "updated", "sobject": map[string]any{"Id": "001", "Name": "Acme"}, "count": 2})
	out, err := program(t, o.env(), "tail", "-from", "all", "-count", "2", "/topic/Accts").Output()
	if err != nil {
		t.Fatal(err)
	}
	var first struct {
		Channel string
		Data    struct {
			SObject struct{ Name string }
			Event   struct {
				Type     string
				ReplayID json.Number
			}
		}
	}
	line, rest, _ := strings.Cut(string(out), "\n")
	if err := json.Unmarshal([]byte(line), &first); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	if first.Channel != "/topic/Accts" || first.Data.SObject.Name != "Acme" || first.Data.Event.Type != "updated" {
		t.Errorf("printed %s", line)
	}
	again, err := program(t, o.env(), "tail", "-from", first.Data.Event.ReplayID.String(), "-count", "1", "/topic/Accts").Output()
	if err != nil || string(again) != rest {
		t.Errorf("after the first came %s, want %s (%v)", again, rest, err)
	}
	if got := o.tailed(t, "-cometd", "-from", "all", "-count", "3", "/event/Order__e"); got != "1 2 3" {
		t.Errorf("/event over the Streaming API: %s", got)
	}
}

func TestInterruptSavesTheMarker(t *testing.T) {
	o := startOrg(t)
	o.define(t)
	o.publish(t, 1, 3)
	file := filepath.Join(t.TempDir(), "replay.db")
	args := []string{"tail", "-replay", file, "-from", "all", "/event/Order__e"}
	tail := startProgram(t, program(t, o.env(), args...))
	for _, want := range []string{"1", "2", "3"} {
		if got := number(t, tail.line(t)); got != want {
			t.Fatalf("printed %s, want %s", got, want)
		}
	}
	if err := tail.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := tail.Wait(); err != nil {
		t.Fatalf("%v: %s", err, tail.stderr)
	}
	o.publish(t, 4, 4)
	if got := o.tailed(t, "-replay", file, "-count", "1", "/event/Order__e"); got != "4" {
		t.Errorf("continued with %s, want 4", got)
	}
}

func TestTLS(t *testing.T) {
	o := startOrg(t, "-tls", "-demo", "-rate", "50")
	out, err := program(t, append(o.env(), "SSL_CERT_FILE="+o.CAFile),
		"tail", "-count", "3", "-from", "all", "/data/AccountChangeEvent").Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(out), `"entityName":"Account"`); got != 3 {
		t.Errorf("%d account changes, want 3: %s", got, out)
	}
}

func TestAnUndecodableEventIsALineToo(t *testing.T) {
	o := startOrg(t)
	o.define(t)
	o.control(t, "fault", map[string]any{"fault": "FailGetSchema", "n": 1, "code": "schema.meta.permission"})
	o.publish(t, 1, 1)
	out, err := program(t, o.env(), "tail", "-from", "all", "-count", "1", "/event/Order__e").Output()
	if err != nil {
		t.Fatal(err)
	}
	var line struct {
		Error string
		Data  struct{ Raw []byte }
	}
	if err := json.Unmarshal(out, &line); err != nil || line.Error == "" || len(line.Data.Raw) == 0 {
		t.Errorf("printed %s (%v)", out, err)
	}
}

func TestMistakesAndFailures(t *testing.T) {
	o := startOrg(t)
	o.define(t)
	for _, test := range []struct {
		name, text string
		env        []string
		status     int
		args       []string
	}{
		{"no command", "usage:", nil, 2, nil},
		{"no such command", "no command", nil, 2, []string{"tial"}},
		{"no such flag", "-bogus", nil, 2, []string{"tail", "-bogus", "/event/X__e"}},
		{"no channel", "no channel", nil, 2, []string{"tail"}},
		{"no such flag behind a channel", "-bogus", nil, 2, []string{"tail", "/event/X__e", "-bogus"}},
		{"odd start", "-from", nil, 2, []string{"tail", "-from", "yesterday", "/event/X__e"}},
		{"odd ack", "-store-ack", nil, 2, []string{"tail", "-store-ack", "never", "/event/X__e"}},
		{"odd rate", "-rate", nil, 2, []string{"testorg", "-rate", "-1"}},
		{"file with no name", "-keep", nil, 2, []string{"testorg", "-keep", ""}},
		{"key with no name", "-key", nil, 2, []string{"testorg", "-key", ""}},
		{"authority with no name", "-ca", nil, 2, []string{"testorg", "-tls", "-ca", " "}},
		{"definitions with no name", "-define", nil, 2, []string{"testorg", "-define", ""}},
		{"folder to keep events in", "testorg: -keep /", nil, 1, []string{"testorg", "-http", "127.0.0.1:0", "-pubsub", "127.0.0.1:0", "-control", "", "-keep", t.TempDir()}},
		{"file without end", "-keep /dev/zero: it is no regular file", nil, 1, []string{"testorg", "-http", "127.0.0.1:0", "-pubsub", "127.0.0.1:0", "-control", "", "-keep", "/dev/zero"}},
		{"folder as key", "testorg: -key: ", nil, 1, []string{"testorg", "-key", t.TempDir()}},
		{"no account", "SALESFORCE_USERNAME", nil, 1, []string{"tail", "/event/Order__e"}},
		{"wrong password", "authentication failure", append(o.env(), "SALESFORCE_PASSWORD=wrong"), 1, []string{"tail", "/event/Order__e"}},
		{"no such channel", "/event/Ordr__e", o.env(), 1, []string{"tail", "/event/Ordr__e"}},
		{"no such folder", "directory", o.env(), 1, []string{"tail", "-replay", filepath.Join(t.TempDir(), "none", "r.db"), "/event/Order__e"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := program(t, test.env, test.args...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, _ := cmd.Output()
			if got := cmd.ProcessState.ExitCode(); got != test.status || len(out) > 0 || !strings.Contains(stderr.String(), test.text) {
				t.Errorf("exit status %d, want %d; stdout %q; stderr %s", got, test.status, out, &stderr)
			}
		})
	}
}

// If the reader of its output has gone, tail ends without a word and leaves the event unhandled.
func TestClosedOutputEndsTheProgram(t *testing.T) {
	o := startOrg(t)
	o.define(t)
	o.publish(t, 1, 2)
	file := filepath.Join(t.TempDir(), "replay.db")
	for name, value := range env(o.env()) {
		t.Setenv(name, value)
	}
	var stderr bytes.Buffer
	status := run(context.Background(), []string{"tail", "-replay", file, "-from", "all", "/event/Order__e"}, closedPipe{}, &stderr)
	if status != 0 || strings.Contains(stderr.String(), "sfstream:") {
		t.Errorf("exit status %d, want 0 and no error: %s", status, &stderr)
	}
	if got := o.tailed(t, "-replay", file, "-from", "all", "-count", "1", "/event/Order__e"); got != "1" {
		t.Errorf("printed %s, want the event again", got)
	}
}

type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, fmt.Errorf("write: %w", syscall.EPIPE) }

func env(variables []string) map[string]string {
	m := make(map[string]string)
	for _, v := range variables {
		name, value, _ := strings.Cut(v, "=")
		m[name] = value
	}
	return m
}
