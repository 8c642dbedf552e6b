package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// wideSchema has a field of each kind.
const wideSchema = `{"type": "record", "name": "Wide__e", "fields": [
	{"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
	{"name": "CreatedById", "type": "string", "doc": "CreatedBy:EntityId"},
	{"name": "Text__c", "type": ["null", "string"], "doc": "Data:Text", "default": null},
	{"name": "Due__c", "type": ["null", "long"], "doc": "Data:DateOnly", "default": null},
	{"name": "At__c", "type": ["null", "long"], "doc": "Data:DateTime", "default": null},
	{"name": "Big__c", "type": ["null", "long"], "doc": "Data:Integer", "default": null},
	{"name": "Amount__c", "type": ["null", "double"], "doc": "Data:Double", "default": null},
	{"name": "Yes__c", "type": ["null", "boolean"], "doc": "Data:Boolean", "default": null}]}`

// published runs publish as a process and returns its exit status, its results and what it says.
func (o *org) published(t *testing.T, input string, args ...string) (status int, results []publishResult, stderr string) {
	t.Helper()
	cmd := program(t, o.env(), append([]string{"publish"}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run()
	for line := range strings.Lines(out.String()) {
		var r publishResult
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		results = append(results, r)
	}
	return cmd.ProcessState.ExitCode(), results, errs.String()
}

// printsAll runs tail as a process until it has printed n events.
func (o *org) printsAll(t *testing.T, n int, channel string) string {
	t.Helper()
	cmd := program(t, o.env(), "tail", "-from", "all", "-count", fmt.Sprint(n), "-o", "json", channel)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tail: %v: %s", err, &errs)
	}
	return string(out)
}

func (o *org) defineWide(t *testing.T) {
	o.control(t, "define", map[string]any{"channel": "/event/Wide__e", "schema": json.RawMessage(wideSchema)})
}

var ofNow = regexp.MustCompile(`"(CreatedDate|EventUuid|replayId)":"[^"]*",?`)

// What tail prints is what publish publishes, and what publish publishes tail prints.
func TestPublishAndTailAreTheReverseOfEachOther(t *testing.T) {
	o := startOrg(t)
	o.defineWide(t)
	input := "\ufeff" + `{"Text__c":"<Grüße> \u2028 &c.","Due__c":"2026-02-28","At__c":"2026-01-31T10:00:00.123Z","Big__c":9007199254740993,"Amount__c":0.1,"Yes__c":false}
  {}

{"Text__c":null,"CreatedDate":"2020-01-01T00:00:00.000Z"}
`
	status, results, stderr := o.published(t, input, "/event/Wide__e")
	if status != 0 || len(results) != 3 || !strings.Contains(stderr, "/event/Wide__e: 3 events published in ") || strings.Contains(stderr, "warning") {
		t.Fatalf("exit status %d: %v: %s", status, results, stderr)
	}
	first := o.printsAll(t, 3, "/event/Wide__e")
	for i, line := range slices.Collect(strings.Lines(first)) {
		var event struct {
			Data struct {
				Payload map[string]any
				Event   struct{ EventUUID, ReplayID string }
			}
		}
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Fatal(err)
		}
		r := results[i]
		if r.Line != []int{1, 2, 4}[i] || r.Outcome != "published" || r.ID != event.Data.Event.EventUUID || r.ReplayID != event.Data.Event.ReplayID || r.Error != "" {
			t.Errorf("%+v is told of line %d: %s", r, i, line)
		}
	}
	if want := `"Big__c":9007199254740993`; !strings.Contains(first, want) || !strings.Contains(first, `"CreatedDate":"2020-01-01T00:00:00.000Z"`) {
		t.Error(first)
	}

	// Again, as new events, and with their ids.
	status, second, stderr := o.published(t, first, "/event/Wide__e", "-rate", "1000")
	if status != 0 || len(second) != 3 || slices.ContainsFunc(second, func(r publishResult) bool { return r.ID == results[r.Line/2].ID }) {
		t.Errorf("exit status %d: %v: %s", status, second, stderr)
	}
	status, third, stderr := o.published(t, first, "/event/Wide__e", "-keep-ids")
	for i, r := range third {
		if r.ID != results[i].ID || r.ReplayID == results[i].ReplayID {
			t.Errorf("%+v was %+v", r, results[i])
		}
	}
	if status != 0 || len(third) != 3 {
		t.Errorf("exit status %d: %v: %s", status, third, stderr)
	}
	all := slices.Collect(strings.Lines(ofNow.ReplaceAllString(o.printsAll(t, 9, "/event/Wide__e"), "")))
	if !slices.Equal(all[:3], all[3:6]) || !slices.Equal(all[:3], all[6:]) {
		t.Errorf("%s", strings.Join(all, ""))
	}
}

// A bad line is a failure of that line.
func TestBadLinesDoNotStopTheOthers(t *testing.T) {
	o := startOrg(t)
	o.defineWide(t)
	lines := []string{
		`{"Text__c":"good"}`, `{"Text__c":`, `[1]`, `{"Txt__c":"?"}`, `{"Big__c":1.5}`, `{"Due__c":"tomorrow"}`, `{} {}`, `null`,
		`{"channel":"/event/Wide__e","error":"no schema","data":{"raw":"AA=="}}`, `{"Text__c":"good too"}`,
	}
	file := filepath.Join(t.TempDir(), "events.jsonl")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	wrong := map[int]string{
		2: "column 11: unexpected end", 3: "JSON object", 4: "Txt__c: ", 5: "Big__c: ", 6: "Due__c: ", 7: "column 4: invalid character '{'", 8: "JSON object",
		9: "tail could not read",
	}
	for _, dry := range []bool{true, false} {
		args, good := []string{"/event/Wide__e", "-f", file}, "published"
		if dry {
			args, good = append(args, "-dry-run"), "valid"
		}
		status, results, stderr := o.published(t, "", args...)
		if status != 1 || len(results) != len(lines) || !strings.Contains(stderr, "events.jsonl: 8 of 10 lines were not "+good) {
			t.Fatalf("exit status %d: %v: %s", status, results, stderr)
		}
		for i, r := range results {
			want, bad := wrong[i+1]
			switch {
			case r.Line != i+1:
				t.Errorf("line %d comes at %d", r.Line, i+1)
			case !bad && (r.Outcome != good || r.Error != ""), bad && (r.Outcome != "not sent" || !strings.Contains(r.Error, want)):
				t.Errorf("%s: %+v, want %q", lines[i], r, want)
			case bad && !strings.Contains(stderr, fmt.Sprintf("events.jsonl: line %d: not sent: %s", r.Line, r.Error)):
				t.Errorf("%+v is not told: %s", r, stderr)
			}
		}
	}
	if got := o.printsAll(t, 2, "/event/Wide__e"); !strings.Contains(got, `"good"`) || !strings.Contains(got, `"good too"`) {
		t.Error(got)
	}
}

func TestRefusedEventsCountAsFailures(t *testing.T) {
	org := orgOfChanges(t)
	if err := org.DefineEvent("/event/Order__e", orderSchema); err != nil {
		t.Fatal(err)
	}
	org.FailEvents("/event/Order__e", sfstreamtest.EveryNth(2, "INVALID_FIELD: not this one"))
	file := filepath.Join(t.TempDir(), "events.jsonl")
	if err := os.WriteFile(file, []byte(strings.Repeat("{}\n", 50)), 0o600); err != nil {
		t.Fatal(err)
	}
	status, out, stderr := printed(t, "publish", "-f", file, "/event/Order__e")
	if status != 1 || strings.Count(out, `"outcome":"refused","error":"Invalid: INVALID_FIELD: not this one`) != 25 || strings.Count(out, `"outcome":"published"`) != 25 {
		t.Errorf("exit status %d: %s\n%s", status, out, stderr)
	}
	if strings.Count(stderr, ": refused: ") != toldFailures || !strings.Contains(stderr, "25 of 50 lines were not published") {
		t.Error(stderr)
	}
}

func TestPublishPushesGenericEvents(t *testing.T) {
	org := orgOfChanges(t)
	if err := org.DefineGenericChannel("/u/News"); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "events.jsonl")
	long, _ := json.Marshal(strings.Repeat("x", 3001))
	if err := os.WriteFile(file, []byte("\"a text\"\n{\"a\": 1}\n"+string(long)+"\n[]x\n7"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, out, stderr := printed(t, "publish", "-f", file, "/u/News")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if status != 1 || len(lines) != 5 {
		t.Fatalf("exit status %d: %s\n%s", status, out, stderr)
	}
	for i, want := range []string{`"outcome":"published"`, `"outcome":"published"`, "3001 characters", "column 3", `"published"`} {
		if !strings.Contains(lines[i], want) || !strings.HasPrefix(lines[i], fmt.Sprintf(`{"line":%d,`, i+1)) {
			t.Errorf("%s, want %s", lines[i], want)
		}
	}
	got := tailOut(t, "-from", "all", "-count", "3", "-o", "json", "/u/News")
	for _, want := range []string{`"payload":"a text"`, `"payload":"{\"a\": 1}"`, `"payload":"7"`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in %s", want, got)
		}
	}
}

func TestPublishMistakes(t *testing.T) {
	org := orgOfChanges(t)
	if err := org.DefineEvent("/event/Order__e", orderSchema); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "events.jsonl")
	if err := os.WriteFile(file, []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	org.RevokePublish("/event/Order__e")
	for _, test := range []struct {
		status int
		stderr string
		args   string
	}{
		{2, "no channel given", ""},
		{2, "nobody can publish on channel \"/data/AccountChangeEvent\"", "/data/AccountChangeEvent"},
		{2, "-rate is not between", "-rate -1 /event/Order__e"},
		{2, "-dry-run compares with a schema", "-dry-run /u/News"},
		{2, "have no ids", "-keep-ids /u/News"},
		{2, "in-doubt", "-in-doubt maybe /event/Order__e"},
		{1, "no such file", "-f /nowhere/x.jsonl /event/Order__e"},
		{1, "may not publish", "-dry-run -f " + file + " /event/Order__e"},
		{1, "line 1 and what is below are not published", "-f " + file + " /event/Order__e"},
		{1, "NotFound", "-f " + file + " /event/Nothing__e"},
	} {
		status, out, stderr := printed(t, append([]string{"publish"}, strings.Fields(test.args)...)...)
		if status != test.status || out != "" || !strings.Contains(stderr, test.stderr) {
			t.Errorf("%s: exit status %d: %s\n%s", test.args, status, stderr, out)
		}
	}
}

// What is in doubt is no event that is surely not there.
func TestPublishTellsWhatIsInDoubt(t *testing.T) {
	org := orgOfChanges(t)
	if err := org.DefineEvent("/event/Order__e", orderSchema); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "events.jsonl")
	if err := os.WriteFile(file, []byte("{}\n{}\n[]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	org.LosePublish("/event/Order__e", -1)
	status, _, stderr := printed(t, "publish", "-in-doubt", "report", "-f", file, "/event/Order__e")
	for _, want := range []string{"0 events published, 3 not (2 in doubt) in", "3 of 3 lines were not published (2 in doubt)"} {
		if status != 1 || !strings.Contains(stderr, want) {
			t.Errorf("exit status %d: %s, want %s", status, stderr, want)
		}
	}
}

// Ctrl-C ends a publish that waits for input, with the results of what was sent.
func TestPublishIsInterrupted(t *testing.T) {
	o := startOrg(t)
	o.defineWide(t)
	cmd := program(t, o.env(), "publish", "/event/Wide__e")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	c := startProgram(t, cmd)
	fmt.Fprintln(stdin, `{"Text__c":"one"}`)
	if line := c.line(t); !strings.Contains(line, `"outcome":"published"`) {
		t.Error(line)
	}
	if err := c.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_ = c.Wait()
	if status := c.ProcessState.ExitCode(); status != 1 || !strings.Contains(c.stderr.String(), "interrupted") || time.Since(began) > 5*time.Second {
		t.Errorf("exit status %d after %s: %s", status, time.Since(began), c.stderr)
	}
}
