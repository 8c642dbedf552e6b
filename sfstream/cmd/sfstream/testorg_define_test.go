package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// files writes files into a folder and returns it.
func files(t *testing.T, texts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTestorgDefinesWhatItsFilesHave(t *testing.T) {
	dir := files(t, map[string]string{
		"a.json": `[{"channel": "/event/All__chn", "members": ["/event/Order__e", "/event/Later__e"]},
			{"channel": "/event/Order__e", "schema": ` + orderSchema + `}]`, // members before what they are
		"b.json":    `{"channel": "/event/Later__e", "schema": {"type": "record", "name": "Later__e", "fields": []}}`,
		"notes.txt": "no definition",
	})
	one := filepath.Join(files(t, map[string]string{"more": `[{"Name": "Accounts", "Query": "SELECT Id FROM Account"}, {"channel": "/u/notices"},
		{"object": "Account", "fields": [{"name": "Phone", "type": "Phone"}]}]`}), "more")
	keep := filepath.Join(dir, "org.jsonl")
	for range 2 { // the second time they are there
		o := startOrg(t, "-define", dir, "-define", one, "-keep", keep)
		o.publish(t, 1, 1)
		if got := o.tailed(t, "-from", "all", "-count", "1", "/event/All__chn"); got != "1" {
			t.Errorf("the custom channel has %s", got)
		}
		o.control(t, "topic", map[string]any{"name": "Accounts", "sobject": map[string]any{"Id": "1"}})
		o.control(t, "push", map[string]any{"channel": "/u/notices", "payload": "hello"})
		o.control(t, "publish", map[string]any{"change": map[string]any{"object": "Account", "type": "DELETE", "recordIds": []string{"001000000000001AAA"}}})
		if err := o.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		for o.lines.Scan() { // reads until testorg has ended
		}
	}
}

func TestADefinitionFileOfWindowsIsRead(t *testing.T) {
	dir := files(t, map[string]string{"bom.json": "\ufeff{\"channel\": \"/u/notices\"}"})
	list, err := readDefinitions(t.Context(), []string{dir})
	if err != nil || len(list) != 1 {
		t.Errorf("%d definitions, %v, want 1", len(list), err)
	}
}

func TestTestorgNamesTheDefinitionThatIsWrong(t *testing.T) {
	dir := files(t, map[string]string{
		"empty.json": " ", "syntax.json": "[\n{},\n}", "two.json": `{} {}`,
		"second.json": `[{"channel": "/u/notices"}, {"channel": "/event/X__e", "schemas": {}}]`,
		"member.json": `{"channel": "/event/X__chn", "members": ["/event/No__e"]}`,
		"text.json":   `["/event/X__e"]`,
	})
	nothing := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(dir, "empty.json"):   "empty.json: is empty",
		filepath.Join(dir, "syntax.json"):  "syntax.json: line 3: ",
		filepath.Join(dir, "two.json"):     "two.json: there is something behind",
		filepath.Join(dir, "second.json"):  `second.json: entry 2: /control/define does not take "schemas"; there is: `,
		filepath.Join(dir, "member.json"):  `member.json: there is no channel "/event/No__e"`,
		filepath.Join(dir, "text.json"):    "text.json: entry 1: ",
		filepath.Join(dir, "missing.json"): "no such file",
		nothing:                            "there is no file *.json",
	} {
		status, stdout, stderr := printed(t, "testorg", "-http", "127.0.0.1:0", "-pubsub", "127.0.0.1:0", "-control", "127.0.0.1:0", "-define", path)
		if status != 1 || stdout != "" || !strings.Contains(stderr, "-define "+path) || !strings.Contains(stderr, want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit status %d, stdout %q, stderr %s", path, status, stdout, stderr)
		}
	}
}
