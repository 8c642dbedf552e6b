package interop

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// node makes a command of a script, or skips the test where it cannot run.
func node(t *testing.T, script string, args ...string) *exec.Cmd {
	t.Helper()
	_, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat("node_modules")
	}
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%v: run npm ci in this folder", err)
		}
		t.Skipf("%v: run npm ci in this folder", err)
	}
	return exec.Command("node", append([]string{script}, args...)...)
}

// org is a real Bayeux server with Salesforce's logins and replay around it.
type org struct {
	t    *testing.T
	url  string
	wire *buffer // what went over the wire

	published int
}

// startOrg runs one of the scripts in servers. It ends with the test.
func startOrg(t *testing.T, script string) *org {
	t.Helper()
	cmd := node(t, filepath.Join("servers", script), "--hold", "1500")
	o := &org{t: t, wire: &buffer{}}
	cmd.Stderr = o.wire
	stdin, err := cmd.StdinPipe()
	check(t, err)
	stdout, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	t.Cleanup(func() {
		stdin.Close() // it ends with it
		timer := time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		timer.Stop()
		if t.Failed() {
			t.Logf("over the wire:\n%s", o.wire.tail(8000))
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	check(t, err)
	o.url = strings.TrimSpace(line)
	return o
}

// control tells the org what is to happen.
func (o *org) control(verb string, body any) map[string]any {
	o.t.Helper()
	text, err := json.Marshal(body)
	check(o.t, err)
	resp, err := http.Post(o.url+"/control/"+verb, "application/json", bytes.NewReader(text))
	check(o.t, err)
	defer resp.Body.Close()
	reply, err := io.ReadAll(resp.Body)
	check(o.t, err)
	if resp.StatusCode != http.StatusOK {
		o.t.Fatalf("/control/%s: %s %s", verb, resp.Status, reply)
	}
	var result map[string]any
	check(o.t, json.Unmarshal(reply, &result))
	return result
}

type object map[string]any

// publish puts the next n numbers on a channel, each by itself.
func (o *org) publish(channel string, n int) {
	o.t.Helper()
	for range n {
		o.published++
		o.control("publish", object{"channel": channel, "data": object{"sobject": object{"N": o.published}}})
	}
}

func (o *org) count(name string) int {
	o.t.Helper()
	n, ok := o.control("stats", object{})[name].(float64)
	if !ok {
		o.t.Fatalf("no count of %s", name)
	}
	return int(n)
}

// await waits until a count is as wanted.
func (o *org) await(name string, ok func(n int) bool) {
	o.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(o.count(name)); {
		if time.Now().After(deadline) {
			o.t.Fatalf("%s is %d", name, o.count(name))
		}
		time.Sleep(5 * time.Millisecond) // another process: nothing tells when
	}
}

// buffer keeps what is written to it.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) tail(n int) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := b.text.Bytes()
	return bytes.Clone(text[max(0, len(text)-n):])
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
