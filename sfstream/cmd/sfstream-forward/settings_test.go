package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// printed runs the program to its end.
func printed(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // should it begin to wait for an engine
	defer cancel()
	var out, log bytes.Buffer
	status = run(ctx, args, &out, &log)
	return status, out.String(), log.String()
}

func write(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMistakesAreToldInTheWordsOfTheCommandLine(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"-replay", "r.db", "/event/A__e"}, "there is no -sink: it is one of kafka://"},
		{[]string{"-sink", "stdout:", "-replay", "r.db"}, "there is no channel"},
		{[]string{"-sink", "stdout:", "/event/A__e"}, "nothing keeps the replay markers"},
		{[]string{"-sink", "rabbit://host", "/event/A__e"}, `-sink: "rabbit" is none of kafka`},
		{[]string{"-sink", "secretword", "/event/A__e"}, "-sink: it is no URL"},
		{[]string{"-sink", "stdout:", "-register", "redis://u:geheim@host", "/event/A__e"}, "put it into the variable SFSTREAM_REGISTER_PASSWORD"},
		{[]string{"-sink", "stdout:", "-register", "redis://u:%zz@host", "/event/A__e"}, "write it as %25"},
		{[]string{"-sink", "stdout:", "-register", "nats://secretword@host?bucket=b", "/event/A__e"}, "-register has a token, which others can see: put the URL into the variable SFSTREAM_REGISTER"},
		{[]string{"-sink", "postgres://u@host/d?password=secretword", "/event/A__e"}, "-sink has a password, which others can see: put the URL into the variable SFSTREAM_SINK"},
		{[]string{"-sink", "postgres://u@host/d?sslpassword=secretword", "/event/A__e"}, "-sink has the password of a key"},
		{[]string{"-sink", "stdout:", "-register", "redis://host?geheim=1", "/event/A__e"}, `has no "geheim": it knows db, master, tls`},
		{[]string{"-sink", "stdout:", "-register", "redis://host?db=x", "/event/A__e"}, "db=x is no number"},
		{[]string{"-sink", "stdout:", "-register", "redis://host?tls=1", "/event/A__e"}, "tls=1 is neither true nor false"},
		{[]string{"-sink", "redis://host", "-replay", filepath.Join(t.TempDir(), "r.db"), "/event/A__e"}, "want redis://host:port/STREAM"},
		{[]string{"-sink", "redis://host/s?maxlen=x", "-replay", filepath.Join(t.TempDir(), "r.db"), "/event/A__e"}, "maxlen=x is no number"},
		{[]string{"-sink", "kafka://host", "-replay", filepath.Join(t.TempDir(), "r.db"), "/event/A__e"}, "want kafka://host:port/TOPIC"},
		{[]string{"-sink", "kafka://host/t?sasl=gssapi", "-replay", filepath.Join(t.TempDir(), "r.db"), "/event/A__e"}, "is none of plain, scram-sha-256"},
		{[]string{"-sink", "kafka://ana@host/t", "-replay", filepath.Join(t.TempDir(), "r.db"), "/event/A__e"}, "say how to log in"},
		{[]string{"-sink", "postgres://host/shop", "-register", "postgres://other/shop", "/event/A__e"}, "name the same database by -register"},
		{[]string{"-sink", "postgres://host/shop", "-register", "postgres://host/shop", "-lanes", "2", "/event/A__e"}, "-lanes 1"},
		{[]string{"-sink", "nats://host", "-replay", filepath.Join(t.TempDir(), "r.db"), "/event/A__e"}, "want nats://host:port/SUBJECT"},
		{[]string{"-sink", "stdout:", "-register", "postgres://host", "/event/A__e"}, "want postgres://host:port/database"},
		{[]string{"-sink", "stdout:", "-register", "nats://host", "/event/A__e"}, "want nats://host:port?bucket=NAME"},
		{[]string{"-sink", "stdout:", "-register", "etcd://", "/event/A__e"}, "want etcd://host:port"},
		{[]string{"-sink", "stdout:", "-register", "k8s://host", "/event/A__e"}, "want k8s:"},
		{[]string{"-sink", "stdout:", "-register", "redis://host", "-replay", "r.db", "/event/A__e"}, "-register and -replay exclude each other"},
		{[]string{"-sink", "stdout:", "-register", "redis://host", "-lease", "1ms", "/event/A__e"}, "-lease: 1ms is not between"},
		{[]string{"-sink", "stdout:", "-replay", "r.db", "-name", "n", "/event/A__e"}, "-name and -prefix are those of a replica"},
		{[]string{"-sink", "stdout:", "-replay", "r.db", "-envelope", "xml", "/event/A__e"}, "-envelope: it is none of json, cloudevents"},
		{[]string{"-sink", "stdout:", "-replay", "r.db", "-envelope", "raw", "/event/A__e"}, "choose another -envelope than raw"},
		{[]string{"-sink", "stdout:", "-replay", "r.db", "-lanes", "0", "/event/A__e"}, "-lanes and -batch must be at least 1"},
		{[]string{"-sink", "stdout:", "-replay", "r.db", "-health", "8080", "/event/A__e"}, "-health \"8080\" is no address"},
		{[]string{"-sink", "stdout:", "-replay", "r.db", "-sandbox", "-login-url", "https://x.my.salesforce.com", "/event/A__e"}, "-sandbox and -login-url exclude each other"},
		{[]string{"-sink", "stdout:", "-replay", "r.db", "/event/A__e", "-v"}, "-v is behind a channel"},
		{[]string{"-sink", "stdout:", "-replay", "r.db", "/event/A__e", "event/B__e"}, `"event/B__e" is no channel: want /event/Name__e`},
		{[]string{"-sink", "stdout:", "-replay", "r.db", "/event/A__e", "/event/A__e"}, "the channel /event/A__e is there twice"},
		{[]string{"-sink", "stdout:", "-register", "redis://host", "-save", "4s", "/event/A__e"}, "-save: 4s is more than a third of the lease"},
		{[]string{"-sink", "stdout:", "-replay", "r.db", "-save", "4s", "/event/A__e"}, "-save is about a register, and there is no -register"},
		{[]string{"-sink", "stdout:", "-replay", "r.db", "-health", ":99999", "/event/A__e"}, `-health ":99999" is no address`},
		{[]string{"-sink", "stdout:", "-replay", "/nowhere/r.db", "/event/A__e"}, "-replay /nowhere/r.db: there is no folder /nowhere"},
		{[]string{"-sink", "stdout:", "-replay", "r.db", "-dead-letter", "/nowhere/letters", "/event/A__e"}, "-dead-letter /nowhere/letters: there is no folder /nowhere"},
		{[]string{"-nonsense"}, "-nonsense; -h lists the flags"},
		{[]string{"-config", "/nowhere/forward.json"}, "-config: open /nowhere/forward.json"},
	} {
		t.Setenv("SALESFORCE_ACCESS_TOKEN", "token")
		t.Setenv("SALESFORCE_INSTANCE_URL", "https://acme.my.salesforce.com")
		status, stdout, stderr := printed(t, test.args...)
		if status != 2 || stdout != "" || !strings.Contains(stderr, test.want) || strings.Contains(stderr, "WithL") {
			t.Errorf("%q: status %d, printed %q, %q; want %q", test.args, status, stdout, stderr, test.want)
		}
		if strings.Contains(stderr, "secretword") || strings.Contains(stderr, ":geheim") {
			t.Errorf("%q: the error shows a password: %s", test.args, stderr)
		}
	}
}

func TestTheFileHasTheFieldsOfTheFlags(t *testing.T) {
	path := write(t, `{"sink": "stdout:", "register": "redis://one:7000,two", "channels": ["/event/A__e", "/data/AccountChangeEvent"],
		"lanes": 4, "cometd": true, "lease": "3s", "envelope": "cloudevents", "name": "file"}`)
	s, err := readSettings([]string{"-config", path, "-name", "flag", "-lanes", "2"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.check(); err != nil {
		t.Fatal(err)
	}
	if s.name != "flag" || s.lanes != 2 || !s.cometd || s.lease != 3*time.Second || s.envelope != "cloudevents" ||
		!slices.Equal(s.channels, []string{"/event/A__e", "/data/AccountChangeEvent"}) || !slices.Equal(s.shared.withPorts("6379"), []string{"one:7000", "two:6379"}) {
		t.Errorf("%+v", s)
	}
	if s, err = readSettings([]string{"-config", path, "/event/B__e"}); err != nil || !slices.Equal(s.channels, []string{"/event/B__e"}) {
		t.Errorf("channels of the command line do not come first: %v, %v", s, err)
	}
}

func TestAFileThatIsNotUnderstoodIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		`[]`:                           "it is no JSON object",
		`{"sink": "stdout:"`:           "it ends within the object",
		`{"sink": "stdout:"} x`:        "something behind the JSON object",
		`{"sinks": "stdout:"}`:         `"sinks" is no field`,
		`{"Sink": "stdout:"}`:          `"Sink" is no field`,
		`{"check": true}`:              `"check" is no field`,
		`{"config": "other.json"}`:     `"config" is no field`,
		`{"sink": "a:", "sink": "b:"}`: `"sink" is there twice`,
		`{"channels": "/event/A__e"}`:  "channels: want a list of texts",
		`{"channels": [1]}`:            "channels: want a list of texts",
		`{"sink": null}`:               "sink: want a text",
		`{"sink": ["stdout:"]}`:        "sink: want a text",
		`{"lanes": "many"}`:            `lanes: "many": want a whole number`,
		`{"lease": 3}`:                 `lease: "3": want a text with units, such as "10s"`,
		`{"cometd": "yes"}`:            `cometd: "yes": want true or false`,
		`{"envelope": "xml"}`:          `envelope: "xml": it is none of json`,
		`{"sink": "stdout:"}`:          "there is no channel",
	} {
		status, _, stderr := printed(t, "-config", write(t, text))
		if status != 2 || !strings.Contains(stderr, want) {
			t.Errorf("%s: status %d, %s; want %q", text, status, stderr, want)
		}
	}
}

func TestSecretsComeFromVariablesOrTheirFiles(t *testing.T) {
	t.Setenv("SFSTREAM_SINK", "stdout:")
	t.Setenv("SFSTREAM_REGISTER_FILE", write(t, "redis://ana:p%40ss@[::1]:7000,two/\n"))
	a, err := addressOf("register", "", registers.schemes())
	if err != nil || a.user != "ana" || a.password != "p@ss" || !slices.Equal(a.withPorts("6379"), []string{"[::1]:7000", "two:6379"}) {
		t.Errorf("%+v, %v", a, err)
	}
	if text := a.String(); text != "redis://[::1]:7000,two" {
		t.Errorf("the log has %s", text)
	}
	t.Setenv("SFSTREAM_SINK", "nats://token@host/s")
	if a, err = addressOf("sink", "", sinks.schemes()); err != nil || a.user != "token" || strings.Contains(a.String(), "token") {
		t.Errorf("a token in a variable: %+v, %v", a, err)
	}
	t.Setenv("SFSTREAM_REGISTER_PASSWORD_FILE", write(t, "geheim\n"))
	if a, err = addressOf("register", "redis://ana@[::1]", registers.schemes()); err != nil || a.password != "geheim" || a.withPorts("6379")[0] != "[::1]:6379" {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err = addressOf("register", "nats://ana@host?bucket=b", registers.schemes()); err != nil || a.user != "ana" || a.password != "geheim" {
		t.Errorf("a user whose password is in a file is no token: %+v, %v", a, err)
	}
	t.Setenv("SFSTREAM_REGISTER_PASSWORD", "geheim")
	if _, err = addressOf("register", "redis://ana@host", registers.schemes()); err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("a variable and its file: %v", err)
	}
}

// A password may have what ends the hosts of an URL, and whoever wrote it may not know.
func TestNoAddressShowsItsPassword(t *testing.T) {
	for _, password := range []string{"geheim", "a/geheim", "1/geheim", "geheim/1", "a?geheim", "a?geheim=1", "a@b/geheim", "a@geheim", "geheim#", ":geheim", "a,geheim", "?/geheim", "%2Fgeheim", "%geheim", "a&geheim;"} {
		for _, form := range []string{"redis://ana:%s@host:6379/0", "nats://%s@host?stream=S", "postgres://ana:%s@one,two/db?table=x", "kafka://ana:%s@host:9092/topic"} {
			text := strings.Replace(form, "%s", password, 1)
			t.Setenv("SFSTREAM_SINK", text)
			for _, visible := range []string{"", text} {
				a, err := addressOf("sink", visible, sinks.schemes())
				if err == nil {
					_, err = a.take("stream", "table")
				}
				if shown := fmt.Sprint(a, err); strings.Contains(shown, "geheim") {
					t.Errorf("%s: it shows %s", text, shown)
				}
			}
		}
	}
}

func TestHelpListsEveryFlagSinkAndRegister(t *testing.T) {
	status, stdout, _ := printed(t, "-h")
	for _, want := range append([]string{"-config file", "-register URL", "SFSTREAM_SINK_PASSWORD", "(default 500)", "(default 10s)"}, append(strings.Split(sinks.forms(), ", "), strings.Split(registers.forms(), ", ")...)...) {
		if status != 0 || !strings.Contains(stdout, want) {
			t.Errorf("status %d, %q is not in %s", status, want, stdout)
		}
	}
	for line := range strings.SplitSeq(stdout, "\n") {
		if strings.Contains(line, "value") {
			t.Errorf("a flag says of its value only that it is one: %s", line)
		}
	}
}

func TestCheckFindsTheMistakesThatNeedNoNetwork(t *testing.T) {
	t.Setenv("SALESFORCE_ACCESS_TOKEN", "token")
	t.Setenv("SALESFORCE_INSTANCE_URL", "http://127.0.0.1:1") // it is not asked
	for _, args := range [][]string{
		{"-register", "redis://127.0.0.1:1", "-lease", "1ms", "/event/A__e"},
		{"-register", "redis://127.0.0.1:1", "-save", "4s", "/event/A__e"},
		{"-replay", "r.db", "-health", ":99999", "/event/A__e"},
		{"-replay", "/nowhere/r.db", "/event/A__e"},
		{"-replay", "r.db", "-dead-letter", "/nowhere/letters", "/event/A__e"},
		{"-replay", "r.db", "/event/A__e", "/event/A__e"},
	} {
		if status, stdout, stderr := printed(t, append([]string{"-check", "-sink", "stdout:"}, args...)...); status != 2 || stdout != "" {
			t.Errorf("%q: status %d, printed %s, %s", args, status, stdout, stderr)
		}
	}
}

func TestAMissingLoginIsAMistakeInTheConfiguration(t *testing.T) {
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "SALESFORCE_") {
			t.Setenv(name, "")
		}
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	status, _, stderr := printed(t, "-sink", "stdout:", "-replay", filepath.Join(t.TempDir(), "r.db"), "/event/A__e")
	if status != 2 || !strings.Contains(stderr, "SALESFORCE_CONSUMER_KEY") {
		t.Errorf("status %d, %s", status, stderr)
	}
}
