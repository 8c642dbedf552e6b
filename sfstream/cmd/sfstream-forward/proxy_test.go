package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// isProgram is the variable that makes the test binary the program.
const isProgram = "SFSTREAM_FORWARD_IS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(isProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

const orders = "/event/Order__e"

// startOrg starts an org with the channel of orders.
func startOrg(t *testing.T) *sfstreamtest.Server {
	t.Helper()
	org := sfstreamtest.NewServer(t)
	err := org.DefineEvent(orders, `{"type": "record", "name": "Order__e", "fields": [
		{"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
		{"name": "CreatedById", "type": "string"},
		{"name": "Number__c", "type": ["null", "double"], "default": null}]}`)
	if err != nil {
		t.Fatal(err)
	}
	return org
}

func publish(t *testing.T, org *sfstreamtest.Server, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		if _, err := org.Publish(orders, map[string]any{"Number__c": float64(n)}); err != nil {
			t.Fatal(err)
		}
	}
}

// login returns the variables of an account of the org.
func login(org *sfstreamtest.Server) []string {
	account := org.Account()
	return []string{
		"SALESFORCE_LOGIN_URL=" + org.LoginURL(), "SALESFORCE_PUBSUB_ENDPOINT=" + org.PubSubEndpoint(),
		"SALESFORCE_CONSUMER_KEY=" + account.ConsumerKey, "SALESFORCE_CONSUMER_SECRET=" + account.ConsumerSecret,
	}
}

// A replica is the program in a process of its own.
type replica struct {
	*exec.Cmd
	stdout *bufio.Reader
	log    *tail
}

func start(t *testing.T, env []string, args ...string) *replica {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{Cmd: exec.Command(self, args...), log: new(tail)}
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "SALESFORCE_") && !strings.HasPrefix(variable, "SFSTREAM_") {
			r.Env = append(r.Env, variable)
		}
	}
	r.Env = append(append(r.Env, isProgram+"=1", "GORACE=atexit_sleep_ms=0"), env...)
	r.Stderr = r.log
	pipe, err := r.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.stdout = bufio.NewReader(pipe)
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.Process.Kill() // unless it has ended
		_ = r.Wait()
		if t.Failed() {
			t.Logf("its log:\n%s", r.log)
		}
	})
	return r
}

// end sends SIGTERM and returns the status, and what else is on standard output.
func (r *replica) end(t *testing.T) (status int, rest string) {
	t.Helper()
	if err := r.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r.stdout)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Wait()
	return r.ProcessState.ExitCode(), string(text)
}

// number is that of an order, in the JSON of its event.
func number(t *testing.T, line string) int {
	t.Helper()
	var event struct {
		Data struct {
			Payload struct {
				Number float64 `json:"Number__c"`
			}
		}
	}
	if err := json.Unmarshal([]byte(line), &event); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return int(event.Data.Payload.Number)
}

// tail keeps the end of a log.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	if over := len(l.text) - 1<<16; over > 0 {
		l.text = l.text[over:]
	}
	return len(p), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

func TestItGoesOnAfterSIGTERMWhereItWas(t *testing.T) {
	org := startOrg(t)
	replay := filepath.Join(t.TempDir(), "replay.db")
	publish(t, org, 0, 5)
	next := 0
	for range 3 {
		r := start(t, login(org), "-sink", "stdout:", "-replay", replay, "-from", "all", orders)
		for range 5 {
			line, err := r.stdout.ReadString('\n')
			if err != nil || number(t, line) != next {
				t.Fatalf("order %d: %s, %v", next, line, err)
			}
			next++
		}
		if status, rest := r.end(t); status != 0 || rest != "" {
			t.Fatalf("status %d, and it printed %s", status, rest)
		}
		expectJSON(t, r.log.String())
		publish(t, org, next, next+5)
	}
}

func TestProbesAnswer(t *testing.T) {
	org := startOrg(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	r := start(t, login(org), "-sink", "stdout:", "-replay", filepath.Join(t.TempDir(), "replay.db"), "-health", address, "-from", "all", orders)
	publish(t, org, 0, 1)
	if _, err := r.stdout.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"livez", "readyz"} {
		response, err := http.Get("http://" + address + "/" + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != 200 || strings.TrimSpace(string(body)) != "ok" {
			t.Errorf("%s: %s: %s", path, response.Status, body)
		}
	}
	if status, _ := r.end(t); status != 0 {
		t.Errorf("status %d", status)
	}
}

func TestCheckTellsWhatWorksAndWhatDoesNot(t *testing.T) {
	org := startOrg(t)
	for _, variable := range login(org) {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
	replay := filepath.Join(t.TempDir(), "replay.db")
	status, stdout, stderr := printed(t, "-check", "-sink", "stdout:", "-replay", replay, orders)
	if want := fmt.Sprintf("ok   login at %s, org", org.LoginURL()); status != 0 || !strings.HasPrefix(stdout, want) ||
		!strings.Contains(stdout, "ok   "+orders+"\n") || !strings.Contains(stdout, "ok   sink stdout:\n") {
		t.Errorf("status %d, printed %s, %s", status, stdout, stderr)
	}
	if strings.Contains(stderr, "memory") {
		t.Errorf("it warns of something that is not so: %s", stderr)
	}
	if _, err := os.Stat(replay); err == nil {
		t.Error("a check makes the file of the markers")
	}
	status, stdout, stderr = printed(t, "-check", "-sink", "stdout:", "-replay", replay, orders, "/event/Nothing__e")
	if status != 1 || !strings.Contains(stdout, "ok   "+orders+"\n") || !strings.Contains(stderr, "/event/Nothing__e") {
		t.Errorf("a channel that is not there: status %d, printed %s, %s", status, stdout, stderr)
	}
	t.Setenv("SALESFORCE_CONSUMER_SECRET", "wrong")
	status, _, stderr = printed(t, "-check", "-sink", "stdout:", "-replay", replay, orders)
	if status != 1 || !strings.Contains(stderr, "SALESFORCE_CONSUMER_SECRET") {
		t.Errorf("a wrong secret: status %d, %s", status, stderr)
	}
}

// A reader of standard output that has gone is a failure of the queue.
func TestAQueueThatIsNotThereIsTriedAgainUntilSIGTERM(t *testing.T) {
	org := startOrg(t)
	for _, variable := range login(org) {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
	publish(t, org, 0, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	out := &flaky{fails: 2, enough: func(n int) {
		if n == 3 {
			cancel()
		}
	}}
	var log bytes.Buffer
	if status := run(ctx, []string{"-sink", "stdout:", "-replay", filepath.Join(t.TempDir(), "replay.db"), "-from", "all", orders}, out, &log); status != 0 {
		t.Errorf("status %d: %s", status, &log)
	}
	if lines := strings.Split(strings.TrimSpace(out.String()), "\n"); len(lines) != 3 || number(t, lines[2]) != 2 {
		t.Errorf("printed %s", out)
	}
}

// flaky is a writer of lines that fails at first.
type flaky struct {
	bytes.Buffer
	fails  int
	enough func(lines int)
}

func (f *flaky) Write(p []byte) (int, error) {
	if f.fails > 0 {
		f.fails--
		return 0, syscall.EPIPE
	}
	n, err := f.Buffer.Write(p)
	f.enough(bytes.Count(f.Bytes(), []byte("\n")))
	return n, err
}

// awaitLog waits for a text in the log.
func (r *replica) awaitLog(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(r.log.String(), text); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log does not have %s", text)
		}
	}
}
